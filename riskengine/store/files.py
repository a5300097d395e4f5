"""The few calls by which the store touches the disk, so that tests can put one in their place that fails or forgets.

INVARIANTS: every failure is an OSError; nothing is retried here. Files are written once, from their beginning to their end, and
only their owner may read them.

Called by `store`, `folder` and `parquet`; the other implementation is the simulated disk of the tests.
"""

import os
from pathlib import Path
from typing import Protocol

import pyarrow as pa

from riskengine.durable import sync_path


class Files(Protocol):
    """What the store asks of a file system."""

    def make_folder(self, path: Path) -> None:
        """Makes a folder, unless it is there, and syncs its parent."""
        ...

    def names(self, folder: Path) -> list[str]:
        """Returns the names in a folder, in no order; none if there is no folder."""
        ...

    def read(self, path: Path) -> bytes:
        """Returns all of a small file."""
        ...

    def open(self, path: Path) -> pa.NativeFile:
        """Opens a file for reading here and there."""
        ...

    def create(self, path: Path) -> int:
        """Makes a new file for writing and returns its descriptor."""
        ...

    def write(self, descriptor: int, data: bytes | bytearray) -> None:
        """Writes behind what was written before."""
        ...

    def sync_file(self, descriptor: int) -> None:
        """Returns when the file's bytes and metadata are durable."""
        ...

    def close(self, descriptor: int) -> None:
        """Closes a descriptor."""
        ...

    def replace(self, old: Path, new: Path) -> None:
        """Renames a file, at once over one that has the new name already."""
        ...

    def remove(self, path: Path) -> None:
        """Removes a file."""
        ...

    def remove_folder(self, path: Path) -> None:
        """Removes an empty folder."""
        ...

    def sync_folder(self, path: Path) -> None:
        """Returns when the folder's entries are durable."""
        ...


class OsFiles:
    """The operating system's files."""

    def make_folder(self, path: Path) -> None:
        """Makes a folder that only its owner may enter, unless it is there, and syncs its parent."""
        path.mkdir(mode=0o700, exist_ok=True)
        self.sync_folder(path.parent)

    def names(self, folder: Path) -> list[str]:
        """Returns the names in a folder, in no order; none if there is no folder."""
        try:
            return [path.name for path in folder.iterdir()]
        except (FileNotFoundError, NotADirectoryError):
            return []

    def read(self, path: Path) -> bytes:
        """Returns all of a small file."""
        return path.read_bytes()

    def open(self, path: Path) -> pa.NativeFile:
        """Opens a file for reading here and there."""
        return pa.OSFile(str(path))

    def create(self, path: Path) -> int:
        """Makes a new file for writing and returns its descriptor."""
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)

    def write(self, descriptor: int, data: bytes | bytearray) -> None:
        """Writes behind what was written before."""
        left = memoryview(data)
        while left:
            left = left[os.write(descriptor, left) :]

    def sync_file(self, descriptor: int) -> None:
        """Returns when the file's bytes and metadata are durable."""
        os.fsync(descriptor)

    def close(self, descriptor: int) -> None:
        """Closes a descriptor."""
        os.close(descriptor)

    def replace(self, old: Path, new: Path) -> None:
        """Renames a file, at once over one that has the new name already."""
        old.replace(new)

    def remove(self, path: Path) -> None:
        """Removes a file."""
        path.unlink()

    def remove_folder(self, path: Path) -> None:
        """Removes an empty folder."""
        path.rmdir()

    def sync_folder(self, path: Path) -> None:
        """Returns when the folder's entries are durable."""
        sync_path(path)
