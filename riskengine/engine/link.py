"""The frames between fronts and the engine, and the buffers both ends read and write them with.

A frame is a header of 32 bytes and a body. The header, little-endian:

    magic      4 bytes  ``RLNK``
    version    u16      VERSION; the other end must speak the same
    kind       u16      FrameKind
    row_count  u32      rows in the body; 0 in HELLO and NOTICE
    body_size  u32      bytes of the body
    number     u64      given by the front to each EVENTS and GET, counting up; REPLIES quote it
    reserved   u32      0
    checksum   u32      CRC-32 of the 28 bytes before it

Kinds of frames and their bodies, rows being 8-byte words as in `riskengine.types`:

    HELLO    engine to front, once, first    JSON object, see below
    NOTICE   engine to front, any time       JSON object: what changed since
    EVENTS   front to engine                 rows of EVENT; over SLICE_ROWS of them are a batch, which calls overtake
    GET      front to engine                 rows of request_key and request_check
    REPLIES  engine to front                 rows of a ReplyStatus word and the words of a DECISION, in the order of the
                                             rows of the frame quoted, which may be answered in several parts

HELLO: ``{"state": "RECOVERING" | "SERVING", "done": int, "total": int, "pid": int, "layout": LAYOUT_VERSION, "catalog":
[..], "counters": {name: int}}``. A NOTICE has any of these keys. The catalog comes with the state SERVING: what the
rows of each revision mean (`Configuration.names`), the active one last; `done` and `total` are bytes of the journal,
while recovering.

The body has no checksum: a Unix socket does not damage bytes; the header's tells two ends that lost step.

INVARIANTS: every length is checked against its bound before a byte of the body is read; a frame that breaks a rule
raises `LinkFault`, after which the connection can only be closed; buffers are reserved once and never grow.

Called by `engine.fronts` and `server.engine_client`, the two ends.
"""

import json
import mmap
import socket
from enum import IntEnum
from struct import Struct
from typing import Any, Final, NamedTuple
from zlib import crc32

from riskengine.errors import RiskEngineError
from riskengine.types import DECISION, DECISION_WORDS, EVENT, EVENT_WORDS

MAGIC: Final = b"RLNK"
VERSION: Final = 1

FRAME_ROWS_MAX: Final = 1024
"""Rows of one frame."""
SLICE_ROWS: Final = 64
"""A frame of more rows is a batch: the engine takes it in slices of this many, with single calls in between."""
JSON_BYTES_MAX: Final = 16 << 20

EVENT_BYTES: Final = 8 * EVENT_WORDS
KEY_BYTES: Final = 16
REPLY_WORDS: Final = 1 + DECISION_WORDS
REPLY_BYTES: Final = 8 * REPLY_WORDS
assert (EVENT.itemsize, 8 + DECISION.itemsize) == (EVENT_BYTES, REPLY_BYTES), "every column is a word"

_PREFIX: Final = Struct("<4sHHIIQI")
_CHECKSUM: Final = Struct("<I")
HEADER_BYTES: Final = _PREFIX.size + _CHECKSUM.size
assert HEADER_BYTES == 32, "rows behind the header stay aligned to 8 bytes"


class FrameKind(IntEnum):
    """What a frame carries."""

    HELLO = 1
    EVENTS = 2
    GET = 3
    REPLIES = 4
    NOTICE = 5


_KINDS: Final = {int(kind): kind for kind in FrameKind}
"""Looked up for each frame: in Python 3.11 that takes 0.04 us, ``FrameKind(kind)`` 0.6 us."""
ROW_BYTES: Final = {FrameKind.EVENTS: EVENT_BYTES, FrameKind.GET: KEY_BYTES, FrameKind.REPLIES: REPLY_BYTES}
"""Width of a row, of the kinds that have rows."""
TO_ENGINE: Final = frozenset({FrameKind.EVENTS, FrameKind.GET})
TO_FRONT: Final = frozenset({FrameKind.HELLO, FrameKind.REPLIES, FrameKind.NOTICE})
ENGINE_FRAME_BYTES_MAX: Final = HEADER_BYTES + FRAME_ROWS_MAX * EVENT_BYTES
"""Of a frame towards the engine."""
FRONT_FRAME_BYTES_MAX: Final = HEADER_BYTES + JSON_BYTES_MAX
"""Of a frame towards a front."""


