"""Requests become rows that say the same, and a payload hash that says whether two requests do."""

import struct
import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from riskengine import enums, types
from riskengine.errors import InvalidRequest
from riskengine.types import ENTITIES, EVENT_STRUCT, LABEL_SLOTS, MISSING, NUMBER_SLOTS, pack_code, unpack_code
from riskengine.v1 import risk_service_pb2 as service
from riskengine.v1 import transaction_pb2 as messages
from riskengine.wire import checks, pseudonyms
from riskengine.wire.checks import Suspect
from riskengine.wire.pseudonyms import Pseudonyms
from tests.wire.builders import (
    KEY,
    NOW_US,
    door,
    entities,
    issuer,
    limits,
    outcome_request,
    record_request,
    score_request,
    unpacked,
)

DOOR = door()
KEY_TEXT = st.text("ABCxyz019._:-", min_size=1, max_size=64)
ID_TEXT = st.one_of(st.just(""), st.text("ABCxyz019._:@+/=-", min_size=1, max_size=64))
REGION = st.one_of(st.just(""), st.text("ABCXYZ", min_size=2, max_size=2))
FINITE = st.floats(allow_nan=False, allow_infinity=False)
MAP_KEY = st.one_of(
    st.sampled_from(["basket_items", "risk_score", "shop"]), st.text("abc019_", min_size=1, max_size=12)
)
ADDRESSES = st.sampled_from(["", "203.0.113.9", "2001:db8::9", "::ffff:203.0.113.7"])
EMAILS = st.sampled_from(["", "a@b.example", "A@B.example", "ä@b.example", " x@y.example"])
PHONES = st.sampled_from(["", "+49 30 12345", "004930", "(+1) 555-0100"])
STREETS = st.sampled_from(["", "1 Main Street", "Straße 7\nBerlin", "12345678901234567", "０ x"])


