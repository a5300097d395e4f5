"""Programs: order, aliasing, the arrays they accept, and the words they are laid out in."""

from typing import Any

import numpy as np
import pytest

from riskengine.expr import STACK_DEPTH_MAX, Environment, ExpressionError, Program, Variable, VariableKind
from riskengine.types import EVENT_WORD, empty_events, pack_code, words

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")

NAMES = ("txn.amount", "card.amount_mean_30d", "derived.ratio", "derived.high", "derived.missing")
ENVIRONMENT = Environment(
    [
        *(Variable(name, VariableKind.NUMBER, column) for column, name in enumerate(NAMES)),
        Variable("txn.currency", VariableKind.CODE, EVENT_WORD["currency"]),
    ]
)


def program(texts: list[str], targets: list[int], kind: VariableKind = VariableKind.NUMBER) -> Program:
    """Compiles numbers, or bools."""
    return Program([ENVIRONMENT.compile(text, result=kind) for text in texts], targets)


def batch(rows: list[list[float | None]]) -> tuple[Any, Any, Any]:
    """Returns events, features and valid; None is missing."""
    features = np.array([[np.nan if value is None else value for value in row] for row in rows], np.float64)
    valid = np.array([[value is not None for value in row] for row in rows], np.uint8)
    return words(empty_events(len(rows))), features, valid


def test_derived_features_use_earlier_ones_of_their_row() -> None:
    """Goal: `out` may be `features`. Method: a chain of three, written into the matrix that it reads."""
    events, features, valid = batch([[30.0, 10.0, 9, 9, 9], [5.0, None, 9, 9, 9], [8.0, 4.0, 9, 9, 9]])
    chain = program(
        [
            "txn.amount / card.amount_mean_30d",
            "derived.ratio >= 3 ? 1 : 0",
            "has(derived.ratio) ? derived.high + derived.ratio : -1",
        ],
        [2, 3, 4],
    )
    chain.run(events, features, valid, features, valid)

    assert [[3.0, 1.0, 4.0], [0.0, 0.0, -1.0], [2.0, 0.0, 2.0]] == features[:, 2:].tolist()
    assert [[1, 1, 1], [0, 0, 1], [1, 1, 1]] == valid[:, 2:].tolist()


def test_expressions_run_in_the_given_order() -> None:
    """Goal: an expression sees what stood there before a later one wrote. Method: the chain the wrong way round."""
    events, features, valid = batch([[30.0, 10.0, 9.0, 9.0, 9.0]])
    program(["derived.ratio", "txn.amount / card.amount_mean_30d"], [3, 2]).run(
        events, features, valid, features, valid
    )

    assert [9.0, 3.0] == [features[0, 3], features[0, 2]]


def test_views_of_foreign_memory_are_accepted() -> None:
    """Goal: batches may be slices and memory of somebody else's. Method: views of one bytearray, one row sliced off."""
    memory = bytearray(8 * 15 + 15)
    features = np.frombuffer(memory, np.float64, 15).reshape(3, 5)[1:]
    valid = np.frombuffer(memory, np.uint8, 15, 8 * 15).reshape(3, 5)[1:]
    features[:], valid[:] = 2.0, 1
    rows = empty_events(3)
    rows["currency"] = pack_code("EUR")
    program(["txn.amount * 21", "txn.currency == 'EUR' ? 1 : 0"], [2, 4]).run(
        words(rows)[1:], features, valid, features, valid
    )

    assert [[2.0, 2.0, 42.0, 2.0, 1.0]] * 2 == features.tolist()


def test_other_columns_stay_as_they_are() -> None:
    """Goal: a program touches its targets only. Method: a sparse target in a filled matrix."""
    events, features, valid = batch([[1.0] * 5])
    out, out_valid = np.full((1, 4), 7.0), np.full((1, 4), 7, np.uint8)
    program(["txn.amount > 5"], [2], VariableKind.BOOL).run(events, features, valid, out, out_valid)

    assert ([7.0, 7.0, 0.0, 7.0], [7, 7, 1, 7]) == (out[0].tolist(), out_valid[0].tolist())


@pytest.mark.parametrize("row_count", [0, 1, 3])
def test_empty_program_and_empty_batch_do_nothing(row_count: int) -> None:
    """Goal: no rules, or no rows, is an ordinary case. Method: both."""
    events, features, valid = batch([[1.0] * 5] * row_count)
    features, valid = features.reshape(row_count, 5), valid.reshape(row_count, 5)
    out, out_valid = np.zeros((row_count, 0)), np.zeros((row_count, 0), np.uint8)
    program([], []).run(events, features, valid, out, out_valid)
    program(["txn.amount"], [1]).run(events, features, valid, features, valid)

    assert (row_count, 0) == out.shape
    assert [[1.0] * 5] * row_count == features.tolist()


def test_arrays_that_do_not_fit_are_an_error() -> None:
    """Goal: a wrong matrix stops the programmer. Method: a target beyond the columns of out."""
    events, features, valid = batch([[1.0] * 5])
    with pytest.raises(AssertionError, match="the columns that the program names"):
        program(["txn.amount"], [5]).run(events, features, valid, features, valid)


@pytest.mark.parametrize("count", [1, 5, 6, 7, 12, 13])
def test_lists_of_any_length_hold_exactly_their_elements(count: int) -> None:
    """Goal: padding a list to full rows adds nothing. Method: lengths around a row, two lists in one program."""
    rows = empty_events(count + 1)
    rows["currency"] = [pack_code(f"C{index}") for index in range(count + 1)]
    features, valid = np.zeros((count + 1, 5)), np.ones((count + 1, 5), np.uint8)
    features[:, 0] = np.arange(count + 1)
    texts = [
        f"txn.currency in {[f'C{index}' for index in range(count)]}",
        f"txn.amount in {list(range(count))}",
    ]
    out, out_valid = np.zeros((count + 1, 2)), np.zeros((count + 1, 2), np.uint8)
    program(texts, [0, 1], VariableKind.BOOL).run(words(rows), features, valid, out, out_valid)

    assert [[1.0, 1.0]] * count + [[0.0, 0.0]] == out.tolist()
    assert out_valid.all()


def test_deepest_condition_that_compiles_stays_inside_the_stack() -> None:
    """Goal: the stack's bound is enforced before the kernel. Method: nest to the right until refused, run the last."""
    depth = STACK_DEPTH_MAX - 1
    events, features, valid = batch([[1.0] * 5])
    program(["1 + (" * depth + "txn.amount" + ")" * depth], [2]).run(events, features, valid, features, valid)
    too_deep = "1 + (" * (depth + 1) + "txn.amount" + ")" * (depth + 1)

    assert STACK_DEPTH_MAX == features[0, 2]
    with pytest.raises(ExpressionError, match=f"more than {STACK_DEPTH_MAX} values wait at once"):
        program([too_deep], [2])
