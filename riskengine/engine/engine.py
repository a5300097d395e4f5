"""The engine: commands in, durable decisions out.

INVARIANTS: one writer, one thread. Room in the journal is reserved before state moves; a decision leaves only when its frame is
synced; after a failed write or sync the object refuses everything, for memory may be ahead of the disk. The state after
opening is that of folding the journal, which holds decisions as they were given.

Used by `engine.loop` (the process), `lab`, tests, notebooks.
"""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from riskengine.engine.configuration import Configuration
from riskengine.engine.origin import Ahead
from riskengine.engine.pipeline import Pipeline, Timings
from riskengine.engine.recovery import Journaled, open_journal
from riskengine.engine.state import State
from riskengine.enums import ReplyStatus
from riskengine.journal.directory import make_journal_id
from riskengine.limits import EngineLimits
from riskengine.types import DECISION, Array, rows_of, words

Progress = Callable[[int, int], None]


class Engine:
    """An engine over one data directory. Use `Engine.open`.

    Args:
        journaled: The directory's lock, its journal opened for writing, and what was in it.
        configuration: Active configuration, with its revision.
        state: Folded from the journal.
        limits: Bounds.
    """

    def __init__(self, journaled: Journaled, configuration: Configuration, state: State, limits: EngineLimits) -> None:
        self._journaled = journaled
        self._limits = limits
        self.configuration = configuration
        self.state = state
        self.pipeline = Pipeline(configuration, state, limits)

    @classmethod
    def open(
        cls,
        data_dir: Path,
        configuration: Configuration,
        *,
        limits: EngineLimits,
        segment_bytes: int = 64 << 20,
        new_journal_id: bytes | None = None,
        on_progress: Progress | None = None,
        shorter_history: bool = False,
        ahead: Ahead | None = None,
    ) -> "Engine":
        """Opens a data directory, creating it if it is new.

        Args:
            data_dir: Holds the journal and the models it refers to; locked until `close`.
            configuration: To be active; an activation is journaled if it differs from the last one.
            limits: Bounds of memory and work.
            segment_bytes: Size of one journal segment, bytes.
            new_journal_id: 16 bytes that name the journal if there is none yet; random by default.
            on_progress: Called with (bytes folded, bytes in all) while the journal is folded.
            shorter_history: Whether to go on where a trimmed journal is all there is, without a snapshot that can be used:
                the state is then folded from what the journal holds, which the activation tells.
            ahead: What was folded already, under this configuration, beside the engine that had the directory before.

        Raises:
            StartRefused: Another engine has the directory; or neither a snapshot nor the journal holds what came before,
                or a snapshot holds more than the journal.
            JournalCorrupt: The journal holds bytes that are neither a frame nor a torn tail.
        """
        journaled, active, state = open_journal(
            data_dir,
            configuration,
            limits=limits,
            segment_bytes=segment_bytes,
            new_journal_id=new_journal_id or make_journal_id(),
            on_progress=on_progress,
            shorter_history=shorter_history,
            ahead=ahead,
        )
        return cls(journaled, active, state, limits)

    @property
    def timings(self) -> Timings:
        """Where the time went; for benchmarks."""
        return self.pipeline.timings

    @property
    def sequence(self) -> int:
        """Sequence of the last durable command."""
        return self.state.sequence

    @property
    def rows_max(self) -> int:
        """Rows that one `commit` takes: `batch_rows_max`, or what fits into a segment of the journal if that is less."""
        return min(self._limits.batch_rows_max, self._journaled.writer.rows_max)

    def commit(self, events: Array) -> tuple[npt.NDArray[np.int64], Array]:
        """Applies a batch and makes it durable.

        Args:
            events: Rows of EVENT, at most `rows_max`; their sequence is assigned here, and received_time_us is raised
                to that of the row before where it falls.

        Returns:
            ReplyStatus int64[n] and one row of DECISION for each.

        Raises:
            JournalFull: Nothing moved; worth a retry.
            JournalFault: The process must end.
        """
        count = len(events)
        assert 0 < count <= self.rows_max, "a batch has its bound"
        self._journaled.writer.reserve(count)
        rows = words(events)
        screened = self.state.recent.screen(rows, self.state.progress)
        if screened.new_count:
            fresh = rows if screened.new_count == count else rows[screened.new]
            decisions = self.pipeline.apply(fresh)
            self._journaled.commit(fresh, decisions, self.timings)
            self.state.recent.settle(screened, decisions)
        return screened.statuses, rows_of(screened.replies, DECISION)

    def prepare(self) -> None:
        """Zeroes a bit of the next journal segment if that is behind; for the time after the answers have left.

        Raises:
            JournalFault: The process must end.
        """
        self._journaled.writer.prepare()

    def get_decisions(self, keys: npt.NDArray[np.uint64]) -> tuple[npt.NDArray[np.int64], Array]:
        """Finds recent decisions.

        Args:
            keys: uint64[n, 2], request_key and request_check.

        Returns:
            ReplyStatus int64[n], REPEATED or NOT_FOUND, and rows of DECISION.
        """
        statuses, decisions = self.state.recent.lookup(keys)
        scored = decisions["verdict"] != 0
        statuses[~scored] = int(ReplyStatus.NOT_FOUND)
        return statuses, decisions

    def catalog(self) -> list[dict[str, Any]]:
        """Returns the names of every revision that a stored decision may refer to, the active one last."""
        return self._journaled.catalog

    def counters(self) -> dict[str, int]:
        """Returns the figures of `Timings` by name, as the process tells them to whoever connects."""
        return asdict(self.timings)

    def close(self) -> None:
        """Releases the directory."""
        self._journaled.close()
