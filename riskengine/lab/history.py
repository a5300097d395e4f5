"""Histories: past events with their labels, one flat row for each, as Parquet or CSV.

INVARIANTS: rows are ordered by event_time; `HISTORY_SCHEMA` is the whole vocabulary, apart from the caller's own
``number_<key>`` and ``label_<key>``; a column that a file lacks reads as null. What is known only later (`fraud` and what
begins with it) is never a feature.

Written by the simulator and the importer; read by training, the back-test and `cli`.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from riskengine.errors import HistoryError, nearest

TIME_TYPE: Final = pa.timestamp("us", tz="UTC")
ROWS_PER_BATCH: Final = 65_536
CSV_BLOCK_BYTES: Final = 8 << 20
NUMBER_PREFIX: Final = "number_"
LABEL_PREFIX: Final = "label_"


def _field(name: str, type_: pa.DataType, meaning: str) -> pa.Field:
    return pa.field(name, type_, metadata={"meaning": meaning})


def _verified(method: str, what: str) -> pa.Field:
    return _field(
        f"verified_{method}", pa.string(), f"Result of {what}: PASSED, FAILED, PARTIAL, UNAVAILABLE, ABANDONED."
    )


def _region(name: str, what: str) -> pa.Field:
    return _field(f"{name}_region_code", pa.string(), f"{what}, CLDR region code.")


HISTORY_SCHEMA: Final = pa.schema(
    [
        _field("transaction_id", pa.string(), "Unique id of the event. Required."),
        _field(
            "type",
            pa.string(),
            "Name of riskengine.v1.TransactionType without its prefix, e.g. CARD_PAYMENT. Required.",
        ),
        _field("event_time", TIME_TYPE, "When it happened at its origin. Required; never falls."),
        _field("utc_offset_minutes", pa.int32(), "The payer's offset from UTC, minutes, -840 to 840."),
        _field("amount_minor", pa.int64(), "Amount in minor units of the currency; for monetary types only."),
        _field("currency_code", pa.string(), "ISO 4217, with an amount."),
        _field("channel", pa.string(), "Name of Channel."),
        _field("entry_mode", pa.string(), "Name of EntryMode."),
        _field("initiation", pa.string(), "Name of Initiation."),
        _verified("address", "the billing address check"),
        _verified("card_code", "the card code"),
        _verified("three_d_secure", "3-D Secure"),
        _verified("one_time_code", "the one-time code"),
        _verified("biometric", "a biometric check"),
        _verified("passcode", "PIN or password"),
        _field("issuer_outcome", pa.string(), "Name of IssuerOutcome."),
        _field("issuer_code", pa.string(), "ISO 8583 field 39."),
        _field("original_transaction_id", pa.string(), "Of a refund or reversal: the transaction it belongs to."),
        _field("account_id", pa.string(), "The payer's account or wallet."),
        _field("card_id", pa.string(), "Token of the card, never its number."),
        _field("card_bin", pa.string(), "Issuer identification number, 6 to 8 digits."),
        _field("device_id", pa.string(), "Fingerprint of the device."),
        _field("ip_address", pa.string(), "IPv4 or IPv6 text."),
        _field("email_address", pa.string(), "The payer's e-mail address."),
        _field("phone_number", pa.string(), "The payer's telephone number."),
        _field("merchant_id", pa.string(), "The merchant or its terminal."),
        _field("payee_id", pa.string(), "Who receives a transfer or withdrawal."),
        _field("shipping_address", pa.string(), "Where goods are sent, free text."),
        _field("merchant_category_code", pa.string(), "ISO 18245, four digits."),
        _region("card", "The card issuer's country"),
        _region("ip", "The country of the IP address"),
        _region("merchant", "The merchant's country"),
        _region("payee", "The payee's country"),
        _region("billing", "The billing address's country"),
        _region("shipping", "The shipping address's country"),
        _field("latitude_degrees", pa.float64(), "Where the payer or terminal is, -90 to 90."),
        _field("longitude_degrees", pa.float64(), "Where the payer or terminal is, -180 to 180."),
        _field("account_open_time", TIME_TYPE, "When the account was opened."),
        _field("fraud", pa.bool_(), "Label: whether it was fraud; null is unknown. Never a feature."),
        _field(
            "fraud_label_time", TIME_TYPE, "When the label became known; null with a false label: no report ever came."
        ),
        _field("fraud_scenario", pa.string(), "Kind of fraud where it is known, for evaluation. Never a feature."),
    ],
    metadata={"riskengine.history": "1"},
)
REQUIRED_FIELDS: Final = ("transaction_id", "type", "event_time")


def extra_field(name: str) -> pa.Field | None:
    """Returns the field of one of the caller's own columns, None for any other name."""
    if name.startswith(NUMBER_PREFIX) and name != NUMBER_PREFIX:
        return _field(name, pa.float64(), "The caller's own number.")
    if name.startswith(LABEL_PREFIX) and name != LABEL_PREFIX:
        return _field(name, pa.string(), "The caller's own label.")
    return None


