"""F14: the same requests from many callers at once, alone and in batches, across a kill."""

import os
import threading
import time

import numpy as np
import pytest

from tests.faults.ledger import Entry, attempt, attempt_batch
from tests.faults.running import ENGINE
from tests.faults.scenarios import Site

pytestmark = [pytest.mark.server, pytest.mark.timeout(1800)]
CALLERS = int(os.environ.get("RISKENGINE_CALLERS", "12"))
IDS = 40
COPIES = int(os.environ.get("RISKENGINE_COPIES", "4"))
"""Of each id, from each caller."""


def storm(site: Site, entries: list[Entry], seed: int) -> None:
    """One caller: every entry several times in an order of its own, every tenth time in a batch with itself."""
    rng = np.random.default_rng(seed)
    for index in rng.permutation(np.repeat(np.arange(len(entries)), COPIES)):
        entry = entries[index]
        if rng.random() < 0.1:
            other = entries[int(rng.integers(0, len(entries)))]
            attempt_batch(site.server.channel, site.ledger, [entry, other, entry, entry], timeout_s=2.0)
        elif attempt(site.server.channel, site.ledger, entry, timeout_s=2.0) != "OK":
            time.sleep(0.02)


def test_f14_retry_storm_is_counted_once(site: Site) -> None:
    """Goal: F14. Method: callers x copies of 40 ids, the engine killed in the midst; the oracle counts each id once."""
    entries = [site.traffic.score() for _ in range(IDS)]
    callers = [threading.Thread(target=storm, args=(site, entries, seed)) for seed in range(CALLERS)]
    mark = site.server.mark()
    for caller in callers:
        caller.start()
    while sum(entry.attempts for entry in entries) < CALLERS * COPIES * IDS // 4:
        time.sleep(0.005)
    site.hurt()
    site.server.kill(ENGINE)
    site.server.wait_restarted(ENGINE, after=mark)
    for caller in callers:
        caller.join()

    assert sum(entry.attempts for entry in entries) >= CALLERS * COPIES * IDS
    site.check()
