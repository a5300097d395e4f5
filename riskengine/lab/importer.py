"""`history import`: any Parquet or CSV file to a history, by a mapping of YAML.

The source is read in chunks; a row that cannot become an event goes, with the reason and its original values, to a
file beside the target. What was mapped, what was not, and what of the source was left unused is in the report.

INVARIANTS: rows_read = rows_written + rows_rejected; the target is ordered by event_time, its ids are unique, and it
appears whole or not at all.

Called by `cli`.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from riskengine.errors import HistoryError
from riskengine.types import Ints

from .convert import convert, to_minor_units
from .findings import Findings, judged
from .history import HISTORY_SCHEMA, TIME_TYPE, check_suffix, field_of, first_line, write_history
from .mapping import ColumnMapping, check_mapping, read_mapping, source_options
from .source import SourceReader, open_source

Progress = Callable[[int, int | None], None]
"""Is told the rows read so far, and how many there are where that is known."""
REASON_COLUMNS: Final = ("rejected_row", "rejected_reason")


@dataclass(frozen=True, slots=True)
class ColumnReport:
    """What became of one column of the history.

    Attributes:
        name: Of the history.
        status: ``mapped``, ``constant`` or ``not mapped``.
        source: Where it came from, in words; empty when not mapped.
    """

    name: str
    status: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportReport:
    """What an import did."""

    source: Path
    target: Path
    rows_read: int
    rows_written: int
    rows_rejected: int
    reasons: dict[str, int]
    """Rejected rows by reason, the most frequent first."""
    left_out: dict[str, int]
    """Values that could not stand and that the mapping lets be missing, by what is wrong, the most frequent first."""
    rejected_path: Path | None
    """Where the rejected rows are, None when there are none."""
    columns: tuple[ColumnReport, ...]
    unused_columns: tuple[str, ...]
    """Source columns that nothing reads and the mapping does not ignore."""
    reordered: bool
    """Whether the source was not in order of time."""


def mapping_path(name: str) -> Path:
    """Returns the mapping file of that name: a path, or one that comes with the package (``handbook``).

    Raises:
        HistoryError: There is neither.
    """
    if Path(name).is_file():
        return Path(name)
    shipped = {
        Path(str(item)).stem: Path(str(item))
        for item in resources.files("riskengine.lab").joinpath("mappings").iterdir()
    }
    if name in shipped:
        return shipped[name]
    raise HistoryError(f"{name}: no such mapping file; shipped with the package: {', '.join(sorted(shipped))}")


def import_history(
    source: str | os.PathLike[str],
    mapping: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    rows_max: int | None = None,
    progress: Progress | None = None,
) -> ImportReport:
    """Imports a history.

    Args:
        source: A Parquet or CSV file.
        mapping: The YAML file that maps it.
        target: The history to write, ``.parquet`` or ``.csv``; replaced if it exists.
        rows_max: Stop after about so many rows (whole chunks are cut to it).
        progress: Called after each chunk.

    Returns:
        The report.

    Raises:
        ConfigError: Everything that is wrong with the mapping.
        HistoryError: The source or the target cannot be used, or no row could be read.
    """
    document = read_mapping(Path(mapping))
    reader = open_source(Path(source), source_options(document))
    rules = check_mapping(document, reader.schema)
    run = _Import(reader, rules, Path(target))
    with run.files:
        for numbers, batch in _limited(reader.batches(), rows_max):
            run.take(numbers, batch)
            if progress:
                progress(run.rows_read, reader.row_count)
        run.take_malformed(rows_max)
    return run.finish()


def _limited(
    batches: Iterator[tuple[Ints, pa.RecordBatch]], rows_max: int | None
) -> Iterator[tuple[Ints, pa.RecordBatch]]:
    """Cuts a stream of batches after a number of rows."""
    left = rows_max
    for numbers, batch in batches:
        if left is None:
            yield numbers, batch
            continue
        yield numbers[:left], batch.slice(0, left)
        left -= min(left, batch.num_rows)
        if not left:
            return


@dataclass(slots=True)
class _Import:
    """An import on its way."""

    reader: SourceReader
    mapping: ColumnMapping
    target: Path
    rows_read: int = 0
    rows_written: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)
    ordered: bool = True
    files: ExitStack = field(default_factory=ExitStack)
    _last_us: int = -(2**63)
    _ids: set[str] = field(default_factory=set)
    _writers: dict[Path, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_suffix(self.target)
        if self.target.exists() and self.target.samefile(self.reader.path):
            raise HistoryError(f"{self.target}: is the source itself; name another target")
        for path in (self.partial, self.rejected):
            path.unlink(missing_ok=True)
        self.files.callback(self._close)

    @property
    def partial(self) -> Path:
        """The rows written so far, always Parquet."""
        return self.target.with_name(self.target.name + ".importing")

    @property
    def rejected(self) -> Path:
        """Where rejected rows go, in the source's own format."""
        return self.target.with_name(f"{self.target.stem}.rejected.{self.reader.format}")

    @property
    def schema(self) -> pa.Schema:
        """HISTORY_SCHEMA and the caller's own columns of the mapping."""
        extras = [field_of(name) for name in self.mapping.rules if name not in HISTORY_SCHEMA.names]
        return pa.schema([*HISTORY_SCHEMA, *extras], metadata=HISTORY_SCHEMA.metadata)

    def take(self, numbers: Ints, batch: pa.RecordBatch) -> None:
        """Converts a chunk; writes its good rows, sets the others aside."""
        findings = Findings(name for name, rule in self.mapping.rules.items() if rule.unreadable)
        made = judged(self._convert(numbers, batch, findings), findings, self.mapping.pan_exempt_fields)
        reasons = findings.reasons
        ids = made.column("transaction_id").to_pylist()
        for row, text in enumerate(ids):
            if row not in reasons:
                if text in self._ids:
                    reasons[row] = "transaction_id occurs a second time"
                self._ids.add(text)
        good = np.ones(batch.num_rows, np.bool_)
        good[list(reasons)] = False
        self._write(made.filter(pa.array(good)))
        self.left_out.update(findings.left_out())
        self._set_aside(numbers, batch, reasons)
        self.rows_read += batch.num_rows

    def take_malformed(self, rows_max: int | None) -> None:
        """Sets aside the lines that are no rows."""
        lines = [item for item in self.reader.malformed if rows_max is None or item.row <= rows_max]
        width = len(self.reader.schema)
        for item in lines:
            reason = f"has {item.found} columns where the header has {width}"
            values = [item.text.encode(errors="replace"), *[None] * (width - 1)]
            row = pa.RecordBatch.from_arrays([pa.array([v], pa.binary()) for v in values], schema=self.reader.schema)
            self._set_aside(np.array([item.row]), row, {0: reason})
        self.rows_read += len(lines)

    def finish(self) -> ImportReport:
        """Orders and publishes the target; returns the report."""
        if not self.rows_written:
            self.partial.unlink(missing_ok=True)
            first = next(iter(self.reasons), "the source has no rows")
            raise HistoryError(
                f"{self.reader.path}: no row could be read ({first}); nothing was written to {self.target}"
            )
        if self.ordered and self.target.suffix == ".parquet":
            self.partial.replace(self.target)
        else:
            table = pyarrow.parquet.read_table(self.partial)
            write_history(table if self.ordered else table.sort_by("event_time"), self.target)
            self.partial.unlink()
        used = {source for rule in self.mapping.rules.values() for source in rule.sources}
        ignored = self.mapping.ignored
        return ImportReport(
            source=self.reader.path,
            target=self.target,
            rows_read=self.rows_read,
            rows_written=self.rows_written,
            rows_rejected=sum(self.reasons.values()),
            reasons=dict(self.reasons.most_common()),
            left_out=dict(self.left_out.most_common()),
            rejected_path=self.rejected if self.reasons else None,
            columns=tuple(self._column_report(name) for name in self.schema.names),
            unused_columns=tuple(n for n in self.reader.schema.names if n not in used and n not in ignored),
            reordered=not self.ordered,
        )

    def _column_report(self, name: str) -> ColumnReport:
        rule = self.mapping.rules.get(name)
        if rule is None:
            if name == "fraud_label_time" and self.mapping.label_delay_us is not None:
                return ColumnReport(name, "mapped", "event_time and label_delay")
            return ColumnReport(name, "not mapped", "")
        if rule.constant is not None:
            return ColumnReport(name, "constant", str(rule.constant))
        return ColumnReport(name, "mapped", rule.told or "the row's number")

    def _convert(self, numbers: Ints, batch: pa.RecordBatch, findings: Findings) -> pa.RecordBatch:
        """Applies the rules to a chunk."""
        arrays = {}
        for name, rule in self.mapping.rules.items():
            done = convert(rule, field_of(name), [batch.column(source) for source in rule.sources], numbers)
            arrays[name] = done.values
            for fault, where in done.faults:
                for row in np.flatnonzero(where).tolist():
                    findings.add(row, name, f"{name}: {rule.told} {fault}")
        if self.mapping.minor_units:
            arrays["amount_minor"] = to_minor_units(arrays["amount_minor"], arrays["currency_code"])
        if self.mapping.label_delay_us is not None:
            known = arrays["event_time"].cast(pa.int64())
            late = pc.add(known, self.mapping.label_delay_us).cast(TIME_TYPE)
            arrays["fraud_label_time"] = pc.if_else(arrays["fraud"].is_valid(), late, pa.scalar(None, TIME_TYPE))
        columns = [arrays.get(item.name, pa.nulls(len(numbers), item.type)) for item in self.schema]
        return pa.RecordBatch.from_arrays(columns, schema=self.schema)

    def _write(self, rows: pa.RecordBatch) -> None:
        """Writes good rows and watches their order."""
        if not rows.num_rows:
            return
        times = np.asarray(rows.column("event_time").cast(pa.int64()))
        self.ordered &= bool(times[0] >= self._last_us and (times[1:] >= times[:-1]).all())
        self._last_us = int(times[-1])
        self._writer(self.partial, rows.schema).write_batch(rows)
        self.rows_written += rows.num_rows

    def _set_aside(self, numbers: Ints, batch: pa.RecordBatch, reasons: dict[int, str]) -> None:
        """Writes rows with their reasons to the file of rejected ones."""
        if not reasons:
            return
        rows = np.array(sorted(reasons))
        told = [reasons[row] for row in rows.tolist()]
        self.reasons.update(told)
        original = batch.take(pa.array(rows))
        columns = [_printable(column) for column in original.columns]
        arrays = [pa.array(numbers[rows]), pa.array(told), *columns]
        out = pa.RecordBatch.from_arrays(arrays, names=[*REASON_COLUMNS, *original.schema.names])
        self._writer(self.rejected, out.schema).write_batch(out)

    def _writer(self, path: Path, schema: pa.Schema) -> Any:
        """Returns the open writer of a file."""
        writer = self._writers.get(path)
        if writer is None:
            try:
                if path == self.rejected:
                    path.touch(mode=0o600)  # Rows as they came, identifiers included.
                if path.suffix == ".csv":
                    writer = pyarrow.csv.CSVWriter(path, schema)
                else:
                    writer = pyarrow.parquet.ParquetWriter(path, schema, compression="zstd", compression_level=1)
            except OSError as error:
                raise HistoryError(
                    f"{path}: cannot be written: {first_line(error)}; name a target in a folder that is there and has room"
                ) from error
            self._writers[path] = writer
        return writer

    def _close(self) -> None:
        for writer in self._writers.values():
            writer.close()


def _printable(column: pa.Array) -> pa.Array:
    r"""Turns bytes of a CSV source into text again, with what is not UTF-8 as ``\xff``; leaves other columns alone."""
    if not pa.types.is_binary(column.type):
        return column
    texts = [None if raw is None else raw.decode(errors="backslashreplace") for raw in column.to_pylist()]
    return pa.array(texts, pa.string())
