"""SQL reads the stored decisions, all of them once, and nothing else."""

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import duckdb
import pytest

from riskengine.enums import Kind
from riskengine.errors import QueryRefused, StoreFault
from riskengine.store import query as store_query
from riskengine.store.files import OsFiles
from riskengine.store.folder import store_folder
from riskengine.store.query import ask, session
from riskengine.store.reading import open_parts
from tests.store.builders import filled, part_of, stream

ROWS = stream(60, days=3)


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with 60 rows over three days; not to be changed."""
    folder = tmp_path_factory.mktemp("store")
    (folder / "it's").mkdir()
    filled(folder / "it's", ROWS, flush_rows=13)
    return folder / "it's"


@pytest.fixture
def connection(data_dir: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A session on it."""
    with open_parts(data_dir) as parts, session(parts) as opened:
        yield opened


def rows(connection: duckdb.DuckDBPyConnection, sql: str) -> list[tuple[object, ...]]:
    """Returns the rows of a query."""
    return [tuple(row.values()) for batch in ask(connection, sql).batches for row in batch.to_pylist()]


def test_views_part_the_rows_by_kind(connection: duckdb.DuckDBPyConnection) -> None:
    """Goal: a decision is not mixed up with a report. Method: count each view."""
    counts = [
        rows(connection, f"SELECT count(*) FROM {view}")[0][0]
        for view in ("decisions", "records", "outcomes", "commands")
    ]

    assert [*(int((ROWS[0]["kind"] == kind).sum()) for kind in (Kind.SCORE, Kind.RECORD, Kind.OUTCOME)), 60] == counts


def test_sql_can_do_what_analysts_do(connection: duckdb.DuckDBPyConnection) -> None:
    """Goal: times, lists, structures and maps work without an extension to fetch. Method: one query of each."""
    days = rows(
        connection, "SELECT date_trunc('day', received_time)::date, count(*) FROM commands GROUP BY 1 ORDER BY 1"
    )
    rules = rows(connection, "SELECT count(*) FROM decisions WHERE list_contains(fired_rules, 'rule_4')")
    codes = rows(connection, "SELECT r.code FROM (SELECT unnest(reasons) AS r FROM decisions) ORDER BY 1")

    assert [(date(2026, 3, day), 20) for day in (1, 2, 3)] == days
    assert [(int((ROWS[1]["fired_0"] == 16).sum()),)] == rules
    assert int(ROWS[1]["reason_count"].sum()) == len(codes)
    assert [] == rows(connection, "SELECT labels['shop'] FROM decisions WHERE map_contains(labels, 'shop')")


def test_columns_of_one_name_are_told_apart(connection: duckdb.DuckDBPyConnection) -> None:
    """Goal: no value hides another. Method: a name three times, and the name that a second one would get."""
    answer = ask(connection, "SELECT 1 AS a, 2 AS a, 3 AS a_2, 4 AS a")

    assert [{"a": 1, "a_2": 2, "a_2_2": 3, "a_3": 4}] == [row for batch in answer.batches for row in batch.to_pylist()]


