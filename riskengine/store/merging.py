"""Which small files become one: small enough to be cheap, few enough to be quick to read.

A file is written for each flush, so a quiet server leaves many small ones. Those of a day that is over are merged into as few as
may be; those of the current day once there are more than `DAY_PARTS_MAX`, the newest first and older ones only while they
are not much larger, so that a row is written anew a few times in its life, not at each merge.

INVARIANTS: only neighbours of one day are merged; what was merged is not merged again when nothing was added.

Called by `store`.
"""

from collections.abc import Sequence
from datetime import date
from itertools import groupby
from typing import Final

from .folder import Part

PART_ROWS_MAX: Final = 1_000_000
"""Rows of a merged file at most: 5 to 10 s of work, about 100 MB."""
DAY_PARTS_MAX: Final = 16


def mergers(parts: Sequence[Part], *, today: date, rows_max: int = PART_ROWS_MAX) -> list[list[Part]]:
    """Returns groups of files, each to become one.

    Args:
        parts: All files in order.
        today: Day of the newest row; earlier days are over.
        rows_max: Rows of a merged file at most.
    """
    chosen: list[list[Part]] = []
    for day, group in groupby(parts, key=lambda part: part.day):
        of_day = list(group)
        chosen += _packed(of_day, rows_max) if day < today else _newest(of_day, rows_max)
    return [group for group in chosen if len(group) > 1]


def _packed(parts: list[Part], rows_max: int) -> list[list[Part]]:
    """Parts files into groups that are as large as may be."""
    groups: list[list[Part]] = []
    row_count = rows_max
    for part in parts:
        if row_count + part.row_count > rows_max:
            groups.append([])
            row_count = 0
        groups[-1].append(part)
        row_count += part.row_count
    return groups


def _newest(parts: list[Part], rows_max: int) -> list[list[Part]]:
    """Returns one group: the newest files, if there are too many."""
    if len(parts) <= DAY_PARTS_MAX:
        return []
    group: list[Part] = []
    row_count = 0
    for part in reversed(parts):
        if group and (part.row_count > 2 * row_count or row_count + part.row_count > rows_max):
            break
        group.insert(0, part)
        row_count += part.row_count
    return [group]
