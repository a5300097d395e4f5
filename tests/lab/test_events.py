"""Packing histories by column equals the door's packing of one request, and refuses what it refuses."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from riskengine.enums import Kind, VerificationMethod
from riskengine.errors import InvalidRequest
from riskengine.lab.history import HISTORY_SCHEMA, field_of
from riskengine.types import EVENT, EVENT_COLUMNS, MISSING
from riskengine.v1 import risk_service_pb2 as service
from riskengine.v1 import transaction_pb2 as messages
from riskengine.wire.door import Door

from .builders import DOOR_OPTIONS, KEY, packer, simulated

FREE = ("sequence", "received_time_us", "payload_hash", "skip_stages")
RECEIVED_US = 4_000_000_000_000_000
LOGIN = {"transaction_id": "tx_00000001", "type": "LOGIN", "event_time": 1_770_000_000_000_000, "account_id": "acct_1"}
PAYMENT = {**LOGIN, "type": "CARD_PAYMENT", "amount_minor": 1250, "currency_code": "GBP"}


def request_of(row: dict[str, Any]) -> service.ScoreTransactionRequest:
    """Builds the request a gateway would send for a row of a history."""
    request = service.ScoreTransactionRequest(request_id=row["transaction_id"])
    transaction = request.transaction
    for name in (
        "transaction_id",
        "utc_offset_minutes",
        "amount_minor",
        "currency_code",
        "original_transaction_id",
        "merchant_category_code",
    ):
        if row.get(name) is not None:
            setattr(transaction, name, row[name])
    for name in ("type", "channel", "entry_mode", "initiation"):
        if row.get(name):
            prefix = "TRANSACTION_TYPE" if name == "type" else name.upper()
            setattr(transaction, name, getattr(messages, f"{prefix}_{row[name]}"))
    for name in ("event_time", "account_open_time"):
        if row.get(name) is not None:
            getattr(transaction, name).FromMicroseconds(row[name])
    for method in VerificationMethod:
        result = row.get(f"verified_{method.name.lower()}")
        if result:
            number = getattr(messages, f"VERIFICATION_RESULT_{result}")
            transaction.verifications.add(method=int(method), result=number)
    if row.get("issuer_outcome"):
        transaction.issuer_response.outcome = getattr(messages, f"ISSUER_OUTCOME_{row['issuer_outcome']}")
    transaction.issuer_response.response_code = row.get("issuer_code") or ""
    for group in (transaction.entities, transaction.regions, transaction.position):
        for field in group.DESCRIPTOR.fields:
            if row.get(field.name) is not None:
                setattr(group, field.name, row[field.name])
    for name, value in row.items():
        if name.startswith("number_") and value is not None:
            transaction.numbers[name.removeprefix("number_")] = value
        if name.startswith("label_") and value is not None:
            transaction.labels[name.removeprefix("label_")] = value
    return request


def batch_of(rows: list[dict[str, Any]]) -> pa.RecordBatch:
    """Builds a batch as a reader yields it; times are given in microseconds."""
    extras = {name for row in rows for name in row if name not in HISTORY_SCHEMA.names}
    schema = pa.schema([*HISTORY_SCHEMA, *(field_of(name) for name in sorted(extras))])
    return pa.RecordBatch.from_pylist(rows, schema=schema)


def plain_rows(batch: pa.RecordBatch) -> list[dict[str, Any]]:
    """Turns a batch into rows with times in microseconds."""
    plain = {name: pa.int64() for name in batch.schema.names if pa.types.is_timestamp(batch.schema.field(name).type)}
    arrays = [batch.column(name).cast(plain.get(name, batch.column(name).type)) for name in batch.schema.names]
    rows: list[dict[str, Any]] = pa.RecordBatch.from_arrays(arrays, names=batch.schema.names).to_pylist()
    return rows


def door_row(row: dict[str, Any]) -> np.void:
    """Packs a row by the door."""
    door = Door(KEY, skew_us=0, **DOOR_OPTIONS)
    packed: np.void = np.frombuffer(door.score_row(request_of(row), RECEIVED_US), EVENT)[0]
    return packed


def assert_equal_words(expected: np.void, actual: np.void) -> None:
    """Compares two rows bit for bit, but for the words a history has no say in."""
    for name in EVENT_COLUMNS:
        if name not in FREE:
            assert expected[name].tobytes() == actual[name].tobytes(), name


def test_simulated_rows_equal_the_door() -> None:
    """Goal: training sees what serving sees. Method: each of 4,000 simulated rows packed both ways, bit for bit."""
    batch = simulated().slice(3_000, 4_000).combine_chunks().to_batches()[0]
    packed = packer().pack(batch)
    door = Door(KEY, skew_us=0, **DOOR_OPTIONS)
    rows = [door.score_row(request_of(row), RECEIVED_US) for row in plain_rows(batch)]
    expected = np.frombuffer(b"".join(rows), EVENT)

    assert [] == packed.problems
    for name in EVENT_COLUMNS:
        if name not in FREE:
            np.testing.assert_array_equal(
                np.ascontiguousarray(expected[name]).view(np.int64),
                np.ascontiguousarray(packed.events[name]).view(np.int64),
                name,
            )


def test_full_row_equals_the_door() -> None:
    """Goal: what the simulator never sends is packed alike. Method: one row with everything unusual."""
    row = {
        **PAYMENT,
        "amount_minor": 12345,
        "currency_code": "TRY",
        "utc_offset_minutes": 0,
        "card_bin": "12345678",
        "ip_address": "2001:DB8::1",
        "email_address": " Person@MAIL.example",
        "phone_number": "+49 (30) 123-456",
        "shipping_address": "  1  Street,\tTown Straße ",
        "latitude_degrees": -0.0,
        "longitude_degrees": 180.0,
        "account_open_time": -5_000_000,
        "number_basket_items": -0.0,
        "number_other": 3.0,
        "label_segment": "a label of more than eight bytes",
        "label_other": "x",
    }
    packed = packer().pack(batch_of([row]))

    assert [] == packed.problems
    assert_equal_words(door_row(row), packed.events[0])
    assert packed.events["received_time_us"][0] == row["event_time"]


@pytest.mark.parametrize(
    "change",
    [
        {"transaction_id": "has blank"},
        {"transaction_id": ""},
        {"transaction_id": "x" * 65},
        {"type": "PURCHASE"},
        {"event_time": 900_000_000_000_000},
        {"utc_offset_minutes": 841},
        {"amount_minor": None},
        {"amount_minor": -1},
        {"amount_minor": 10**12 + 1},
        {"currency_code": None},
        {"currency_code": "JPY"},
        {"type": "LOGIN"},
        {"channel": "web"},
        {"verified_passcode": "YES"},
        {"issuer_outcome": "declined"},
        {"issuer_code": "05-1"},
        {"original_transaction_id": "a/b"},
        {"account_id": "bläh"},
        {"account_id": "4111111111111111"},
        {"account_id": None},
        {"card_bin": "12345"},
        {"ip_address": "1.2.3"},
        {"email_address": "a@b@c"},
        {"phone_number": "12"},
        {"phone_number": "1+2345678"},
        {"shipping_address": " "},
        {"shipping_address": "a\x00b"},
        {"shipping_address": "ä" * 129},
        {"merchant_category_code": "54 1"},
        {"card_region_code": "de"},
        {"latitude_degrees": 91.0, "longitude_degrees": 0.0},
        {"account_open_time": -62_135_596_800_000_001},
        {"number_basket_items": float("inf")},
        {"label_segment": "x" * 65},
    ],
    ids=str,
)
def test_what_the_door_refuses_is_left_out(change: dict[str, Any]) -> None:
    """Goal: no row passes here that the server refuses. Method: one fault at a time, both ways."""
    bad = {**PAYMENT, **change}
    packed = packer().pack(batch_of([{**LOGIN}, bad, {**LOGIN, "transaction_id": "tx_00000003"}]))

    assert [0, 2] == packed.rows.tolist()
    assert len(packed.events) == 2
    assert {1} == {problem.row for problem in packed.problems}
    try:
        request = request_of(bad)
    except (ValueError, AttributeError, KeyError):  # What the message itself refuses never reaches the door.
        return
    with pytest.raises(InvalidRequest):
        Door(KEY, skew_us=0, **DOOR_OPTIONS).score_row(request, RECEIVED_US)


def test_problems_name_the_column_and_never_the_value() -> None:
    """Goal: reports are safe to keep. Method: a secret in a bad value."""
    packed = packer().pack(batch_of([{**LOGIN, "email_address": "secret"}]))

    assert ["email_address"] == [problem.column for problem in packed.problems]
    assert "secret" not in packed.problems[0].description


def test_exempt_identifiers_may_be_digits() -> None:
    """Goal: the configured exemption holds here as well. Method: a Luhn-valid account id, exempt and not."""
    rows = batch_of([{**LOGIN, "account_id": "4111111111111111"}])

    assert 1 == len(packer(pan_exempt_fields=frozenset({"account_id"})).pack(rows).events)
    assert 0 == len(packer().pack(rows).events)


def test_tags_do_not_depend_on_the_chunks() -> None:
    """Goal: what is remembered between batches changes nothing. Method: one batch against many by the same packer."""
    table = simulated().slice(0, 2_000).combine_chunks()
    whole = packer().pack(table.to_batches()[0]).events
    one = packer()
    parts = np.concatenate([one.pack(batch).events for batch in table.to_batches(max_chunksize=300)])

    assert whole.tobytes() == parts.tobytes()


def test_kind_and_missing_values() -> None:
    """Goal: records are packed as such, and nothing is made up. Method: a bare login."""
    events = packer().pack(batch_of([LOGIN]), kind=Kind.RECORD).events

    assert [int(Kind.RECORD)] == events["kind"].tolist()
    assert [MISSING] == events["amount_base_minor"].tolist()
    assert [0] == events["card_tag"].tolist()
    assert np.isnan(events["latitude_degrees"]).all()


def test_an_empty_batch_is_no_trouble() -> None:
    """Goal: chunks may be empty. Method: no rows."""
    packed = packer().pack(batch_of([LOGIN]).slice(0, 0))

    assert 0 == len(packed.events)
    assert [] == packed.problems
