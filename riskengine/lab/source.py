"""The file an import reads: Parquet or CSV, in batches, with the number of every row.

INVARIANTS: CSV is read as bytes, so nothing is guessed and no row is lost to a type; lines of the wrong number of
columns are kept aside in `SourceReader.malformed`. Rows are numbered from 1; the header is not a row.

Called by `lab.importer`.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from riskengine.errors import HistoryError
from riskengine.types import Ints

from .history import first_line
from .mapping import SourceOptions

BATCH_ROWS = 65_536
BLOCK_BYTES = 16 << 20
"""Of CSV; a line must be shorter."""
DECODED_BYTES: Final = 64 << 20
"""Of text that Parquet stores once and many rows repeat; decoded together at most, about."""


@dataclass(frozen=True, slots=True)
class Malformed:
    """A line of CSV that has not as many columns as the header.

    Attributes:
        row: 1-based.
        found: Its number of columns.
        text: As it stands in the file.
    """

    row: int
    found: int
    text: str


@dataclass(slots=True)
class SourceReader:
    """A source that was opened.

    Attributes:
        path: The file.
        options: How it reads.
        format: ``parquet`` or ``csv``.
        schema: Its columns; bytes in CSV.
        row_count: Number of rows, None where only reading would tell.
        malformed: Filled while reading.
    """

    path: Path
    options: SourceOptions
    format: str
    schema: pa.Schema
    row_count: int | None
    malformed: list[Malformed] = field(default_factory=list)

    def batches(self) -> Iterator[tuple[Ints, pa.RecordBatch]]:
        """Reads the rows; yields their numbers with them.

        Raises:
            HistoryError: The file is damaged.
        """
        done = 0
        try:
            for batch in self._raw():
                ordinals = np.arange(done, done + batch.num_rows)
                yield self._numbers(ordinals), batch
                done += batch.num_rows
        except (pa.ArrowInvalid, OSError) as error:
            raise HistoryError(
                f"{self.path}: damaged after row {done}: {first_line(error)}; export it again"
            ) from error

    def _raw(self) -> Iterator[pa.RecordBatch]:
        if self.format == "parquet":
            repeated = [name for name, kind in zip(self.schema.names, self.schema.types, strict=True) if _is_text(kind)]
            file = pyarrow.parquet.ParquetFile(self.path, read_dictionary=repeated)
            for batch in file.iter_batches(BATCH_ROWS, use_threads=False):
                yield from _decoded(batch, self.schema)
            return
        with _open_csv(self.path, self.options, self.schema.names, self.malformed) as reader:
            for block in reader:
                for first in range(0, block.num_rows, BATCH_ROWS):
                    yield block.slice(first, BATCH_ROWS)

    def _numbers(self, ordinals: Ints) -> Ints:
        """Turns ordinals of good rows into row numbers: malformed lines count as well."""
        lost = np.sort(np.array([item.row for item in self.malformed], np.int64))
        before = lost - 1 - np.arange(len(lost))
        return ordinals + 1 + np.searchsorted(before, ordinals, side="right")


def open_source(path: Path, options: SourceOptions) -> SourceReader:
    """Opens the source of an import.

    Raises:
        HistoryError: It is not there, of another kind, empty, or has a column twice.
    """
    kind = options.format or path.suffix.removeprefix(".")
    if kind not in ("parquet", "csv"):
        raise HistoryError(
            f"{path}: cannot tell what it is; write `source: {{format: csv}}` (or parquet) in the mapping"
        )
    if not path.is_file():
        raise HistoryError(f"{path}: no such file; name the CSV or Parquet file that holds your payments")
    try:
        if kind == "parquet":
            file = pyarrow.parquet.ParquetFile(path)
            schema, count = pa.schema(map(_plain, file.schema_arrow)), file.metadata.num_rows
        else:
            with _open_csv(path, options, None, []) as reader:
                schema, count = pa.schema([(name, pa.binary()) for name in reader.schema.names]), None
    except (pa.ArrowInvalid, OSError, LookupError) as error:
        raise HistoryError(
            f"{path}: cannot be read as {kind}: {first_line(error)}; "
            "say what it is under `source:` in the mapping (format, delimiter, encoding)"
        ) from error
    twice = sorted(name for name, count_of in Counter(schema.names).items() if count_of > 1)
    if twice:
        raise HistoryError(f'{path}: column "{twice[0]}" occurs twice; give each column a name of its own')
    return SourceReader(path, options, kind, schema, count)


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_binary(kind))


def _plain(item: pa.Field) -> pa.Field:
    """Returns a column's field without the dictionary that it may be encoded by."""
    return item.with_type(item.type.value_type) if pa.types.is_dictionary(item.type) else item


def _decoded(batch: pa.RecordBatch, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Writes out what dictionaries stand for, in as many parts as keep that small: a long text costs a file next to nothing."""
    row_bytes = 1
    for column in batch.columns:
        if pa.types.is_dictionary(column.type) and _is_text(column.type.value_type):
            row_bytes += pc.max(pc.binary_length(column.dictionary)).as_py() or 0
    step = min(max(1, DECODED_BYTES // row_bytes), BATCH_ROWS)
    for first in range(0, batch.num_rows, step):
        part = batch.slice(first, step)
        columns = [
            column.dictionary_decode() if pa.types.is_dictionary(column.type) else column for column in part.columns
        ]
        cast = [column.cast(kind) for column, kind in zip(columns, schema.types, strict=True)]
        yield pa.RecordBatch.from_arrays(cast, schema=schema)


def _open_csv(
    path: Path, options: SourceOptions, names: list[str] | None, malformed: list[Malformed]
) -> pyarrow.csv.CSVStreamingReader:
    """Opens CSV as columns of bytes; without names these are only looked up."""

    def set_aside(row: pyarrow.csv.InvalidRow) -> str:
        malformed.append(Malformed(row.number - 1, row.actual_columns, row.text))
        return "skip"

    return pyarrow.csv.open_csv(
        path,
        read_options=pyarrow.csv.ReadOptions(use_threads=False, block_size=BLOCK_BYTES, encoding=options.encoding),
        parse_options=pyarrow.csv.ParseOptions(
            delimiter=options.delimiter, newlines_in_values=True, invalid_row_handler=set_aside
        ),
        convert_options=pyarrow.csv.ConvertOptions(
            check_utf8=False, column_types={name: pa.binary() for name in names or ()}
        ),
    )
