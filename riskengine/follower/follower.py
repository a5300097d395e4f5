"""Following the journal: fold it, take snapshots, feed the decision store, give up what is past its retention.

    begin    the activation in force, a state folded under its features: from the newest snapshot that fits, or from nothing
    turn     what was written since is folded; a snapshot when one is due; the store; once an hour, retention
    anew     an activation that measures otherwise makes the state useless: begin again, with the snapshot that was folded
             ahead of it if there is one (`engine.candidate`), and take one of our own soon

INVARIANTS: the state is the engine's own, by the same kernels from the same journal. What precedes a snapshot, or a row of the
store, is durable in the journal. A disk that is full, or fails, for snapshots or the store alone stops neither the following
nor the engine: it is told and tried again later, and nothing of the journal is given up meanwhile.

Called by `follower.loop` and tests.
"""

import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

from riskengine.clock import Clock
from riskengine.engine.activation import Activation, state_key_of
from riskengine.engine.candidate import candidate_folder, give_up_candidate, usable_headers
from riskengine.engine.origin import activation_at, find_origin, sound_headers
from riskengine.engine.pipeline import Pipeline
from riskengine.engine.recent.kernels import PROGRESS_RECEIVED_US
from riskengine.engine.recovery import fold_commits
from riskengine.engine.snapshot import (
    SnapshotDamaged,
    SnapshotHeader,
    check_snapshot,
    discard_partial,
    read_snapshot_header,
    retire_snapshot,
    write_snapshot,
)
from riskengine.journal.disk import Disk
from riskengine.journal.reader import CHUNK_ROWS_MAX, Activated, Commits, JournalReader, segments, trim
from riskengine.settings import RetentionSettings, SnapshotSettings
from riskengine.types import US_PER_DAY, US_PER_SECOND

from .feed import Feed, Names, Store, open_store
from .retention import GAPS, SOUND_MIN, first_segment_kept, needed_snapshots
from .tail import Tail

logger = logging.getLogger(__name__)

Report = Callable[..., None]
RETRY_US: Final = 60 * US_PER_SECOND
RETENTION_EVERY_US: Final = 3_600 * US_PER_SECOND
TOLD_EVERY_US: Final = 5 * US_PER_SECOND
SLICE_US: Final = US_PER_SECOND
"""Folded at once before anything else gets its turn."""


