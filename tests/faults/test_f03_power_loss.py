"""F3: power loss. What was not synced is gone: files, names, everything. As root, where loop devices can be mounted."""

from pathlib import Path
from typing import Any

import pytest

from tests.faults.oracle import Violation
from tests.faults.power import CannotMount
from tests.faults.scenarios import power_round

pytestmark = [pytest.mark.server, pytest.mark.timeout(300)]
NO_SYNC = {"call": "fdatasync", "when": 1, "action": "nothing", "stuck": True}
NO_FOLDER_SYNC = {"call": "fsync", "when": 1, "action": "nothing", "stuck": True, "file": "journal"}
AFTER_THE_NEXT_SEGMENT_IS_USED = {"call": "posix_fallocate", "when": 2, "action": "power"}
"""The spare after it is begun only when the first answer from the new segment has left."""


def lose_power(folder: Path, *, seed: int, losses: list[list[dict[str, Any]]]) -> None:
    """Runs the scenario, or skips, saying why."""
    try:
        power_round(folder, seed=seed, losses=losses)
    except CannotMount as why:
        pytest.skip(f"power loss cannot be tried here: {why}")


def test_f03_power_loss_loses_nothing_acknowledged(tmp_path: Path) -> None:
    """Goal: F3. Method: under load, the disk ends at once after a new segment was taken into use; then the oracle."""
    lose_power(tmp_path, seed=3, losses=[[AFTER_THE_NEXT_SEGMENT_IS_USED]])


@pytest.mark.slow
def test_f03_power_loss_at_any_time_loses_nothing_acknowledged(tmp_path: Path) -> None:
    """Goal: F3, on a disk that is mounted again and again. Method: the disk ends at random times under load."""
    lose_power(tmp_path, seed=4, losses=[[], [], []])


@pytest.mark.slow
def test_f03_power_loss_is_noticed_without_fdatasync(tmp_path: Path) -> None:
    """Goal: the test above is awake. Method: an engine whose fdatasync does nothing loses what it acknowledged."""
    with pytest.raises(Violation, match="was acknowledged in life 0 and is lost"):
        lose_power(tmp_path, seed=5, losses=[[NO_SYNC]])


@pytest.mark.slow
def test_f03_power_loss_is_noticed_without_folder_sync(tmp_path: Path) -> None:
    """Goal: the test above is awake. Method: the name of a new segment is not synced, and power is lost right then."""
    with pytest.raises(Violation, match="was acknowledged in life 0 and is lost"):
        lose_power(tmp_path, seed=6, losses=[[NO_FOLDER_SYNC, AFTER_THE_NEXT_SEGMENT_IS_USED]])
