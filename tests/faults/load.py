"""Callers in threads: scores mostly, some batches, records, outcomes and repeats, at a pace, through whatever happens.

INVARIANT: what is sent and what comes back is all in the ledger. Used by tests and `scenarios`.
"""

import threading
from typing import Any

from .ledger import SCORE, Entry, Ledger, attempt, attempt_batch
from .traffic import Traffic

CALLERS = 5
PAUSE_S = 0.02
AWAY_PAUSE_S = 0.1
TIMEOUT_S = 1.0
BATCH_ROWS = (20, 250)


class Load:
    """Load on one server while the object is open. Use as a context manager.

    Args:
        channel: To the server.
        ledger: Told everything.
        traffic: Makes the requests.
        batches: The share of batches.
        callers: Threads.
    """

    def __init__(
        self, channel: Any, ledger: Ledger, traffic: Traffic, *, batches: float = 0.015, callers: int = CALLERS
    ) -> None:
        self._channel = channel
        self._ledger = ledger
        self._traffic = traffic
        self._batches = batches
        self._done = threading.Event()
        self._threads = [threading.Thread(target=self._call, daemon=True) for _ in range(callers)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        for thread in self._threads:
            thread.join()

    def _call(self) -> None:
        last: Entry | None = None
        while not self._done.is_set():
            status, last = self._one(last)
            self._done.wait(PAUSE_S if status == "OK" else AWAY_PAUSE_S)

    def _one(self, last: Entry | None) -> tuple[str, Entry | None]:
        """Makes one call; returns its status, and what the next may repeat."""
        traffic = self._traffic
        draw = traffic.draw()
        # What failed is mostly repeated, at once, as a gateway does; some of it is left for the oracle.
        if last is not None and draw < (0.8 if last.reply is None else 0.1):
            return attempt(self._channel, self._ledger, last, timeout_s=TIMEOUT_S), last
        draw = traffic.draw()
        if draw < self._batches:
            entries = [traffic.score() for _ in range(traffic.integer(*BATCH_ROWS))]
            return attempt_batch(self._channel, self._ledger, entries, timeout_s=TIMEOUT_S), entries[0]
        entry = traffic.record() if draw > 0.95 else traffic.outcome() if draw > 0.9 else traffic.score()
        assert entry.method in (SCORE, "RecordTransaction", "ReportOutcome")
        return attempt(self._channel, self._ledger, entry, timeout_s=TIMEOUT_S), entry
