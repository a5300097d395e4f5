"""A disk in memory for the store: it fails where it is told to, and forgets at power loss what was not synced.

Called by tests/store.
"""

import copy
import errno
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa

SECTOR_BYTES = 512


class PowerLoss(Exception):
    """The process is gone."""


class Inode:
    """A file: what programs see, and what the platter has."""

    def __init__(self, durable: bytes = b"") -> None:
        self.cache = bytearray(durable)
        self.durable = durable

    def after_power_loss(self, rng: np.random.Generator) -> "Inode":
        """Returns what is left: what was synced, and any sectors and any length of the rest."""
        if bytes(self.cache) == self.durable:
            return Inode(self.durable)
        length = int(rng.integers(len(self.durable), len(self.cache), endpoint=True))
        left = bytearray(self.durable.ljust(length, b"\0"))
        share = rng.choice([0.0, 0.5, 1.0])
        for start in range(0, length, SECTOR_BYTES):
            if rng.random() < share:
                left[start : start + SECTOR_BYTES] = self.cache[start : min(start + SECTOR_BYTES, length)]
        return Inode(bytes(left))


class Folder:
    """A folder: its entries as programs see them, as the platter has them, and the states between."""

    def __init__(self) -> None:
        self.entries: dict[str, Inode | Folder] = {}
        self.states: list[dict[str, Inode | Folder]] = [{}]

    def change(self, entries: "dict[str, Inode | Folder]") -> None:
        """Takes other entries, durable at the next sync."""
        self.entries = entries
        self.states.append(entries)

    def sync(self) -> None:
        """Makes the entries durable."""
        self.states = [self.entries]

    def after_power_loss(self, rng: np.random.Generator) -> "Folder":
        """Returns what is left: the entries after some of the changes, lost from the last one back."""
        left = Folder()
        chosen = self.states[int(rng.integers(0, len(self.states)))]
        left.entries = {name: entry.after_power_loss(rng) for name, entry in chosen.items()}
        left.sync()
        return left


class SimulatedFiles:
    """Files in memory.

    Attributes:
        before: Called before each call that changes something, with its name; may raise.
        after: Called after it.
        sync_is_real: False to see what happens without fsync.
        calls: Names of the calls so far.
    """

    def __init__(self, root: Folder | None = None) -> None:
        self.root = root or Folder()
        self.before: Callable[[str], None] = lambda name: None
        self.after: Callable[[str], None] = lambda name: None
        self.sync_is_real = True
        self.calls: list[str] = []
        self._descriptors: dict[int, Inode] = {}

    def after_power_loss(self, rng: np.random.Generator) -> "SimulatedFiles":
        """Returns what the next process finds; this disk is not changed."""
        after = SimulatedFiles(self.root.after_power_loss(rng))
        after.sync_is_real = self.sync_is_real
        return after

    def after_kill(self) -> "SimulatedFiles":
        """Returns what the next process finds when only the last one ended: all that was written, synced or not."""
        after = SimulatedFiles(copy.deepcopy(self.root))
        after.sync_is_real = self.sync_is_real
        return after

    def make_folder(self, path: Path) -> None:
        parent = self._folder(path.parent)
        with self._call("make_folder"):
            if path.name not in parent.entries:
                parent.change({**parent.entries, path.name: Folder()})
        self.sync_folder(path.parent)

    def names(self, folder: Path) -> list[str]:
        try:
            return list(self._folder(folder).entries)
        except FileNotFoundError:
            return []

    def read(self, path: Path) -> bytes:
        return bytes(self._inode(path).cache)

    def open(self, path: Path) -> pa.NativeFile:
        return pa.BufferReader(bytes(self._inode(path).cache))

    def create(self, path: Path) -> int:
        folder = self._folder(path.parent)
        if path.name in folder.entries:
            raise FileExistsError(errno.EEXIST, "create")
        with self._call("create"):
            inode = Inode()
            folder.change({**folder.entries, path.name: inode})
            descriptor = len(self.calls) + 1_000
            self._descriptors[descriptor] = inode
            return descriptor

    def write(self, descriptor: int, data: bytes | bytearray) -> None:
        with self._call("write"):
            self._descriptors[descriptor].cache += data

    def sync_file(self, descriptor: int) -> None:
        with self._call("sync_file"):
            if self.sync_is_real:
                inode = self._descriptors[descriptor]
                inode.durable = bytes(inode.cache)

    def close(self, descriptor: int) -> None:
        del self._descriptors[descriptor]

    def replace(self, old: Path, new: Path) -> None:
        assert old.parent == new.parent, "within one folder"
        folder = self._folder(old.parent)
        with self._call("replace"):
            inode = folder.entries[old.name]
            folder.change(
                {**{name: each for name, each in folder.entries.items() if name != old.name}, new.name: inode}
            )

    def remove(self, path: Path) -> None:
        folder = self._folder(path.parent)
        self._inode(path)
        with self._call("remove"):
            folder.change({name: each for name, each in folder.entries.items() if name != path.name})

    def remove_folder(self, path: Path) -> None:
        parent = self._folder(path.parent)
        if self._folder(path).entries:
            raise OSError(errno.ENOTEMPTY, "remove_folder")
        with self._call("remove_folder"):
            parent.change({name: each for name, each in parent.entries.items() if name != path.name})

    def sync_folder(self, path: Path) -> None:
        folder = self._folder(path)
        with self._call("sync_folder"):
            if self.sync_is_real:
                folder.sync()

    def _call(self, name: str) -> "_Call":
        return _Call(self, name)

    def _folder(self, path: Path) -> Folder:
        folder = self.root
        for name in path.parts:
            entry = folder.entries.get(name)
            if not isinstance(entry, Folder):
                raise FileNotFoundError(errno.ENOENT, str(path))
            folder = entry
        return folder

    def _inode(self, path: Path) -> Inode:
        entry = self._folder(path.parent).entries.get(path.name)
        if not isinstance(entry, Inode):
            raise FileNotFoundError(errno.ENOENT, str(path))
        return entry


class _Call:
    """Around a call: tells its name before and, where it succeeded, after it."""

    def __init__(self, files: SimulatedFiles, name: str) -> None:
        self._files = files
        self._name = name

    def __enter__(self) -> None:
        self._files.before(self._name)
        self._files.calls.append(self._name)

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if kind is None:
            self._files.after(self._name)


def failing_at(call: int, error: Callable[[], BaseException], *, only: str = "") -> Callable[[str], None]:
    """Returns a hook that raises at the call with this number, from 0, counting only those of one name if that is given."""
    seen = -1

    def hook(name: str) -> None:
        nonlocal seen
        if only in ("", name):
            seen += 1
            if seen == call:
                raise error()

    return hook


def dead_from(call: int) -> Callable[[str], None]:
    """Returns a hook that ends the process at a call: this one and all later ones raise PowerLoss."""
    seen = -1

    def hook(name: str) -> None:
        nonlocal seen
        seen += 1
        if seen >= call:
            raise PowerLoss(name)

    return hook
