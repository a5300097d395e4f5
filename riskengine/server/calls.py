"""What every call goes through around its own method: who may call, how much, and what errors say.

INVARIANTS: a method sees raw bytes within its bound; whatever it raises becomes one of our statuses; an exception that
nobody expected leaves the process as an incident id alone, and the log gets where it happened and never its text, which
may quote a caller's value.

Called by `server.app` for each method. Authentication, roles and metrics belong into `guard_unary` and `guard_stream`.
"""

import logging
import secrets
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from riskengine.errors import InternalFault, InvalidRequest, RiskEngineError, Unavailable, Violation
from riskengine.wire.status import abort_of

logger = logging.getLogger(__name__)

CALL_BYTES_MAX: Final = 64 << 10
"""A request of a single call, or a message of a stream."""
BATCH_BYTES_MAX: Final = 1 << 20
"""A batch; the transport's own bound, too."""

Unary = Callable[[bytes, Any], Awaitable[bytes]]
Stream = Callable[[AsyncIterator[bytes], Any], AsyncIterator[bytes]]


class Gate:
    """Whether new calls are let in, and how many are inside.

    grpc.aio answers a call that arrives while it stops with CANCELLED, which no caller retries; so calls are refused
    here, as UNAVAILABLE, for a while before.

    Attributes:
        arrived: Calls that ever came, refused ones included.
        inside: Those that have no reply or status yet; one that is refused is inside until its caller was told.
    """

    def __init__(self) -> None:
        self.arrived = 0
        self.inside = 0
        self._closed = False
        self._on_close: set[Callable[[], None]] = set()

    def enter(self) -> None:
        """Counts one call, which owes a `leave`."""
        self.arrived += 1
        self.inside += 1

    def require_open(self) -> None:
        """Raises Unavailable when the server is stopping."""
        if self._closed:
            raise draining()

    def leave(self) -> None:
        """Lets one call out, answered or told why not."""
        self.inside -= 1

    @contextmanager
    def ending(self, action: Callable[[], None]) -> Iterator[None]:
        """Has `action` called when the gate closes meanwhile; for calls that would not end by themselves."""
        self._on_close.add(action)
        try:
            yield
        finally:
            self._on_close.discard(action)

    def close(self) -> None:
        """Lets nobody in any more."""
        self._closed = True
        for action in tuple(self._on_close):
            action()


def draining() -> Unavailable:
    """Returns the error of a call that comes while the server stops."""
    return Unavailable("DRAINING", "the server is stopping; retry elsewhere, or here in a while")


def check_size(raw: bytes, bytes_max: int = CALL_BYTES_MAX) -> None:
    """Raises InvalidRequest when a message is larger than its method allows."""
    if len(raw) > bytes_max:
        raise InvalidRequest([Violation("", "REQUEST_TOO_LARGE", f"must have at most {bytes_max} bytes")])


def check_item_size(request: Any) -> None:
    """Raises InvalidRequest when one request of a batch is larger than it might be as a call of its own."""
    if request.ByteSize() > CALL_BYTES_MAX:
        raise InvalidRequest([Violation("", "REQUEST_TOO_LARGE", f"must have at most {CALL_BYTES_MAX} bytes")])


def guard_unary(method: Unary, gate: Gate, *, name: str, bytes_max: int = CALL_BYTES_MAX) -> Unary:
    """Wraps a method of one request and one reply.

    Args:
        method: Takes the raw request and grpc's context, returns the raw reply.
        gate: Of this front.
        name: Of the call, for the log.
        bytes_max: Largest request.
    """

    async def call(raw: bytes, context: Any) -> bytes:
        gate.enter()
        try:
            try:
                gate.require_open()
                check_size(raw, bytes_max)
                return await method(raw, context)
            except RiskEngineError as error:
                failure = error
            except Exception as error:  # noqa: BLE001 the last line of defence
                failure = incident(error, where=name)
            await context.abort(*abort_of(failure))
            raise AssertionError("abort raises")
        finally:
            gate.leave()

    return call


def guard_stream(method: Stream, gate: Gate, *, name: str) -> Stream:
    """Wraps a method of many requests and many replies; arguments as of `guard_unary`."""

    async def call(requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        gate.enter()
        try:
            try:
                gate.require_open()
                async for reply in method(requests, context):
                    yield reply
                return
            except RiskEngineError as error:
                failure = error
            except Exception as error:  # noqa: BLE001 the last line of defence
                failure = incident(error, where=name)
            await context.abort(*abort_of(failure))
        finally:
            gate.leave()

    return call


def incident(error: Exception, *, where: str) -> InternalFault:
    """Writes an unexpected exception to the log and returns what the caller may know of it.

    Args:
        error: Its text is not logged.
        where: The call.
    """
    incident_id = secrets.token_hex(8)
    frames = traceback.extract_tb(error.__traceback__)
    places = " < ".join(f"{frame.filename}:{frame.lineno} {frame.name}" for frame in reversed(frames))
    logger.error("incident %s in %s: %s at %s", incident_id, where, type(error).__name__, places)
    return InternalFault(incident_id)
