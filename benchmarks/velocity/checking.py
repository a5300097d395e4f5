"""Holds the engine's answers against those of a peer: the checksum of the benchmark.

INVARIANTS: where an entity has not outgrown its rows, counts and sums are equal and means within 1e-9; where it has, a count or
a sum lies between the truths for w and for w(1 + epsilon), and the mean is that of its own count and sum. Called by
`benchmarks.velocity`.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from benchmarks.velocity.workload import ENTITIES, OPERATIONS, WINDOWS_S, Payments
from riskengine.types import US_PER_SECOND, Ints
from riskengine.velocity.schema import Profile

MEAN_ERROR_MAX: Final = 1e-9
_COUNT, _SUM, _MEAN, _DECLINED = range(len(OPERATIONS))

Answers = npt.NDArray[np.float64]


def check(ours: Answers, theirs: Answers, payments: Payments, *, peer: str) -> float:
    """Compares answers.

    Args:
        ours, theirs: float64[n, 144], NaN where there is no answer.
        payments: The n of them, none late.
        peer: Its name, for the message.

    Returns:
        The share of answers that had to be equal.

    Raises:
        AssertionError: They differ.
    """
    shape = (len(payments), len(ENTITIES), len(WINDOWS_S), len(OPERATIONS))
    mine, yours = ours.reshape(shape), theirs.reshape(shape)
    grown = np.stack([_earlier(keys) >= Profile().rows_max - 1 for keys in payments.keys], axis=1)
    for index, operation in enumerate(OPERATIONS):
        one, other = mine[..., index][~grown], yours[..., index][~grown]
        same = _close(one, other) if index == _MEAN else one == other
        assert same.all(), f"{peer}: {int((~same).sum())} of {same.size} answers of {operation} differ"
    for entity in range(len(ENTITIES)):
        _check_bounds(mine[:, entity], yours[:, entity], payments, entity, grown[:, entity], peer)
    return 1.0 - float(grown.mean())


def _close(one: Answers, other: Answers) -> npt.NDArray[np.bool_]:
    return np.isclose(one, other, rtol=MEAN_ERROR_MAX, atol=0.0, equal_nan=True)


def _earlier(keys: Ints) -> Ints:
    """Returns for each payment how many before it have the same key."""
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    earlier = np.empty(len(keys), np.int64)
    earlier[order] = np.arange(len(keys)) - np.searchsorted(ordered, ordered)
    return earlier


def _check_bounds(
    mine: Answers, yours: Answers, payments: Payments, entity: int, grown: npt.NDArray[np.bool_], peer: str
) -> None:
    """Checks the answers of entities that outgrew their rows; mine and yours are float64[n, windows, operations]."""
    keys = payments.keys[entity]
    for key in np.unique(keys[grown]):
        own = np.flatnonzero(keys == key)
        asked = grown[own]
        rows = own[asked]
        times = payments.time_us[own]
        for window, seconds in enumerate(WINDOWS_S.values()):
            reach = seconds * US_PER_SECOND
            wide = np.searchsorted(times, times[asked] - reach - (reach >> Profile().epsilon_shift), side="right")
            for operation, values in ((_COUNT, None), (_SUM, payments.amount), (_DECLINED, payments.declined)):
                added = np.ones(len(own), np.int64) if values is None else values[own]
                until = np.concatenate([[0], np.cumsum(added)])
                most = until[1:][asked] - until[wide]
                told, least = mine[rows, window, operation], yours[rows, window, operation]
                assert ((least <= told) & (told <= most)).all(), f"{peer}: {OPERATIONS[operation]} is out of bounds"
        events, total = mine[rows, :, _COUNT], mine[rows, :, _SUM]
        before = np.where(events > 1, (total - payments.amount[rows, None]) / np.maximum(events - 1, 1), np.nan)
        assert _close(mine[rows, :, _MEAN], before).all(), f"{peer}: a mean is not that of its count and sum"
