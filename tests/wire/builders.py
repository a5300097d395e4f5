"""Requests, doors and decision rows for the tests of the wire."""

from typing import Any

import numpy as np
from google.protobuf.timestamp_pb2 import Timestamp

from riskengine.enums import DecisionFlag
from riskengine.types import DECISION, EVENT, Array
from riskengine.v1 import risk_service_pb2 as service
from riskengine.v1 import transaction_pb2 as messages
from riskengine.wire.checks import DoorLimits
from riskengine.wire.door import Door
from riskengine.wire.pseudonyms import TagKey

NOW_US = 1_700_000_100_000_000
KEY = TagKey(bytes(range(32)))
NAMES: dict[str, Any] = {
    "revision": 3,
    "policy": "policies/starter",
    "policy_revision": "0123456789ab",
    "model": "models/starter",
    "model_revision": "ba9876543210",
    "base_currency": "EUR",
    "rules": [
        {"id": f"rule_{number}", "verdict": verdict, "mode": "enforce"}
        for number, verdict in enumerate(["decline", "review", None, "approve"] * 20)
    ],
    "lists": [{"id": "bad_cards", "action": "block"}, {"id": "staff", "action": "allow"}],
    "obligations": [
        {"step_up": {"methods": ["three_d_secure", "one_time_code"]}},
        {"hold": {"duration_s": 86400, "default_verdict": "decline"}},
        {"limit": {"amount_minor_max": 5000}},
        {"notify": {"audience": "payer"}},
    ],
    "segments": ["default", "high_risk"],
    "reasons": [
        {"code": "CARD_BURST", "text": "The card was used {observed} times in an hour, {norm} is usual."},
        {"code": "NEW_DEVICE", "text": "The device is new: 100 % of {it}."},
        {"code": "AMOUNT_HIGH", "text": "The usual {norm} is far below {observed}, and {norm} it was."},
    ],
    "features": ["card.payment_count_1h", "device.age_days", "txn.amount"],
    "inputs": {"numbers": ["basket_items"], "labels": ["shop"]},
}


def door(**overrides: Any) -> Door:
    """Builds a door with two declared numbers and one declared label."""
    options: dict[str, Any] = {
        "base_currency": "EUR",
        "rates": {"USD": "0.91", "JPY": "0.0061", "KWD": "3.01"},
        "number_slots": {"basket_items": 0, "risk_score": 5},
        "label_slots": {"shop": 1},
        "skew_us": 60_000_000,
    }
    return Door(KEY, **(options | overrides))


def limits() -> DoorLimits:
    """Returns the configured limits of `door()`."""
    return DoorLimits(
        currencies=frozenset({"EUR", "USD", "JPY", "KWD"}), skew_us=60_000_000, pan_exempt_fields=frozenset()
    )


def verification(method: Any, result: Any) -> "messages.Verification":
    """Builds one verification from any numbers."""
    return messages.Verification(method=method, result=result)


def issuer(outcome: Any = 0, code: str = "") -> "messages.IssuerResponse":
    """Builds an issuer's answer from any number."""
    return messages.IssuerResponse(outcome=outcome, response_code=code)


def transaction(**overrides: Any) -> "messages.Transaction":
    """Builds a card payment in which every common field is set; an override of None leaves a field out."""
    fields: dict[str, Any] = {
        "transaction_id": "txn-000012345",
        "type": 1,
        "event_time": Timestamp(seconds=1_700_000_000, nanos=123_456_789),
        "utc_offset_minutes": 60,
        "amount_minor": 1999,
        "currency_code": "EUR",
        "channel": 1,
        "entry_mode": 6,
        "initiation": 1,
        "verifications": [verification(2, 1), verification(3, 2)],
        "issuer_response": issuer(2, "51"),
        "original_transaction_id": "txn-000000001",
        "entities": entities(),
        "merchant_category_code": "5411",
        "regions": messages.Regions(card_region_code="DE", ip_region_code="FR", merchant_region_code="DE"),
        "position": messages.Position(latitude_degrees=52.5, longitude_degrees=13.4),
        "account_open_time": Timestamp(seconds=1_600_000_000),
        "numbers": {"basket_items": 3.0, "undeclared": 1.5},
        "labels": {"shop": "web", "other": "x"},
    }
    return messages.Transaction(**{name: value for name, value in (fields | overrides).items() if value is not None})


def entities(**overrides: Any) -> "messages.Entities":
    """Builds entities with every identifier set."""
    fields: dict[str, Any] = {
        "account_id": "acc-1234567",
        "card_id": "tok_abcdef0123456789",
        "card_bin": "411111",
        "device_id": "dev-0123456789abcdef",
        "ip_address": "203.0.113.77",
        "email_address": "Jane.Roe@Example.com",
        "phone_number": "+49 (30) 123-4567",
        "merchant_id": "m-123",
        "payee_id": "p-987",
        "shipping_address": "1 Main Street,  Springfield",
    }
    return messages.Entities(**{name: value for name, value in (fields | overrides).items() if value is not None})


def score_request(request_id: str = "req-00000001", **overrides: Any) -> "service.ScoreTransactionRequest":
    """Builds a request to score."""
    return service.ScoreTransactionRequest(request_id=request_id, transaction=transaction(**overrides))


def record_request(**overrides: Any) -> "service.RecordTransactionRequest":
    """Builds a request to record."""
    fields: dict[str, Any] = {"request_id": "req-00000001", "transaction": transaction(), "verdict": 3}
    return service.RecordTransactionRequest(**(fields | overrides))


def outcome_request(**overrides: Any) -> "service.ReportOutcomeRequest":
    """Builds a reported outcome."""
    fields: dict[str, Any] = {
        "request_id": "req-00000001",
        "transaction_id": "txn-000012345",
        "type": 3,
        "event_time": Timestamp(seconds=1_700_000_000),
        "entities": entities(),
    }
    return service.ReportOutcomeRequest(
        **{name: value for name, value in (fields | overrides).items() if value is not None}
    )


def unpacked(row: bytes) -> Any:
    """Returns a packed row of EVENT as a record."""
    return np.frombuffer(row, EVENT)[0]


def decision_rows(count: int = 1, **columns: Any) -> Array:
    """Builds rows of DECISION: a decline by a live model with three reasons."""
    rows = np.zeros(count, DECISION)
    fields: dict[str, Any] = {
        "sequence": 7,
        "kind": 1,
        "received_time_us": 1_700_000_000_123_456,
        "request_key": 0x0123456789ABCDEF,
        "request_check": 0xFEDCBA9876543210,
        "revision": 3,
        "verdict": 3,
        "probability": 0.87,
        "margin": 1.9,
        "flags": DecisionFlag.FOLDED | DecisionFlag.MODEL_LIVE,
        "reason_count": 3,
    }
    for slot, (observed, norm, contribution) in enumerate(
        [(7.0, 1.5, 0.8), (np.nan, np.nan, 0.0), (12345.678, 20.0, 0.1)]
    ):
        fields[f"reason_{slot}_code"] = slot
        fields[f"reason_{slot}_feature"] = slot if slot != 1 else -1
        fields[f"reason_{slot}_observed"] = observed
        fields[f"reason_{slot}_norm"] = norm
        fields[f"reason_{slot}_contribution"] = contribution
    for name, value in (fields | columns).items():
        rows[name] = value
    return rows
