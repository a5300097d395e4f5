"""F16, F17: callers whose deadline passes at any moment, and callers whose connection is reset."""

import os
import threading
import time

import numpy as np
import pytest

from riskengine.server.client import RiskClient
from tests.faults.ledger import SCORE, attempt, method_of
from tests.faults.proxy import Proxy
from tests.faults.scenarios import Site

pytestmark = [pytest.mark.server, pytest.mark.timeout(1800)]
CALLS = int(os.environ.get("RISKENGINE_CALLS", "1200"))
CALLERS = 6
DEADLINE_S = (0.001, 0.02)
RESETS = 30


def hurry(site: Site, seed: int) -> None:
    """One caller with deadlines of 1 to 20 ms."""
    rng = np.random.default_rng(seed)
    for _ in range(CALLS // CALLERS):
        draw = rng.random()
        entry = site.traffic.score() if draw < 0.8 else site.traffic.record() if draw < 0.9 else site.traffic.outcome()
        attempt(site.server.channel, site.ledger, entry, timeout_s=float(rng.uniform(*DEADLINE_S)))


def test_f16_deadline_that_passes_leaves_nothing_half_done(site: Site) -> None:
    """Goal: F16. Method: thousands of calls with 1 to 20 ms; the oracle repeats each and counts each once."""
    before = site.ledger.failures.total()
    callers = [threading.Thread(target=hurry, args=(site, seed)) for seed in range(CALLERS)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()

    assert site.ledger.failures.total() > before, "deadlines passed"
    site.check()


def test_f17_caller_that_vanishes_leaves_nothing_half_done(site: Site) -> None:
    """Goal: F17. Method: connections through a proxy are reset while calls are under way; then the oracle."""
    rng = np.random.default_rng(17)
    answered = 0
    for _ in range(RESETS):
        with Proxy(site.server.address) as proxy, RiskClient(proxy.address) as client:
            entries = [site.traffic.score() for _ in range(5)]
            calls = [method_of(client.channel, SCORE).future(entry.raw, timeout=2.0) for entry in entries]
            time.sleep(float(rng.uniform(0.0, 0.03)))
            proxy.cut()
            for entry, call in zip(entries, calls, strict=True):
                entry.attempts += 1
                if call.exception() is None:
                    site.ledger.acknowledged(entry, call.result())
                    answered += 1

    assert answered < RESETS * 5, "some were cut off"
    site.check()
