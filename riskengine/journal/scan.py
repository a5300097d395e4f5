"""From the bytes of segments to frames that are proved: checksums, chain, order; where the journal ends, torn or not.

INVARIANTS: a frame is yielded only when its header, body, place in the chain and sequence are right, so whatever comes
out is a part of what was written, without a gap. Damage raises `JournalCorrupt`; only what rules 2 to 4 of `format` call
torn is dropped, with one warning. Nothing is written here.

Called by `reader`, `writer`, `repair`.
"""

import logging
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Final, NamedTuple
from zlib import crc32

from riskengine.errors import JournalCorrupt, StartRefused
from riskengine.types import LAYOUT_VERSION

from .directory import journal_folder, parse_segment_name
from .disk import Source
from .ending import Bytes, frame_headers, is_zero, judge_bodyless, judge_headless
from .format import (
    END_MAGIC,
    FORMAT_VERSION,
    FRAME_BYTES_MAX,
    FRAME_FIELDS_BYTES,
    FRAME_HEADER,
    FRAME_HEADER_BYTES,
    FRAME_MAGIC,
    NO_HASH,
    SEGMENT_HEADER_BYTES,
    TRAILER,
    TRAILER_BYTES,
    FrameKind,
    SegmentHeader,
    chain_hash,
    crc_seed,
)
from .kept import MARKER_NAME, kept_names, read_marker
from .places import Anchor, Frame, Tail, frame_before

logger = logging.getLogger(__name__)

READINGS_MAX: Final = 64
"""Readings of what follows a frame before it is judged, if no two of them in a row agree."""
WINDOW_BYTES_MIN: Final = 64 * 1024
WINDOW_BYTES_MAX: Final = 4 * 1024 * 1024
"""What a live reader reads at once: little when nothing is new, much to catch up."""
_KINDS = ((FrameKind.EVENTS.value, True), (FrameKind.ACTIVATION.value, False))
"""Kinds, and whether they have rows."""


class _Stop(NamedTuple):
    """Where frames ended in a piece of a segment, as offsets in the piece.

    Attributes:
        start: Where the next frame is expected.
        end: End of the frame at `start`, if its header is valid, else -1. May be beyond the piece.
    """

    start: int
    end: int


