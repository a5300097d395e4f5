"""The engine process: read what waits, apply it, make it durable, answer. Again.

A plain loop over `poll`: no event loop, no thread, no gRPC. It is started by the supervisor as ``python -m
riskengine.engine.loop CONFIG_DIR`` and tells its stages as `engine.process` says:

    {"stage": "kernels", "done": 3, "total": 11, "module": name of the next, "compiling": bool}
    {"stage": "kernels", "waiting": true}             another process is compiling them
    {"stage": "configuration"}
    {"stage": "recovery", "done": bytes, "total": bytes}     of what no snapshot holds
    {"stage": "serving"}
    {"stage": "refused", ...}

With ``--stand-by`` it takes over from the engine that runs, see `engine.standby`.

INVARIANTS: an answer leaves only after `Engine.commit` returned, that is after its frame is synced; a fault of the
journal, or any exception nobody expected, ends the process at once (memory may be ahead of the disk; the restart
replays); one front's fault never ends it. SIGTERM, SIGINT and the end of stdin finish what was read, and end it with
status 0.

Called by `server.supervisor`; `EngineLoop` also by tests.
"""

import gc
import logging
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from errno import ENOTDIR
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from riskengine.clock import Clock, SystemClock
from riskengine.enums import ReplyStatus
from riskengine.errors import JournalFull, StartRefused
from riskengine.journal.directory import journal_folder
from riskengine.types import EVENT, LAYOUT_VERSION, Array

from .fronts import Fronts, Part, Question
from .process import EXIT_DONE, Report, child_parser, report_line, run_child, stop_signals
from .sockets import listen

if TYPE_CHECKING:  # Importing them compiles or loads kernels, which is told about first.
    from riskengine.engine.configuration import Configuration
    from riskengine.settings import ServerSettings

logger = logging.getLogger(__name__)

PROGRESS_EVERY_US: Final = 100_000
FAREWELL_MS: Final = 1_000
"""How long fronts may take to read their last answers."""


class CommittingEngine(Protocol):
    """What the loop needs of an engine; `engine.engine.Engine` is it."""

    @property
    def rows_max(self) -> int:
        """As `Engine.rows_max`."""
        ...

    def commit(self, events: Array) -> tuple[npt.NDArray[np.int64], Array]:
        """As `Engine.commit`."""
        ...

    def get_decisions(self, keys: npt.NDArray[np.uint64]) -> tuple[npt.NDArray[np.int64], Array]:
        """As `Engine.get_decisions`."""
        ...

    def catalog(self) -> list[dict[str, Any]]:
        """As `Engine.catalog`."""
        ...

    def counters(self) -> dict[str, int]:
        """As `Engine.counters`."""
        ...

    def prepare(self) -> None:
        """As `Engine.prepare`."""
        ...

    def close(self) -> None:
        """As `Engine.close`."""
        ...


