"""What if: every journaled decision taken by another policy or model, on the very state on which it was taken.

INVARIANTS: nothing is written to the data directory. It is the serving code that decides, under the features of the time, so what
the engine knew then is all that is known here; only afterwards is it told which transactions turned out to be fraud. The old side
is the journal's own, decisions as they were given.

Called by `cli`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from riskengine.engine.activation import MODELS_FOLDER, SEMANTICS, Activation
from riskengine.engine.configuration import Configuration, Replacement, configuration_from_content
from riskengine.engine.pipeline import Pipeline
from riskengine.engine.rebuild import state_before
from riskengine.engine.state import State
from riskengine.errors import BundleError, ConfigError, RiskEngineError
from riskengine.journal.reader import Commits
from riskengine.lab.comparison import Bits, Compared, Comparison
from riskengine.lab.reading import journal_items
from riskengine.lab.survey import Deciding, Survey, survey
from riskengine.types import DECISION, Array, rows_of, words

Progress = Callable[[int, int, str], None]
Sink = Callable[["Batch"], None]


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Commands with both sides of their decisions.

    Attributes:
        events: EVENT[n], also those that are not scored: both sides then have the verdict 0.
        old: DECISION[n], as journaled.
        new: DECISION[n].
        old_names, new_names: What their bits mean.
        fraud: bool[n], whether the transaction was reported as fraud.
        compared: Where they differ.
    """

    events: Array
    old: Array
    new: Array
    old_names: dict[str, Any]
    new_names: dict[str, Any]
    fraud: Bits
    compared: Compared


@dataclass(slots=True)
class WhatIfReport:
    """What a what-if replay found.

    Attributes:
        comparison: The counts.
        event_count: Commands replayed, those that are not scored among them.
        foreign_count: Decisions that another version of the program or another CPU took: some of their differences may
            come from that.
        fraud_count: Transactions that the journal reports as fraud.
        model_mode: Of the model on the new side, under the last configuration: ``live``, ``shadow`` or ``off``.
        has_model: Whether there is one.
    """

    comparison: Comparison = field(default_factory=Comparison)
    event_count: int = 0
    foreign_count: int = 0
    fraud_count: int = 0
    model_mode: str = "off"
    has_model: bool = False


