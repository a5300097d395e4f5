"""Cases beside a policy: given these features, expect this answer. What analysts run before they activate a change.

A case needs no engine: it names the features it cares about, everything else is missing, as when a caller sent little.

INVARIANTS: a case runs through the very stage that serves. A file with mistakes runs not at all; a case that does not
match tells all of its differences. Called by `policy test` and by tests.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

import numpy as np
from pydantic import Field

from riskengine.enums import Verdict
from riskengine.errors import ConfigError, Problem, nearest
from riskengine.expr import Variable, VariableKind
from riskengine.types import DECISION, Array, empty_events, pack_code, words
from riskengine.yamlfile import Document, KeyPath, check

from .compile import PROBABILITY, CompiledPolicy
from .schema import Identifier, ModelMode, Strict
from .stage import Policy

CASES_MAX: Final = 1_000
"""Cases of one file."""


class Given(Strict):
    """What the policy sees."""

    features: dict[str, float | bool] = Field(default_factory=dict, max_length=500)
    """Features by name; the others are missing."""
    txn: dict[str, float | bool | str] = Field(default_factory=dict, max_length=100)
    """Features and fields of the transaction, without the ``txn.``: ``type: CARD_PAYMENT``."""
    probability: Annotated[float, Field(gt=0, lt=1)] | None = None
    """What the model says; without it there is no model."""
    model_mode: ModelMode | None = None
    """What if the model were ``live``; by default as the policy says."""
    lists: list[Identifier] = Field(default_factory=list, max_length=62)
    """Ids of lists that name an entity of the event."""


class Expected(Strict):
    """What the policy shall answer; what is left out is not compared."""

    verdict: Literal["approve", "review", "decline"]
    """The verdict."""
    rules: list[Identifier] | None = None
    """Ids of all enforced rules that fire, in any order."""
    shadow: list[Identifier] | None = None
    """Ids of all shadow rules that fire."""
    unevaluated: list[Identifier] | None = None
    """Ids of all rules that cannot be evaluated."""
    obligations: list[Identifier] | None = None
    """Ids of all obligations."""
    segment: Identifier | None = None
    """Id of the threshold segment."""
    reasons: list[str] | None = None
    """Reason codes of lists and rules, in their order."""


class Case(Strict):
    """One case."""

    name: Annotated[str, Field(min_length=1, max_length=200)]
    """A sentence that says what it shows."""
    given: Given = Given()
    """What the policy sees."""
    expect: Expected
    """What it shall answer."""


class CaseFile(Strict):
    """A file of cases."""

    cases: list[Case] = Field(min_length=1, max_length=CASES_MAX)
    """In the order in which they are run."""


@dataclass(frozen=True, slots=True)
class CaseResult:
    """How a case went.

    Attributes:
        name: Of the case.
        differences: Each with its place; none when the case holds.
    """

    name: str
    differences: tuple[Problem, ...]


def run_cases(compiled: CompiledPolicy, document: Document, variables: Sequence[Variable]) -> list[CaseResult]:
    """Runs a file of cases.

    Args:
        compiled: The policy.
        document: The file.
        variables: Those of the policy's environment.

    Returns:
        A result for each case, in their order.

    Raises:
        ConfigError: The file has mistakes; all of them.
    """
    file, problems = check(document, CaseFile)
    if file is None:
        raise ConfigError(problems)
    by_name = {variable.name: variable for variable in variables}
    for index, case in enumerate(file.cases):
        problems += _unknown_names(document, ("cases", index), case, compiled, by_name)
    if problems:
        raise ConfigError(problems)
    results = []
    for index, case in enumerate(file.cases):
        policy = Policy(compiled, model_mode=case.given.model_mode)
        found = _found(policy, _decide(policy, case.given, by_name))
        results.append(CaseResult(case.name, tuple(_differences(document, ("cases", index), case, found))))
    return results


def _named(given: Given) -> dict[tuple[str, str], float | bool | str]:
    """Returns the values of a case by section and key of the file."""
    values: dict[tuple[str, str], float | bool | str] = {
        ("features", key): value for key, value in given.features.items()
    }
    return values | {("txn", key): value for key, value in given.txn.items()}


def _variable_name(section: str, key: str) -> str:
    return key if section == "features" else f"txn.{key}"


def _unknown_names(
    document: Document, path: KeyPath, case: Case, compiled: CompiledPolicy, by_name: Mapping[str, Variable]
) -> list[Problem]:
    found = []
    for (section, key), value in _named(case.given).items():
        at = (*path, "given", section, key)
        variable = by_name.get(_variable_name(section, key))
        if variable is None:
            near = nearest(key, [name.removeprefix("txn.") if section == "txn" else name for name in by_name])
            found.append(document.problem(at, f'there is no feature "{key[:64]}"{near}', at_key=True))
        elif (variable.kind is VariableKind.CODE) != isinstance(value, str):
            wanted = "text" if variable.kind is VariableKind.CODE else "a number or true or false"
            found.append(document.problem(at, f"{key} must be {wanted}"))
        elif variable.domain is not None and value not in variable.domain:
            found.append(document.problem(at, f"{key} has no such value{nearest(str(value), variable.domain)}"))
    file, expect = compiled.file, case.expect
    rules = {rule.id for rule in file.rules}
    lists = {listed.id for listed in file.lists}
    segments = {"default", *(segment.id for segment in file.thresholds.segments)}
    for keys, ids, known, what in (
        (("given", "lists"), case.given.lists, lists, "list"),
        (("expect", "rules"), expect.rules, rules, "rule"),
        (("expect", "shadow"), expect.shadow, rules, "rule"),
        (("expect", "unevaluated"), expect.unevaluated, rules, "rule"),
        (("expect", "obligations"), expect.obligations, set(file.obligations), "obligation"),
        (("expect", "reasons"), expect.reasons, set(compiled.reasons.reasons), "reason code"),
        (("expect", "segment"), [expect.segment] if expect.segment else None, segments, "segment"),
    ):
        found += [
            document.problem(
                (*path, *keys, index) if what != "segment" else (*path, *keys),
                f'unknown {what} "{name[:64]}"{nearest(name, known)}',
            )
            for index, name in enumerate(ids or ())
            if name not in known
        ]
    return found


def _decide(policy: Policy, given: Given, by_name: Mapping[str, Variable]) -> Array:
    """Runs one case through the stage.

    Returns:
        DECISION[1].
    """
    names = policy.compiled.feature_names
    events = words(empty_events(1))
    features, valid = np.zeros((1, len(names))), np.zeros((1, len(names)), np.uint8)
    probability = np.full(1, np.nan)
    for (section, key), value in _named(given).items():
        variable = by_name[_variable_name(section, key)]
        if isinstance(value, str):
            domain = variable.domain
            events[0, variable.column] = pack_code(value) if domain is None else domain[value]
        else:
            features[0, variable.column], valid[0, variable.column] = float(value), 1
    hits = np.zeros(1, np.int64)
    for index, listed in enumerate(policy.compiled.file.lists):
        column = names.index(f"list.{listed.id}")
        features[0, column], valid[0, column] = float(listed.id in given.lists), 1
        hits[0] |= (listed.id in given.lists) << index
    if given.probability is not None:
        probability[0] = given.probability
        if PROBABILITY in names:
            features[0, names.index(PROBABILITY)], valid[0, names.index(PROBABILITY)] = given.probability, 1
    decisions = np.zeros(1, DECISION)
    policy.decide(
        events=events,
        features=features,
        valid=valid,
        list_hits=hits,
        probability=probability,
        decisions=words(decisions),
    )
    return decisions


def _found(policy: Policy, decisions: Array) -> dict[str, Any]:
    """Returns a decision in the words of `Expected`."""
    decision, names = decisions[0], policy.compiled.names()
    bits = int(decision["obligations"])
    return {
        "verdict": Verdict(decision["verdict"]).name.lower(),
        "rules": [rule.id for rule in policy.fired(decision)],
        "shadow": [rule.id for rule in policy.fired(decision, "shadow")],
        "unevaluated": [rule.id for rule in policy.fired(decision, "unevaluated")],
        "obligations": [name for index, name in enumerate(names["obligation_ids"]) if bits >> index & 1],
        "segment": names["segments"][decision["segment"]],
        "reasons": [
            names["reasons"][decision[f"reason_{slot}_code"]]["code"] for slot in range(decision["reason_count"])
        ],
    }


def _differences(document: Document, path: KeyPath, case: Case, found: Mapping[str, Any]) -> list[Problem]:
    """Compares what is expected with what came; ids of rules and obligations in any order."""
    told = []
    for key, wanted in case.expect.model_dump(exclude_none=True).items():
        came = found[key]
        if wanted == came or (isinstance(wanted, list) and key != "reasons" and sorted(wanted) == sorted(came)):
            continue
        message = f"{case.name}: expected {key} {_listed(wanted)}, but it is {_listed(came)}"
        told.append(document.problem((*path, "expect", key), message))
    return told


def _listed(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(value) or "none"
    return str(value)
