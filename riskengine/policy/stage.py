"""The policy as a stage: conditions, lists and the model's probability of a batch in, decisions out.

How they combine: every rule is evaluated and the strictest verdict wins (decline > review > approve). A hit on a block
list declines. The thresholds of the first segment that applies turn the probability of a live model into a verdict,
unless an allow list names somebody in the event: an allow list speaks against the model only, never against an enforced
rule or a block list. Reviews get the obligations of `on_review`; beside a decline only those stay that tell somebody. A
rule over a missing feature is not evaluated, told, and followed by its `on_error`.

INVARIANTS: decisions are a function of the arguments alone, row by row: the borders of a batch change nothing. Shadow
rules decide nothing. Built by `engine.configuration` and `cases`, called by `engine.pipeline` and `cases`.
"""

from typing import Final

import numpy as np

from riskengine.enums import DecisionFlag, ListAction
from riskengine.expr import Program
from riskengine.types import (
    DECISION,
    DECISION_WORD,
    DECISION_WORDS,
    EVENT_WORDS,
    RULE_WORDS,
    Array,
    Floats,
    Ints,
    Valid,
    WordMatrix,
)

from . import kernels, layout
from .compile import ACTIONS, VERDICTS, CompiledPolicy, asked_verdict
from .lists import Lists
from .schema import ModelMode, Rule

ROWS_AT_ONCE: Final = 64
"""Rows whose conditions are kept while they are combined; stays in the first-level cache."""
_FLAGS: Final = {"live": DecisionFlag.MODEL_LIVE, "shadow": DecisionFlag.MODEL_SHADOW, "off": DecisionFlag(0)}


