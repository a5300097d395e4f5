"""Where chunks lie while processes work on them: a few slots in memory that all of them share.

INVARIANTS: memory is reserved at start; a slot belongs to whoever the parent's last message about it went to; nobody writes the
columns of another. Used by `lane`, `team` and `run`.
"""

from dataclasses import dataclass
from multiprocessing.context import SpawnContext
from typing import Any, Final

import numpy as np

from riskengine.types import EVENT, Array, Floats, Ints, Valid

_ALIGNMENT: Final = 64


@dataclass(frozen=True, slots=True)
class Layout:
    """How much memory there is.

    Attributes:
        rows_max: Events of one chunk.
        column_count: Columns of the features matrix.
        lanes: Processes that fold.
        packs: Chunks that are being packed.
        folds: Chunks that are being folded.
    """

    rows_max: int
    column_count: int
    lanes: int
    packs: int
    folds: int


@dataclass(frozen=True, slots=True)
class PackSlot:
    """A batch of a history as events.

    Attributes:
        events: EVENT[rows_max].
        rows: int64[rows_max], the row of the batch of each.
    """

    events: Array
    rows: Ints


@dataclass(frozen=True, slots=True)
class FoldSlot:
    """Events in the order in which the engine would have received them, and the features of those that are scored.

    Attributes:
        events: EVENT[rows_max].
        columns: float64[column_count, rows_max], a feature for each row.
        valid: uint8[column_count, rows_max], 1 where it is there.
        approximate: uint8[lanes, rows_max], 1 where a lane answered by an estimate.
    """

    events: Array
    columns: Floats
    valid: Valid
    approximate: Valid


class Slots:
    """All slots.

    Args:
        layout: Of the memory.
        memory: From `shared_memory`, or None for memory of this process alone.
    """

    def __init__(self, layout: Layout, memory: Any = None) -> None:
        self._memory = np.zeros(_size(layout), np.uint8) if memory is None else np.frombuffer(memory, np.uint8)
        self._next = 0
        rows, columns = layout.rows_max, layout.column_count
        self.packs = [PackSlot(self._take(EVENT, rows), self._take(np.int64, rows)) for _ in range(layout.packs)]
        self.folds = [
            FoldSlot(
                self._take(EVENT, rows),
                self._take(np.float64, columns, rows),
                self._take(np.uint8, columns, rows),
                self._take(np.uint8, layout.lanes, rows),
            )
            for _ in range(layout.folds)
        ]

    def _take(self, dtype: Any, *shape: int) -> Any:
        """Returns the next array of the memory."""
        size = _bytes(dtype, *shape)
        array = self._memory[self._next : self._next + size].view(dtype).reshape(shape)
        self._next += -(-size // _ALIGNMENT) * _ALIGNMENT
        return array


def shared_memory(context: SpawnContext, layout: Layout) -> Any:
    """Reserves memory that processes of the context can share. It has no name, so that nothing of it can be left behind."""
    return context.RawArray("b", _size(layout))


def _size(layout: Layout) -> int:
    rows, columns = layout.rows_max, layout.column_count
    pack = (_bytes(EVENT, rows), _bytes(np.int64, rows))
    fold = (
        _bytes(EVENT, rows),
        _bytes(np.float64, columns, rows),
        _bytes(np.uint8, columns, rows),
        _bytes(np.uint8, layout.lanes, rows),
    )
    sizes = [*pack * layout.packs, *fold * layout.folds]
    return sum(-(-size // _ALIGNMENT) * _ALIGNMENT for size in sizes)


def _bytes(dtype: Any, *shape: int) -> int:
    return int(np.dtype(dtype).itemsize * np.prod(shape))
