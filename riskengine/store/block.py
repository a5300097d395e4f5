"""Rows held by column: what `rows` reads and `store` gathers into.

A column of rows of 8-byte words lies 664 bytes apart from value to value; read so, each column costs a touch of memory for each
row. Turned round once, in pieces that stay in the cache (0.9 µs a row), everything after it runs at twice the speed.

INVARIANTS: a block never has more rows than it may; rows are in it in the order in which they were added. A part of a block is
a view, to be used before the block changes.

Called by `store` and `rows`.
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from riskengine.types import Array, words

_PIECE_ROWS: Final = 1024
"""Turned round at once: 0.7 MB of rows. Memory begins with as many, and doubles."""


class Block:
    """Up to so many rows of EVENT or DECISION, by column.

    Args:
        dtype: EVENT or DECISION.
        rows_max: Rows that there may be, at least 1.
    """

    def __init__(self, dtype: np.dtype[Any], rows_max: int) -> None:
        assert dtype.names is not None, "rows have named columns"
        self._words: Final = {name: index for index, name in enumerate(dtype.names)}
        self._types: Final = {name: dtype[name] for name in dtype.names}
        self._rows_max = rows_max
        self._matrix = np.empty((len(dtype.names), min(rows_max, _PIECE_ROWS)), np.int64)
        self._first = 0
        self._last = 0

    def __len__(self) -> int:
        return self._last - self._first

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        """Returns a column, contiguous; a view."""
        return self._matrix[self._words[name], self._first : self._last].view(self._types[name])

    def add(self, rows: Array) -> None:
        """Adds rows at the end; there must be room."""
        assert len(rows) <= self.room, "there is room"
        matrix = words(np.ascontiguousarray(rows))
        self._grow(self._last + len(rows))
        for first in range(0, len(matrix), _PIECE_ROWS):
            piece = matrix[first : first + _PIECE_ROWS]
            self._matrix[:, self._last : self._last + len(piece)] = piece.T
            self._last += len(piece)

    def _grow(self, length: int) -> None:
        column_count, allocated = self._matrix.shape
        if length > allocated:
            grown = np.empty((column_count, min(self._rows_max, max(length, 2 * allocated))), np.int64)
            grown[:, : self._last] = self._matrix[:, : self._last]
            self._matrix = grown

    def part(self, first: int, last: int) -> "Block":
        """Returns the rows from one place to another; a view."""
        part: Block = object.__new__(Block)
        part._words, part._types = self._words, self._types  # type: ignore[misc]
        part._matrix, part._rows_max = self._matrix, self._rows_max
        part._first, part._last = self._first + first, self._first + last
        return part

    def matrix(self, first_name: str, count: int) -> npt.NDArray[np.int64]:
        """Returns `count` columns from a named one on, as words, shape (count, rows); a view."""
        word = self._words[first_name]
        return self._matrix[word : word + count, self._first : self._last]

    @property
    def room(self) -> int:
        """Rows that can be added."""
        return self._rows_max - self._last

    def drop(self, count: int) -> None:
        """Forgets rows at the beginning; their room comes back when none is left."""
        self._first += count
        if self._first == self._last:
            self._first = self._last = 0
