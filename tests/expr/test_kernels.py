"""The kernel against CEL's own evaluator and against its naive twin."""

from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from riskengine.expr import Program, VariableKind, kernels
from riskengine.expr.compiler import STACK_DEPTH_MAX
from riskengine.expr.program import assemble
from tests.expr.builders import (
    ENVIRONMENT,
    Condition,
    Oracle,
    Row,
    arrays,
    as_oracle,
    bools,
    numbers,
    rows,
    same,
)
from tests.naive import expr as naive

# As plain Python the kernel divides numpy's scalars, which warn where the compiled one just gives inf or NaN.
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")

ORACLE = Oracle()
PRESENT: Row = {
    "n.a": 2.0,
    "n.b": 0.0,
    "n.c": float("nan"),
    "list.p": True,
    "list.q": False,
    "txn.type": "REFUND",
    "txn.currency": "EUR",
    "txn.card_region": "US",
}
ABSENT: Row = dict.fromkeys(PRESENT)


def run(texts: list[str], kind: VariableKind, batch: list[Row]) -> tuple[Any, Any]:
    """Returns values and known, shape (rows, texts)."""
    events, features, valid = arrays(batch)
    out = np.full((len(batch), len(texts)), 7.0)
    out_valid = np.full((len(batch), len(texts)), 7, np.uint8)
    program = Program([ENVIRONMENT.compile(text, result=kind) for text in texts], range(len(texts)))
    program.run(events, features, valid, out, out_valid)
    return out, out_valid


def check_against_cel(condition: Condition, kind: VariableKind, batch: list[Row]) -> None:
    """Compares value and missingness of one condition on some rows."""
    out, out_valid = run([condition.text], kind, batch)
    for index, row in enumerate(batch):
        expected = ORACLE.evaluate(condition.oracle, row)

        assert (expected is not None) == bool(out_valid[index, 0])
        assert same(0.0 if expected is None else expected, out[index, 0])


@given(bools(4), st.lists(rows(), min_size=1, max_size=4))
def test_bools_agree_with_cel(condition: Condition, batch: list[Row]) -> None:
    """Goal: the same truth and the same missingness as CEL. Method: random typed conditions on random rows."""
    check_against_cel(condition, VariableKind.BOOL, batch)


@given(numbers(4), st.lists(rows(), min_size=1, max_size=4))
def test_numbers_agree_with_cel(condition: Condition, batch: list[Row]) -> None:
    """Goal: the same double, to the sign of zero, as CEL. Method: as above."""
    check_against_cel(condition, VariableKind.NUMBER, batch)


@pytest.mark.parametrize("row", [PRESENT, ABSENT, {**PRESENT, "n.a": None, "list.p": None}, {**PRESENT, "n.a": -0.0}])
@pytest.mark.parametrize(
    "text",
    [
        *(
            f"{left} {sign} {right}"
            for sign in ("&&", "||")
            for left in ("list.p", "true", "false")
            for right in ("list.q",)
        ),
        *("list.q && list.p", "list.q || list.p", "list.p && list.p", "!list.p", "!(n.a > 100)", "!(n.c > 100)"),
        *(f"n.c {sign} n.c" for sign in ("<", "<=", ">", ">=", "==", "!=")),
        *(f"n.a {sign} n.b" for sign in ("<", "<=", ">", ">=", "==", "!=")),
        *(f"n.c {sign} 1" for sign in ("<", "<=", ">", ">=", "==", "!=")),
        *("n.a / n.b > 1", "-n.a / n.b < 1", "n.b / n.b == n.b / n.b", "1 / n.b == 1 / -n.b", "n.c in [1, 2]"),
        *("n.b in [-0.0]", "n.a in [0x2, 5]", "txn.currency in ['EUR', 'US']", "txn.type != 'REFUND'"),
        *("list.p ? n.a > 1 : n.c > 1", "list.q ? n.a > 1 : true", "has(n.a) ? n.a > 1 : false", "has(txn.type)"),
        *("txn.currency == txn.card_region", "txn.currency != txn.card_region", "n.a - 1 - 1 == n.a - (1 - 1)"),
        *("n.a > 1 && n.b < 1 || list.q && !list.p", "n.a + n.b * 3 >= 2", "1 < n.a == list.p", "-n.a < -1"),
    ],
)
def test_a_table_of_conditions_agrees_with_cel(text: str, row: Row) -> None:
    """Goal: each operator, absorption, IEEE comparison and precedence, by name. Method: a table against CEL."""
    check_against_cel(Condition(text, as_oracle(text)), VariableKind.BOOL, [row])


