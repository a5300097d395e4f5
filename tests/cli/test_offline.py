"""Commands that need no server: train, history import, policy test, features list, journal."""

import csv
import re
from pathlib import Path

import pyarrow.parquet
import pytest

from riskengine.cli.train import NAME
from riskengine.model import bundle
from tests.cli.running import Run

MAPPING = """
columns:
  transaction_id: {from: id, prefix: "tx_"}
  type: {constant: CARD_PAYMENT}
  event_time: {from: when}
  amount_minor: {from: amount, multiply: 100}
  currency_code: {constant: EUR}
  card_id: {from: card}
"""


def test_train_writes_a_model_and_activates_it(command: Run, rules_only: Path, history: Path) -> None:
    """Goal: from a history to a model that serves. Method: a small history, few trees; the folder still loads."""
    ran = command("train", history, "--config", rules_only, "--name", "small", "--rounds", "10", "--activate")

    assert ran.code == 0, ran.err
    assert "average precision" in ran.out
    assert (rules_only / "models" / "active").read_text() == "small\n"
    assert command("policy", "check", rules_only).code == 0


@pytest.mark.parametrize("name", ["Mine_X", "", "-a", "a" * 64, "a/b", "mine\n"])
def test_train_refuses_a_name_before_it_trains(command: Run, rules_only: Path, history: Path, name: str) -> None:
    """Goal: no minutes are lost to a name. Method: names that no bundle may have, in one place as in the other."""
    ran = command("train", history, "--config", rules_only, f"--name={name}")

    assert (2, True) == (ran.code, "--name" in ran.err)
    assert re.fullmatch(NAME, name) is None
    assert bundle._NAME.pattern == NAME


def test_train_refuses_a_name_that_is_taken(command: Run, starter: Path, history: Path) -> None:
    """Goal: no model is lost. Method: train again under the starter's name."""
    ran = command("train", history, "--config", starter, "--name", "starter")

    assert ran.code == 2
    assert "--replace" in ran.err


def test_import_sets_unreadable_rows_aside(command: Run, tmp_path: Path) -> None:
    """Goal: no row is dropped in silence. Method: a CSV with three bad rows of five."""
    source = tmp_path / "payments.csv"
    rows = [
        ("1", "2026-01-05 10:00:00", "12.50", "tok_a"),
        ("2", "yesterday", "3.00", "tok_a"),
        ("3", "2026-01-05 11:00:00", "-4.00", "tok_b"),
        ("4", "2026-01-05 12:00:00", "7.25", "tok_b"),
        ("4", "2026-01-05 12:30:00", "7.25", "tok_b"),
    ]
    with source.open("w", newline="") as file:
        csv.writer(file).writerows([("id", "when", "amount", "card"), *rows])
    (tmp_path / "m.yaml").write_text(MAPPING)

    ran = command("history", "import", source, "--mapping", tmp_path / "m.yaml", "--out", tmp_path / "h.parquet")

    assert ran.code == 0, ran.err
    assert "5 rows read, 2 written" in ran.out
    assert "3 rows could not be an event" in ran.out
    assert len((tmp_path / "h.rejected.csv").read_text().splitlines()) == 4


def test_import_tells_every_mistake_of_a_mapping(command: Run, tmp_path: Path) -> None:
    """Goal: configuration errors look alike everywhere. Method: a mapping with an unknown column; exit code 2."""
    (tmp_path / "p.csv").write_text("id,when\n1,2026-01-05\n")
    (tmp_path / "m.yaml").write_text(MAPPING.replace("card_id", "cart_id"))

    ran = command(
        "history", "import", tmp_path / "p.csv", "--mapping", tmp_path / "m.yaml", "--out", tmp_path / "h.parquet"
    )

    assert ran.code == 2
    assert "m.yaml:" in ran.err
    assert "cart_id" in ran.err


