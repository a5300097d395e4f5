"""`decisions query`: SQL over everything that was decided."""

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from riskengine.cli.console import err, out, plural
from riskengine.cli.failures import UsageProblem
from riskengine.cli.stored import ConfigOption, DataOption, readable_pipe, show_table, stored, write_csv, write_json

if TYPE_CHECKING:
    import pyarrow as pa

SQL_BYTES_MAX: Final = 1 << 20
ROWS_AT_ONCE: Final = 1_000
"""Turned into Python's values together; DuckDB hands over 120,000."""


def decisions_query(
    sql: Annotated[str, typer.Argument(metavar="SQL", help='One SELECT; "-" reads it from standard input.')],
    config: ConfigOption = None,
    data_dir: DataOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Every row as a JSON object a line.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Every row as CSV.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="Rows shown at most, without --json and --csv.")] = 50,
) -> None:
    """Asks the stored decisions by SQL (DuckDB's). Changes nothing; the server may be running.

    The tables are decisions, records and outcomes, and commands, which is all of them. DESCRIBE decisions lists columns;
    docs/decisions.md says what they mean and has queries to begin with. Times are UTC.
    """
    if as_json and as_csv:
        raise UsageProblem("--json and --csv exclude each other")
    text = sys.stdin.read(SQL_BYTES_MAX) if sql == "-" else sql
    from riskengine.errors import QueryRefused
    from riskengine.store.query import ask, session

    try:
        with readable_pipe(), stored(config, data_dir) as parts, session(parts) as connection:
            answer = ask(connection, text)
            rows = _rows(answer.batches)
            if as_json:
                write_json(answer.schema, rows)
            elif as_csv:
                write_csv(answer.schema.names, rows)
            else:
                _show(answer.schema.names, rows, limit)
    except QueryRefused as error:
        raise UsageProblem(error.message) from None


def _rows(found: "Iterator[pa.RecordBatch]") -> Iterator[dict[str, Any]]:
    for batch in found:
        for first in range(0, batch.num_rows, ROWS_AT_ONCE):
            yield from batch.slice(first, ROWS_AT_ONCE).to_pylist(maps_as_pydicts="lossy")


def _show(names: list[str], rows: Iterator[dict[str, Any]], limit: int) -> None:
    """Shows rows up to a limit, and says if there are more."""
    shown = [row for _, row in zip(range(limit), rows, strict=False)]
    show_table(names, shown)
    if next(rows, None) is not None:
        err().print(f"The first {plural(len(shown), 'row')} of more; --limit shows others, --csv and --json all.")
    elif out().is_terminal:
        out().print(plural(len(shown), "row"))
