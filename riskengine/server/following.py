"""The follower as a child of the supervisor: started when calls are answered, again when it ends, and never in the way.

    ended        started again after PAUSE_S_MIN, twice as long each time, PAUSE_S_MAX at most
    lived long   the pauses begin anew
    refused      the same: what stands in its way may go away, and serving does not need it

INVARIANTS: nothing that happens to it raises anything here; every end is logged with what it said. Called by `supervisor`.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Any, Final

from riskengine.clock import Clock

from .processes import Child

logger = logging.getLogger(__name__)

FOLLOWER: Final = "follower"
MODULE: Final = "riskengine.follower.loop"
PAUSE_S_MIN: Final = 1
PAUSE_S_MAX: Final = 60
LIVED_LONG_S: Final = 60
STOP_S: Final = 5.0


class Following:
    """The follower of one server.

    Args:
        arguments: Of the process, see `engine.process.child_parser`.
        clock: For the pauses.
        on_stage: Told what it says, as by `Supervisor`.
        module: What runs.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        clock: Clock,
        on_stage: Callable[[str, dict[str, Any]], None],
        module: str = MODULE,
    ) -> None:
        self._arguments = list(arguments)
        self._clock = clock
        self._on_stage = on_stage
        self._module = module
        self._child: Child | None = None
        self._started_us = 0
        self._start_at_us = 0
        self._pause_s = PAUSE_S_MIN

    @property
    def descriptor(self) -> int | None:
        """What becomes readable when it says something; None while it does not run."""
        return self._child.descriptor if self._child is not None else None

    @property
    def pid(self) -> int:
        """Its process id; 0 while it does not run."""
        return self._child.pid if self._child is not None else 0

    def tick(self, *, ready: bool) -> None:
        """Hears what it says, and starts it when it is time.

        Args:
            ready: Whether calls are answered: nothing is started before.
        """
        if self._child is None:
            if ready and self._clock.monotonic_us() >= self._start_at_us:
                self._started_us = self._clock.monotonic_us()
                self._child = Child(FOLLOWER, self._module, self._arguments)
            return
        self._hear(self._child)
        if self._child.status is not None:
            self._hear(self._child)
            self._bury(self._child)

    def ask_to_stop(self) -> None:
        """Sends SIGTERM, which ends it at once."""
        if self._child is not None:
            self._child.ask_to_stop()

    def stop(self) -> None:
        """Waits for its end."""
        if self._child is not None:
            self._child.ask_to_stop()
            self._child.wait(STOP_S)
            self._child.close()
            self._child = None

    def _hear(self, child: Child) -> None:
        for stage in child.read_stages():
            if stage["stage"] == "refused":
                logger.error("the follower cannot go on: %s", stage.get("message"))
            self._on_stage(FOLLOWER, stage)

    def _bury(self, child: Child) -> None:
        now_us = self._clock.monotonic_us()
        if now_us - self._started_us >= LIVED_LONG_S * 1_000_000:
            self._pause_s = PAUSE_S_MIN
        logger.error(
            "the follower (process %d) ended with status %d and is started again in %d s; calls are answered as before",
            child.pid,
            child.status,
            self._pause_s,
        )
        self._on_stage(FOLLOWER, {"stage": "restarting", "status": child.status})
        child.close()
        self._child = None
        self._start_at_us = now_us + self._pause_s * 1_000_000
        self._pause_s = min(2 * self._pause_s, PAUSE_S_MAX)
