"""Appending to the journal: reserve, append, sync, and only then answer.

The engine's loop, for each group: `reserve` before any state moves, apply the events, `append`, `sync`, answer,
`prepare`.

INVARIANTS: frame n+1 is written only after `sync` of frame n returned. `append` writes within reserved, preallocated
space by one call, so a full disk is met in `reserve` alone. After a failed write or sync the writer refuses everything:
a sync that is repeated after a failure may succeed without the data (the kernel has marked the pages clean), so
the process must end and the next one reads what is really there.

Called by `engine`, which holds the lock on the data directory and is the only writer.
"""

import errno
import logging
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn, ParamSpec, TypeVar

from riskengine.errors import JournalFault, JournalFull, StartRefused
from riskengine.types import WordMatrix

from .codec import CommitEncoder, encode_activation
from .directory import journal_folder
from .disk import Disk, OsDisk
from .format import (
    ACTIVATION_BYTES_MAX,
    FRAME_ROWS_MAX,
    JOURNAL_ID_BYTES,
    NO_HASH,
    ROW_BYTES_MAX,
    SECTOR_BYTES,
    SEGMENT_BYTES_DEFAULT,
    SEGMENT_BYTES_MIN,
    SEGMENT_HEADER_BYTES,
    FrameKind,
    SegmentHeader,
    activation_frame_bytes_max,
    chain_hash,
    crc_seed,
    events_frame_bytes_max,
    seal_frame,
)
from .kept import journal_exists
from .places import Tail
from .scan import Scan
from .segment import STEP_BYTES, Spare

logger = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")


