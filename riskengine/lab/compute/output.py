"""The file of features: its columns, and how it is written.

A row stands for each event of the history, in its order, with

- columns of the history (`CARRIED`, and what else is asked for): the id that joins it to other data, when it was, its label and
  when that became known; they are for splitting, joining and learning, never among the features;
- ``approximate``: whether the engine would have told that some of its answers are estimates;
- every feature by its name in features.yaml, float64 as the engine has it, null where it is missing. A yes or no is 1 or 0.

The metadata of a feature's column say its unit, its meaning and the hash of its definition: equal hashes are equal definitions.

INVARIANTS: memory is bounded by a row group; the file gets its name when all of it is on disk, or not at all.

Called by `run`.
"""

import errno
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from riskengine.durable import sync_path
from riskengine.engine.features import FeatureSet
from riskengine.errors import HistoryError, nearest
from riskengine.lab.compute.slots import FoldSlot
from riskengine.lab.history import HistoryReader

CARRIED: Final = ("transaction_id", "event_time", "type", "fraud", "fraud_label_time", "fraud_scenario")
"""Columns of the history that every file has."""
APPROXIMATE: Final = "approximate"
ROW_GROUP_ROWS: Final = 65_536
"""Some 60 MB in memory with the starter's features, 8 MB in the file."""


def carried_columns(reader: HistoryReader, keep: Sequence[str]) -> tuple[str, ...]:
    """Returns the columns of the history that go into the file.

    Args:
        reader: The history.
        keep: Columns wanted beside `CARRIED`.

    Raises:
        HistoryError: The history has no such column.
    """
    for name in keep:
        if name not in reader.present:
            near = nearest(name, list(reader.present))
            raise HistoryError(f'{reader.path}: there is no column "{name}" to keep{near}; name one that the file has')
    return tuple(dict.fromkeys((*CARRIED, *keep)))


def schema_of(reader: HistoryReader, carried: Sequence[str], features: FeatureSet) -> pa.Schema:
    """Returns the schema of the file."""
    told = {"meaning": "Whether some answers of the engine at this event are estimates."}
    columns = [
        pa.field(
            feature.name,
            pa.float64(),
            metadata={"unit": feature.unit, "meaning": feature.description, "definition": definition},
        )
        for feature, definition in zip(features.features, features.hashes, strict=True)
    ]
    return pa.schema(
        [*(reader.schema.field(name) for name in carried), pa.field(APPROXIMATE, pa.bool_(), metadata=told), *columns],
        metadata={"riskengine.features": "1"},
    )


def table_of(schema: pa.Schema, carried: pa.RecordBatch, slot: FoldSlot, count: int) -> pa.Table:
    """Makes a table of a chunk that was folded; it keeps nothing of the slot.

    Args:
        schema: From `schema_of`.
        carried: `count` rows, the columns of the history.
        slot: All of its columns are filled.
        count: Scored rows.
    """
    approximate = slot.approximate[:, :count].any(axis=0)
    arrays = [*carried.columns, pa.array(approximate)]
    for values, valid in zip(slot.columns, slot.valid, strict=True):
        bits = np.packbits(valid[:count], bitorder="little")
        buffers = [pa.py_buffer(bits.tobytes()), pa.py_buffer(np.where(valid[:count], values[:count], 0.0).tobytes())]
        arrays.append(pa.Array.from_buffers(pa.float64(), count, buffers))
    return pa.Table.from_arrays(arrays, schema=schema)


def room_problem(*, written: int, rows_done: int, rows: int, free: int) -> str:
    """Says that a disk has not the room for a file that has begun; "" where it seems to have it.

    Args:
        written: Bytes so far.
        rows_done: Rows so far, at least 1.
        rows: Rows in all.
        free: Bytes that are left.
    """
    needed = written * (rows - rows_done) // rows_done
    if needed <= free:
        return ""
    return f"it will take {(written + needed) / 1e6:,.1f} MB, and beside what is written only {free / 1e6:,.1f} MB are free"


class _Sink:
    """What pyarrow writes to. Once `dead` it takes everything and keeps nothing: a writer ends its file even after it failed."""

    def __init__(self, path: Path) -> None:
        self.file = path.open("wb")
        self.closed = False
        self.dead = False

    def write(self, data: bytes) -> int:
        return len(data) if self.dead else self.file.write(data)

    def flush(self) -> None:
        """Does nothing: pyarrow asks for it at each row group."""

    def close(self) -> None:
        self.closed = True


class FeatureFile:
    """A file that is being written; a context in which it becomes whole, or nothing is left of it.

    Args:
        path: Its name.
        schema: From `schema_of`.
        rows: About how many rows it will have.

    Raises:
        HistoryError: It cannot be written, or the disk has not the room.
    """

    def __init__(self, path: Path, schema: pa.Schema, *, rows: int) -> None:
        self._path = path
        self._partial = path.with_name(f"{path.name}.partial")
        self._rows = rows
        self._done = 0
        self._waiting: list[pa.Table] = []
        try:
            self._sink = _Sink(self._partial)
        except OSError as error:
            raise self._problem(error) from error
        self._writer = pa.parquet.ParquetWriter(self._sink, schema, compression="zstd", compression_level=1)

    def __enter__(self) -> "FeatureFile":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ends the file. Whatever stops it on the way, Ctrl-C included, leaves what was there before."""
        try:
            if error is None:
                self._end()
        finally:
            self._sink.dead = True
            self._writer.close()
            self._sink.file.close()
            self._partial.unlink(missing_ok=True)

    def add(self, table: pa.Table) -> None:
        """Takes the next rows."""
        self._waiting.append(table)
        if sum(len(each) for each in self._waiting) >= ROW_GROUP_ROWS:
            self._write()

    def _write(self) -> None:
        """Writes what waits as one row group."""
        table = pa.concat_tables(self._waiting)
        self._waiting.clear()
        try:
            self._writer.write_table(table, row_group_size=len(table))
        except OSError as error:
            raise self._problem(error) from error
        first = self._done == 0
        self._done += len(table)
        if first:
            free = shutil.disk_usage(self._path.parent).free
            problem = room_problem(written=self._sink.file.tell(), rows_done=self._done, rows=self._rows, free=free)
            if problem:
                raise HistoryError(f"{self._path}: {problem}; make room, or write it elsewhere with --out")

    def _end(self) -> None:
        try:
            if self._waiting:
                self._write()
            self._writer.close()
            self._sink.file.flush()
            os.fsync(self._sink.file.fileno())
            self._partial.replace(self._path)
            sync_path(self._path.parent)
        except OSError as error:
            raise self._problem(error) from error

    def _problem(self, error: OSError) -> HistoryError:
        todo = "name a file in a folder that is there and that you may write to, with --out"
        if error.errno in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT):
            todo = "make room, or write it elsewhere with --out"
        return HistoryError(f"{self._path}: cannot be written: {os.strerror(error.errno or errno.EIO)}; {todo}")
