"""The follower in process, beside a real engine: its state is the engine's, and whatever fails it goes on."""

import logging
from pathlib import Path

import numpy as np
import pytest

from riskengine.engine.configuration import Configuration
from riskengine.engine.snapshot import check_snapshot, read_snapshot_header, snapshot_paths
from riskengine.errors import StoreFull
from riskengine.follower.feed import FLUSH_EVERY_US, RETRY_US
from riskengine.follower.follower import RETENTION_EVERY_US
from riskengine.follower.follower import RETRY_US as SNAPSHOT_RETRY_US
from riskengine.journal.reader import segments
from riskengine.lab.replay import replay
from riskengine.types import US_PER_DAY
from tests.engine.journals import FEWER_ROWS, MORE_WINDOWS, bits, commit_all, edited, fill, open_engine, requests
from tests.follower.beside import Beside, old_and_new
from tests.strategies import START_US


def test_follower_has_the_engines_state(beside: Beside) -> None:
    """Goal: what it writes is what the engine would. Method: commit in turns; compare digests at each; snapshots come as due."""
    events = requests(1000, seed=1)
    for first in range(0, 1000, 50):
        commit_all(beside.engine, events[first : first + 50], batch=1 + first % 17)
        beside.settle()
        assert beside.engine.state.digest() == beside.follower.pipeline.state.digest()

    headers = [check_snapshot(path) for path in snapshot_paths(beside.folder)]

    assert beside.follower.sequence == 1000
    assert [200, 800, 1000] == beside.names()
    assert [1] == list(headers[0].names)
    assert [200, 400, 600, 800, 1000] == [
        details["sequence"] for stage, details in beside.stages if stage == "snapshot"
    ]


def test_restart_uses_the_followers_snapshot(
    beside: Beside, caplog: pytest.LogCaptureFixture, tmp_path: Path, rules_only: Configuration
) -> None:
    """Goal: quick restarts that change nothing. Method: stop the engine, open it again, commit; against one that went on."""
    events = requests(900, seed=2)
    expected = fill(tmp_path / "steady", rules_only, events)
    decisions = [commit_all(beside.engine, events[:500], batch=11)]
    beside.settle()
    beside.engine.close()
    caplog.set_level(logging.INFO)

    engine = open_engine(beside.folder, rules_only)
    decisions.append(commit_all(engine, events[500:], batch=16))
    engine.close()

    assert f"from sequence {max(beside.names()) + 1} on" in caplog.text
    assert max(beside.names()) > 300
    assert bits(expected) == bits(np.concatenate(decisions))


def test_follower_restarts_from_its_snapshot(beside: Beside) -> None:
    """Goal: kill -9 costs it a little folding. Method: drop it, start another; it begins at the newest snapshot."""
    commit_all(beside.engine, requests(500, seed=3), batch=10)
    beside.settle()
    begun = beside.start().sequence
    beside.settle()

    assert max(beside.names()) == begun
    assert beside.engine.state.digest() == beside.follower.pipeline.state.digest()


def test_full_disk_of_snapshots_stops_nothing(beside: Beside, caplog: pytest.LogCaptureFixture) -> None:
    """Goal: F12. Method: no space for snapshots: it follows, tells, keeps the journal, and tries again when time has passed."""
    beside.full()
    for first in range(0, 3000, 500):
        commit_all(beside.engine, requests(3000, seed=4)[first : first + 500], batch=25)
        beside.settle()

    assert (3000, []) == (beside.follower.sequence, beside.names())
    assert "No space left on device" == beside.follower.snapshot_trouble
    assert ("trouble", "snapshot") in [(stage, details.get("what")) for stage, details in beside.stages]
    assert 0 == segments(beside.folder)[0].index
    assert [] == list((beside.folder / "snapshots").iterdir())
    beside.disk.fault = lambda name, count: None
    beside.settle()
    assert [] == beside.names(), "it does not try all the time"
    beside.later(SNAPSHOT_RETRY_US)
    assert ([3000], "") == (beside.names(), beside.follower.snapshot_trouble)


