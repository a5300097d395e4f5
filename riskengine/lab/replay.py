"""Replay: every journaled decision taken again, and compared bit for bit.

INVARIANTS: nothing is written. Each decision is retaken under the configuration that was active, on a state folded from the
journal alone. The same bits are promised within one semantics id (kernel sources, library versions, CPU features); where the
journal was written under another, differences are counted but not called faults.

Called by `cli` and tests.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from riskengine.engine.configuration import Configuration, configuration_from_content
from riskengine.engine.pipeline import Pipeline
from riskengine.engine.recovery import MODELS_FOLDER, SEMANTICS, Activation
from riskengine.engine.state import State
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
        event_count: Commands replayed.
        decision_count: Decisions among them.
        difference_count: Decisions with another bit, under this program's semantics.
        foreign_count: Decisions journaled under another semantics id.
        foreign_difference_count: Those of them with another bit.
        first_difference: The first of `difference_count`, or None.
        revisions: Ordinals of the activations.
    """

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
        data_dir: The data directory; it may be in use, then only what was durable at the start is read.
    """

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._pipeline: Pipeline | None = None
        self._native = True
        self.report = ReplayReport()

    def run(self, *, on_progress: Progress | None = None) -> ReplayReport:
        """Replays everything.

        Args:
            on_progress: Called with (bytes read, bytes in all).

        Raises:
            JournalCorrupt: The journal is damaged.
            BundleError: A model that decided is gone.
        """
        total_bytes = sum(file.stat().st_size for file in (self._data_dir / "journal").glob("*.journal"))
        reader = JournalReader(self._data_dir)
        for item in reader:
            if isinstance(item, Activated):
                self._activate(Activation.read(item), item.sequence)
                continue
            self._retake(item)
            if on_progress:
                on_progress(min(reader.frame_bytes, total_bytes), total_bytes)
        return self.report

    def _activate(self, activation: Activation, sequence: int) -> None:
        """Goes on under another configuration; with other features the state is folded anew from the beginning."""
        self.report.revisions.append(activation.revision)
        self._native = activation.semantics == SEMANTICS
        configuration = configuration_from_content(
            activation.configuration, models_dir=self._data_dir / MODELS_FOLDER
        ).with_revision(activation.revision)
        if self._pipeline is not None and _same_state(self._pipeline.configuration, configuration):
            state = self._pipeline.state
            self._pipeline = Pipeline(configuration, state, configuration.limits)
            return
        self._pipeline = Pipeline(
            configuration, State(configuration.features, configuration.limits), configuration.limits
        )
        if sequence > 1:
            self._fold_until(sequence)

    def _fold_until(self, sequence: int) -> None:
        """Folds all commands before a sequence."""
        for item in JournalReader(self._data_dir):
            if isinstance(item, Commits):
                for events in _chunks(item.events[item.events["sequence"] < sequence], self._rows_max()):
                    self._running().fold(words(events))
                if item.events["sequence"][-1] >= sequence:
                    return

    def _retake(self, commits: Commits) -> None:
        """Applies the commands and compares what is decided with what was."""
        first = 0
        for events in _chunks(commits.events, self._rows_max()):
            decisions = rows_of(self._running().apply(words(events)), DECISION)
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

    def _running(self) -> Pipeline:
        assert self._pipeline is not None, "a journal begins with an activation"
        return self._pipeline

    def _rows_max(self) -> int:
        return self._running().configuration.limits.batch_rows_max


def _chunks(events: Array, rows_max: int) -> list[Array]:
    return [events[first : first + rows_max] for first in range(0, len(events), rows_max)]


def _same_state(one: Configuration, other: Configuration) -> bool:
    """Tells whether two configurations measure the same, so that the state of one is the state of the other."""
    return (
        one.features.names == other.features.names
        and one.features.hashes == other.features.hashes
        and one.features.velocity.conditions == other.features.velocity.conditions
        and one.limits == other.limits
    )


def replay(data_dir: Path, *, on_progress: Progress | None = None) -> ReplayReport:
    """Replays a journal; see `Replay`."""
    return Replay(data_dir).run(on_progress=on_progress)
