"""F8, F9: the disk fails a sync or a write. The engine acknowledges nothing more, ends, and never syncs again."""

from pathlib import Path

import pytest

from tests.faults.ledger import attempt
from tests.faults.running import ENGINE
from tests.faults.scenarios import Site
from tests.faults.tracing import CannotTrace, injected

pytestmark = [pytest.mark.server, pytest.mark.timeout(300)]
TIMEOUT_S = 4.0
FAULTS = [
    pytest.param("fdatasync", "EIO", id="f08_sync_fails"),
    pytest.param("pwrite", "short", id="f09_short_write"),
    pytest.param("pwrite", "EIO", id="f09_write_fails", marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("call", "action"), FAULTS)
def test_disk_error_ends_the_engine_unacknowledged(site: Site, call: str, action: str) -> None:
    """Goal: no acknowledgement, no second sync, exit 1, a new engine. Method: the call within the engine process fails."""
    entry = site.traffic.score()
    mark = site.server.mark()
    site.server.plan({"call": call, "when": 1, "action": action})
    status = attempt(site.server.channel, site.ledger, entry, timeout_s=TIMEOUT_S)

    assert "UNAVAILABLE" == status, "what is not durable is not acknowledged"
    site.hurt()
    ended = site.server.wait_restarted(ENGINE, after=mark)
    calls = site.server.planned_calls()

    assert 1 == ended["status"]
    assert [] == calls[calls.index(f"fault {action}") + 1 :], "the disk is left alone after a fault"
    site.check()


@pytest.mark.slow
def test_f08_sync_fails_for_the_kernel(site: Site, tmp_path: Path) -> None:
    """Goal: the same without a line of ours in the way. Method: strace has the system call fail."""
    entry = site.traffic.score()
    mark, log = site.server.mark(), tmp_path / "log"
    try:
        with injected(site.server.pid_of(ENGINE), "fdatasync", "error=EIO:when=1", log=log):
            status = attempt(site.server.channel, site.ledger, entry, timeout_s=TIMEOUT_S)
            assert "UNAVAILABLE" == status, "what is not durable is not acknowledged"
            site.hurt()
            ended = site.server.wait_restarted(ENGINE, after=mark)
    except CannotTrace as why:
        pytest.skip(f"the kernel's part is not tried here: {why}")

    assert 1 == ended["status"]
    assert 1 == log.read_text().count("fdatasync("), "a failed sync is never repeated"
    site.check()
