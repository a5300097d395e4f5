"""Raw bytes to a message, without grpcio's own parsing.

grpcio answers bytes it cannot parse with INTERNAL or UNKNOWN, so the front registers handlers of raw bytes and parses
here.

INVARIANTS: whatever protobuf refuses (truncated fields, wrong wire types, text that is not UTF-8, nesting too deep) is
an `InvalidRequest` with the reason MALFORMED_REQUEST and no trace of the bytes; the C implementation of protobuf is
active, since the pure Python one is 50 times slower and accepts other things.

Called by `server.servicers`.
"""

from typing import Final, TypeVar

from google.protobuf.internal import api_implementation
from google.protobuf.message import DecodeError, Message

from riskengine.errors import InvalidRequest, Violation

assert api_implementation.Type() == "upb", "protobuf must run on upb: unset PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION"

M = TypeVar("M", bound=Message)

_MALFORMED: Final = Violation(
    field="", reason="MALFORMED_REQUEST", description="the bytes are not a message of the expected type"
)


def parse(message_type: type[M], raw: bytes) -> M:
    """Parses one message.

    Args:
        message_type: The generated class.
        raw: Bytes as the transport delivered them; their size is bounded by the transport.

    Returns:
        The message; fields unknown to this version are kept and ignored.

    Raises:
        InvalidRequest: protobuf refuses the bytes.
    """
    message: M | None = None
    try:
        message = message_type.FromString(raw)
    except DecodeError:
        pass
    if message is None:  # Raised here, so that no exception that quotes the bytes hangs on as the context.
        raise InvalidRequest([_MALFORMED])
    return message