class Follower:
    """One follower of one data directory; the caller holds its lock.

    Args:
        data_dir: The data directory; it has a journal.
        snapshots: How often, and how many.
        retention: For how long.
        clock: Time of day for retention, monotonic time for paces.
        report: Told each stage.
        pause: Called between the steps of writing and of removing a snapshot.
        opener: Opens the decision store.
        disk: Where snapshots are written.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        snapshots: SnapshotSettings,
        retention: RetentionSettings,
        clock: Clock,
        report: Report,
        pause: Callable[[int], None] = lambda size_bytes: None,
        opener: Callable[[Path], Store | None] = open_store,
        disk: Disk | None = None,
    ) -> None:
        self._data_dir = data_dir
        self._snapshots = snapshots
        self._retention = retention
        self._clock = clock
        self._report = report
        self._pause = pause
        self._disk = disk
        self._names: Names = {}
        self._tail = Tail(data_dir)
        self._feed = Feed(data_dir, self._names, make_durable=self._tail.make_durable, clock=clock, opener=opener)
        self._headers: list[SnapshotHeader] = []
        self._taken_at = self._taken_us = 0
        self._retry_at_us = 0
        self._retention_at_us = 0
        self._told_at_us = 0
        self._told: dict[str, Any] = {}
        self._borrowed = False
        self.snapshot_trouble = ""
        """Why the last snapshot was not written; "" when it was."""
        discard_partial(data_dir)
        self._begin()

    @property
    def sequence(self) -> int:
        """Of the last event folded."""
        return self.pipeline.state.sequence

    def turn(self) -> bool:
        """Does what there is to do, for about a second.

        Returns:
            Whether there is more to do at once.

        Raises:
            JournalCorrupt, StartRefused: The journal cannot be followed.
        """
        busy = self._follow()
        if self._is_due():
            self._take_snapshot()
        busy = self._feed.step(self._headers, sequence=self.sequence) or busy
        now_us = self._clock.monotonic_us()
        if now_us >= self._retention_at_us:
            self._retention_at_us = now_us + RETENTION_EVERY_US
            self._keep_retention()
        self._tell(now_us)
        return busy

    def _begin(self) -> None:
        """Finds the activation in force and a state folded under it."""
        self._headers = sound_headers(self._data_dir)
        for header in reversed(self._headers):
            self._names |= header.names
        self.activation = activation_at(self._data_dir, self._headers, None)
        configuration = self.activation.rebuild(self._data_dir, with_model=False)
        features, limits, since = configuration.features, configuration.limits, self.activation.since
        self.key = state_key_of(configuration, since=since)
        origin = find_origin(self._data_dir, usable_headers(self._data_dir), features, limits, since=since)
        # The state stands on a snapshot that is not ours, and that goes when we have one.
        self._borrowed = origin.anchor is not None and all(each.key != self.key for each in self._headers)
        self._names |= origin.names
        self.pipeline = Pipeline(configuration, origin.state, limits)
        self._taken_at, self._taken_us = self.sequence, self._received_us()
        rows_max = min(CHUNK_ROWS_MAX, self._snapshots.every_events)
        self._reader = JournalReader(self._data_dir, start=origin.anchor, live=True, chunk_rows_max=rows_max)
        self._feed.begin(self._headers)
        logger.info("following the journal from sequence %d on", self.sequence + 1)

    def _follow(self) -> bool:
        """Folds what is new, up to where a snapshot is due or a second is over; returns whether there is more."""
        until_us = self._clock.monotonic_us() + SLICE_US
        self._tail.enter(self._reader.position)
        for item in self._reader:
            if isinstance(item, Activated):
                if not self._activate(Activation.read(item)):
                    return True
            else:
                self._take(item)
            if self._is_due() or self._clock.monotonic_us() >= until_us:
                return True
        return False

    def _take(self, commits: Commits) -> None:
        self._taken_us = self._taken_us or int(commits.events["received_time_us"][0])
        fold_commits(self.pipeline, commits)
        self._feed.take(commits, self._reader.position)

    def _activate(self, activation: Activation) -> bool:
        """Goes on under another activation; returns False if it measures otherwise, and a new beginning was made."""
        self._names[activation.revision] = activation.names
        if activation.revision <= self.activation.revision:
            return True
        configuration = activation.rebuild(self._data_dir, with_model=False)
        if state_key_of(configuration, since=activation.since) == self.key:
            self.activation = activation
            self.pipeline = Pipeline(configuration, self.pipeline.state, configuration.limits)
            return True
        logger.info("revision %d measures otherwise: its state is folded anew", activation.revision)
        del self.pipeline  # Two states need not be in memory at once.
        self._begin()
        return False

    def _is_due(self) -> bool:
        """Tells whether a snapshot is due: enough was folded, or it is so old that the journal could not be given up in time."""
        events = self.sequence - self._taken_at
        old = (self._received_us() - self._taken_us) * 2 * GAPS >= self._retention_us()
        # With an event that the activation decided: the name of an older state, by its last event, is not taken away.
        borrowed = self._borrowed and self.sequence >= self.activation.sequence
        waited = events >= self._snapshots.every_events or (events > 0 and (old or borrowed))
        return waited and self._clock.monotonic_us() >= self._retry_at_us

    def _received_us(self) -> int:
        return int(self.pipeline.state.progress[PROGRESS_RECEIVED_US])

    def _retention_us(self) -> int:
        return self._retention.journal_days * US_PER_DAY

    def _take_snapshot(self) -> None:
        """Writes a snapshot, then gives up what it makes needless."""
        state, position = self.pipeline.state, self._reader.position
        revisions = state.recent.revisions()
        names = {revision: names for revision, names in self._names.items() if revision in revisions}
        started_us = self._clock.monotonic_us()
        try:
            self._tail.make_durable(position)
            path = write_snapshot(
                self._data_dir,
                state,
                configuration_key=self.key,
                anchor=position,
                journal_id=self._reader.journal_id,
                activation=self.activation,
                names={**names, self.activation.revision: self.activation.names},
                disk=self._disk,
                pause=self._pause,
            )
        except OSError as error:
            self.snapshot_trouble = error.strerror or str(error)
            self._retry_at_us = self._clock.monotonic_us() + RETRY_US
            logger.error("no snapshot at sequence %d: %s; tried again soon", self.sequence, self.snapshot_trouble)
            self._report("trouble", what="snapshot", message=self.snapshot_trouble)
            return
        self.snapshot_trouble, self._borrowed = "", False
        self._taken_at, self._taken_us = self.sequence, self._received_us()
        size_bytes, took_s = path.stat().st_size, (self._clock.monotonic_us() - started_us) / 1e6
        logger.info("snapshot %s: %d bytes in %.1f s", path.name, size_bytes, took_s)
        self._report("snapshot", sequence=self.sequence, bytes=size_bytes)
        self._headers = [read_snapshot_header(path), *(each for each in self._headers if each.path != path)]
        self._keep_retention()

    def _keep_retention(self) -> None:
        """Gives up snapshots, segments and stored days that are past their time, unless something is wrong."""
        if self.snapshot_trouble or self._feed.trouble:
            return
        # Both must agree that time has passed: a clock that jumps ahead deletes nothing that traffic does not confirm.
        now_us = min(self._clock.now_us(), self._received_us())
        kept = segments(self._data_dir)
        cutoff_us = now_us - self._retention_us()
        needed = needed_snapshots(
            self._headers,
            key=self.key,
            keep=self._snapshots.keep,
            cutoff_us=cutoff_us,
            retention_us=self._retention_us(),
            first_index=kept[0].index,
        )
        first_index = first_segment_kept(
            needed, key=self.key, cutoff_us=cutoff_us, segments=kept, stored_before=self._feed.stored_before
        )
        if first_index > kept[0].index:
            if not self._are_sound(needed):
                return
            freed_bytes = trim(self._data_dir, first_kept_index=first_index)
            logger.info("the journal begins with segment %d now: %d bytes are free", first_index, freed_bytes)
            self._report("trimmed", segment=first_index, bytes=freed_bytes)
        self._remove(each for each in self._headers if each not in needed)
        self._clear_candidate()
        self._feed.drop_before(now_us - self._retention.decisions_days * US_PER_DAY)

    def _clear_candidate(self) -> None:
        """Removes what was folded ahead of an activation, once that is of no use, unless another is being prepared."""
        ahead = sound_headers(self._data_dir, within=candidate_folder(self._data_dir))
        own = max((each.sequence for each in self._headers if each.key == self.key), default=-1)
        if any(each.key == self.key and each.sequence > own for each in ahead):
            return
        try:
            give_up_candidate(self._data_dir, pause=self._pause)
        except OSError as error:
            logger.error("the candidate of an activation cannot be removed: %s; tried again later", error.strerror)

    def _are_sound(self, needed: list[SnapshotHeader]) -> bool:
        """Proves the newest snapshots of the current state, on whose word the journal is given up; a damaged one goes."""
        current = [each for each in needed if each.key == self.key][-SOUND_MIN:]
        for header in current:
            try:
                check_snapshot(header.path)
            except SnapshotDamaged as error:
                logger.error("snapshot %s is removed: %s; the journal is kept", header.path.name, error.message)
                self._remove([header])
                return False
        return True

    def _remove(self, headers: Iterable[SnapshotHeader]) -> None:
        gone = list(headers)
        for header in gone:
            retire_snapshot(header.path, pause=self._pause)
            logger.info("snapshot %s is not needed any more", header.path.name)
        self._headers = [each for each in self._headers if each not in gone]

    def _tell(self, now_us: int) -> None:
        """Tells how far it is, now and then."""
        if now_us < self._told_at_us:
            return
        self._told_at_us = now_us + TOLD_EVERY_US
        done, total = self._reader.progress()
        trouble = self.snapshot_trouble or self._feed.trouble
        health: dict[str, Any] = {"sequence": self.sequence, "behind_bytes": total - done, "trouble": trouble}
        if self._feed.stored_before is not None:
            health["stored_before"] = self._feed.stored_before
        if health != self._told:
            self._told = health
            self._report("following", **health)
