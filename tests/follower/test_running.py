"""The follower as a process beside a real server: what it leaves on disk, and that its end is nobody's business."""

import itertools
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import numpy as np
import psutil
import pytest

from riskengine.engine.configuration import load_configuration
from riskengine.engine.engine import Engine
from riskengine.engine.snapshot import check_snapshot, snapshot_paths
from riskengine.errors import StartRefused
from riskengine.follower.loop import lock_follower
from riskengine.journal.reader import segments
from riskengine.lab.replay import replay
from riskengine.server.following import PAUSE_S_MAX, Following
from riskengine.server.supervisor import Supervisor
from riskengine.settings import load_settings
from riskengine.v1 import risk_service_pb2 as service
from riskengine.wire.pseudonyms import Pseudonyms, TagKey
from tests.engine.journals import requests
from tests.server.running import SETTINGS, Server, score_request, serving, write_config

pytestmark = [pytest.mark.server, pytest.mark.timeout(400)]

QUICK = SETTINGS + "snapshots: {every_events: 100}\n"
WAIT_S = 90


class Hand:
    """A clock that the test turns."""

    us = 0

    def now_us(self) -> int:
        return self.us

    monotonic_us = now_us


def until(holds: Callable[[], object], what: str) -> None:
    """Waits until something holds."""
    deadline = time.monotonic() + WAIT_S
    while not holds():
        assert time.monotonic() < deadline, f"{what} did not come"
        time.sleep(0.005)


def score(server: Server, count: int) -> list[bytes]:
    """Scores payments in one call and returns the decisions."""
    request = service.BatchScoreTransactionsRequest(
        requests=[score_request(card_id=f"card-{i % 7}") for i in range(count)]
    )
    results = server.calls.BatchScoreTransactions(request, timeout=20).results
    assert {"decision"} == {result.WhichOneof("result") for result in results}
    return [result.decision.SerializeToString() for result in results]


def newest(server: Server) -> int:
    """Returns the sequence of the newest snapshot, 0 for none."""
    paths = snapshot_paths(server.config_dir / "data")
    return int(paths[0].name[:16]) if paths else 0


def until_snapshot(server: Server, *, or_half_of_one: bool = False) -> None:
    """Waits until there is a newer snapshot than now."""
    before = newest(server)
    folder = server.config_dir / "data" / "snapshots"
    until(lambda: newest(server) > before or (or_half_of_one and list(folder.glob("*.tmp"))), "a snapshot")


def follower_pid(server: Server) -> int:
    """Waits until the follower runs, and returns its process id."""
    until(lambda: server.supervisor.pid_of("follower"), "the follower")
    return server.supervisor.pid_of("follower")


@pytest.fixture
def followed(tmp_path: Path) -> Iterator[Server]:
    """A server with a follower that takes a snapshot every hundred events."""
    with serving(write_config(tmp_path, QUICK), follower=True) as running:
        yield running


