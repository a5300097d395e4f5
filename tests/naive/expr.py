"""The naive twin of `riskengine.expr.kernels`: a list as the stack, and None for a missing value.

Used by `tests/expr/test_kernels.py`.
"""

import math
import struct
from typing import Any

from riskengine.expr import kernels

Value = float | None


def evaluate(program: Any, stack: Any, events: Any, features: Any, valid: Any, out: Any, out_valid: Any) -> int:
    """Runs a program; arguments and result as the kernel has them, but `stack` is not used."""
    *_, last = [list(map(int, row)) for row in program]
    event_width, feature_width, out_width, count = last[:4]
    if len({len(events), len(features), len(valid), len(out), len(out_valid)}) > 1 or features.shape != valid.shape:
        return -1
    if events.shape[1] < event_width or features.shape[1] < feature_width:
        return -1
    if out.shape[1] < out_width or out_valid.shape[1] < out_width:
        return -1
    for row in range(len(out)):
        waiting: list[Value] = []
        for at in range(count):
            op, operand, extra, _, target, immediate = map(int, program[at])
            word = int(events[row, operand]) if kernels.OP_CODE_IS <= op <= kernels.OP_HAS_CODE else 0
            has_feature = op <= kernels.OP_HAS_FEATURE and bool(valid[row, operand])
            feature = float(features[row, operand]) if has_feature else None
            if op == kernels.OP_FEATURE:
                waiting.append(feature)
            elif op == kernels.OP_FEATURE_COMPARE:
                waiting.append(pair(kernels.OP_COMPARE, extra, feature, double(immediate)))
            elif op == kernels.OP_HAS_FEATURE:
                waiting.append(float(has_feature))
            elif op == kernels.OP_NUMBER:
                waiting.append(double(immediate))
            elif op == kernels.OP_CODE_IS:
                waiting.append(float((word == immediate) != bool(extra)) if word else None)
            elif op == kernels.OP_CODE_IN:
                codes = {int(code) for code in program[immediate : immediate + extra].ravel()}
                waiting.append(float(word in codes) if word else None)
            elif op == kernels.OP_CODES_SAME:
                other = int(events[row, immediate])
                waiting.append(float((word == other) != bool(extra)) if word and other else None)
            elif op == kernels.OP_HAS_CODE:
                waiting.append(float(word != 0))
            elif op <= kernels.OP_PAIR_LAST:
                right = waiting.pop()
                waiting.append(pair(op, extra, waiting.pop(), right))
            elif op <= kernels.OP_SINGLE_LAST:
                elements = [double(int(bits)) for bits in program[immediate : immediate + extra].ravel()]
                waiting.append(single(op, waiting.pop(), elements))
            else:
                condition, then, otherwise = waiting.pop(), waiting.pop(), waiting.pop()
                waiting.append(None if condition is None else then if condition else otherwise)
            if target >= 0:
                value = waiting.pop()
                out[row, target] = 0.0 if value is None else value
                out_valid[row, target] = value is not None
    return len(out)


def pair(op: int, mask: int, left: Value, right: Value) -> Value:
    """Computes an operation on two values."""
    if op in (kernels.OP_AND, kernels.OP_OR):
        settles = float(op == kernels.OP_OR)
        if settles in (left, right):
            return settles
        return None if left is None or right is None else 1.0 - settles
    if left is None or right is None:
        return None
    if op == kernels.OP_COMPARE:
        return float(bool(relation(left, right) & mask))
    if op == kernels.OP_DIVIDE:
        return divide(left, right)
    if op == kernels.OP_MULTIPLY:
        return left * right
    return left + right if op == kernels.OP_ADD else left - right


def single(op: int, value: Value, elements: list[float]) -> Value:
    """Computes an operation on one value; `elements` are those of `in`."""
    if value is None:
        return None
    if op == kernels.OP_NOT:
        return float(not value)
    if op == kernels.OP_NEGATE:
        return -value
    return float(any(value == element for element in elements))


def relation(left: float, right: float) -> int:
    """Tells how two doubles relate."""
    if math.isnan(left) or math.isnan(right):
        return kernels.UNORDERED
    return kernels.LESS if left < right else kernels.GREATER if left > right else kernels.EQUAL


def divide(left: float, right: float) -> float:
    """Divides as IEEE 754 does."""
    if right != 0.0:
        return left / right
    if left == 0.0 or math.isnan(left):
        return math.nan
    return math.copysign(math.inf, left) * math.copysign(1.0, right)


def double(bits: int) -> float:
    """Reads the bits of a double."""
    value: float = struct.unpack("<d", struct.pack("<q", bits))[0]
    return value
