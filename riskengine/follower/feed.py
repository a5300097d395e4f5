"""What the decision store is fed: every command once, in order, as soon as it is durable.

    live      the follower hands over what it reads
    behind    after a start, or when the store failed: a reader of its own goes from the last place that the store has, a slice at
              a time, until it has caught up with the follower

INVARIANTS: the store's failure stops nothing: it is told, tried again later, and the journal is kept as long. Rows are durable in
the journal before they are in the store. Called by `follower`.
"""

import importlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np

from riskengine.clock import Clock
from riskengine.engine.activation import Activation
from riskengine.engine.origin import stands_on_journal
from riskengine.engine.snapshot import SnapshotHeader
from riskengine.enums import Kind
from riskengine.errors import RiskEngineError, StoreFault
from riskengine.journal.reader import Activated, Anchor, Commits, JournalReader, segments
from riskengine.types import ENTITIES, US_PER_SECOND, Array

logger = logging.getLogger(__name__)

Names = dict[int, dict[str, Any]]
ROWS_MAX: Final = 50_000
"""Rows that wait in memory at most, 56 MB."""
FLUSH_EVERY_US: Final = 30 * US_PER_SECOND
RETRY_US: Final = 60 * US_PER_SECOND
SLICE_US: Final = US_PER_SECOND


class Store(Protocol):
    """What is needed of `riskengine.store.store.DecisionStore`, which says more."""

    @property
    def next_sequence(self) -> int:
        """First sequence that is not durable in it."""
        ...

    @property
    def waiting_count(self) -> int:
        """Rows that wait for `flush`."""
        ...

    def begin(self, sequence: int) -> None:
        """Lets an empty store begin later."""
        ...

    def append(self, events: Array, decisions: Array, names: Mapping[int, Mapping[str, Any]]) -> None:
        """Takes rows; passes over those it has."""
        ...

    def flush(self) -> None:
        """Makes them durable."""
        ...

    def erase(self, entity: str, tag: int, tombstone: int, *, before: int | None = None) -> int:
        """Puts a tombstone in the place of a tag, in rows before a sequence."""
        ...

    def compact(self) -> int:
        """Merges small files."""
        ...

    def drop_before(self, day: date) -> int:
        """Forgets earlier days."""
        ...


def open_store(data_dir: Path) -> Store | None:
    """Opens the decision store, or returns None where this installation has none.

    Raises:
        StoreFault: Its folder cannot be used.
    """
    try:
        module = importlib.import_module("riskengine.store.store")
    except ImportError as error:
        logger.warning("decisions are not stored: %s", error)
        return None
    store: Store = module.DecisionStore(data_dir, rows_max=ROWS_MAX)
    return store


