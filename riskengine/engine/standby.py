"""Standing by: a process that is to take over folds the journal behind the engine that still decides, until it is told to.

    {"stage": "catching_up", "done": bytes, "total": bytes}
    {"stage": "standing_by", "sequence": of the last event folded}     as soon as nothing is left to fold
    {"stage": "taking_over", "sequence": ..}                           it was told to, and the directory is free

The order is the line ``go`` on stdin; the end of stdin, SIGTERM and SIGINT end the process, which has changed nothing.

INVARIANTS: nothing is written, and the data directory not taken, before it is free: at any moment one engine decides at most.
Under pressure for memory the system ends this process before the one that decides. Called by `engine.loop`.
"""

import gc
import os
import select
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from riskengine.clock import Clock
from riskengine.errors import StartRefused
from riskengine.journal.directory import check_free

from .candidate import Candidate
from .forerunner import Forerunner
from .origin import Ahead
from .process import EXIT_DONE, GO, Report

TICK_MS: Final = 20
"""How often the end of the journal is looked at while standing by."""
FREE_MS: Final = 1
"""How often the directory is tried for, once told to take over."""
FREE_S_MAX: Final = 30.0
"""How long that may take: more than the supervisor gives an engine to stop."""
_OUT_OF_MEMORY_SCORE: Final = 500
_SCORE_PATH: Final = Path("/proc/self/oom_score_adj")


def stand_by(
    data_dir: Path, candidate: Candidate, *, report: Report, clock: Clock, orders: int, wakeups: tuple[int, ...]
) -> Ahead:
    """Folds until told to take over, and until the directory is free.

    Args:
        data_dir: The data directory of a running engine.
        candidate: What to fold under.
        report: Told each stage.
        clock: For turns and bounds.
        orders: Descriptor of the order.
        wakeups: Further descriptors whose readiness ends the process.

    Returns:
        What was folded; nobody held the directory a moment ago.

    Raises:
        StartRefused: The directory did not become free in time, or neither a snapshot nor the journal holds what came before.
        JournalCorrupt: The journal is damaged.
        SystemExit: It is asked to stop.
    """
    with _expendable():
        forerunner = Forerunner(data_dir, candidate, clock=clock)
        poll = select.poll()
        for descriptor in (orders, *wakeups):
            poll.register(descriptor, select.POLLIN)
        told = False
        while not _is_told(poll.poll(0 if (busy := forerunner.turn()) else TICK_MS), orders):
            if busy and not told:
                done, total = forerunner.progress()
                report("catching_up", done=done, total=total)
            elif not told:
                # Now, so that there is little left of it to do when callers wait: it took half a second.
                gc.collect()
                gc.freeze()
                report("standing_by", sequence=forerunner.sequence)
                told = True
    _wait_until_free(data_dir, forerunner, poll, clock=clock)
    report("taking_over", sequence=forerunner.sequence)
    return forerunner.ahead()


def _is_told(ready: list[tuple[int, int]], orders: int) -> bool:
    """Tells whether the order came; raises SystemExit when something else did."""
    for descriptor, _ in ready:
        if descriptor != orders or os.read(orders, len(GO)) != GO:
            raise SystemExit(EXIT_DONE)
    return bool(ready)


def _wait_until_free(data_dir: Path, forerunner: Forerunner, poll: select.poll, *, clock: Clock) -> None:
    """Goes on folding until the engine before has let go of the directory."""
    deadline_us = clock.monotonic_us() + int(FREE_S_MAX * 1e6)
    while True:
        try:
            check_free(data_dir)
        except StartRefused:
            if clock.monotonic_us() >= deadline_us:
                raise
        else:
            return
        forerunner.turn()
        if poll.poll(FREE_MS):  # No second order comes: it is asked to stop.
            raise SystemExit(EXIT_DONE)


@contextmanager
def _expendable() -> Iterator[None]:
    """Lets the system end this process first, within the block."""
    before = None
    with suppress(OSError, ValueError):
        before = int(_SCORE_PATH.read_text(encoding="ascii"))
        _SCORE_PATH.write_text(str(max(before, _OUT_OF_MEMORY_SCORE)), encoding="ascii")
    try:
        yield
    finally:
        with suppress(OSError):
            if before is not None:
                _SCORE_PATH.write_text(str(before), encoding="ascii")
