"""The payload hash: whether two requests say the same, whatever their form."""

from types import SimpleNamespace
from typing import Any, cast

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from riskengine.v1 import risk_service_pb2 as service
from riskengine.v1 import transaction_pb2 as messages
from riskengine.wire.codes import ClearCodes
from tests.wire.builders import NOW_US, door, entities, issuer, record_request, score_request, unpacked, verification

DOOR = door()

HASHED: list[dict[str, Any]] = [
    {"transaction_id": "txn-000012346"},
    {"type": 2},
    {"event_time": Timestamp(seconds=1_700_000_000, nanos=123_457_000)},
    {"utc_offset_minutes": 61},
    {"utc_offset_minutes": None},
    {"amount_minor": 2000},
    {"amount_minor": 0},
    {"currency_code": "USD"},
    {"channel": 2},
    {"entry_mode": 7},
    {"initiation": 2},
    {"verifications": [verification(2, 1)]},
    {"verifications": [verification(2, 1), verification(3, 1)]},
    {"issuer_response": issuer(1, "51")},
    {"issuer_response": issuer(2, "05")},
    {"original_transaction_id": "txn-000000002"},
    {"merchant_category_code": "5412"},
    *(
        {
            "regions": messages.Regions(
                card_region_code="DE", ip_region_code="FR", merchant_region_code="DE", **{name: "GB"}
            )
        }
        for name in ("payee_region_code", "billing_region_code", "shipping_region_code")
    ),
    {"regions": messages.Regions(card_region_code="FR", ip_region_code="DE", merchant_region_code="DE")},
    {"position": messages.Position(latitude_degrees=52.6, longitude_degrees=13.4)},
    {"position": messages.Position(latitude_degrees=52.5, longitude_degrees=13.5)},
    {"position": None},
    {"account_open_time": Timestamp(seconds=1_600_000_001)},
    {"account_open_time": None},
    {"numbers": {"basket_items": 4.0, "undeclared": 1.5}},
    {"numbers": {"basket_items": 3.0, "undeclared": 1.6}},
    {"numbers": {"basket_items": 3.0, "undeclared2": 1.5}},
    {"numbers": {"basket_items": 3.0}},
    {"labels": {"shop": "app", "other": "x"}},
    {"labels": {"shop": "web", "other": "y"}},
    {"labels": {"shop": "web"}},
    {"labels": {"shop": "x", "other": "web"}},
    {"numbers": None, "labels": None},
    *(
        {"entities": entities(**{name: value})}
        for name, value in {
            "account_id": "acc-2",
            "card_id": "tok_2",
            "card_bin": "422222",
            "device_id": "dev-2",
            "ip_address": "203.0.113.78",
            "email_address": "john@example.com",
            "phone_number": "+49 30 7654321",
            "merchant_id": "m-124",
            "payee_id": "p-988",
            "shipping_address": "2 Main Street",
        }.items()
    ),
    *({"entities": entities(**{name: None})} for name in messages.Entities.DESCRIPTOR.fields_by_name),
]


def payload_hash(request: Any, **options: Any) -> int:
    """Returns the payload hash of a request to score."""
    return int(unpacked(door(**options).score_row(request, NOW_US))["payload_hash"])


@pytest.mark.parametrize("fields", HASHED, ids=str)
def test_every_field_changes_the_payload_hash(fields: dict[str, Any]) -> None:
    """Goal: another payload under a known request_id is noticed. Method: one field at a time."""
    assert payload_hash(score_request()) != payload_hash(score_request(**fields))


def test_changes_are_told_apart_from_each_other() -> None:
    """Goal: fields do not stand in for one another. Method: all hashes of the table are distinct."""
    assert len(HASHED) == len({payload_hash(score_request(**fields)) for fields in HASHED})


def test_kind_changes_the_payload_hash() -> None:
    """Goal: a request_id of one call is not answered by another. Method: the same transaction scored and recorded."""
    recorded = unpacked(DOOR.record_row(record_request(verdict=0), NOW_US))

    assert payload_hash(score_request()) != recorded["payload_hash"]
    assert recorded["payload_hash"] != unpacked(DOOR.record_row(record_request(), NOW_US))["payload_hash"]


def test_form_of_the_message_does_not_change_the_payload_hash() -> None:
    """Goal: a retry by another client library is the same request. Method: one form after the other.

    Map order, unknown fields, other spellings, nanoseconds below a microsecond, another request_id, time, stages and
    configuration.
    """
    request = score_request()
    expected = payload_hash(request)
    raw = request.transaction.SerializeToString() + b"\xf8\x3f\x2a"
    unknown = service.ScoreTransactionRequest(
        request_id="req-00000002", transaction=messages.Transaction.FromString(raw)
    )
    reverse = score_request(numbers=None, labels=None)
    for key in ("undeclared", "basket_items"):
        reverse.transaction.numbers[key] = request.transaction.numbers[key]
    for key in ("other", "shop"):
        reverse.transaction.labels[key] = request.transaction.labels[key]
    spelled = score_request(
        entities=entities(email_address="jane.roe@example.com", phone_number="49301234567"),
        event_time=Timestamp(seconds=1_700_000_000, nanos=123_456_000),
    )
    later = unpacked(DOOR.score_row(request, NOW_US + 5, 24))["payload_hash"]

    assert [expected] * 3 == [payload_hash(other) for other in (unknown, reverse, spelled)]
    assert expected == later
    assert expected == payload_hash(request, number_slots={}, label_slots={"other": 9}, rates={"USD": "2"})
    assert expected == payload_hash(request, pan_exempt_fields=frozenset({"account_id"}), skew_us=10**9)


@given(st.permutations([f"k{index}" for index in range(8)]))
def test_order_of_a_map_does_not_matter(keys: list[str]) -> None:
    """Goal: the canonical bytes know no order. Method: plain dicts as maps, since protobuf's hide the order given."""
    codes = ClearCodes(number_slots={"k3": 1}, label_slots={"k5": 2})
    maps = [
        SimpleNamespace(numbers={key: float(key[1:]) for key in order}, labels={key: f"v{key}" for key in order})
        for order in (keys, sorted(keys))
    ]
    given_, ordered = (codes.pack_maps(cast("messages.Transaction", item), False) for item in maps)

    assert ordered == given_


def test_negative_zero_is_zero() -> None:
    """Goal: one canonical form of a number. Method: -0.0 in every float of a request."""
    zero = score_request(
        numbers={"basket_items": 0.0}, position=messages.Position(latitude_degrees=0.0, longitude_degrees=0.0)
    )
    negative = score_request(
        numbers={"basket_items": -0.0}, position=messages.Position(latitude_degrees=-0.0, longitude_degrees=-0.0)
    )

    assert DOOR.score_row(zero, NOW_US) == DOOR.score_row(negative, NOW_US)
