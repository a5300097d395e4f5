"""The journal as a table in clear words: for `journal export` and `journal inspect --rows`.

The table is that of the decision store (`store.columns`), a row for each event with what was decided on it.

INVARIANTS: rows are in the order of the journal, each once; a file gets its name when it is whole. Names come from the
journal's own activations; those of an activation that was trimmed are told as numbers, ``rule_17``.

Used by `journal_rows`.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from riskengine.cli.stored import plain
from riskengine.journal.codec import decode_activation
from riskengine.journal.disk import OsDisk
from riskengine.journal.format import FrameKind
from riskengine.journal.places import Anchor
from riskengine.journal.reader import Activated, JournalReader
from riskengine.journal.scan import Scan
from riskengine.store.block import Block
from riskengine.store.columns import SCHEMA
from riskengine.store.rows import TableBuilder
from riskengine.types import (
    DECISION,
    EVENT,
    LABEL_SLOTS,
    LISTS_MAX,
    NUMBER_SLOTS,
    OBLIGATIONS_MAX,
    RULES_MAX,
    SEGMENTS_MAX,
)

TABLE_ROWS: Final = 16_384
"""Rows turned into a table at once, about 20 MB; also the row groups of a Parquet file."""
_UNKNOWN_MAX: Final = 4096
"""Reasons and features that can be told as numbers."""
_TAGS: Final = frozenset(field.name for field in SCHEMA if pa.types.is_uint64(field.type))
Progress = Callable[[int, int], None]


@dataclass(slots=True)
class Exported:
    """What was exported.

    Attributes:
        row_count: Events.
        first_sequence: Of the first, 0 without any.
        last_sequence: Of the last.
        unknown_revisions: Activations that are not in the journal any more.
    """

    row_count: int = 0
    first_sequence: int = 0
    last_sequence: int = 0
    unknown_revisions: int = 0


class _Target(Protocol):
    """Takes tables."""

    def write(self, table: pa.Table) -> None:
        """Takes the next rows."""
        ...

    def close(self) -> None:
        """Ends the file."""
        ...


def export(
    data_dir: Path, target: Path, *, first: int, last: int | None, on_progress: Progress = lambda done, total: None
) -> Exported:
    """Writes the events from one sequence to another, with what was decided, to a file.

    Args:
        data_dir: The data directory; the engine may be running.
        target: ``.parquet`` or ``.jsonl``; replaced if it is there.
        first: First sequence, at least 1.
        last: Last sequence; None for all.
        on_progress: Called with (bytes read, bytes in all).

    Raises:
        JournalCorrupt: The journal is damaged; no file is left.
        StartRefused: There is no journal.
    """
    partial = target.with_name(f".{target.name}.partial")
    exported = Exported()
    file: _Target = _Parquet(partial) if target.suffix == ".parquet" else _Lines(partial)
    try:
        for table in tables(data_dir, first=first, last=last, exported=exported, on_progress=on_progress):
            file.write(table)
        file.close()
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    return exported


def tables(
    data_dir: Path,
    *,
    first: int,
    last: int | None,
    exported: Exported,
    rows_max: int = TABLE_ROWS,
    on_progress: Progress = lambda done, total: None,
) -> Iterator[pa.Table]:
    """Yields the events from one sequence to another as tables of `SCHEMA`.

    Args:
        data_dir: The data directory.
        first: First sequence.
        last: Last sequence; None for all.
        exported: Counts what is yielded.
        rows_max: Rows of a table at most.
        on_progress: Called with (bytes read, bytes in all).

    Raises:
        JournalCorrupt: The journal is damaged; all that precedes the damage was yielded.
    """
    start = Scan(OsDisk(), data_dir).segment_start(first)
    names = _names_before(data_dir, start)
    builder = TableBuilder()
    reader = JournalReader(data_dir, start=start, live=True)
    for item in reader:
        if isinstance(item, Activated):
            names[item.revision] = json.loads(item.content)["names"]
            continue
        sequences = item.events["sequence"]
        if last is not None and sequences[0] > last:
            break
        chosen = (sequences >= first) & (sequences <= (last if last is not None else sequences[-1]))
        events, decisions = item.events[chosen], item.decisions[chosen]
        for revision in np.unique(decisions["revision"]).tolist():
            if revision not in names:
                names[revision] = unknown_names()
                exported.unknown_revisions += 1
        builder.learn(decisions["revision"], names)
        for row in range(0, len(events), rows_max):
            yield _table(builder, events[row : row + rows_max], decisions[row : row + rows_max], exported)
        on_progress(*reader.progress())


def json_row(row: dict[str, Any]) -> str:
    """Returns a row as one line of JSON; tags are text, as most readers of JSON round such numbers."""
    told = {name: str(value) if name in _TAGS and value is not None else plain(value) for name, value in row.items()}
    return json.dumps(told, ensure_ascii=False, allow_nan=False)


def rows_of(table: pa.Table) -> list[dict[str, Any]]:
    """Returns the rows of a table as dictionaries."""
    found: list[dict[str, Any]] = table.to_pylist(maps_as_pydicts="strict")
    return found


def unknown_names() -> dict[str, Any]:
    """Returns names for an activation that is not in the journal any more: what there may be, by number."""

    def told(what: str, count: int) -> list[str]:
        return [f"{what}_{number}" for number in range(count)]

    return {
        "rules": [{"id": rule} for rule in told("rule", RULES_MAX)],
        "lists": [{"id": name} for name in told("list", LISTS_MAX)],
        "obligation_ids": told("obligation", OBLIGATIONS_MAX),
        "segments": told("segment", SEGMENTS_MAX),
        "reasons": [{"code": code} for code in told("REASON", _UNKNOWN_MAX)],
        "features": told("feature", _UNKNOWN_MAX),
        "inputs": {"numbers": told("number", NUMBER_SLOTS), "labels": told("label", LABEL_SLOTS)},
        "base_currency": None,
        "policy": None,
        "policy_revision": None,
    }


def _names_before(data_dir: Path, start: Anchor) -> dict[int, dict[str, Any]]:
    """Returns the names of the activations that the journal holds before a place."""
    names: dict[int, dict[str, Any]] = {}
    for frame in Scan(OsDisk(), data_dir).frames():
        if frame.end.segment_index >= start.segment_index:
            break
        if frame.kind == FrameKind.ACTIVATION:
            activation = decode_activation(frame.body)
            assert activation is not None, "the journal holds what the engine wrote"
            names[activation[0]] = json.loads(activation[1])["names"]
    return names


def _table(builder: TableBuilder, events: Any, decisions: Any, exported: Exported) -> pa.Table:
    """Returns a table of some rows, at least one, and counts them."""
    blocks = Block(EVENT, len(events)), Block(DECISION, len(events))
    for block, rows in zip(blocks, (events, decisions), strict=True):
        block.add(rows)
    exported.row_count += len(events)
    exported.first_sequence = exported.first_sequence or int(events["sequence"][0])
    exported.last_sequence = int(events["sequence"][-1])
    return builder.table(*blocks)


class _Parquet:
    """A Parquet file."""

    def __init__(self, path: Path) -> None:
        self._writer = pa.parquet.ParquetWriter(path, SCHEMA, compression="zstd")
        self._waiting: list[pa.Table] = []

    def write(self, table: pa.Table) -> None:
        """Takes the next rows."""
        self._waiting.append(table)
        if sum(len(each) for each in self._waiting) >= TABLE_ROWS:
            self._flush()

    def close(self) -> None:
        """Ends the file."""
        self._flush()
        self._writer.close()

    def _flush(self) -> None:
        if self._waiting:
            self._writer.write_table(pa.concat_tables(self._waiting))
            self._waiting.clear()


class _Lines:
    """A file of JSON objects, one a line."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w", encoding="utf-8")

    def write(self, table: pa.Table) -> None:
        """Takes the next rows."""
        self._file.writelines(json_row(row) + "\n" for row in rows_of(table))

    def close(self) -> None:
        """Ends the file."""
        self._file.close()
