"""Notices that nothing came for a while, with one timer for many arrivals.

INVARIANT: told once, never before `idle_s` have passed since the last arrival, and never after `close`. Used by
`server.servicers`.
"""

import asyncio
from collections.abc import Callable


class IdleWatch:
    """Watches from now on.

    Args:
        idle_s: How long nothing may come, seconds.
        on_idle: Called when nothing came for that long.
    """

    def __init__(self, idle_s: float, on_idle: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._idle_s = idle_s
        self._on_idle = on_idle
        self._heard_s = self._loop.time()
        self._timer = self._loop.call_later(idle_s, self._look)

    def heard(self) -> None:
        """Notes an arrival."""
        self._heard_s = self._loop.time()

    def close(self) -> None:
        """Ends the watch."""
        self._timer.cancel()

    def _look(self) -> None:
        due_s = self._heard_s + self._idle_s
        if self._loop.time() >= due_s:
            self._on_idle()
        else:
            self._timer = self._loop.call_at(due_s, self._look)
