"""The follower in process, beside a real engine: its state is the engine's, and whatever fails it goes on."""

import errno
import logging
import shutil
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from riskengine.engine.configuration import Configuration
from riskengine.engine.engine import Engine
from riskengine.engine.snapshot import check_snapshot, read_snapshot_header, snapshot_paths
from riskengine.enums import Kind
from riskengine.errors import StoreFault, StoreFull
from riskengine.follower.feed import FLUSH_EVERY_US, RETRY_US, Store
from riskengine.follower.follower import RETENTION_EVERY_US, Follower
from riskengine.follower.follower import RETRY_US as SNAPSHOT_RETRY_US
from riskengine.journal.reader import segments
from riskengine.lab.replay import replay
from riskengine.settings import RetentionSettings, SnapshotSettings
from riskengine.types import US_PER_DAY, Array, empty_events
from tests.engine.journals import FEWER_ROWS, MORE_WINDOWS, bits, commit_all, edited, fill, open_engine, requests
from tests.journal.disks import FaultyDisk
from tests.strategies import START_US


class ManualClock:
    """A clock that the test turns by hand."""

    def __init__(self, now_us: int) -> None:
        self._now_us = now_us

    def now_us(self) -> int:
        return self._now_us

    def monotonic_us(self) -> int:
        return self._now_us

    def advance(self, delta_us: int) -> None:
        self._now_us += delta_us


class Shelf:
    """A store that remembers what it was given, in order, and fails when told to."""

    def __init__(self) -> None:
        self.rows: list[int] = []
        self.waiting: list[int] = []
        self.bits = b""
        self.failure: Exception | None = None
        self.first = 1
        self.dropped: list[date] = []
        self.flushes = 0

    @property
    def next_sequence(self) -> int:
        return self.first + len(self.rows)

    @property
    def waiting_count(self) -> int:
        return len(self.waiting)

    def begin(self, sequence: int) -> None:
        if self.rows or self.waiting:
            raise StoreFault("it has rows")
        self.first = sequence

    def append(self, events: Array, decisions: Array, names: Mapping[int, Mapping[str, Any]]) -> None:
        assert set(decisions["revision"].tolist()) <= set(names)
        expected = self.next_sequence + len(self.waiting)
        assert events["sequence"][0] <= expected, "a gap"
        fresh = events["sequence"] >= expected
        self.waiting += events["sequence"][fresh].tolist()
        self.bits += bits(decisions[fresh])

    def flush(self) -> None:
        if self.failure is not None:
            raise self.failure
        self.flushes += 1
        self.rows += self.waiting
        self.waiting = []

    def compact(self) -> int:
        return 0

    def drop_before(self, day: date) -> int:
        self.dropped.append(day)
        return 0


class Beside:
    """A follower beside an engine, and the time."""

    def __init__(self, folder: Path, configuration: Configuration, *, every: int = 200, keep: int = 2) -> None:
        self.folder = folder
        self.configuration = configuration
        self.engine: Engine = open_engine(folder, configuration)
        self.clock = ManualClock(START_US + 400 * US_PER_DAY)
        self.shelf = Shelf()
        self.disk = FaultyDisk()
        self.stages: list[tuple[str, dict[str, Any]]] = []
        self.snapshots = SnapshotSettings(every_events=every, keep=keep)
        self.retention = RetentionSettings()
        self.opener: Any = lambda _: self.shelf
        self.follower = self.start()

    def start(self) -> Follower:
        """Returns a new follower; the one before is forgotten, as after kill -9."""
        self.follower = Follower(
            self.folder,
            snapshots=self.snapshots,
            retention=self.retention,
            clock=self.clock,
            report=lambda stage, **details: self.stages.append((stage, details)),
            opener=self.opener,
            disk=self.disk,
        )
        return self.follower

    def settle(self) -> None:
        """Turns until there is nothing to do."""
        while self.follower.turn():
            pass

    def later(self, delta_us: int) -> None:
        """Turns some time later."""
        self.clock.advance(delta_us)
        self.settle()

    def names(self) -> list[int]:
        """Returns the sequences of the snapshots, rising."""
        return sorted(int(path.name[:16]) for path in snapshot_paths(self.folder))

    def full(self, *, after: int = 0) -> None:
        """Makes the disk of snapshots full."""

        def fault(name: str, count: int) -> None:
            if name == "allocate" and count > after:
                raise OSError(errno.ENOSPC, "No space left on device")

        self.disk.fault = fault


