"""`init` makes a folder that serves, and overwrites nothing."""

import stat
from pathlib import Path

import pytest

from riskengine.cli.workspace import load_workspace
from tests.cli.running import Run

FILES = [".gitignore", "example_mapping.yaml", "example_payment.json", "features.yaml", "models"]
FILES += ["policy.yaml", "policy_cases", "reason_codes.yaml"]


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


def test_interrupted_init_can_be_run_again(command: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Goal: Ctrl-C leaves no half of a folder. Method: interrupt the training, look, run it again."""

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("riskengine.cli.init._train_starter", interrupted)
    stopped = command("init", tmp_path / "new")
    again = command("init", tmp_path / "new", "--no-train")

    assert (130, "stopped") == (stopped.code, stopped.err.strip().splitlines()[-1])
    assert again.code == 0, again.err


def test_nameless_folder_is_refused(command: Run) -> None:
    """Goal: nothing is written into whatever folder one is in. Method: an empty name."""
    ran = command("init", "")

    assert ran.code == 2
    assert "name the folder" in ran.err


def test_example_mapping_imports(command: Run, tmp_path: Path) -> None:
    """Goal: the example is one that works. Method: a file with its columns."""
    folder = tmp_path / "new"
    assert command("init", folder, "--no-train").code == 0
    (tmp_path / "p.csv").write_text(
        "id,kind,created_at,amount,currency,card_token,customer,phone,street,zip,city,is_fraud\n"
        "1,sale,2026-01-05T10:00:00,12.50,EUR,tok a,c-1,+49 30 901820,Am Markt 1,10178,Berlin,no\n"
        "2,back,2026-01-05T11:00:00,12.50,EUR,tok a,c-1,none,,10178,Berlin,yes\n"
    )

    imported = ("history", "import", tmp_path / "p.csv", "--mapping", folder / "example_mapping.yaml")
    first = command(*imported, "--out", tmp_path / "h.parquet")
    second = command(*imported, "--out", tmp_path / "h.parquet")

    assert first.code == 0, first.err
    assert "2 rows read, 2 written" in first.out
    assert "1 value could not be used, and the mapping lets it be missing" in first.out
    assert (2, True) == (second.code, "--force" in second.err)
