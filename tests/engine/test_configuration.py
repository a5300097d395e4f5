"""The configuration as one thing: mistakes of all files at once, and a model bound to what it was trained on."""

import json
import shutil
from pathlib import Path

import pytest

from riskengine.engine.configuration import (
    Configuration,
    build_configuration,
    configuration_from_content,
    load_configuration,
)
from riskengine.errors import BundleError, ConfigError
from riskengine.expr import VariableKind
from riskengine.yamlfile import load_file, load_yaml
from tests.engine.conftest import DEFAULTS, LIMITS, no_tag


def load(folder: Path) -> Configuration:
    """Loads a folder without models."""
    return load_configuration(folder, limits=LIMITS, base_currency="EUR", model_dir=folder, tag=no_tag)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the starter's files, to be changed."""
    for name in ("features.yaml", "policy.yaml", "reason_codes.yaml"):
        shutil.copy(DEFAULTS / name, tmp_path / name)
    return tmp_path


def change(file: Path, old: str, new: str) -> None:
    """Puts one thing in the place of another, once."""
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))


@pytest.mark.parametrize("broken", ["features.yaml", "policy.yaml", "reason_codes.yaml"])
def test_file_that_cannot_be_read_hides_nothing_of_the_others(folder: Path, broken: str) -> None:
    """Goal: one round of corrections. Method: a mistake in each file, and in one of them a quote that never ends."""
    change(folder / "features.yaml", "first_seen: true", "first_sen: true")
    change(folder / "policy.yaml", "  mode: shadow\n", "  mode: shdow\n")
    change(folder / "reason_codes.yaml", "version: 1", "version: 2")
    with (folder / broken).open("a") as file:
        file.write('\n"')

    with pytest.raises(ConfigError) as refused:
        load(folder)

    told = {problem.file: problem.message for problem in refused.value.problems}
    assert ["features.yaml", "policy.yaml", "reason_codes.yaml"] == [p.file for p in refused.value.problems]
    assert "the file ends inside quotes" == told.pop(broken)
    assert all(message.startswith(("unknown key", "mode must be", "version must be")) for message in told.values())


def test_variables_are_what_conditions_may_name(rules_only: Configuration) -> None:
    """Goal: cases see the same variables as the policy. Method: columns, kinds and texts of the starter's."""
    by_name = {variable.name: variable for variable in rules_only.variables}
    columns = [variable for variable in rules_only.variables if variable.kind is not VariableKind.CODE]

    assert list(rules_only.columns) == [variable.name for variable in columns]
    assert list(range(len(columns))) == [variable.column for variable in columns]
    assert VariableKind.BOOL is by_name["txn.monetary"].kind
    assert VariableKind.NUMBER is by_name["model.probability"].kind
    assert {VariableKind.BOOL} == {variable.kind for name, variable in by_name.items() if name.startswith("list.")}
    assert VariableKind.CODE is by_name["txn.type"].kind


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("    first_seen: true\n", "    first_seen: true\n    rows_max: 16\n"),
        ("    first_seen: true\n", "    first_seen: true\n    epsilon_shift: 2\n"),
        ("    first_seen: true\n", "    first_seen: true\n    members_max: 500\n"),
        ("linkage:\n", "linkage:\n  degree_max_default: 2\n"),
    ],
)
def test_model_is_not_bound_to_features_of_other_bounds(with_model: Configuration, old: str, new: str) -> None:
    """Goal: what a model was trained on is what it scores. Method: the same names with another bound; then as they were."""
    text = (DEFAULTS / "features.yaml").read_text()
    assert old in text

    def build(features: str) -> Configuration:
        return build_configuration(
            load_yaml(features, name="features.yaml"),
            load_file(DEFAULTS / "policy.yaml"),
            load_file(DEFAULTS / "reason_codes.yaml"),
            limits=LIMITS,
            base_currency="EUR",
            model_path=with_model.model_path,
            tag=no_tag,
        )

    assert build(text).model is not None
    with pytest.raises(BundleError, match="was trained on other definitions of"):
        build(text.replace(old, new))


def test_content_of_another_format_is_refused(rules_only: Configuration, tmp_path: Path) -> None:
    """Goal: a journal of another version ends in a sentence. Method: another format of the whole, then of the policy in it."""
    content = json.loads(rules_only.content)
    policy = {**json.loads(content["policy"]), "format": 2}

    for changed in ({**content, "format": 2}, {**content, "policy": json.dumps(policy)}):
        with pytest.raises(ConfigError, match="format 2, this program reads format 1; use the one that wrote it"):
            configuration_from_content(json.dumps(changed), models_dir=tmp_path)
