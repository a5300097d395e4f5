"""Writing a snapshot.

INVARIANTS: a file has its name when all of it is durable; the state is only read. Written in small synced steps with a pause
after each, because a disk that has a gigabyte to do lets the journal wait. Called by the follower.
"""

import errno
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any, Final
from zlib import crc32

import numpy as np
import numpy.typing as npt

from riskengine.durable import sync_path
from riskengine.engine.activation import KEY_BYTES, Activation
from riskengine.engine.blocks import Bytes, block, bytes_of, used_blocks
from riskengine.engine.recent.kernels import PROGRESS_RECEIVED_US
from riskengine.engine.state import State
from riskengine.journal.disk import Disk, OsDisk
from riskengine.journal.reader import Anchor

from .format import FOLDER, PARTIAL_SUFFIX, SUFFIX, TABLE, ArrayInfo, SnapshotHeader, pack_head

STEP_BYTES: Final = 1024 * 1024
"""Written and synced at once."""
SPARE_NAME: Final = f"spare{PARTIAL_SUFFIX}"
"""A snapshot that is not needed any more, to be written over by the next one."""
Pause = Callable[[int], None]
"""Called with the bytes of each step, when they are durable; what it raises ends the writing."""


def write_snapshot(
    data_dir: Path,
    state: State,
    *,
    configuration_key: bytes,
    anchor: Anchor,
    journal_id: bytes,
    activation: Activation,
    names: dict[int, dict[str, Any]],
    disk: Disk | None = None,
    pause: Pause = lambda size_bytes: None,
) -> Path:
    """Writes a snapshot and makes it durable. The state must not change meanwhile.

    Args:
        data_dir: The data directory.
        state: As of `anchor`.
        configuration_key: Its key, see `activation.state_key`.
        anchor: Place in the journal behind the last event in it; what precedes must be durable.
        journal_id: Of the journal.
        activation: What the state was folded under.
        names: Of every revision that the recent decisions refer to.
        disk: Where to write.
        pause: Called after each step of STEP_BYTES.

    Returns:
        The file; one of the same sequence is replaced.

    Raises:
        OSError: There is no space, or the disk failed. At most a file ending in ``.tmp`` is left.
    """
    assert state.sequence + 1 == anchor.next_sequence, "a state and its place in the journal belong together"
    assert len(configuration_key) == KEY_BYTES, "a state key has 16 bytes"
    disk = disk or OsDisk()
    used = state.used()
    parts = [bytes_of(array) for array in used.values()]
    table = _table(parts)
    blocks_bytes = sum(len(data) for data in _blocks(parts, table))
    header = SnapshotHeader(
        journal_id=journal_id,
        key=configuration_key,
        digest=state.digest(),
        anchor=anchor,
        received_time_us=int(state.progress[PROGRESS_RECEIVED_US]),
        activation=activation,
        names=names,
        arrays=tuple(ArrayInfo(name, array.dtype.str, array.nbytes) for name, array in used.items()),
        block_count=len(table),
        blocks_bytes=blocks_bytes,
        table_crc=crc32(table.tobytes()),
    )
    head = pack_head(header)
    folder = data_dir / FOLDER
    disk.make_folder(folder)
    path = folder / f"{state.sequence:016d}{SUFFIX}"
    partial = path.with_suffix(PARTIAL_SUFFIX)
    size_bytes = len(head) + table.nbytes + blocks_bytes
    is_new = not _take_spare(disk, folder, partial, size_bytes)
    pieces = chain[bytes | memoryview]([head, table.tobytes()], _blocks(parts, table))
    try:
        _write(disk, partial, pieces, size_bytes, pause, is_new=is_new)
        disk.replace(partial, path)
    except BaseException:
        with suppress(OSError):  # The space it took may be what the journal needs.
            disk.remove(partial)
        raise
    disk.sync_folder(folder)
    return path


