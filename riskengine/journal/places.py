"""Frames, and places between them: what scans yield, where they begin and end.

INVARIANTS: values, nothing is read here.

Used by everything in the journal; an `Anchor` also by snapshots and the follower.
"""

from dataclasses import dataclass
from typing import NamedTuple
from zlib import crc32

from .ending import frame_headers
from .format import (
    END_MAGIC,
    FRAME_HEADER,
    FRAME_HEADER_BYTES,
    TRAILER,
    TRAILER_BYTES,
    SegmentHeader,
    chain_hash,
    frame_bytes,
)


@dataclass(frozen=True, slots=True)
class Anchor:
    """A place between two frames, see `format`, "Anchor".

    Attributes:
        segment_index: Of the segment.
        offset: Where the next frame begins in it, bytes.
        chain_hash: Of the frame before, or of the segment's header, 8 bytes.
        next_sequence: Of the next event.
    """

    segment_index: int
    offset: int
    chain_hash: bytes
    next_sequence: int


class Frame(NamedTuple):
    """One proved frame.

    Attributes:
        name: The segment's file name.
        offset: First byte in the segment.
        size_bytes: Length of the whole frame.
        kind: `FrameKind`.
        row_count: Events, 0 for an activation.
        first_sequence: Sequence of the first event, or of the next one.
        chain_hash: Hash of the frame.
        body: The serialized message, a view of the segment's bytes.
    """

    name: str
    offset: int
    size_bytes: int
    kind: int
    row_count: int
    first_sequence: int
    chain_hash: bytes
    body: memoryview

    @property
    def end(self) -> Anchor:
        """The place behind it."""
        index = int(self.name[-len("00000000.journal") : -len(".journal")])
        return Anchor(index, self.offset + self.size_bytes, self.chain_hash, self.first_sequence + self.row_count)


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


def frame_before(data: bytes, start: Anchor, *, seed: int) -> bytes:
    """Returns the frame that ends where an anchor is, if it is the one that the anchor stands on.

    Args:
        data: Bytes of the segment that end at the anchor, and begin at a multiple of 8.
        start: The anchor.
        seed: `crc_seed` of the journal.

    Returns:
        The frame, or nothing if there is no such frame in these bytes.
    """
    end = len(data)
    for at in frame_headers(data, 0, seed=seed):
        _, _, _, body_bytes, row_count, _, first_sequence, _, crc = FRAME_HEADER.unpack_from(data, at)
        if at + frame_bytes(body_bytes) != end or first_sequence + row_count != start.next_sequence:
            continue
        body_start, body_end = at + FRAME_HEADER_BYTES, end - TRAILER_BYTES
        body_crc, end_magic = TRAILER.unpack_from(data, body_end)
        if end_magic != END_MAGIC or body_crc != crc32(data[body_start:body_end], crc):
            continue
        if chain_hash(data[at:body_start], data[body_end:]) == start.chain_hash:
            return data[at:]
    return b""
