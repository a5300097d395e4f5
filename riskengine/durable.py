"""Making folders and files last: what a name in a folder stands for is safe only when the folder was synced, too.

INVARIANT: a function returns when a loss of power cannot undo what it did. Called by whoever writes files beside the
journal; the journal and snapshots go through `journal.disk`, so that tests can fail every call of theirs.
"""

import os
from pathlib import Path
from typing import Final

PRIVATE: Final = 0o700


def sync_path(path: Path) -> None:
    """Returns when a file's content, or a folder's entries, are durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(path: Path, *, mode: int = PRIVATE) -> None:
    """Makes a folder and those above it where they are missing, and syncs the folder above each that it made.

    Args:
        path: The folder.
        mode: Of those that are made.

    Raises:
        OSError: It cannot be made, or something else has the name.
    """
    if path.is_dir():
        return
    if path.parent != path:
        make_folder(path.parent, mode=mode)
    path.mkdir(mode=mode, exist_ok=True)
    sync_path(path.parent)


def replace_file(path: Path, content: bytes, *, mode: int = 0o600) -> None:
    """Writes a file whole or not at all, in place of one that has the name.

    Args:
        path: The file; its folder exists. ``<name>.tmp`` beside it is overwritten.
        content: Of the file.
        mode: Of the file.

    Raises:
        OSError: It cannot be written; the old file is as it was.
    """
    partial = path.with_name(f"{path.name}.tmp")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)
    partial.replace(path)
    sync_path(path.parent)
