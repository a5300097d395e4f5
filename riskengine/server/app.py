"""The front process: a grpc.aio server over one link to the engine.

Started by the supervisor as ``python -m riskengine.server.app CONFIG_DIR --listen HOST:PORT``. It tells its stages as
`engine.process` says:

    {"stage": "listening", "address": "127.0.0.1:50051"}
    {"stage": "waiting", "state": "AWAY" | "SILENT" | "RECOVERING", ...}      health is NOT_SERVING
    {"stage": "serving"}                                           health is SERVING
    {"stage": "refused", ...}

INVARIANTS: it keeps nothing that another front could not learn from the engine, and imports no numba; every method is
registered with raw bytes behind `calls`; SIGTERM, SIGINT and the end of stdin drain: health says NOT_SERVING, then new
calls are refused, those under way finish.

Called by `server.supervisor`; `run_front` also by benchmarks, with a servicer of their own.
"""

import asyncio
import gc
import resource
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any, Final

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health_aio

from riskengine.clock import SystemClock
from riskengine.engine.process import Report, child_parser, report_line, run_child
from riskengine.errors import InternalFault, StartRefused
from riskengine.settings import ServerSettings, settings_for
from riskengine.wire.pseudonyms import TagKey

from .addresses import check_plaintext
from .calls import BATCH_BYTES_MAX, Gate, guard_stream, guard_unary
from .client import SERVICE
from .connection import OnIncident
from .engine_client import EngineClient
from .servicers import RiskServicer
from .vocabulary import Vocabulary

Wrap = Callable[[RiskServicer], Any]
"""Puts something around the servicer; for benchmarks."""
CONNECTIONS_MAX: Final = 1024
DESCRIPTORS_KEPT: Final = 128
"""File descriptors that connections of callers never take."""
REFUSE_S: Final = 0.25
"""How long no call may have come, refused or not, before the transport stops: callers learn to go elsewhere."""
REFUSE_S_MAX: Final = 2.0
"""How long that is waited for at most, after the gate has closed; within the supervisor's `FRONT_STOP_SLACK_S`."""
STOP_S: Final = 0.5
"""What the transport gives to calls that still run, after all that."""
SILENCE_S_MIN: Final = 2.0
"""An engine that answers nothing for this long, or twice the longest deadline if that is more, counts as away."""
_SERVING: Final = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING: Final = health_pb2.HealthCheckResponse.NOT_SERVING


def connections_max() -> int:
    """Returns how many connections are accepted: as many as leave descriptors for the link and for what grpc opens."""
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return max(1, min(CONNECTIONS_MAX, allowed - DESCRIPTORS_KEPT)) if allowed > 0 else CONNECTIONS_MAX


def channel_options(*, shared_port: bool) -> Sequence[tuple[str, int]]:
    """Returns the transport's bounds.

    Args:
        shared_port: Whether other fronts of this server listen on the port, too. If not, a second server fails to bind;
            grpcio's default would let two strangers share the traffic in silence.
    """
    return (
        ("grpc.so_reuseport", int(shared_port)),
        ("grpc.max_receive_message_length", BATCH_BYTES_MAX),  # Single calls have less: `calls.CALL_BYTES_MAX`.
        ("grpc.max_send_message_length", 4 * BATCH_BYTES_MAX),
        ("grpc.max_concurrent_streams", 128),
        ("grpc.max_metadata_size", 8192),
        ("grpc.absolute_max_metadata_size", 8192),
        ("grpc.max_connection_idle_ms", 300_000),
        ("grpc.max_connection_age_ms", 1_800_000),
        ("grpc.max_connection_age_grace_ms", 10_000),
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.keepalive_timeout_ms", 5_000),
        ("grpc.http2.min_ping_interval_without_data_ms", 20_000),
        ("grpc.http2.max_ping_strikes", 2),
        ("grpc.server_handshake_timeout_ms", 5_000),
        ("grpc.max_allowed_incoming_connections", connections_max()),
    )


def method_handlers(servicer: Any, gate: Gate) -> "dict[str, grpc.RpcMethodHandler[bytes, bytes]]":
    """Registers the servicer's methods on raw bytes, each behind its guard."""
    unary = {
        "ScoreTransaction": servicer.score_transaction,
        "RecordTransaction": servicer.record_transaction,
        "ReportOutcome": servicer.report_outcome,
        "GetDecision": servicer.get_decision,
    }
    batch = guard_unary(
        servicer.batch_score_transactions, gate, name="BatchScoreTransactions", bytes_max=BATCH_BYTES_MAX
    )
    stream = guard_stream(servicer.stream_score_transactions, gate, name="StreamScoreTransactions")
    return {
        **{
            name: grpc.unary_unary_rpc_method_handler(guard_unary(call, gate, name=name))
            for name, call in unary.items()
        },
        "BatchScoreTransactions": grpc.unary_unary_rpc_method_handler(batch),
        "StreamScoreTransactions": grpc.stream_stream_rpc_method_handler(stream),
    }


