"""What is wrong with the rows of an import, and what becomes of each finding: a row set aside, or a value left out.

A mapping says `unreadable: missing` of a column where an event is worth having without it; anything else that cannot stand
costs its row.

INVARIANTS: a row that is set aside has one reason, the first that was found; a value is counted as left out only if its row
is written. The two degrees of a place are left out together.

Called by `lab.importer`.
"""

from collections import Counter
from collections.abc import Collection, Iterable
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from riskengine.wire.money import MINOR_UNIT_EXPONENTS

from .rows import Flags, row_problems

_TOGETHER: Final = {"latitude_degrees": "longitude_degrees", "longitude_degrees": "latitude_degrees"}


class Findings:
    """What was found in one chunk.

    Args:
        missable: Columns whose values may be left out.

    Attributes:
        reasons: By row that is set aside, 0-based within the chunk, why.
    """

    def __init__(self, missable: Iterable[str] = ()) -> None:
        self.reasons: dict[int, str] = {}
        self._missable = frozenset(missable)
        self._left: dict[tuple[int, str], str] = {}

    def add(self, row: int, column: str, words: str) -> None:
        """Takes a finding: the value is left out where the mapping lets it be missing, else its row is set aside."""
        if column in self._missable:
            self._left.setdefault((row, column), words)
        else:
            self.reasons.setdefault(row, words)

    def left(self) -> list[tuple[int, str]]:
        """Returns the values that are left out, each by its row and its column."""
        return list(self._left)

    def left_out(self) -> Counter[str]:
        """Returns how often what was wrong with values that are left out of rows that are not."""
        return Counter(words for (row, _), words in self._left.items() if row not in self.reasons)


def judged(batch: pa.RecordBatch, findings: Findings, pan_exempt_fields: Collection[str]) -> pa.RecordBatch:
    """Judges rows that were read; returns them without the values that are left out.

    Args:
        batch: Of the history schema, every column present.
        findings: Gets what is wrong.
        pan_exempt_fields: Identifiers in which a bare card number is not looked for.
    """
    # What could not even be read is null by now, but the other half of a place is still there.
    batch = _without(batch, findings.left())
    for problem in row_problems(batch, currencies=MINOR_UNIT_EXPONENTS, pan_exempt_fields=pan_exempt_fields):
        findings.add(problem.row, problem.column, f"{problem.column} {problem.description}")
    if not findings.left():
        return batch
    without = _without(batch, findings.left())
    for problem in row_problems(without, currencies=MINOR_UNIT_EXPONENTS, pan_exempt_fields=pan_exempt_fields):
        # What was left out may have been all that the row was known by.
        findings.reasons.setdefault(problem.row, f"{problem.column} {problem.description}")
    return without


def _without(batch: pa.RecordBatch, left: list[tuple[int, str]]) -> pa.RecordBatch:
    """Returns a batch without some values, each given by its row and its column."""
    columns: dict[str, Flags] = {}
    for row, column in left:
        for name in (column, _TOGETHER.get(column, column)):
            columns.setdefault(name, np.zeros(batch.num_rows, np.bool_))[row] = True
    arrays = dict(zip(batch.schema.names, batch.columns, strict=True))
    for name, out in columns.items():
        arrays[name] = pc.if_else(pa.array(out), pa.scalar(None, arrays[name].type), arrays[name])
    return pa.RecordBatch.from_arrays(list(arrays.values()), schema=batch.schema)
