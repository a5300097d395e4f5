"""The bytes of the journal, specified in prose, then in code.

**Folder.** ``journal/`` under the data directory holds segments named ``SSSSSSSSSSSSSSSS-IIIIIIII.journal``: the
sequence of the first event that the segment may hold (16 digits) and the segment's index, 0, 1, 2 ... (8 digits:
activations take no sequence, so two segments may begin with the same one). ``spare.tmp`` is the next segment while it
is being zeroed; it means nothing and is deleted at start. ``kept.json`` is the marker of trimming, see there. Other
names mean nothing.

**Segment.** A file of exactly `segment_bytes` bytes, all of them written as real zeros and synced before the file gets
its name, so no later write changes its length or its blocks. It begins with a header of 72 bytes, little-endian::

    magic 8 | format version u32 | layout version u32 | journal id 16 | index i64 | first sequence i64 |
    hash of what precedes 8 | segment bytes i64 | zero u32 | CRC-32 of the 68 bytes before u32

The header is written and synced under the name ``spare.tmp``; then the file is renamed and the folder synced. A file
with a segment's name is therefore always whole: a short one, or one whose header is wrong, is corrupt, never torn.

**Frame.** One group commit, at an offset divisible by 8::

    magic 4 | format version u16 | kind u16 | body length u32 | row count u32 | layout version u32 |
    first sequence i64 | hash of what precedes 8 | header CRC u32        = 40 bytes
    body, then zeros up to a multiple of 8
    body CRC u32 | end magic 4                                            = 8 bytes

The header's CRC-32 starts from the CRC of the journal's id (a frame of another journal is never valid, and a caller who
plants bytes in an event cannot forge a header), the body's, which includes the padding, from the header's CRC (a body
is valid under its own header only). A body is a message of ``riskengine.journal.v1``: kind 1 is `GroupCommit`, kind 2
`Activation`; an activation has row count 0 and carries the sequence of the next event.

**Chain.** The hash of a frame is the 64-bit BLAKE2b of its 40 header bytes and 8 trailer bytes. Each frame holds the
hash of the frame before it; the first frame of a segment that of the segment's header, and a segment's header that of
the last frame (or, if there is none, of the header) before it; the very first header holds zeros. The hash does not run
over the body: the trailer's CRC stands for it and is checked first, so the chain costs the same 1.3 us for any frame,
where hashing 1,024 rows would cost 150 us. The chain is there to tell frames that were swapped, repeated, lost by the
disk or left over; it is not a seal against somebody who can write the file (he could compute it, as it has no key).

**End.** Frame n+1 is written only after fdatasync of frame n returned, and frame n is answered only after it, so at
most the last frame can be torn, and a torn frame was never answered. It is torn in one of two ways. Power loss: disks
write sectors of 512 bytes whole or not at all, so some *chunks* (the part of a frame within one sector) are still
zeros. A write that ended early: the frame is a beginning of itself, then zeros. INVARIANT: a frame that was written
wholly has no chunk of zeros: the first holds the magic, the last ends with the end magic, and no body has 512 zero
bytes in a row (stored column values are never 0, an activation holds no zero byte). So where a frame is expected:

1. only zeros up to the end of the segment: the journal ends here;
2. a valid header, a bad body, only zeros behind the frame, and in it a chunk of zeros or an end magic that is cut short
   (0 to 3 of its bytes, then zeros): torn;
3. a bad header, with zeros in all of the chunks that hold the header or in one of two, no valid header behind it, and
   only zeros beyond `FRAME_BYTES_MAX`: torn (a missing first chunk looks like zeros with something behind them);
4. a bad header that begins as the magic does and has only zeros from somewhere within its 40 bytes on: torn;
5. anything else: corrupt. Also corrupt: 2, 3 and 4 in a segment that has a successor.

No single bit, flipped in a whole frame, makes it look torn. What this cannot see, and says so: a whole chunk of the
very last answered frame, or the whole frame, turned to zeros by the disk reads as torn, as does some damage to the
never written zeros behind the end. The latter is harmless: nothing that was ever written is dropped.

**Trimming.** A journal may have lost its beginning on purpose. The marker ``kept.json`` then names the first segment
that is kept, by its index, its first sequence and the hash of its header (16 hex digits), in exactly these bytes and a
line feed::

    {"version":1,"first_index":7,"first_sequence":812345,"header_hash":"0123456789abcdef"}

Without a marker the first segment is that of index 0. To trim, the marker is written as ``kept.tmp`` and synced, renamed
to ``kept.json`` (over the one before), and the folder synced; only then are older segments removed, the oldest first.
After a crash at any step either the old marker holds and all it needs is there, or the new one does and older segments
are left over: nobody reads them, and the next trimming removes them. ``kept.tmp`` means nothing. A marker is never torn,
as it gets its name when it is whole: other bytes are corrupt, and so is a journal whose first kept segment is missing
or has another header. A lost marker is noticed too: the first segment there is not that of index 0. A reader lists the
folder between two equal readings of the marker, for somebody may be trimming while it looks.

**Anchor.** A place between two frames: index of the segment, offset of the next frame, hash of what precedes, sequence of
the next event. As the hash stands for all that precedes, an anchor names a place in one journal only. Who starts there
reads nothing before it, but first proves that the frame which ends at the offset (or the segment's header, if it does)
has that hash and leads to that sequence. If not, the anchor is of another journal, before what is kept, or ahead: what
it stood on was lost with the power before it was synced. All three are told as corruption, and nothing is yielded.

**Reading while somebody writes.** A write is not atomic for readers. Whoever reads a frame while it is being written sees
any mixture of its bytes and zeros, and, if he reads slowly, even the frames behind it whole and it not. A segment that
has a successor is never written again, and a frame that was proved stays as it is. So in the last segment

- a reader at rest (recovery, `verify`) judges what follows the last sound frame by the rules above, but only after two
  readings of it gave the same bytes: a write that stands still looks like one that ended early, which is torn;
- a live reader (`live`) stops in silence where bytes that it has just read begin with no sound frame. Only if a valid
  header lies behind that place, and the bytes there, read again, are no sound frame still, it is corrupt: frame n+1 is
  written after frame n was synced, so at the second reading frame n was whole. Other damage at the very end is told when
  something follows it, or by the next start.

INVARIANTS: everything here is a pure function of its arguments. Every frame and every header is a multiple of 8 bytes.

Called by `writer`, `segment`, `kept`, `scan`, `ending`, `repair` and by tests that forge frames.
"""