class LinkFault(RiskEngineError):
    """The other end of a link broke its rules, or closed it: the connection ends."""

    reason = "LINK_FAULT"


class Header(NamedTuple):
    """A header that passed all checks.

    Attributes:
        kind: What the body is.
        row_count: 1 to FRAME_ROWS_MAX, 0 for JSON.
        body_size: Bytes.
        number: Of the frame, or of the one it answers.
    """

    kind: FrameKind
    row_count: int
    body_size: int
    number: int


def write_header(buffer: Any, offset: int, *, kind: FrameKind, row_count: int, body_size: int, number: int) -> None:
    """Writes a header into a buffer.

    Args:
        buffer: Writable bytes-like.
        offset: Where the header begins, bytes.
        kind: What the body is.
        row_count: Rows in the body.
        body_size: Bytes of the body.
        number: Of the frame, or of the one it answers.
    """
    _PREFIX.pack_into(buffer, offset, MAGIC, VERSION, kind, row_count, body_size, number, 0)
    checksum = crc32(memoryview(buffer)[offset : offset + _PREFIX.size])
    _CHECKSUM.pack_into(buffer, offset + _PREFIX.size, checksum)


def read_header(buffer: Any, offset: int, *, kinds: frozenset[FrameKind]) -> Header:
    """Reads and checks a header.

    Args:
        buffer: Bytes-like with at least HEADER_BYTES from `offset`.
        offset: Where the header begins, bytes.
        kinds: Those that this end accepts.

    Raises:
        LinkFault: A rule is broken; the message says which.
    """
    magic, version, kind, row_count, body_size, number, reserved = _PREFIX.unpack_from(buffer, offset)
    (checksum,) = _CHECKSUM.unpack_from(buffer, offset + _PREFIX.size)
    if magic != MAGIC:
        raise LinkFault("a frame does not begin with the link's magic")
    if version != VERSION:
        raise LinkFault(f"the other end speaks version {version} of the link, this one {VERSION}; restart both")
    if checksum != crc32(memoryview(buffer)[offset : offset + _PREFIX.size]):
        raise LinkFault("the checksum of a header is wrong")
    if kind not in kinds or reserved:
        raise LinkFault(f"a frame of kind {kind} is not for this end")
    row_bytes = ROW_BYTES.get(kind)
    if row_bytes is None:
        if row_count or body_size > JSON_BYTES_MAX:
            raise LinkFault(f"a document of {body_size} bytes, at most {JSON_BYTES_MAX}")
    elif not 1 <= row_count <= FRAME_ROWS_MAX or body_size != row_count * row_bytes:
        raise LinkFault(f"{row_count} rows in {body_size} bytes, at most {FRAME_ROWS_MAX} of {row_bytes}")
    return Header(_KINDS[kind], row_count, body_size, number)


def document_frame(kind: FrameKind, document: dict[str, Any]) -> bytes:
    """Builds a HELLO or a NOTICE.

    Raises:
        LinkFault: The document is larger than JSON_BYTES_MAX.
    """
    body = json.dumps(document, separators=(",", ":")).encode()
    if len(body) > JSON_BYTES_MAX:
        raise LinkFault(f"a document of {len(body)} bytes, at most {JSON_BYTES_MAX}")
    header = bytearray(HEADER_BYTES)
    write_header(header, 0, kind=kind, row_count=0, body_size=len(body), number=0)
    return bytes(header) + body


def read_document(body: memoryview) -> dict[str, Any]:
    """Reads the body of a HELLO or a NOTICE.

    Raises:
        LinkFault: It is not a JSON object.
    """
    try:
        document = json.loads(bytes(body))
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise LinkFault("a document is not a JSON object")
    return document