@pytest.mark.parametrize(
    ("sql", "told"),
    [
        ("SELECT * FROM read_text('{file}')", "no other file"),
        ("SELECT * FROM '{file}'", "no table"),
        ("SELECT * FROM read_parquet('{file}')", "no other file"),
        ("SELECT * FROM glob('/*')", "no other file"),
        ("SELECT * FROM 'https://example.com/x.parquet'", "no other file"),
        ("COPY decisions TO '{file}'", "one SELECT"),
        ("COPY decisions TO '{stored}' (FORMAT parquet, USE_TMP_FILE false)", "one SELECT"),
        ("EXPLAIN ANALYZE COPY decisions TO '{stored}'", "one SELECT"),
        ("CREATE TABLE t AS SELECT 1", "one SELECT"),
        ("ATTACH '{file}'", "one SELECT"),
        ("INSTALL httpfs", "one SELECT"),
        ("LOAD httpfs", "one SELECT"),
        ("SET enable_external_access = true", "one SELECT"),
        ("SELECT 1; SELECT 2", "one SELECT"),
        ("", "one SELECT"),
        ("SELECT * FROM here", 'no table "here"; the tables are decisions, records, outcomes, commands'),
        ("SELECT getvariable('x') FROM nowhere", 'no table "nowhere"'),
        ("SELECT cardtag FROM decisions", 'no column "cardtag"; did you mean "card_tag"?\ndecisions has: sequence, '),
        ("SELECT d.verdit FROM decisions d", 'no column "verdit"; did you mean "verdict"?'),
        ("SELECT verdict FROM records", 'no column "verdict"; did you mean "recorded_verdict"?\nrecords has: '),
        ("SELEC 1", 'syntax error at or near "SELEC"'),
        ("SELECT sum(reasons) FROM decisions", "No function matches"),
        ("SELECT 'x'::INT FROM decisions", "Could not convert"),
    ],
)
def test_query_reaches_nothing_else_and_mistakes_are_told(
    connection: duckdb.DuckDBPyConnection, data_dir: Path, tmp_path: Path, sql: str, told: str
) -> None:
    """Goal: asking is safe, and a wrong name is answered by the right ones. Method: ways out, and mistakes."""
    here = [1, 2, 3]
    stored = next(data_dir.rglob("*.parquet"))
    before = {path: path.read_bytes() for path in data_dir.rglob("*.parquet")}

    with pytest.raises(QueryRefused) as caught:
        rows(connection, sql.format(file=tmp_path / "secret", stored=str(stored).replace("'", "''")))

    assert told in caught.value.message
    assert before == {path: path.read_bytes() for path in data_dir.rglob("*.parquet")}
    assert [] == list(tmp_path.iterdir())
    assert here


def test_query_that_needs_too_much_memory_is_told(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Goal: the server keeps its memory. Method: a small bound, a large answer."""
    monkeypatch.setitem(store_query._SETTINGS, "memory_limit", "20MiB")
    sql = "SELECT DISTINCT a.sequence * 1000000 + b.i FROM commands a, range(100000) b(i)"

    with (
        open_parts(data_dir) as parts,
        session(parts) as connection,
        pytest.raises(QueryRefused, match="MiB; ask for fewer"),
    ):
        rows(connection, sql)


def test_answer_is_of_one_moment_whatever_is_done_meanwhile(tmp_path: Path) -> None:
    """Goal: works while the server runs. Method: open, then merge, erase, drop and add; the answer is the old one."""
    store = filled(tmp_path, part_of(ROWS, 0, 50), flush_rows=7)

    with open_parts(tmp_path) as parts, session(parts) as connection:
        store.compact()
        store.erase("card", 3, 999)
        store.drop_before(date(2026, 3, 3))
        store.append(*part_of(ROWS, 50, 60), {1: {}})
        found = rows(connection, "SELECT sequence, card_tag FROM commands ORDER BY 1")

    assert list(zip(ROWS[0]["sequence"][:50].tolist(), ROWS[0]["card_tag"][:50].tolist(), strict=True)) == found


def test_looking_again_when_files_change_under_the_look(tmp_path: Path) -> None:
    """Goal: no row is missed between looking and opening. Method: merge after the names were read, twice."""
    store = filled(tmp_path, ROWS, flush_rows=7)

    class Changing(OsFiles):
        left = 2

        def names(self, folder: Path) -> list[str]:
            found = super().names(folder)
            if folder == store_folder(tmp_path) / "day=2026-03-02" and self.left:
                self.left -= 1
                store.compact()
                store.drop_before(date(2026, 3, 1 + 2 - self.left))
            return found

    with open_parts(tmp_path, files=Changing()) as parts:
        assert [(41, 60)] == [(min(p.part.first for p in parts), max(p.part.last for p in parts))]


def test_missing_file_is_told_after_some_looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Goal: no answer that lacks rows. Method: delete a file in the middle."""
    monkeypatch.setattr("riskengine.store.reading.PAUSE_S", 0.0)
    filled(tmp_path, ROWS)
    sorted(tmp_path.rglob("*.parquet"))[1].unlink()

    with pytest.raises(StoreFault, match="decisions 21 to 40 are missing"), open_parts(tmp_path):
        pass


def test_nothing_stored_is_no_error(tmp_path: Path) -> None:
    """Goal: the caller says what to do. Method: a folder without a store."""
    with open_parts(tmp_path) as parts:
        assert [] == parts
