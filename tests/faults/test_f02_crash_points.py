"""F2: the engine dies at one exact system call: while a frame is written, before it is synced, at a segment's new name."""

from pathlib import Path

import pytest

from tests.faults.running import ENGINE
from tests.faults.scenarios import POINTS, Site, crash_points
from tests.faults.tracing import CannotTrace, injected

pytestmark = [pytest.mark.server, pytest.mark.timeout(300)]


@pytest.mark.parametrize(
    ("calls", "when"), [("fdatasync", 2), pytest.param("pwrite64", 2, marks=pytest.mark.slow), ("/^rename", 1)]
)
def test_f02_engine_killed_at_a_system_call(site: Site, tmp_path: Path, calls: str, when: int) -> None:
    """Goal: F2. Method: strace kills the running engine, under load, at the n-th call of a kind; then the oracle."""
    mark = site.server.mark()
    try:
        with (
            site.load(),
            injected(site.server.pid_of(ENGINE), calls, f"signal=SIGKILL:when={when}", log=tmp_path / "log"),
        ):
            site.hurt()
            ended = site.server.wait_restarted(ENGINE, after=mark)
    except CannotTrace as why:
        pytest.skip(f"exact crash points are tried without strace by `make soak`: {why}")

    assert -9 == ended["status"]
    site.check()


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("action", ["kill", "EIO"])
@pytest.mark.parametrize("call", sorted(POINTS))
def test_f02_f04_f08_every_disk_call_fails_once(tmp_path: Path, call: str, action: str) -> None:
    """Goal: F2, F4, F8, F9 in creation, service, recovery. Method: fail the n-th call until the scenario meets no fault."""
    assert crash_points(tmp_path, call=call, action=action) >= POINTS[call]
