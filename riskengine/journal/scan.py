"""From the bytes of segments to frames that are proved: checksums, chain, order; where the journal ends, torn or not.

INVARIANTS: a frame is yielded only when its header, body, place in the chain and sequence are right, so whatever comes
out is a prefix of what was written. Damage raises `JournalCorrupt`; only what rules 2 to 4 of `format` call torn is
dropped, with one warning. Nothing is written here.

Called by `reader`.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

import numpy as np

from riskengine.errors import JournalCorrupt, StartRefused
from riskengine.types import LAYOUT_VERSION

from .directory import journal_folder, parse_segment_name, segment_names
from .disk import Disk
from .format import (
    END_MAGIC,
    FORMAT_VERSION,
    FRAME_BYTES_MAX,
    FRAME_FIELDS_BYTES,
    FRAME_HEADER,
    FRAME_HEADER_BYTES,
    FRAME_MAGIC,
    NO_HASH,
    SECTOR_BYTES,
    SEGMENT_HEADER_BYTES,
    TRAILER,
    TRAILER_BYTES,
    FrameKind,
    SegmentHeader,
    chain_hash,
    crc_seed,
    is_frame_header,
)

logger = logging.getLogger(__name__)

_KINDS = ((FrameKind.EVENTS.value, True), (FrameKind.ACTIVATION.value, False))
"""Kinds, and whether they have rows."""
_CUT_END_MAGICS = tuple(END_MAGIC[:kept].ljust(len(END_MAGIC), b"\0") for kept in range(len(END_MAGIC)))


class Frame(NamedTuple):
    """One proved frame.

    Attributes:
        name: The segment's file name.
        offset: First byte in the segment.
        size_bytes: Length of the whole frame.
        kind: `FrameKind`.
        row_count: Events, 0 for an activation.
        first_sequence: Sequence of the first event, or of the next one.
        body: The serialized message, a view of the segment's bytes.
    """

    name: str
    offset: int
    size_bytes: int
    kind: int
    row_count: int
    first_sequence: int
    body: memoryview


@dataclass(frozen=True, slots=True, kw_only=True)
class Tail:
    """Where the journal ends: what the writer needs to go on.

    Attributes:
        segment: Header of the last segment.
        offset: Where the next frame goes, bytes.
        next_sequence: Sequence of the next event.
        chain_hash: Hash of the last frame, or of the segment's header if it has none.
        last_frame: Bytes of the last segment's last frame, which ends at `offset`; empty if it has none.
        torn_bytes: Bytes from `offset` on, beyond which all is zero: the remains of a torn frame, 0 for none.
    """

    segment: SegmentHeader
    offset: int
    next_sequence: int
    chain_hash: bytes
    last_frame: bytes
    torn_bytes: int


class Scan:
    """One pass over all frames of a journal.

    Args:
        disk: Where to read.
        data_dir: The data directory.

    Raises:
        StartRefused: There is no journal, or a newer version of the engine wrote it.
    """

    def __init__(self, disk: Disk, data_dir: Path) -> None:
        self._disk = disk
        self._folder = journal_folder(data_dir)
        self._names = segment_names(disk, data_dir)
        if not self._names:
            raise StartRefused(f"there is no journal in {self._folder}")
        self._header: SegmentHeader | None = None
        self._sequence = 1
        self._hash = NO_HASH
        self.segment_count = len(self._names)
        self.tail: Tail | None = None
        """Set when the pass has ended."""

    def frames(self) -> Iterator[Frame]:
        """Yields every frame in order and sets `tail` at the end.

        Raises:
            JournalCorrupt: See `format`, "End".
            StartRefused: A newer version of the engine wrote a frame.
        """
        for name in self._names:
            data = self._disk.read(self._folder / name)
            self._header = self._check_segment(name, data)
            yield from self._segment_frames(name, data, is_last=name == self._names[-1])

    def _check_segment(self, name: str, data: bytes) -> SegmentHeader:
        """Checks a segment's header, length, name and place, and returns the header."""
        header = SegmentHeader.unpack(data[:SEGMENT_HEADER_BYTES])
        if header is None:
            raise self._corrupt("no valid segment header", name, 0)
        self._check_version(name, header.format_version, header.layout_version)
        if len(data) != header.segment_bytes:
            raise self._corrupt(f"the file has {len(data)} bytes instead of {header.segment_bytes}", name, len(data))
        if parse_segment_name(name) != (header.first_sequence, header.index):
            raise self._corrupt("the header belongs to another file name", name, 0)
        before = self._header
        if header.index != (before.index + 1 if before else 0):
            raise self._corrupt("the segment before this one is missing", name, 0)
        if before and header.journal_id != before.journal_id:
            raise self._corrupt("the segment belongs to another journal", name, 0)
        if header.previous_hash != self._hash or header.first_sequence != self._sequence:
            raise self._corrupt("the segment does not follow the last frame before it", name, 0)
        self._hash = chain_hash(data[:SEGMENT_HEADER_BYTES])
        return header

    def _segment_frames(self, name: str, data: bytes, *, is_last: bool) -> Iterator[Frame]:
        """Yields the frames of one segment; at its end, sets `tail` if it is the last.

        One function without helpers on the way of a sound frame: 2 us a frame are 0.25 us an event when groups are
        small.
        """
        assert self._header is not None
        view, seed, end_max = memoryview(data), crc_seed(self._header.journal_id), len(data)
        start = last_start = SEGMENT_HEADER_BYTES
        torn_bytes = 0
        while end_max - start >= FRAME_HEADER_BYTES + TRAILER_BYTES:
            fields = FRAME_HEADER.unpack_from(view, start)
            magic, version, kind, body_bytes, row_count, layout_version, first_sequence, previous_hash, crc = fields
            if magic != FRAME_MAGIC or crc != crc32(view[start : start + FRAME_FIELDS_BYTES], seed):
                torn_bytes = self._judge_headless(name, data, start, seed=seed)
                break
            body_start = start + FRAME_HEADER_BYTES
            body_end = body_start + ((body_bytes + 7) & ~7)
            end = body_end + TRAILER_BYTES
            if version != FORMAT_VERSION or layout_version > LAYOUT_VERSION:
                self._check_version(name, version, layout_version)
            if previous_hash != self._hash or first_sequence != self._sequence or end > end_max:
                raise self._corrupt("a frame that does not follow the one before it", name, start)
            if (kind, row_count > 0) not in _KINDS:
                raise self._corrupt(f"a frame of kind {kind} with {row_count} rows", name, start)
            body_crc, end_magic = TRAILER.unpack_from(view, body_end)
            if end_magic != END_MAGIC or body_crc != crc32(view[body_start:body_end], crc):
                torn_bytes = self._judge_bodyless(name, data, start, end)
                break
            self._sequence += row_count
            self._hash = chain_hash(data[start:body_start], data[body_end:end])
            body = view[body_start : body_start + body_bytes]
            yield Frame(name, start, end - start, kind, row_count, first_sequence, body)
            start, last_start = end, start
        else:
            if any(data[start:]):
                raise self._corrupt("bytes where no frame fits", name, start)
        self._end_segment(name, data, last_start, start, torn_bytes=torn_bytes, is_last=is_last)

    def _end_segment(
        self, name: str, data: bytes, last_start: int, end: int, *, torn_bytes: int, is_last: bool
    ) -> None:
        """Tells of a torn frame, which only the last segment may have, and sets `tail`."""
        if torn_bytes and not is_last:
            raise self._corrupt("damage in a segment that has a successor", name, end)
        if torn_bytes:
            logger.warning(
                "journal %s: dropped a torn frame at byte %d, before sequence %d: it was never answered",
                name,
                end,
                self._sequence,
            )
        if is_last:
            assert self._header is not None
            self.tail = Tail(
                segment=self._header,
                offset=end,
                next_sequence=self._sequence,
                chain_hash=self._hash,
                last_frame=data[last_start:end],
                torn_bytes=torn_bytes,
            )

    def _check_version(self, name: str, version: int, layout_version: int) -> None:
        """Refuses what a newer engine wrote."""
        if version > FORMAT_VERSION or layout_version > LAYOUT_VERSION:
            raise StartRefused(
                f"journal {name} was written by a newer version of the engine "
                f"(format {version}, layout {layout_version}); start that version, or a newer one"
            )

    def _judge_headless(self, name: str, data: bytes, offset: int, *, seed: int) -> int:
        """Decides what bytes without a valid frame header are (rules 1, 3, 4 and 5 of `format`).

        Returns:
            0 at the end of the journal, else the bytes that a torn frame left.
        """
        used_bytes = _used_bytes(data, offset)
        if used_bytes == 0:
            return 0
        if used_bytes < FRAME_HEADER_BYTES and data.startswith(FRAME_MAGIC[:used_bytes], offset):
            return used_bytes
        sector_end = _sector_end(offset)
        chunks = [data[offset:sector_end]]
        if offset + FRAME_HEADER_BYTES > sector_end:
            chunks.append(data[sector_end : sector_end + SECTOR_BYTES])
        if all(any(chunk) for chunk in chunks):
            raise self._corrupt("a damaged frame header", name, offset)
        if used_bytes > FRAME_BYTES_MAX:
            raise self._corrupt("bytes beyond the end of the journal", name, offset + used_bytes)
        view = memoryview(data)
        later = data.find(FRAME_MAGIC, offset)
        while 0 <= later <= len(data) - FRAME_HEADER_BYTES:
            if is_frame_header(view, later, seed=seed):
                raise self._corrupt("a missing frame, with a valid one behind it,", name, offset)
            later = data.find(FRAME_MAGIC, later + 1)
        return used_bytes

    def _judge_bodyless(self, name: str, data: bytes, offset: int, end: int) -> int:
        """Decides what a frame with a valid header and a damaged body is (rules 2 and 5 of `format`).

        Returns:
            The bytes that a torn frame left.
        """
        if _used_bytes(data, end):
            raise self._corrupt("a damaged frame, with bytes behind it,", name, offset)
        if data[end - len(END_MAGIC) : end] in _CUT_END_MAGICS:
            return end - offset
        start = offset
        while start < end:
            chunk_end = min(_sector_end(start), end)
            if not any(data[start:chunk_end]):
                return end - offset
            start = chunk_end
        raise self._corrupt("a damaged frame body", name, offset)

    def _corrupt(self, what: str, name: str, offset: int) -> JournalCorrupt:
        """Returns the error for damage at a place; the frames before it were right."""
        return JournalCorrupt(what, file=name, offset=offset, sequence=self._sequence)


def _sector_end(offset: int) -> int:
    """Returns the end of the sector that the byte at `offset` is in."""
    return (offset // SECTOR_BYTES + 1) * SECTOR_BYTES


def _used_bytes(data: bytes, offset: int) -> int:
    """Returns the number of bytes from `offset` on up to the last one that is not zero."""
    if not np.frombuffer(data[: len(data) & ~7], np.int64)[offset // 8 :].any():
        return 0
    return len(data[offset:].rstrip(b"\0"))
