"""When the rows that have gathered are sent to the engine.

    lone        nothing else is under way: in the next turn of the event loop
    overlapping at the next look, `pace_ms` later, unless this thread was busy all the while
    busy        at a later look, `pace_max_ms` after the first row at most
    hurried     at the next look, busy or not: a row has little time

A front that is busy is what callers wait for: rows sent earlier would be answered earlier, but their replies would only join
the queue of the event loop, while every frame costs both processes its fixed price (ADR 6 has the measurement). So the
larger the load, the larger the frames, and without load nobody waits for company.

INVARIANTS: between the first row and the flush there is exactly one timer or turn of the loop. Made by
`server.engine_client`.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from riskengine.clock import thread_used_s

BUSY_SHARE: Final = 0.75
"""A thread that used the processor for this share of the time has no time to spare."""

HURRY_PACES: Final = 4
"""A call with less time than this many of the longest waits is not kept waiting."""


class Pacer:
    """The timer of the frame that gathers.

    Args:
        loop: The event loop; the thread that calls is the one that runs it.
        pace_s: Between two looks, seconds; 0: every frame goes in the next turn of the loop.
        pace_max_s: The longest wait, seconds.
        flush: Sends what has gathered; may do nothing.
        used_s: Processor time of this thread so far, seconds.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        pace_s: float,
        pace_max_s: float,
        flush: Callable[[], None],
        used_s: Callable[[], float] = thread_used_s,
    ) -> None:
        self._loop = loop
        self._pace_s = pace_s
        self._pace_max_s = pace_max_s
        self._flush = flush
        self._scheduled = False
        self._hurried = False
        self._first_s = 0.0
        self._looked_s = 0.0
        self._used_s = used_s
        self._used_before_s = 0.0

    def row_came(self, *, lone: bool, deadline_s: float) -> None:
        """Sees to it that the row is sent.

        Args:
            lone: Whether nothing else is under way.
            deadline_s: When the row's call gives up, on the event loop's clock.
        """
        if deadline_s - self._loop.time() < HURRY_PACES * self._pace_max_s:
            self._hurried = True
        if self._scheduled:
            return
        self._scheduled = True
        if lone or not self._pace_s:
            self._loop.call_soon(self._send)
            return
        self._first_s = self._looked_s = self._loop.time()
        self._used_before_s = self._used_s()
        self._loop.call_later(self._pace_s, self._look)

    def _look(self) -> None:
        now_s, used_s = self._loop.time(), self._used_s()
        busy = used_s - self._used_before_s >= BUSY_SHARE * (now_s - self._looked_s)
        if busy and not self._hurried and now_s - self._first_s + self._pace_s <= self._pace_max_s:
            self._looked_s, self._used_before_s = now_s, used_s
            self._loop.call_later(self._pace_s, self._look)
            return
        self._send()

    def _send(self) -> None:
        self._scheduled = self._hurried = False
        self._flush()