class EngineLoop:
    """One engine and its fronts.

    Args:
        data_dir: Where the socket goes.
        rows_max: Rows of one commit, `EngineLimits.batch_rows_max`; the engine may take fewer.
        report: Told each stage.
        clock: For the pace of progress alone.
        wakeups: Descriptors whose readiness stops the loop.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        rows_max: int,
        report: Report,
        clock: Clock | None = None,
        wakeups: tuple[int, ...] = (),
    ) -> None:
        self._data_dir = data_dir
        self._rows_max = rows_max
        self._report = report
        self._clock = clock or SystemClock()
        self._wakeups = wakeups
        self._fronts: Fronts | None = None
        self._state: dict[str, Any] = {"state": "RECOVERING", "done": 0, "total": 0}
        self._told_us = 0
        self._engine: CommittingEngine | None = None
        self._batch = np.zeros(rows_max, EVENT)

    def progress(self, done: int, total: int) -> None:
        """Tells how far recovery is, at most ten times a second; called with the directory's lock held.

        Args:
            done: Bytes of the journal that are folded.
            total: Bytes of the journal.

        Raises:
            SystemExit: A wakeup asks to stop; recovery changes nothing that would have to be finished.
        """
        self._state |= {"done": done, "total": total}
        now_us = self._clock.monotonic_us()
        if now_us - self._told_us < PROGRESS_EVERY_US:
            return
        self._told_us = now_us
        self._report("recovery", done=done, total=total)
        fronts = self.open()
        if fronts.wait(0):
            raise SystemExit(EXIT_DONE)
        fronts.notify(self._state)

    def run(self, engine: CommittingEngine) -> None:
        """Serves until a wakeup; then answers what was read, and closes the engine.

        Args:
            engine: Recovered, its directory locked.

        Raises:
            JournalFault: The process must end; nothing is closed.
        """
        self._engine = engine
        self._state = {"state": "SERVING", "catalog": engine.catalog()}
        fronts = self.open()
        fronts.narrow(engine.rows_max)
        fronts.notify(self._state)
        self._report("serving")
        gc.collect()
        gc.freeze()
        while not fronts.wait(None):
            self._turn(fronts, engine)
        self._turn(fronts, engine)
        while fronts.left_over:
            self._turn(fronts, engine)
        deadline_us = self._clock.monotonic_us() + FAREWELL_MS * 1000
        while fronts.unsent_bytes() and self._clock.monotonic_us() < deadline_us:
            fronts.wait(10)
        fronts.close()
        engine.close()

    def open(self) -> Fronts:
        """Listens, if it does not yet, and returns the connections; raises OSError where the socket cannot be."""
        # Not before the directory is locked: the socket of a running engine would be replaced.
        if self._fronts is None:
            self._fronts = Fronts(
                listen(self._data_dir), rows_max=self._rows_max, hello=self._hello, wakeups=self._wakeups
            )
        return self._fronts

    def _hello(self) -> dict[str, Any]:
        counters = {} if self._engine is None else self._engine.counters()
        return self._state | {"pid": os.getpid(), "layout": LAYOUT_VERSION, "counters": counters}

    def _turn(self, fronts: Fronts, engine: CommittingEngine) -> None:
        """Commits and answers one batch, if anything waits."""
        gathered = fronts.gather(self._batch)
        assert gathered.row_count == sum(part.row_count for part in gathered.parts), "every row belongs to a part"
        if gathered.row_count:
            self._commit(fronts, engine, gathered.row_count, gathered.parts)
        for question in gathered.questions:
            self._look_up(fronts, engine, question)

    def _commit(self, fronts: Fronts, engine: CommittingEngine, count: int, parts: list[Part]) -> None:
        try:
            statuses, decisions = engine.commit(self._batch[:count])
        except JournalFull:
            logger.warning("the journal is full: %d rows were refused", count)
            fronts.answer(parts, np.full(count, ReplyStatus.JOURNAL_FULL, np.int64), None)
        else:
            fronts.answer(parts, statuses, decisions)
            engine.prepare()

    @staticmethod
    def _look_up(fronts: Fronts, engine: CommittingEngine, question: Question) -> None:
        statuses, decisions = engine.get_decisions(question.keys)
        fronts.answer([Part(question.front, question.number, len(question.keys))], statuses, decisions)


def load_kernels(report: Report) -> None:
    """Loads every kernel, telling how far it is and whether it has to compile.

    Args:
        report: Told the stage ``kernels``.
    """
    from riskengine.engine.warm import warm

    compiling = False

    def on_compile() -> None:
        nonlocal compiling
        compiling = True

    def on_step(done: int, total: int, module: str) -> None:
        report("kernels", done=done, total=total, module=module, compiling=compiling)

    warm(on_step=on_step, on_compile=on_compile, on_wait=lambda: report("kernels", waiting=True))


@contextmanager
def told_as_refusal(data_dir: Path, arena_mib: int) -> Iterator[None]:
    """Turns what the system refuses at the start into a StartRefused: starting again would meet the same.

    Args:
        data_dir: Of the engine.
        arena_mib: The largest of the bounds of its memory, as server.yaml says it.

    Raises:
        StartRefused: There is no memory, or a file is of a wrong kind, not allowed, or has no space.
    """
    try:
        yield
    except MemoryError:
        raise StartRefused(
            f"the system does not give the memory that server.yaml asks for: lower limits.arena_mib (now {arena_mib}), "
            "limits.entities_max or limits.recent_decisions_max"
        ) from None
    except OSError as error:
        copying = error.args[0][0] if isinstance(error, shutil.Error) else None  # (from, to, why) of the first file.
        path = copying[1] if copying else error.filename or data_dir
        what = copying[2] if copying else error.strerror or type(error).__name__
        raise StartRefused(
            f"{path} cannot be used: {what}; see that it is of the right kind, that this user may write it, and that the "
            f"disk of {data_dir} has space",
            metadata={"path": str(path)},
        ) from error


def run_engine(
    config_dir: Path,
    settings: "ServerSettings",
    *,
    report: Report,
    wakeups: tuple[int, ...] = (),
    shorter_history: bool = False,
    resume: bool = False,
    orders: int | None = None,
) -> None:
    """Loads a configuration, recovers, serves until SIGTERM, SIGINT or a wakeup.

    Args:
        config_dir: Holds the files of the analysts.
        settings: server.yaml.
        report: Told each stage.
        wakeups: Further descriptors whose readiness stops it.
        shorter_history: As `Engine.open`.
        resume: Whether to go on with the configuration that decided last, rather than with what the files say now.
        orders: Descriptor on which it is told to take over: it stands by until then, and goes on with the candidate.

    Raises:
        ConfigError, StartRefused, JournalCorrupt: It cannot start.
        JournalFault: The process must end.
    """
    load_kernels(report)
    from riskengine.engine.active import resumed_configuration
    from riskengine.engine.candidate import read_candidate
    from riskengine.engine.engine import Engine
    from riskengine.engine.standby import stand_by

    report("configuration")
    candidate = read_candidate(settings.data_dir) if orders is not None else None
    resumed = resumed_configuration(settings.data_dir) if resume else None
    configuration = candidate.configuration if candidate else resumed or _read(config_dir, settings)
    limits = configuration.limits
    with stop_signals() as stopped:  # Until here a signal just ends the process: nothing is open.
        loop = EngineLoop(settings.data_dir, rows_max=limits.batch_rows_max, report=report, wakeups=(stopped, *wakeups))
        with told_as_refusal(settings.data_dir, settings.limits.arena_mib):
            journal = journal_folder(settings.data_dir)
            if journal.exists() and not journal.is_dir():
                raise NotADirectoryError(ENOTDIR, os.strerror(ENOTDIR), str(journal))
            ahead = None
            if candidate is not None and orders is not None:
                ahead = stand_by(
                    settings.data_dir, candidate, report=report, clock=SystemClock(), orders=orders, wakeups=(stopped,)
                )
            engine = Engine.open(
                settings.data_dir,
                configuration,
                limits=limits,
                segment_bytes=settings.journal_segment_mib << 20,
                on_progress=loop.progress,
                shorter_history=shorter_history,
                ahead=ahead,
            )
            loop.open()
        loop.run(engine)


def _read(config_dir: Path, settings: "ServerSettings") -> "Configuration":
    """Reads the files of the analysts."""
    from riskengine.engine.configuration import load_configuration
    from riskengine.wire.pseudonyms import Pseudonyms, TagKey

    return load_configuration(
        config_dir,
        limits=settings.limits.engine_limits(),
        base_currency=settings.base_currency,
        model_dir=settings.model_dir,
        tag=Pseudonyms(TagKey.load(settings.tag_key_file)).tag,
        now_us=SystemClock().now_us(),
    )


def main(arguments: list[str] | None = None) -> int:
    """Runs the engine process; returns its exit status."""
    parser = child_parser("riskengine.engine.loop", "The engine process.")
    parser.add_argument("--shorter-history", action="store_true", help="begin with what a trimmed journal holds")
    parser.add_argument("--resume", action="store_true", help="go on with the configuration that decided last")
    parser.add_argument("--stand-by", action="store_true", help="take over, once told to, with the candidate")
    given = parser.parse_args(arguments)
    wakeups = (sys.stdin.fileno(),) if given.supervised else ()

    def run() -> None:
        from riskengine.settings import settings_for

        run_engine(
            given.config_dir,
            settings_for(given.config_dir, given.settings),
            report=report_line,
            wakeups=wakeups,
            shorter_history=given.shorter_history,
            resume=given.resume,
            orders=sys.stdin.fileno() if given.stand_by else None,
        )

    return run_child("engine", run)


if __name__ == "__main__":
    sys.exit(main())
