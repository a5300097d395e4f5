"""Disks that fail: one that fails at a chosen call, and one in memory that forgets at power loss what was not synced.

Called by tests/journal.
"""

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from riskengine.journal.disk import OsDisk

PAGE_BYTES = 4096
SECTOR_BYTES = 512


class FaultyDisk(OsDisk):
    """The system's disk, with one fault.

    Attributes:
        fault: Called before each call with its name and count of that name, from 1; may raise an OSError. For
            ``write`` it may return a number of bytes: the write is cut there (and, told as `lie`, claimed complete).
    """

    def __init__(self) -> None:
        self.fault: Callable[[str, int], int | None] = lambda name, count: None
        self.lie = False
        self.counts: dict[str, int] = {}

    def _meet(self, name: str) -> int | None:
        self.counts[name] = self.counts.get(name, 0) + 1
        return self.fault(name, self.counts[name])

    def allocate(self, descriptor: int, size_bytes: int) -> None:
        self._meet("allocate")
        super().allocate(descriptor, size_bytes)

    def write(self, descriptor: int, data: bytes, offset: int) -> int:
        kept = self._meet("write")
        if kept is None:
            return super().write(descriptor, data, offset)
        written = os.pwrite(descriptor, data[:kept], offset)
        return len(data) if self.lie else written

    def sync_data(self, descriptor: int) -> None:
        self._meet("sync_data")
        super().sync_data(descriptor)

    def sync_file(self, descriptor: int) -> None:
        self._meet("sync_file")
        super().sync_file(descriptor)

    def rename(self, old: Path, new: Path) -> None:
        self._meet("rename")
        super().rename(old, new)

    def sync_folder(self, path: Path) -> None:
        self._meet("sync_folder")
        super().sync_folder(path)


@dataclass(slots=True)
class Inode:
    """A file: what programs see, what the platter has, and which pages are to be written."""

    cache: bytearray = field(default_factory=bytearray)
    durable: bytearray = field(default_factory=bytearray)
    dirty: set[int] = field(default_factory=set)

    def flush(self) -> None:
        """Makes the dirty pages durable."""
        grown = len(self.cache) - len(self.durable)
        self.durable += bytes(max(0, grown))
        for page in self.dirty:
            span = slice(page * PAGE_BYTES, (page + 1) * PAGE_BYTES)
            self.durable[span] = self.cache[span]
        self.dirty.clear()


class PowerLoss(Exception):
    """The process is gone."""


def stop_after(calls: int) -> Callable[[str], None]:
    """Returns a hook that ends the process at a call to come."""
    left = [calls]

    def hook(name: str) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise PowerLoss(name)

    return hook


