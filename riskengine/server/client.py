"""A caller's side: channels that wait until the server serves, and errors as plain text.

INVARIANT: nothing here knows more of the server than its protos. Called by `cli` (`score`, `demo`, `history load`),
benchmarks, tests; `SERVICE` also by `server.app`.
"""

import time
from collections.abc import Sequence
from typing import Any, Final

import grpc
import grpc.aio
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status

from riskengine.errors import Unavailable
from riskengine.v1.risk_service_pb2_grpc import RiskServiceStub

SERVICE: Final = "riskengine.v1.RiskService"
CHANNEL_OPTIONS: Final[Sequence[tuple[str, Any]]] = (
    ("grpc.enable_retries", 0),  # Retries are the caller's: only it knows what its deadline is for.
    ("grpc.max_receive_message_length", 4 << 20),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
)
_POLL_S: Final = 0.1


class RiskClient:
    """A connection for ordinary code. Use as a context manager.

    Args:
        address: HOST:PORT; plaintext.

    Attributes:
        service: The stub: one method for each call.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self.channel = grpc.insecure_channel(address, options=CHANNEL_OPTIONS)
        self.service: Any = RiskServiceStub(self.channel)  # type: ignore[no-untyped-call]

    def serving(self) -> bool:
        """Asks the server's health; False also where nobody answers."""
        stub: Any = health_pb2_grpc.HealthStub(self.channel)
        try:
            reply = stub.Check(health_pb2.HealthCheckRequest(service=SERVICE), timeout=1.0)
        except grpc.RpcError:
            return False
        return bool(reply.status == health_pb2.HealthCheckResponse.SERVING)

    def wait_serving(self, timeout_s: float) -> None:
        """Waits until the server serves.

        Args:
            timeout_s: Seconds.

        Raises:
            Unavailable: It does not within that time.
        """
        for _ in range(max(1, round(timeout_s / _POLL_S))):
            if self.serving():
                return
            time.sleep(_POLL_S)
        raise nobody_at(self.address)

    def close(self) -> None:
        """Closes the channel."""
        self.channel.close()

    def __enter__(self) -> "RiskClient":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def nobody_at(address: str) -> Unavailable:
    """Returns the error of a call that reached no server, in the words that every command says it in."""
    return Unavailable(
        "NOT_SERVING",
        f"nothing serves at {address}; start a server there with: riskengine serve, or name another address",
    )


def reached_nobody(error: grpc.RpcError) -> bool:
    """Tells whether a call failed before a server of ours saw it: ours name a reason beside UNAVAILABLE."""
    return _code(error) is grpc.StatusCode.UNAVAILABLE and _detail(error, error_details_pb2.ErrorInfo) is None


def aio_channel(address: str, *, index: int = 0) -> grpc.aio.Channel:
    """Opens a channel for asyncio code.

    Args:
        address: HOST:PORT; plaintext.
        index: Channels of different index have connections of their own.
    """
    return grpc.aio.insecure_channel(address, options=(*CHANNEL_OPTIONS, ("riskengine.channel_index", index)))


def reason_of(error: grpc.RpcError) -> str:
    """Returns the ErrorInfo reason of a failed call, or the name of its status code where it has none."""
    info = _detail(error, error_details_pb2.ErrorInfo)
    return str(info.reason) if info is not None else str(_code(error).name)


def violations_of(error: grpc.RpcError) -> list[tuple[str, str]]:
    """Returns (field, description) of every violation of a refused request."""
    bad = _detail(error, error_details_pb2.BadRequest)
    return [(one.field, one.description) for one in bad.field_violations] if bad is not None else []


def describe(error: grpc.RpcError) -> str:
    """Says in plain text what went wrong, every violation on a line of its own."""
    violations = violations_of(error)
    if violations:
        lines = [f"  {field or 'the request'}: {description}" for field, description in violations]
        return "\n".join(["the request is not valid:", *lines])
    details = getattr(error, "details", lambda: "")() or "no details"
    return f"{details} ({reason_of(error)})"


def _code(error: grpc.RpcError) -> Any:
    return getattr(error, "code", lambda: grpc.StatusCode.UNKNOWN)()


def _detail(error: grpc.RpcError, kind: Any) -> Any:
    """Returns the detail of one type, or None."""
    status = _status(error)
    if status is not None:
        for packed in status.details:
            if packed.Is(kind.DESCRIPTOR):
                found = kind()
                packed.Unpack(found)
                return found
    return None


def _status(error: Any) -> Any:
    """Reads google.rpc.Status from the trailing metadata, for both kinds of errors grpc has."""
    try:
        if isinstance(error, grpc.aio.AioRpcError):
            return _aio_status(error)
        return rpc_status.from_call(error)
    except (ValueError, AttributeError):
        return None


def _aio_status(error: grpc.aio.AioRpcError) -> Any:
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            return status_pb2.Status.FromString(value)
    return None
