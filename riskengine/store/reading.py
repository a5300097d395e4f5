"""A look at the store while another process writes it: which files count, all open before the first row is read.

Files are never changed, only put in the place of others; so descriptors that are open show one moment, whatever is merged,
erased or dropped meanwhile.

INVARIANTS: nothing is written; the rows seen have no gap and none is there twice.

Called by `query`, `find` and `cli`.
"""

import os
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from riskengine.errors import StoreFault

from .files import Files, OsFiles
from .folder import Part, store_folder, survey

ATTEMPTS_MAX: Final = 20
"""Looks at a folder whose files change while one looks."""
PAUSE_S: Final = 0.05
SPARE_FILES: Final = 100
"""Descriptors left to everything else."""


@dataclass(frozen=True, slots=True)
class OpenPart:
    """A file that is open.

    Attributes:
        part: Which.
        path: Where the kernel shows it as open in this process: leads to it, whatever becomes of its name.
    """

    part: Part
    path: str


@contextmanager
def open_parts(data_dir: Path, *, files: Files | None = None) -> Iterator[list[OpenPart]]:
    """Opens all files that count.

    Args:
        data_dir: The data directory.
        files: Where names are read.

    Yields:
        The files in order; none where nothing is stored.

    Raises:
        StoreFault: Files are missing.
    """
    descriptors = _opened(store_folder(data_dir), files or OsFiles())
    try:
        yield [OpenPart(part, f"/proc/{os.getpid()}/fd/{descriptor}") for part, descriptor in descriptors]
    finally:
        _close(descriptors)


def _opened(folder: Path, files: Files) -> list[tuple[Part, int]]:
    """Opens the files of one moment; a merge or a drop may come between looking and opening."""
    for attempt in range(1, ATTEMPTS_MAX + 1):
        descriptors: list[tuple[Part, int]] = []
        try:
            parts = survey(files, folder).parts
            _make_room(len(parts))
            descriptors.extend((part, os.open(part.path(folder), os.O_RDONLY | os.O_CLOEXEC)) for part in parts)
            return descriptors
        except (StoreFault, FileNotFoundError) as error:
            _close(descriptors)
            if attempt == ATTEMPTS_MAX:
                raise error if isinstance(error, StoreFault) else StoreFault(f"{folder} changes all the time") from None
            time.sleep(PAUSE_S)
        except BaseException:
            _close(descriptors)
            raise
    raise AssertionError("the last attempt returns or raises")


def _make_room(count: int) -> None:
    """Raises the number of descriptors this process may have, where it is too small for the files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = count + SPARE_FILES
    if soft != resource.RLIM_INFINITY and soft < needed:
        allowed = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))


def _close(descriptors: list[tuple[Part, int]]) -> None:
    for _, descriptor in descriptors:
        os.close(descriptor)
