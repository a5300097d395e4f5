"""F11: the journal's disk is full. Refused before state moves, reads and health stay, service resumes by itself."""

import os
import time
from pathlib import Path

import pytest

from riskengine.v1 import risk_service_pb2 as service
from tests.faults.engine import SEGMENT_BYTES
from tests.faults.ledger import attempt, attempt_batch, method_of
from tests.faults.power import CannotMount, SmallDisk
from tests.faults.running import ENGINE, FaultyServer
from tests.faults.scenarios import Site

pytestmark = [pytest.mark.server, pytest.mark.timeout(900)]
CYCLES = int(os.environ.get("RISKENGINE_CYCLES", "3"))
RESUME_S_MAX = 5.0
TIMEOUT_S = 4.0
FULL = ("RESOURCE_EXHAUSTED", "JOURNAL_FULL")


def fill_journal(site: Site) -> None:
    """Scores until the journal takes no more: first no large group, whose space is reserved for the worst, then no row."""
    for row_count in (200, 16, 1):
        site.ledger.failures.clear()
        while not site.ledger.failures[FULL]:
            entries = [site.traffic.score() for _ in range(row_count)]
            attempt_batch(site.server.channel, site.ledger, entries, timeout_s=TIMEOUT_S)


def test_f11_full_disk_is_refused_and_service_resumes(tmp_path: Path) -> None:
    """Goal: F11. Method: a small disk for the journal, filled and freed several times, with a kill when it is full."""
    server = FaultyServer(tmp_path)
    try:
        with SmallDisk(server.data_dir / "journal", size_mib=2 + CYCLES) as disk, server:
            site = Site(server, seed=11)
            engine = server.pid_of(ENGINE)
            first = site.traffic.score()
            attempt(server.channel, site.ledger, first, timeout_s=TIMEOUT_S)
            for cycle in range(CYCLES):
                fill_and_free(site, disk, kill=cycle == CYCLES - 1)
                assert (engine == server.pid_of(ENGINE)) == (cycle < CYCLES - 1), "service resumes without a restart"
            assert method_of(server.channel, first.method)(first.raw, timeout=TIMEOUT_S) == first.reply
            site.check()
    except CannotMount as why:
        pytest.skip(f"a full disk cannot be tried here: {why}")


def fill_and_free(site: Site, disk: SmallDisk, *, kill: bool) -> None:
    """Fills the disk, kills the engine if asked, looks at what works, frees it, and waits for service."""
    server, ledger = site.server, site.ledger
    filler = disk.fill(leave_bytes=SEGMENT_BYTES + SEGMENT_BYTES // 2)
    fill_journal(site)
    if kill:
        mark = server.mark()
        server.kill(ENGINE)
        site.hurt()
        server.wait_restarted(ENGINE, after=mark)
        fill_journal(site)
    told = next(entry for entry in ledger.snapshot() if entry.reply and entry.method == "ScoreTransaction")
    name = service.ScoreTransactionResponse.FromString(told.reply or b"").decision.name
    found = method_of(server.channel, "GetDecision")(
        service.GetDecisionRequest(name=name).SerializeToString(), timeout=TIMEOUT_S
    )
    refused = [site.traffic.score(), site.traffic.record(), site.traffic.outcome()]
    ledger.failures.clear()
    for entry in refused:
        attempt(server.channel, ledger, entry, timeout_s=TIMEOUT_S)

    assert told.reply == found
    assert server.client.serving()
    assert {FULL: len(refused)} == ledger.failures

    filler.unlink()
    freed_s = time.monotonic()
    while attempt(server.channel, ledger, refused[0], timeout_s=TIMEOUT_S) != "OK":
        assert time.monotonic() < freed_s + RESUME_S_MAX, "service resumes when there is space"
        time.sleep(0.05)
