"""The few calls by which the journal touches the disk, so that tests can put a failing one in their place.

INVARIANTS: every failure is an OSError, of a file that is not there a FileNotFoundError; nothing is retried here. Called
by `writer`, `segment`, `scan`, `kept`; the other implementation is the simulated disk of the tests.
"""

import errno
import os
import shutil
from pathlib import Path
from typing import Protocol


class Source(Protocol):
    """What a reader of the journal asks of a file system."""

    def names(self, folder: Path) -> list[str]:
        """Returns the names in a folder, in no order; none if there is no folder."""
        ...

    def read(self, path: Path, offset: int = 0, size_bytes: int | None = None) -> bytes:
        """Returns a file's bytes from `offset` on, at most `size_bytes`, fewer where the file ends."""
        ...

    def size(self, path: Path) -> int:
        """Returns a file's length, bytes."""
        ...


class Disk(Source, Protocol):
    """What the journal asks of a file system."""

    def make_folder(self, path: Path) -> None:
        """Makes a folder, unless it is there, and syncs its parent."""
        ...

    def open(self, path: Path, *, create: bool) -> int:
        """Opens a file for writing and returns its descriptor; `create` demands that it is new."""
        ...

    def allocate(self, descriptor: int, size_bytes: int) -> None:
        """Reserves space for a file of `size_bytes` and gives it that length."""
        ...

    def write(self, descriptor: int, data: bytes, offset: int) -> int:
        """Writes at an offset and returns the number of bytes written."""
        ...

    def sync_data(self, descriptor: int) -> None:
        """Returns when the file's bytes are durable (fdatasync)."""
        ...

    def sync_file(self, descriptor: int) -> None:
        """Returns when the file's bytes and metadata are durable (fsync)."""
        ...

    def close(self, descriptor: int) -> None:
        """Closes a descriptor."""
        ...

    def rename(self, old: Path, new: Path) -> None:
        """Renames a file; the new name must be free."""
        ...

    def replace(self, old: Path, new: Path) -> None:
        """Renames a file, over the one that has the new name, if any."""
        ...

    def link(self, old: Path, new: Path) -> None:
        """Gives a file a second name."""
        ...

    def remove(self, path: Path) -> None:
        """Removes a file."""
        ...

    def sync_folder(self, path: Path) -> None:
        """Returns when the folder's entries are durable."""
        ...


class OsDisk:
    """The operating system's disk."""

    def make_folder(self, path: Path) -> None:
        """Makes a folder that only its owner may enter, unless it is there, and syncs its parent."""
        path.mkdir(mode=0o700, exist_ok=True)
        self.sync_folder(path.parent)

    def names(self, folder: Path) -> list[str]:
        """Returns the names in a folder, in no order; none if there is no folder."""
        return os.listdir(folder) if folder.is_dir() else []

    def read(self, path: Path, offset: int = 0, size_bytes: int | None = None) -> bytes:
        """Returns a file's bytes from `offset` on, at most `size_bytes`, fewer where the file ends."""
        with open(path, "rb", buffering=0) as file:
            file.seek(offset)
            return file.readall() if size_bytes is None else file.read(size_bytes)

    def size(self, path: Path) -> int:
        """Returns a file's length, bytes."""
        return os.stat(path).st_size

    def open(self, path: Path, *, create: bool) -> int:
        """Opens a file for writing, readable by its owner only; never follows a link."""
        flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | (os.O_CREAT | os.O_EXCL if create else 0)
        return os.open(path, flags, 0o600)

    def allocate(self, descriptor: int, size_bytes: int) -> None:
        """Reserves space for a file of `size_bytes` and gives it that length."""
        os.posix_fallocate(descriptor, 0, size_bytes)

    def write(self, descriptor: int, data: bytes, offset: int) -> int:
        """Writes at an offset and returns the number of bytes written."""
        return os.pwrite(descriptor, data, offset)

    def sync_data(self, descriptor: int) -> None:
        """Returns when the file's bytes are durable."""
        os.fdatasync(descriptor)

    def sync_file(self, descriptor: int) -> None:
        """Returns when the file's bytes and metadata are durable."""
        os.fsync(descriptor)

    def close(self, descriptor: int) -> None:
        """Closes a descriptor."""
        os.close(descriptor)

    def rename(self, old: Path, new: Path) -> None:
        """Renames a file; the new name must be free, as the data directory is locked by one engine."""
        if new.exists():
            raise FileExistsError(f"{new.name} exists")
        os.rename(old, new)

    def replace(self, old: Path, new: Path) -> None:
        """Renames a file, over the one that has the new name, if any."""
        os.replace(old, new)

    def link(self, old: Path, new: Path) -> None:
        """Gives a file a second name; where the file system knows no such thing, copies it."""
        try:
            os.link(old, new)
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.EOPNOTSUPP):
                raise
            shutil.copyfile(old, new)
            with open(new, "rb") as file:
                os.fsync(file.fileno())

    def remove(self, path: Path) -> None:
        """Removes a file."""
        os.unlink(path)

    def sync_folder(self, path: Path) -> None:
        """Returns when the folder's entries are durable."""
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
