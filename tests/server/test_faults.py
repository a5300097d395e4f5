"""What callers see when the engine dies, stalls or is away, and when the server stops; through real processes."""

import os
import queue
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import psutil
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from riskengine.engine.link import FrameKind, document_frame
from riskengine.engine.process import EXIT_FAULT
from riskengine.engine.sockets import listen
from riskengine.errors import ConfigError
from riskengine.server.client import RiskClient, reason_of
from riskengine.server.supervisor import Supervisor
from riskengine.settings import FrontSettings
from riskengine.types import LAYOUT_VERSION
from riskengine.v1 import decision_pb2
from riskengine.v1 import risk_service_pb2 as service
from tests.server.running import SETTINGS, Server, failure, score_request, serving, write_config

pytestmark = [pytest.mark.server, pytest.mark.timeout(300)]

FALLBACK = """\
fallback:
  bands:
    - {amount_minor_max: 1000, verdict: approve}
    - {amount_minor_max: 5000, verdict: review}
"""
IN_FLIGHT_MAX = 4
STREAMS_MAX = 3
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def fragile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with a fallback and a small bound, to be hurt; each test leaves it serving."""
    config_dir = write_config(tmp_path_factory.mktemp("fragile"), SETTINGS + FALLBACK)
    front = FrontSettings(
        in_flight_max=IN_FLIGHT_MAX,
        streams_max=STREAMS_MAX,
        stream_idle_s=2,
        skip_linkage_below_ms=4_000,
        skip_model_below_ms=2_000,
        drain_notice_ms=0,
    )
    with serving(config_dir, front=front) as running:
        yield running


def signal_engine(server: Server, number: int) -> None:
    """Sends a signal to the engine."""
    os.kill(server.supervisor.pid_of("engine"), number)


def test_decisions_survive_the_death_of_the_engine(fragile: Server) -> None:
    """Goal: what was acknowledged is there after kill -9, byte for byte; meanwhile the declared fallback answers.

    Method: score, kill, ask in the three bands of the fallback, wait for the new engine, repeat the first request.
    """
    request = score_request().SerializeToString()
    first = fragile.raw("ScoreTransaction", request)
    old = fragile.supervisor.pid_of("engine")
    signal_engine(fragile, signal.SIGKILL)
    while fragile.client.serving():
        time.sleep(0.01)
    killed_s = time.monotonic()
    small = fragile.calls.ScoreTransaction(score_request(amount_minor=1000), timeout=1).decision
    middle = fragile.calls.ScoreTransaction(score_request(amount_minor=1001), timeout=1).decision
    large = failure(fragile.calls.ScoreTransaction, score_request(amount_minor=5001), timeout=1)
    recorded = score_request()
    record = failure(
        fragile.calls.RecordTransaction,
        service.RecordTransactionRequest(request_id=recorded.request_id, transaction=recorded.transaction),
        timeout=1,
    )
    batch = fragile.calls.BatchScoreTransactions(
        service.BatchScoreTransactionsRequest(
            requests=[score_request(amount_minor=1), score_request(amount_minor=9999)]
        ),
        timeout=1,
    ).results
    while fragile.supervisor.pid_of("engine") == old:
        time.sleep(0.01)
    restarted_s = time.monotonic() - killed_s
    fragile.client.wait_serving(30)

    assert (decision_pb2.VERDICT_APPROVE, decision_pb2.VERDICT_REVIEW) == (small.verdict, middle.verdict)
    assert (False, [1, 2, 3, 4, 5]) == (small.recorded, list(small.degraded_stages))
    assert (grpc.StatusCode.UNAVAILABLE, "ENGINE_AWAY") == (large.code(), reason_of(large))
    assert (grpc.StatusCode.UNAVAILABLE, "ENGINE_AWAY") == (record.code(), reason_of(record))
    assert ["decision", "error"] == [result.WhichOneof("result") for result in batch]
    assert restarted_s < 2
    assert first == fragile.raw("ScoreTransaction", request)


def test_restarted_engine_goes_on_under_what_decided_before(tmp_path: Path) -> None:
    """Goal: half an edit turns no crash into an outage. Method: break every file, kill engine and front, ask again."""
    config_dir = write_config(tmp_path)
    with serving(config_dir) as server:
        before = server.calls.ScoreTransaction(score_request(), timeout=5).decision
        for file in config_dir.glob("*.yaml"):
            file.write_text("half: [an edit")
        for name in ("engine", "front"):
            old = server.supervisor.pid_of(name)
            os.kill(old, signal.SIGKILL)
            while server.supervisor.pid_of(name) == old:
                time.sleep(0.01)
        server.client.wait_serving(30)
        after = server.calls.ScoreTransaction(score_request(), timeout=5).decision

    assert before.recorded
    assert after.recorded
    assert (before.policy, before.policy_revision) == (after.policy, after.policy_revision)
    with pytest.raises(ConfigError):
        Supervisor(config_dir)


def test_beyond_the_bound_calls_are_shed_at_once(fragile: Server) -> None:
    """Goal: overload is refused early, with the time to come back. Method: stop the engine, fill the bound, one more."""
    signal_engine(fragile, signal.SIGSTOP)
    try:
        waiting = [fragile.calls.ScoreTransaction.future(score_request(), timeout=10) for _ in range(IN_FLIGHT_MAX)]
        time.sleep(0.3)
        started_s = time.monotonic()
        error = failure(fragile.calls.ScoreTransaction, score_request(), timeout=5)
        took_s = time.monotonic() - started_s
    finally:
        signal_engine(fragile, signal.SIGCONT)
    retry = error_details_pb2.RetryInfo()
    status = rpc_status.from_call(error)
    assert status is not None

    assert (grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED") == (error.code(), reason_of(error))
    assert any(detail.Unpack(retry) for detail in status.details)
    assert "grpc-retry-pushback-ms" in dict(error.trailing_metadata())
    assert took_s < 0.5
    assert all(call.result().decision.recorded for call in waiting)


def test_stalled_engine_costs_a_call_its_deadline_only(fragile: Server) -> None:
    """Goal: nobody waits for ever. Method: stop the engine; calls with a short, no and a far too long deadline."""
    signal_engine(fragile, signal.SIGSTOP)
    try:
        started_s = time.monotonic()
        short = failure(fragile.calls.ScoreTransaction, score_request(), timeout=0.1)
        none = failure(fragile.calls.ScoreTransaction, score_request())
        took_s = time.monotonic() - started_s
    finally:
        signal_engine(fragile, signal.SIGCONT)

    assert grpc.StatusCode.DEADLINE_EXCEEDED == short.code()
    assert (grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED") == (none.code(), reason_of(none))
    assert 2 < took_s < 4
    assert fragile.calls.ScoreTransaction(score_request(), timeout=5).decision.recorded


def test_cancelled_call_is_folded_whole_or_not_at_all(fragile: Server) -> None:
    """Goal: never half. Method: cancel while the engine is stopped; afterwards the same request is a repeat."""
    request = score_request()
    before = fragile.row_count()
    signal_engine(fragile, signal.SIGSTOP)
    try:
        call = fragile.calls.ScoreTransaction.future(request, timeout=10)
        time.sleep(0.1)
        call.cancel()
    finally:
        signal_engine(fragile, signal.SIGCONT)
    decision = fragile.calls.ScoreTransaction(request, timeout=5).decision

    assert decision.recorded
    assert before + 1 == fragile.row_count()


def test_short_deadline_skips_linkage_then_model(fragile: Server) -> None:
    """Goal: what did not fit is told. Method: thresholds of seconds, three deadlines."""
    skipped = [
        list(fragile.calls.ScoreTransaction(score_request(), timeout=timeout_s).decision.degraded_stages)
        for timeout_s in (5, 3, 1)
    ]

    assert [[], [decision_pb2.STAGE_LINKAGE], [decision_pb2.STAGE_LINKAGE, decision_pb2.STAGE_MODEL]] == skipped


def test_idle_streams_lock_nobody_out(fragile: Server) -> None:
    """Goal: who opens streams and says nothing costs the others nothing. Method: the bound, one more, a call, a wait."""
    silence: queue.Queue[service.StreamScoreTransactionsRequest] = queue.Queue()
    open_stream = fragile.calls.StreamScoreTransactions
    streams = [open_stream(iter(silence.get, None), timeout=60) for _ in range(STREAMS_MAX)]
    time.sleep(0.2)
    refused = failure(next, open_stream(iter([]), timeout=5))
    called = fragile.calls.ScoreTransaction(score_request(), timeout=5).decision
    serving_meanwhile = fragile.client.serving()
    ends = [failure(next, stream) for stream in streams]
    after = next(open_stream(iter([service.StreamScoreTransactionsRequest(request=score_request())]), timeout=5))

    assert (grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED") == (refused.code(), reason_of(refused))
    assert called.recorded
    assert serving_meanwhile
    assert {(grpc.StatusCode.UNAVAILABLE, "STREAM_IDLE")} == {(end.code(), reason_of(end)) for end in ends}
    assert after.decision.recorded


def test_front_that_cannot_understand_the_engine_ends_with_its_incident(tmp_path: Path) -> None:
    """Goal: what the log calls the end of a front leads to where it happened.

    Method: a stand-in engine says that it serves and gives no catalogue.
    """
    config_dir = write_config(tmp_path)
    data_dir = config_dir / "data"
    data_dir.mkdir()
    command = [sys.executable, "-m", "riskengine.server.app", str(config_dir)]
    with listen(data_dir) as listener:
        listener.setblocking(True)
        front = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)
        connection, _ = listener.accept()
        connection.sendall(document_frame(FrameKind.HELLO, {"state": "SERVING", "layout": LAYOUT_VERSION}))
        _, log = front.communicate(timeout=30)
        connection.close()
    incidents = re.findall(r"incident (\w{16})", log)

    assert EXIT_FAULT == front.returncode, log
    assert "KeyError" in log
    assert 1 == len(set(incidents)), log
    assert f"the front ends: internal error, incident {incidents[0]}" in log


SERVE = (
    "import sys; from pathlib import Path; from riskengine.server.supervisor import serve; "
    "serve(Path(sys.argv[1]), follower=False, on_ready=lambda address, s: print(address, flush=True))"
)


@pytest.fixture
def standalone(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server as the operator runs it, in a process of its own, and its address."""
    config_dir = write_config(tmp_path)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE, str(config_dir)], stdout=subprocess.PIPE, text=True, env=environment
    )
    assert process.stdout is not None
    yield process, process.stdout.readline().strip()
    process.kill()
    process.wait()
    process.stdout.close()