@pytest.fixture
def beside(tmp_path: Path, rules_only: Configuration) -> Beside:
    """A follower beside an engine, both at the beginning."""
    return Beside(tmp_path / "data", rules_only)


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


def old_and_new(beside: Beside, count: int = 4000) -> Array:
    """Commits a stream of four days, of which the journal is to keep one."""
    beside.retention = RetentionSettings(journal_days=1, decisions_days=3)
    beside.start()
    events = requests(count, seed=5)
    events["received_time_us"] = START_US + np.arange(count) * (4 * US_PER_DAY // count)
    commit_all(beside.engine, events, batch=25)
    return events


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


def test_journal_is_kept_for_a_store_that_is_behind(beside: Beside) -> None:
    """Goal: F12, no row is lost. Method: the store is full while days pass; then it has space, gets all, and segments go."""
    beside.shelf.failure = StoreFull("no space")
    old_and_new(beside)
    beside.settle()
    beside.later(FLUSH_EVERY_US)
    beside.later(RETENTION_EVERY_US)

    assert "no space" == beside.follower._feed.trouble
    assert (4000, 0) == (beside.follower.sequence, segments(beside.folder)[0].index)
    beside.shelf.failure = None
    beside.later(RETRY_US)
    beside.later(FLUSH_EVERY_US)
    beside.later(RETENTION_EVERY_US)
    assert list(range(1, 4001)) == beside.shelf.rows
    assert segments(beside.folder)[0].index > 0


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


def test_store_gets_every_row_once_in_order(beside: Beside) -> None:
    """Goal: a projection of the journal. Method: commit, kill the follower at any time, start it again, look at the rows."""
    events = requests(1200, seed=7)
    decisions = []
    for first in range(0, 1200, 100):
        decisions.append(commit_all(beside.engine, events[first : first + 100], batch=9))
        beside.follower.turn()
        if first % 300 == 0:
            beside.later(FLUSH_EVERY_US)
        if first % 400 == 0:
            beside.shelf.waiting = []  # They go with the process.
            beside.shelf.bits = beside.shelf.bits[: len(beside.shelf.rows) * len(bits(decisions[0][:1]))]
            beside.start()
    beside.settle()
    beside.later(FLUSH_EVERY_US)

    assert list(range(1, 1201)) == beside.shelf.rows
    assert bits(np.concatenate(decisions)) == beside.shelf.bits


def test_store_begins_where_the_journal_does(beside: Beside) -> None:
    """Goal: a store may come later. Method: follow and trim without one, then with one."""
    beside.opener = lambda _: None
    beside.start()
    old_and_new(beside)
    beside.settle()
    first = segments(beside.folder)[0].first_sequence
    beside.opener = lambda _: beside.shelf
    beside.start()
    beside.settle()
    beside.later(FLUSH_EVERY_US)

    assert first > 1
    assert list(range(first, 4001)) == beside.shelf.rows


def test_rows_are_stored_when_they_are_durable(beside: Beside, monkeypatch: pytest.MonkeyPatch) -> None:
    """Goal: a row of the store is never ahead of the journal. Method: order of syncs of the journal and flushes of the store."""
    order: list[Any] = []
    flush = beside.shelf.flush
    note: Any = order.append
    monkeypatch.setattr("os.fdatasync", lambda _: note("sync"))
    monkeypatch.setattr(beside.shelf, "flush", lambda: [note("flush"), flush()])
    write = beside.disk.write
    monkeypatch.setattr(beside.disk, "write", lambda *given: [note("write"), write(*given)][1])
    commit_all(beside.engine, requests(300, seed=8), batch=30)
    order.clear()
    beside.settle()
    beside.later(FLUSH_EVERY_US)

    assert ["sync", "flush"] == order[-2:]
    assert "sync" == order[0], "before the first byte of a snapshot"
    assert "write" in order


def test_store_that_cannot_go_on_stops_nothing(beside: Beside, caplog: pytest.LogCaptureFixture) -> None:
    """Goal: a damaged folder is the operator's business; the engine's snapshots go on. Method: a store that cannot be opened."""

    def broken(_: Path) -> Store:
        raise StoreFault("decisions are damaged")

    beside.opener = broken
    beside.start()
    commit_all(beside.engine, requests(500, seed=9), batch=10)
    beside.settle()

    assert beside.names()
    assert "decisions are damaged" in caplog.text
    assert (
        "decisions are damaged" == [details for stage, details in beside.stages if stage == "following"][-1]["trouble"]
    )


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


def test_decisions_of_earlier_days_are_dropped(beside: Beside) -> None:
    """Goal: retention of the store. Method: 4 days of traffic, 3 are kept: the first day goes."""
    old_and_new(beside)
    beside.settle()
    beside.later(FLUSH_EVERY_US)
    beside.later(RETENTION_EVERY_US)

    assert date(2023, 11, 15) == max(beside.shelf.dropped)


def test_real_store_holds_what_the_journal_holds(tmp_path: Path, rules_only: Configuration) -> None:
    """Goal: the two halves fit. Method: the real decision store, killed and full at times; its rows against the journal."""
    module = pytest.importorskip("riskengine.store.store")
    beside = Beside(tmp_path / "data", rules_only)
    shutil.rmtree(tmp_path / "data" / "snapshots", ignore_errors=True)
    beside.opener = lambda folder: module.DecisionStore(folder, rows_max=50_000)
    beside.start()
    for first in range(0, 1000, 100):
        commit_all(beside.engine, requests(1000, seed=11)[first : first + 100], batch=7)
        beside.later(FLUSH_EVERY_US if first % 200 else 0)
        if first % 300 == 0:
            beside.start()
    beside.settle()
    beside.later(FLUSH_EVERY_US)

    store = module.DecisionStore(tmp_path / "data")
    assert 1001 == store.next_sequence
    assert 1000 == sum(part.row_count for part in store.parts)


def test_erased_tag_leaves_the_stored_decisions(tmp_path: Path, rules_only: Configuration) -> None:
    """Goal: erasure reaches the store, once, in order. Method: an erasure in the stream, between payments of the same account."""
    module = pytest.importorskip("riskengine.store.store")
    beside = Beside(tmp_path / "data", rules_only)
    beside.opener = lambda folder: module.DecisionStore(folder, rows_max=50_000)
    beside.start()
    events = requests(300, seed=12)
    tag = int(events["account_tag"][3])
    before = int((events["account_tag"][:200] == tag).sum())
    erase = empty_events(1)
    erase["kind"], erase["request_key"], erase["account_tag"] = Kind.ERASE, 77_777, tag
    erase["event_time_us"] = erase["received_time_us"] = events["received_time_us"][199]
    erase["original_transaction_tag"] = 4_242
    commit_all(beside.engine, events[:200], batch=50)
    beside.engine.commit(erase)
    commit_all(beside.engine, events[200:], batch=50)
    beside.settle()
    beside.later(FLUSH_EVERY_US)

    columns = ["sequence", "kind", "account_tag"]
    files = sorted((tmp_path / "data" / "decisions").rglob("*.parquet"), key=lambda path: path.name)
    rows = [row for path in files for row in pq.read_table(path, columns=columns).to_pylist()]

    assert list(range(1, 302)) == [row["sequence"] for row in rows]
    assert before + 1 == sum(row["account_tag"] == 4_242 for row in rows)
    assert "erasure" == rows[200]["kind"]
    assert not any(row["account_tag"] == tag for row in rows[:201])
