"""What the decision store is fed: every row once, in order, when it is durable; whatever fails, nothing else stops."""

import shutil
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from riskengine.engine.configuration import Configuration
from riskengine.errors import StoreFault, StoreFull
from riskengine.follower.feed import FLUSH_EVERY_US, RETRY_US, Store
from riskengine.follower.follower import RETENTION_EVERY_US
from riskengine.journal.reader import segments
from tests.engine.journals import bits, commit_all, requests
from tests.follower.beside import Beside, old_and_new


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