@given(st.lists(bools(3), min_size=1, max_size=4), st.lists(rows(), max_size=5))
def test_evaluate_agrees_with_naive(conditions: list[Condition], batch: list[Row]) -> None:
    """Goal: the kernel is its twin. Method: several random conditions in one program, on random rows."""
    expressions = [ENVIRONMENT.compile(each.text, result=VariableKind.BOOL) for each in conditions]
    program = assemble([each.instructions for each in expressions], range(len(expressions)))
    expected, actual = (
        (np.zeros((len(batch), len(conditions))), np.zeros((len(batch), len(conditions)), np.uint8)) for _ in range(2)
    )
    stack = np.zeros(2 * STACK_DEPTH_MAX)
    expected_status = naive.evaluate(program, stack, *arrays(batch), *expected)
    status = kernels.evaluate(program, stack, *arrays(batch), *actual)

    assert expected_status == status
    assert expected[1].tolist() == actual[1].tolist()
    assert expected[0].tobytes() == actual[0].tobytes()


@given(numbers(4), st.lists(rows(), min_size=1, max_size=4))
@example(Condition("1 / (0 - n.b)", ""), [PRESENT])
def test_evaluate_of_numbers_agrees_with_naive(condition: Condition, batch: list[Row]) -> None:
    """Goal: arithmetic as the twin does it. Method: random numbers; NaN of any sign is NaN."""
    expression = ENVIRONMENT.compile(condition.text, result=VariableKind.NUMBER)
    program = assemble([expression.instructions], [0])
    expected, actual = ((np.zeros((len(batch), 1)), np.zeros((len(batch), 1), np.uint8)) for _ in range(2))
    stack = np.zeros(2 * STACK_DEPTH_MAX)
    naive.evaluate(program, stack, *arrays(batch), *expected)
    kernels.evaluate(program, stack, *arrays(batch), *actual)

    assert expected[1].tolist() == actual[1].tolist()
    assert all(same(one, other) for one, other in zip(expected[0][:, 0], actual[0][:, 0], strict=True))


@pytest.mark.parametrize(
    ("array", "shape"),
    [
        *(("events", (3, 83)), ("events", (2, 6)), ("features", (2, 2)), ("features", (3, 5)), ("valid", (2, 4))),
        *(("valid", (1, 5)), ("out", (2, 1)), ("out", (1, 2)), ("out_valid", (2, 1)), ("out_valid", (3, 2))),
    ],
)
def test_evaluate_refuses_a_batch_that_does_not_fit(array: str, shape: tuple[int, int]) -> None:
    """Goal: no read or write out of bounds. Method: one array at a time is too small or of another length."""
    expressions = [ENVIRONMENT.compile(text, result=VariableKind.BOOL) for text in ("n.c > 1", "has(txn.currency)")]
    program = assemble([each.instructions for each in expressions], [0, 1])
    given_arrays: dict[str, Any] = {
        "events": np.zeros((2, 83), np.int64),
        "features": np.zeros((2, 5)),
        "valid": np.ones((2, 5), np.uint8),
        "out": np.full((2, 2), 7.0),
        "out_valid": np.full((2, 2), 7, np.uint8),
    }
    stack = np.zeros(2 * STACK_DEPTH_MAX)

    assert kernels.evaluate(program, stack, *given_arrays.values()) == 2
    given_arrays[array] = np.full(shape, 7, given_arrays[array].dtype)
    before = {name: each.copy() for name, each in given_arrays.items()}
    assert naive.evaluate(program, stack, *given_arrays.values()) == -1
    assert kernels.evaluate(program, stack, *given_arrays.values()) == -1
    assert all((before[name] == each).all() for name, each in given_arrays.items())
