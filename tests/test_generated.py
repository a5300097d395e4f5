"""The protos and their committed code agree, keep buf's rules, and break nobody; by way of `tools/protos.py`."""

import shutil
from pathlib import Path

import pytest

from tools import protos


def test_committed_code_is_what_the_protos_generate(tmp_path: Path) -> None:
    """Goal: nobody serves a contract that is not in protos/. Method: generate anew into a folder and compare."""
    stale = protos.stale_files(tmp_path)

    assert [] == stale, "run `make protos`"


def test_protos_pass_lint_and_break_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """Goal: `make protos-check` is green. Method: run it."""
    protos.check()

    assert "lint clean" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("string rule_id = 1;", "string ruleId = 1;", "lower_snake_case"),
        ("  // The rule's stable id from policy.yaml.\n", "", "non-empty comment"),
        ("VERDICT_UNSPECIFIED = 0;", "VERDICT_NONE = 0;", "_UNSPECIFIED"),
    ],
    ids=["camel case", "no comment", "zero value"],
)
def test_lint_sees_a_bad_proto(
    old: str, new: str, complaint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Goal: the lint is awake. Method: spoil one line of a copy and read the complaint with its line and column."""
    spoil(old, new, tmp_path, monkeypatch)
    protos.build_image(tmp_path / "image.binpb")

    with pytest.raises(protos.ProtosError, match=rf"(?s)decision\.proto:\d+:\d+:.*{complaint}"):
        protos.buf("lint", tmp_path / "image.binpb")


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("string rule_id = 1;", "int64 rule_id = 1;", 'changed type from "string" to "int64"'),
        ("string rule_id = 1;", "string rule = 1;", 'changed name from "rule_id" to "rule"'),
        ("  bool approximate = 12;\n", "", 'field "12".*was deleted'),
    ],
    ids=["type", "name", "deletion"],
)
def test_breaking_sees_an_incompatible_proto(
    old: str, new: str, complaint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Goal: callers of the last release keep working. Method: change one line of a copy, compare with the baseline."""
    spoil(old, new, tmp_path, monkeypatch)
    protos.build_image(tmp_path / "image.binpb")

    with pytest.raises(protos.ProtosError, match=rf"(?is)decision\.proto:\d+:\d+:.*{complaint}"):
        protos.buf("breaking", tmp_path / "image.binpb", "--against", protos.BASELINE)


def spoil(old: str, new: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Puts `new` for `old` in a copy of decision.proto and points the tool at the copy."""
    copy = folder / "protos"
    shutil.copytree(protos.PROTOS, copy)
    path = copy / "riskengine" / "v1" / "decision.proto"
    text = path.read_text()
    assert 1 == text.count(old)
    path.write_text(text.replace(old, new))
    monkeypatch.setattr(protos, "PROTOS", copy)