def test_journal_is_trimmed_behind_its_retention(beside: Beside, rules_only: Configuration) -> None:
    """Goal: disk is bounded, and everything within the retention can be replayed. Method: 4 days, of which 1 is kept."""
    old_and_new(beside)
    beside.settle()
    beside.later(FLUSH_EVERY_US)
    beside.later(RETENTION_EVERY_US)
    first = segments(beside.folder)[0]
    report = replay(beside.folder)

    assert first.index > 0
    assert first.first_sequence <= report.first_sequence <= 3000, "3,000 were received before the last day"
    assert report.first_sequence + report.event_count == 4001
    assert 0 == report.difference_count
    assert ("trimmed", first.index) in [(stage, details.get("segment")) for stage, details in beside.stages]
    beside.engine.close()
    engine = open_engine(beside.folder, rules_only)
    assert beside.follower.pipeline.state.digest() == engine.state.digest()
    engine.close()


def test_clock_that_jumps_ahead_gives_nothing_up(beside: Beside) -> None:
    """Goal: a wrong clock deletes nothing. Method: ten years later by the clock; traffic says that it is the same day."""
    events = requests(3000, seed=5)
    events["received_time_us"] = START_US
    commit_all(beside.engine, events, batch=25)
    beside.later(3650 * US_PER_DAY)
    beside.later(RETENTION_EVERY_US)

    assert 0 == segments(beside.folder)[0].index


def test_damaged_snapshot_keeps_the_journal(beside: Beside, caplog: pytest.LogCaptureFixture) -> None:
    """Goal: nothing is given up on the word of a file that cannot be read back. Method: damage one before segments would go."""
    beside.shelf.failure = StoreFull("no space")
    old_and_new(beside)
    beside.settle()
    beside.later(FLUSH_EVERY_US)
    beside.shelf.failure = None
    newest = snapshot_paths(beside.folder)[0]
    newest.write_bytes(newest.read_bytes()[:-1] + b"?")
    beside.later(RETRY_US)
    beside.later(FLUSH_EVERY_US)
    beside.later(RETENTION_EVERY_US)

    assert 0 == segments(beside.folder)[0].index
    assert f"snapshot {newest.name} is removed" in caplog.text


@pytest.mark.parametrize("change", [MORE_WINDOWS, FEWER_ROWS], ids=["windows", "rows"])
def test_follower_goes_along_with_another_configuration(
    beside: Beside, tmp_path: Path, change: tuple[str, str]
) -> None:
    """Goal: nobody has to restart it. Method: the engine comes back with other features; the follower's state follows."""
    other = edited(tmp_path / "edited", *change)
    events = requests(900, seed=6)
    commit_all(beside.engine, events[:450], batch=10)
    beside.settle()
    old_key = beside.follower.key
    beside.engine.close()
    engine = open_engine(beside.folder, other)
    commit_all(engine, events[450:], batch=10)
    beside.settle()

    assert (change == MORE_WINDOWS) == (old_key == beside.follower.key)
    assert 2 == beside.follower.activation.revision
    assert engine.state.digest() == beside.follower.pipeline.state.digest()
    engine.close()
    report = replay(beside.folder)
    assert (900, 0) == (report.event_count, report.difference_count)
    newest = read_snapshot_header(snapshot_paths(beside.folder)[0])
    assert (beside.follower.key, {1, 2}) == (newest.key, set(newest.names))


def test_stop_in_the_middle_of_a_snapshot_leaves_none(beside: Beside) -> None:
    """Goal: it ends at once when asked. Method: the pause between two steps says so; later a new follower writes it."""

    def asked(_: int) -> None:
        raise SystemExit(0)

    commit_all(beside.engine, requests(300, seed=10), batch=10)
    beside.follower._pause = asked
    with pytest.raises(SystemExit):
        beside.settle()
    assert [] == beside.names()
    (beside.folder / "snapshots" / "0000000000000300.tmp").write_bytes(b"half of it")

    beside.start()
    assert [] == list((beside.folder / "snapshots").glob("*.tmp"))
    beside.settle()
    assert beside.names()
