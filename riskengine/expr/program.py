"""Conditions joined into one program for the kernel.

INVARIANTS: expressions run in the given order, row by row; the assembled words never change after `__init__`, and
their last row states what they touch. The scratch stack belongs to the program, so one program runs in one thread at
a time (the engine has one). A program is never stored: it is rebuilt from texts.

Called by `engine.pipeline` and `policy`, once a batch.
"""

from collections.abc import Sequence
from typing import Final, cast

import numpy as np

from riskengine.types import Floats, Ints, Valid

from . import kernels
from .compiler import STACK_DEPTH_MAX, Instruction, stack_effect
from .environment import Expression

_COLUMN_OPS: Final = frozenset({kernels.OP_FEATURE, kernels.OP_FEATURE_COMPARE, kernels.OP_HAS_FEATURE})
_WORD_OPS: Final = frozenset({kernels.OP_CODE_IS, kernels.OP_CODE_IN, kernels.OP_CODES_SAME, kernels.OP_HAS_CODE})


class Program:
    """Expressions and the columns that they fill.

    Args:
        expressions: Of one `Environment`.
        targets: For each expression, the column of `out` that it writes, at least 0.

    Attributes:
        targets: Those columns.
        columns: The columns of `features` that any expression reads.
    """

    def __init__(self, expressions: Sequence[Expression], targets: Sequence[int]) -> None:
        assert len(expressions) == len(targets), "an expression has a target"
        assert all(target >= 0 for target in targets), "a target is a column"
        self.targets = tuple(targets)
        self.columns = frozenset(
            each.operand for expression in expressions for each in expression.instructions if each.op in _COLUMN_OPS
        )
        self._words = assemble([expression.instructions for expression in expressions], targets)
        self._stack = np.zeros(2 * STACK_DEPTH_MAX)

    @property
    def code(self) -> Ints:
        """int64[rows, 6]: what `assemble` made. Equal code on equal kernels gives equal answers."""
        return self._words

    def run(
        self,
        events: Ints,
        features: Floats,
        valid: Valid,
        out: Floats,
        out_valid: Valid,
    ) -> None:
        """Evaluates every expression on every row.

        Args:
            events: int64[n, EVENT_WORDS], C-contiguous; `riskengine.types.words` of a batch.
            features: float64[n, F], C-contiguous.
            valid: uint8[n, F], C-contiguous: 1 where the feature is present, else 0.
            out: float64[n, K], C-contiguous, K above every target; may be `features`. Bools are 0.0 and 1.0, missing is
                0.0. Columns that are nobody's target stay as they are.
            out_valid: uint8[n, K], C-contiguous: set to 1 where the value is known, else 0; may be `valid`.
        """
        row_count = kernels.evaluate(self._words, self._stack, events, features, valid, out, out_valid)
        assert row_count >= 0, "the arrays have the same rows, and the columns that the program names"


def assemble(expressions: Sequence[Sequence[Instruction]], targets: Sequence[int]) -> Ints:
    """Lays instructions and the lists that they refer to out as the kernel reads them.

    Args:
        expressions: The instructions of each; none is empty.
        targets: The column of `out` for each.

    Returns:
        int64[rows, 6], as `kernels` describes.
    """
    instructions = [each for expression in expressions for each in expression]
    listed = sum(_list_rows(each) for each in instructions)
    words = np.zeros((len(instructions) + listed + 1, kernels.PROGRAM_COLUMNS), np.int64)
    at, tail = 0, len(instructions)
    for expression, target in zip(expressions, targets, strict=True):
        depth = 0
        for instruction in expression:
            effect = stack_effect(instruction.op)
            # A push spills the newest value, which lies at depth - 1; the register makes that slot depth. What waits
            # for the newest value was spilled when the first of its fellows was pushed.
            slot = 2 * (depth if effect > 0 else depth + effect)
            depth += effect
            words[at, : kernels.TARGET] = (instruction.op, instruction.operand, instruction.extra, slot)
            words[at, kernels.TARGET] = -1
            tail += _write_immediate(words, at, tail, instruction)
            at += 1
        assert depth == 1, "an expression leaves one value"
        words[at - 1, kernels.TARGET] = target
    words[-1, : kernels.INSTRUCTION_COUNT] = _widths(instructions, targets)
    words[-1, kernels.INSTRUCTION_COUNT] = len(instructions)
    return words


def _write_immediate(words: Ints, at: int, tail: int, instruction: Instruction) -> int:
    """Writes the immediate of row `at`, its list from row `tail` on; returns how many rows the list takes."""
    row_count = _list_rows(instruction)
    if isinstance(instruction.immediate, tuple):
        # The last row is filled up with the last element: the kernel need not know where the list ends.
        padding = row_count * kernels.PROGRAM_COLUMNS - len(instruction.immediate)
        elements = (*instruction.immediate, *instruction.immediate[-1:] * padding)
        area = words[tail : tail + row_count].reshape(-1)
        (area.view(np.float64) if isinstance(elements[0], float) else area)[:] = elements
        words[at, kernels.EXTRA] = row_count
        words[at, kernels.IMMEDIATE] = tail
    elif isinstance(instruction.immediate, float):
        words.view(np.float64)[at, kernels.IMMEDIATE] = instruction.immediate
    else:
        words[at, kernels.IMMEDIATE] = instruction.immediate
    return row_count


def _list_rows(instruction: Instruction) -> int:
    """Returns how many rows the list of an instruction takes, 0 without one."""
    if not isinstance(instruction.immediate, tuple):
        return 0
    return -(-len(instruction.immediate) // kernels.PROGRAM_COLUMNS)


def _widths(instructions: Sequence[Instruction], targets: Sequence[int]) -> tuple[int, int, int]:
    """Returns the widths that a program needs: of events, of features, of out."""
    words = [each.operand for each in instructions if each.op in _WORD_OPS]
    words += [cast(int, each.immediate) for each in instructions if each.op == kernels.OP_CODES_SAME]
    columns = [each.operand for each in instructions if each.op in _COLUMN_OPS]
    return max(words, default=-1) + 1, max(columns, default=-1) + 1, max(targets, default=-1) + 1