import struct
from dataclasses import dataclass
from enum import IntEnum
from hashlib import blake2b
from typing import Final
from zlib import crc32

from riskengine.types import DECISION_WORDS, EVENT_WORDS, LAYOUT_VERSION

FORMAT_VERSION: Final = 1
SECTOR_BYTES: Final = 512
SEGMENT_BYTES_DEFAULT: Final = 64 * 1024 * 1024
SEGMENT_BYTES_MIN: Final = 4096
FRAME_BYTES_MAX: Final = 8 * 1024 * 1024
FRAME_ROWS_MAX: Final = 4096
ACTIVATION_BYTES_MAX: Final = 4 * 1024 * 1024
JOURNAL_ID_BYTES: Final = 16
HASH_BYTES: Final = 8
NO_HASH: Final = bytes(HASH_BYTES)
"""What precedes the first segment."""

SEGMENT_MAGIC: Final = b"RSKJRNL\n"
FRAME_MAGIC: Final = b"RSKf"
END_MAGIC: Final = b"kseF"

_SEGMENT_HEADER: Final = struct.Struct("<8sII16sqq8sqI")
_FRAME_FIELDS: Final = struct.Struct("<4sHHIIIq8s")
FRAME_HEADER: Final = struct.Struct("<4sHHIIIq8sI")
"""A whole header: magic, format version, kind, body bytes, row count, layout version, first sequence, hash, CRC."""
TRAILER: Final = struct.Struct("<I4s")
_CRC: Final = struct.Struct("<I")
SEGMENT_HEADER_BYTES: Final = _SEGMENT_HEADER.size + _CRC.size
FRAME_FIELDS_BYTES: Final = _FRAME_FIELDS.size
"""What the header's CRC covers."""
FRAME_HEADER_BYTES: Final = FRAME_HEADER.size
TRAILER_BYTES: Final = TRAILER.size
assert SEGMENT_HEADER_BYTES == 72
assert FRAME_HEADER_BYTES == 40
assert TRAILER_BYTES == 8

ENTRY_BYTES_MAX: Final = 10
ROW_BYTES_MAX: Final = 8 * (EVENT_WORDS + DECISION_WORDS)
"""Bytes of the columns of one event with its decision, at most."""
DIRECTORIES_BYTES_MAX: Final = ENTRY_BYTES_MAX * (EVENT_WORDS + DECISION_WORDS)
_MESSAGE_BYTES_MAX: Final = 32
"""Protobuf's own bytes around the fields of a body: five tags with a length or number, at most 6 bytes each."""


