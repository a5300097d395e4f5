"""`decisions query` and `decisions find`: what was decided, by SQL and by whom it was about."""

import csv
import json
import subprocess
import sys
from datetime import UTC, date, datetime
from decimal import Decimal
from io import StringIO
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from riskengine.cli.stored import cell, plain
from riskengine.enums import Verdict
from riskengine.store.columns import KIND_NAMES
from riskengine.wire.pseudonyms import Pseudonyms, TagKey, request_keys
from tests.cli.running import Run
from tests.store.builders import filled, stream

CARD, EMAIL, REQUEST = "card-token-4f0c2a", "Payer@Mail.example", "request-17"
DECLINED = int(np.flatnonzero((stream(60)[1]["verdict"] == Verdict.DECLINE) & (stream(60)[1]["reason_count"] > 0))[0])
"""Place of a row that was declined with reasons."""


@pytest.fixture
def folder(rules_only: Path) -> Path:
    """A folder with 60 stored rows over three days, of which every fifth from the second on is of one card."""
    events, decisions = stream(60, days=3)
    key = TagKey.load(rules_only / "tag.key")
    pseudonyms = Pseudonyms(key)
    events["card_tag"][1::5] = pseudonyms.tag("card", CARD)
    events["email_tag"][1] = pseudonyms.tag("email", EMAIL)
    events["request_key"][DECLINED], events["request_check"][DECLINED] = request_keys(key, REQUEST)
    (rules_only / "data").mkdir()
    filled(rules_only / "data", (events, decisions), flush_rows=20)
    return rules_only


def test_query_answers_as_lines_csv_and_json(command: Run, folder: Path) -> None:
    """Goal: for people, spreadsheets and programs. Method: one query, three ways."""
    sql = "SELECT kind, count(*) AS rows, max(card_tag) AS card, list(verdict) AS verdicts FROM commands GROUP BY ALL"

    plain = command("decisions", "query", sql, "--config", folder)
    as_csv = command("decisions", "query", sql, "--config", folder, "--csv")
    as_json = command("decisions", "query", sql, "--data-dir", folder / "data", "--json")

    rows = [json.loads(line) for line in as_json.out.splitlines()]
    kinds = stream(60)[0]["kind"]
    counts = {name: int((kinds == kind).sum()) for kind, name in KIND_NAMES.items() if (kinds == kind).any()}
    assert counts == {row["kind"]: row["rows"] for row in rows}
    assert all(isinstance(row["card"], str) and isinstance(row["verdicts"], list) for row in rows)
    assert ["kind", "rows", "card", "verdicts"] == plain.out.splitlines()[0].split("\t")
    found = list(csv.DictReader(StringIO(as_csv.out)))
    assert [row["card"] for row in rows] == [row["card"] for row in found]
    assert all(isinstance(json.loads(row["verdicts"]), list) for row in found)


def test_query_shows_some_rows_and_says_how_to_see_more(command: Run, folder: Path) -> None:
    """Goal: a large answer does not flood the screen. Method: 60 rows, 50 by default; --csv has all."""
    ran = command("decisions", "query", "SELECT sequence FROM commands ORDER BY 1", "--config", folder)
    everything = command("decisions", "query", "FROM commands", "--config", folder, "--csv")

    assert ["sequence", *map(str, range(1, 51))] == ran.out.splitlines()
    assert "--limit" in ran.err
    assert 61 == len(everything.out.splitlines())


@pytest.mark.parametrize(
    ("sql", "told"),
    [
        ("SELECT cardtag FROM decisions", 'did you mean "card_tag"?'),
        ("SELECT * FROM journal", "the tables are decisions, records, outcomes, commands"),
        ("DROP VIEW decisions", "one SELECT"),
        ("SELECT * FROM read_text('server.yaml')", "no other file"),
    ],
)
def test_query_that_cannot_be_answered_is_a_usage_error(command: Run, folder: Path, sql: str, told: str) -> None:
    """Goal: the right name is in the message. Method: mistakes; exit code 2, no traceback."""
    ran = command("decisions", "query", sql, "--config", folder)

    assert (2, "") == (ran.code, ran.out)
    assert told in ran.err
    assert "Traceback" not in ran.err


def test_find_shows_the_newest_first_with_reasons(command: Run, folder: Path) -> None:
    """Goal: what happened to this card. Method: its 12 rows, limited to 5; the raw token is nowhere in the files."""
    ran = command("decisions", "find", "--card", CARD, "--config", folder, "--limit", "5")
    everything = command("decisions", "find", "--card", CARD, "--config", folder, "--json")

    rows = [json.loads(line) for line in everything.out.splitlines()]
    assert [57, 52, 47, 42, 37, 32, 27, 22, 17, 12, 7, 2] == [row["sequence"] for row in rows]
    heads = [line for line in ran.out.splitlines() if line.startswith("2026-03")]
    assert sorted(heads, reverse=True) == heads
    assert 5 == len(heads)
    assert "The newest 5 rows" in ran.out
    assert not [path for path in folder.rglob("*.parquet") if CARD.encode() in path.read_bytes()]


