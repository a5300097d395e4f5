"""The decisions that another policy or model would have answered otherwise, as a Parquet file.

INVARIANTS: a row for each decision whose verdict or obligations differ, in the order of the journal; the file appears whole or
not at all. No identifier is in it, for the journal has none: decisions are named as callers know them.

Called by `cli`.
"""

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet

from riskengine.enums import TransactionType, Verdict
from riskengine.lab.comparison import fired_bits, name_of, obligation_bits
from riskengine.lab.whatif import Batch
from riskengine.types import MISSING, REASONS_MAX, Array

ROWS_MAX: Final = 50_000
"""Rows of one row group."""
_TIME: Final = pa.timestamp("us", tz="UTC")


def _side(side: str) -> list[pa.Field]:
    return [
        pa.field(f"{side}_verdict", pa.string()),
        pa.field(f"{side}_probability", pa.float64()),
        pa.field(f"{side}_segment", pa.string()),
        pa.field(f"{side}_rules", pa.list_(pa.string())),
        pa.field(f"{side}_obligations", pa.list_(pa.string())),
        pa.field(f"{side}_reasons", pa.list_(pa.string())),
    ]


SCHEMA: Final = pa.schema(
    [
        pa.field("sequence", pa.int64()),
        pa.field("decision", pa.string()),
        pa.field("received_time", _TIME),
        pa.field("event_time", _TIME),
        pa.field("transaction_type", pa.string()),
        pa.field("amount_base_minor", pa.int64()),
        pa.field("revision", pa.int64()),
        pa.field("verdict_changed", pa.bool_()),
        pa.field("reported_fraud", pa.bool_()),
        *_side("old"),
        *_side("new"),
    ],
    metadata={"riskengine.differences": "1"},
)


class DifferenceWriter:
    """Writes the file; a context, so that what was not finished leaves nothing behind.

    Args:
        path: Of the file; what is there is replaced when the context ends without an error.
    """

    def __init__(self, path: Path) -> None:
        self.row_count = 0
        self._path = path
        self._partial = path.with_name(f".{path.name}.partial")
        self._writer: Any = None
        self._parts: list[pa.RecordBatch] = []
        self._waiting = 0

    def __enter__(self) -> Self:
        self._writer = pyarrow.parquet.ParquetWriter(self._partial, SCHEMA, compression="zstd")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._flush()
            self._writer.close()
            if kind is None:
                self._partial.replace(self._path)
        finally:
            self._partial.unlink(missing_ok=True)

    def take(self, batch: Batch) -> None:
        """Takes the differences of a batch."""
        rows = batch.compared.different
        if not rows.any():
            return
        events, old, new = batch.events[rows], batch.old[rows], batch.new[rows]
        columns = [
            pa.array(old["sequence"]),
            pa.array([name_of(row) for row in old]),
            pa.array(old["received_time_us"], _TIME),
            pa.array(events["event_time_us"], _TIME),
            pa.array(_names(events["transaction_type"], TransactionType)),
            pa.array(events["amount_base_minor"], mask=events["amount_base_minor"] == MISSING),
            pa.array(old["revision"]),
            pa.array(batch.compared.changed[rows]),
            pa.array(batch.fraud[rows]),
            *_columns(old, batch.old_names),
            *_columns(new, batch.new_names),
        ]
        self._parts.append(pa.record_batch(columns, schema=SCHEMA))
        self.row_count += len(old)
        self._waiting += len(old)
        if self._waiting >= ROWS_MAX:
            self._flush()

    def _flush(self) -> None:
        if self._parts:
            self._writer.write_table(pa.Table.from_batches(self._parts))
        self._parts, self._waiting = [], 0


def _columns(decisions: Array, names: dict[str, Any]) -> list[pa.Array]:
    """Returns one side's columns, in the order of `_side`."""
    rules = [rule["id"] for rule in names["rules"]]
    probability = decisions["probability"]
    return [
        pa.array(_names(decisions["verdict"], Verdict)),
        pa.array(probability, mask=np.isnan(probability)),
        pa.array([names["segments"][segment] for segment in decisions["segment"].tolist()]),
        pa.array(_listed(fired_bits(decisions, len(rules)), rules), pa.list_(pa.string())),
        pa.array(
            _listed(obligation_bits(decisions, len(names["obligation_ids"])), names["obligation_ids"]),
            pa.list_(pa.string()),
        ),
        pa.array([_reasons(row, names) for row in decisions], pa.list_(pa.string())),
    ]


def _names(values: npt.NDArray[np.int64], kind: type[Verdict] | type[TransactionType]) -> list[str | None]:
    known = {each.value: each.name for each in kind}
    return [known.get(value) for value in values.tolist()]


def _listed(bits: npt.NDArray[np.bool_], ids: Sequence[str]) -> list[list[str]]:
    return [[ids[at] for at in np.flatnonzero(row).tolist()] for row in bits]


def _reasons(decision: Any, names: dict[str, Any]) -> list[str]:
    count = min(int(decision["reason_count"]), REASONS_MAX)
    return [names["reasons"][int(decision[f"reason_{slot}_code"])]["code"] for slot in range(count)]
