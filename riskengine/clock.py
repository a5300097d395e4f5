"""The only module that asks the system for the time.

INVARIANT: nothing below the front and the engine's loop reads a clock; time reaches them as data, in microseconds since
1970-01-01 UTC. Called by `server`, `engine.loop` and `cli`.
"""

import time
from typing import Protocol


class Clock(Protocol):
    """Where a process gets its time from; tests pass their own."""

    def now_us(self) -> int:
        """Returns the time of day, microseconds since the epoch."""
        ...

    def monotonic_us(self) -> int:
        """Returns a time that never falls, microseconds since an arbitrary start."""
        ...


class SystemClock:
    """The system's clock."""

    def now_us(self) -> int:
        """Returns the time of day, microseconds since the epoch."""
        return time.time_ns() // 1000

    def monotonic_us(self) -> int:
        """Returns a time that never falls, microseconds since an arbitrary start."""
        return time.monotonic_ns() // 1000


class ManualClock:
    """A clock that tests turn by hand.

    Args:
        now_us: The first time it tells.
    """

    def __init__(self, now_us: int = 0) -> None:
        self._now_us = now_us

    def now_us(self) -> int:
        """Returns the time it was set to."""
        return self._now_us

    def monotonic_us(self) -> int:
        """Returns the time it was set to."""
        return self._now_us

    def advance(self, delta_us: int) -> None:
        """Moves the clock forward by `delta_us`, at least 0."""
        assert delta_us >= 0, "time does not fall"
        self._now_us += delta_us


def monotonic_ns() -> int:
    """Returns a time that never falls, nanoseconds since an arbitrary start; for measuring, never for deciding."""
    return time.perf_counter_ns()
