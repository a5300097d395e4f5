"""Every violation is found, all at once, by name and without an echo."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from google.api import field_behavior_pb2
from google.protobuf.timestamp_pb2 import Timestamp

from riskengine.errors import InvalidRequest
from riskengine.v1 import risk_service_pb2 as service
from riskengine.v1 import transaction_pb2 as messages
from riskengine.wire.checks import check_batch, check_stream_item
from riskengine.wire.reply import parse_decision_name
from riskengine.wire.status import abort_of, status_of
from tests.wire.builders import (
    NOW_US,
    door,
    entities,
    issuer,
    outcome_request,
    record_request,
    score_request,
    transaction,
    verification,
)
from tests.wire.cases import BAD, BAD_ENTITIES, GOOD, NAN, PAN, ids

CANARY = "canary\u0007value"


def admit(request: Any, **options: Any) -> bytes:
    """Sends a request of any kind through the door or the check that is its own."""
    if isinstance(request, service.ScoreTransactionRequest):
        return door(**options).score_row(request, NOW_US)
    if isinstance(request, service.RecordTransactionRequest):
        return door(**options).record_row(request, NOW_US)
    if isinstance(request, service.ReportOutcomeRequest):
        return door(**options).outcome_row(request, NOW_US)
    if isinstance(request, service.BatchScoreTransactionsRequest):
        check_batch(request)
    elif isinstance(request, service.StreamScoreTransactionsRequest):
        check_stream_item(request)
    else:
        parse_decision_name(request.name)
    return b""


def violations(request: Any, **options: Any) -> set[tuple[str, str]]:
    """Returns paths and reasons of what is wrong; empty when the request is admitted."""
    try:
        admit(request, **options)
    except InvalidRequest as error:
        return {(item.field, item.reason) for item in error.violations}
    return set()


FULL: dict[str, Callable[[], Any]] = {
    "ScoreTransactionRequest": score_request,
    "RecordTransactionRequest": record_request,
    "ReportOutcomeRequest": outcome_request,
    "BatchScoreTransactionsRequest": lambda: service.BatchScoreTransactionsRequest(requests=[score_request()]),
    "StreamScoreTransactionsRequest": lambda: service.StreamScoreTransactionsRequest(request=score_request()),
    "GetDecisionRequest": lambda: service.GetDecisionRequest(name="decisions/" + "0" * 32),
}


def required_paths(message: Any, path: str = "") -> Iterator[tuple[str, list[str | int]]]:
    """Yields path and steps of every REQUIRED field that a full message has, at any depth."""
    for descriptor, value in message.ListFields():
        here = f"{path}{descriptor.name}"
        if field_behavior_pb2.REQUIRED in descriptor.GetOptions().Extensions[field_behavior_pb2.field_behavior]:
            yield here, [descriptor.name]
        if descriptor.message_type is None or descriptor.message_type.GetOptions().map_entry:
            continue
        if descriptor.message_type.file.package != "riskengine.v1" or descriptor.name in ("requests", "request"):
            continue  # Requests within a batch or a stream have errors of their own.
        if descriptor.is_repeated:
            for index, item in enumerate(value):
                for inner, steps in required_paths(item, f"{here}[{index}]."):
                    yield inner, [descriptor.name, index, *steps]
        else:
            for inner, steps in required_paths(value, f"{here}."):
                yield inner, [descriptor.name, *steps]


def required_cases() -> Iterator[tuple[str, str, list[str | int]]]:
    """Yields every request type with each of its required fields."""
    for name, build in FULL.items():
        for path, steps in required_paths(build()):
            yield name, path, steps


@pytest.mark.parametrize(("name", "path", "steps"), list(required_cases()))
def test_cleared_required_field_is_named(name: str, path: str, steps: list[str | int]) -> None:
    """Goal: the validator cannot drift from the contract. Method: walk the descriptors, clear each REQUIRED field."""
    request = FULL[name]()
    assert set() == violations(request)
    message = request
    for step in steps[:-1]:
        message = message[step] if isinstance(step, int) else getattr(message, step)
    message.ClearField(steps[-1])

    assert {(path, "REQUIRED")} == violations(request)


def test_walk_meets_the_required_fields() -> None:
    """Goal: the walk above is no empty one. Method: count, and look for the deep ones."""
    paths = [path for _, path, _ in required_cases()]

    assert 20 < len(paths)
    assert {"transaction.verifications[1].result", "transaction.event_time", "name", "requests"} <= set(paths)


@pytest.mark.parametrize(("fields", "path", "reason"), BAD)
def test_bad_field_is_the_one_named(fields: dict[str, Any], path: str, reason: str) -> None:
    """Goal: one mistake, one violation with its path and reason. Method: a table of one mistake each."""
    assert {(f"transaction.{path}", reason)} == violations(score_request(**fields))


@pytest.mark.parametrize(("fields", "reason"), BAD_ENTITIES)
def test_bad_identifier_is_the_one_named(fields: dict[str, Any], reason: str) -> None:
    """Goal: as above for identifiers, in a transaction and in an outcome. Method: a table of one mistake each."""
    (name,) = fields

    assert {(f"transaction.entities.{name}", reason)} == violations(score_request(entities=entities(**fields)))
    assert {(f"entities.{name}", reason)} == violations(outcome_request(entities=entities(**fields)))


@pytest.mark.parametrize(
    ("request_id", "reason"),
    [("", "REQUIRED"), ("short", "FIELD_TOO_SHORT"), ("x" * 65, "FIELD_TOO_LONG"), ("a b c d e", "INVALID_FORMAT")],
)
def test_bad_request_id_is_named(request_id: str, reason: str) -> None:
    """Goal: retries need a usable id. Method: each way to be wrong, for each call that has one."""
    for request in (
        score_request(request_id),
        record_request(request_id=request_id),
        outcome_request(request_id=request_id),
    ):
        assert {("request_id", reason)} == violations(request)


@pytest.mark.parametrize(
    ("request_", "path", "reason"),
    [
        (record_request(verdict=4), "verdict", "UNKNOWN_VALUE"),
        (record_request(verdict=-1), "verdict", "UNKNOWN_VALUE"),
        (outcome_request(type=7), "type", "UNKNOWN_VALUE"),
        (outcome_request(transaction_id="a b"), "transaction_id", "INVALID_FORMAT"),
        (outcome_request(event_time=Timestamp(seconds=1_800_000_000)), "event_time", "EVENT_TIME_SKEW"),
        (service.GetDecisionRequest(name="decisions/xyz"), "name", "INVALID_FORMAT"),
        (service.GetDecisionRequest(name="decisions/" + "A" * 32), "name", "INVALID_FORMAT"),
        (service.BatchScoreTransactionsRequest(requests=[score_request()] * 1001), "requests", "TOO_MANY_ITEMS"),
    ],
)
def test_bad_field_of_other_calls_is_named(request_: Any, path: str, reason: str) -> None:
    """Goal: every call has its checks. Method: a table."""
    assert {(path, reason)} == violations(request_)


@pytest.mark.parametrize("fields", GOOD)
def test_border_of_the_contract_is_inside(fields: dict[str, Any]) -> None:
    """Goal: the door is not stricter than the proto. Method: a table of allowed extremes."""
    assert set() == violations(score_request(**fields))


def test_exempt_identifier_may_look_like_a_card_number() -> None:
    """Goal: numeric account ids work where configured, and only there. Method: one field exempt, two sent."""
    request = score_request(entities=entities(account_id=PAN, device_id=PAN))

    assert {("transaction.entities.device_id", "PAN_NOT_ALLOWED")} == violations(
        request, pan_exempt_fields=frozenset({"account_id"})
    )


def worst_request() -> Any:
    """Builds a request in which as much as possible is wrong, with a canary wherever text goes."""
    worst = transaction(
        transaction_id=CANARY,
        type=99,
        event_time=Timestamp(seconds=1),
        utc_offset_minutes=9999,
        amount_minor=-5,
        currency_code=CANARY,
        channel=99,
        entry_mode=99,
        initiation=99,
        verifications=[verification(99, 99)] * 50,
        issuer_response=issuer(99, CANARY),
        original_transaction_id=CANARY,
        entities=messages.Entities(**dict.fromkeys(messages.Entities.DESCRIPTOR.fields_by_name, CANARY)),
        merchant_category_code=CANARY,
        regions=messages.Regions(**dict.fromkeys(messages.Regions.DESCRIPTOR.fields_by_name, CANARY)),
        position=messages.Position(latitude_degrees=NAN, longitude_degrees=777.25),
        account_open_time=Timestamp(seconds=2**60),
        numbers={f"{CANARY}{index}": NAN for index in range(40)},
        labels={f"{CANARY}{index}": CANARY for index in range(40)},
    )
    return record_request(request_id=CANARY, transaction=worst, verdict=99)


def test_all_violations_come_at_once_in_order() -> None:
    """Goal: one round trip shows everything. Method: the worst request; every field of it is named."""
    with pytest.raises(InvalidRequest) as caught:
        admit(worst_request())
    paths = [item.field for item in caught.value.violations]
    tops = [path.split(".")[1].split("[")[0] for path in paths if path.startswith("transaction.")]

    assert [field.name for field in messages.Transaction.DESCRIPTOR.fields] == list(dict.fromkeys(tops))
    assert "request_id" == paths[0]
    assert "verdict" == paths[-1]
    assert len(paths) < 60


def test_no_error_text_repeats_a_value() -> None:
    """Goal: nothing that a caller sent comes back or reaches a log. Method: canaries in every text field."""
    with pytest.raises(InvalidRequest) as caught:
        admit(worst_request())
    error = caught.value
    told = repr(error) + str(error) + repr(error.violations) + repr(error.metadata) + repr(status_of(error))
    told += repr(abort_of(error)) + repr(error.__context__) + repr(error.__cause__)

    assert "canary" not in told
    assert "777" not in told


@pytest.mark.parametrize(
    "fields",
    [
        {"event_time": Timestamp(seconds=1_777_777_777)},
        {"event_time": Timestamp(seconds=777_777)},
        {"event_time": Timestamp(seconds=1_700_000_000, nanos=-777_777)},
        {"amount_minor": -777_777},
        {"utc_offset_minutes": 777_777},
        {"position": messages.Position(latitude_degrees=777_777)},
        {"account_open_time": Timestamp(seconds=777_777_777_777_777)},
        {"type": 777_777},
        {"channel": 777_777},
        {"verifications": [verification(777_777, 777_777)]},
    ],
)
def test_no_error_text_repeats_a_number(fields: dict[str, Any]) -> None:
    """Goal: numbers are values as well. Method: one that no limit has, in every number field."""
    with pytest.raises(InvalidRequest) as caught:
        admit(score_request(**fields))

    assert "777" not in (str(caught.value) + repr(caught.value.violations)).replace(",", "").replace("_", "")


@pytest.mark.parametrize("fields", [*ids(PAN), {"email_address": f"{PAN}@"}, {"ip_address": PAN}, {"card_bin": PAN}])
def test_refused_card_number_is_not_repeated(fields: dict[str, Any]) -> None:
    """Goal: a card number never leaves by an error. Method: one in each identifier field."""
    with pytest.raises(InvalidRequest) as caught:
        admit(score_request(entities=entities(**fields)))
    error = caught.value

    assert PAN not in str(error) + repr(error.violations) + repr(status_of(error)) + repr(error.__context__)
