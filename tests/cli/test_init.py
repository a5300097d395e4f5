"""`init` makes a folder that serves, and overwrites nothing."""

import stat
from pathlib import Path

from riskengine.cli.workspace import load_workspace
from tests.cli.running import Run

FILES = [".gitignore", "example_mapping.yaml", "example_payment.json", "features.yaml", "models"]
FILES += ["policy.yaml", "policy_cases", "reason_codes.yaml"]
    ".gitignore",
    "example_mapping.yaml",
    "example_payment.json",
    "features.yaml",
    "models",
    "policy.yaml",
    "policy_cases",
    "reason_codes.yaml",
]


def test_folder_has_configuration_key_and_model_in_shadow(starter: Path) -> None:
    """Goal: `serve` works on it at once, rules decide. Method: list it, load it."""
    workspace = load_workspace(starter, with_model=True)

    assert sorted(path.name for path in starter.iterdir()) == sorted([*FILES, "server.yaml", "tag.key"])
    assert stat.S_IMODE((starter / "tag.key").stat().st_mode) == 0o600
    assert (starter / "models" / "active").read_text() == "starter\n"
    assert workspace.configuration.model is not None
    assert workspace.configuration.policy.compiled.model_mode == "shadow"


def test_second_init_is_refused_and_changes_nothing(command: Run, starter: Path) -> None:
    """Goal: no key or policy is ever lost. Method: run it again, compare bytes."""
    before = {path: path.read_bytes() for path in starter.iterdir() if path.is_file()}

    ran = command("init", starter)

    assert ran.code == 1
    for name in ("server.yaml", "policy.yaml", "tag.key", "models"):
        assert name in ran.err
    assert before == {path: path.read_bytes() for path in starter.iterdir() if path.is_file()}


def test_without_training_rules_decide_alone(command: Run, tmp_path: Path) -> None:
    """Goal: a folder within a second. Method: --no-train."""
    ran = command("init", tmp_path / "new", "--no-train")

    assert ran.code == 0, ran.err
    assert "riskengine serve" in ran.out
    assert load_workspace(tmp_path / "new", with_model=True).configuration.model is None