def retire_snapshot(path: Path, *, pause: Pause = lambda size_bytes: None) -> None:
    """Takes a snapshot out of use and keeps its space for the next one; where such a spare is there already, removes it.

    Space that is freed on a disk that is told so at once (mount option discard) costs the journal's syncs some 50 ms each;
    space that is written over costs them nothing. So there is one file more than snapshots are kept. Whoever has it open
    finds it damaged, and its name gone.

    Args:
        path: The file; nothing happens where there is none.
        pause: As of `write_snapshot`.

    Raises:
        OSError: The disk failed.
    """
    spare = path.with_name(SPARE_NAME)
    if spare.exists():
        remove_snapshot(path, pause=pause)
        return
    try:
        path.rename(spare)
    except FileNotFoundError:
        return
    sync_path(path.parent)  # Its old name must not come back after a power loss, when it is half written over.


def _take_spare(disk: Disk, folder: Path, partial: Path, size_bytes: int) -> bool:
    """Gives the spare the name of a file that is to be written; tells whether there was one that is not too large.

    What a writer that ended early has left of that name is removed.
    """
    names = disk.names(folder)
    if partial.name in names:
        disk.remove(partial)
    if SPARE_NAME not in names:
        return False
    if disk.size(folder / SPARE_NAME) > size_bytes:
        disk.remove(folder / SPARE_NAME)
        return False
    disk.replace(folder / SPARE_NAME, partial)
    return True


def remove_snapshot(path: Path, *, pause: Pause = lambda size_bytes: None) -> None:
    """Removes a snapshot, a step at a time: a file system frees a large file at once while the journal's syncs wait.

    Whoever has it open finds it shorter than its head says, and its name gone.

    Args:
        path: The file; nothing happens where there is none.
        pause: As of `write_snapshot`.

    Raises:
        OSError: The disk failed. At most a file ending in ``.tmp`` is left.
    """
    partial = path.with_suffix(PARTIAL_SUFFIX)
    try:
        path.rename(partial)
    except FileNotFoundError:
        return
    for size_bytes in range(partial.stat().st_size // STEP_BYTES * STEP_BYTES, 0, -STEP_BYTES):
        os.truncate(partial, size_bytes)
        pause(STEP_BYTES)
    partial.unlink()


def discard_partial(data_dir: Path, *, disk: Disk | None = None) -> int:
    """Removes what a writer that was killed has left; returns the number of files. Only while nobody writes."""
    disk = disk or OsDisk()
    left = [name for name in disk.names(data_dir / FOLDER) if name.endswith(PARTIAL_SUFFIX)]
    for name in left:
        disk.remove(data_dir / FOLDER / name)
    return len(left)


def _table(parts: list[Bytes]) -> npt.NDArray[np.void]:
    """Returns the table of the blocks that are not zeros."""
    tables = []
    for index, data in enumerate(parts):
        found = used_blocks(data)
        table = np.zeros(len(found), TABLE)
        table["array"] = index
        table["block"] = found
        table["crc"] = [crc32(block(data, each).data) for each in found.tolist()]
        tables.append(table)
    return np.concatenate(tables)


def _blocks(parts: list[Bytes], table: npt.NDArray[np.void]) -> Iterator[memoryview]:
    """Yields the blocks of a table, in its order."""
    for index, each in zip(table["array"].tolist(), table["block"].tolist(), strict=True):
        yield block(parts[index], each).data


def _write(
    disk: Disk, path: Path, pieces: Iterable[bytes | memoryview], size_bytes: int, pause: Pause, *, is_new: bool
) -> None:
    """Writes a file step by step, a new one or over one that is not larger, and makes it durable."""
    descriptor = disk.open(path, create=is_new)
    try:
        disk.allocate(descriptor, size_bytes)
        step = bytearray()
        written_bytes = 0
        for piece in pieces:
            step += piece
            if len(step) >= STEP_BYTES:
                written_bytes += _write_step(disk, descriptor, step, written_bytes, pause)
                step = bytearray()
        written_bytes += _write_step(disk, descriptor, step, written_bytes, pause)
        assert written_bytes == size_bytes, "the parts have the lengths that the header tells"
        disk.sync_file(descriptor)
    finally:
        disk.close(descriptor)


def _write_step(disk: Disk, descriptor: int, step: bytearray, offset: int, pause: Pause) -> int:
    if disk.write(descriptor, bytes(step), offset) != len(step):
        raise OSError(errno.EIO, "short write")
    disk.sync_data(descriptor)
    pause(len(step))
    return len(step)
