"""A backup of a data directory, also while its engine writes.

The journal is read to its end first; the copy takes just what was read then, and zeros behind it, so what the engine appends
meanwhile is simply not in it. Snapshots and models are copied before, so that nothing in the copy is ahead of its journal.
Then the copy itself is read, and folded, as a restore would do: a backup that was never read is a hope.

INVARIANTS: the source is not changed. A target folder becomes a backup with its last step, the manifest; without it, it is
refused. Called by `cli.backup`.
"""

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from riskengine.durable import make_folder, replace_file, sync_path
from riskengine.engine.activation import SEMANTICS
from riskengine.engine.rebuild import state_before
from riskengine.errors import BackupUnusable
from riskengine.journal.reader import Anchor, Commits, JournalReader, segments

from .manifest import MANIFEST_NAME, VERSION, FileEntry, Manifest, digest_of, pack_manifest

FOLDERS: Final = ("models", "snapshots", "decisions")
"""Copied as they are, besides the journal."""
TRIES: Final = 5
"""How often a file may vanish under the copy (a trimmed segment, a merged file of decisions) before it gives up."""
_CHUNK_BYTES: Final = 4 << 20
Progress = Callable[[str, int, int], None]
"""Told what is done, steps done, steps in all."""


@dataclass(frozen=True, slots=True)
class Backup:
    """What was backed up.

    Attributes:
        folder: Where it is.
        manifest: What it says of itself.
    """

    folder: Path
    manifest: Manifest


@dataclass(frozen=True, slots=True)
class _Extent:
    """The journal as it was read: from where to where."""

    end: Anchor
    journal_id: bytes
    first_sequence: int
    last_received_time_us: int


def back_up(data_dir: Path, target: Path, *, on_progress: Progress = lambda *_: None) -> Backup:
    """Copies a data directory and proves the copy.

    Args:
        data_dir: May be in use.
        target: A folder that does not exist yet, or is empty.
        on_progress: Told each step.

    Raises:
        BackupUnusable: The target is not empty, or the copy is not what was read.
        JournalCorrupt: The journal is damaged; nothing is called a backup.
    """
    if target.exists() and any(target.iterdir()):
        raise BackupUnusable(f"{target} is not empty; name a new folder")
    make_folder(target)
    for attempt in range(1, TRIES + 1):
        try:
            extent = _copy(data_dir, target, on_progress)
            break
        except FileNotFoundError as error:  # Trimmed or merged since it was listed: begin anew.
            if attempt == TRIES:
                raise BackupUnusable(
                    f"{error.filename} vanished {TRIES} times while it was copied; try again"
                ) from None
            for name in ("journal", *FOLDERS):
                shutil.rmtree(target / name, ignore_errors=True)
    on_progress("reading the copy", 0, 1)
    manifest = _prove(target, extent, on_progress)
    replace_file(target / MANIFEST_NAME, pack_manifest(manifest))
    return Backup(target, manifest)


def _copy(data_dir: Path, target: Path, on_progress: Progress) -> _Extent:
    for name in FOLDERS:
        if (data_dir / name).is_dir():
            _copy_folder(data_dir / name, target / name, on_progress)
    extent = _read(data_dir, on_progress)
    journal = data_dir / "journal"
    others = [path for path in journal.iterdir() if path.suffix not in (".journal", ".tmp") and path.is_file()]
    kept = segments(data_dir)
    (target / "journal").mkdir(mode=0o700)
    for path in others:
        replace_file(target / "journal" / path.name, path.read_bytes())
    for done, segment in enumerate(kept):
        if segment.index > extent.end.segment_index:
            break
        used_bytes = extent.end.offset if segment.index == extent.end.segment_index else segment.size_bytes
        _copy_head(segment.path, target / "journal" / segment.path.name, used_bytes, segment.size_bytes)
        on_progress("copying the journal", done + 1, len(kept))
    sync_path(target / "journal")
    return extent


def _read(data_dir: Path, on_progress: Progress) -> _Extent:
    """Proves the journal as far as it goes now."""
    reader = JournalReader(data_dir, live=True)
    first_sequence = received_us = 0
    for item in reader:
        if isinstance(item, Commits):
            first_sequence = first_sequence or int(item.events["sequence"][0])
            received_us = int(item.events["received_time_us"][-1])
        on_progress("reading the journal", *reader.progress())
    return _Extent(reader.position, reader.journal_id, first_sequence, received_us)


def _prove(target: Path, extent: _Extent, on_progress: Progress) -> Manifest:
    """Reads and folds the copy, and lists its files."""
    copied = _read(target, on_progress)
    if copied != extent:
        raise BackupUnusable(f"the copy in {target} ends elsewhere than what was read; the disk may be failing")
    last_sequence = extent.end.next_sequence - 1
    rebuilt = state_before(
        target, extent.end.next_sequence, on_progress=lambda done, total: on_progress("folding the copy", done, total)
    )
    files = {
        str(path.relative_to(target)): FileEntry(size_bytes=path.stat().st_size, digest=digest_of(path))
        for path in _files(target)
    }
    return Manifest(
        version=VERSION,
        journal_id=extent.journal_id.hex(),
        first_sequence=extent.first_sequence,
        last_sequence=last_sequence,
        last_received_time_us=extent.last_received_time_us,
        state_digest=rebuilt.state.digest(),
        semantics=SEMANTICS,
        files=files,
    )


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != MANIFEST_NAME)


def _copy_folder(source: Path, target: Path, on_progress: Progress) -> None:
    paths = [path for path in sorted(source.rglob("*")) if path.is_file() and not _is_partial(path, source)]
    for done, path in enumerate(paths):
        copy = target / path.relative_to(source)
        copy.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        size_bytes = path.stat().st_size
        _copy_head(path, copy, size_bytes, size_bytes)
        on_progress(f"copying {source.name}", done + 1, len(paths))


def _is_partial(path: Path, root: Path) -> bool:
    """Tells whether a file is still being made: hidden, or of a temporary name."""
    return any(part.startswith(".") or part.endswith((".tmp", ".partial")) for part in path.relative_to(root).parts)


def _copy_head(source: Path, target: Path, used_bytes: int, size_bytes: int) -> None:
    """Copies the first bytes of a file, zeros behind them, and syncs the copy."""
    with source.open("rb") as reading, target.open("xb") as writing:
        left = used_bytes
        while left:
            chunk = reading.read(min(left, _CHUNK_BYTES))
            if not chunk and not source.exists():  # A snapshot that is being removed: as if it had gone before.
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(source))
            if not chunk:
                raise BackupUnusable(f"{source} is shorter than it was a moment ago; the disk may be failing")
            writing.write(chunk)
            left -= len(chunk)
        writing.truncate(size_bytes)
        writing.flush()
        os.fsync(writing.fileno())
    target.chmod(0o600)
