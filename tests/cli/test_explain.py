"""`decision explain` and the what-if of `journal replay`, on a folder whose engine has decided."""

import json
import re
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest

from riskengine.cli.init import write_folder
from riskengine.cli.simulate import simulate_to
from riskengine.cli.workspace import load_workspace
from riskengine.engine.engine import Engine
from riskengine.enums import Kind
from riskengine.lab.features import in_order
from riskengine.lab.history import open_history
from riskengine.types import Array
from riskengine.wire.reply import decision_name
from tests.cli.running import Run
from tests.lab.journals import bytes_of, journaled

LINE_MAX = 80


@pytest.fixture(scope="module")
def decided(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder without a model whose journal holds a week of few people, frauds reported; not to be changed."""
    folder = tmp_path_factory.mktemp("decided") / "folder"
    write_folder(folder)
    history = folder.parent / "history.parquet"
    simulate_to(history, people=60, days=14, seed=5)
    workspace = load_workspace(folder, with_model=False)
    settings = workspace.settings
    engine = Engine.open(settings.data_dir, workspace.configuration, limits=workspace.configuration.limits)
    for events, _, _, _ in in_order(open_history(history).batches(), workspace.packer()):
        for first in range(0, len(events), 500):
            engine.commit(events[first : first + 500].copy())
    engine.close()
    return folder


def decisions_of(folder: Path) -> Array:
    """Returns the decisions of a folder's journal."""
    decisions = journaled(folder / "data").decisions
    scored: Array = decisions[decisions["verdict"] != 0]
    return scored


def name_of(row: Array) -> str:
    """Returns a decision's name."""
    return decision_name(request_key=int(row["request_key"]), request_check=int(row["request_check"]))


def stricter(folder: Path, target: Path) -> Path:
    """Writes a policy that reviews every large payment, with a reason of its own beside it."""
    target.mkdir()
    policy, reasons = (folder / name for name in ("policy.yaml", "reason_codes.yaml"))
    rule = """rules:
  - id: look_at_large_ones
    when: txn.monetary && txn.amount >= 20000
    then: {verdict: review}
    reason: LARGE
"""
    (target / "policy.yaml").write_text(policy.read_text().replace("rules:\n", rule, 1))
    (target / "reason_codes.yaml").write_text(
        reasons.read_text().replace("reasons:\n", "reasons:\n  LARGE:\n    text: This is a large payment.\n", 1)
    )
    return target / "policy.yaml"


def test_decision_is_explained_at_80_columns(command: Run, decided: Path) -> None:
    """Goal: an analyst sees why. Method: a decision that is not an approval, by name; nothing is written."""
    before = bytes_of(decided)
    row = next(row for row in decisions_of(decided) if row["verdict"] > 1)

    ran = command("decision", "explain", name_of(row), decided)

    assert ran.code == 0, ran.err
    assert "every bit the same" in ran.out
    for head in ("The event, sequence", "Thresholds", "Rules", "What was measured"):
        assert head in ran.out
    told = ran.out[ran.out.index("Thresholds") :].splitlines()
    assert [] == [line for line in told if len(line) > LINE_MAX]
    assert before == bytes_of(decided)


def test_all_ways_of_naming_lead_to_one_decision(command: Run, decided: Path) -> None:
    """Goal: whatever somebody has in hand. Method: name, digits, sequence, and the request_id that the history gave it."""
    row = decisions_of(decided)[7]
    name, sequence = name_of(row), int(row["sequence"])
    history = pyarrow.parquet.read_table(decided.parent / "history.parquet")
    events = journaled(decided / "data").events
    scored = events[events["kind"] == Kind.SCORE]
    at = int(np.flatnonzero(scored["sequence"] == sequence)[0])
    request_id = history.column("transaction_id")[at].as_py()

    ways = [
        command("decision", "explain", *arguments, "--json")
        for arguments in (
            (name, decided),
            (name.removeprefix("decisions/").upper(), decided),
            ("--sequence", str(sequence), decided),
            ("--request-id", request_id, decided),
        )
    ]

    assert [0] * 4 == [ran.code for ran in ways], [ran.err for ran in ways]
    assert 1 == len({ran.out for ran in ways})
    told = json.loads(ways[0].out)
    assert (name, sequence, True) == (told["name"], told["sequence"], told["reproduced"])
    assert told["decision"] == told["answer"]["decision"]
    assert {"name", "value", "unit", "description", "contribution"} == told["answer"]["features"][0].keys()


def test_other_policy_stands_beside_what_was_decided(command: Run, decided: Path, tmp_path: Path) -> None:
    """Goal: what would X have said. Method: a policy with one more rule, on a decision that it changes."""
    policy = stricter(decided, tmp_path / "other")
    commits = journaled(decided / "data")
    large = (commits.events["amount_base_minor"] >= 20_000) & (commits.events["transaction_type"] == 1)
    row = commits.decisions[large & (commits.decisions["verdict"] == 1)][0]

    ran = command("decision", "explain", name_of(row), decided, "--policy", policy)
    as_json = command("decision", "explain", name_of(row), decided, "--policy", policy, "--json")

    assert ran.code == 0, ran.err
    assert re.search(r"\* verdict +APPROVE +REVIEW", ran.out)
    assert "look_at_large_ones" in ran.out
    instead = json.loads(as_json.out)["instead"]
    assert "VERDICT_REVIEW" == instead["decision"]["verdict"]
    assert "LARGE" in [reason["code"] for reason in instead["decision"]["reasons"]]


def test_replay_by_another_policy_tells_what_changes(command: Run, decided: Path, tmp_path: Path) -> None:
    """Goal: a rule is judged before it is live. Method: the same policy, then one more rule; counts, examples and the file."""
    before = bytes_of(decided)
    policy = stricter(decided, tmp_path / "other")
    target = tmp_path / "differences.parquet"

    same = command("journal", "replay", decided, "--policy", decided / "policy.yaml")
    other = command("journal", "replay", decided, "--policy", policy, "--out", target)
    again = command("journal", "replay", decided, "--policy", policy, "--out", target)

    assert same.code == 0, same.err
    assert "0 of" in same.out
    assert other.code == 0, other.err
    rows = pyarrow.parquet.read_table(target).to_pylist()
    assert rows
    assert {"look_at_large_ones"} <= {rule for row in rows for rule in row["new_rules"]}
    assert f"{target}: {len(rows):,} difference" in other.out
    assert "approve becomes review" in other.out
    assert "frauds stopped" in other.out
    assert (2, True) == (again.code, "name another file" in again.err)
    assert before == bytes_of(decided)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("decision", "explain"), "name one decision"),
        (("decision", "explain", "abc"), "32 hex digits"),
        (("decision", "explain", "abc", "--sequence", "3", "--request-id", "x"), "name one decision"),
        (("decision", "explain", "--sequence", "1", "--reason-codes", "r.yaml"), "belongs to a policy"),
        (("decision", "explain", "--sequence", "1", "--model", "nowhere"), "riskengine train"),
        (("journal", "replay", "--out", "d.parquet"), "--policy or --model"),
        (("journal", "replay", "--policy", "policy.yaml", "--out", "d.csv"), ".parquet"),
        (("journal", "replay", "--policy", "policy.yaml", "--out", "data/d.parquet"), "data folder"),
    ],
)
def test_wrong_calls_say_what_would_work(
    command: Run, decided: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], told: str
) -> None:
    """Goal: exit code 2 and the way on. Method: from within the folder, calls that cannot work."""
    monkeypatch.chdir(decided)

    ran = command(*arguments)

    assert ran.code == 2, ran.out
    assert told in ran.err


def test_decision_that_is_not_there_is_no_usage_error(command: Run, decided: Path) -> None:
    """Goal: scripts tell a wrong call from a decision that is gone. Method: a name nobody has; exit code 1."""
    ran = command("decision", "explain", "0" * 32, decided)

    assert ran.code == 1
    assert "no decision of that name" in ran.err


def test_request_id_needs_the_folder_of_the_key(command: Run, decided: Path) -> None:
    """Goal: tags stay the key's secret. Method: the data folder alone."""
    ran = command("decision", "explain", "--request-id", "request-1", decided / "data")

    assert ran.code == 2
    assert "server.yaml" in ran.err


def test_mistakes_of_a_policy_have_their_place(command: Run, decided: Path, tmp_path: Path) -> None:
    """Goal: mistakes look as they do in `policy check`. Method: an unknown feature; file, line and column are told."""
    policy = stricter(decided, tmp_path / "other")
    policy.write_text(policy.read_text().replace("txn.amount >= 20000\n", "txn.amont >= 20000\n", 1))

    ran = command("journal", "replay", decided, "--policy", policy)

    assert ran.code == 2
    assert re.search(r"policy\.yaml:\d+:\d+: .*txn\.amount", ran.err)
