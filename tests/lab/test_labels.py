"""Labels among the events of a history: one order, whoever asks and wherever chunks begin."""

from collections.abc import Iterator

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from riskengine.lab.labels import Label, with_labels

Event = tuple[int, int | None]
"""Time, and when it became known that it was fraud."""
STREAMS = st.lists(st.tuples(st.integers(0, 12), st.none() | st.integers(-3, 15)), max_size=20).map(
    lambda events: sorted(events, key=lambda event: event[0])
)


def chunks_of(events: list[Event], size: int) -> Iterator[tuple[list[int], np.ndarray, list[Label[int]]]]:
    """Cuts a stream into chunks, with an empty one between them, as where all rows of a batch are bad."""
    for first in range(0, len(events), size):
        part = events[first : first + size]
        labels = [Label(row, known_us, first + row) for row, (_, known_us) in enumerate(part) if known_us is not None]
        yield list(range(first, first + len(part))), np.array([time for time, _ in part], np.int64), labels
        yield [], np.empty(0, np.int64), []


def told(events: list[Event], size: int) -> tuple[list[str], list[tuple[int, int]]]:
    """Returns the order that comes out, and the labels at the end with their times."""
    order: list[str] = []
    for chunk, labels in with_labels(chunks_of(events, size)):
        if chunk is None:
            return order, [(label.known_us, label.report) for label in labels]
        for index, event in enumerate(chunk):
            order += [f"label {label.report}" for label in labels if label.row == index]
            order.append(f"event {event}")
        assert all(label.row < len(chunk) for label in labels)
    raise AssertionError("the end is told")


@given(events=STREAMS, size=st.integers(1, 7))
@example(events=[(0, 0), (0, None), (1, None)], size=1)
@example(events=[(0, 5), (5, None), (5, None), (6, None)], size=2)
def test_labels_come_when_they_are_known_and_chunks_change_nothing(events: list[Event], size: int) -> None:
    """Goal: one order for training and for loading. Method: against a plain sort of all events and labels."""
    times = [time for time, _ in events]
    turns = [
        (max(known, time), index) for index, (time, known) in enumerate(events) if known is not None
    ]  # a label follows its own event, whatever it states
    last = max(times, default=0)
    # Behind events of the same time: (time, 1) sorts behind (time, 0).
    plain = sorted(
        [(time, 0, f"event {index}") for index, time in enumerate(times)]
        + [(turn, 1, f"label {index}") for turn, index in sorted(turns) if turn < last],
        key=lambda item: item[:2],
    )
    rest = [(events[index][1], index) for turn, index in sorted(turns) if turn >= last]

    assert ([name for _, _, name in plain], rest) == told(events, size)


def test_no_events_have_no_labels() -> None:
    """Goal: an empty history is no trouble. Method: no chunk at all."""
    assert ([], []) == told([], 3)
