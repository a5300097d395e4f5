"""Parquet as the store writes and reads it: how columns are encoded, and files that appear whole or not at all.

INVARIANTS: at most two row groups are in memory at once; pages carry checksums, which are compared when rows are read to be
written anew, so that damage is never laundered.

Called by `store` and `find`.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet

from .columns import REASON, SCHEMA
from .files import Files
from .folder import PARTIAL_SUFFIX

WRITE_BYTES: Final = 1 << 20
ROW_GROUP_ROWS: Final = 65_536
"""About 40 MB in memory, 5 MB in the file."""

# Encodings were chosen by size and time on simulated payments: 74 bytes and 2.1 µs a row where pyarrow's own choice takes 86
# bytes and 3.1 µs. zstd level 3 gains nothing.
_UNIQUE: Final = (
    *("sequence", "decision", "received_time", "event_time", "transaction_tag", "probability", "margin"),
    *(f"reasons.list.element.{name}" for name in ("observed", "norm", "contribution")),
    "numbers.key_value.value",
)
"""Columns whose values hardly repeat, so that a dictionary would only cost."""
_ENCODINGS: Final = {
    "sequence": "DELTA_BINARY_PACKED",
    "received_time": "DELTA_BINARY_PACKED",
    "event_time": "DELTA_BINARY_PACKED",
    "decision": "DELTA_BYTE_ARRAY",
    "probability": "BYTE_STREAM_SPLIT",
    "margin": "BYTE_STREAM_SPLIT",
}
_STATISTICS: Final = ("sequence", "received_time", "event_time", "revision")
"""Columns in whose order rows more or less are: a query passes row groups over by them."""


def _leaves(name: str, type_: pa.DataType) -> list[str]:
    """Returns the paths of a column's leaves in the file."""
    if pa.types.is_map(type_):
        return [f"{name}.key_value.key", f"{name}.key_value.value"]
    if not pa.types.is_list(type_):
        return [name]
    inner = f"{name}.list.element"
    return [f"{inner}.{field.name}" for field in REASON] if type_.value_type == REASON else [inner]


_DICTIONARY: Final = [leaf for field in SCHEMA for leaf in _leaves(field.name, field.type) if leaf not in _UNIQUE]
_OPTIONS: Final[dict[str, Any]] = {
    "compression": "zstd",
    "compression_level": 1,
    "use_dictionary": _DICTIONARY,
    "column_encoding": _ENCODINGS,
    "write_statistics": list(_STATISTICS),
    "write_page_checksum": True,
}


class _Sink:
    """What pyarrow writes to, in some 250 pieces for each row group, and what passes them on in large ones.

    Once `dead` it takes everything and keeps nothing: a Parquet writer ends its file even after it failed.
    """

    def __init__(self, files: Files, descriptor: int) -> None:
        self._files = files
        self._descriptor = descriptor
        self._gathered = bytearray()
        self.closed = False
        self.dead = False

    def write(self, data: bytes) -> int:
        if not self.dead:
            self._gathered += data
            if len(self._gathered) >= WRITE_BYTES:
                self.pass_on()
        return len(data)

    def pass_on(self) -> None:
        """Writes what was gathered."""
        gathered, self._gathered = self._gathered, bytearray()
        self._files.write(self._descriptor, gathered)

    def flush(self) -> None:
        """Does nothing: pyarrow asks for it at each row group."""

    def close(self) -> None:
        self.closed = True


def write_whole(files: Files, path: Path, write: Callable[["_Sink"], object]) -> None:
    """Writes a file that appears under its name when it is durable, in the place of one that has the name already.

    Args:
        files: Where.
        path: Its folder is there.
        write: Is given what to write to.

    Raises:
        OSError: It could not be written. Then nothing is left behind, unless that fails as well; or it has its name, but
            its folder could not be synced.
    """
    partial = path.with_name(path.name + PARTIAL_SUFFIX)
    descriptor = files.create(partial)
    sink = _Sink(files, descriptor)
    try:
        try:
            write(sink)
            sink.pass_on()
            files.sync_file(descriptor)
        finally:
            sink.dead = True
            files.close(descriptor)
        files.replace(partial, path)
    except BaseException:
        _forget(files, partial)
        raise
    files.sync_folder(path.parent)


def _forget(files: Files, path: Path) -> None:
    try:
        files.remove(path)
    except OSError:
        pass  # The next survey finds it.


def write_tables(files: Files, path: Path, tables: Iterator[pa.Table]) -> None:
    """Writes a file of rows; as `write_whole`.

    Args:
        files: Where.
        path: Its folder is there.
        tables: Of `columns.SCHEMA`; regrouped into row groups of `ROW_GROUP_ROWS`.
    """

    def write(sink: _Sink) -> None:
        with pa.PythonFile(sink, mode="w") as target:
            writer = pa.parquet.ParquetWriter(target, SCHEMA, **_OPTIONS)
            try:
                for group in _regrouped(tables):
                    writer.write_table(group, row_group_size=ROW_GROUP_ROWS)
            except BaseException:
                sink.dead = True
                raise
            finally:
                writer.close()

    write_whole(files, path, write)


def _regrouped(tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """Yields the same rows in tables of `ROW_GROUP_ROWS`, the last of what is left."""
    waiting: list[pa.Table] = []
    row_count = 0
    for table in tables:
        waiting.append(table)
        row_count += table.num_rows
        if row_count >= ROW_GROUP_ROWS:
            gathered = pa.concat_tables(waiting)
            whole = row_count - row_count % ROW_GROUP_ROWS
            yield gathered.slice(0, whole)
            waiting, row_count = [gathered.slice(whole)], row_count - whole
    if row_count:
        yield pa.concat_tables(waiting)


class PartReader:
    """One file of rows, read a row group at a time.

    Args:
        source: The open file; closed by `close`.

    Raises:
        pa.ArrowInvalid: It is no Parquet file.
    """

    def __init__(self, source: pa.NativeFile) -> None:
        self._source = source
        self._file = pa.parquet.ParquetFile(source, page_checksum_verification=True)

    @property
    def group_count(self) -> int:
        """Row groups."""
        return int(self._file.metadata.num_row_groups)

    def group(self, index: int, columns: Sequence[str] | None = None) -> pa.Table:
        """Reads one row group.

        Args:
            index: Which, 0 to `group_count` - 1.
            columns: Names wanted; all by default.

        Raises:
            pa.ArrowInvalid: It is damaged.
            OSError: It is damaged, or cannot be read.
        """
        return self._file.read_row_group(index, columns=list(columns) if columns else None, use_threads=False)

    def close(self) -> None:
        """Closes the file."""
        self._file.close()
        self._source.close()
