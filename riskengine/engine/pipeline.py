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
from riskengine.engine.kernels import fold_events
from riskengine.engine.state import State
from riskengine.types import (
    DECISION,
    DECISION_WORD,
    ENTITIES,
    EVENT_WORD,
    TAG_WORD_FIRST,
    US_PER_SECOND,
    Array,
    DecisionFlag,
    EngineLimits,
    Kind,
    Stage,
    Verdict,
    words,
)
from riskengine.velocity.inputs import kernels as inputs

_COPIED_NAMES: Final = ("sequence", "kind", "received_time_us", "request_key", "request_check", "payload_hash")
_COPIED: Final = [EVENT_WORD[name] for name in _COPIED_NAMES]
_COPIED_TO: Final = [DECISION_WORD[name] for name in _COPIED_NAMES]
_REVISION: Final = DECISION_WORD["revision"]
_FLAGS: Final = DECISION_WORD["flags"]
_FLOATS: Final = [DECISION_WORD["probability"], DECISION_WORD["margin"]]
_KIND: Final = EVENT_WORD["kind"]
_SCORE: Final = int(Kind.SCORE)
_OUTCOME: Final = int(Kind.OUTCOME)
_NAN_BITS: Final = int(np.float64(np.nan).view(np.int64))


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
    """

    def __init__(self, configuration: Configuration, state: State, limits: EngineLimits) -> None:
        self.configuration = configuration
        self.state = state
        self.timings = Timings()
        rows = limits.batch_rows_max
        self._lateness_us = limits.lateness_max_s * US_PER_SECOND
        features = configuration.features
        self._features = np.zeros((rows, configuration.column_count))
        self._valid = np.zeros((rows, configuration.column_count), np.uint8)
        condition_count = max(1, len(features.velocity.conditions))
        self._conditions = np.zeros((rows, condition_count))
        self._conditions_valid = np.zeros((rows, condition_count), np.uint8)
        self._increments = np.zeros((rows, max(1, len(features.velocity.measures))), np.int64)
        self._flags = np.zeros(rows, np.int64)
        self._entities = np.zeros(len(ENTITIES), np.int64)
        self._margin = np.zeros(rows)
        self._probability = np.zeros(rows)

    def fold(self, events: Array) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
        """Folds a batch, and computes the features of its scored rows.

        Args:
            events: Rows of EVENT with their sequence, at most `batch_rows_max`.

        Returns:
            Features float64[n, columns], valid uint8[n, columns] and DecisionFlag bits int64[n]: views that the next batch
            overwrites. The columns known only at decision time are not filled yet.
        """
        count = len(events)
        rows = words(events)
        plan, store = self.configuration.features, self.state.store
        features, valid, flags = self._features[:count], self._valid[:count], self._flags[:count]
        conditions, conditions_valid = self._conditions[:count], self._conditions_valid[:count]
        increments = self._increments[:count]
        valid[:] = 0
        flags[:] = 0
        inputs.event_features(rows, plan.velocity.numbers, features, valid)
        plan.conditions.run(rows, features, valid, conditions, conditions_valid)
        inputs.increments(plan.velocity.measures, features, valid, conditions, conditions_valid, increments)
        fold_events(
            rows,
            increments,
            plan.velocity.profiles,
            plan.velocity.windows,
            plan.velocity.reads,
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
            features,
            valid,
            flags,
            self._entities,
            self._lateness_us,
        )
        plan.derived.run(rows, features, valid, features, valid)
        return features, valid, flags

    def apply(self, events: Array) -> Array:
        """Applies a batch: folds every command and decides the scored ones.

        Args:
            events: Rows of EVENT with their sequence, at most `batch_rows_max`.

        Returns:
            One row of DECISION for each.
        """
        started_ns = self.timings.clock_ns()
        features, valid, flags = self.fold(events)
        self.timings.fold_ns += self.timings.clock_ns() - started_ns
        self.timings.batches += 1
        self.timings.rows += len(events)
        decisions = np.zeros(len(events), DECISION)
        rows, out = words(events), words(decisions)
        out[:, _COPIED_TO] = rows[:, _COPIED]
        out[:, _REVISION] = self.configuration.revision
        out[:, _FLOATS] = _NAN_BITS
        out[:, _FLAGS] = flags
        scored = rows[:, _KIND] == _SCORE
        if np.count_nonzero(scored) == len(scored):
            self._decide(events, features, valid, decisions)
            return decisions
        matched = rows[:, TAG_WORD_FIRST : TAG_WORD_FIRST + len(ENTITIES)].any(axis=1)
        out[:, _FLAGS] |= np.where(matched & (rows[:, _KIND] == _OUTCOME), int(DecisionFlag.MATCHED), 0)
        if scored.any():
            chosen = decisions[scored]
            self._decide(events[scored], features[scored], valid[scored], chosen)
            decisions[scored] = chosen
        return decisions

    def _decide(
        self, events: Array, features: npt.NDArray[np.float64], valid: npt.NDArray[np.uint8], decisions: Array
    ) -> None:
        """Lists, model, policy and reasons for rows that are all scored."""
        configuration = self.configuration
        rows = words(events)
        skipped = events["skip_stages"]
        decisions["degraded_stages"] = skipped
        started_ns = self.timings.clock_ns()
        margin, probability = self._score(features, valid, skipped)
        decisions["margin"], decisions["probability"] = margin, probability
        scored_ns = self.timings.clock_ns()
        hits = configuration.lists.hits(rows, features, valid)
        configuration.policy.decide(
            events=rows,
            features=features,
            valid=valid,
            list_hits=hits,
            probability=probability,
            decisions=decisions,
        )
        self._explain(features, valid, decisions)
        self.timings.model_ns += scored_ns - started_ns
        self.timings.policy_ns += self.timings.clock_ns() - scored_ns

    def _score(
        self, features: npt.NDArray[np.float64], valid: npt.NDArray[np.uint8], skipped: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Runs the model where it is wanted, and tells conditions its answer."""
        configuration = self.configuration
        count = len(features)
        margin, probability = self._margin[:count], self._probability[:count]
        if configuration.model is not None and not np.count_nonzero(skipped):
            configuration.model.score(features, valid, margin, probability)
            features[:, configuration.probability_column] = probability
            features[:, configuration.margin_column] = margin
            valid[:, configuration.probability_column : configuration.margin_column + 1] = 1
            return margin, probability
        wanted = (skipped & int(Stage.MODEL)) == 0
        if configuration.model is None or not wanted.any():
            margin[:] = probability[:] = np.nan
            return margin, probability
        configuration.model.score(features, valid, margin, probability)
        if not wanted.all():
            margin[~wanted] = probability[~wanted] = np.nan
        features[:, configuration.probability_column] = probability
        features[:, configuration.margin_column] = margin
        valid[wanted, configuration.probability_column] = 1
        valid[wanted, configuration.margin_column] = 1
        return margin, probability

    def _explain(self, features: npt.NDArray[np.float64], valid: npt.NDArray[np.uint8], decisions: Array) -> None:
        """Adds the model's reasons to what is not approved."""
        configuration = self.configuration
        if configuration.model is None:
            return
        for row in np.flatnonzero((decisions["verdict"] != Verdict.APPROVE) & ~np.isnan(decisions["margin"])):
            contributions = np.zeros(features.shape[1])
            configuration.model.attribute(features, valid, int(row), contributions)
            configuration.policy.add_model_reasons(
                int(row), contributions, features=features, valid=valid, decisions=decisions
            )
