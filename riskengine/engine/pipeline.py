"""The way of a batch through the stages: the only place that knows them all.

    event features ─► conditions ─► increments ─► fold (tables, velocity, linkage, event by event) ─► derived
                                                                              ─► lists ─► model ─► policy ─► reasons

What is left of the fold changes state; what is right of it only reads columns. INVARIANTS: the fold is the same for every
kind of command and under every stage mask; no result depends on where a batch begins or ends. Used by `engine.engine`,
and by `lab` to compute features for training with the very code that serves.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from riskengine.clock import monotonic_ns
from riskengine.engine.configuration import Configuration
from riskengine.engine.fold.kernels import SCRATCH_ROWS, fold_events
from riskengine.engine.kernels import (
    SUMMARY_FOLDED_ONLY,
    SUMMARY_MODEL_SKIPPED,
    SUMMARY_SCORED,
    begin_decisions,
    tell_model,
)
from riskengine.engine.measuring import Features, Increments, Measuring, Valid
from riskengine.engine.state import State
from riskengine.enums import Kind, Stage, Verdict
from riskengine.limits import EngineLimits
from riskengine.tables.ahead import Ahead
from riskengine.tables.layout import KEY_FIELDS_MAX
from riskengine.types import DECISION_WORD, DECISION_WORDS, EVENT_WORD, US_PER_SECOND, WordMatrix
from riskengine.velocity.layout import PROFILE_WINDOWS

_KIND: Final = EVENT_WORD["kind"]
_SKIP: Final = EVENT_WORD["skip_stages"]
_VERDICT: Final = DECISION_WORD["verdict"]
_MARGIN: Final = DECISION_WORD["margin"]
_SCORE: Final = int(Kind.SCORE)
_APPROVE: Final = int(Verdict.APPROVE)
_MODEL: Final = int(Stage.MODEL)


@dataclass(slots=True)
class Timings:
    """Where the engine's time goes, nanoseconds since start; for benchmarks, never for decisions."""

    fold_ns: int = 0
    model_ns: int = 0
    policy_ns: int = 0
    frame_ns: int = 0
    sync_ns: int = 0
    batches: int = 0
    rows: int = 0

    @staticmethod
    def clock_ns() -> int:
        """Returns a monotonic time, nanoseconds."""
        return monotonic_ns()


