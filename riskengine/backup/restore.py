"""A backup becomes a data directory again.

INVARIANTS: every file is compared with the manifest before and after it is copied; the state of the copy is folded and
compared with the digest that the backup recorded, where the program means the same; the new directory gets its name with
the last step. Called by `cli.backup`.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from riskengine.durable import sync_path
from riskengine.engine.activation import SEMANTICS
from riskengine.engine.rebuild import state_before
from riskengine.errors import BackupUnusable

from .manifest import Manifest, digest_of, problems_of, read_manifest

_TOLD_MAX = 8
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Restored:
    """What was restored.

    Attributes:
        data_dir: Where it is.
        manifest: Of the backup.
        proved: Whether the folded state was compared with the recorded one; not where the program decides otherwise today.
    """

    data_dir: Path
    manifest: Manifest
    proved: bool


def restore(backup: Path, data_dir: Path, *, on_progress: Progress = lambda *_: None) -> Restored:
    """Restores a data directory.

    Args:
        backup: A folder that `back_up` finished; not changed.
        data_dir: Does not exist yet, or is empty.
        on_progress: Told each step.

    Raises:
        BackupUnusable: The backup is damaged (every file that is, up to 8, is named), its state is not the one recorded, or
            `data_dir` is not empty. There is no new data directory then.
    """
    manifest = read_manifest(backup)
    if data_dir.exists() and (not data_dir.is_dir() or any(data_dir.iterdir())):
        raise BackupUnusable(f"{data_dir} is not empty; move it away first, a restore never writes over data")
    on_progress("checking the backup", 0, 1)
    problems = list(problems_of(backup, manifest))
    if problems:
        more = f"; and {len(problems) - _TOLD_MAX} more" if len(problems) > _TOLD_MAX else ""
        raise BackupUnusable(f"{backup} is damaged: {'; '.join(problems[:_TOLD_MAX])}{more}; take another backup")
    partial = data_dir.with_name(f".{data_dir.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        _copy(backup, partial, manifest, on_progress)
        proved = _prove(partial, manifest, on_progress)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    if data_dir.exists():
        data_dir.rmdir()
    partial.rename(data_dir)
    sync_path(data_dir.parent)
    return Restored(data_dir, manifest, proved)


def _copy(backup: Path, target: Path, manifest: Manifest, on_progress: Progress) -> None:
    target.mkdir(mode=0o700, parents=True)
    for done, (name, entry) in enumerate(sorted(manifest.files.items())):
        copy = target / name
        copy.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        shutil.copyfile(backup / name, copy)
        copy.chmod(0o600)
        sync_path(copy)
        if digest_of(copy) != entry.digest:
            raise BackupUnusable(f"{copy} is not what was copied; the disk may be failing")
        on_progress("copying", done + 1, len(manifest.files))
    for folder in (target, *(path for path in target.rglob("*") if path.is_dir())):
        sync_path(folder)


def _prove(target: Path, manifest: Manifest, on_progress: Progress) -> bool:
    if manifest.semantics != SEMANTICS:
        return False
    rebuilt = state_before(
        target, manifest.last_sequence + 1, on_progress=lambda done, total: on_progress("folding", done, total)
    )
    if rebuilt.state.digest() != manifest.state_digest:
        raise BackupUnusable("the state of the copy is not the one that was backed up; take another backup")
    return True