def test_sigterm_drains(standalone: tuple[subprocess.Popen[str], str]) -> None:
    """Goal: a rolling restart fails no call that was accepted. Method: call without pause, send SIGTERM, look at all ends."""
    process, address = standalone
    children = psutil.Process(process.pid).children(recursive=True)
    ends: list[tuple[grpc.StatusCode, str]] = []
    messages: queue.Queue[service.StreamScoreTransactionsRequest] = queue.Queue()
    with RiskClient(address) as client:
        stream = client.service.StreamScoreTransactions(iter(messages.get, None), timeout=60)
        messages.put(service.StreamScoreTransactionsRequest(request=score_request()))
        answered = next(stream)
        process.send_signal(signal.SIGTERM)
        not_serving = False
        while not ends:
            not_serving = not_serving or not client.serving()
            try:
                client.service.ScoreTransaction(score_request(), timeout=5)
            except grpc.RpcError as error:
                ends.append((error.code(), reason_of(error)))
        stream_error = failure(next, stream)
    status = process.wait(20)

    assert not_serving
    assert [(grpc.StatusCode.UNAVAILABLE, "DRAINING")] == ends
    assert answered.decision.recorded
    assert (grpc.StatusCode.UNAVAILABLE, "DRAINING") == (stream_error.code(), reason_of(stream_error))
    assert 0 == status
    assert 2 == len(children)
    assert not any(child.is_running() for child in children)


def test_children_end_with_a_killed_supervisor(standalone: tuple[subprocess.Popen[str], str]) -> None:
    """Goal: no orphan holds the port and the directory. Method: kill -9 the supervisor, wait for the others."""
    process, _ = standalone
    children = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.wait()
    _, alive = psutil.wait_procs(children, timeout=15)

    assert 2 == len(children)
    assert [] == alive
