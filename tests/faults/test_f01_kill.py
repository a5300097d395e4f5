"""F1: kill -9 of the engine, of the front, of everything, at random times under load."""

import os
from pathlib import Path

import pytest

from tests.faults.running import ENGINE, EVERYTHING, FRONT, SUPERVISOR
from tests.faults.scenarios import kill_round

pytestmark = [pytest.mark.server, pytest.mark.timeout(600)]
SEED = int(os.environ.get("RISKENGINE_SEED", "1"))
TARGETS = (ENGINE,) * 3 + (FRONT,) * 2 + (EVERYTHING,) * 4 + (SUPERVISOR,)


def test_f01_kill_loses_nothing_acknowledged_and_counts_nothing_twice(tmp_path: Path) -> None:
    """Goal: F1, F29. Method: ten kills under load, five of them of the whole server, the oracle after each restart."""
    killed: list[str] = []

    site = kill_round(tmp_path, seed=SEED, targets=TARGETS, steady_every=3, on_step=killed.append)

    assert sorted(TARGETS) == sorted(killed)
    assert site.ledger.count_acknowledged() > 500, "there was load"
    assert {"UNAVAILABLE"} == {status for status, _ in site.ledger.failures} - {"DEADLINE_EXCEEDED"}