class Front:
    """One front within a running event loop.

    Args:
        settings: server.yaml.
        key: The secret of all tags.
        report: Told each stage.
        on_incident: Given the fault with which the front must end.
        wrap: Puts something around the servicer.
    """

    def __init__(
        self,
        settings: ServerSettings,
        key: TagKey,
        *,
        report: Report,
        on_incident: OnIncident,
        wrap: Wrap = lambda servicer: servicer,
    ) -> None:
        self._settings = settings
        self._report = report
        self._vocabulary = Vocabulary(key, settings)
        self._health = health_aio.HealthServicer()
        self._health_tasks: set[asyncio.Task[None]] = set()
        self._draining = False
        self._gate = Gate()
        self._engine = EngineClient(
            settings.data_dir,
            front=settings.front,
            silence_s=max(SILENCE_S_MIN, 2 * settings.deadline.max_ms / 1000),
            on_state=self._on_state,
            on_incident=on_incident,
        )
        self._servicer = wrap(
            RiskServicer(
                engine=self._engine,
                vocabulary=self._vocabulary,
                settings=settings,
                clock=SystemClock(),
                gate=self._gate,
            )
        )
        self._server: grpc.aio.Server | None = None

    async def start(self, address: str, *, shared_port: bool) -> str:
        """Listens, and connects to the engine.

        Args:
            address: HOST:PORT; port 0 takes a free one.
            shared_port: As for `channel_options`.

        Returns:
            The address with the port that was taken.

        Raises:
            StartRefused: The port is in use, or the address needs TLS.
        """
        check_plaintext(address, allowed=self._settings.front.plaintext_anywhere)
        server = grpc.aio.server(
            options=channel_options(shared_port=shared_port),
            # Streams stay open; they have a bound of their own, which leaves the others as much as they may have.
            maximum_concurrent_rpcs=4 * self._settings.front.in_flight_max + self._settings.front.streams_max,
        )
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(SERVICE, method_handlers(self._servicer, self._gate)),)
        )
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        await self._set_health(_NOT_SERVING)
        try:
            port = server.add_insecure_port(address)
        except RuntimeError:
            port = 0
        if not port:
            raise StartRefused(
                f"the port of {address} is in use by another process; stop it, or listen on another port",
                metadata={"address": address},
            )
        await server.start()
        self._server = server
        self._engine.start()
        return f"{address.rpartition(':')[0]}:{port}"

    async def drain(self) -> None:
        """Says NOT_SERVING for a while, refuses new calls, lets those under way finish, ends the link."""
        self._draining = True
        await self._set_health(_NOT_SERVING)
        await asyncio.sleep(self._settings.front.drain_notice_ms / 1000)
        self._gate.close()
        await self._empty()
        if self._server is not None:
            await self._server.stop(STOP_S)
        await self._engine.close()

    async def _empty(self) -> None:
        """Waits until nobody is inside and nobody came for REFUSE_S, as long as each may take."""
        gate, loop = self._gate, asyncio.get_running_loop()
        calls_until_s = loop.time() + self._settings.front.drain_max_ms / 1000
        refuse_until_s = loop.time() + REFUSE_S_MAX
        quiet_since_s, arrived = loop.time(), gate.arrived
        while True:
            await asyncio.sleep(0.01)
            now_s = loop.time()
            if gate.arrived != arrived:
                quiet_since_s, arrived = now_s, gate.arrived
            inside = gate.inside and now_s < calls_until_s
            if not inside and (now_s >= quiet_since_s + REFUSE_S or now_s >= refuse_until_s):
                return

    def _on_state(self, document: dict[str, Any]) -> None:
        """Follows the engine."""
        serving = self._engine.serving
        if serving:
            self._vocabulary.learn(document["catalog"])
            stage, details = "serving", {}
        else:
            stage = "waiting"
            details = {name: document[name] for name in ("state", "done", "total") if name in document}
        if not self._draining:
            task = asyncio.get_running_loop().create_task(self._set_health(_SERVING if serving else _NOT_SERVING))
            self._health_tasks.add(task)
            task.add_done_callback(self._health_tasks.discard)
            self._report(stage, **details)

    async def _set_health(self, status: Any) -> None:
        for service in ("", SERVICE):
            await self._health.set(service, status)


async def run_front(
    settings: ServerSettings,
    *,
    shared_port: bool = False,
    report: Report = report_line,
    supervised: bool = False,
    wrap: Wrap = lambda servicer: servicer,
) -> None:
    """Serves until SIGTERM, SIGINT or, supervised, the end of stdin; then drains.

    Args:
        settings: server.yaml.
        shared_port: Whether other fronts of this server listen on the port, too.
        report: Told each stage.
        supervised: Whether stdin is the supervisor's pipe.
        wrap: Puts something around the servicer; for benchmarks.

    Raises:
        ConfigError, StartRefused: It cannot start.
        InternalFault: It cannot go on; the log says why beside this incident id.
    """
    key = TagKey.load(settings.tag_key_file)
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    fault: InternalFault | None = None

    def end_with(incident: InternalFault) -> None:
        nonlocal fault
        fault = incident
        stop.set()

    running = Front(settings, key, report=report, on_incident=end_with, wrap=wrap)
    address = await running.start(settings.listen, shared_port=shared_port)
    report("listening", address=address)
    gc.collect()
    gc.freeze()
    if supervised:
        loop.add_reader(sys.stdin.fileno(), stop.set)
    await stop.wait()
    if supervised:
        loop.remove_reader(sys.stdin.fileno())
    await running.drain()
    if fault is not None:
        raise fault


def run_loop(main: Any) -> None:
    """Runs a coroutine on uvloop, or on asyncio where uvloop is absent."""
    try:
        import uvloop
    except ImportError:
        factory = None
    else:
        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main)


def main(arguments: list[str] | None = None, *, wrap: Wrap = lambda servicer: servicer) -> int:
    """Runs the front process; returns its exit status."""
    parser = child_parser("riskengine.server.app", "A front process.")
    parser.add_argument(
        "--shared-port", action="store_true", help="other fronts of this server listen on the port, too"
    )
    given = parser.parse_args(arguments)
    return run_child(
        "front",
        lambda: run_loop(
            run_front(
                settings_for(given.config_dir, given.settings),
                shared_port=given.shared_port,
                supervised=given.supervised,
                wrap=wrap,
            )
        ),
    )


if __name__ == "__main__":
    sys.exit(main())