class Scan:
    """One pass over the frames of a journal.

    Args:
        disk: Where to read.
        data_dir: The data directory.
        start: Where to begin; None for the first segment that is kept.
        live: Whether somebody may be writing; see `format`, "Reading while somebody writes".

    Attributes:
        names: Files of the journal that are kept, in order.
        entered: The place behind the header of the segment that the pass is in; None before the first.
        tail: Set when a pass that is not live has ended.

    Raises:
        StartRefused: There is no journal.
        JournalCorrupt: The marker of trimming is damaged, or what it names is gone.
    """

    def __init__(self, disk: Source, data_dir: Path, *, start: Anchor | None = None, live: bool = False) -> None:
        self._disk = disk
        self._data_dir = data_dir
        self._folder = journal_folder(data_dir)
        self._start = start
        self._live = live
        self._kept, self.names = kept_names(disk, data_dir)
        self._header: SegmentHeader | None = None
        self._sequence = self._kept.first_sequence if self._kept else 1
        self._hash = NO_HASH
        self._last_frame = b""
        self.entered: Anchor | None = None
        self.tail: Tail | None = None
        if not self.names:
            if self._kept:
                raise self._corrupt("all segments are missing", MARKER_NAME, 0)
            raise StartRefused(f"there is no journal in {self._folder}")

    def first_header(self) -> tuple[SegmentHeader, Anchor]:
        """Returns the header of the first segment of the pass, checked, and the place behind it.

        Raises:
            JournalCorrupt: It is damaged, or `start` names a segment that is not there.
            StartRefused: A newer version of the engine wrote it.
        """
        name = self._names_of_pass()[0]
        header, head = self._read_header(name)
        return header, _behind_header(header, head)

    def segment_start(self, sequence: int) -> Anchor:
        """Returns the place behind the header of the segment in which an event is, or would be.

        Args:
            sequence: Of the event. One that was trimmed is taken for the first that is kept.

        Raises:
            JournalCorrupt: That segment's header is damaged.
            StartRefused: A newer version of the engine wrote it.
        """
        parsed = [(found, name) for name in self.names if (found := parse_segment_name(name))]
        first = max((found[0] for found, _ in parsed if found[0] <= sequence), default=0)
        name = next((name for found, name in parsed if found[0] == first), self.names[0])
        return _behind_header(*self._read_header(name))

    def closed_frames(self, name: str) -> Iterator[Frame]:
        """Proves one segment that has a successor, from its header on, whatever precedes it.

        Raises:
            JournalCorrupt: It is damaged.
            StartRefused: A newer version of the engine wrote it, or it was trimmed meanwhile.
        """
        self._header, head = self._read_header(name)
        self._sequence, self._hash = self._header.first_sequence, chain_hash(head)
        yield from self._segment_frames(name, SEGMENT_HEADER_BYTES, is_last=False)

    @property
    def chain_hash(self) -> bytes:
        """Hash of the frame, or of the segment's header, that was read last."""
        return self._hash

    def frames(self) -> Iterator[Frame]:
        """Yields every frame in order and sets `tail` at the end, if the pass is not live.

        Raises:
            JournalCorrupt: See `format`, "End"; or the start is not a place of this journal.
            StartRefused: A newer version of the engine wrote a frame, or the journal was trimmed under the reader.
        """
        names = self._names_of_pass()
        for name in names:
            is_last = name == names[-1]
            header, head = self._read_header(name)
            base = SEGMENT_HEADER_BYTES
            if self._start and self._header is None:
                self._check_start(name, header, head, self._start)
                base = self._start.offset
            else:
                self._check_place(name, header)
                self._hash = chain_hash(head)
                self._last_frame = b""
            self._header = header
            self.entered = _behind_header(header, head)
            if is_last and self._live:
                yield from self._live_frames(name, base)
            else:
                yield from self._segment_frames(name, base, is_last=is_last)

    def _names_of_pass(self) -> list[str]:
        """Returns the names from the one on that the pass starts in."""
        if self._start is None:
            return self.names
        for position, name in enumerate(self.names):
            parsed = parse_segment_name(name)
            if parsed and parsed[1] == self._start.segment_index:
                return self.names[position:]
        raise self._misplaced(self.names[-1])

    def _read_header(self, name: str) -> tuple[SegmentHeader, bytes]:
        """Returns a segment's header, checked with the file's length and name, and its bytes."""
        head = self._read(name, 0, SEGMENT_HEADER_BYTES)
        header = SegmentHeader.unpack(head)
        if header is None:
            raise self._corrupt("no valid segment header", name, 0)
        self._check_version(name, header.format_version, header.layout_version)
        size_bytes = self._size(name)
        if size_bytes != header.segment_bytes:
            raise self._corrupt(f"the file has {size_bytes} bytes instead of {header.segment_bytes}", name, size_bytes)
        if parse_segment_name(name) != (header.first_sequence, header.index):
            raise self._corrupt("the header belongs to another file name", name, 0)
        kept = self._kept
        if name == self.names[0] and header.index != (kept.first_index if kept else 0):
            raise self._corrupt("the segment before this one is missing", name, 0)
        if kept and header.index == kept.first_index and chain_hash(head) != kept.header_hash:
            raise self._corrupt(f"the header is not the one that {MARKER_NAME} tells", name, 0)
        return header, head

    def _check_place(self, name: str, header: SegmentHeader) -> None:
        """Checks that a segment follows what was read before it."""
        before = self._header
        if before is None and self._kept:
            return
        if before and header.index != before.index + 1:
            raise self._corrupt("the segment before this one is missing", name, 0)
        if before and header.journal_id != before.journal_id:
            raise self._corrupt("the segment belongs to another journal", name, 0)
        if header.previous_hash != self._hash or header.first_sequence != self._sequence:
            raise self._corrupt("the segment does not follow the last frame before it", name, 0)

    def _check_start(self, name: str, header: SegmentHeader, head: bytes, start: Anchor) -> None:
        """Proves that the pass starts at a place of this journal, and takes over what precedes it."""
        if start.offset == SEGMENT_HEADER_BYTES:
            found = start.chain_hash == chain_hash(head) and start.next_sequence == header.first_sequence
        else:
            self._last_frame = self._frame_before(name, header, start)
            found = bool(self._last_frame)
        if not found:
            raise self._misplaced(name)
        self._sequence, self._hash = start.next_sequence, start.chain_hash

    def _frame_before(self, name: str, header: SegmentHeader, start: Anchor) -> bytes:
        """Returns the frame that ends where the pass starts; nothing if there is none, or another."""
        end, seed = start.offset, crc_seed(header.journal_id)
        if end % 8 or not SEGMENT_HEADER_BYTES < end <= header.segment_bytes:
            return b""
        for reach_bytes in (WINDOW_BYTES_MIN, FRAME_BYTES_MAX):
            base = max(SEGMENT_HEADER_BYTES, end - reach_bytes)
            found = frame_before(self._read(name, base, end - base), start, seed=seed)
            if found:
                return found
        return b""

    def _segment_frames(self, name: str, base: int, *, is_last: bool) -> Iterator[Frame]:
        """Yields the frames of one segment from `base` on; at its end, sets `tail` if it is the last."""
        assert self._header is not None
        data = self._read(name, base)
        readings = 0
        while True:
            stop = yield from self._sound_frames(name, data, base)
            readings = 1 if stop.start else readings + 1
            if not is_last or readings == READINGS_MAX or is_zero(data, stop.start):
                break
            again = self._read(name, base + stop.start)
            if len(data) - stop.start == len(again) and data.endswith(again):
                break  # Nobody writes: what follows may be judged.
            data, base = again, base + stop.start
        offset = base + stop.start
        if stop.end < 0:
            torn = judge_headless(data, stop.start, base=base, seed=crc_seed(self._header.journal_id))
        else:
            torn = judge_bodyless(data, stop.start, stop.end, base=base)
        if isinstance(torn, str):
            raise self._corrupt(torn, name, offset)
        if torn and not is_last:
            raise self._corrupt("damage in a segment that has a successor", name, offset)
        if torn:
            logger.warning(
                "journal %s: dropped a torn frame at byte %d, before sequence %d: it was never answered",
                name,
                offset,
                self._sequence,
            )
        if is_last:
            self.tail = Tail(
                segment=self._header,
                offset=offset,
                next_sequence=self._sequence,
                chain_hash=self._hash,
                last_frame=self._last_frame,
                torn_bytes=torn,
            )

    def _live_frames(self, name: str, base: int) -> Iterator[Frame]:
        """Yields the frames of the last segment from `base` on that are whole, in windows that are read anew."""
        assert self._header is not None
        seed = crc_seed(self._header.journal_id)
        window_bytes = WINDOW_BYTES_MIN
        overtaken = False
        while True:
            data = self._read(name, base, window_bytes)
            stop = yield from self._sound_frames(name, data, base)
            base += stop.start
            if stop.end > len(data):
                window_bytes = stop.end - stop.start + WINDOW_BYTES_MIN
            elif stop.start:
                window_bytes = max(window_bytes, min(4 * stop.start, WINDOW_BYTES_MAX))
            elif overtaken:
                raise self._corrupt("a damaged frame, with a valid one behind it,", name, base)
            elif next(frame_headers(data, 1, seed=seed), -1) < 0:
                return
            overtaken = not stop.start and stop.end <= len(data)

    def _sound_frames(self, name: str, data: Bytes, base: int) -> Generator[Frame, None, _Stop]:
        """Yields the frames at the beginning of a piece of a segment, and returns where they end.

        One function without helpers on the way of a sound frame: 2 us a frame are 0.25 us an event when groups are
        small.
        """
        assert self._header is not None
        view, seed, end_max = memoryview(data), crc_seed(self._header.journal_id), len(data)
        start, last_start, stopped_end = 0, -1, -1
        while end_max - start >= FRAME_HEADER_BYTES + TRAILER_BYTES:
            fields = FRAME_HEADER.unpack_from(view, start)
            magic, version, kind, body_bytes, row_count, layout_version, first_sequence, previous_hash, crc = fields
            if magic != FRAME_MAGIC or crc != crc32(view[start : start + FRAME_FIELDS_BYTES], seed):
                break
            body_start = start + FRAME_HEADER_BYTES
            body_end = body_start + ((body_bytes + 7) & ~7)
            end = body_end + TRAILER_BYTES
            if version != FORMAT_VERSION or layout_version > LAYOUT_VERSION:
                self._check_version(name, version, layout_version)
            if previous_hash != self._hash or first_sequence != self._sequence:
                raise self._corrupt("a frame that does not follow the one before it", name, base + start)
            if (kind, row_count > 0) not in _KINDS:
                raise self._corrupt(f"a frame of kind {kind} with {row_count} rows", name, base + start)
            if end > end_max:
                if base + end > self._header.segment_bytes:
                    raise self._corrupt("a frame that goes beyond its segment", name, base + start)
                stopped_end = end
                break
            body_crc, end_magic = TRAILER.unpack_from(view, body_end)
            if end_magic != END_MAGIC or body_crc != crc32(view[body_start:body_end], crc):
                stopped_end = end
                break
            self._sequence += row_count
            self._hash = frame_hash = chain_hash(data[start:body_start], data[body_end:end])
            body = view[body_start : body_start + body_bytes]
            yield Frame(name, base + start, end - start, kind, row_count, first_sequence, frame_hash, body)
            start, last_start = end, start
        if last_start >= 0:
            self._last_frame = bytes(data[last_start:start])
        return _Stop(start, stopped_end)

    def _check_version(self, name: str, version: int, layout_version: int) -> None:
        """Refuses what a newer engine wrote."""
        if version > FORMAT_VERSION or layout_version > LAYOUT_VERSION:
            raise StartRefused(
                f"journal {name} was written by a newer version of the engine "
                f"(format {version}, layout {layout_version}); start that version, or a newer one"
            )

    def _read(self, name: str, offset: int, size_bytes: int | None = None) -> bytes:
        """Reads a part of a segment."""
        try:
            return self._disk.read(self._folder / name, offset, size_bytes)
        except FileNotFoundError:
            raise self._gone(name) from None

    def _size(self, name: str) -> int:
        """Returns the length of a segment."""
        try:
            return self._disk.size(self._folder / name)
        except FileNotFoundError:
            raise self._gone(name) from None

    def _gone(self, name: str) -> StartRefused | JournalCorrupt:
        """Returns the error for a file that was there a moment ago."""
        kept, parsed = read_marker(self._disk, self._data_dir), parse_segment_name(name)
        if kept and parsed and parsed[1] < kept.first_index:
            return StartRefused(f"journal {name} was trimmed while it was read; read the journal again")
        return self._corrupt("the file is missing", name, 0)

    def _misplaced(self, name: str) -> JournalCorrupt:
        """Returns the error for a start that is no place of this journal."""
        assert self._start is not None
        what = "the place to start from is of another journal, before what is kept, or ahead of what is there,"
        return JournalCorrupt(what, file=name, offset=self._start.offset, sequence=self._start.next_sequence)

    def _corrupt(self, what: str, name: str, offset: int) -> JournalCorrupt:
        """Returns the error for damage at a place; the frames before it were right."""
        return JournalCorrupt(what, file=name, offset=offset, sequence=self._sequence)


def _behind_header(header: SegmentHeader, head: bytes) -> Anchor:
    """Returns the place behind a segment's header."""
    return Anchor(header.index, SEGMENT_HEADER_BYTES, chain_hash(head), header.first_sequence)
