"""The checksum of the velocity benchmark: it accepts the truth, and nothing else."""

import numpy as np
import pytest

from benchmarks.velocity.checking import Answers, check
from benchmarks.velocity.workload import ENTITIES, OPERATIONS, WINDOWS_S, Payments, make_payments
from riskengine.types import US_PER_SECOND
from riskengine.velocity.schema import Profile

_COUNT, _SUM, _MEAN = 0, 1, 2


def truth(payments: Payments) -> Answers:
    """Answers by comparing every payment with every other."""
    found = np.full((len(payments), len(ENTITIES), len(WINDOWS_S), len(OPERATIONS)), np.nan)
    times = payments.time_us
    for row in range(len(payments)):
        for entity, keys in enumerate(payments.keys):
            for window, seconds in enumerate(WINDOWS_S.values()):
                within = (keys == keys[row]) & (times <= times[row]) & (times > times[row] - seconds * US_PER_SECOND)
                count, total = int(within.sum()), int(payments.amount[within].sum())
                mean = (total - payments.amount[row]) / (count - 1) if count > 1 else np.nan
                found[row, entity, window] = count, total, mean, payments.declined[within].sum()
    return found.reshape(len(payments), -1)


@pytest.mark.parametrize(("operation", "change"), [(_COUNT, 1), (_SUM, -1), (_MEAN, 1e-3), (3, 1)])
def test_one_wrong_answer_is_found(operation: int, change: float) -> None:
    """Goal: no peer agrees by mistake. Method: the truth passes; one answer changed by little does not."""
    payments = make_payments(60, entities=4).in_order(50)
    right = truth(payments)
    wrong = right.copy()
    wrong[49, len(OPERATIONS) * (len(WINDOWS_S) - 1) + operation] += change

    assert check(right, right, payments, peer="truth") == 1.0
    with pytest.raises(AssertionError, match="truth: 1 of"):
        check(wrong, right, payments, peer="truth")


def test_entity_beyond_its_rows_may_answer_within_its_bounds_only() -> None:
    """Goal: thinning is checked as it is promised. Method: one entity with more payments than rows, answers beside the truth."""
    rows_max = Profile().rows_max
    payments = make_payments(rows_max + 60, entities=1).in_order(rows_max + 20)
    right = truth(payments)
    column = len(OPERATIONS) * (len(WINDOWS_S) - 2) + _COUNT  # 7 days, which hold about a sixth of them
    cells = {name: right.copy() for name in ("less", "more")}
    cells["less"][-1, column] -= 1
    cells["more"][-1, column] += rows_max

    assert 0.5 < check(right, right, payments, peer="truth") < 1.0
    for answers in cells.values():
        with pytest.raises(AssertionError, match="amount_count is out of bounds"):
            check(answers, right, payments, peer="truth")


def test_payments_in_order_have_no_ties() -> None:
    """Goal: no answer hangs on how a tie is broken. Method: the times of those that are not late; the late share is about 1 %."""
    payments = make_payments(20_000, entities=50)
    ordered = payments.in_order(len(payments))

    assert (np.diff(ordered.time_us) > 0).all()
    assert 0.005 < payments.late.mean() < 0.015
