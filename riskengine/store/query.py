"""SQL over the decision store, by DuckDB: one SELECT at a time, on exactly the files that count, and on nothing else.

The views are `commands` (every row) and one for each kind: `decisions`, `records`, `outcomes`, each with the columns that its
rows can have. A query reads those files alone: no other file, no network, no extension, no Python variable, no setting.

INVARIANTS: nothing is written. A mistake is told with the names that would have been right.

Called by `cli` and `lab`; needs duckdb, of the extra `lab`.
"""

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Final

import duckdb
import pyarrow as pa

from riskengine.errors import QueryRefused

from .columns import ALL_VIEW, KIND_NAMES, VIEWS, view_columns
from .reading import OpenPart

MEMORY_MIB: Final = 1024
"""For one query; the server needs the rest."""
VIEW_NAMES: Final = (*VIEWS, ALL_VIEW)
_SETTINGS: Final[dict[str, str | bool | int | float | list[str]]] = {
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "allow_community_extensions": False,
    "allow_persistent_secrets": False,
    "python_enable_replacements": False,
    "temp_directory": "",
    "memory_limit": f"{MEMORY_MIB}MiB",
}
_COLUMN: Final = re.compile(r'(?:Referenced column|column named|does not have a column named) "([^"]+)"')
_TABLE: Final = re.compile(r"Table with name (\S+) does not exist")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a query found.

    Attributes:
        schema: Its columns; no two have one name.
        batches: Its rows, as they are found; raises `QueryRefused` where a value cannot be computed or memory is short.
    """

    schema: pa.Schema
    batches: Iterator[pa.RecordBatch]


@contextmanager
def session(parts: Sequence[OpenPart]) -> Iterator[duckdb.DuckDBPyConnection]:
    """Opens a database of the views, locked.

    Args:
        parts: The files, at least one; open while the session lasts.
    """
    assert parts, "there is something to ask"
    # Half the cores: the server on the same machine has payments waiting.
    threads = max(1, (os.cpu_count() or 1) // 2)
    connection = duckdb.connect(":memory:", config={**_SETTINGS, "threads": threads})
    try:
        connection.execute("SET TimeZone = 'UTC'; SET enable_progress_bar = false")
        paths = _literals(part.path for part in parts)
        connection.execute(f"CREATE VIEW {ALL_VIEW} AS SELECT * FROM read_parquet({paths}, hive_partitioning = false)")
        for view in VIEWS:
            columns = ", ".join(f'"{name}"' for name in view_columns(view))
            kind = KIND_NAMES[VIEWS[view]]
            connection.execute(f"CREATE VIEW {view} AS SELECT {columns} FROM {ALL_VIEW} WHERE kind = '{kind}'")
        # DuckDB follows a path before it looks whether it is allowed: to the file's name while it has one. Once the name is
        # gone, there is nothing to follow, and the path itself must be allowed.
        connection.execute(f"SET allowed_paths = {_literals(str(Path(part.path).readlink()) for part in parts)}")
        connection.execute(f"SET allowed_directories = {_literals({str(Path(part.path).parent) for part in parts})}")
        connection.execute("SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")
        yield connection
    finally:
        connection.close()


def _literals(texts: Iterable[str]) -> str:
    """Returns a list of texts in SQL."""
    return "[" + ", ".join("'" + text.replace("'", "''") + "'" for text in texts) + "]"


def ask(connection: duckdb.DuckDBPyConnection, sql: str) -> Answer:
    """Answers a query.

    Args:
        connection: Of `session`.
        sql: One SELECT (or FROM, WITH, DESCRIBE, SUMMARIZE, SHOW TABLES).

    Raises:
        QueryRefused: It is no such query, or names what is not there.
    """
    with _told(sql):
        statements = connection.extract_statements(sql)
        if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
            raise QueryRefused("one SELECT is answered at a time, and nothing is changed; " + _views())
        reader = pa.RecordBatchReader.from_stream(connection.sql(sql))
    names = _unique(reader.schema.names)
    schema = pa.schema([field.with_name(name) for field, name in zip(reader.schema, names, strict=True)])
    return Answer(schema, _renamed(reader, names, sql))


def _renamed(reader: pa.RecordBatchReader, names: list[str], sql: str) -> Iterator[pa.RecordBatch]:
    with _told(sql):
        for batch in reader:
            yield batch.rename_columns(names)


def _unique(names: Sequence[str]) -> list[str]:
    """Returns names with a number behind those that a query gave twice."""
    unique: list[str] = []
    for name in names:
        number = 1
        while (name if number == 1 else f"{name}_{number}") in unique:
            number += 1
        unique.append(name if number == 1 else f"{name}_{number}")
    return unique


@contextmanager
def _told(sql: str) -> Iterator[None]:
    """Turns errors of DuckDB into words."""
    try:
        yield
    except duckdb.OutOfMemoryException:
        raise QueryRefused(f"the query needs more than {MEMORY_MIB} MiB; ask for fewer days or columns") from None
    except duckdb.PermissionException:
        raise QueryRefused("a query reads the stored decisions and no other file; " + _views()) from None
    except (duckdb.Error, pa.ArrowException, OSError) as error:
        raise QueryRefused(_explained(str(error), sql)) from None


def _explained(message: str, sql: str) -> str:
    """Returns what is wrong, and what would have been right."""
    if match := _COLUMN.search(message):
        views = [view for view in VIEW_NAMES if re.search(rf"\b{view}\b", sql, re.IGNORECASE)] or [ALL_VIEW]
        known = {view: view_columns(view) for view in views}
        near = get_close_matches(match[1].lower(), [name for names in known.values() for name in names], n=1)
        hint = f'; did you mean "{near[0]}"?' if near else ""
        tables = "\n".join(f"{view} has: {', '.join(names)}" for view, names in known.items())
        return f'no column "{match[1]}"{hint}\n{tables}'
    if match := _TABLE.search(message):
        return f'no table "{match[1]}"; ' + _views()
    lines = [line.rstrip() for line in message.strip().splitlines() if line.strip()]
    return "\n".join(lines[:12])


def _views() -> str:
    return f"the tables are {', '.join(VIEW_NAMES)}"
