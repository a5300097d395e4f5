"""Reading snapshots.

INVARIANTS: nothing of a file is believed before its checksums are right; every length is held against its bound before it is
used. When a file is refused the state is untouched, except for its digest, which can be looked at only when the state is full.
Files are read, not mapped: a bad sector is an error here, and would end the process there.

Called by `engine.origin` and the follower.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from zlib import crc32

import numpy as np
import numpy.typing as npt

from riskengine.engine.blocks import BLOCK_BYTES, Bytes, block, bytes_of
from riskengine.engine.state import State

from .format import FOLDER, HEADER_BYTES, TABLE, SnapshotDamaged, SnapshotHeader, document_bytes, unpack_head

_NAME: Final = re.compile(r"[0-9]{16}\.snapshot")


def snapshot_paths(data_dir: Path) -> list[Path]:
    """Returns the files that are called as snapshots are, the newest first; none if there is no folder."""
    folder = data_dir / FOLDER
    names = [entry.name for entry in folder.iterdir()] if folder.is_dir() else []
    return [folder / name for name in sorted(names, reverse=True) if _NAME.fullmatch(name)]


def read_snapshot_header(path: Path) -> SnapshotHeader:
    """Reads what a snapshot says of itself; its blocks are not looked at.

    Raises:
        SnapshotDamaged: It is no snapshot of this version, or damaged.
    """
    with _opened(path) as descriptor:
        return _read_head(descriptor, path)


def check_snapshot(path: Path) -> SnapshotHeader:
    """Proves every byte of a snapshot.

    Raises:
        SnapshotDamaged: A checksum is wrong.
    """
    with _opened(path) as descriptor:
        header = _read_head(descriptor, path)
        _check_blocks(descriptor, header, _read_table(descriptor, header))
        return header


def load_snapshot(path: Path, state: State) -> SnapshotHeader:
    """Fills a state.

    Args:
        path: The file.
        state: New, of the features and limits that the snapshot's key tells. Of no use when this raises.

    Returns:
        The header.

    Raises:
        SnapshotDamaged: The file is damaged, or of another kind of state.
    """
    with _opened(path) as descriptor:
        header = _read_head(descriptor, path)
        parts = _parts(header, state)
        table = _read_table(descriptor, header)
        _check_blocks(descriptor, header, table)
        at = header.blocks_offset
        for index, each in zip(table["array"].tolist(), table["block"].tolist(), strict=True):
            target = block(parts[index], each)
            if os.preadv(descriptor, [target.data], at) != len(target):
                raise SnapshotDamaged(f"it ends at byte {at}")
            at += len(target)
    if state.digest() != header.digest or state.sequence != header.sequence:
        raise SnapshotDamaged("the state in it is not the one that was written")
    return header


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    """Opens a file; an error of the system on the way is damage, too: the file cannot be used."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            yield descriptor
        finally:
            os.close(descriptor)
    except OSError as error:
        raise SnapshotDamaged(f"it cannot be read: {error.strerror}") from error


def _read_head(descriptor: int, path: Path) -> SnapshotHeader:
    raw = os.pread(descriptor, HEADER_BYTES, 0)
    document = os.pread(descriptor, document_bytes(raw), HEADER_BYTES)
    return unpack_head(raw, document, path=path, file_bytes=os.fstat(descriptor).st_size)


def _parts(header: SnapshotHeader, state: State) -> list[Bytes]:
    """Returns the bytes of the state that each array of the snapshot goes to."""
    arrays = state.arrays()
    if [info.name for info in header.arrays] != list(arrays):
        raise SnapshotDamaged("it has other arrays")
    parts = []
    for info, array in zip(header.arrays, arrays.values(), strict=True):
        if info.dtype != array.dtype.str or not 0 <= info.size_bytes <= array.nbytes:
            raise SnapshotDamaged(f"its array {info.name} has another type or does not fit")
        parts.append(bytes_of(array)[: info.size_bytes])
    return parts


def _read_table(descriptor: int, header: SnapshotHeader) -> npt.NDArray[np.void]:
    """Returns the table, with its places proved: rising, each within its array, as long together as the file."""
    raw = os.pread(descriptor, header.block_count * TABLE.itemsize, header.table_offset)
    if len(raw) != header.block_count * TABLE.itemsize or crc32(raw) != header.table_crc:
        raise SnapshotDamaged("the checksum of its table is wrong")
    table = np.frombuffer(raw, TABLE)
    sizes = np.array([info.size_bytes for info in header.arrays], np.int64)
    arrays, blocks = table["array"].astype(np.int64), table["block"].astype(np.int64)
    place = (arrays << 32) | blocks
    if (arrays >= len(sizes)).any() or (np.diff(place) <= 0).any():
        raise SnapshotDamaged("its table is out of order")
    lengths = np.minimum(sizes[arrays] - blocks * BLOCK_BYTES, BLOCK_BYTES)
    if (lengths <= 0).any() or int(lengths.sum()) != header.blocks_bytes:
        raise SnapshotDamaged("its table does not fit its arrays")
    return table


def _check_blocks(descriptor: int, header: SnapshotHeader, table: npt.NDArray[np.void]) -> None:
    """Proves every block."""
    at = header.blocks_offset
    buffer = memoryview(bytearray(BLOCK_BYTES))
    places = zip(table["array"].tolist(), table["block"].tolist(), table["crc"].tolist(), strict=True)
    for index, each, crc in places:
        length = min(header.arrays[index].size_bytes - each * BLOCK_BYTES, BLOCK_BYTES)
        if os.preadv(descriptor, [buffer[:length]], at) != length or crc32(buffer[:length]) != crc:
            raise SnapshotDamaged(f"the checksum of block {each} of {header.arrays[index].name} is wrong, at byte {at}")
        at += length
