"""A state that is folded beside the engine, under a configuration that does not decide yet.

    begin    from the newest snapshot that fits, or from the beginning of the journal
    turn     what was written since is folded, for about a second

INVARIANTS: nothing is written but a snapshot of the candidate, and that by `write` alone; the journal is read as one reads
beside its writer; the state is that which the engine would have had under this configuration all along.

Called by `engine.standby`, in the process that is to take over, and by `follower.backfill`.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from riskengine.clock import Clock
from riskengine.engine.activation import Activation, state_key_of
from riskengine.engine.candidate import Candidate, candidate_folder, discard_candidate, usable_headers
from riskengine.engine.origin import Ahead, Origin, activation_at, find_origin
from riskengine.engine.pipeline import Pipeline
from riskengine.engine.recovery import fold_commits
from riskengine.engine.snapshot import write_snapshot
from riskengine.journal.reader import Activated, Anchor, JournalReader

SLICE_US: Final = 500_000
"""Folded at once before somebody else gets a turn."""


class Forerunner:
    """One fold of one candidate. It reserves a state as large as the engine's.

    Args:
        data_dir: The data directory; it has a journal, and an engine may use it.
        candidate: What to fold under.
        clock: For the length of a turn.

    Attributes:
        activation: What decides where the fold has come to.
        first: Sequence of the last event that a snapshot had folded already.
        event_count: Events folded since.
    """

    def __init__(self, data_dir: Path, candidate: Candidate, *, clock: Clock) -> None:
        configuration = candidate.configuration
        self._data_dir = data_dir
        self._candidate = candidate
        self._clock = clock
        headers = usable_headers(data_dir)
        self.activation = activation_at(data_dir, headers, None)
        self._names: dict[int, dict[str, Any]] = {}
        for header in reversed(headers):
            self._names |= header.names
        origin = find_origin(data_dir, headers, configuration.features, configuration.limits, since=candidate.since)
        self._names |= {**origin.names, self.activation.revision: self.activation.names}
        self._state = origin.state
        self._pipeline = Pipeline(configuration, origin.state, configuration.limits)
        self._reader = JournalReader(data_dir, start=origin.anchor, live=True)
        self._total_bytes = self._reader.progress()[1]
        self.first = self.sequence
        self.event_count = 0

    @property
    def sequence(self) -> int:
        """Of the last event folded."""
        return self._state.sequence

    @property
    def key(self) -> bytes:
        """Of the state."""
        return state_key_of(self._candidate.configuration, since=self._candidate.since)

    def turn(self) -> bool:
        """Folds what was written since, for SLICE_US at most.

        Returns:
            Whether there is more to do at once.

        Raises:
            JournalCorrupt: The journal is damaged.
        """
        until_us = self._clock.monotonic_us() + SLICE_US
        for item in self._reader:
            if isinstance(item, Activated):
                told = Activation.read(item)
                self._names[told.revision] = told.names
                if told.revision > self.activation.revision:
                    self.activation = told
                continue
            fold_commits(self._pipeline, item)
            self.event_count += len(item.events)
            if self._clock.monotonic_us() >= until_us:
                return True
        return False

    def progress(self) -> tuple[int, int]:
        """Returns the bytes of the journal that were read, and those there were at the beginning."""
        return min(self._reader.frame_bytes, self._total_bytes), self._total_bytes

    def ahead(self) -> Ahead:
        """Returns what it has folded, for who takes over; the forerunner is of no use afterwards."""
        return Ahead(Origin(self._state, self._reader.position, self.activation, self._names), self._candidate.since)

    def write(self, *, make_durable: Callable[[Anchor], None], pause: Callable[[int], None]) -> Path:
        """Writes the snapshot of the candidate, in place of an earlier one.

        Args:
            make_durable: Makes durable what precedes a place of the journal.
            pause: As of `write_snapshot`.

        Returns:
            The file.

        Raises:
            OSError: There is no space, or the disk failed; nothing is left of it.
        """
        make_durable(self._reader.position)
        revisions = self._state.recent.revisions()
        names = {revision: names for revision, names in self._names.items() if revision in revisions}
        folder = candidate_folder(self._data_dir)
        path = write_snapshot(
            folder,
            self._state,
            configuration_key=self.key,
            anchor=self._reader.position,
            journal_id=self._reader.journal_id,
            # Who reads it must not take what is not journaled yet for what decides.
            activation=self.activation,
            names={**names, self.activation.revision: self.activation.names},
            pause=pause,
        )
        discard_candidate(self._data_dir, keep=path)
        return path
