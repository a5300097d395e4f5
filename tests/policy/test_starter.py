"""The starter policy: it compiles over the starter features, its cases hold, and it covers what it promises."""

from functools import cache
from pathlib import Path

import pytest

from riskengine.engine.features import code_variables, compile_features, feature_variables
from riskengine.expr import Environment, Variable, VariableKind
from riskengine.limits import EngineLimits
from riskengine.policy.cases import run_cases
from riskengine.policy.compile import CompiledPolicy, compile_policy, list_ids
from riskengine.yamlfile import load_file

DEFAULTS = Path(__file__).resolve().parents[2] / "riskengine" / "defaults"
CASE_FILES = sorted((DEFAULTS / "policy_cases").glob("*.yaml"))


@cache
def starter() -> tuple[CompiledPolicy, tuple[Variable, ...]]:
    """Compiles the starter files as an engine would."""
    features = compile_features(load_file(DEFAULTS / "features.yaml"), EngineLimits())
    policy = load_file(DEFAULTS / "policy.yaml")
    names = [*features.names, "model.probability", "model.margin", *(f"list.{name}" for name in list_ids(policy))]
    variables = feature_variables(features.features)
    variables += [
        Variable(name, VariableKind.BOOL if name.startswith("list.") else VariableKind.NUMBER, column)
        for column, name in enumerate(names)
        if column >= len(features.names)
    ]
    variables += code_variables(features.inputs)
    reasons = load_file(DEFAULTS / "reason_codes.yaml")
    return compile_policy(policy, reasons, Environment(variables), names), tuple(variables)


@pytest.mark.parametrize("path", CASE_FILES, ids=[path.stem for path in CASE_FILES])
def test_starter_cases_hold(path: Path) -> None:
    """Goal: the starter policy does what its descriptions say. Method: every case file beside it."""
    compiled, variables = starter()
    results = run_cases(compiled, load_file(path), variables)

    assert [] == [str(difference) for result in results for difference in result.differences]


def test_starter_policy_is_what_was_promised() -> None:
    """Goal: 15 enforced rules, 2 in shadow, 3 segments, a model in shadow, no warnings. Method: count."""
    compiled, _ = starter()
    modes = [rule.mode for rule in compiled.file.rules]

    assert modes.count("enforce") >= 15
    assert 2 == modes.count("shadow")
    assert len(compiled.file.thresholds.segments) >= 3
    assert "shadow" == compiled.model_mode
    assert () == compiled.warnings


def test_every_rule_of_the_starter_policy_fires_in_a_case() -> None:
    """Goal: no rule without an example. Method: the rules that cases expect, enforced and shadow."""
    compiled, _ = starter()
    expected: set[str] = set()
    for path in CASE_FILES:
        for case in load_file(path).data["cases"]:
            expected |= {*case["expect"].get("rules", ()), *case["expect"].get("shadow", ())}

    assert {rule.id for rule in compiled.file.rules} == expected


def test_every_reason_is_used() -> None:
    """Goal: the catalogue has no dead words. Method: codes of rules, lists, faults and the model."""
    compiled, _ = starter()
    file, reasons = compiled.file, compiled.reasons
    used = {rule.reason for rule in file.rules} | {listed.reason for listed in file.lists}
    used |= {item.code for item in reasons.model} | {reasons.blocked, reasons.unevaluated}

    assert set(reasons.reasons) == used - {None}