def field_of(name: str) -> pa.Field | None:
    """Returns the field of a column of histories, None if there is none of that name."""
    index = HISTORY_SCHEMA.get_field_index(name)
    return HISTORY_SCHEMA.field(index) if index >= 0 else extra_field(name)


def check_suffix(path: Path) -> None:
    """Refuses a name that does not say of which kind a history is.

    Raises:
        HistoryError: It ends in neither ``.parquet`` nor ``.csv``.
    """
    if path.suffix not in (".parquet", ".csv"):
        raise HistoryError(f'{path}: histories end in ".parquet" or ".csv"')


def first_line(error: Exception) -> str:
    """Returns what an error says in its first line; the name of its type where it says nothing."""
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def open_history(path: str | os.PathLike[str]) -> "HistoryReader":
    """Opens a history and checks its columns.

    Args:
        path: A ``.parquet`` or ``.csv`` file.

    Raises:
        HistoryError: The file is not there, is of another kind, or has columns that no history has.
    """
    file = Path(path)
    if not file.is_file():
        raise HistoryError(
            f"{file}: no such file; `riskengine simulate` and `riskengine history import` write histories"
        )
    names = _column_names(file)
    problems = [f'unknown column "{name}"{nearest(name, HISTORY_SCHEMA.names)}' for name in names if not field_of(name)]
    problems += [f'column "{name}" is missing' for name in REQUIRED_FIELDS if name not in names]
    problems += [f'column "{name}" occurs twice' for name in sorted({n for n in names if names.count(n) > 1})]
    if problems:
        raise HistoryError(f"{file}: " + "; ".join(problems) + "; map it with `riskengine history import`")
    extras = [field for field in map(extra_field, names) if field is not None]
    return HistoryReader(path=file, schema=pa.schema([*HISTORY_SCHEMA, *extras]), present=tuple(names))


def _column_names(file: Path) -> list[str]:
    """Reads the names of a file's columns."""
    check_suffix(file)
    try:
        if file.suffix == ".parquet":
            return list(pyarrow.parquet.read_schema(file).names)
        with pyarrow.csv.open_csv(file, read_options=_csv_read()) as rows:
            return list(rows.schema.names)
    except (pa.ArrowInvalid, OSError) as error:
        raise HistoryError(
            f"{file}: cannot be read as {file.suffix[1:]}: {first_line(error)}; "
            "`riskengine simulate` and `riskengine history import` write histories"
        ) from error


