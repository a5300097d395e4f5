"""Replay: every journaled decision taken again, and compared bit for bit.

INVARIANTS: nothing is written. Each decision is retaken under the configuration that was active, on a state folded from the
journal, or from a snapshot of it where its beginning was trimmed. The same bits are promised within one semantics id (kernel
sources, library versions, CPU features); where the journal was written under another, differences are counted but not
called faults.

Called by `cli` and tests.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from riskengine.engine.activation import SEMANTICS, Activation, state_key_of
from riskengine.engine.pipeline import Pipeline
from riskengine.engine.rebuild import Rebuilt, first_rebuildable, state_before
from riskengine.journal.reader import Activated, Commits, JournalReader
from riskengine.types import DECISION, DECISION_COLUMNS, Array, rows_of, words

Progress = Callable[[int, int], None]


@dataclass(slots=True)
class Difference:
    """The first decision that came out otherwise.

    Attributes:
        sequence: Of the event.
        columns: Names of the decision's columns that differ.
    """

    sequence: int
    columns: tuple[str, ...]


@dataclass(slots=True)
class ReplayReport:
    """What a replay found.

    Attributes:
        first_sequence: Where it began.
        event_count: Commands replayed.
        decision_count: Decisions among them.
        difference_count: Decisions with another bit, under this program's semantics.
        foreign_count: Decisions journaled under another semantics id.
        foreign_difference_count: Those of them with another bit.
        first_difference: The first of `difference_count`, or None.
        revisions: Ordinals of the activations, that of the beginning first.
    """

    first_sequence: int = 1
    event_count: int = 0
    decision_count: int = 0
    difference_count: int = 0
    foreign_count: int = 0
    foreign_difference_count: int = 0
    first_difference: Difference | None = None
    revisions: list[int] = field(default_factory=list)


class Replay:
    """One pass over a journal.

    Args:
        data_dir: The data directory; it may be in use, then what is durable while it is read is replayed.
        from_sequence: Of the first decision to take again; None for the first that can be: 1, or where the oldest snapshot
            stands in a journal that was trimmed.
    """

    def __init__(self, data_dir: Path, from_sequence: int | None = None) -> None:
        self._data_dir = data_dir
        self._from_sequence = from_sequence
        self.report = ReplayReport()

    def run(self, *, on_progress: Progress | None = None) -> ReplayReport:
        """Replays everything.

        Args:
            on_progress: Called with (bytes read, bytes in all).

        Raises:
            StartRefused: Neither a snapshot nor the journal holds what came before the first decision.
            JournalCorrupt: The journal is damaged.
            BundleError: A model that decided is gone.
        """
        first = self._from_sequence or first_rebuildable(self._data_dir)
        self.report.first_sequence = first
        begun = state_before(self._data_dir, first)
        self._enter(begun)
        reader = JournalReader(self._data_dir, start=begun.anchor, live=True)
        for item in reader:
            if isinstance(item, Activated):
                later = Activation.read(item)
                if later.revision > self._activation.revision:
                    self._activate(later)
            else:
                self._retake(_from(item, first))
            if on_progress:
                on_progress(*reader.progress())
        return self.report

    def _enter(self, rebuilt: Rebuilt) -> None:
        """Goes on with another engine."""
        self._activation = rebuilt.activation
        self._pipeline = rebuilt.pipeline
        self._native = rebuilt.activation.semantics == SEMANTICS
        self.report.revisions.append(rebuilt.activation.revision)

    def _activate(self, activation: Activation) -> None:
        """Goes on under another configuration; if it measures otherwise, with a state folded anew from the beginning."""
        before = state_key_of(self._pipeline.configuration, since=self._activation.since)
        configuration = activation.rebuild(self._data_dir)
        if state_key_of(configuration, since=activation.since) == before:
            state = self._pipeline.state
            pipeline = Pipeline(configuration, state, configuration.limits)
            self._enter(Rebuilt(configuration, state, pipeline, activation, None))
        else:
            self._enter(state_before(self._data_dir, activation.sequence))

    def _retake(self, commits: Commits) -> None:
        """Applies the commands and compares what is decided with what was."""
        first = 0
        for events in _chunks(commits.events, self._pipeline.rows_max):
            decisions = rows_of(self._pipeline.apply(words(events)), DECISION)
            journaled = commits.decisions[first : first + len(events)]
            first += len(events)
            different = (words(decisions) != words(journaled)).any(axis=1)
            self.report.event_count += len(events)
            self.report.decision_count += int(np.count_nonzero(journaled["verdict"]))
            self._count(different, events, decisions, journaled)

    def _count(self, different: Array, events: Array, decisions: Array, journaled: Array) -> None:
        report = self.report
        if not self._native:
            report.foreign_count += len(events)
            report.foreign_difference_count += int(different.sum())
            return
        report.difference_count += int(different.sum())
        if report.first_difference is None and different.any():
            row = int(np.flatnonzero(different)[0])
            unequal = words(decisions[row : row + 1])[0] != words(journaled[row : row + 1])[0]
            names = tuple(DECISION_COLUMNS[word] for word in np.flatnonzero(unequal))
            report.first_difference = Difference(int(events["sequence"][row]), names)


def _chunks(events: Array, rows_max: int) -> list[Array]:
    return [events[first : first + rows_max] for first in range(0, len(events), rows_max)]


def _from(commits: Commits, sequence: int) -> Commits:
    """Returns the commands from a sequence on."""
    first = max(0, sequence - int(commits.events["sequence"][0]))
    return Commits(commits.events[first:], commits.decisions[first:])


def replay(data_dir: Path, *, from_sequence: int | None = None, on_progress: Progress | None = None) -> ReplayReport:
    """Replays a journal; see `Replay`."""
    return Replay(data_dir, from_sequence).run(on_progress=on_progress)
