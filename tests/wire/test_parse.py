"""Raw bytes become a message or one stated refusal."""

import pytest
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st

from riskengine.errors import InvalidRequest
from riskengine.v1 import risk_service_pb2 as service
from riskengine.wire.parse import parse
from tests.wire.builders import score_request

CANARY = "canary-5105105105105100"
REQUESTS: list[type[Message]] = [
    service.ScoreTransactionRequest,
    service.BatchScoreTransactionsRequest,
    service.RecordTransactionRequest,
    service.ReportOutcomeRequest,
    service.GetDecisionRequest,
]
NOT_UTF8 = b"\x0a\x03\xff\xfe\xfd"
NESTED = b"\x12\x02" * 3 + b"\x12\x7f"


def parsed(message_type: type[Message], raw: bytes) -> Message | str:
    """Returns the message, or the reason of the refusal."""
    try:
        return parse(message_type, raw)
    except InvalidRequest as error:
        return error.reason


@given(st.sampled_from(REQUESTS), st.binary(max_size=200))
def test_any_bytes_are_a_message_or_malformed(message_type: type[Message], raw: bytes) -> None:
    """Goal: no third way out. Method: random bytes for every request type."""
    result = parsed(message_type, raw)

    assert isinstance(result, message_type) or "MALFORMED_REQUEST" == result


@given(st.integers(0, 400), st.integers(0, 255))
def test_damaged_request_is_a_message_or_malformed(position: int, value: int) -> None:
    """Goal: nearly valid bytes have no third way out either. Method: one byte of a full request is overwritten."""
    raw = bytearray(score_request().SerializeToString(deterministic=True))
    raw[position % len(raw)] = value
    result = parsed(service.ScoreTransactionRequest, bytes(raw))

    assert isinstance(result, service.ScoreTransactionRequest) or "MALFORMED_REQUEST" == result


@pytest.mark.parametrize(
    "raw",
    [NOT_UTF8, b"\x0a\x05ab", b"\xff" * 12, NESTED, b"\x0a" + b"\xff" * 9 + b"\x01", b"\x12" * 300],
    ids=["not UTF-8", "truncated", "endless varint", "truncated nesting", "huge length", "garbage"],
)
def test_refused_bytes_are_malformed(raw: bytes) -> None:
    """Goal: what protobuf refuses has our reason and no field. Method: one kind of damage each."""
    with pytest.raises(InvalidRequest) as caught:
        parse(service.ScoreTransactionRequest, raw)

    assert caught.value.__context__ is None
    assert [("", "MALFORMED_REQUEST")] == [(item.field, item.reason) for item in caught.value.violations]


def test_refusal_shows_nothing_of_the_bytes() -> None:
    """Goal: no echo. Method: a canary within bytes that are not UTF-8."""
    raw = b"\x0a" + bytes((len(CANARY) + 1,)) + CANARY.encode() + b"\xff"
    with pytest.raises(InvalidRequest) as caught:
        parse(service.ScoreTransactionRequest, raw)

    assert CANARY not in repr(caught.value) + str(caught.value) + repr(caught.value.violations)


def test_unknown_fields_are_accepted() -> None:
    """Goal: newer clients work. Method: a field number that this version does not have."""
    raw = score_request().SerializeToString() + b"\xf8\x3f\x2a"

    assert "req-00000001" == parse(service.ScoreTransactionRequest, raw).request_id