class SimulatedDisk:
    """A disk in memory, after whose power loss any unsynced sectors and folder changes may be missing.

    Sectors are lost one by one, changes of the folder from the last one back.

    Attributes:
        on_call: Called after each call that changes something, with its name.
        sync_is_real: False to see what happens without fdatasync.
        file_sync_is_real: The same of fsync on files.
        folder_sync_is_real: The same of fsync on folders.
        sync_failures: So many syncs fail; the pages are then marked clean, as Linux does.
        no_space: So many calls that need space fail.
        cut: Called before each write with its data and offset; a number of bytes that it returns is all that is written.
    """

    def __init__(self) -> None:
        self.entries: dict[Path, Inode] = {}
        self.durable_entries: dict[Path, Inode] = {}
        self.unsynced_entries: list[dict[Path, Inode]] = []
        self.descriptors: list[Inode] = []
        self.on_call: Callable[[str], None] = lambda name: None
        self.sync_is_real = self.file_sync_is_real = self.folder_sync_is_real = True
        self.sync_failures = 0
        self.no_space = 0
        self.cut: Callable[[bytes, int], int | None] = lambda data, offset: None

    def after_power_loss(self, rng: np.random.Generator) -> "SimulatedDisk":
        """Returns what the next process finds; this disk is not changed."""
        chosen = [self.durable_entries, *self.unsynced_entries][int(rng.integers(0, 1 + len(self.unsynced_entries)))]
        after = SimulatedDisk()
        after.sync_is_real, after.file_sync_is_real = self.sync_is_real, self.file_sync_is_real
        after.folder_sync_is_real = self.folder_sync_is_real
        for path, inode in chosen.items():
            content = bytearray(inode.durable)
            if len(inode.cache) > len(content) and rng.random() < 0.5:
                content += bytes(len(inode.cache) - len(content))
            kept_share = (0.0, 0.5, 0.9, 1.0)[int(rng.integers(0, 4))]
            for page in sorted(inode.dirty):
                for start in range(page * PAGE_BYTES, min((page + 1) * PAGE_BYTES, len(content)), SECTOR_BYTES):
                    if rng.random() < kept_share:
                        content[start : start + SECTOR_BYTES] = inode.cache[start : start + SECTOR_BYTES]
            after.entries[path] = Inode(bytearray(content), content)
        after.durable_entries = dict(after.entries)
        return after

    def make_folder(self, path: Path) -> None:
        self.on_call("make_folder")

    def names(self, folder: Path) -> list[str]:
        return [path.name for path in self.entries if path.parent == folder]

    def read(self, path: Path, offset: int = 0, size_bytes: int | None = None) -> bytes:
        cache = self._inode(path).cache
        return bytes(cache[offset:] if size_bytes is None else cache[offset : offset + size_bytes])

    def size(self, path: Path) -> int:
        return len(self._inode(path).cache)

    def _inode(self, path: Path) -> Inode:
        if path not in self.entries:
            raise FileNotFoundError(errno.ENOENT, "no such file", str(path))
        return self.entries[path]

    def open(self, path: Path, *, create: bool) -> int:
        if create == (path in self.entries):
            raise OSError(errno.EEXIST if create else errno.ENOENT, "open")
        if create:
            self._change({**self.entries, path: Inode()})
        self.descriptors.append(self.entries[path])
        self.on_call("open")
        return len(self.descriptors) - 1

    def allocate(self, descriptor: int, size_bytes: int) -> None:
        self._need_space()
        inode = self.descriptors[descriptor]
        inode.cache += bytes(size_bytes - len(inode.cache))
        self.on_call("allocate")

    def write(self, descriptor: int, data: bytes, offset: int) -> int:
        inode = self.descriptors[descriptor]
        assert offset + len(data) <= len(inode.cache), "the journal writes into preallocated space only"
        data = data[: self.cut(data, offset)]
        inode.cache[offset : offset + len(data)] = data
        inode.dirty.update(range(offset // PAGE_BYTES, (offset + max(1, len(data)) - 1) // PAGE_BYTES + 1))
        self.on_call("write")
        return len(data)

    def sync_data(self, descriptor: int) -> None:
        self._sync(descriptor, is_real=self.sync_is_real)
        self.on_call("sync_data")

    def sync_file(self, descriptor: int) -> None:
        self._sync(descriptor, is_real=self.file_sync_is_real)
        self.on_call("sync_file")

    def _sync(self, descriptor: int, *, is_real: bool) -> None:
        if self.sync_failures:
            self.sync_failures -= 1
            self.descriptors[descriptor].dirty.clear()
            raise OSError(errno.EIO, "sync")
        if is_real:
            self.descriptors[descriptor].flush()

    def close(self, descriptor: int) -> None:
        self.on_call("close")

    def rename(self, old: Path, new: Path) -> None:
        assert new not in self.entries
        self._need_space()
        self._change({new if path == old else path: inode for path, inode in self.entries.items()})
        self.on_call("rename")

    def replace(self, old: Path, new: Path) -> None:
        entries = {path: inode for path, inode in self.entries.items() if path != old}
        self._change({**entries, new: self._inode(old)})
        self.on_call("replace")

    def link(self, old: Path, new: Path) -> None:
        assert new not in self.entries
        self._change({**self.entries, new: self._inode(old)})
        self.on_call("link")

    def remove(self, path: Path) -> None:
        self._inode(path)
        self._change({other: inode for other, inode in self.entries.items() if other != path})
        self.on_call("remove")

    def sync_folder(self, path: Path) -> None:
        if self.folder_sync_is_real:
            self.durable_entries = self.entries
            self.unsynced_entries = []
        self.on_call("sync_folder")

    def _need_space(self) -> None:
        if self.no_space:
            self.no_space -= 1
            raise OSError(errno.ENOSPC, "no space left on device")

    def _change(self, entries: dict[Path, Inode]) -> None:
        self.entries = entries
        self.unsynced_entries.append(entries)
