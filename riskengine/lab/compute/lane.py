"""What one process does of the work: it packs batches that it is given, and folds every chunk for its part of the columns.

INVARIANTS: a lane folds all chunks in their order; a batch is packed alike by whoever gets it. A process ends when the pipe from
its parent does, so that none outlives it; what goes wrong is told to the parent, which alone speaks to the user.

Called by `team`.
"""

import threading
import traceback
from dataclasses import dataclass
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import Any, Final

import numpy as np
import pyarrow as pa

from riskengine.engine.configuration import Configuration
from riskengine.engine.pipeline import Pipeline
from riskengine.engine.split import arena_use
from riskengine.engine.state import State
from riskengine.engine.warm import warm
from riskengine.enums import DecisionFlag, Kind
from riskengine.errors import RiskEngineError
from riskengine.lab.compute.slots import Layout, Slots
from riskengine.lab.events import EventPacker
from riskengine.lab.features import packer_of
from riskengine.settings import ServerSettings
from riskengine.types import EVENT_WORD, Ints, words
from riskengine.wire.pseudonyms import TagKey

_KIND: Final = EVENT_WORD["kind"]
_SCORE: Final = int(Kind.SCORE)
_APPROXIMATE: Final = int(DecisionFlag.APPROXIMATE)
READY: Final = 0
"""Number of the first message of a process; those of tasks are higher."""
FAILED: Final = -1
"""Number of a message that says what went wrong."""
_Task = tuple[int, str, int, int, bytes]
"""Number, what to do, slot, count, batch."""


@dataclass(frozen=True, slots=True, eq=False)
class Recipe:
    """What a lane is made from; small, and can be sent.

    Attributes:
        number: Of the lane, 0 for the parent's own.
        configuration: Its features are those of the lane's part.
        columns: int64[k], the columns that this lane writes; without any it does not fold.
        settings, key: What identifiers and amounts are read with.
        schema: Of the history's batches.
    """

    number: int
    configuration: Configuration
    columns: Ints
    settings: ServerSettings
    key: TagKey
    schema: pa.Schema

    @property
    def folds(self) -> bool:
        """Whether the lane has something to fold."""
        return len(self.columns) > 0


@dataclass(frozen=True, slots=True)
class Folded:
    """What is told of a chunk that was folded.

    Attributes:
        row_count: Scored rows: so many values each column has.
        arena: From `engine.split.arena_use`.
    """

    row_count: int
    arena: tuple[int, bool]


class Lane:
    """A lane.

    Args:
        recipe: What it is made from.
        slots: Shared with all lanes.
    """

    def __init__(self, recipe: Recipe, slots: Slots) -> None:
        self._recipe = recipe
        self._slots = slots
        self._packer: EventPacker | None = None
        self._pipeline: Pipeline | None = None
        if recipe.folds:
            limits = recipe.configuration.limits
            self._pipeline = Pipeline(recipe.configuration, State(recipe.configuration.features, limits), limits)

    def pack(self, slot: int, batch: pa.RecordBatch) -> int:
        """Packs a batch of a history into a slot; returns how many events it has."""
        if self._packer is None:
            self._packer = packer_of(self._recipe.settings, self._recipe.key, self._recipe.configuration)
        packed = self._packer.pack(batch, kind=Kind.SCORE)
        target, count = self._slots.packs[slot], len(packed.events)
        words(target.events)[:count] = words(packed.events)
        target.rows[:count] = packed.rows
        return count

    def fold(self, slot: int, count: int) -> Folded:
        """Folds the events of a slot, and writes this lane's columns of those that are scored.

        Args:
            slot: Of the chunk.
            count: Its events.
        """
        assert self._pipeline is not None, "a lane without columns folds nothing"
        target, own, done = self._slots.folds[slot], self._recipe.columns.tolist(), 0
        for first in range(0, count, self._pipeline.rows_max):
            events = words(target.events[first : min(first + self._pipeline.rows_max, count)])
            features, valid, flags = self._pipeline.fold(events)
            scored = np.flatnonzero(events[:, _KIND] == _SCORE)
            if len(scored) < len(events):
                features, valid, flags = features[scored], valid[scored], flags[scored]
            rows = slice(done, done + len(scored))
            # Column by column: one assignment of all by their numbers takes ten times as long.
            for column in own:
                target.columns[column, rows] = features[:, column]
                target.valid[column, rows] = valid[:, column]
            target.approximate[self._recipe.number, rows] = (flags & _APPROXIMATE) != 0
            done += len(scored)
        return Folded(done, arena_use(self._pipeline.state))


def work(recipe: Recipe, layout: Layout, memory: Any, pipe: Connection) -> None:
    """The main function of a process: does what the pipe says until it ends.

    Args:
        recipe: Of its lane.
        layout, memory: Of the slots.
        pipe: To the parent. It says (number, "pack", slot, rows), then the batch as bytes; or (number, "fold", slot, count).
    """
    try:
        warm()
        lane = Lane(recipe, Slots(layout, memory))
        pipe.send((READY, None))
        inbox: SimpleQueue[_Task | None] = SimpleQueue()
        # A thread empties the pipe at once, so that the parent never waits for a busy lane to take a batch.
        threading.Thread(target=_receive, args=(pipe, inbox), daemon=True).start()
        while (task := inbox.get()) is not None:
            number, what, slot, count, batch = task
            if what == "pack":
                rows = pa.ipc.read_record_batch(pa.py_buffer(batch), recipe.schema)
                pipe.send((number, lane.pack(slot, rows)))
            else:
                pipe.send((number, lane.fold(slot, count)))
    except (BrokenPipeError, ConnectionResetError):
        return
    except RiskEngineError as error:
        pipe.send((FAILED, (error.message, "")))
    except Exception as error:  # noqa: BLE001 the parent raises it again
        pipe.send((FAILED, (f"{type(error).__name__}: {error}", traceback.format_exc())))


def _receive(pipe: Connection, inbox: "SimpleQueue[_Task | None]") -> None:
    """Takes tasks from the pipe until it ends. At most as many wait as there are slots."""
    try:
        while True:
            number, what, slot, count = pipe.recv()
            inbox.put((number, what, slot, count, pipe.recv_bytes() if what == "pack" else b""))
    except (EOFError, OSError):
        inbox.put(None)