class JournalWriter:
    """The end of a journal. Made by `create` or `open`.

    Args:
        disk: Where to write.
        data_dir: The data directory.
        segment_bytes: Length of segments to come, bytes, a multiple of 512, at least 4096.

    Attributes:
        rows_max: Rows that a group commit may have: what fits into an empty segment in the worst case, at most 4096.
    """

    def __init__(self, disk: Disk, data_dir: Path, *, segment_bytes: int) -> None:
        if segment_bytes < SEGMENT_BYTES_MIN or segment_bytes % SECTOR_BYTES:
            raise StartRefused(f"segments of {segment_bytes} bytes: at least 4096 and a multiple of 512 are needed")
        self._disk = disk
        self._folder = journal_folder(data_dir)
        self._segment_bytes = segment_bytes
        self._spare = Spare(disk, self._folder, segment_bytes=segment_bytes)
        self._encoder = CommitEncoder()
        room_bytes = segment_bytes - SEGMENT_HEADER_BYTES - events_frame_bytes_max(0)
        self.rows_max = max(0, min(FRAME_ROWS_MAX, room_bytes // ROW_BYTES_MAX))
        self._descriptor = -1
        self._segment: SegmentHeader | None = None
        self._seed = 0
        self._offset = 0
        self._hash = NO_HASH
        self._next_sequence = 1
        self._reserved_rows = 0
        self._unsynced = False
        self._fault = ""
        self._full_until_offset = 0

    @classmethod
    def create(
        cls,
        data_dir: Path,
        *,
        journal_id: bytes,
        disk: Disk | None = None,
        segment_bytes: int = SEGMENT_BYTES_DEFAULT,
    ) -> "JournalWriter":
        """Begins a journal in a data directory that has none.

        Args:
            data_dir: The data directory; it exists.
            journal_id: 16 random bytes.
            disk: Where to write; the operating system's by default.
            segment_bytes: Length of each segment, bytes, a multiple of 512, at least 4096.

        Returns:
            The writer, ready for sequence 1.

        Raises:
            StartRefused: There is a journal, or `segment_bytes` is out of range.
            JournalFull: There is no space for the first segment.
            JournalFault: The disk failed.
        """
        assert len(journal_id) == JOURNAL_ID_BYTES, "a journal id has 16 bytes"
        writer = cls(disk or OsDisk(), data_dir, segment_bytes=segment_bytes)
        if journal_exists(data_dir, disk=writer._disk):
            raise StartRefused(f"there is a journal in {writer._folder} already")
        writer._guard(writer._disk.make_folder, writer._folder)
        writer._guard(writer._spare.discard)
        writer._begin_segment(journal_id, index=0)
        return writer

    @classmethod
    def open(
        cls,
        data_dir: Path,
        *,
        tail: Tail | None = None,
        disk: Disk | None = None,
        segment_bytes: int = SEGMENT_BYTES_DEFAULT,
    ) -> "JournalWriter":
        """Goes on with a journal after its last valid frame, and makes durable what was read.

        The remains of a torn frame are zeroed and synced first, or a shorter frame would leave some of them behind
        itself. That is safe: the frame was never answered, nothing valid lies behind it, and a crash in between leaves
        more zeros, so the tail is judged the same way again. The last frame is written once more over itself and
        synced: the process before this one may have ended between write and sync, or because the sync failed, and then
        the frame is only in the page cache, possibly marked clean. All earlier ones were synced.

        Args:
            data_dir: The data directory.
            tail: Where the journal ends, from the `JournalReader` that read it; None to read it here.
            disk: Where to write; the operating system's by default.
            segment_bytes: Length of segments to come, bytes, a multiple of 512, at least 4096.

        Returns:
            The writer, ready for the next sequence.

        Raises:
            StartRefused: There is no journal, or a newer version of the engine wrote it.
            JournalCorrupt: The journal is damaged.
            JournalFault: The disk failed.
        """
        writer = cls(disk or OsDisk(), data_dir, segment_bytes=segment_bytes)
        if tail is None:
            tail = read_tail(data_dir, disk=writer._disk)
        writer._guard(writer._spare.discard)
        writer._segment = tail.segment
        writer._seed = crc_seed(tail.segment.journal_id)
        writer._offset = tail.offset
        writer._hash = tail.chain_hash
        writer._next_sequence = tail.next_sequence
        writer._descriptor = writer._guard(writer._disk.open, writer._folder / tail.segment.name, create=False)
        if tail.torn_bytes:
            writer._write(bytes(tail.torn_bytes), tail.offset)
            writer._guard(writer._disk.sync_data, writer._descriptor)
        if tail.last_frame:
            writer._write(tail.last_frame, tail.offset - len(tail.last_frame))
        writer._guard(writer._disk.sync_data, writer._descriptor)
        writer._guard(writer._disk.sync_folder, writer._folder)
        return writer

    @property
    def next_sequence(self) -> int:
        """Sequence of the next event, at least 1."""
        return self._next_sequence

    def reserve(self, row_count: int) -> None:
        """Makes sure that a group commit of `row_count` rows fits, by beginning the next segment if need be.

        Call it before the state moves. If the reserved rows are then not used, nothing is lost.

        Args:
            row_count: From 1 to `rows_max`.

        Raises:
            JournalFull: There is no space; nothing changed, and it may be tried again.
            JournalFault: The disk failed, now or before.
        """
        assert 0 < row_count <= self.rows_max, "a group fits in a segment"
        self._reserve_bytes(events_frame_bytes_max(row_count))
        self._encoder.reserve(row_count)
        self._reserved_rows = row_count

    def append(self, events: WordMatrix, decisions: WordMatrix) -> None:
        """Writes one group commit; it is durable only when `sync` has returned.

        Args:
            events: int64[n, EVENT_WORDS], contiguous, 1 <= n <= the reserved rows; sequences from `next_sequence` on
                without a gap.
            decisions: int64[n, DECISION_WORDS], contiguous: what was decided on each.

        Raises:
            JournalFault: The disk failed, now or before.
        """
        assert len(events) <= self._reserved_rows, "space was reserved"
        body = self._encoder.encode(events, decisions, first_sequence=self._next_sequence)
        self._append(FrameKind.EVENTS, body, len(events))
        self._reserved_rows = 0

    def append_activation(self, revision: int, content: bytes) -> None:
        """Writes the configuration that decides from the next event on; durable only when `sync` has returned.

        Args:
            revision: Ordinal of the activation, at least 1.
            content: JSON in UTF-8 without zero bytes, at most 4 MiB, and at most what a segment holds.

        Raises:
            ValueError: The content is too long or has a zero byte; nothing changed.
            JournalFull: There is no space; nothing changed, and it may be tried again.
            JournalFault: The disk failed, now or before.
        """
        size_bytes = activation_frame_bytes_max(len(content))
        if len(content) > ACTIVATION_BYTES_MAX or size_bytes > self._segment_bytes - SEGMENT_HEADER_BYTES:
            raise ValueError(f"an activation of {len(content)} bytes does not fit into a segment")
        if b"\0" in content:
            raise ValueError("the content of an activation has no zero bytes")
        self._reserve_bytes(size_bytes)
        self._reserved_rows = 0
        self._append(FrameKind.ACTIVATION, encode_activation(revision, content), 0)

    def sync(self) -> None:
        """Returns when everything appended is durable. Answers may leave after it.

        Raises:
            JournalFault: The disk failed, now or before. The engine must end without answering.
        """
        self._require_sound()
        self._guard(self._disk.sync_data, self._descriptor)
        self._unsynced = False

    def prepare(self) -> bool:
        """Zeroes a bit of the next segment if that is behind; for the time after the answers have left.

        The next segment is ready when the current one is half full. Takes about 1 ms once in 128 KiB of frames, else
        nothing. A full disk is logged here and refused in `reserve`, when it matters.

        Returns:
            Whether there was something to do.

        Raises:
            JournalFault: The disk failed, now or before.
        """
        self._require_sound()
        assert self._segment is not None
        due_bytes = min(self._segment_bytes, 2 * self._offset * self._segment_bytes // self._segment.segment_bytes)
        if self._spare.zeroed_bytes >= due_bytes or self._offset < self._full_until_offset:
            return False
        try:
            self._guard(self._spare.step)
        except JournalFull:
            self._full_until_offset = self._offset + STEP_BYTES
            logger.warning("journal: no space for the next segment of %d bytes", self._segment_bytes)
        return True

    def close(self) -> None:
        """Closes the segment. What was not synced stays so."""
        if self._descriptor >= 0:
            self._disk.close(self._descriptor)
            self._descriptor = -1
        if not self._fault:
            self._fault = "it is closed"

    def _reserve_bytes(self, size_bytes: int) -> None:
        """Makes sure that a frame of `size_bytes` fits into the current segment. Raises as `reserve` does."""
        self._require_sound()
        assert self._segment is not None
        assert not self._unsynced, "a frame is written only after the one before it was synced"
        if self._offset + size_bytes > self._segment.segment_bytes:
            self._begin_segment(self._segment.journal_id, index=self._segment.index + 1)

    def _begin_segment(self, journal_id: bytes, *, index: int) -> None:
        """Finishes the spare and goes on in it. Raises as `reserve` does."""
        self._guard(self._spare.finish)
        header = SegmentHeader(
            journal_id=journal_id,
            index=index,
            first_sequence=self._next_sequence,
            previous_hash=self._hash,
            segment_bytes=self._segment_bytes,
        )
        descriptor = self._guard(self._spare.activate, header)
        if self._descriptor >= 0:
            self._disk.close(self._descriptor)
        self._descriptor = descriptor
        self._segment = header
        self._seed = crc_seed(journal_id)
        self._offset = SEGMENT_HEADER_BYTES
        self._hash = chain_hash(header.pack())
        self._full_until_offset = 0

    def _append(self, kind: FrameKind, body: bytes, row_count: int) -> None:
        """Seals a frame around a body and writes it into reserved space."""
        self._require_sound()
        assert self._segment is not None
        assert not self._unsynced, "a frame is written only after the one before it was synced"
        frame, frame_hash = seal_frame(
            kind,
            body,
            row_count=row_count,
            first_sequence=self._next_sequence,
            previous_hash=self._hash,
            seed=self._seed,
        )
        assert self._offset + len(frame) <= self._segment.segment_bytes, "space was reserved"
        self._unsynced = True
        self._write(frame, self._offset)
        self._offset += len(frame)
        self._hash = frame_hash
        self._next_sequence += row_count

    def _write(self, data: bytes, offset: int) -> None:
        """Writes all of `data` by one call."""
        if self._guard(self._disk.write, self._descriptor, data, offset) != len(data):
            self._fail(OSError(errno.EIO, "short write"))

    def _guard(self, call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Makes a call that touches the disk; its failure is the writer's."""
        try:
            return call(*args, **kwargs)
        except OSError as error:
            self._fail(error)

    def _fail(self, error: OSError) -> NoReturn:
        """Refuses everything from now on."""
        self._fault = f"{error.strerror or error} before sequence {self._next_sequence}"
        self._require_sound(error)
        raise AssertionError("unreachable")

    def _require_sound(self, cause: OSError | None = None) -> None:
        """Raises `JournalFault` if the disk has failed."""
        if self._fault:
            raise JournalFault(
                f"the journal in {self._folder} cannot be written: {self._fault}; the engine must end; "
                "check the disk, then start it again",
                metadata={"folder": str(self._folder), "sequence": str(self._next_sequence)},
            ) from cause


def read_tail(data_dir: Path, *, disk: Disk | None = None) -> Tail:
    """Proves all frames of a journal without unpacking them, and returns where it ends.

    Raises:
        StartRefused: There is no journal, or a newer version of the engine wrote it.
        JournalCorrupt: It is damaged.
    """
    scan = Scan(disk or OsDisk(), data_dir)
    for _ in scan.frames():
        pass
    assert scan.tail is not None
    return scan.tail
