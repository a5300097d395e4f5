"""The one error table: what leaves the server when a call cannot be answered.

An error becomes a google.rpc.Status with one ErrorInfo, a BadRequest when the request was at fault, a RetryInfo when
coming back helps. The same status ends a call (code, details, trailing metadata) or stands in the results of a batch or
a stream.

INVARIANTS: an error that is ours (INTERNAL, DATA_LOSS) leaves without its text, unless it is an `InternalFault`, whose
text is an incident id; the trailing metadata stays below the 8 KiB that clients accept, by leaving out the last
violations if it must.

Called by `server.calls` for calls that end with an error, by `server.servicers` for items of a batch or a stream.
"""

from typing import Final, NamedTuple

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from riskengine.errors import DOMAIN, InternalFault, InvalidRequest, Overloaded, RiskEngineError, Unavailable

DETAILS_KEY: Final = "grpc-status-details-bin"
PUSHBACK_KEY: Final = "grpc-retry-pushback-ms"
MESSAGE_CHARS_MAX: Final = 512
STATUS_BYTES_MAX: Final = 5_800
"""Of a serialised status; base64 makes a third more of it on the wire."""
ITEM_STATUS_BYTES_MAX: Final = 2_048
"""Of the status of one item of a batch: a thousand of them stay far below the 4 MiB that clients accept."""
UNAVAILABLE_RETRY_S: Final = 0.25
"""When to come back to a server that warms, drains or waits for its engine, seconds."""
_OURS: Final = frozenset({"INTERNAL", "DATA_LOSS"})


class Abort(NamedTuple):
    """The arguments of ``context.abort``, in its order."""

    code: grpc.StatusCode
    details: str
    trailing_metadata: tuple[tuple[str, str | bytes], ...]


def code_of(error: RiskEngineError) -> grpc.StatusCode:
    """Returns the status code of an error."""
    return _CODES[error.grpc_code]


def status_of(error: RiskEngineError, *, bytes_max: int = STATUS_BYTES_MAX) -> Status:
    """Turns an error into what stands in the results of a batch or a stream.

    Args:
        error: Any error of the tree.
        bytes_max: Of the serialised status; the first violations are told as far as they fit, at least 2,000.

    Returns:
        Code, message and details: one ErrorInfo, then BadRequest or RetryInfo where they apply.
    """
    hidden = error.grpc_code in _OURS and not isinstance(error, InternalFault)
    status = Status(
        code=code_of(error).value[0],
        message="internal error" if hidden else error.message[:MESSAGE_CHARS_MAX],
    )
    info = ErrorInfo(
        reason="INTERNAL" if hidden else error.reason, domain=DOMAIN, metadata={} if hidden else error.metadata
    )
    _attach(status, info)
    if isinstance(error, InvalidRequest):
        _attach(status, _bad_request(error, bytes_max=bytes_max - status.ByteSize() - 80))
    retry_after_s = _retry_after_s(error)
    if retry_after_s > 0:
        retry = RetryInfo()
        retry.retry_delay.FromMicroseconds(round(retry_after_s * 1e6))
        _attach(status, retry)
    return status


def abort_of(error: RiskEngineError) -> Abort:
    """Turns an error into what ends a call.

    Args:
        error: Any error of the tree.

    Returns:
        Arguments for ``context.abort(*abort_of(error))``.
    """
    status = status_of(error)
    metadata: tuple[tuple[str, str | bytes], ...] = ((DETAILS_KEY, status.SerializeToString(deterministic=True)),)
    retry_after_s = _retry_after_s(error)
    if retry_after_s > 0:
        metadata += ((PUSHBACK_KEY, str(max(1, round(retry_after_s * 1000)))),)
    return Abort(code_of(error), status.message, metadata)


def _retry_after_s(error: RiskEngineError) -> float:
    """Returns when a retry is worth it, seconds; 0 for never."""
    if isinstance(error, Overloaded):
        return error.retry_after_s
    return UNAVAILABLE_RETRY_S if isinstance(error, Unavailable) else 0.0


def _bad_request(error: InvalidRequest, *, bytes_max: int) -> BadRequest:
    """Lists violations in order for as long as they fit."""
    bad = BadRequest()
    room = bytes_max
    for violation in error.violations:
        item = BadRequest.FieldViolation(
            field=violation.field, description=violation.description, reason=violation.reason
        )
        room -= item.ByteSize() + 4
        if room < 0:
            break
        bad.field_violations.append(item)
    return bad


def _attach(status: Status, detail: Message) -> None:
    packed = AnyMessage()
    packed.Pack(detail, deterministic=True)
    status.details.append(packed)


_CODES: Final = {code.name: code for code in grpc.StatusCode}
