"""Reading a journal: recovery, replay and `journal verify` begin here.

INVARIANTS: what is yielded is in the order of the journal and proved by `scan`; the tail is known only when everything
was read. Rows are fresh arrays that the caller may keep.

Called by `engine` (recovery, followers), `cli` (verify, replay).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from riskengine.errors import JournalCorrupt
from riskengine.types import Array

from .codec import CommitDecoder, decode_activation
from .directory import segment_names
from .disk import Disk, OsDisk
from .format import FrameKind
from .scan import Frame, Scan, Tail

CHUNK_ROWS_MAX = 4096
"""4.6 MB of rows: larger chunks are slower, as they leave the cache and touch fresh pages."""


@dataclass(frozen=True, slots=True)
class Commits:
    """Rows of one or more group commits that follow each other.

    Attributes:
        events: EVENT[n], n >= 1, sequences without a gap.
        decisions: DECISION[n], as taken at the time.
    """

    events: Array
    decisions: Array


@dataclass(frozen=True, slots=True)
class Activated:
    """A configuration that decides from `sequence` on.

    Attributes:
        sequence: Sequence of the next event.
        revision: Ordinal of the activation.
        content: JSON in UTF-8, as it was given.
    """

    sequence: int
    revision: int
    content: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What `verify` found.

    Attributes:
        segment_count: Files.
        frame_count: Group commits and activations.
        event_count: Events.
        activation_count: Activations.
        first_sequence: Of the first event, 0 without events.
        last_sequence: Of the last event, 0 without events.
        first_received_time_us: Of the first event, microseconds since the epoch, 0 without events.
        last_received_time_us: Of the last event.
        event_frame_bytes: Length of all frames of events.
        frame_bytes: Length of all frames.
        torn_bytes: Length of what a torn frame left at the end, 0 for none.
        tail_name: The last segment.
        tail_offset: Where the next frame goes in it, bytes.
    """

    segment_count: int
    frame_count: int
    event_count: int
    activation_count: int
    first_sequence: int
    last_sequence: int
    first_received_time_us: int
    last_received_time_us: int
    event_frame_bytes: int
    frame_bytes: int
    torn_bytes: int
    tail_name: str
    tail_offset: int

    @property
    def bytes_per_event(self) -> float:
        """Mean length of an event with its decision and its share of the frame, bytes; 0.0 without events."""
        return self.event_frame_bytes / self.event_count if self.event_count else 0.0


class JournalReader:
    """One pass over a journal, in chunks.

    Args:
        data_dir: The data directory.
        disk: Where to read.
        chunk_rows_max: Rows yielded together at most; at least one group commit is.

    Raises:
        StartRefused: There is no journal, or a newer version of the engine wrote it.
    """

    def __init__(self, data_dir: Path, *, disk: Disk | None = None, chunk_rows_max: int = CHUNK_ROWS_MAX) -> None:
        self._scan = Scan(disk or OsDisk(), data_dir)
        self._chunk_rows_max = chunk_rows_max
        self.frame_count = 0
        self.frame_bytes = 0
        self.event_frame_bytes = 0

    @property
    def segment_count(self) -> int:
        """Segments of the journal."""
        return self._scan.segment_count

    @property
    def tail(self) -> Tail:
        """Where the journal ends; only after everything was read."""
        assert self._scan.tail is not None, "the journal was read to its end"
        return self._scan.tail

    def __iter__(self) -> Iterator[Commits | Activated]:
        """Yields everything in order.

        Raises:
            JournalCorrupt: At the damage; what was yielded before it is right.
        """
        decoder = CommitDecoder()
        gathered: list[Frame] = []
        for frame in self._scan.frames():
            self.frame_count += 1
            self.frame_bytes += frame.size_bytes
            if gathered and (
                frame.kind == FrameKind.ACTIVATION or decoder.row_count + frame.row_count > self._chunk_rows_max
            ):
                yield _take(decoder, gathered)
            if frame.kind == FrameKind.ACTIVATION:
                yield _activated(frame)
                continue
            self.event_frame_bytes += frame.size_bytes
            if not decoder.add(frame.body, first_sequence=frame.first_sequence, row_count=frame.row_count):
                raise _meaningless(frame)
            gathered.append(frame)
        if gathered:
            yield _take(decoder, gathered)


def _take(decoder: CommitDecoder, gathered: list[Frame]) -> Commits:
    """Unpacks the gathered frames and empties the list."""
    taken = decoder.take()
    if isinstance(taken, int):
        raise _meaningless(gathered[taken])
    gathered.clear()
    return Commits(*taken)


def _activated(frame: Frame) -> Activated:
    """Returns what a frame of kind ACTIVATION holds."""
    activation = decode_activation(frame.body)
    if activation is None:
        raise _meaningless(frame)
    return Activated(frame.first_sequence, *activation)


def _meaningless(frame: Frame) -> JournalCorrupt:
    """Returns the error for a body whose checksum is right and whose content is not."""
    return JournalCorrupt(
        "a frame body without meaning", file=frame.name, offset=frame.offset, sequence=frame.first_sequence
    )


def journal_exists(data_dir: Path, *, disk: Disk | None = None) -> bool:
    """Tells whether a data directory has a journal."""
    return bool(segment_names(disk or OsDisk(), data_dir))


def read_journal(data_dir: Path, *, disk: Disk | None = None) -> Iterator[Commits | Activated]:
    """Yields a journal in chunks; see `JournalReader`, which also tells where it ends."""
    yield from JournalReader(data_dir, disk=disk)


def verify(data_dir: Path, *, disk: Disk | None = None) -> Summary:
    """Reads all of a journal and says what is in it.

    Args:
        data_dir: The data directory.
        disk: Where to read.

    Returns:
        The summary.

    Raises:
        JournalCorrupt: It is damaged.
        StartRefused: There is no journal, or a newer version of the engine wrote it.
    """
    reader = JournalReader(data_dir, disk=disk)
    activation_count = 0
    event_count = 0
    ends = np.zeros((2, 2), np.int64)  # of the first and the last event: sequence, received time
    for item in reader:
        if isinstance(item, Activated):
            activation_count += 1
            continue
        ends[1] = item.events["sequence"][-1], item.events["received_time_us"][-1]
        if event_count == 0:
            ends[0] = item.events["sequence"][0], item.events["received_time_us"][0]
        event_count += len(item.events)
    tail = reader.tail
    return Summary(
        segment_count=reader.segment_count,
        frame_count=reader.frame_count,
        event_count=event_count,
        activation_count=activation_count,
        first_sequence=int(ends[0, 0]),
        last_sequence=int(ends[1, 0]),
        first_received_time_us=int(ends[0, 1]),
        last_received_time_us=int(ends[1, 1]),
        event_frame_bytes=reader.event_frame_bytes,
        frame_bytes=reader.frame_bytes,
        torn_bytes=tail.torn_bytes,
        tail_name=tail.segment.name,
        tail_offset=tail.offset,
    )


__all__ = [
    "CHUNK_ROWS_MAX",
    "Activated",
    "Commits",
    "JournalReader",
    "Summary",
    "Tail",
    "journal_exists",
    "read_journal",
    "verify",
]
