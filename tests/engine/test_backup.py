"""Backup and restore of a data directory that an engine is using (rows F7 and F30 of the fault matrix)."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from riskengine.backup import back_up, read_manifest, restore
from riskengine.engine.configuration import Configuration
from riskengine.errors import BackupUnusable
from riskengine.journal.reader import verify
from riskengine.lab.replay import replay
from riskengine.types import words
from tests.engine.test_engine import commit_all, open_engine, requests


def test_f30_restored_engine_goes_on_as_the_one_that_was_backed_up(tmp_path: Path, with_model: Configuration) -> None:
    """Goal: a lost disk costs what came after the backup, and nothing else.

    Method: back up while the engine is open, go on with both, compare the decisions and the states.
    """
    events = requests(500, seed=31)
    engine = open_engine(tmp_path / "live", with_model)
    commit_all(engine, events[:300], batch=30)

    made = back_up(tmp_path / "live", tmp_path / "copy")
    expected = commit_all(engine, events[300:].copy(), batch=50)
    digest = engine.state.digest()
    engine.close()
    restored = restore(tmp_path / "copy", tmp_path / "again")
    engine = open_engine(tmp_path / "again", with_model)
    found = commit_all(engine, events[300:].copy(), batch=7)

    assert (1, 300) == (made.manifest.first_sequence, made.manifest.last_sequence)
    assert restored.proved
    assert np.array_equal(words(expected), words(found))
    assert digest == engine.state.digest()
    engine.close()
    assert 0 == replay(tmp_path / "again").difference_count


def test_events_committed_during_the_backup_are_in_whole_or_not_at_all(
    tmp_path: Path, rules_only: Configuration
) -> None:
    """Goal: a live engine does no harm to the copy. Method: commit at each step that the backup tells of."""
    events = requests(2_000, seed=32)
    engine = open_engine(tmp_path / "live", rules_only)
    commit_all(engine, events[:100], batch=10)
    done = 100

    def commit_more(_title: str, _done: int, _total: int) -> None:
        nonlocal done
        if done < len(events):
            engine.commit(events[done : done + 5])
            done += 5

    made = back_up(tmp_path / "live", tmp_path / "copy", on_progress=commit_more)
    engine.close()

    assert done > 100, "nothing was committed meanwhile, so the test shows nothing"
    assert 100 <= made.manifest.last_sequence <= done
    assert made.manifest.last_sequence == verify(tmp_path / "copy").last_sequence
    assert restore(tmp_path / "copy", tmp_path / "again").proved


@pytest.mark.parametrize("name", ["journal", "backup.json", "models"])
def test_f7_damaged_backup_is_refused_and_leaves_nothing(tmp_path: Path, with_model: Configuration, name: str) -> None:
    """Goal: no restore from what is not as it was. Method: flip one bit in a file of each kind; then a missing one."""
    engine = open_engine(tmp_path / "live", with_model)
    commit_all(engine, requests(50, seed=33), batch=10)
    engine.close()
    back_up(tmp_path / "live", tmp_path / "copy")
    files = [path for path in sorted((tmp_path / "copy").rglob("*")) if path.is_file()]
    victim = next(path for path in files if name in str(path.relative_to(tmp_path / "copy")))
    data = bytearray(victim.read_bytes())
    data[len(data) // 2] ^= 1
    victim.write_bytes(data)

    with pytest.raises(BackupUnusable):
        restore(tmp_path / "copy", tmp_path / "again")
    victim.unlink()
    with pytest.raises(BackupUnusable):
        restore(tmp_path / "copy", tmp_path / "again")

    assert ["copy", "live"] == sorted(path.name for path in tmp_path.iterdir())


def test_nothing_is_written_over(tmp_path: Path, rules_only: Configuration) -> None:
    """Goal: neither a backup nor a restore can destroy data. Method: targets that are not empty, a folder that is no backup."""
    engine = open_engine(tmp_path / "live", rules_only)
    commit_all(engine, requests(20, seed=34), batch=10)
    engine.close()
    back_up(tmp_path / "live", tmp_path / "copy")

    with pytest.raises(BackupUnusable, match="not empty"):
        back_up(tmp_path / "live", tmp_path / "copy")
    with pytest.raises(BackupUnusable, match="not empty"):
        restore(tmp_path / "copy", tmp_path / "live")
    with pytest.raises(BackupUnusable, match="no finished backup"):
        restore(tmp_path / "live", tmp_path / "again")


def test_file_that_vanishes_is_copied_anew(
    tmp_path: Path, rules_only: Configuration, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Goal: trimming and merging do no harm to a backup. Method: the first copy of a segment meets a file that is gone."""
    from riskengine.backup import copy

    engine = open_engine(tmp_path / "live", rules_only)
    commit_all(engine, requests(20, seed=35), batch=10)
    engine.close()
    honest, failures = copy._copy_head, [FileNotFoundError(2, "gone", "segment")]

    def sometimes(source: Path, *rest: object) -> None:
        if source.suffix == ".journal" and failures:
            raise failures.pop()
        honest(source, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(copy, "_copy_head", sometimes)

    made = back_up(tmp_path / "live", tmp_path / "copy")

    assert 20 == made.manifest.last_sequence
    assert read_manifest(tmp_path / "copy") == made.manifest
    shutil.rmtree(tmp_path / "live")
    assert restore(tmp_path / "copy", tmp_path / "live").proved


@pytest.mark.parametrize(("gone", "error"), [(True, FileNotFoundError), (False, BackupUnusable)])
def test_snapshot_that_is_being_removed_counts_as_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gone: bool, error: type[Exception]
) -> None:
    """Goal: the copy begins anew, and a file that is short under its name is told. Method: a source that ends too soon."""
    from riskengine.backup import copy

    source = tmp_path / "0000000000000300.snapshot"
    source.write_bytes(bytes(1000))
    monkeypatch.setattr(Path, "exists", lambda path: not (gone and path == source))

    with pytest.raises(error):
        copy._copy_head(source, tmp_path / "copy", 2000, 2000)
