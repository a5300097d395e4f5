"""Disks that lose power, and disks that fill up: file systems of their own, mounted for a test. Needs root.

`kill -9` never tests a sync: the page cache outlives the process. An ext4 on a loop device that is shut down without
flushing its log does: after it is mounted again, only what was synced is there, files and names.

INVARIANT: what was mounted is unmounted, also when a test fails. Used by tests, `scenarios` and `engine`.
"""

import fcntl
import os
import shutil
import struct
import subprocess
import time
from pathlib import Path

EXT4_IOC_SHUTDOWN = 0x8004587D
NO_LOG_FLUSH = 2
UNMOUNT_S = 10.0
TOOLS = ("mount", "umount", "mkfs.ext4", "losetup")


class CannotMount(Exception):
    """This machine does not let us mount; says why."""


def shut_down(folder: Path) -> None:
    """Ends the file system that a folder is in: nothing more is written, nothing is flushed."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.ioctl(descriptor, EXT4_IOC_SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
    finally:
        os.close(descriptor)


class Mounted:
    """A file system that is mounted while the object is open. Use as a context manager.

    Args:
        folder: Made, and mounted on.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def _mount(self, *options: str) -> None:
        if os.geteuid() != 0:
            raise CannotMount("mounting needs root")
        missing = [tool for tool in TOOLS if shutil.which(tool) is None]
        if missing:
            raise CannotMount(f"{', '.join(missing)} not found")
        self._run("mount", *options, str(self.folder))

    def _run(self, *command: str) -> None:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise CannotMount(f"{command[0]}: {done.stderr.strip()}")

    def unmount(self) -> None:
        """Unmounts; waits for processes that were just killed to let go."""
        deadline_s = time.monotonic() + UNMOUNT_S
        while subprocess.run(["umount", str(self.folder)], capture_output=True, check=False).returncode:
            if time.monotonic() > deadline_s:
                subprocess.run(["umount", "--lazy", str(self.folder)], check=False)
                raise AssertionError(f"{self.folder} is still in use")
            time.sleep(0.05)

    def __exit__(self, *_: object) -> None:
        if os.path.ismount(self.folder):
            self.unmount()


class PowerDisk(Mounted):
    """An ext4 that can lose power.

    Args:
        folder: Where it is mounted.
        image: The file that it lives in.
        size_mib: Its size.
    """

    def __init__(self, folder: Path, image: Path, *, size_mib: int = 96) -> None:
        super().__init__(folder)
        self._image = image
        self._size_mib = size_mib

    def __enter__(self) -> "PowerDisk":
        with self._image.open("wb") as file:
            file.truncate(self._size_mib << 20)
        self._run("mkfs.ext4", "-q", "-F", str(self._image))
        self._mount("-o", "loop", str(self._image))
        return self

    def lose_power(self) -> None:
        """Ends the file system at once."""
        shut_down(self.folder)

    def power_up(self) -> None:
        """Mounts it again, as the machine does when it comes back; nobody may have it open."""
        self.unmount()
        self._mount("-o", "loop", str(self._image))


class SmallDisk(Mounted):
    """A file system in memory that fills up.

    Args:
        folder: Where it is mounted.
        size_mib: Its size.
    """

    def __init__(self, folder: Path, *, size_mib: int) -> None:
        super().__init__(folder)
        self._size_mib = size_mib

    def __enter__(self) -> "SmallDisk":
        self._mount("-t", "tmpfs", "-o", f"size={self._size_mib}m,mode=0700", "tmpfs")
        return self

    def fill(self, *, leave_bytes: int) -> Path:
        """Takes the space but for `leave_bytes` with a file; delete it to free the space."""
        filler = self.folder / "filler"
        free = os.statvfs(self.folder)
        size_bytes = free.f_bavail * free.f_frsize - leave_bytes
        with filler.open("wb") as file:
            if size_bytes > 0:
                os.posix_fallocate(file.fileno(), 0, size_bytes)
        return filler
