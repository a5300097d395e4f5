"""Fraud labels among the events of a history: each comes when it became known.

A label is a report of its own in the engine, and windows count reports; so where it stands among the events decides what is
known at which payment.

INVARIANTS: a label comes behind every event of the same microsecond or before, and behind its own event whatever time it
states; of two, the one known first comes first. Where chunks begin and end changes nothing. Every label given comes out once.

Called by `lab.features` and `cli.loading`.
"""

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import Generic, TypeVar

import numpy as np

from riskengine.types import Ints

Chunk = TypeVar("Chunk")
Report = TypeVar("Report")


@dataclass(frozen=True, slots=True)
class Label(Generic[Report]):
    """A fraud that became known.

    Attributes:
        row: Its event: index in a chunk. When it comes out of `with_labels`: the index of the event that it stands before.
        known_us: When it became known, microseconds since the epoch.
        report: What the caller makes of it.
    """

    row: int
    known_us: int
    report: Report


def with_labels(
    chunks: Iterable[tuple[Chunk, Ints, Iterable[Label[Report]]]],
) -> Iterator[tuple[Chunk | None, list[Label[Report]]]]:
    """Yields the chunks of a history again, each with the labels that belong among its events.

    Args:
        chunks: Each with the times of its events, int64[n], microseconds, which never fall, and with the labels of its events.

    Yields:
        A chunk and its labels in order. At the end, without a chunk, the labels that became known at the last event or later:
        how many of them are known is the caller's to say.
    """
    waiting: list[tuple[int, int, Label[Report]]] = []
    arrival = count()
    for chunk, times_us, labels in chunks:
        for label in labels:
            # Known before it happened is a mistake of the history; the report still follows the event.
            turn_us = max(label.known_us, int(times_us[label.row]))
            heapq.heappush(waiting, (turn_us, next(arrival), label))
        due: list[Label[Report]] = []
        # At the last time itself more events may follow, in the next chunk.
        while waiting and len(times_us) and waiting[0][0] < times_us[-1]:
            turn_us, _, label = heapq.heappop(waiting)
            before = int(np.searchsorted(times_us, turn_us, side="right"))
            due.append(Label(before, label.known_us, label.report))
        yield chunk, due
    yield None, [Label(0, label.known_us, label.report) for _, _, label in sorted(waiting, key=lambda item: item[:2])]
