"""Bodies of frames: rows of EVENT and DECISION to a `GroupCommit` and back, activations.

INVARIANTS: unpacking gives the very words that were packed. Columns go by their number in the proto's enums, looked up
by name, so a column may move within a row; a column that a frame does not hold takes its default of today.

Called by `writer` and `reader`.
"""

from array import array
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from google.protobuf.message import DecodeError

from riskengine.journal.v1 import record_pb2
from riskengine.types import (
    DECISION,
    DECISION_COLUMNS,
    DECISION_WORDS,
    EVENT,
    EVENT_COLUMNS,
    EVENT_WORD,
    EVENT_WORDS,
    Array,
    WordMatrix,
    empty_events,
    words,
)

from . import kernels
from .format import ENTRY_BYTES_MAX, body_bytes_max, columns_bytes_max

assert ENTRY_BYTES_MAX == kernels.ENTRY_BYTES_MAX
assert EVENT_WORD["sequence"] == 0, "kernels write the sequence into the first column"
NUMBERS_MAX: Final = 256


def empty_decisions(count: int) -> Array:
    """Returns `count` rows of DECISION as the journal sees an absent one: zeros, but NaN for probability and margin.

    Args:
        count: Number of rows, at least 0.
    """
    rows = np.zeros(count, DECISION)
    rows["probability"] = np.nan
    rows["margin"] = np.nan
    return rows


def _catalogue(
    columns: Sequence[str], numbers: dict[str, int], defaults: WordMatrix, sources: dict[str, int]
) -> tuple[WordMatrix, WordMatrix]:
    """Returns the catalogue of a table (see `kernels`) and its positions, int64[256]."""
    catalogue = np.empty((3, len(columns)), np.int64)
    positions = np.full(NUMBERS_MAX, -1, np.int64)
    for position, column in enumerate(columns):
        number = numbers[column]
        catalogue[:, position] = defaults[0, position], number, sources.get(column, kernels.SOURCE_NONE)
        positions[number] = position
    return catalogue, positions


def _numbers(enum: Any, prefix: str) -> dict[str, int]:
    """Returns the number of each column by its name in the rows."""
    return {name.removeprefix(prefix).lower(): number for name, number in enum.items()}


EVENT_CATALOGUE, _event_positions = _catalogue(
    EVENT_COLUMNS,
    _numbers(record_pb2.EventColumn, "EVENT_COLUMN_"),
    words(empty_events(1)),
    {"sequence": kernels.SOURCE_SEQUENCE},
)
DECISION_CATALOGUE, _decision_positions = _catalogue(
    DECISION_COLUMNS,
    _numbers(record_pb2.DecisionColumn, "DECISION_COLUMN_"),
    words(empty_decisions(1)),
    {name: EVENT_WORD[name] for name in DECISION_COLUMNS if name in EVENT_WORD},
)
POSITIONS: Final = np.stack([_event_positions, _decision_positions])


class CommitEncoder:
    """Packs group commits, in memory that it keeps from one to the next."""

    def __init__(self) -> None:
        self._bounds = np.empty((2, max(EVENT_WORDS, DECISION_WORDS)), np.int64)
        self._rows_max = 0
        self._out = np.empty(0, np.uint8)
        self._message = np.empty(0, np.uint8)
        self._view = self._message.data

    def reserve(self, row_count: int) -> None:
        """Makes room for `row_count` rows, so that `encode` allocates no large memory."""
        if row_count > self._rows_max:
            self._rows_max = row_count
            self._out = np.zeros(columns_bytes_max(row_count), np.uint8)
            self._message = np.zeros(body_bytes_max(row_count), np.uint8)
            self._view = self._message.data

    def encode(self, events: WordMatrix, decisions: WordMatrix, *, first_sequence: int) -> bytes:
        """Packs rows.

        Args:
            events: int64[n, EVENT_WORDS], contiguous, n >= 1; sequences from `first_sequence` on without a gap.
            decisions: int64[n, DECISION_WORDS], contiguous.
            first_sequence: Of the frame.

        Returns:
            A serialized `GroupCommit`.
        """
        assert len(events) == len(decisions) > 0, "each event has its decision"
        self.reserve(len(events))
        size_bytes = kernels.pack_frame(
            events,
            decisions,
            EVENT_CATALOGUE,
            DECISION_CATALOGUE,
            first_sequence,
            self._bounds,
            self._out,
            self._message,
        )
        assert size_bytes > 0, "sequences go on where they ended, without a gap"
        return bytes(self._view[:size_bytes])


class CommitDecoder:
    """Gathers the bodies of many group commits and unpacks them by one kernel call.

    Attributes:
        row_count: Rows gathered so far.
    """

    def __init__(self) -> None:
        self.row_count = 0
        self._frames = array("q")
        self._parts: list[bytes] = []

    def add(self, body: memoryview, *, first_sequence: int, row_count: int) -> bool:
        """Gathers one body.

        Args:
            body: A serialized `GroupCommit`.
            first_sequence: Of its frame.
            row_count: Of its frame.

        Returns:
            Whether it is one, with that number of rows.
        """
        try:
            commit = record_pb2.GroupCommit.FromString(body)  # type: ignore[arg-type]
        except DecodeError:
            return False
        if commit.row_count != row_count:
            return False
        parts = (commit.event_directory, commit.event_columns, commit.decision_directory, commit.decision_columns)
        self._parts += parts
        a, b, c, d = parts
        self._frames.extend((first_sequence, row_count, len(a), len(b), len(c), len(d)))
        self.row_count += row_count
        return True

    def take(self) -> tuple[Array, Array] | int:
        """Unpacks what was gathered and starts anew.

        Returns:
            EVENT[n] and DECISION[n], or the index of the first frame that means nothing.
        """
        events = np.empty(self.row_count, EVENT)
        decisions = np.empty(self.row_count, DECISION)
        status = kernels.unpack_frames(
            np.frombuffer(self._frames, np.int64).reshape(-1, 6),
            np.frombuffer(b"".join(self._parts) or b"\0", np.uint8),
            POSITIONS,
            EVENT_CATALOGUE,
            DECISION_CATALOGUE,
            words(events),
            words(decisions),
        )
        self.__init__()  # type: ignore[misc]
        return (events, decisions) if status >= 0 else -1 - status


def encode_activation(revision: int, content: bytes) -> bytes:
    """Returns a serialized `Activation`; see the proto for the bounds, which the caller checks."""
    return record_pb2.Activation(revision=revision, content=content).SerializeToString()


def decode_activation(body: memoryview) -> tuple[int, bytes] | None:
    """Returns revision and content of a serialized `Activation`, or None if it is not one."""
    try:
        activation = record_pb2.Activation.FromString(body)  # type: ignore[arg-type]
    except DecodeError:
        return None
    return activation.revision, activation.content