class Pipeline:
    """Runs batches against one state.

    Args:
        configuration: What to measure and how to decide.
        state: Changed by every batch.
        limits: Bounds; `batch_rows_max` rows of work space are reserved.

    Attributes:
        rows_max: Rows of the largest batch.
    """

    def __init__(self, configuration: Configuration, state: State, limits: EngineLimits) -> None:
        self.configuration = configuration
        self.state = state
        self.timings = Timings()
        self.rows_max = rows = limits.batch_rows_max
        self._lateness_us = limits.lateness_max_s * US_PER_SECOND
        self._measuring = Measuring(configuration.features, rows_max=rows, column_count=configuration.column_count)
        self._ahead = Ahead(state.store)
        self._flags = np.zeros(rows, np.int64)
        windows = configuration.features.velocity.profiles[:, PROFILE_WINDOWS]
        scratch_words = max(len(configuration.features.keys.types), KEY_FIELDS_MAX, int(windows.max(initial=0)))
        self._scratch = np.zeros((SCRATCH_ROWS, scratch_words), np.int64)
        self._contributions = np.zeros(configuration.column_count)
        self._margin = np.zeros(rows)
        self._probability = np.zeros(rows)

    def fold(self, events: WordMatrix) -> tuple[Features, Valid, npt.NDArray[np.int64]]:
        """Folds a batch, and computes the features of its scored rows.

        Args:
            events: int64[n, EVENT_WORDS] with their sequence, C-contiguous, at most `batch_rows_max` rows.

        Returns:
            Features float64[n, columns], valid uint8[n, columns] and DecisionFlag bits int64[n]: views that the next batch
            overwrites. The columns known only at decision time are not filled yet.
        """
        features, valid, flags = self._fold(events, self._measuring.run(events), answers=True)
        self.configuration.features.derived.run(events, features, valid, features, valid)
        return features, valid, flags

    def absorb(self, events: WordMatrix, increments: Increments | None = None) -> None:
        """Folds a batch that was decided already: leaves the state that `fold` leaves, in half the time.

        Args:
            events: As for `fold`; the same when this returns.
            increments: From `Measuring.run` of the same configuration for these events, where somebody has them already.
        """
        self._fold(events, self._measuring.run(events) if increments is None else increments, answers=False)

    def _fold(
        self, events: WordMatrix, increments: Increments, *, answers: bool
    ) -> tuple[Features, Valid, npt.NDArray[np.int64]]:
        """Folds a batch; as `fold`, without what is derived."""
        count = len(events)
        plan, store = self.configuration.features, self.state.store
        (features, valid), flags = self._measuring.space(count), self._flags[:count]
        self._ahead.touch(count)
        fold_events(
            events,
            increments,
            plan.keys.keys,
            plan.velocity.profiles,
            plan.velocity.windows,
            plan.velocity.reads,
            plan.velocity.rates,
            plan.velocity.places,
            plan.velocity.first_seen,
            plan.relations.relations,
            plan.relations.reads,
            plan.linkage.links,
            plan.linkage.columns,
            store.slot_tags,
            store.slot_entities,
            store.heads,
            store.arena,
            store.types,
            store.free,
            store.counters,
            self.state.nodes,
            self.state.seen_times,
            features,
            valid,
            flags,
            self._scratch,
            self._lateness_us,
            answers,
        )
        return features, valid, flags

    def apply(self, events: WordMatrix) -> WordMatrix:
        """Applies a batch: folds every command and decides the scored ones.

        Args:
            events: int64[n, EVENT_WORDS] with their sequence, C-contiguous, at most `batch_rows_max` rows.

        Returns:
            int64[n, DECISION_WORDS], one row for each.
        """
        timings = self.timings
        started_ns = timings.clock_ns()
        features, valid, flags = self.fold(events)
        timings.fold_ns += timings.clock_ns() - started_ns
        timings.batches += 1
        timings.rows += len(events)
        return self.decide(events, features, valid, flags)

    def decide(self, events: WordMatrix, features: Features, valid: Valid, flags: npt.NDArray[np.int64]) -> WordMatrix:
        """Decides the scored rows of a batch that was folded, here or by a pipeline that measures the same. Changes no state.

        Args:
            events: int64[n, EVENT_WORDS], as for `apply`.
            features: float64[n, columns], C-contiguous, from `fold`. The columns known only at decision time are scratch:
                they are written where every row is scored.
            valid: uint8[n, columns], likewise.
            flags: int64[n], from `fold`.

        Returns:
            int64[n, DECISION_WORDS], one row for each.
        """
        decisions = np.empty((len(events), DECISION_WORDS), np.int64)
        summary = begin_decisions(events, flags, self.configuration.revision, decisions, decisions.view(np.float64))
        if not summary & SUMMARY_FOLDED_ONLY:
            self._decide(events, features, valid, decisions, summary)
        elif summary & SUMMARY_SCORED:
            scored = events[:, _KIND] == _SCORE
            chosen = decisions[scored]
            self._decide(events[scored], features[scored], valid[scored], chosen, summary)
            decisions[scored] = chosen
        return decisions

    def _decide(
        self, events: WordMatrix, features: Features, valid: Valid, decisions: WordMatrix, summary: int
    ) -> None:
        """Lists, model, policy and reasons for rows that are all scored."""
        configuration, timings = self.configuration, self.timings
        started_ns = timings.clock_ns()
        probability = self._score(events, features, valid, decisions, summary)
        scored_ns = timings.clock_ns()
        hits = configuration.lists.hits(events, features, valid)
        stopped = configuration.policy.decide(
            events=events,
            features=features,
            valid=valid,
            list_hits=hits,
            probability=probability,
            decisions=decisions,
        )
        if stopped:
            self._explain(features, valid, decisions)
        timings.model_ns += scored_ns - started_ns
        timings.policy_ns += timings.clock_ns() - scored_ns

    def _score(
        self, events: WordMatrix, features: Features, valid: Valid, decisions: WordMatrix, summary: int
    ) -> Features:
        """Runs the model where it is wanted, and tells decisions and conditions its answer; returns probabilities."""
        configuration = self.configuration
        count = len(features)
        margin, probability = self._margin[:count], self._probability[:count]
        wanted = configuration.model is not None
        if wanted and summary & SUMMARY_MODEL_SKIPPED:
            wanted = bool(((events[:, _SKIP] & _MODEL) == 0).any())
        if configuration.model is None or not wanted:
            probability[:] = np.nan
            return probability
        configuration.model.score(features, valid, margin, probability)
        tell_model(
            events,
            margin,
            probability,
            configuration.probability_column,
            configuration.margin_column,
            features,
            valid,
            decisions.view(np.float64),
        )
        return probability

    def _explain(self, features: Features, valid: Valid, decisions: WordMatrix) -> None:
        """Adds the model's reasons to what is not approved."""
        configuration = self.configuration
        if configuration.model is None:
            return
        margins = decisions.view(np.float64)[:, _MARGIN]
        for row in np.flatnonzero((decisions[:, _VERDICT] != _APPROVE) & ~np.isnan(margins)).tolist():
            self._contributions[:] = 0.0
            configuration.model.attribute(features, valid, row, self._contributions)
            configuration.policy.add_model_reasons(
                row, self._contributions, features=features, valid=valid, decisions=decisions
            )
