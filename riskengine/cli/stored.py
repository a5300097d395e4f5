"""Rows of the decision store on the screen: as a table, one below the other, as CSV, as JSON.

INVARIANTS: CSV and JSON hold every digit; only what people read is shortened. Tags are text in JSON, as 64-bit numbers are in
protobuf's, since most readers of JSON round them.

Used by the commands `decisions query` and `decisions find`.
"""

import csv
import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, time
from decimal import Decimal
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from riskengine.cli.console import out
from riskengine.cli.failures import UsageProblem
from riskengine.cli.workspace import find_directory

if TYPE_CHECKING:
    import pyarrow as pa

    from riskengine.store.reading import OpenPart

Row = Mapping[str, Any]
ConfigOption = Annotated[
    Path | None, typer.Option("--config", metavar="DIR", help="The configuration folder. (default: starter or .)")
]
DataOption = Annotated[
    Path | None, typer.Option("--data-dir", metavar="DIR", help="The data folder, if it is not the one in server.yaml.")
]
COLUMNS_SIDE_BY_SIDE: Final = 12
"""Rows of more columns are shown one below the other."""


@contextmanager
def stored(config: Path | None, data_dir: Path | None) -> Iterator[list["OpenPart"]]:
    """Opens the files of a folder.

    Args:
        config: The configuration folder, None for the usual ones.
        data_dir: The data folder, None for that of the configuration.

    Raises:
        UsageProblem: Nothing is stored there.
    """
    from riskengine.settings import load_settings
    from riskengine.store.reading import open_parts

    folder = data_dir or load_settings(find_directory(config) / "server.yaml").data_dir
    with open_parts(folder) as parts:
        if not parts:
            raise UsageProblem(
                f"no decisions are stored in {folder}; they get there while a server runs: riskengine serve, "
                "then riskengine score"
            )
        yield parts


@contextmanager
def readable_pipe() -> Iterator[None]:
    """Ends the command in silence when whoever reads its output has read enough: ``| head``."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        # What Python still holds back would be written at exit, and fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit from None


def show_table(names: Sequence[str], rows: Sequence[Row]) -> None:
    """Shows rows to people: side by side where they fit, tab-separated where nobody looks."""
    if not out().is_terminal:
        for line in (names, *([cell(row[name]) for name in names] for row in rows)):
            sys.stdout.write("\t".join(" ".join(text.split()) for text in line) + "\n")
    elif len(names) > COLUMNS_SIDE_BY_SIDE:
        _one_below_the_other(names, rows)
    else:
        _side_by_side(names, rows)


def _side_by_side(names: Sequence[str], rows: Sequence[Row]) -> None:
    from rich.table import Table
    from rich.text import Text

    shown = Table(*names, box=None, pad_edge=False)
    for column, name in zip(shown.columns, names, strict=True):
        column.overflow = "fold"
        if any(isinstance(row[name], int | float | Decimal) for row in rows):
            column.justify = "right"
    for row in rows:
        shown.add_row(*(Text(cell(row[name])) for name in names))
    out().print(shown)


def _one_below_the_other(names: Sequence[str], rows: Sequence[Row]) -> None:
    """Shows what is known of each row."""
    from rich.text import Text

    width = max(map(len, names))
    for row in rows:
        for name in names:
            if text := cell(row[name]):
                out().print(Text.assemble((name.ljust(width), "dim"), "  ", text), soft_wrap=True)
        out().print()


def write_json(schema: "pa.Schema", rows: Iterable[Row]) -> None:
    """Writes one JSON object a line."""
    import pyarrow as pa

    tags = {field.name for field in schema if pa.types.is_uint64(field.type)}
    for row in rows:
        values = {
            name: str(value) if name in tags and value is not None else plain(value) for name, value in row.items()
        }
        sys.stdout.write(json.dumps(values, ensure_ascii=False, allow_nan=False) + "\n")


def write_csv(names: Sequence[str], rows: Iterable[Row]) -> None:
    """Writes CSV with a head; lists and the like are JSON within it."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(names)
    for row in rows:
        values = (plain(row[name]) for name in names)
        writer.writerow(
            json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else value for value in values
        )


def plain(value: Any) -> Any:
    """Returns a value as JSON has it, with every digit."""
    match value:
        case dict():
            return {str(key): plain(each) for key, each in value.items()}
        case list():  # Before the interval, whose pattern a list of three meets as well.
            return [plain(each) for each in value]
        case (months, days, nanoseconds):  # An interval of SQL is a tuple.
            return _interval(months, days, nanoseconds)
        case datetime():
            return value.astimezone(UTC).isoformat().replace("+00:00", "Z") if value.tzinfo else value.isoformat()
        case date() | time():
            return value.isoformat()
        case bool() | str() | int() | None:
            return value
        case float():
            return value if isfinite(value) else None
        case Decimal():
            return plain(int(value)) if value == value.to_integral_value() else float(value)
        case bytes():
            return value.hex()
    return str(value)


def _interval(months: int, days: int, nanoseconds: int) -> str:
    """Returns a length of time in words, such as ``1 month 2 days 03:04:05``."""
    units = ((months, "month"), (days, "day"))
    words = [f"{count} {noun}{'' if abs(count) == 1 else 's'}" for count, noun in units if count]
    if nanoseconds or not words:
        seconds, rest = divmod(abs(nanoseconds), 1_000_000_000)
        sign, fraction = "-" if nanoseconds < 0 else "", f".{rest // 1000:06d}" if rest else ""
        words.append(f"{sign}{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}{fraction}")
    return " ".join(words)


def cell(value: Any) -> str:
    """Returns a value as people read it."""
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:.6g}"
        case datetime():
            whole = value.astimezone(UTC) if value.tzinfo else value
            return whole.strftime("%Y-%m-%d %H:%M:%S")
        case tuple():
            return str(plain(value))
        case list():
            return ", ".join(map(cell, value))
        case dict():
            return " ".join(f"{key}={cell(each)}" for key, each in value.items() if each is not None)
    return str(plain(value))