@st.composite
def transactions(draw: st.DrawFn) -> "messages.Transaction":
    """Draws valid transactions of every shape."""
    kind: Any = draw(st.integers(1, 11))
    built = messages.Transaction(transaction_id=draw(KEY_TEXT), type=kind)
    built.event_time.seconds = draw(st.integers(946_684_800, NOW_US // 1_000_000 + 59))
    built.event_time.nanos = draw(st.integers(0, 999_999_999))
    if draw(st.booleans()):
        built.utc_offset_minutes = draw(st.integers(-840, 840))
    if built.type <= 6:
        built.amount_minor = draw(st.integers(0, 10**12))
    if built.type <= 6 or draw(st.booleans()):
        built.currency_code = draw(st.sampled_from(["EUR", "USD", "JPY", "KWD"]))
    for name, largest in (("channel", 6), ("entry_mode", 9), ("initiation", 4)):
        setattr(built, name, draw(st.integers(0, largest)))
    for method in draw(st.lists(st.integers(1, 6), unique=True, max_size=6)):
        built.verifications.add(method=method, result=draw(st.integers(1, 5)))
    if draw(st.booleans()):
        code = draw(st.sampled_from(["", "05", "51", "A1b2C3d4"]))
        built.issuer_response.CopyFrom(issuer(draw(st.integers(0, 4)), code))
    built.original_transaction_id = draw(st.one_of(st.just(""), KEY_TEXT))
    for name in checks.PAN_FIELDS:
        setattr(built.entities, name, draw(ID_TEXT))
    built.entities.card_bin = draw(st.sampled_from(["", "411111", "55000055"]))
    built.entities.ip_address, built.entities.email_address = draw(ADDRESSES), draw(EMAILS)
    built.entities.phone_number, built.entities.shipping_address = draw(PHONES), draw(STREETS)
    built.merchant_category_code = draw(st.sampled_from(["", "5411", "0000"]))
    for name in messages.Regions.DESCRIPTOR.fields_by_name:
        setattr(built.regions, name, draw(REGION))
    if draw(st.booleans()):
        built.position.latitude_degrees = draw(st.floats(-90, 90))
        built.position.longitude_degrees = draw(st.floats(-180, 180))
    if draw(st.booleans()):
        built.account_open_time.seconds = draw(st.integers(-2_000_000_000, 2_000_000_000))
    for key, number in draw(st.dictionaries(MAP_KEY, FINITE, max_size=5)).items():
        built.numbers[key] = number
    for key, label in draw(st.dictionaries(MAP_KEY, st.text("aé €z9", min_size=1, max_size=16), max_size=5)).items():
        built.labels[key] = label
    return built


@given(transactions())
def test_row_equals_the_message(transaction: "messages.Transaction") -> None:
    """Goal: what is scored is what was sent. Method: valid transactions of every shape, compared field by field."""
    request = service.ScoreTransactionRequest(request_id="req-00000001", transaction=transaction)
    found = checks.find_transaction(request, limits=limits(), now_us=NOW_US)
    if found:  # An id that is a card number by chance, or no identifier at all.
        assert {"PAN_NOT_ALLOWED", "REQUIRED"} >= {item.reason for item in found}
        return
    row = unpacked(DOOR.score_row(request, NOW_US, 5))
    pseudonyms = Pseudonyms(KEY)
    sent, who = transaction, transaction.entities

    assert (0, 1, NOW_US, 5) == tuple(row[name] for name in ("sequence", "kind", "received_time_us", "skip_stages"))
    assert sent.event_time.ToMicroseconds() == row["event_time_us"]
    assert (sent.utc_offset_minutes if sent.HasField("utc_offset_minutes") else MISSING) == row["utc_offset_minutes"]
    assert (sent.amount_minor if sent.type <= 6 else MISSING) == row["amount_minor"]
    assert (row["amount_minor"] == MISSING) == (row["amount_base_minor"] == MISSING)
    assert sent.currency_code == unpack_code(int(row["currency"]))
    results = {int(item.method): int(item.result) for item in sent.verifications}
    assert [results.get(method, 0) for method in range(1, 7)] == [
        row[f"verified_{method.name.lower()}"] for method in enums.VerificationMethod
    ]
    for name in ("channel", "entry_mode", "initiation"):
        assert getattr(sent, name) == row[name]
    assert (sent.type, sent.issuer_response.outcome) == (row["transaction_type"], row["issuer_outcome"])
    assert sent.issuer_response.response_code == unpack_code(int(row["issuer_code"]))
    assert sent.merchant_category_code == unpack_code(int(row["merchant_category"]))
    assert who.card_bin == unpack_code(int(row["card_bin"]))
    for name in ("card", "ip", "merchant", "payee", "billing", "shipping"):
        assert getattr(sent.regions, f"{name}_region_code") == unpack_code(int(row[f"{name}_region"]))
    for name, value in tagged_values(who).items():
        assert pseudonyms.tag(name, value) == row[f"{name}_tag"], name
    assert pseudonyms.tag("transaction", sent.transaction_id) == row["transaction_tag"]
    assert pseudonyms.tag("transaction", sent.original_transaction_id) == row["original_transaction_tag"]
    opened = sent.account_open_time.ToMicroseconds() if sent.HasField("account_open_time") else MISSING
    assert opened == row["account_open_time_us"]
    if sent.HasField("position"):
        assert sent.position.latitude_degrees == row["latitude_degrees"]
        assert sent.position.longitude_degrees == row["longitude_degrees"]
    else:
        assert row["latitude_degrees"] != row["latitude_degrees"]
    slots = {"basket_items": 0, "risk_score": 5}
    expected = [next((sent.numbers[k] for k in slots if slots[k] == s and k in sent.numbers), None) for s in range(16)]
    assert expected == [None if row[f"number_{s}"] != row[f"number_{s}"] else row[f"number_{s}"] for s in range(16)]
    labels = [
        pack_code(sent.labels["shop"]) if slot == 1 and "shop" in sent.labels else 0 for slot in range(LABEL_SLOTS)
    ]
    assert labels == [row[f"label_{slot}"] for slot in range(LABEL_SLOTS)]


def tagged_values(who: "messages.Entities") -> dict[str, str]:
    """Returns what each tag of a row stands for."""
    raw = (who.account_id, who.card_id, who.device_id, who.ip_address, who.email_address, who.phone_number)
    rest = (who.merchant_id, who.payee_id, who.shipping_address, who.card_bin, who.ip_address, who.email_address)
    return dict(zip(ENTITIES, raw + rest, strict=True))


MUTATIONS: list[Any] = [
    *(("entities", name) for name in messages.Entities.DESCRIPTOR.fields_by_name),
    *(("regions", name) for name in messages.Regions.DESCRIPTOR.fields_by_name),
    *((name,) for name in ("transaction_id", "original_transaction_id", "currency_code", "merchant_category_code")),
    ("issuer_response", "response_code"),
]
NASTY = st.one_of(
    st.text(max_size=20),
    st.text("0123456789- .+()", max_size=24),
    st.text("ab@.: \n\t\x00\x7f\u2028é＠", max_size=20),
    st.sampled_from(
        ["x" * 64, "x" * 65, "x" * 256, "€" * 85, "€" * 86, "1.2.3.4\n", "a@" + "b" * 252, "a@" + "b" * 253]
    ),
    st.sampled_from(
        ["4111111111111111", "4111 1111 1111 1111", "+", "     ", "(+49) 12345", "DE\n", "5411\n", "EUR\n"]
    ),
)


@given(transactions(), st.lists(st.tuples(st.sampled_from(MUTATIONS), NASTY), max_size=3), st.data())
def test_quick_pass_accepts_nothing_that_the_checks_refuse(
    transaction: "messages.Transaction", mutations: list[tuple[tuple[str, ...], str]], data: st.DataObject
) -> None:
    """Goal: speed opens no hole. Method: nasty text in random fields; the quick pass against the field-by-field checks."""
    for path, text in mutations:
        target = transaction
        for step in path[:-1]:
            target = getattr(target, step)
        setattr(target, path[-1], text)
    if data.draw(st.booleans()):
        transaction.labels[data.draw(NASTY)] = data.draw(NASTY)
        transaction.numbers[data.draw(NASTY)] = data.draw(st.floats())
    request = service.ScoreTransactionRequest(request_id="req-00000001", transaction=transaction)
    found = checks.find_transaction(request, limits=limits(), now_us=NOW_US)
    try:
        DOOR._pack_transaction(request, 1, 0, NOW_US, 0, False)
    except (Suspect, KeyError, OSError, ValueError):
        pass
    else:
        assert [] == found
    if not found:
        packed = DOOR.score_row(request, NOW_US)
        row = unpacked(packed)
        tags = Pseudonyms(KEY)
        assert packed == DOOR._pack_transaction(request, 1, 0, NOW_US, 0, True)
        for entity, value in tagged_values(transaction.entities).items():
            assert tags.tag(entity, value) == row[f"{entity}_tag"], entity


@pytest.mark.parametrize("field", ["email_address", "shipping_address", "account_id", "phone_number", "ip_address"])
def test_nothing_long_is_normalised(monkeypatch: pytest.MonkeyPatch, field: str) -> None:
    """Goal: a few kilobytes cannot hold the front up. Method: many combining marks; note what unicodedata is given."""
    given_lengths = []

    def normalize(form: Any, text: str) -> str:
        given_lengths.append(len(text))
        return unicodedata.normalize(form, text) if len(text) < 1_000 else text

    monkeypatch.setattr(pseudonyms, "normalize", normalize)
    request = score_request(entities=entities(**{field: "a@b.example" + "\u0315\u0300" * 30_000}))
    with pytest.raises(InvalidRequest) as caught:
        door().score_row(request, NOW_US)

    assert ["FIELD_TOO_LONG"] == [item.reason for item in caught.value.violations]
    assert max(given_lengths, default=0) < 300


def test_missing_is_canonical() -> None:
    """Goal: what is absent reads the same everywhere. Method: the smallest request against `types.empty_events`."""
    smallest = service.ScoreTransactionRequest(request_id="req-00000001")
    smallest.transaction.CopyFrom(messages.Transaction(transaction_id="t", type="TRANSACTION_TYPE_LOGIN"))
    smallest.transaction.event_time.seconds = 1_700_000_000
    smallest.transaction.entities.account_id = "a"
    row = unpacked(DOOR.score_row(smallest, NOW_US))
    empty = types.empty_events(1)[0]
    set_ = {"kind", "received_time_us", "event_time_us", "transaction_type", "transaction_tag", "account_tag"}
    set_ |= {"request_key", "request_check", "payload_hash"}

    assert [empty[name].tobytes() for name in types.EVENT_COLUMNS if name not in set_] == [
        row[name].tobytes() for name in types.EVENT_COLUMNS if name not in set_
    ]


def test_request_key_depends_on_request_id_alone() -> None:
    """Goal: idempotency finds a retry. Method: same id, other content; other id, same content; each kind."""
    keys = [
        tuple(unpacked(row)[["request_key", "request_check"]])
        for row in (
            DOOR.score_row(score_request(), NOW_US),
            DOOR.score_row(score_request(amount_minor=5), NOW_US + 1),
            DOOR.record_row(record_request(), NOW_US),
            DOOR.outcome_row(outcome_request(), NOW_US),
            DOOR.score_row(score_request("req-00000002"), NOW_US),
        )
    ]

    assert keys[0] == keys[1] == keys[2] == keys[3] != keys[4]
    assert 0 not in keys[0]


def test_amounts_are_converted_to_the_base_currency() -> None:
    """Goal: sums of many currencies add up. Method: 2, 0 and 3 decimals; the amount itself stays as sent."""
    rows = [
        unpacked(DOOR.score_row(score_request(amount_minor=amount, currency_code=currency), NOW_US))
        for amount, currency in ((1999, "EUR"), (1999, "USD"), (1999, "JPY"), (1999, "KWD"))
    ]

    assert [1999, 1819, 1219, 602] == [row["amount_base_minor"] for row in rows]
    assert [1999] * 4 == [row["amount_minor"] for row in rows]


def test_recorded_verdict_and_outcome_are_in_their_rows() -> None:
    """Goal: the other two calls say what they are about. Method: one of each."""
    recorded = unpacked(DOOR.record_row(record_request(), NOW_US))
    outcome = unpacked(DOOR.outcome_row(outcome_request(), NOW_US))
    bare = unpacked(DOOR.outcome_row(outcome_request(entities=None), NOW_US))

    assert (2, 3, 0) == (recorded["kind"], recorded["recorded_verdict"], recorded["outcome_type"])
    assert (3, 0, 3, 0) == tuple(
        outcome[name] for name in ("kind", "recorded_verdict", "outcome_type", "transaction_type")
    )
    assert recorded["transaction_tag"] == outcome["transaction_tag"] == bare["transaction_tag"] != 0
    assert recorded["card_tag"] == outcome["card_tag"] != bare["card_tag"] == 0


def test_row_holds_no_raw_identifier() -> None:
    """Goal: nothing but tags passes the door. Method: search the row for every identifier, its normal form included."""
    who = entities()
    rows = DOOR.score_row(score_request(), NOW_US) + DOOR.outcome_row(outcome_request(), NOW_US)
    raw = [value for descriptor, value in who.ListFields() if descriptor.name != "card_bin"]

    assert [] == [text for text in (*raw, *(text.lower() for text in raw), "req-00000001") if text[:8].encode() in rows]


def test_row_has_the_size_of_its_struct() -> None:
    """Goal: the link can trust the width. Method: each kind of row."""
    size = struct.calcsize(EVENT_STRUCT)

    assert [size] * 3 == [
        len(DOOR.score_row(score_request(), NOW_US)),
        len(DOOR.record_row(record_request(), NOW_US)),
        len(DOOR.outcome_row(outcome_request(), NOW_US)),
    ]


def test_memos_do_not_outgrow_their_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Goal: a flood of new merchants does not fill the memory. Method: a small bound; tags stay the same throughout."""
    monkeypatch.setattr("riskengine.wire.entities._CACHE_MAX", 4)
    monkeypatch.setattr("riskengine.wire.codes._LABELS_MAX", 4)
    fresh = door()
    pseudonyms = Pseudonyms(KEY)
    for number in range(20):
        request = score_request(
            entities=entities(merchant_id=f"m{number}", card_bin=f"4{number:05}", email_address=f"a@d{number}.example"),
            labels={"shop": f"s{number}"},
        )
        row = unpacked(fresh.score_row(request, NOW_US))

        assert pseudonyms.tag("merchant", f"m{number}") == row["merchant_tag"]
        assert pseudonyms.tag("bin", f"4{number:05}") == row["bin_tag"]
        assert pack_code(f"s{number}") == row["label_1"]
    assert all(len(memo) <= 5 for memo in (fresh._tags._merchants, fresh._tags._domains, fresh._tags._bins))


def test_undeclared_slots_do_not_shift_declared_ones() -> None:
    """Goal: a slot means one key. Method: the last slots of both maps."""
    last = door(number_slots={"n": NUMBER_SLOTS - 1}, label_slots={"l": LABEL_SLOTS - 1})
    row = unpacked(last.score_row(score_request(numbers={"n": 2.5, "m": 1.0}, labels={"l": "v", "k": "w"}), NOW_US))

    assert 2.5 == row[f"number_{NUMBER_SLOTS - 1}"]
    assert pack_code("v") == row[f"label_{LABEL_SLOTS - 1}"]
    assert 1 == sum(row[name] == row[name] for name in types.NUMBER_COLUMNS)


def test_unusable_rates_are_refused_at_start() -> None:
    """Goal: a door never converts by a lie. Method: one bad rate."""
    with pytest.raises(ValueError, match="USD"):
        door(rates={"USD": "-1"})


def test_error_hides_what_caused_it() -> None:
    """Goal: no exception that quotes a value reaches a log by way of the context. Method: an unknown currency."""
    with pytest.raises(InvalidRequest) as caught:
        DOOR.score_row(score_request(currency_code="QQQ"), NOW_US)

    assert (None, None) == (caught.value.__context__, caught.value.__cause__)
