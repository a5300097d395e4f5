"""The kernel that runs conditions: every expression of a program, over every row.

A program is a matrix of 6 words a row. First the instructions, in postfix order and without jumps: a ternary computes
both branches and keeps one, which is safe because nothing has an effect and missing is a flag beside the number. Then
the literals of lists, 6 to a row. The last row tells what the program touches. Numbers are stored as the bits of a
double.

The newest value is kept in a register; an operation that pushes first spills it to the slot that its instruction
names, so the depth of the stack is known at assembly and no counter runs.

INVARIANTS: missing is never carried as NaN (``!(NaN > 100)`` is true, so a negated rule would fire on nothing); bools
are 0.0 and 1.0; a code is missing when its word is 0. A batch whose shapes do not fit is refused before a row is
read. The instructions are trusted: only `Program` assembles them.

Called by `program` alone; `compiler` takes the operation numbers from here.
"""

from typing import Any, Final

import numpy as np

from riskengine.jit import kernel

PROGRAM_COLUMNS: Final = 6
# Columns of an instruction.
OP: Final = 0
OPERAND: Final = 1  # column of the features, or word of the event
EXTRA: Final = 2  # relation mask, 1 to negate, or rows of a list
SLOT: Final = 3  # index into the stack: where to spill, or where the left operand waits
TARGET: Final = 4  # column of out where the value goes when the expression ends here, else -1
IMMEDIATE: Final = 5  # bits of a double, a code, a word, or the first row of a list
# Columns of the last row: widths that the batch must have at least, and the number of instructions.
EVENT_WIDTH: Final = 0
FEATURE_WIDTH: Final = 1
OUT_WIDTH: Final = 2
INSTRUCTION_COUNT: Final = 3

# Operations that push one value.
OP_FEATURE: Final = 0  # operand: column
OP_FEATURE_COMPARE: Final = 1  # operand: column; extra: relation mask; immediate: double
OP_HAS_FEATURE: Final = 2  # operand: column
OP_NUMBER: Final = 3  # immediate: double
OP_CODE_IS: Final = 4  # operand: word; extra: 1 negates; immediate: code
OP_CODE_IN: Final = 5  # operand: word; extra: rows of the list; immediate: its first row, codes
OP_CODES_SAME: Final = 6  # operand: word; extra: 1 negates; immediate: the other word
OP_HAS_CODE: Final = 7  # operand: word
OP_PUSH_LAST: Final = OP_HAS_CODE
# Operations that replace two values by one.
OP_COMPARE: Final = 8  # extra: relation mask
OP_AND: Final = 9
OP_OR: Final = 10
OP_ADD: Final = 11
OP_SUBTRACT: Final = 12
OP_MULTIPLY: Final = 13
OP_DIVIDE: Final = 14
OP_PAIR_LAST: Final = OP_DIVIDE
# Operations that change one value.
OP_NOT: Final = 15
OP_NEGATE: Final = 16
OP_NUMBER_IN: Final = 17  # extra: rows of the list; immediate: its first row, doubles
OP_SINGLE_LAST: Final = OP_NUMBER_IN
# Replaces three values, pushed as else-value, then-value, condition, by one.
OP_SELECT: Final = 18

# How two doubles relate; a comparison is the set of relations that satisfy it. NaN is unordered to everything.
LESS: Final = 1
EQUAL: Final = 2
GREATER: Final = 4
UNORDERED: Final = 8


@kernel(inline=True)
def relates(left: float, right: float, mask: int) -> float:
    """Returns 1.0 if two doubles relate in one of the ways of a mask, else 0.0. No branch depends on the data.

    Args:
        left: Any double.
        right: Any double.
        mask: LESS, EQUAL, GREATER and UNORDERED, or-ed.
    """
    relation = UNORDERED - 7 * int(left < right) - 6 * int(left == right) - 4 * int(left > right)
    return 1.0 if (relation & mask) != 0 else 0.0


@kernel(inline=True)
def combine(op: int, mask: int, left: float, left_known: int, right: float, right_known: int) -> tuple[float, int]:
    """Computes an operation on two values.

    `&&` and `||` absorb: a known false settles an `&&` whatever the other side is, a known true an `||`.

    Args:
        op: OP_COMPARE to OP_PAIR_LAST.
        mask: Relations that satisfy an OP_COMPARE.
        left: The value pushed first.
        left_known: 1, or 0 where it is missing.
        right: The value pushed last.
        right_known: 1, or 0 where it is missing.

    Returns:
        The value, and 1 where it is known, 0 where it is missing (the value is then unspecified).
    """
    both = left_known & right_known
    if op == OP_AND:
        settled = (left_known & int(left == 0.0)) | (right_known & int(right == 0.0))
        return 1.0 if settled == 0 else 0.0, settled | both
    if op == OP_COMPARE:
        return relates(left, right, mask), both
    if op == OP_OR:
        settled = (left_known & int(left != 0.0)) | (right_known & int(right != 0.0))
        return 1.0 if settled != 0 else 0.0, settled | both
    if op == OP_ADD:
        return left + right, both
    if op == OP_SUBTRACT:
        return left - right, both
    if op == OP_MULTIPLY:
        return left * right, both
    return left / right, both


