"""One configuration's answer to one event, taken apart: rules with what was in them, thresholds, lists, contributions.

INVARIANTS: the decision row and the features come from the pipeline; nothing is decided here, what its bits and columns mean is
looked up. Contributions are those of the serving model, along the paths of its trees.

Called by `lab.explain`.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from riskengine.engine.configuration import DECISION_TIME_FEATURES, Configuration
from riskengine.engine.features import code_variables
from riskengine.expr import Expression, Variable
from riskengine.feature import Feature
from riskengine.policy.schema import Rule
from riskengine.types import DECISION, Array, WordMatrix, rows_of, unpack_code, words
from riskengine.wire.reply import ReplyBuilder

Value = float | bool | str | None
"""Of a variable; None is missing."""
_OUTCOMES: Final = {"fired": "fired", "shadow": "fired in shadow", "unevaluated": "not evaluated"}


@dataclass(frozen=True, slots=True)
class FeatureValue:
    """One feature as it was.

    Attributes:
        name: As conditions and models call it.
        value: None where it was missing.
        unit: What a value of 1 means.
        description: One sentence.
        contribution: What the model held against (positive) or for the event because of it, log-odds; None where the model
            does not ask it, or said nothing.
    """

    name: str
    value: float | None
    unit: str
    description: str
    contribution: float | None


@dataclass(frozen=True, slots=True)
class RuleOutcome:
    """What became of one rule.

    Attributes:
        id: Of the policy.
        outcome: ``fired``, ``fired in shadow``, ``not evaluated``, ``not fired`` or ``off``.
        verdict: It asks for, ``""`` for none.
        obligations: Ids it asks for.
        reason: Code.
        when: Its condition, CEL.
        variables: What its condition reads, by name.
    """

    id: str
    outcome: str
    verdict: str
    obligations: tuple[str, ...]
    reason: str
    when: str
    variables: dict[str, Value]


@dataclass(frozen=True, slots=True)
class Thresholds:
    """The thresholds that the probability met.

    Attributes:
        segment: Id.
        when: Its condition, CEL; ``""`` of the default.
        review: Probability from which a review is asked for.
        decline: Likewise.
        mode: Of the model: ``live``, ``shadow`` (told, decides nothing) or ``off``.
    """

    segment: str
    when: str
    review: float
    decline: float
    mode: str


@dataclass(frozen=True, slots=True)
class ListHit:
    """A list that names somebody in the event.

    Attributes:
        id: Of the list.
        action: ``allow``, ``block`` or ``watch``.
        entity: Type of entity.
        tag: Of the entity, 16 hex digits.
    """

    id: str
    action: str
    entity: str
    tag: str


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """What one configuration says.

    Attributes:
        decision: DECISION[1].
        told: riskengine.v1.Decision, as a caller would be told.
        margin: Log-odds before calibration, None without a model.
        probability: Calibrated, likewise.
        bias: Log-odds that the model begins with; with all contributions it adds up to the margin.
        thresholds: That applied.
        features: All that was measured, the heaviest contributions first, then as the catalogue has them.
        rules: All of the policy, in its order.
        lists: That were hit.
    """

    decision: Array
    told: Any
    margin: float | None
    probability: float | None
    bias: float | None
    thresholds: Thresholds
    features: tuple[FeatureValue, ...]
    rules: tuple[RuleOutcome, ...]
    lists: tuple[ListHit, ...]


def answer_of(
    configuration: Configuration,
    *,
    event: Array,
    features: npt.NDArray[np.float64],
    valid: npt.NDArray[np.uint8],
    decisions: WordMatrix,
) -> Answer:
    """Takes an answer apart.

    Args:
        configuration: That decided, with its revision.
        event: EVENT[1].
        features: float64[1, columns], as the decision left them.
        valid: uint8[1, columns], likewise.
        decisions: int64[1, DECISION_WORDS].
    """
    decision = rows_of(decisions, DECISION).copy()
    row = decision[0]
    bias, contributions = _contributions(configuration, features, valid, row)
    return Answer(
        decision=decision,
        told=ReplyBuilder({configuration.revision: configuration.names()}).decision(decision.tobytes()),
        margin=_known(row["margin"]),
        probability=_known(row["probability"]),
        bias=bias,
        thresholds=_thresholds(configuration, row),
        features=_features(configuration, features, valid, contributions),
        rules=tuple(_rules(configuration, event, features, valid, row)),
        lists=tuple(_lists(configuration, event, row)),
    )


def _contributions(
    configuration: Configuration, features: npt.NDArray[np.float64], valid: npt.NDArray[np.uint8], row: Any
) -> tuple[float | None, dict[str, float]]:
    """Returns the bias, and by name what each feature that the model asks contributed."""
    if configuration.model is None or np.isnan(row["margin"]):
        return None, {}
    contributions = np.zeros(configuration.column_count)
    bias = configuration.model.attribute(features, valid, 0, contributions)
    return bias, {configuration.columns[column]: float(contributions[column]) for column in configuration.model.columns}


def _features(
    configuration: Configuration,
    features: npt.NDArray[np.float64],
    valid: npt.NDArray[np.uint8],
    contributions: dict[str, float],
) -> tuple[FeatureValue, ...]:
    """Tells all that was measured; what the model and the lists say is told elsewhere."""
    told = [
        FeatureValue(
            name=feature.name,
            value=float(features[0, column]) if valid[0, column] else None,
            unit=feature.unit,
            description=feature.description,
            contribution=contributions.get(feature.name),
        )
        for column, feature in enumerate(configuration.features.features)
    ]
    return tuple(sorted(told, key=lambda each: -abs(each.contribution or 0.0)))


def _thresholds(configuration: Configuration, row: Any) -> Thresholds:
    compiled = configuration.policy.compiled
    table, index = compiled.file.thresholds, int(row["segment"])
    if index == 0:
        return Thresholds("default", "", table.default.review, table.default.decline, compiled.model_mode)
    segment = table.segments[index - 1]
    return Thresholds(segment.id, segment.when, segment.review, segment.decline, compiled.model_mode)


def _rules(
    configuration: Configuration,
    event: Array,
    features: npt.NDArray[np.float64],
    valid: npt.NDArray[np.uint8],
    row: Any,
) -> "list[RuleOutcome]":
    policy = configuration.policy
    outcomes = {rule.id: told for prefix, told in _OUTCOMES.items() for rule in policy.fired(row, prefix)}
    values = _Values(configuration, event, features, valid)
    conditions = policy.compiled.rule_conditions
    return [
        _rule(rule, condition, outcomes, values)
        for rule, condition in zip(policy.compiled.file.rules, conditions, strict=True)
    ]


def _rule(rule: Rule, condition: Expression, outcomes: dict[str, str], values: "_Values") -> RuleOutcome:
    return RuleOutcome(
        id=rule.id,
        outcome=outcomes.get(rule.id, "off" if rule.mode == "off" else "not fired"),
        verdict=rule.then.verdict or "",
        obligations=tuple(rule.then.obligations),
        reason=rule.reason,
        when=rule.when,
        variables={name: values.of(name) for name in sorted(condition.variables)},
    )


def _lists(configuration: Configuration, event: Array, row: Any) -> list[ListHit]:
    bits = int(row["list_hits"])
    return [
        ListHit(listed.id, listed.action, listed.entity, f"{int(event[f'{listed.entity}_tag'][0]):016x}")
        for index, listed in enumerate(configuration.policy.compiled.file.lists)
        if bits >> index & 1
    ]


class _Values:
    """The values of what conditions may name."""

    def __init__(
        self,
        configuration: Configuration,
        event: Array,
        features: npt.NDArray[np.float64],
        valid: npt.NDArray[np.uint8],
    ) -> None:
        measured: dict[str, Feature] = {each.name: each for each in configuration.features.features}
        measured |= {each.name: each for each in DECISION_TIME_FEATURES}
        self._columns = {name: column for column, name in enumerate(configuration.columns)}
        self._booleans = {name for name in self._columns if name not in measured or measured[name].boolean}
        self._codes: dict[str, Variable] = {each.name: each for each in code_variables(configuration.features.inputs)}
        self._event, self._features, self._valid = words(event), features, valid

    def of(self, name: str) -> Value:
        """Returns the value of a variable, None where it is missing."""
        column = self._columns.get(name)
        if column is None:
            return self._code(self._codes[name])
        if not self._valid[0, column]:
            return None
        value = float(self._features[0, column])
        return bool(value) if name in self._booleans else value

    def _code(self, variable: Variable) -> str | None:
        word = int(self._event[0, variable.column])
        if word == 0:
            return None
        if variable.domain is None:
            return unpack_code(word)
        return next((text for text, number in variable.domain.items() if number == word), None)


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
