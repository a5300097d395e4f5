"""Where the server asks the system for the time; commands and `lab`, which only show it, ask by themselves.

INVARIANT: nothing that a decision depends on reads a clock; time reaches it as data, in microseconds since 1970-01-01
UTC. Called by `server` and `engine.loop`; `engine.pipeline` measures itself by `monotonic_ns`.
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


def monotonic_ns() -> int:
    """Returns a time that never falls, nanoseconds since an arbitrary start; for measuring, never for deciding."""
    return time.perf_counter_ns()


def thread_used_s() -> float:
    """Returns the processor time that the calling thread has used, seconds; for pacing, never for deciding."""
    return time.thread_time()