def test_restart_uses_the_snapshot_and_changes_no_bit(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Goal: quick restarts. Method: score, wait for a snapshot, start anew; the log says from where; replay is the judge."""
    config_dir = write_config(tmp_path, QUICK)
    with serving(config_dir, follower=True) as server:
        score(server, 250)
        until(lambda: newest(server) >= 200, "a snapshot")
        taken = newest(server)
        score(server, 30)
        pid = follower_pid(server)
    capfd.readouterr()
    assert not psutil.pid_exists(pid)
    with serving(config_dir, follower=True) as server:
        log = capfd.readouterr().err
        score(server, 120)
        until(lambda: newest(server) > taken, "another snapshot")

    assert f"recovery folds the journal from sequence {taken + 1} on" in log
    report = replay(config_dir / "data")
    assert (400, 0) == (report.event_count, report.difference_count)


def test_follower_killed_while_it_writes(followed: Server) -> None:
    """Goal: F4. Method: kill -9 as soon as half a snapshot is there; calls go on, the next follower cleans up and goes on."""
    folder = followed.config_dir / "data" / "snapshots"
    for number in itertools.count():
        assert number < 20, "no snapshot was caught half written"
        pid = follower_pid(followed)
        score(followed, 110)
        until_snapshot(followed, or_half_of_one=True)
        os.kill(pid, signal.SIGKILL)
        while followed.supervisor.pid_of("follower") == pid:
            time.sleep(0.005)
        if list(folder.glob("*.tmp")):
            break
    assert score(followed, 1)
    score(followed, 100)
    until_snapshot(followed)

    assert [] == list(folder.glob("*.tmp"))
    for path in snapshot_paths(followed.config_dir / "data"):
        check_snapshot(path)


def test_crashes_of_the_follower_stop_nothing(tmp_path: Path) -> None:
    """Goal: serving does not need it. Method: one that cannot even start; the pauses between two tries double."""
    clock = Hand()
    stages: list[str] = []
    following = Following(
        [str(tmp_path)],
        clock=clock,
        on_stage=lambda _, stage: stages.append(stage["stage"]),
        module="riskengine.no_such_module",
    )
    pauses = []
    following.tick(ready=False)
    assert 0 == following.pid
    for _ in range(8):
        began_us = clock.us
        while not following.pid:
            following.tick(ready=True)
            if not following.pid:
                clock.us += 1_000_000
        pauses.append((clock.us - began_us) // 1_000_000)
        while following.pid:
            following.tick(ready=True)
            time.sleep(0.005)

    assert [0, 1, 2, 4, 8, 16, 32, PAUSE_S_MAX] == pauses
    assert ["restarting"] * 8 == stages
    following.stop()


def test_killed_supervisor_leaves_no_follower(tmp_path: Path) -> None:
    """Goal: no orphan. Method: close what it hears the supervisor by, as the system does when that is killed."""
    supervisor = Supervisor(write_config(tmp_path, QUICK))
    supervisor.start()
    while not supervisor.pid_of("follower"):
        supervisor.tick()
    process = psutil.Process(supervisor.pid_of("follower"))
    following = supervisor._following
    assert following is not None
    assert following._child is not None
    child = following._child
    while child.stage["stage"] != "following":
        supervisor.tick()
    child._process.stdin.close()  # type: ignore[union-attr]

    process.wait(20)
    supervisor.stop()


def test_second_follower_is_refused(followed: Server) -> None:
    """Goal: F26. Method: take the lock of a directory that is being followed."""
    data_dir = followed.config_dir / "data"
    score(followed, 110)
    until(lambda: newest(followed), "a snapshot")

    with pytest.raises(StartRefused, match="has a follower already"):
        lock_follower(data_dir)


def test_idle_follower_costs_nothing(followed: Server) -> None:
    """Goal: less than 1 % of a processor. Method: the processor's time over 6 s without traffic."""
    score(followed, 110)
    until(lambda: newest(followed), "a snapshot")
    time.sleep(2)
    process = psutil.Process(follower_pid(followed))
    before = process.cpu_times()
    time.sleep(6)
    after = process.cpu_times()

    assert (after.user + after.system) - (before.user + before.system) <= 0.06
    assert 10 == process.nice()


def old_journal(config_dir: Path, count: int) -> None:
    """Fills the data directory with payments of 2023, under the very configuration that will serve."""
    settings = load_settings(config_dir / "server.yaml")
    limits = settings.limits.engine_limits()
    configuration = load_configuration(
        config_dir,
        limits=limits,
        base_currency=settings.base_currency,
        model_dir=settings.model_dir,
        tag=Pseudonyms(TagKey.load(settings.tag_key_file)).tag,
    )
    engine = Engine.open(settings.data_dir, configuration, limits=limits, segment_bytes=1 << 20)
    events = requests(count, seed=1, entity_count=300)
    events["request_key"] += np.uint64(10**9)
    for first in range(0, count, 64):
        engine.commit(events[first : first + 64])
    engine.close()


@pytest.mark.slow
def test_old_segments_go(tmp_path: Path) -> None:
    """Goal: retention in a real server. Method: a journal of 2023, a day's retention, payments of today."""
    config_dir = write_config(tmp_path, QUICK + "retention: {journal_days: 1}\n")
    old_journal(config_dir, 28_000)
    data_dir = config_dir / "data"
    assert len(segments(data_dir)) > 4
    with serving(config_dir, follower=True) as server:
        for _ in range(4):
            score(server, 60)
            time.sleep(0.5)
        until(lambda: segments(data_dir)[0].index >= 3, "the end of old segments")
        assert score(server, 1)
    with serving(config_dir) as server:
        assert score(server, 5)

    report = replay(data_dir)
    assert report.first_sequence > 10_000
    assert 0 == report.difference_count


def test_serving_is_ready_before_the_follower(tmp_path: Path) -> None:
    """Goal: it costs no start-up time. Method: nobody runs it when `start` returns; without one nothing does."""
    supervisor = Supervisor(write_config(tmp_path, QUICK))
    supervisor.start()

    assert 0 == supervisor.pid_of("follower")
    with grpc.insecure_channel(supervisor.address) as channel:
        grpc.channel_ready_future(channel).result(5)
    supervisor.stop()
