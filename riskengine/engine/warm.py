"""Loads every kernel before the first payment, compiling once what no cache holds.

numba trusts its disk cache: a truncated file is an exception at import, a flipped bit is machine code. So the folder of compiled
code (`jit.cache_folder`, one for each version of the sources) gets a list of its files with their digests, and only what agrees
with it is loaded.

INVARIANTS: at most one process compiles at a time (an exclusive flock; those that only load share it); a cache that is damaged,
stale or half made is rebuilt, never an error; a cache folder that cannot be written is told before anything is compiled.

Called by `engine.loop` at start, and by every command of `cli` that runs kernels.
"""

import fcntl
import hashlib
import importlib
import json
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from riskengine.errors import StartRefused

logger = logging.getLogger(__name__)

LIST_NAME: Final = "warmed.json"
LOCK_NAME: Final = "warm.lock"
PACKAGE: Final = Path(__file__).resolve().parent.parent

OnStep = Callable[[int, int, str], None]
"""Told modules loaded, modules in all, and the one that comes next ("" after the last)."""


def _silent(*_: object) -> None:
    pass


def warm(
    *, on_step: OnStep = _silent, on_compile: Callable[[], None] = _silent, on_wait: Callable[[], None] = _silent
) -> bool:
    """Loads all kernels.

    Args:
        on_step: Told the progress, before the first module and after each.
        on_compile: Called before compiling begins; it takes about a minute for all.
        on_wait: Called when another process is compiling and this one waits for it.

    Returns:
        Whether something had to be compiled.

    Raises:
        StartRefused: The cache folder cannot be written.
    """
    loaded = all(name in sys.modules for name in kernel_modules())
    if loaded or os.environ.get("NUMBA_DISABLE_JIT", "0") != "0":
        _import_kernels(on_step)
        return False
    from riskengine.jit import cache_folder, semantics_id

    folder, semantics = cache_folder(), semantics_id()
    with _locked(folder, fcntl.LOCK_SH, on_wait):
        if _damaged(folder, semantics) == []:
            _import_kernels(on_step)
            return False
    with _locked(folder, fcntl.LOCK_EX, on_wait):
        damaged = _damaged(folder, semantics)
        if damaged == []:  # Somebody was quicker.
            _import_kernels(on_step)
            return False
        for name in damaged or ():
            logger.warning("compiled code %s is not as it was written; it is made anew", name)
            (folder / name).unlink(missing_ok=True)
        on_compile()
        _rebuild(folder, on_step)
        _write_list(folder, semantics)
    return True


def kernel_modules() -> list[str]:
    """Returns the dotted names of all modules of kernels, in the order in which they are loaded."""
    files = sorted(PACKAGE.rglob("kernels.py"))
    return [".".join(("riskengine", *file.relative_to(PACKAGE).with_suffix("").parts)) for file in files]


def _import_kernels(on_step: OnStep) -> None:
    names = kernel_modules()
    for done, name in enumerate(names):
        on_step(done, len(names), name)
        importlib.import_module(name)
    on_step(len(names), len(names), "")


def _rebuild(folder: Path, on_step: OnStep) -> None:
    """Imports everything; when a file that no list vouches for turns out to be damaged, once more without any."""
    try:
        _import_kernels(on_step)
    except Exception as error:  # noqa: BLE001 whatever unpickling damaged bytes may raise
        logger.warning("the cache of compiled code cannot be read (%s); all of it is made anew", type(error).__name__)
        for path in _files(folder):
            path.unlink(missing_ok=True)
        _import_kernels(on_step)


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*.nb[ic]") if path.is_file())


def _digest(path: Path) -> str:
    return hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()


def _damaged(folder: Path, semantics: str) -> list[str] | None:
    """Compares the folder with its list.

    Returns:
        Names of the files that are gone or not as listed, none when all is well; None where there is no list, or one made by
        other versions or on another CPU.
    """
    try:
        listed = json.loads((folder / LIST_NAME).read_text(encoding="ascii"))
        files, made_by = dict(listed["files"]), listed["semantics"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    damaged = []
    for name, digest in files.items():
        try:
            if _digest(folder / name) != digest:
                damaged.append(name)
        except OSError:
            damaged.append(name)
    return damaged if damaged or made_by == semantics else None


def _write_list(folder: Path, semantics: str) -> None:
    files = {str(path.relative_to(folder)): _digest(path) for path in _files(folder)}
    partial = folder / f"{LIST_NAME}.partial"
    partial.write_text(json.dumps({"semantics": semantics, "files": files}), encoding="ascii")
    partial.replace(folder / LIST_NAME)


@contextmanager
def _locked(folder: Path, mode: int, on_wait: Callable[[], None]) -> Iterator[None]:
    """Holds the folder's lock, shared or exclusive."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StartRefused(
            f"the folder of compiled code {folder} cannot be written ({error.strerror}); "
            "name another one in the environment variable NUMBA_CACHE_DIR"
        ) from None
    try:
        try:
            fcntl.flock(descriptor, mode | fcntl.LOCK_NB)
        except BlockingIOError:
            on_wait()
            fcntl.flock(descriptor, mode)
        yield
    finally:
        os.close(descriptor)
