"""The frames of the link: what is written is read, whatever arrives in pieces; what breaks a rule is named."""

import socket
from struct import pack_into
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from riskengine.engine.link import (
    EVENT_BYTES,
    FRAME_ROWS_MAX,
    HEADER_BYTES,
    JSON_BYTES_MAX,
    TO_ENGINE,
    TO_FRONT,
    FrameKind,
    FrameReader,
    Header,
    LinkFault,
    Outbox,
    document_frame,
    read_document,
    read_header,
    write_header,
)


def frame(kind: FrameKind, row_count: int, body: bytes, number: int = 7) -> bytearray:
    """Builds a frame."""
    data = bytearray(HEADER_BYTES) + body
    write_header(data, 0, kind=kind, row_count=row_count, body_size=len(body), number=number)
    return data


def altered(data: bytearray, offset: int, form: str, value: int) -> bytearray:
    """Changes one number of a header and mends its checksum."""
    pack_into(form, data, offset, value)
    pack_into("<I", data, HEADER_BYTES - 4, crc32(data[: HEADER_BYTES - 4]))
    return data


BROKEN = [
    ("magic", lambda d: altered(d, 0, "<I", 0), "magic"),
    ("version", lambda d: altered(d, 4, "<H", 2), "version 2"),
    ("kind for the other end", lambda d: altered(d, 6, "<H", FrameKind.REPLIES), "kind 4 is not for this end"),
    ("unknown kind", lambda d: altered(d, 6, "<H", 99), "kind 99"),
    ("no rows", lambda d: altered(d, 8, "<I", 0), "0 rows"),
    ("too many rows", lambda d: altered(d, 8, "<I", FRAME_ROWS_MAX + 1), "at most 1024"),
    ("huge body", lambda d: altered(d, 12, "<I", 2**32 - 1), "4294967295 bytes"),
    ("body not of its rows", lambda d: altered(d, 12, "<I", EVENT_BYTES - 8), "1 rows in"),
    ("reserved", lambda d: altered(d, 24, "<I", 1), "not for this end"),
]


@pytest.mark.parametrize(("name", "change", "message"), BROKEN, ids=[row[0] for row in BROKEN])
def test_broken_header_is_named(name: str, change: object, message: str) -> None:
    """Goal: nothing is believed that breaks a rule. Method: one header for each rule, its checksum right."""
    data = change(frame(FrameKind.EVENTS, 1, bytes(EVENT_BYTES)))  # type: ignore[operator]

    with pytest.raises(LinkFault, match=message):
        read_header(data, 0, kinds=TO_ENGINE)


@given(st.integers(0, HEADER_BYTES * 8 - 1))
def test_any_flipped_bit_of_a_header_is_noticed(bit: int) -> None:
    """Goal: two ends that lost step notice. Method: flip each bit."""
    data = frame(FrameKind.EVENTS, 1, bytes(EVENT_BYTES))
    data[bit // 8] ^= 1 << bit % 8

    with pytest.raises(LinkFault):
        read_header(data, 0, kinds=TO_ENGINE)


@given(st.lists(st.integers(1, 5), min_size=1, max_size=6), st.lists(st.integers(1, 3_000), min_size=1, max_size=30))
def test_frames_survive_any_cut(row_counts: list[int], cuts: list[int]) -> None:
    """Goal: a stream has no borders. Method: frames sent in pieces of any size through a real socket pair."""
    frames = [
        frame(FrameKind.EVENTS, count, bytes([index + 1]) * (count * EVENT_BYTES), number=index)
        for index, count in enumerate(row_counts)
    ]
    data = b"".join(frames)
    near, far = socket.socketpair()
    far.setblocking(False)
    reader = FrameReader(kinds=TO_ENGINE, frame_bytes_max=HEADER_BYTES + 5 * EVENT_BYTES)
    found: list[tuple[Header, bytes]] = []
    with near, far:
        while data:
            cut = cuts.pop(0) if cuts else len(data)
            near.sendall(data[:cut])
            data = data[cut:]
            while reader.receive(far):
                while (header := reader.next_frame()) is not None:
                    found.append((header, bytes(reader.body())))
                    reader.consume()

    expected = [
        (Header(FrameKind.EVENTS, count, count * EVENT_BYTES, index), bytes([index + 1]) * (count * EVENT_BYTES))
        for index, count in enumerate(row_counts)
    ]
    assert expected == found


def test_document_comes_back() -> None:
    """Goal: HELLO and NOTICE carry JSON. Method: write and read one."""
    data = document_frame(FrameKind.HELLO, {"state": "SERVING", "catalog": [{"é": 1}]})

    header = read_header(data, 0, kinds=TO_FRONT)

    assert {"state": "SERVING", "catalog": [{"é": 1}]} == read_document(memoryview(data)[HEADER_BYTES:])
    assert (FrameKind.HELLO, 0, len(data) - HEADER_BYTES) == (header.kind, header.row_count, header.body_size)


@pytest.mark.parametrize("body", [b"[]", b"{", b"\xff"])
def test_document_must_be_an_object(body: bytes) -> None:
    """Goal: no surprise behind the link. Method: JSON of another kind, broken JSON, broken text."""
    with pytest.raises(LinkFault, match="not a JSON object"):
        read_document(memoryview(body))


def test_document_has_a_bound() -> None:
    """Goal: a catalogue that grew too large is noticed by the one who has it. Method: one byte too many."""
    with pytest.raises(LinkFault, match="at most"):
        document_frame(FrameKind.NOTICE, {"x": "y" * JSON_BYTES_MAX})


def test_outbox_keeps_what_does_not_fit_and_refuses_beyond_its_bound() -> None:
    """Goal: a stalled reader costs bounded memory. Method: send to a socket nobody reads, then read all."""
    near, far = socket.socketpair()
    near.setblocking(False)
    with near, far:
        near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        outbox = Outbox(near, bytes_max=200_000)
        sent = bytes(range(256)) * 500
        outbox.send(sent)
        stuck = len(outbox)
        with pytest.raises(LinkFault, match="has not read"):
            outbox.send(bytes(200_000))
        received = b""
        while len(received) < len(sent):
            received += far.recv(1 << 16)
            outbox.flush()

    assert stuck > 0
    assert sent == received[: len(sent)]


def test_closed_connection_is_a_fault() -> None:
    """Goal: the end of the other end is noticed at once. Method: close it."""
    near, far = socket.socketpair()
    far.setblocking(False)
    near.close()
    with far, pytest.raises(LinkFault, match="closed"):
        FrameReader(kinds=TO_ENGINE, frame_bytes_max=1000).receive(far)