class Feed:
    """Feeds one store.

    Args:
        data_dir: The data directory.
        names: What decisions refer to, by revision; shared with the follower, who adds to it.
        make_durable: Called before rows are stored, with the place in the journal that they precede.
        clock: For paces.
        opener: Opens the store; called again while that fails.
    """

    def __init__(
        self,
        data_dir: Path,
        names: Names,
        *,
        make_durable: Callable[[Anchor], None],
        clock: Clock,
        opener: Callable[[Path], Store | None] = open_store,
    ) -> None:
        self._data_dir = data_dir
        self._names = names
        self._make_durable = make_durable
        self._clock = clock
        self._opener = opener
        self._store: Store | None = None
        self._absent = False
        self._reader: JournalReader | None = None
        self._stored_at: Anchor | None = None
        self._taken_at: Anchor | None = None
        self._flush_at_us = 0
        self._retry_at_us = 0
        self._dropped_before: date | None = None
        self.live = False
        """Whether the follower hands over what it reads."""
        self.trouble = ""
        """Why nothing is stored just now; "" when all is well."""

    @property
    def stored_before(self) -> int | None:
        """First sequence that is not stored; None where there is no store."""
        return self._store.next_sequence if self._store is not None else None

    def begin(self, headers: Sequence[SnapshotHeader]) -> None:
        """Opens the store and finds where to go on; may be repeated.

        Args:
            headers: Of the snapshots: their places in the journal spare reading all of it.
        """
        self.live = False
        self._reader = None
        with self._guarded("is not available"):
            if self._store is None:
                self._store = self._opener(self._data_dir)
                self._absent = self._store is None
            if self._store is None:
                return
            wanted = self._store.next_sequence
            start = self._stored_at
            if start is None or start.next_sequence > wanted:
                near = (each for each in headers if each.anchor.next_sequence <= wanted)
                start = next((each.anchor for each in near if stands_on_journal(self._data_dir, each)), None)
            first = segments(self._data_dir)[0].first_sequence
            if start is None and first > wanted:
                self._store.begin(first)
            self._reader = JournalReader(self._data_dir, start=start, live=True)
            self._stored_at = self._taken_at = self._reader.position
            self._flush_at_us = self._clock.monotonic_us() + FLUSH_EVERY_US

    def take(self, commits: Commits, position: Anchor) -> None:
        """Takes what the follower read, if live.

        Args:
            commits: The rows.
            position: Place in the journal behind them.
        """
        if self.live:
            with self._guarded("cannot take rows"):
                self._append(commits, position)

    def step(self, headers: Sequence[SnapshotHeader], *, sequence: int) -> bool:
        """Does what is due: another try, a slice of what is behind, a flush.

        Args:
            headers: Of the snapshots.
            sequence: Of the last event that the follower has read.

        Returns:
            Whether there is more to do at once.
        """
        if self._absent:
            return False
        now_us = self._clock.monotonic_us()
        if self.trouble:
            if now_us < self._retry_at_us:
                return False
            self.trouble = ""
            with self._guarded("cannot take rows"):
                self.flush()
                self.begin(headers)
        with self._guarded("cannot take rows"):
            if not self.live and self._reader is not None:
                self._go_on(self._reader, sequence)
            if self._clock.monotonic_us() >= self._flush_at_us:
                self.flush()
        return not self.live and not self.trouble

    def flush(self) -> None:
        """Makes durable what was taken.

        Raises:
            StoreFault: As the store.
            OSError: The journal cannot be made durable.
        """
        self._flush_at_us = self._clock.monotonic_us() + FLUSH_EVERY_US
        if self._store is None or self._taken_at is None or not self._store.waiting_count:
            return
        self._make_durable(self._taken_at)
        self._store.flush()
        self._stored_at = self._taken_at
        try:
            self._store.compact()
        except StoreFault as error:  # What is stored stays readable, and new rows have their files.
            logger.warning("decisions: small files were not merged: %s", error.message)

    def drop_before(self, time_us: int) -> None:
        """Forgets the days before that of a time, microseconds."""
        day = datetime.fromtimestamp(time_us // US_PER_SECOND, UTC).date()
        if self._store is None or self.trouble or day == self._dropped_before:
            return
        with self._guarded("cannot forget earlier days"):
            dropped = self._store.drop_before(day)
            self._dropped_before = day
            if dropped:
                logger.info("decisions received before %s are forgotten: %d rows", day, dropped)

    def _go_on(self, reader: JournalReader, sequence: int) -> None:
        """Reads one slice of what the store does not have yet; up with the follower, it goes live."""
        until_us = self._clock.monotonic_us() + SLICE_US
        reached = reader.position.next_sequence - 1
        for item in reader:
            if isinstance(item, Activated):
                self._names[item.revision] = Activation.read(item).names
                continue
            self._append(item, reader.position)
            reached = int(item.events["sequence"][-1])
            if reached >= sequence or self._clock.monotonic_us() >= until_us:
                break
        if reached >= sequence:
            self.live, self._reader = True, None

    def _append(self, commits: Commits, position: Anchor) -> None:
        assert self._store is not None, "a feed that reads has a store"
        unknown = set(np.unique(commits.decisions["revision"]).tolist()) - set(self._names)
        if unknown:
            raise StoreFault(f"what revision {min(unknown)} means is not known; restore a snapshot from a copy")
        if self._store.waiting_count + len(commits.events) > ROWS_MAX:
            self.flush()
        first = 0
        for row in np.flatnonzero(commits.events["kind"] == int(Kind.ERASE)).tolist():
            if row > first:
                self._store.append(commits.events[first:row], commits.decisions[first:row], self._names)
            erasure = self._erase(self._store, commits.events[row : row + 1])
            self._store.append(erasure, commits.decisions[row : row + 1], self._names)
            first = row + 1
        if first < len(commits.events):
            self._store.append(commits.events[first:], commits.decisions[first:], self._names)
        self._taken_at = position

    @staticmethod
    def _erase(store: Store, command: Array) -> Array:
        """Erases what precedes an erasure, and returns that with the tombstone in place of its own tags.

        Only then is the command stored: a crash before finds it in the journal again, and a repeat changes nothing.
        """
        command = command.copy()
        tombstone, sequence = int(command["original_transaction_tag"][0]), int(command["sequence"][0])
        for entity in ENTITIES:
            tag = int(command[f"{entity}_tag"][0])
            if tag:
                erased = store.erase(entity, tag, tombstone, before=sequence)
                logger.info("decisions: command %d erased an entity from %d rows", sequence, erased)
                command[f"{entity}_tag"] = tombstone
        return command

    @contextmanager
    def _guarded(self, what: str) -> Iterator[None]:
        """Notes a failure of the store, to be tried again later; rows are read anew from where they are stored."""
        try:
            yield
        except (StoreFault, OSError) as error:
            reason = error.message if isinstance(error, RiskEngineError) else str(error)
            logger.error("the decision store %s: %s; the journal keeps what it lacks, tried again soon", what, reason)
            self.trouble = reason
            self.live, self._reader = False, None
            self._retry_at_us = self._clock.monotonic_us() + RETRY_US
