"""A follower beside a real engine in one process, with a store that fails when told to. Called by the tests of this folder."""

import errno
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from riskengine.clock import ManualClock
from riskengine.engine.configuration import Configuration
from riskengine.engine.engine import Engine
from riskengine.engine.snapshot import snapshot_paths
from riskengine.errors import StoreFault
from riskengine.follower.follower import Follower
from riskengine.settings import RetentionSettings, SnapshotSettings
from riskengine.types import US_PER_DAY, Array
from tests.engine.journals import bits, commit_all, open_engine, requests
from tests.journal.disks import FaultyDisk
from tests.strategies import START_US


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


def old_and_new(beside: Beside, count: int = 4000) -> Array:
    """Commits a stream of four days, of which the journal is to keep one."""
    beside.retention = RetentionSettings(journal_days=1, decisions_days=3)
    beside.start()
    events = requests(count, seed=5)
    events["received_time_us"] = START_US + np.arange(count) * (4 * US_PER_DAY // count)
    commit_all(beside.engine, events, batch=25)
    return events
