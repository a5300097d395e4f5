"""Crashes at every call of the disk, power lost or only the process gone: each decision is there exactly once.

What was flushed is not lost, a tag that was erased and days that were dropped are not back.
"""

import copy
from datetime import date

import numpy as np
import pyarrow as pa
import pytest

from riskengine.errors import StoreFault
from riskengine.store.store import DecisionStore
from tests.store.builders import DATA_DIR, pairs_of, simulated, stream
from tests.store.disks import PowerLoss, SimulatedFiles, dead_from
from tests.store.ledger import Ledger

POINTS_MIN = 70
MANY = 8


def work(files: SimulatedFiles, ledger: Ledger) -> None:
    """All that a follower does: small flushes over five days, merged, erased from, two days dropped, at last all."""
    store = DecisionStore(DATA_DIR, rows_max=12, files=files)
    for round_ in range(5):
        ledger.append(store, 8)
        ledger.flush(store)
        if round_ in (1, 3):
            ledger.append(store, 2)
            ledger.erase(store, tag=1 + round_, tombstone=1000 + round_)
        if round_ == 2:
            store.compact()
        if round_ == 3:
            ledger.drop(store, date(2026, 3, 3))
    ledger.append(store, 5)
    store.compact()
    ledger.drop(store, date(2026, 4, 1))
    ledger.append(store, 1)


def go_on(files: SimulatedFiles, ledger: Ledger, rng: np.random.Generator) -> None:
    """Opens what a crash left, with up to two more crashes meanwhile, and goes on to the end."""
    for _ in range(2):
        files.before = dead_from(int(rng.integers(0, 12)))
        try:
            store = ledger.check(files)
            assert pairs_of(DATA_DIR, files=files) == pairs_of(DATA_DIR, files=files.after_power_loss(rng)), (
                "what a process finds at its start is durable when it goes on"
            )
            ledger.finish(store, files)
        except PowerLoss:
            files = files.after_power_loss(rng)
        else:
            return
    files.before = lambda name: None
    ledger.finish(ledger.check(files), files)


def count_points(files: SimulatedFiles, *, seed: int, times: int = 1) -> int:
    """Does the work with crashes at each call, recovers from each, and returns their number."""
    ledger, rng, points = Ledger(stream(56, days=5)), np.random.default_rng(seed), 0

    def crash(name: str) -> None:
        nonlocal points
        for _ in range(times):
            points += 1
            left = files.after_kill() if rng.random() < 0.25 else files.after_power_loss(rng)
            go_on(left, copy.deepcopy(ledger), rng)

    files.after = crash
    work(files, ledger)
    return points


def test_crash_at_any_call_leaves_each_row_once() -> None:
    """Goal: exactly one row, after any crash. Method: at each call the process or the power goes, and twice in recovery."""
    assert count_points(simulated(), seed=1) >= POINTS_MIN


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_crash_at_any_call_many_times() -> None:
    """Goal and method: as above, with more of what an unsynced disk may keep."""
    assert count_points(simulated(), seed=99, times=MANY) >= MANY * POINTS_MIN


def test_crashes_are_noticed_without_fsync() -> None:
    """Goal: the tests above are awake. Method: the same, on a disk whose syncs do nothing."""
    files = simulated()
    files.sync_is_real = False

    with pytest.raises((AssertionError, StoreFault, pa.ArrowInvalid)):
        count_points(files, seed=1)
