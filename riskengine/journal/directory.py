"""The data directory: who may use it, and what the journal's files in it are called.

INVARIANTS: one engine holds one data directory, by an exclusive flock that the kernel releases when the process ends,
however it ends. The lock file is never deleted (a second process could lock a deleted one).

`lock_data_dir` is called by the engine process before anything else, `check_free` by the supervisor before it starts one; the
names by `writer` and `scan`.
"""

import fcntl
import os
import re
from contextlib import suppress
from pathlib import Path

from riskengine.errors import StartRefused

from .disk import Source
from .format import JOURNAL_ID_BYTES

JOURNAL_FOLDER = "journal"
LOCK_NAME = "engine.lock"
SPARE_NAME = "spare.tmp"
_SEGMENT_NAME = re.compile(r"([0-9]{16})-([0-9]{8})\.journal")


def check_free(path: Path) -> None:
    """Finds out whether an engine holds the data directory, without taking it for longer than that.

    Args:
        path: The data directory; it exists.

    Raises:
        StartRefused: As `lock_data_dir`.
    """
    os.close(_take(path))


def lock_data_dir(path: Path) -> int:
    """Takes the data directory for this process.

    Args:
        path: The data directory; it exists.

    Returns:
        The descriptor that holds the lock: it must stay open, and is not inherited by a program that is started.

    Raises:
        StartRefused: Another process holds it, or it cannot be written.
    """
    descriptor = _take(path)
    with suppress(OSError):  # A courtesy to whoever comes second; the lock holds without it, also on a full disk.
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor


def _take(path: Path) -> int:
    """Opens and locks the lock file; raises as `lock_data_dir`."""
    try:
        descriptor = os.open(path / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise StartRefused(f"data directory {path} cannot be used: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
        os.close(descriptor)
        raise StartRefused(
            f"data directory {path} is in use by the engine with process id {holder}; "
            "stop it, or serve from another data directory",
            metadata={"directory": str(path), "pid": holder},
        ) from None
    except OSError as error:
        os.close(descriptor)
        raise StartRefused(f"data directory {path} cannot be locked: {error.strerror}") from error
    return descriptor


def make_journal_id() -> bytes:
    """Returns 16 random bytes that name a new journal: the one place behind the edge where chance enters, as data."""
    return os.urandom(JOURNAL_ID_BYTES)


def journal_folder(data_dir: Path) -> Path:
    """Returns the journal's folder within a data directory."""
    return data_dir / JOURNAL_FOLDER


def segment_names(disk: Source, data_dir: Path) -> list[str]:
    """Returns the names of all files that end as segments do, in the order of the journal."""
    return sorted(name for name in disk.names(journal_folder(data_dir)) if name.endswith(".journal"))


def parse_segment_name(name: str) -> tuple[int, int] | None:
    """Returns the first sequence and the index that a segment's name tells, or None if it is not such a name."""
    match = _SEGMENT_NAME.fullmatch(name)
    return (int(match[1]), int(match[2])) if match else None


def segment_name(*, first_sequence: int, index: int) -> str:
    """Returns the name of a segment."""
    return f"{first_sequence:016d}-{index:08d}.journal"
