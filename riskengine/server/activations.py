"""Changing engines while the server runs: a second engine stands by, then takes over.

    asked     a second engine process starts beside the first, under the candidate, and folds up to where the first is
    ready     the first is asked to stop: it answers what it has read, and lets go of the data directory
    over      the second takes the directory, folds what is left, journals the activation, and serves

The gap for callers is from the second step to the end of the third. What is held against a mix of two configurations is the lock
of the data directory, nothing here.

INVARIANTS: until the second engine is told to take over, whatever becomes of it changes nothing; from then on it is *the*
engine, and if it ends it is started again as any engine that falls: under what the journal says decides. One change at a time.

Called by `server.supervisor`.
"""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from riskengine.clock import Clock
from riskengine.engine.process import GO

from .control import Caller, Desk
from .processes import Child

logger = logging.getLogger(__name__)

ENGINE: Final = "engine"
NEXT_ENGINE: Final = "next engine"
STOP_S: Final = 10.0
"""How long the engine before may take to stop."""
_SERVING: Final = "serving"


class Activations:
    """What changes the engine of one server.

    Args:
        children: The supervisor's processes by name; the engine among them is replaced.
        start: Starts an engine that stands by.
        clock: For bounds, and for the length of the gap.
        on_stage: Told what the engine that stands by says, as by `Supervisor`.
    """

    def __init__(
        self,
        children: dict[str, Child],
        *,
        start: Callable[[str], Child],
        clock: Clock,
        on_stage: Callable[[str, dict[str, Any]], None],
    ) -> None:
        self._children = children
        self._start = start
        self._clock = clock
        self._on_stage = on_stage
        self._desk: Desk | None = None
        self._asker: Caller | None = None
        self._next: Child | None = None
        self._retired: Child | None = None
        self._went_us = 0
        self._retired_us = 0

    @property
    def descriptors(self) -> list[int]:
        """What becomes readable when there is something to do."""
        found = self._desk.descriptors if self._desk is not None else []
        return found + [child.descriptor for child in (self._next, self._retired) if child is not None]

    def open(self, data_dir: Path, greeting: dict[str, Any]) -> None:
        """Lets commands ask, once the engine holds the data directory; may be repeated."""
        if self._desk is None:
            try:
                self._desk = Desk(data_dir, greeting)
            except OSError as error:
                logger.error("features activate will not reach this server: %s", error)

    def tick(self) -> None:
        """Does what there is to do."""
        if self._desk is not None:
            for caller, asked in self._desk.hear():
                self._answer(caller, asked)
        if self._retired is not None:
            self._see_off(self._retired)
        if self._next is not None:
            self._watch(self._next)
        elif self._went_us:
            self._tell_when_done()

    def failed(self, child: Child, why: str) -> bool:
        """Notes the end, or the refusal, of an engine.

        Args:
            child: It.
            why: What it said.

        Returns:
            Whether it was taking over: the supervisor then starts an engine again, at once. The one before has ended.
        """
        if not self._went_us or child is not self._children.get(ENGINE):
            return False
        if self._retired is not None:
            self._retired.wait(STOP_S)
            self._see_off(self._retired)
        message = f"the engine that was to take over ended ({why}); another goes on under what the journal says decides"
        logger.error("%s", message)
        self._tell({"stage": "unknown", "message": message})
        self._went_us, self._asker = 0, None
        return True

    def stop(self) -> None:
        """Ends whatever stands by or was replaced, and hangs up."""
        for child in (self._next, self._retired):
            if child is not None:
                child.ask_to_stop()
                child.wait(STOP_S)
                child.close()
        self._next = self._retired = None
        if self._desk is not None:
            self._desk.close()
            self._desk = None

    def _answer(self, caller: Caller, asked: dict[str, Any]) -> None:
        if asked.get("ask") != "activate":
            caller.tell(
                {"stage": "aborted", "message": "the server does not know what was asked; is it of another version?"}
            )
        elif self._next is not None or self._went_us or self._retired is not None:
            caller.tell({"stage": "aborted", "message": "another activation is under way; wait until it is done"})
        else:
            logger.info("an engine is started to stand by")
            self._asker = caller
            self._next = self._start(NEXT_ENGINE)

    def _watch(self, child: Child) -> None:
        """Hears the engine that stands by, and lets it take over when it is ready."""
        for stage in child.read_stages():
            self._on_stage(NEXT_ENGINE, stage)
            self._tell(stage if stage["stage"] != "refused" else {"stage": "aborted", "message": stage["message"]})
            if stage["stage"] == "refused":
                logger.error("the engine that stands by cannot take over: %s", stage["message"])
                self._asker = None
        if child.status is not None:
            self._tell({"stage": "aborted", "message": f"the engine that stands by ended with status {child.status}"})
        elif self._asker is None or self._asker.gone:
            logger.warning("the activation was withdrawn")
            child.ask_to_stop()
            child.wait(STOP_S)
        elif child.stage["stage"] == "standing_by":
            self._go(child)
            return
        else:
            return
        child.close()
        self._next = self._asker = None

    def _go(self, child: Child) -> None:
        """Lets it take over. It waits for the directory by itself: nobody has to see the end of the one before."""
        logger.info("the engine (process %d) is replaced by process %d", self._children[ENGINE].pid, child.pid)
        self._retired = self._children[ENGINE]
        self._retired.ask_to_stop()
        child.send(GO)
        child.name = ENGINE
        for other in self._children.values():
            other.stage = {"stage": "changing"}  # A front tells anew that it serves when it has found the other engine.
        self._children[ENGINE] = child
        self._next = None
        self._went_us = self._retired_us = self._clock.monotonic_us()

    def _see_off(self, child: Child) -> None:
        """Closes the engine before when it has ended, and kills it when it does not."""
        child.read_stages()
        if child.status is not None:
            child.close()
            self._retired = None
        elif self._clock.monotonic_us() - self._retired_us > STOP_S * 1e6:
            logger.warning("the engine before (process %d) does not stop and is killed", child.pid)
            child.kill()

    def _tell_when_done(self) -> None:
        if all(child.stage["stage"] == _SERVING for child in self._children.values()):
            gap_s = (self._clock.monotonic_us() - self._went_us) / 1e6
            logger.info("the change of engines took %.3f s", gap_s)
            self._tell({"stage": "activated", "gap_s": gap_s})
            self._went_us, self._asker = 0, None

    def _tell(self, stage: dict[str, Any]) -> None:
        if self._asker is not None:
            self._asker.tell(stage)
