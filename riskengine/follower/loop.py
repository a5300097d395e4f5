"""The follower process: started by the supervisor when the engine serves, as ``python -m riskengine.follower.loop CONFIG_DIR``.

It tells its stages as `engine.process` says:

    {"stage": "kernels", ...}                         as the engine
    {"stage": "following", "sequence": of the last event folded, "behind_bytes": of the journal, "stored_before": first
     sequence that the decision store lacks, "trouble": why nothing is written just now, or ""}
    {"stage": "snapshot", "sequence": of the last event in it, "bytes": its length}
    {"stage": "trouble", "what": "snapshot", "message": text}
    {"stage": "trimmed", "segment": index of the first that is kept, "bytes": freed}
    {"stage": "refused", ...}

Memory: a state of its own, as large as the engine's (bounded by the limits of server.yaml), and up to 100 MB for the decision
store. Under pressure the system ends this process before any other of ours.

INVARIANTS: at a lower priority than the engine; one follower holds one data directory. Whatever it is doing may be cut off at any
moment: SIGTERM ends it at once, as kill -9 would, and the next one goes on from what is durable.

Called by `server.supervisor`.
"""

import fcntl
import os
import select
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

from riskengine.clock import SystemClock
from riskengine.engine.loop import load_kernels
from riskengine.engine.process import EXIT_DONE, Report, child_parser, report_line, run_child
from riskengine.errors import StartRefused
from riskengine.journal.reader import journal_exists
from riskengine.settings import ServerSettings, settings_for

LOCK_NAME: Final = "follower.lock"
NICENESS: Final = 10
OUT_OF_MEMORY_SCORE: Final = "500"
TICK_S: Final = 0.2
"""How often the end of the journal is looked at when nothing comes: 0.3 ms of work."""
SNAPSHOT_BYTES_PER_S: Final = 64 * 1024 * 1024
"""How fast a snapshot is written at most, so that the journal's syncs find an idle disk."""


class Waiter:
    """Waits for time to pass, or for a wakeup.

    Args:
        wakeups: Descriptors whose readiness asks to stop.
    """

    def __init__(self, wakeups: tuple[int, ...]) -> None:
        self._poll = select.poll()
        for descriptor in wakeups:
            self._poll.register(descriptor, select.POLLIN)

    def wait(self, timeout_s: float) -> bool:
        """Waits; returns whether it is asked to stop."""
        return bool(self._poll.poll(timeout_s * 1000))

    def pause(self, size_bytes: int) -> None:
        """Waits as long as the disk may rest after so many bytes of a snapshot.

        Raises:
            SystemExit: It is asked to stop; half a snapshot means nothing.
        """
        if self.wait(size_bytes / SNAPSHOT_BYTES_PER_S):
            raise SystemExit(EXIT_DONE)


def run_follower(settings: ServerSettings, *, report: Report, wakeups: tuple[int, ...] = ()) -> None:
    """Follows the journal of a configuration until a wakeup.

    Args:
        settings: server.yaml.
        report: Told each stage.
        wakeups: Descriptors whose readiness stops it.

    Raises:
        ConfigError, StartRefused, JournalCorrupt: It cannot follow.
    """
    step_back()
    lock = lock_follower(settings.data_dir)
    try:
        load_kernels(report)
        from .follower import Follower

        waiter = Waiter(wakeups)
        follower = Follower(
            settings.data_dir,
            snapshots=settings.snapshots,
            retention=settings.retention,
            clock=SystemClock(),
            report=report,
            pause=waiter.pause,
        )
        busy = True
        while not waiter.wait(0.0 if busy else TICK_S):
            busy = follower.turn()
    finally:
        os.close(lock)


def step_back() -> None:
    """Lets the engine and the fronts have the processor and the memory first."""
    os.nice(NICENESS)
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(OUT_OF_MEMORY_SCORE, encoding="ascii")


def lock_follower(data_dir: Path) -> int:
    """Takes a data directory for this follower.

    Returns:
        The descriptor that holds the lock.

    Raises:
        StartRefused: There is no journal, or another follower has it.
    """
    if not journal_exists(data_dir):
        raise StartRefused(f"there is no journal in {data_dir} to follow; start the engine first")
    path = data_dir / LOCK_NAME
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise StartRefused(f"{path} cannot be used: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise StartRefused(f"{data_dir} has a follower already; stop it first") from None
    return descriptor


def main(arguments: list[str] | None = None) -> int:
    """Runs the follower process; returns its exit status."""
    given = child_parser("riskengine.follower.loop", "The follower process.").parse_args(arguments)
    wakeups = (sys.stdin.fileno(),) if given.supervised else ()
    return run_child(
        "follower",
        lambda: run_follower(settings_for(given.config_dir, given.settings), report=report_line, wakeups=wakeups),
    )


if __name__ == "__main__":
    sys.exit(main())