def test_shipped_cases_hold_and_a_broken_one_is_told(command: Run, rules_only: Path) -> None:
    """Goal: `policy test` proves and catches. Method: as shipped; then expect the contrary of one case."""
    good = command("policy", "test", rules_only)
    cases = rules_only / "policy_cases" / "cards.yaml"
    cases.write_text(
        cases.read_text().replace(
            "expect: {verdict: approve, rules: [], shadow: []", "expect: {verdict: decline, rules: []", 1
        )
    )
    bad = command("policy", "test", rules_only)

    assert good.code == 0, good.err
    assert bad.code == 1
    assert "expected verdict decline, but it is approve" in bad.out


def test_features_are_listed_by_name(command: Run, rules_only: Path) -> None:
    """Goal: an analyst finds names. Method: a part of one."""
    ran = command("features", "list", rules_only, "--match", "card.amount_mean")

    assert ran.code == 0, ran.err
    assert "card.amount_mean_30d" in ran.out
    assert "card.payment" not in ran.out
    assert {2} == {line.count("\t") for line in ran.out.splitlines()}, (
        "a program reads name, unit and meaning, nothing else"
    )
    assert " of " in ran.err


def test_journal_commands_say_where_a_journal_comes_from(command: Run, rules_only: Path) -> None:
    """Goal: a newcomer is not stuck. Method: a folder that never served."""
    for what in ("verify", "replay"):
        ran = command("journal", what, rules_only)

        assert ran.code == 2
        assert "riskengine serve" in ran.err


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_simulate_writes_a_history_once(command: Run, tmp_path: Path, suffix: str) -> None:
    """Goal: nothing is overwritten unasked. Method: twice the same file."""
    target = tmp_path / f"h{suffix}"

    first = command("simulate", target, "--people", "60", "--days", "3")
    second = command("simulate", target, "--people", "60", "--days", "3")

    assert first.code == 0, first.err
    assert "card payment" in first.out
    assert second.code == 2
    assert "--force" in second.err


def test_compute_writes_the_features_of_a_history(
    command: Run, rules_only: Path, history: Path, tmp_path: Path
) -> None:
    """Goal: one command from a history to a table to learn from. Method: two processes, a column kept; then refusals."""
    target = tmp_path / "f.parquet"
    way = ("features", "compute", "--history", history, "--out", target, "--config", rules_only)

    ran = command(*way, "--processes", "2", "--keep", "card_id")
    table = pyarrow.parquet.read_table(target)
    again, forced = command(*way), command(*way, "--force", "--processes", "1")

    assert ran.code == 0, ran.err
    assert f"{len(table):,} rows" in ran.out
    assert {"transaction_id", "fraud", "card_id", "approximate", "card.amount_sum_24h"} <= set(table.column_names)
    assert (2, True) == (again.code, "--force" in again.err)
    assert 0 == forced.code, forced.err
    assert pyarrow.parquet.read_table(target).equals(table.drop_columns("card_id"))


def test_compute_refuses_before_it_computes(command: Run, rules_only: Path, history: Path, tmp_path: Path) -> None:
    """Goal: a slip costs nothing and is explained. Method: each slip; nothing is written."""
    (tmp_path / "h.csv").write_text("transaction_id,type,event_time,shoe_size\n")
    there = str(tmp_path / "f.parquet")
    slips = [
        (("--history", tmp_path / "none.parquet", "--out", there), 1, "no such file"),
        (("--history", tmp_path / "h.csv", "--out", there), 1, 'unknown column "shoe_size"'),
        (("--history", history, "--out", there, "--keep", "card_ib"), 1, 'did you mean "card_id"?'),
        (("--history", history, "--out", tmp_path / "f.csv"), 2, "ends in .parquet"),
        (("--history", history, "--out", tmp_path / "no" / "f.parquet"), 2, "no such folder"),
        (("--history", history, "--out", history, "--force"), 2, "is the history itself"),
    ]
    for arguments, code, words in slips:
        ran = command("features", "compute", *arguments, "--config", rules_only)

        assert (code, True) == (ran.code, words in " ".join(ran.err.split())), ran.err
    assert ["h.csv"] == sorted(each.name for each in tmp_path.iterdir() if each.suffix)
