"""What stands where a frame is expected and is none: the end of the journal, a torn frame, or damage.

INVARIANTS: pure functions of bytes; rules 1 to 5 of `format`, "End", and nothing else. `data` holds a segment's bytes from
`base` on, up to its end; offsets in it count from `base`, sectors from the segment's first byte.

Called by `scan` (what it judges), `repair` (what lies behind damage) and tests.
"""

from collections.abc import Iterator

import numpy as np

from .format import (
    END_MAGIC,
    FRAME_BYTES_MAX,
    FRAME_HEADER_BYTES,
    FRAME_MAGIC,
    SECTOR_BYTES,
    TRAILER_BYTES,
    is_frame_header,
)

_CUT_END_MAGICS = tuple(END_MAGIC[:kept].ljust(len(END_MAGIC), b"\0") for kept in range(len(END_MAGIC)))

Bytes = bytes | bytearray


def judge_headless(data: Bytes, offset: int, *, base: int, seed: int) -> int | str:
    """Decides what bytes without a valid frame header are (rules 1, 3, 4 and 5).

    Args:
        data: See the module.
        offset: Where the frame is expected, a multiple of 8.
        base: Where `data` begins in the segment, bytes, a multiple of 8.
        seed: `crc_seed` of the journal.

    Returns:
        0 at the end of the journal, else the bytes that a torn frame left, or in words what is wrong.
    """
    used = used_bytes(data, offset)
    if used == 0:
        return 0
    if len(data) - offset < FRAME_HEADER_BYTES + TRAILER_BYTES:
        return "bytes where no frame fits"
    if used < FRAME_HEADER_BYTES and data.startswith(FRAME_MAGIC[:used], offset):
        return used
    sector_end = _sector_end(offset, base)
    chunks = [data[offset:sector_end]]
    if offset + FRAME_HEADER_BYTES > sector_end:
        chunks.append(data[sector_end : sector_end + SECTOR_BYTES])
    if all(any(chunk) for chunk in chunks):
        return "a damaged frame header"
    if used > FRAME_BYTES_MAX:
        return "bytes far beyond the end of the journal, which is"
    if next(frame_headers(data, offset, seed=seed), -1) >= 0:
        return "a missing frame, with a valid one behind it,"
    return used


def judge_bodyless(data: Bytes, offset: int, end: int, *, base: int) -> int | str:
    """Decides what a frame with a valid header and a damaged body is (rules 2 and 5).

    Args:
        data: See the module.
        offset: Where the frame begins.
        end: Where it ends.
        base: Where `data` begins in the segment, bytes.

    Returns:
        The bytes that a torn frame left, or in words what is wrong.
    """
    if not is_zero(data, end):
        return "a damaged frame, with bytes behind it,"
    if data[end - len(END_MAGIC) : end] in _CUT_END_MAGICS:
        return end - offset
    start = offset
    while start < end:
        chunk_end = min(_sector_end(start, base), end)
        if not any(data[start:chunk_end]):
            return end - offset
        start = chunk_end
    return "a damaged frame body"


def is_zero(data: Bytes, offset: int) -> bool:
    """Tells whether all is zero from `offset` on; lengths and offsets are multiples of 8."""
    return not np.frombuffer(data, np.int64)[offset // 8 :].any()


def used_bytes(data: Bytes, offset: int) -> int:
    """Returns the number of bytes from `offset` up to the last one that is not zero; as `is_zero`."""
    words = np.frombuffer(data, np.int64)[offset // 8 :]
    last = len(words) - 1 - int((words[::-1] != 0).argmax()) if words.any() else -1
    return 8 * last + len(words[last : last + 1].tobytes().rstrip(b"\0")) if last >= 0 else 0


def frame_headers(data: Bytes, offset: int, *, seed: int) -> Iterator[int]:
    """Yields where valid frame headers begin, from `offset` on."""
    view = memoryview(data)
    found = data.find(FRAME_MAGIC, offset)
    while 0 <= found <= len(data) - FRAME_HEADER_BYTES:
        if is_frame_header(view, found, seed=seed):
            yield found
        found = data.find(FRAME_MAGIC, found + 1)


def _sector_end(offset: int, base: int) -> int:
    """Returns the end of the sector that the byte at `offset` is in, at most a sector beyond the data."""
    return ((base + offset) // SECTOR_BYTES + 1) * SECTOR_BYTES - base
