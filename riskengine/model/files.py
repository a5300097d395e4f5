"""Reads a bundle's files as if an enemy had written them, and publishes a new bundle in one step.

INVARIANTS: a link, a FIFO, a device, a file anybody may write or one beyond `FILE_BYTES_MAX` is refused without being
read; opening never blocks. Only JSON is parsed, never pickle; duplicate keys, NaN and Infinity are refused. A bundle
appears under its name with all files on the disk, or not at all.

Called by `bundle`.
"""

import json
import os
import shutil
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NoReturn

from riskengine.durable import sync_path
from riskengine.errors import BundleError

FILE_BYTES_MAX: Final = 64 * 1024 * 1024


def read_files(directory: Path, names: tuple[str, ...]) -> dict[str, bytes]:
    """Reads files of a directory.

    Args:
        directory: Must be a directory itself, not a link to one.
        names: Plain file names.

    Raises:
        BundleError: If the directory or a file is missing, not what it seems, or too large.
    """
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        raise BundleError("there is no such directory") from None
    except OSError as error:
        raise BundleError(f"not a directory of its own ({error.strerror}); give the real path, not a link") from None
    try:
        return {name: _read_file(descriptor, name) for name in names}
    finally:
        os.close(descriptor)


def _read_file(directory: int, name: str) -> bytes:
    """Reads one regular file without following a link or waiting for a writer."""
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
    except FileNotFoundError:
        raise BundleError(f"{name} is missing") from None
    except OSError as error:
        raise BundleError(
            f"{name} is a link or cannot be opened ({error.strerror}); put the file itself there"
        ) from None
    try:
        state = os.fstat(descriptor)
        if not stat.S_ISREG(state.st_mode):
            raise BundleError(f"{name} is not a regular file; put the file itself there")
        if state.st_mode & stat.S_IWOTH:
            raise BundleError(f"{name} may be written by anybody; run `chmod o-w` on it")
        raw = b""
        if state.st_size <= FILE_BYTES_MAX:
            with os.fdopen(descriptor, "rb", closefd=False) as file:
                raw = file.read(FILE_BYTES_MAX + 1)  # it may have grown since
        if max(state.st_size, len(raw)) > FILE_BYTES_MAX:
            raise BundleError(f"{name} is larger than {FILE_BYTES_MAX // 2**20} MiB; train a smaller model")
        return raw
    finally:
        os.close(descriptor)


def parse_json(raw: bytes) -> Any:
    """Parses strict JSON.

    Raises:
        BundleError: If it is not.
    """
    try:
        return json.loads(raw.decode("utf-8"), object_pairs_hook=_object, parse_constant=_constant)
    except (ValueError, RecursionError):
        raise BundleError("not valid JSON; models are read from JSON only, never .ubj or pickle") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Builds an object, refusing duplicate keys: two readers could believe two things."""
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("duplicate key")
    return result


def _constant(text: str) -> NoReturn:
    """Refuses NaN and Infinity, which Python would accept."""
    raise ValueError(text)


def render_json(document: Any) -> bytes:
    """Renders JSON in the one way this project writes it: sorted keys, one value a line, a final newline.

    Raises:
        ValueError: If a number is not finite.
    """
    return (json.dumps(document, sort_keys=True, indent=1, ensure_ascii=True, allow_nan=False) + "\n").encode()


def publish(directory: Path, contents: Mapping[str, bytes], *, replace: bool) -> None:
    """Writes files into a new directory that appears in one step.

    Args:
        directory: Where; its parent is created.
        contents: Bytes by plain file name.
        replace: Whether a directory of that name may be replaced. The old one is moved aside first, so a crash between
            the two renames leaves it beside, named ``.<name>.old-…``, and none under the name.

    Raises:
        BundleError: If the name is taken and must not be replaced.
    """
    if os.path.lexists(directory) and not replace:
        raise BundleError(f"{directory} exists; choose another name or replace it on purpose")
    directory.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{directory.name}.new-", dir=directory.parent))
    try:
        work.chmod(0o755)
        for name, raw in contents.items():
            descriptor = os.open(work / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
            with os.fdopen(descriptor, "wb") as file:
                file.write(raw)
                file.flush()
                os.fsync(descriptor)
        sync_path(work)
        _rename(work, directory)
    finally:
        shutil.rmtree(work, ignore_errors=True)  # gone already when it was renamed


def _rename(work: Path, directory: Path) -> None:
    """Moves the finished directory to its name, the old one out of the way first."""
    old: Path | None = None
    if os.path.lexists(directory):
        old = Path(tempfile.mkdtemp(prefix=f".{directory.name}.old-", dir=directory.parent)) / directory.name
        directory.rename(old)
    work.rename(directory)
    sync_path(directory.parent)
    if old is not None:
        shutil.rmtree(old.parent, ignore_errors=True)