class Policy:
    """A compiled policy, ready to decide. Not to be shared by threads.

    Args:
        compiled: The policy.
        model_mode: How the model takes part; by default as the policy says. Cases and back-tests ask what if.

    Attributes:
        compiled: As given.
        lists: Its lists as a stage of their own; they run before the features that conditions read.
    """

    def __init__(self, compiled: CompiledPolicy, *, model_mode: ModelMode | None = None) -> None:
        self.compiled: Final = compiled
        columns = {name: column for column, name in enumerate(compiled.feature_names)}
        definitions = compiled.file.lists
        self.lists: Final = Lists(compiled.entries, [columns[f"list.{each.id}"] for each in definitions])
        active = [index for index, rule in enumerate(compiled.file.rules) if rule.mode != "off"]
        conditions = [compiled.rule_conditions[index] for index in active] + list(compiled.segment_conditions)
        self._program = Program(conditions, range(len(conditions)))
        self._truths = np.zeros((ROWS_AT_ONCE, len(conditions)))
        self._known = np.zeros((ROWS_AT_ONCE, len(conditions)), np.uint8)
        self._rules = _rule_table(compiled, active)
        self._lists = _list_table(compiled)
        self._reasons = _reason_table(compiled, columns)
        self._thresholds = _threshold_table(compiled)
        self._constants = _constants(compiled, model_mode or compiled.model_mode)
        self._groups = np.array(compiled.reason_of_features(), np.int64)
        self._sums = np.zeros(len(self._reasons))
        self._heaviest = np.zeros(len(self._reasons), np.int64)

    def decide(
        self,
        *,
        events: Ints,
        features: Floats,
        valid: Valid,
        list_hits: Ints,
        probability: Floats,
        decisions: WordMatrix,
    ) -> int:
        """Decides on a batch.

        Fills verdict, segment, obligations, list_hits, fired_*, shadow_*, unevaluated_* and the reasons of lists and
        rules, and adds MODEL_LIVE or MODEL_SHADOW to the flags where there is a probability. The other columns stay as
        they are.

        Args:
            events: int64[n, EVENT_WORDS], C-contiguous, rows of EVENT.
            features: float64[n, F], C-contiguous, columns of `feature_names`; ``list.*`` written by `lists`.
            valid: uint8[n, F], C-contiguous, 1 where a feature is present.
            list_hits: int64[n], from `lists`.
            probability: float64[n], calibrated probability of fraud, NaN where there is none.
            decisions: int64[n, DECISION_WORDS], C-contiguous, out.

        Returns:
            Number of rows that are not approved.
        """
        count = len(decisions)
        assert decisions.shape == (count, DECISION_WORDS), "rows of DECISION"
        assert events.shape == (count, EVENT_WORDS), "one event for each decision"
        assert features.shape == valid.shape == (count, len(self._groups)), "the columns this policy was compiled for"
        assert len(list_hits) == len(probability) == count, "one for each decision"
        if count <= ROWS_AT_ONCE:
            return self._decide(events, features, valid, list_hits, probability, decisions)
        stopped = 0
        for first in range(0, count, ROWS_AT_ONCE):
            part = slice(first, first + ROWS_AT_ONCE)
            stopped += self._decide(
                events[part], features[part], valid[part], list_hits[part], probability[part], decisions[part]
            )
        return stopped

    def _decide(
        self,
        events: Ints,
        features: Floats,
        valid: Valid,
        list_hits: Ints,
        probability: Floats,
        decisions: WordMatrix,
    ) -> int:
        """Decides on at most ROWS_AT_ONCE rows; as `decide`."""
        count = len(decisions)
        truths, known = self._truths[:count], self._known[:count]
        if truths.shape[1]:
            self._program.run(events, features, valid, truths, known)
        stopped: int = kernels.combine(
            self._rules,
            self._lists,
            self._reasons,
            self._thresholds,
            self._constants,
            truths,
            known,
            features,
            valid,
            list_hits,
            probability,
            decisions,
            decisions.view(np.float64),
        )
        return stopped

    def add_model_reasons(
        self,
        row: int,
        contributions: Floats,
        *,
        features: Floats,
        valid: Valid,
        decisions: WordMatrix,
    ) -> int:
        """Appends what the model holds against one event, the heaviest first, behind the reasons of lists and rules.

        Contributions are added up by reason code; a code with a positive sum becomes a reason. It speaks of the feature
        that the catalogue names for the code, or else of the heaviest one in the group.

        Args:
            row: Index of the decision; `decide` has filled it.
            contributions: float64[F], log-odds by column of the matrix, positive towards fraud, finite.
            features: float64[n, F], as for `decide`.
            valid: uint8[n, F], as for `decide`.
            decisions: int64[n, DECISION_WORDS], C-contiguous, out.

        Returns:
            Number of reasons added, 0 to REASONS_MAX.
        """
        assert len(contributions) == len(self._groups), "one contribution for each column"
        assert 0 <= row < len(decisions), "a row of the batch"
        return int(
            kernels.explain(
                self._groups,
                self._reasons,
                contributions,
                row,
                features,
                valid,
                decisions,
                decisions.view(np.float64),
                self._sums,
                self._heaviest,
            )
        )

    def fired(self, decision: Array, prefix: str = "fired") -> list[Rule]:
        """Returns the rules whose bits are set in a decision.

        Args:
            decision: One row of DECISION.
            prefix: ``fired``, ``shadow`` or ``unevaluated``.
        """
        start = DECISION_WORD[f"{prefix}_0"]
        bits = [int(decision[DECISION.names[start + word]]) for word in range(RULE_WORDS)]  # type: ignore[index]
        return [rule for index, rule in enumerate(self.compiled.file.rules) if bits[index // 64] >> (index % 64) & 1]


def _rule_table(compiled: CompiledPolicy, active: list[int]) -> Ints:
    table = np.zeros((len(active), layout.RULE_COLUMNS), np.int64)
    for row, index in enumerate(active):
        rule = compiled.file.rules[index]
        table[row, layout.RULE_WORD] = index // 64
        table[row, layout.RULE_BIT] = np.left_shift(np.int64(1), np.int64(index % 64))
        table[row, layout.RULE_ENFORCED] = rule.mode == "enforce"
        table[row, layout.RULE_VERDICT] = asked_verdict(rule)
        table[row, layout.RULE_ON_ERROR] = VERDICTS.get(rule.on_error, 0)
        table[row, layout.RULE_OBLIGATIONS] = compiled.obligation_bits(rule.then.obligations)
        table[row, layout.RULE_REASON] = compiled.reason_index(rule.reason)
    return table


def _list_table(compiled: CompiledPolicy) -> Ints:
    table = np.zeros((len(compiled.file.lists), layout.LIST_COLUMNS), np.int64)
    for index, listed in enumerate(compiled.file.lists):
        table[index, layout.LIST_BIT] = 1 << index
        table[index, layout.LIST_BLOCKS] = listed.action == "block"
        table[index, layout.LIST_REASON] = compiled.reason_index(listed.reason or compiled.reasons.blocked)
    return table


def _reason_table(compiled: CompiledPolicy, columns: dict[str, int]) -> Ints:
    table = np.full((len(compiled.reasons.reasons), layout.REASON_COLUMNS), -1, np.int64)
    for index, reason in enumerate(compiled.reasons.reasons.values()):
        table[index, layout.REASON_FEATURE] = columns[reason.feature] if reason.feature else -1
        table[index, layout.REASON_NORM] = columns[reason.norm] if reason.norm else -1
    return table


def _threshold_table(compiled: CompiledPolicy) -> Floats:
    table = compiled.file.thresholds
    return np.array([[each.review, each.decline] for each in (table.default, *table.segments)], np.float64)


def _constants(compiled: CompiledPolicy, mode: ModelMode) -> Ints:
    constants = np.zeros(layout.CONSTANT_WORDS, np.int64)
    constants[layout.CONSTANT_MODEL_LIVE] = mode == "live"
    constants[layout.CONSTANT_MODEL_FLAG] = int(_FLAGS[mode])
    constants[layout.CONSTANT_ON_REVIEW] = compiled.obligation_bits(compiled.file.on_review)
    constants[layout.CONSTANT_ON_DECLINE] = compiled.decline_bits()
    for index, listed in enumerate(compiled.file.lists):
        if ACTIONS[listed.action] == ListAction.BLOCK:
            constants[layout.CONSTANT_BLOCKING] |= 1 << index
        elif ACTIONS[listed.action] == ListAction.ALLOW:
            constants[layout.CONSTANT_ALLOWING] |= 1 << index
    constants[layout.CONSTANT_UNEVALUATED] = compiled.reason_index(compiled.reasons.unevaluated)
    return constants