def _csv_read() -> pyarrow.csv.ReadOptions:
    return pyarrow.csv.ReadOptions(use_threads=False, block_size=CSV_BLOCK_BYTES)


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryReader:
    """A history that was opened.

    Attributes:
        path: The file.
        schema: HISTORY_SCHEMA and the caller's own columns that the file has.
        present: Names of the columns in the file.
    """

    path: Path
    schema: pa.Schema
    present: tuple[str, ...]

    @property
    def row_count(self) -> int:
        """Number of rows. Parquet knows it; a CSV file is read once."""
        if self.path.suffix == ".parquet":
            return int(pyarrow.parquet.ParquetFile(self.path).metadata.num_rows)
        return sum(batch.num_rows for batch in self._raw(ROWS_PER_BATCH, ["event_time"]))

    def batches(self, rows: int = ROWS_PER_BATCH, *, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Reads the history in order.

        Args:
            rows: Most rows of a batch, at least 1.
            columns: Names wanted, in this order; all of `schema` by default.

        Yields:
            Batches with every column wanted, null where the file has none.

        Raises:
            HistoryError: A value cannot be read, a required one is null, or event_time falls.
        """
        wanted = list(self.schema.names if columns is None else columns)
        unknown = [name for name in wanted if name not in self.schema.names]
        if unknown:
            raise HistoryError(f'{self.path}: no column "{unknown[0]}"{nearest(unknown[0], self.schema.names)}')
        read = [name for name in self.present if name in wanted or name in REQUIRED_FIELDS]
        schema = pa.schema([self.schema.field(name) for name in wanted])
        first = 0
        last_us: int | None = None
        for batch in self._raw(rows, read):
            if batch.num_rows:
                last_us = self._check(batch, first=first, last_us=last_us)
                yield self._fit(batch, schema, first=first)
            first += batch.num_rows

    def read(self, columns: Sequence[str] | None = None) -> pa.Table:
        """Reads the whole history into memory; arguments and errors as `batches`."""
        names = self.schema.names if columns is None else columns
        schema = pa.schema([self.schema.field(name) for name in names if name in self.schema.names])
        return pa.Table.from_batches(self.batches(columns=columns), schema)

    def _raw(self, rows: int, names: list[str]) -> Iterator[pa.RecordBatch]:
        """Reads the columns a file has, in its own types (CSV: in the schema's)."""
        try:
            if self.path.suffix == ".parquet":
                yield from pyarrow.parquet.ParquetFile(self.path).iter_batches(rows, columns=names, use_threads=False)
                return
            types = {name: self.schema.field(name).type for name in names}
            convert = pyarrow.csv.ConvertOptions(column_types=types, include_columns=names, strings_can_be_null=True)
            with pyarrow.csv.open_csv(self.path, read_options=_csv_read(), convert_options=convert) as reader:
                for block in reader:
                    for first in range(0, block.num_rows, rows):
                        yield block.slice(first, rows)
        except (pa.ArrowInvalid, OSError) as error:
            raise HistoryError(
                f"{self.path}: {first_line(error)}; rebuild it with `riskengine history import`"
            ) from error

    def _fit(self, batch: pa.RecordBatch, schema: pa.Schema, *, first: int) -> pa.RecordBatch:
        """Puts columns in order, casts them, and fills the absent ones with null."""
        arrays = []
        for field in schema:
            if field.name not in self.present:
                arrays.append(pa.nulls(batch.num_rows, field.type))
                continue
            try:
                arrays.append(batch.column(field.name).cast(field.type))
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
                raise HistoryError(
                    f'{self.path}: column "{field.name}" does not read as {field.type} in rows {first + 1} to '
                    f"{first + batch.num_rows}; map it with `riskengine history import`"
                ) from error
        return pa.RecordBatch.from_arrays(arrays, schema=schema)

    def _check(self, batch: pa.RecordBatch, *, first: int, last_us: int | None) -> int:
        """Checks that required values are there and event_time never falls; returns the batch's last time."""
        for name in REQUIRED_FIELDS:
            if batch.column(name).null_count:
                row = first + 1 + batch.column(name).is_null().index(True).as_py()
                raise HistoryError(
                    f'{self.path}: row {row}: "{name}" is missing; `riskengine history import` sets such rows aside'
                )
        times = self._fit(batch, pa.schema([HISTORY_SCHEMA.field("event_time")]), first=first)[0].cast(pa.int64())
        values = times.to_numpy()
        falls = (values[1:] < values[:-1]).nonzero()[0]
        if last_us is not None and values[0] < last_us:
            fallen: int | None = first + 1
        else:
            fallen = first + 2 + int(falls[0]) if len(falls) else None
        if fallen is not None:
            raise HistoryError(
                f"{self.path}: row {fallen}: event_time is before the row above; histories are ordered by time, "
                "`riskengine history import` orders them"
            )
        return int(values[-1])


def write_history(table: pa.Table, path: str | os.PathLike[str]) -> None:
    """Writes a history; the file appears whole or not at all.

    Args:
        table: Columns of HISTORY_SCHEMA (or the caller's own), ordered by event_time.
        path: Ends in ``.parquet`` or ``.csv``; replaced if it exists.

    Raises:
        HistoryError: The suffix is another, or the file cannot be written.
    """
    file = Path(path)
    check_suffix(file)
    partial = file.with_name(file.name + ".partial")
    try:
        if file.suffix == ".parquet":
            pyarrow.parquet.write_table(table, partial, compression="zstd", compression_level=1, row_group_size=262_144)
        else:
            pyarrow.csv.write_csv(table, partial)
        partial.replace(file)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise HistoryError(
            f"{file}: cannot be written: {first_line(error)}; name a file in a folder that is there and has room"
        ) from error