class WhatIf:
    """One pass over a journal.

    Args:
        data_dir: The data directory; it may be in use.
        instead: The other policy, its reasons, the other model.
        from_sequence: The first command whose decision is taken again; the state before it is made first. None: all.
        sink: Given every batch that was compared.
    """

    def __init__(
        self,
        data_dir: Path,
        instead: Replacement,
        *,
        from_sequence: int | None = None,
        sink: Sink | None = None,
    ) -> None:
        self._data_dir = data_dir
        self._instead = instead
        self._from_sequence = from_sequence
        self._sink = sink
        self._found = Survey()
        self._others: dict[int, Configuration] = {}
        self._pipeline: Pipeline | None = None
        self._deciding: Deciding | None = None
        self._names: dict[str, Any] = {}
        self.report = WhatIfReport()

    def run(self, *, on_progress: Progress | None = None) -> WhatIfReport:
        """Replays.

        Args:
            on_progress: Called with (bytes read, bytes in all, what is being done).

        Raises:
            JournalCorrupt: The journal is damaged.
            BundleError: A model is gone, damaged, or does not fit what was measured.
            ConfigError: The policy has mistakes, or names what was not measured.
            RiskEngineError: The other side fits only a part of the journal, or there is nothing from that sequence on.
        """
        tell = on_progress or _nobody
        self._found = survey(self._data_dir, on_progress=lambda a, b: tell(a, b, "reading outcomes"))
        self.report.fraud_count = len(self._found.frauds)
        if self._found.last_sequence == 0:
            return self.report
        first = self._first_sequence()
        deciding = self._found.deciding_from(first)
        self._others = self._build(deciding)
        self._begin(first, lambda a, b: tell(a, b, "making the state before"))
        changes = {each.activation.revision: each for each in deciding if each.sequence > first}
        for item in journal_items(self._data_dir, on_progress=lambda a, b: tell(a, b, "deciding")):
            if isinstance(item, Commits):
                self._retake(item, first)
            elif item.sequence > self._found.last_sequence:
                break  # What a running engine has added since the survey is left alone.
            elif item.revision in changes:
                self._activate(changes[item.revision])
        return self.report

    def _first_sequence(self) -> int:
        found = self._found
        first = found.first_sequence if self._from_sequence is None else self._from_sequence
        if not found.first_sequence <= first <= found.last_sequence:
            raise RiskEngineError(
                f"the journal holds sequences {found.first_sequence} to {found.last_sequence}, not {first}; "
                "name one of them to begin from"
            )
        return first

    def _build(self, deciding: list[Deciding]) -> dict[int, Configuration]:
        """Builds what decides instead of each configuration, before hours are spent, by revision."""
        others: dict[int, Configuration] = {}
        unfit: BundleError | ConfigError | None = None
        for each in deciding:
            try:
                other = self._other(each.activation)
            except (BundleError, ConfigError) as error:
                unfit, others = error, {}
                continue
            if unfit is not None and not others:
                fits_from = each.sequence
            others[each.activation.revision] = other
        if unfit is not None and others:
            raise RiskEngineError(
                f"this does not fit what was measured before sequence {fits_from}: {unfit.message}; "
                f"begin there, with --from-sequence {fits_from}"
            )
        if unfit is not None:
            raise unfit
        return others

    def _other(self, activation: Activation) -> Configuration:
        """Builds what decides instead of one configuration."""
        return configuration_from_content(
            activation.configuration, models_dir=self._data_dir / MODELS_FOLDER, instead=self._instead
        ).with_revision(activation.revision)

    def _begin(self, sequence: int, on_progress: Callable[[int, int], None] | None) -> None:
        """Makes the state before a command, and goes on from it."""
        rebuilt = state_before(self._data_dir, sequence, on_progress=on_progress)
        self._decide_by(Deciding(sequence, rebuilt.activation), rebuilt.state)

    def _activate(self, deciding: Deciding) -> None:
        """Goes on under another configuration; one that measures something else needs a state of its own."""
        assert self._deciding is not None, "a journal begins with an activation"
        assert self._pipeline is not None, "it has a state"
        if deciding.measures_as(self._deciding):
            self._decide_by(deciding, self._pipeline.state)
        else:
            self._begin(deciding.sequence, None)

    def _decide_by(self, deciding: Deciding, state: State) -> None:
        # One that is not among them was active before the journal as it is kept begins.
        other = self._others.get(deciding.activation.revision) or self._other(deciding.activation)
        self._deciding = deciding
        self._pipeline = Pipeline(other, state, other.limits)
        self._names = other.names()
        self.report.model_mode = other.policy.compiled.model_mode
        self.report.has_model = other.model is not None

    def _retake(self, commits: Commits, from_sequence: int) -> None:
        """Applies the commands and compares what is decided with what was."""
        assert self._pipeline is not None, "a journal begins with an activation"
        bounds = np.searchsorted(commits.events["sequence"], [from_sequence, self._found.last_sequence + 1])
        rows_max = self._pipeline.configuration.limits.batch_rows_max
        for first in range(int(bounds[0]), int(bounds[1]), rows_max):
            part = slice(first, min(first + rows_max, int(bounds[1])))
            events = commits.events[part]
            decisions = rows_of(self._pipeline.apply(words(events)), DECISION)
            self.report.event_count += len(events)
            self._compare(events, commits.decisions[part], decisions)

    def _compare(self, events: Array, old: Array, new: Array) -> None:
        assert self._deciding is not None, "a journal begins with an activation"
        activation = self._deciding.activation
        old_names, new_names = activation.names, self._names
        fraud = self._found.reports_fraud(events["transaction_tag"])
        compared = self.report.comparison.add(old, new, old_names=old_names, new_names=new_names, fraud=fraud)
        self.report.foreign_count += 0 if activation.semantics == SEMANTICS else int(np.count_nonzero(old["verdict"]))
        if self._sink is not None:
            self._sink(Batch(events, old, new, old_names, new_names, fraud, compared))


def _nobody(done: int, total: int, what: str) -> None:
    """Takes progress that nobody wants."""