class FrameReader:
    """Bytes that arrived and are not used up yet, cut into frames.

    A frame is looked at in place: `next_frame` gives it, `body` its bytes, `consume` ends it.

    Args:
        kinds: Frames that this end accepts.
        frame_bytes_max: The longest frame; twice as much is reserved, touched only as it fills.
    """

    def __init__(self, *, kinds: frozenset[FrameKind], frame_bytes_max: int) -> None:
        self._kinds = kinds
        self._map = mmap.mmap(-1, 2 * frame_bytes_max)
        self.buffer = memoryview(self._map)
        self.start = 0
        self._end = 0
        self._header: Header | None = None

    def receive(self, connection: socket.socket) -> int:
        """Reads once what waits on a non-blocking socket.

        Returns:
            Bytes read; 0 when nothing waits or the buffer is full.

        Raises:
            LinkFault: The other end closed the connection, or the system did.
        """
        if self._end == len(self.buffer):
            self._compact()
            if self._end == len(self.buffer):
                return 0
        try:
            count = connection.recv_into(self.buffer[self._end :])
        except BlockingIOError:
            return 0
        except OSError as error:
            raise LinkFault(f"the connection broke: {error.strerror}") from None
        if not count:
            raise LinkFault("the other end closed the connection")
        self._end += count
        return count

    def next_frame(self) -> Header | None:
        """Returns the header of the first frame if all of it is here, else None; the same until it is consumed.

        Raises:
            LinkFault: As `read_header`.
        """
        have = self._end - self.start
        header = self._header
        if header is None:
            if have < HEADER_BYTES:
                return None
            header = self._header = read_header(self.buffer, self.start, kinds=self._kinds)
        return header if have >= HEADER_BYTES + header.body_size else None

    def body(self) -> memoryview:
        """Returns the body of the frame `next_frame` gave; valid until `consume` or `receive`."""
        assert self._header is not None, "a frame was found"
        first = self.start + HEADER_BYTES
        return self.buffer[first : first + self._header.body_size]

    def consume(self) -> None:
        """Ends the first frame."""
        assert self._header is not None, "a frame was found"
        self.start += HEADER_BYTES + self._header.body_size
        self._header = None
        if self.start == self._end:
            self.start = self._end = 0
        elif self.start > len(self.buffer) // 2:
            self._compact()

    def _compact(self) -> None:
        if self.start:
            rest = self._end - self.start
            self._map.move(0, self.start, rest)
            self.start, self._end = 0, rest


class Outbox:
    """Bytes that a non-blocking socket did not take yet, up to a bound.

    Args:
        connection: Where they go.
        bytes_max: Beyond it `send` refuses: the other end has stalled.
    """

    def __init__(self, connection: socket.socket, *, bytes_max: int) -> None:
        self._connection = connection
        self._bytes_max = bytes_max
        self._waiting = bytearray()

    def __len__(self) -> int:
        return len(self._waiting)

    def send(self, data: bytes | bytearray | memoryview) -> None:
        """Sends, and keeps what the socket does not take.

        Args:
            data: Whole frames; not referred to afterwards.

        Raises:
            LinkFault: The bound is reached, or the connection broke.
        """
        sent = 0 if self._waiting else self._try(data)
        if sent < len(data):
            self._waiting += memoryview(data)[sent:]
            if len(self._waiting) > self._bytes_max:
                raise LinkFault(f"the other end has not read {len(self._waiting)} bytes, at most {self._bytes_max}")

    def flush(self) -> bool:
        """Sends what waits, as far as the socket takes it.

        Returns:
            Whether nothing waits any more.

        Raises:
            LinkFault: The connection broke.
        """
        if self._waiting:
            del self._waiting[: self._try(self._waiting)]
        return not self._waiting

    def _try(self, data: bytes | bytearray | memoryview) -> int:
        try:
            return self._connection.send(data)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise LinkFault(f"the connection broke: {error.strerror}") from None
