"""The lanes at work: one in this process, the others in processes of their own, started by spawn.

INVARIANTS: a lane gets its tasks in the order in which they were given; this process does its own while it would wait for
others. When a lane fails, or this process is stopped, all processes end before the error is passed on. Ctrl-C reaches this
process alone.

Called by `run`.
"""

import multiprocessing
import signal
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from types import TracebackType
from typing import Any, Final

import pyarrow as pa

from riskengine.errors import RiskEngineError
from riskengine.lab.compute.lane import FAILED, READY, Folded, Lane, Recipe, work
from riskengine.lab.compute.slots import Layout, Slots, shared_memory

# What a row costs, relative to folding all columns of it: by these, whoever has least to do packs the next batch.
PACK_COST: Final = 0.7
BUSY_COST: Final = 0.7
"""Reading and writing, which this process does beside its lane."""


@dataclass(slots=True)
class _Remote:
    """A lane in another process."""

    process: SpawnProcess
    pipe: Connection


@dataclass(slots=True)
class _Load:
    """What a lane has to do.

    Attributes:
        share: What a row costs it to fold.
        tasks: Cost of each task that was given and not yet done, by number.
    """

    share: float
    tasks: dict[int, float] = field(default_factory=dict)


class Team:
    """The lanes; a context that ends with their processes.

    Args:
        recipes: Of the lanes, this process's own first.
        shares: What part of the cost of folding a row each of them has.
        layout: Of the slots.
    """

    def __init__(self, recipes: Sequence[Recipe], shares: Sequence[float], layout: Layout) -> None:
        self._recipes = recipes
        self._layout = layout
        self._loads = [_Load(share) for share in shares]
        self._remotes: dict[int, _Remote] = {}
        self._own: deque[tuple[int, Callable[[], object]]] = deque()
        self._replies: dict[int, Any] = {}
        self._number = READY
        context = multiprocessing.get_context("spawn")
        memory = shared_memory(context, layout) if len(recipes) > 1 else None
        self.slots = Slots(layout, memory)
        self._lane = Lane(recipes[0], self.slots)
        # Inherited by the processes, for good: Ctrl-C goes to a whole group, and this process alone has to answer it.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            for number, recipe in enumerate(recipes[1:], start=1):
                here, there = context.Pipe()
                process = context.Process(target=work, args=(recipe, layout, memory, there), daemon=True)
                process.start()
                there.close()
                self._remotes[number] = _Remote(process, here)
        except BaseException:
            self.stop()
            raise
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def __enter__(self) -> "Team":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Ends the processes of the lanes, whatever they are doing: nothing of theirs is worth keeping."""
        for remote in self._remotes.values():
            remote.process.terminate()
        for remote in self._remotes.values():
            remote.process.join()
            remote.pipe.close()
        self._remotes.clear()

    def pack(self, slot: int, batch: pa.RecordBatch) -> int:
        """Has a batch packed into a slot by whoever has least to do; returns the task's number. Its reply: the events."""
        busy = BUSY_COST * self._layout.rows_max
        loads = [sum(load.tasks.values()) + (busy if lane == 0 else 0) for lane, load in enumerate(self._loads)]
        lane = loads.index(min(loads))
        number = self._new_task(lane, PACK_COST * batch.num_rows)
        if lane == 0:
            self._own.append((number, lambda: self._lane.pack(slot, batch)))
        else:
            self._send(lane, (number, "pack", slot, batch.num_rows), batch.serialize())
        return number

    def fold(self, slot: int, count: int) -> list[int]:
        """Has the events of a slot folded by every lane that folds; returns the tasks' numbers. Their reply: `Folded`."""
        numbers = []
        for lane, recipe in enumerate(self._recipes):
            if not recipe.folds:
                continue
            number = self._new_task(lane, self._loads[lane].share * count)
            numbers.append(number)
            if lane == 0:
                self._own.append((number, lambda: self._lane.fold(slot, count)))
            else:
                self._send(lane, (number, "fold", slot, count))
        return numbers

    def packed(self, number: int) -> int:
        """Returns the reply to a task of `pack`, when it is there."""
        reply = self._wait(number)
        assert isinstance(reply, int), "packing answers with a count"
        return reply

    def folded(self, numbers: Sequence[int]) -> list[Folded]:
        """Returns the replies to the tasks of `fold`, when they are there."""
        return [self._wait(number) for number in numbers]

    def _new_task(self, lane: int, cost: float) -> int:
        self._number += 1
        self._loads[lane].tasks[self._number] = cost
        return self._number

    def _send(self, lane: int, task: tuple[object, ...], batch: pa.Buffer | None = None) -> None:
        remote = self._remotes[lane]
        try:
            remote.pipe.send(task)
            if batch is not None:
                remote.pipe.send_bytes(batch)
        except OSError:
            self._take(lane)  # Its last words say why.
            raise self._ended(lane) from None

    def _wait(self, number: int) -> Any:
        """Returns the reply to a task; works and takes replies meanwhile."""
        while number not in self._replies:
            self._listen(0.0 if self._own else None)
            if number not in self._replies and self._own:
                done, call = self._own.popleft()
                self._settle(0, done, call())
        return self._replies.pop(number)

    def _listen(self, timeout_s: float | None) -> None:
        """Takes the replies that have come; waits for one if there is no time given."""
        pipes = {remote.pipe: lane for lane, remote in self._remotes.items()}
        for ready in wait(list(pipes), timeout_s) if pipes else ():
            self._take(pipes[ready])  # type: ignore[index]

    def _take(self, lane: int) -> None:
        """Takes one message of a lane, which has said something or ended.

        Raises:
            RiskEngineError: The lane says that something is wrong, or its process has ended.
            RuntimeError: The lane met what nobody expected; with its traceback.
        """
        try:
            number, reply = self._remotes[lane].pipe.recv()
        except (EOFError, OSError):
            raise self._ended(lane) from None
        if number == FAILED:
            message, trace = reply
            if trace:
                raise RuntimeError(f"a process that computes features failed: {message}\n{trace}")
            raise RiskEngineError(message)
        if number != READY:
            self._settle(lane, number, reply)

    def _settle(self, lane: int, number: int, reply: object) -> None:
        self._replies[number] = reply
        del self._loads[lane].tasks[number]

    def _ended(self, lane: int) -> RiskEngineError:
        """Says that the process of a lane is gone."""
        process = self._remotes[lane].process
        with suppress(AssertionError):
            process.join(5)
        return RiskEngineError(
            f"a process that computes features ended (exit code {process.exitcode}), perhaps for lack of memory; "
            "nothing was written. Try again with fewer --processes"
        )
