"""F25: a process is stopped for some seconds and goes on, with the calls that expired meanwhile in its hands."""

import signal
import time

import pytest

from tests.faults.running import ENGINE, FRONT
from tests.faults.scenarios import Site

pytestmark = [pytest.mark.server, pytest.mark.timeout(300)]
PAUSE_S = 2.5
"""Callers of `load` give up after 1 s."""


@pytest.mark.parametrize("name", [ENGINE, FRONT])
def test_f25_paused_process_keeps_the_id_of_what_it_scores_late(site: Site, name: str) -> None:
    """Goal: F25. Method: SIGSTOP and SIGCONT under load; each expired call, repeated, is counted once."""
    pid, before = site.server.pid_of(name), site.ledger.failures["DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED"]
    with site.load():
        time.sleep(0.3)
        site.hurt()
        site.server.kill(name, signal.SIGSTOP)
        time.sleep(PAUSE_S)
        site.server.kill(name, signal.SIGCONT)
        time.sleep(0.5)

    assert site.ledger.failures["DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED"] > before, "calls expired"
    assert pid == site.server.pid_of(name), "nobody was restarted"
    site.check()
