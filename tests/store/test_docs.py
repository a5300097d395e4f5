"""docs/decisions.md says what is so: the table of columns is the code's, and its queries run."""

import re
from pathlib import Path

import pyarrow as pa
import pytest

from riskengine.store.columns import COLUMNS, REASON, VIEWS, Column
from riskengine.store.query import ask, session
from riskengine.store.reading import open_parts
from tests.store.builders import filled, stream

TYPES = {
    pa.string(): "VARCHAR",
    pa.int64(): "BIGINT",
    pa.int32(): "INTEGER",
    pa.uint64(): "UBIGINT",
    pa.float64(): "DOUBLE",
    pa.float32(): "FLOAT",
    pa.bool_(): "BOOLEAN",
    pa.timestamp("us", tz="UTC"): "TIMESTAMPTZ",
    pa.list_(pa.string()): "VARCHAR[]",
    pa.list_(REASON): "STRUCT[]",
    pa.map_(pa.string(), pa.float64()): "MAP",
    pa.map_(pa.string(), pa.string()): "MAP",
}


def line_of(column: Column) -> str:
    """Returns a column's line of the table."""
    views = " ".join(view[0].upper() for view, kind in VIEWS.items() if kind in column.kinds)
    return f"| `{column.name}` | {TYPES[column.type]} | {views} | {column.unit} | {column.meaning} |"


@pytest.fixture(scope="module")
def text(repository: Path) -> str:
    return (repository / "docs" / "decisions.md").read_text(encoding="utf-8")


def test_table_of_columns_is_the_codes(text: str) -> None:
    """Goal: the page does not age. Method: build the table from the code."""
    expected = "\n".join(line_of(column) for column in COLUMNS)
    found = "\n".join(line for line in text.splitlines() if line.startswith("| `"))

    assert expected == found, "docs/decisions.md: put these lines there\n" + expected


def test_queries_of_the_page_run(text: str, tmp_path: Path) -> None:
    """Goal: examples work when they are copied. Method: each on a small store."""
    filled(tmp_path, stream(200, days=2))
    queries = re.findall(r"```sql\n(.*?)```", text, re.DOTALL)

    assert len(queries) >= 3
    with open_parts(tmp_path) as parts, session(parts) as connection:
        for query in queries:
            list(ask(connection, query).batches)
