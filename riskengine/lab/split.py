"""Splits a history by time into what a model learns from, what calibrates it, and what judges it.

    |-------- train --------|-- gap --|-- calibration --|-- test --|  event time

The gap is as long as labels take to arrive: when the first calibration row was scored, newer labels were not known.

INVARIANTS: no row is in two parts, no event time is split between parts, and only rows whose label is known are in any.

Called by `fit`.
"""

from typing import Any

import numpy as np

from riskengine.errors import HistoryError
from riskengine.types import US_PER_DAY, Flags, Ints


def split_by_time(
    event_time_us: Ints, known: Flags, *, label_delay_us: int, calibration_share: float, test_share: float
) -> dict[str, Flags]:
    """Returns the parts as masks: ``train``, ``gap``, ``calibration``, ``test``.

    Args:
        event_time_us: int64[n], microseconds since the epoch, in any order.
        known: bool[n], whether the row's label is known.
        label_delay_us: Length of the gap, at least 0.
        calibration_share: Of the known rows, above 0.
        test_share: Of the known rows, the newest, at least 0; both together below 1.

    Raises:
        HistoryError: If no label is known.
    """
    assert calibration_share > 0, "something to calibrate with"
    assert test_share >= 0, "a share is not negative"
    assert calibration_share + test_share < 1, "something to learn from"
    times = np.sort(event_time_us[known])
    if len(times) == 0:
        raise HistoryError("no row has a known label; give labels, or wait until some have arrived")
    calibration_start = times[int(len(times) * (1 - calibration_share - test_share))]
    test_start = times[min(int(len(times) * (1 - test_share)), len(times) - 1)] if test_share else times[-1] + 1
    train_end = calibration_start - label_delay_us
    return {
        "train": known & (event_time_us < train_end),
        "gap": known & (event_time_us >= train_end) & (event_time_us < calibration_start),
        "calibration": known & (event_time_us >= calibration_start) & (event_time_us < test_start),
        "test": known & (event_time_us >= test_start),
    }


def describe_parts(parts: dict[str, Flags], labels: Flags, event_time_us: Ints) -> dict[str, Any]:
    """Returns rows, frauds and days of each part, as plain JSON values.

    Days count from the first event of any part.
    """
    first_us = min((int(event_time_us[mask].min()) for mask in parts.values() if mask.any()), default=0)
    result: dict[str, Any] = {}
    for name, mask in parts.items():
        days = (event_time_us[mask] - first_us) / US_PER_DAY
        result[name] = {
            "rows": int(np.count_nonzero(mask)),
            "frauds": int(np.count_nonzero(labels[mask])),
            "first_day": round(float(days.min()), 3) if len(days) else None,
            "last_day": round(float(days.max()), 3) if len(days) else None,
        }
    return result
