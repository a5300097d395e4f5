"""What a command says when it fails: every problem, what to do, an exit code, and no traceback."""

from pathlib import Path

import pytest

from riskengine.cli import failures
from tests.cli.running import Run

BAD_POLICY = [
    ("  mode: shadow\n", "  mode: shdow\n"),
    ("txn.account_age_days < 7\n      review: 0.2", "txn.acount_age_days < 7\n      review: 0.2"),
]


def break_folder(folder: Path) -> None:
    """Puts mistakes into two files."""
    policy = (folder / "policy.yaml").read_text()
    for before, after in BAD_POLICY:
        assert before in policy
        policy = policy.replace(before, after, 1)
    (folder / "policy.yaml").write_text(policy)
    server = (folder / "server.yaml").read_text()
    (folder / "server.yaml").write_text(
        server.replace("fronts: 1", "frontz: 1").replace("max_ms: 2000", "max_ms: soon")
    )


@pytest.mark.parametrize("arguments", [("policy", "check"), ("serve",)])
def test_bad_configuration_tells_every_problem_with_its_place(
    command: Run, rules_only: Path, arguments: tuple[str, ...]
) -> None:
    """Goal: one round of corrections. Method: four mistakes in two files; exit code 2."""
    break_folder(rules_only)

    ran = command(*arguments, rules_only)

    assert ran.code == 2, ran.err
    for expected in ("server.yaml:", "frontz", "max_ms", "policy.yaml:", "shadow", "account_age_days"):
        assert expected in ran.err, ran.err
    assert "Traceback" not in ran.err


def test_bad_features_hide_no_mistake_of_another_file(command: Run, rules_only: Path) -> None:
    """Goal: one round of corrections. Method: a wrong features.yaml beside mistakes that can be seen without features."""
    for name, before, after in (
        ("features.yaml", "first_seen: true", "first_sen: true"),
        ("policy.yaml", "  mode: shadow\n", "  mode: shdow\n"),
        ("reason_codes.yaml", "blocked: ", "blocked: UN"),
    ):
        text = (rules_only / name).read_text()
        assert before in text
        (rules_only / name).write_text(text.replace(before, after, 1))

    ran = command("policy", "check", rules_only)

    assert ran.code == 2, ran.err
    assert "3 problems" in ran.err
    for told in ('unknown key "first_sen"; did you mean "first_seen"?', "mode must be one of", "unknown reason code"):
        assert told in ran.err, ran.err


def test_missing_folder_says_how_to_make_one(command: Run, tmp_path: Path) -> None:
    """Goal: a newcomer is not stuck. Method: serve a folder that is not there."""
    ran = command("serve", tmp_path / "nowhere")

    assert ran.code == 2
    assert "riskengine init" in ran.err


def test_unknown_option_is_a_usage_error(command: Run) -> None:
    """Goal: exit code 2 for usage. Method: an option that does not exist."""
    assert command("demo", "--quik").code == 2


def test_unexpected_error_shows_an_incident_and_no_traceback(capfd: pytest.CaptureFixture[str]) -> None:
    """Goal: nobody reads a traceback by surprise, and none is lost. Method: report an error that is not ours."""
    try:
        raise KeyError("secret")
    except KeyError as error:
        code = failures.report(error)

    said = " ".join(capfd.readouterr().err.split())
    file = Path(said.split("the traceback is in ")[1].split(",")[0])
    assert code == 1
    assert "incident" in said
    assert "secret" not in said
    assert "KeyError: 'secret'" in file.read_text()


def test_debugging_shows_the_traceback(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Goal: a developer sees it at once. Method: RISKENGINE_DEBUG=1."""
    monkeypatch.setenv("RISKENGINE_DEBUG", "1")

    failures.report(ValueError("x"))

    assert "ValueError: x" in capfd.readouterr().err


def test_interruption_is_130(capfd: pytest.CaptureFixture[str]) -> None:
    """Goal: shells see Ctrl-C. Method: report a KeyboardInterrupt."""
    assert failures.report(KeyboardInterrupt()) == 130