class FrameKind(IntEnum):
    """What the body of a frame is."""

    EVENTS = 1
    ACTIVATION = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentHeader:
    """The first 72 bytes of a segment.

    Attributes:
        journal_id: 16 random bytes that all segments of one journal share.
        index: 0, 1, 2 ...
        first_sequence: Sequence of the next event when the segment was begun, at least 1.
        previous_hash: Hash of what precedes, 8 bytes.
        segment_bytes: Length of the file.
        format_version: `FORMAT_VERSION` of the code that wrote it.
        layout_version: `types.LAYOUT_VERSION` of the code that wrote it.
    """

    journal_id: bytes
    index: int
    first_sequence: int
    previous_hash: bytes
    segment_bytes: int
    format_version: int = FORMAT_VERSION
    layout_version: int = LAYOUT_VERSION

    @property
    def name(self) -> str:
        """The segment's file name."""
        return f"{self.first_sequence:016d}-{self.index:08d}.journal"

    def pack(self) -> bytes:
        """Returns the 72 bytes."""
        head = _SEGMENT_HEADER.pack(
            SEGMENT_MAGIC,
            self.format_version,
            self.layout_version,
            self.journal_id,
            self.index,
            self.first_sequence,
            self.previous_hash,
            self.segment_bytes,
            0,
        )
        return head + _CRC.pack(crc32(head))

    @classmethod
    def unpack(cls, raw: bytes) -> "SegmentHeader | None":
        """Reads the header of a segment.

        Args:
            raw: At least the file's first 72 bytes, fewer if the file is shorter.

        Returns:
            The header, or None if the bytes are not one.
        """
        if len(raw) < SEGMENT_HEADER_BYTES:
            return None
        if _CRC.unpack_from(raw, _SEGMENT_HEADER.size)[0] != crc32(raw[: _SEGMENT_HEADER.size]):
            return None
        magic, version, layout, journal_id, index, first, previous, size, _ = _SEGMENT_HEADER.unpack_from(raw)
        if magic != SEGMENT_MAGIC:
            return None
        return cls(
            journal_id=journal_id,
            index=index,
            first_sequence=first,
            previous_hash=previous,
            segment_bytes=size,
            format_version=version,
            layout_version=layout,
        )


def frame_bytes(body_bytes: int) -> int:
    """Returns the length of a frame, bytes, for a body of `body_bytes`."""
    return FRAME_HEADER_BYTES + ((body_bytes + 7) & ~7) + TRAILER_BYTES


def columns_bytes_max(row_count: int) -> int:
    """Returns the greatest number of bytes that the directories and columns of `row_count` rows take."""
    return DIRECTORIES_BYTES_MAX + ROW_BYTES_MAX * row_count


def body_bytes_max(row_count: int) -> int:
    """Returns the greatest number of bytes that a body of `row_count` rows takes."""
    return _MESSAGE_BYTES_MAX + columns_bytes_max(row_count)


def events_frame_bytes_max(row_count: int) -> int:
    """Returns the greatest length of a frame of `row_count` rows, bytes."""
    return frame_bytes(body_bytes_max(row_count))


def activation_frame_bytes_max(content_bytes: int) -> int:
    """Returns the greatest length of the frame of an activation of `content_bytes`, bytes."""
    return frame_bytes(_MESSAGE_BYTES_MAX + content_bytes)


def crc_seed(journal_id: bytes) -> int:
    """Returns what the CRC of every frame header of a journal starts from."""
    return crc32(journal_id)


def chain_hash(head: bytes | bytearray, trailer: bytes | bytearray = b"") -> bytes:
    """Returns the 8-byte hash of a frame (its header and trailer) or of a segment (its header)."""
    return blake2b(head + trailer, digest_size=HASH_BYTES).digest()


def seal_frame(
    kind: int, body: bytes, *, row_count: int, first_sequence: int, previous_hash: bytes, seed: int
) -> tuple[bytes, bytes]:
    """Builds a frame around a body.

    Args:
        kind: `FrameKind`.
        body: The serialized message.
        row_count: Events in it.
        first_sequence: Sequence of the first one, or of the next one.
        previous_hash: Hash of what precedes, 8 bytes.
        seed: `crc_seed` of the journal.

    Returns:
        The frame's bytes and its hash.
    """
    fields = _FRAME_FIELDS.pack(
        FRAME_MAGIC, FORMAT_VERSION, kind, len(body), row_count, LAYOUT_VERSION, first_sequence, previous_hash
    )
    header_crc = crc32(fields, seed)
    head = fields + _CRC.pack(header_crc)
    padded = body + bytes(-len(body) & 7)
    trailer = TRAILER.pack(crc32(padded, header_crc), END_MAGIC)
    return b"".join((head, padded, trailer)), chain_hash(head, trailer)


def is_frame_header(data: memoryview, offset: int, *, seed: int) -> bool:
    """Tells whether the 40 bytes at `offset`, which are within `data`, are a frame's header with a right CRC."""
    magic, *_, crc = FRAME_HEADER.unpack_from(data, offset)
    return bool(magic == FRAME_MAGIC and crc == crc32(data[offset : offset + FRAME_FIELDS_BYTES], seed))
