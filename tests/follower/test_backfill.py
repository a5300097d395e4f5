"""Back-filling beside an engine: what has to be folded, what stands in the way, and what the follower does with it."""

import errno
from pathlib import Path
from typing import Any

import pytest

from riskengine.clock import SystemClock
from riskengine.engine import forerunner
from riskengine.engine.activation import state_key_of
from riskengine.engine.candidate import ActivationAborted, Candidate, candidate_folder, usable_headers
from riskengine.engine.configuration import Configuration
from riskengine.engine.origin import activations_from, sound_headers
from riskengine.engine.rebuild import state_before
from riskengine.engine.snapshot import snapshot_paths
from riskengine.follower.backfill import Backfilled, backfill, is_foldable, is_near, journal_beginning, measures_alike
from riskengine.journal.reader import segments, trim
from tests.engine.journals import (
    FEWER_ROWS,
    MORE_WINDOWS,
    commit_all,
    edited,
    fill,
    open_engine,
    requests,
    take_snapshot,
)
from tests.follower.beside import Beside


def run(folder: Path, candidate: Candidate) -> Backfilled:
    """Back-fills without showing it."""
    return backfill(folder, candidate, clock=SystemClock(), on_progress=lambda *_: None)


def snapshots_ahead(folder: Path) -> list[Path]:
    """Returns the snapshots of the candidate."""
    return snapshot_paths(candidate_folder(folder))


@pytest.mark.parametrize(
    ("change", "alike"), [(MORE_WINDOWS, True), (FEWER_ROWS, False), (("30d]", "30d, 60d]"), False)]
)
def test_only_what_changes_a_state_is_folded(
    tmp_path: Path, rules_only: Configuration, change: tuple[str, str], alike: bool
) -> None:
    """Goal: a new window is free, a longer longest one is not. Method: changes of features.yaml."""
    fill(tmp_path / "data", rules_only, requests(60, seed=1))
    candidate = Candidate(edited(tmp_path / "changed", *change), 1)
    (active,) = activations_from(tmp_path / "data", None)

    assert alike == measures_alike(candidate, active, tmp_path / "data")
    assert is_near(tmp_path / "data", candidate)


def test_second_back_fill_goes_on_from_the_first(tmp_path: Path, rules_only: Configuration) -> None:
    """Goal: what an activation that failed has folded is not lost, nor kept twice. Method: twice, with events in between."""
    engine = open_engine(tmp_path / "data", rules_only)
    candidate = Candidate(edited(tmp_path / "changed", *FEWER_ROWS), 1)
    events = requests(400, seed=1)
    commit_all(engine, events[:300], batch=16)
    first = run(tmp_path / "data", candidate)
    commit_all(engine, events[300:], batch=16)
    second = run(tmp_path / "data", candidate)

    assert [(300, True), (100, False)] == [(each.event_count, each.anew) for each in (first, second)]
    (path,) = snapshots_ahead(tmp_path / "data")
    assert f"{400:016d}.snapshot" == path.name


def test_full_disk_is_told_and_leaves_nothing(
    tmp_path: Path, rules_only: Configuration, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Goal: a clean end, the space free again. Method: a disk without room for the snapshot."""

    def allocate(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    fill(tmp_path / "data", rules_only, requests(60, seed=1))
    candidate = Candidate(edited(tmp_path / "changed", *FEWER_ROWS), 1)
    monkeypatch.setattr("riskengine.journal.disk.OsDisk.allocate", allocate)

    with pytest.raises(ActivationAborted, match=r"No space left on device; nothing was changed\. Free space"):
        run(tmp_path / "data", candidate)
    assert [] == list((candidate_folder(tmp_path / "data") / "snapshots").iterdir())


def test_missing_memory_is_told(tmp_path: Path, rules_only: Configuration, monkeypatch: pytest.MonkeyPatch) -> None:
    """Goal: no traceback where a second state does not fit. Method: a system that gives none."""

    def none(*_: Any, **__: Any) -> None:
        raise MemoryError

    fill(tmp_path / "data", rules_only, requests(60, seed=1))
    candidate = Candidate(edited(tmp_path / "changed", *FEWER_ROWS), 1)
    monkeypatch.setattr(forerunner, "find_origin", none)

    with pytest.raises(ActivationAborted, match="no memory for a second state"):
        run(tmp_path / "data", candidate)


def test_trimmed_journal_needs_a_later_beginning(tmp_path: Path, rules_only: Configuration) -> None:
    """Goal: nobody takes a part of the history for all of it. Method: a journal without its first files."""
    data_dir = tmp_path / "data"
    fill(data_dir, rules_only, requests(3000, seed=1))
    take_snapshot(data_dir, rules_only)
    changed = edited(tmp_path / "changed", *FEWER_ROWS)
    assert is_foldable(data_dir, Candidate(changed, 1))
    trim(data_dir, first_kept_index=segments(data_dir)[1].index)
    beginning = journal_beginning(data_dir)

    assert 1 < beginning.sequence == segments(data_dir)[0].first_sequence
    assert not is_foldable(data_dir, Candidate(changed, 1))
    assert is_foldable(data_dir, Candidate(rules_only, 1))
    shorter = Candidate(changed, beginning.sequence)
    assert is_foldable(data_dir, shorter)
    assert 3000 - beginning.sequence + 1 == run(data_dir, shorter).event_count


def test_follower_goes_on_from_what_was_folded_ahead_and_takes_its_own_soon(beside: Beside, tmp_path: Path) -> None:
    """Goal: a crash after an activation folds little. Method: back-fill, change engines, one more event; no hundred."""
    changed = edited(tmp_path / "changed", *FEWER_ROWS)
    events = requests(500, seed=5)
    commit_all(beside.engine, events[:450], batch=50)
    beside.settle()
    run(beside.folder, Candidate(changed, 1))
    beside.engine.close()
    beside.engine = open_engine(beside.folder, changed)
    beside.settle()
    before = [each.key == state_key_of(changed) for each in sound_headers(beside.folder)]
    commit_all(beside.engine, events[450:451], batch=1)
    beside.settle()

    assert not any(before)
    newest = sound_headers(beside.folder)[0]
    assert (state_key_of(changed), 451, 2) == (newest.key, newest.sequence, newest.activation.revision)
    assert [] == snapshots_ahead(beside.folder)
    assert newest.digest == state_before(beside.folder, 452).state.digest()


def test_follower_removes_what_nobody_activated(beside: Beside, tmp_path: Path) -> None:
    """Goal: an activation that was killed takes no space for ever. Method: back-fill only; the next snapshot of the follower."""
    commit_all(beside.engine, requests(150, seed=5), batch=50)
    beside.settle()
    run(beside.folder, Candidate(edited(tmp_path / "changed", *FEWER_ROWS), 1))
    assert usable_headers(beside.folder)
    commit_all(beside.engine, requests(220, seed=6), batch=55)
    beside.settle()

    assert [] == snapshots_ahead(beside.folder)
    assert beside.names()