@kernel(
    "int64(int64[:, ::1], float64[::1], int64[:, ::1], float64[:, ::1], uint8[:, ::1], float64[:, ::1], uint8[:, ::1])"
)
def evaluate(program: Any, stack: Any, events: Any, features: Any, valid: Any, out: Any, out_valid: Any) -> int:
    """Runs a program over a batch, row by row, its expressions in their order.

    Costs 3 to 4 ns an instruction. `out` may be `features` and `out_valid` may be `valid`: an expression then sees what
    earlier ones of its row wrote. Longer than functions are elsewhere, for the operations stay in one body: handing the
    arrays to helpers, each call with the reference counting of seven of them, made an instruction cost 50 ns.

    Args:
        program: int64[instructions + list rows + 1, 6], as the module describes.
        stack: float64[2 * depth], scratch: of each level the value and, as int64 bits, known (1 or 0).
        events: int64[rows, words], rows of EVENT.
        features: float64[rows, columns]; where `valid` is 0 the value reaches no result.
        valid: uint8[rows, columns], 1 where the feature is present, else 0.
        out: float64[rows, targets], written in the program's target columns; 0.0 where missing.
        out_valid: uint8[rows, targets], likewise; 1 or 0.

    Returns:
        The number of rows, or -1 if the shapes do not fit the program and nothing was written.
    """
    rows = out.shape[0]
    last = program.shape[0] - 1
    if not (events.shape[0] == features.shape[0] == out_valid.shape[0] == rows and features.shape == valid.shape):
        return -1
    if events.shape[1] < program[last, EVENT_WIDTH] or features.shape[1] < program[last, FEATURE_WIDTH]:
        return -1
    if min(out.shape[1], out_valid.shape[1]) < program[last, OUT_WIDTH]:
        return -1
    numbers = program.view(np.float64)
    flags = stack.view(np.int64)
    for row in range(rows):
        value = 0.0
        known = 0
        for at in range(program[last, INSTRUCTION_COUNT]):
            op = program[at, OP]
            operand = np.uint32(program[at, OPERAND])  # unsigned: numba then leaves out its test for negative indices
            extra = program[at, EXTRA]
            slot = np.uint32(program[at, SLOT])
            if op <= OP_PUSH_LAST:
                stack[slot] = value
                flags[slot + 1] = known
                if op <= OP_HAS_FEATURE:
                    known = int(valid[row, operand])
                    if op == OP_FEATURE_COMPARE:
                        value = relates(features[row, operand], numbers[at, IMMEDIATE], extra)
                    elif op == OP_FEATURE:
                        value = features[row, operand]
                    else:
                        value = float(known)
                        known = 1
                elif op == OP_NUMBER:
                    value = numbers[at, IMMEDIATE]
                    known = 1
                else:
                    word = events[row, operand]
                    hit = int(word != 0)
                    known = hit if op != OP_HAS_CODE else 1
                    if op == OP_CODE_IS:
                        hit = int(word == program[at, IMMEDIATE]) ^ extra
                    elif op == OP_CODE_IN:
                        hit = 0
                        for index in range(program[at, IMMEDIATE], program[at, IMMEDIATE] + extra):
                            for column in range(PROGRAM_COLUMNS):
                                hit |= int(program[index, column] == word)
                    elif op == OP_CODES_SAME:
                        other = events[row, np.uint32(program[at, IMMEDIATE])]
                        hit = int(word == other) ^ extra
                        known &= int(other != 0)
                    value = float(hit)
            elif op <= OP_PAIR_LAST:
                value, known = combine(op, extra, stack[slot], flags[slot + 1], value, known)
            elif op == OP_NOT:
                value = 1.0 - value
            elif op == OP_NEGATE:
                value = -value
            elif op == OP_NUMBER_IN:
                hit = 0
                for index in range(program[at, IMMEDIATE], program[at, IMMEDIATE] + extra):
                    for column in range(PROGRAM_COLUMNS):
                        hit |= int(numbers[index, column] == value)
                value = float(hit)
            else:
                chosen = slot + 2 if value != 0.0 else slot
                value, known = stack[chosen], known & flags[chosen + 1]
            if program[at, TARGET] >= 0:
                target = np.uint32(program[at, TARGET])
                out[row, target] = value if known != 0 else 0.0
                out_valid[row, target] = known
    return rows