def test_find_narrows_by_everything_that_is_given(command: Run, folder: Path) -> None:
    """Goal: fewer rows. Method: two identifiers together, other spellings of an e-mail address, times, a request."""

    def sequences(*arguments: str) -> list[int]:
        ran = command("decisions", "find", *arguments, "--config", folder, "--json")
        assert ran.code == 0, ran.err
        return [json.loads(line)["sequence"] for line in ran.out.splitlines()]

    assert [2] == sequences("--card", CARD, "--email", " payer@mail.EXAMPLE")
    assert [37, 32, 27, 22] == sequences("--card", CARD, "--since", "2026-03-02", "--until", "2026-03-02T23:00+00:00")
    assert [DECLINED + 1] == sequences("--request", REQUEST)
    assert [] == sequences("--device", "unknown")


def test_find_shows_a_request_in_full(command: Run, folder: Path) -> None:
    """Goal: one decision on one screen. Method: by request_id, then by the name that was printed."""
    ran = command("decisions", "find", "--request", REQUEST, "--config", folder)
    name = ran.out.split()[-1]
    again = command("decisions", "find", "--request", name, "--config", folder)

    assert ran.code == 0, ran.err
    assert name.startswith("decisions/")
    assert again.out == ran.out
    head, *lines = ran.out.splitlines()
    assert "DECLINE" in head
    assert "probability of fraud" in head
    assert 2 == sum(line.split()[0] == "because" for line in lines)
    assert "REASON_" in lines[0]
    assert "card.feature_" in lines[0]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "name somebody"),
        (("--card", "x", "--since", "yesterday"), "--since takes a day or a time"),
        (("--phone", "none"), "--phone does not read as one"),
    ],
)
def test_find_says_what_it_needs(command: Run, folder: Path, arguments: tuple[str, ...], told: str) -> None:
    """Goal: exit code 2 and the way out. Method: three ways to call it wrongly."""
    ran = command("decisions", "find", *arguments, "--config", folder)

    assert ran.code == 2
    assert told in ran.err


def test_nothing_stored_says_where_decisions_come_from(command: Run, rules_only: Path) -> None:
    """Goal: a newcomer is not stuck. Method: a folder that never served."""
    for arguments in (("query", "SELECT 1"), ("find", "--card", "x")):
        ran = command("decisions", *arguments, "--config", rules_only)

        assert ran.code == 2
        assert "riskengine serve" in ran.err


def test_damage_is_told_with_the_way_out(command: Run, folder: Path) -> None:
    """Goal: no answer that lacks rows. Method: a missing file in the middle."""
    sorted(folder.rglob("*.parquet"))[1].unlink()

    ran = command("decisions", "query", "SELECT 1 FROM decisions", "--config", folder)

    assert ran.code == 1
    assert "decisions 21 to 40 are missing" in ran.err
    assert "from a copy" in ran.err


@pytest.mark.parametrize(
    ("value", "exact", "read"),
    [
        (None, None, ""),
        (True, True, "yes"),
        (2**64 - 1, 2**64 - 1, "18446744073709551615"),
        (0.1234567891, 0.1234567891, "0.123457"),
        (float("nan"), None, "nan"),
        (Decimal(45), 45, "45"),
        (Decimal("1.50"), 1.5, "1.5"),
        (datetime(2026, 3, 1, 1, 2, 3, 4, UTC), "2026-03-01T01:02:03.000004Z", "2026-03-01 01:02:03"),
        (date(2026, 3, 1), "2026-03-01", "2026-03-01"),
        (["a", None], ["a", None], "a, "),
        (["a", "b", "c"], ["a", "b", "c"], "a, b, c"),  # As long as an interval has parts.
        ([1, 2, 3], [1, 2, 3], "1, 2, 3"),
        ({"a": 1.5, "b": None}, {"a": 1.5, "b": None}, "a=1.5"),
        (pa.MonthDayNano((1, 2, 3_723_000_000_000)), "1 month 2 days 01:02:03", "1 month 2 days 01:02:03"),
        (pa.MonthDayNano((0, 0, -1_500_000_000)), "-00:00:01.500000", "-00:00:01.500000"),
        (b"\x01\xff", "01ff", "01ff"),
    ],
)
def test_values_are_written_for_programs_and_for_people(value: object, exact: object, read: str) -> None:
    """Goal: no digit is lost where a program reads on. Method: a value of each type that SQL can return."""
    assert exact == plain(value)
    assert read == cell(value)


def test_reader_that_has_enough_ends_the_query_in_silence(folder: Path) -> None:
    """Goal: `| head` is no fault. Method: a long answer into a pipe whose end is closed after a line."""
    sql = "SELECT a.* FROM commands a, range(200)"
    line = f"{sys.executable} -m riskengine.cli.main decisions query '{sql}' --config {folder} --csv | head -n 1"

    done = subprocess.run(["bash", "-o", "pipefail", "-c", line], capture_output=True, text=True, check=False)

    assert (0, "", 1) == (done.returncode, done.stderr, len(done.stdout.splitlines()))
