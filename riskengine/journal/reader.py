"""Reading a journal: recovery, replay, followers and `journal verify` begin here.

INVARIANTS: what is yielded is in the order of the journal and proved by `scan`; the tail is known only when everything
was read. Rows are fresh arrays that the caller may keep.

Called by `engine` (recovery), the follower, `lab` (replay), `cli`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from riskengine.errors import JournalCorrupt
from riskengine.types import Array

from .codec import CommitDecoder, decode_activation
from .directory import journal_folder
from .disk import Disk, OsDisk
from .extent import Extent
from .format import FrameKind
from .kept import SegmentInfo, journal_exists, segments, trim
from .places import Anchor, Frame, Tail
from .scan import Scan

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
    """A reader of a journal, in chunks. Iterating again goes on behind what was yielded last.

    Args:
        data_dir: The data directory.
        disk: Where to read.
        start: Where to begin, e.g. the `position` of an earlier reader; None for the first segment that is kept.
        live: Whether the journal is being written: a pass ends in silence at the first frame that is not whole, and
            damage there is told only when something valid follows it. See `format`, "Reading while somebody writes".
        chunk_rows_max: Rows yielded together at most; at least one group commit is.

    Attributes:
        frame_count: Frames read so far.
        frame_bytes: Their length.
        event_frame_bytes: Length of those of events.

    Raises:
        StartRefused: There is no journal.
        JournalCorrupt: The marker of trimming is damaged, or what it names is gone.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        disk: Disk | None = None,
        start: Anchor | None = None,
        live: bool = False,
        chunk_rows_max: int = CHUNK_ROWS_MAX,
    ) -> None:
        self._disk = disk or OsDisk()
        self._data_dir = data_dir
        self._live = live
        self._chunk_rows_max = chunk_rows_max
        self._start = start
        self._scan = Scan(self._disk, data_dir, start=start, live=live)
        self._begun = False
        self._behind: Frame | None = None
        self._extent: Extent | None = None
        self.frame_count = 0
        self.frame_bytes = 0
        self.event_frame_bytes = 0

    @property
    def segment_count(self) -> int:
        """Segments that are kept."""
        return len(self._scan.names)

    @property
    def tail(self) -> Tail:
        """Where the journal ends; only after everything was read, and not of a live reader."""
        assert self._scan.tail is not None, "the journal was read to its end, at rest"
        return self._scan.tail

    @property
    def journal_id(self) -> bytes:
        """The 16 bytes that name the journal.

        Raises:
            JournalCorrupt: The header of the segment that the pass starts in is damaged, or that segment is not there.
            StartRefused: A newer version of the engine wrote it.
        """
        return self._scan.first_header()[0].journal_id

    @property
    def position(self) -> Anchor:
        """The place behind what was yielded last; where the pass starts if nothing was. Raises as `journal_id` does."""
        if self._behind is not None:
            return self._behind.end
        return self._start or self._scan.first_header()[1]

    def progress(self) -> tuple[int, int]:
        """Returns the bytes from the start of this pass to `position`, and those to the end of the journal.

        Both count what is in the files, not what is reserved in the last one. The end is that at the first call in a
        pass.
        """
        if self._extent is None:
            self._extent = Extent(self._disk, journal_folder(self._data_dir), self._scan.names, self._start)
        return self._extent.read_of(self._behind)

    def __iter__(self) -> Iterator[Commits | Activated]:
        """Yields everything in order, from `position` on.

        Raises:
            JournalCorrupt: At the damage, after all that precedes it; or `start` is no place of this journal.
            StartRefused: A newer version of the engine wrote a frame, or the journal was trimmed under the reader.
        """
        if self._begun:
            self._start = self.position
            self._scan = Scan(self._disk, self._data_dir, start=self._start, live=self._live)
            self._behind = self._extent = None
        self._begun = True
        decoder = CommitDecoder()
        gathered: list[Frame] = []
        damage: JournalCorrupt | None = None
        try:
            for frame in self._scan.frames():
                is_activation = frame.kind == FrameKind.ACTIVATION
                if gathered and (is_activation or decoder.row_count + frame.row_count > self._chunk_rows_max):
                    yield self._take(decoder, gathered)
                if is_activation:
                    activated = _activated(frame)
                    self._count(1, frame.size_bytes, frame)
                    yield activated
                    continue
                if not decoder.add(frame.body, first_sequence=frame.first_sequence, row_count=frame.row_count):
                    raise _meaningless(frame)
                gathered.append(frame)
        except JournalCorrupt as error:
            damage = error
        if gathered:
            yield self._take(decoder, gathered)
        if damage:
            raise damage

    def _take(self, decoder: CommitDecoder, gathered: list[Frame]) -> Commits:
        """Unpacks the gathered frames and empties the list."""
        frames = list(gathered)
        gathered.clear()
        taken = decoder.take()
        if isinstance(taken, int):
            raise _meaningless(frames[taken])
        size_bytes = sum([frame.size_bytes for frame in frames])
        self.event_frame_bytes += size_bytes
        self._count(len(frames), size_bytes, frames[-1])
        return Commits(*taken)

    def _count(self, frame_count: int, size_bytes: int, last: Frame) -> None:
        """Notes what is about to be yielded."""
        self.frame_count += frame_count
        self.frame_bytes += size_bytes
        self._behind = last


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
    "Anchor",
    "Commits",
    "JournalReader",
    "SegmentInfo",
    "Summary",
    "Tail",
    "journal_exists",
    "read_journal",
    "segments",
    "trim",
    "verify",
]
