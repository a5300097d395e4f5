"""Decision rows become replies: the bytes protobuf would write, the words the catalogue has."""

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from riskengine.enums import DecisionFlag, Stage
from riskengine.errors import InvalidRequest
from riskengine.types import DECISION
from riskengine.v1 import decision_pb2 as messages
from riskengine.v1 import risk_service_pb2 as service
from riskengine.wire.names import ReasonWords, Sets, number_text, varint
from riskengine.wire.reply import (
    ReplyBuilder,
    decision_name,
    outcome_response,
    parse_decision_name,
    record_response,
)
from riskengine.yamlfile import load_file
from tests.wire.builders import NAMES, decision_rows

DEFAULTS = Path(__file__).resolve().parents[2] / "riskengine" / "defaults"
BUILDER = ReplyBuilder({3: NAMES})
WORD = st.integers(0, 2**64 - 1)
FLOAT = st.one_of(st.floats(allow_infinity=False), st.sampled_from([0.0, -0.0, 1.0, float("nan")]))


def decision(**columns: Any) -> "messages.Decision":
    """Returns the message for a row with these columns."""
    return message_of(BUILDER, decision_rows(**columns).tobytes())


def message_of(builder: ReplyBuilder, raw: bytes) -> "messages.Decision":
    """Returns what a client reads."""
    return messages.Decision.FromString(builder.decision_bytes(raw))


@st.composite
def rows(draw: st.DrawFn) -> bytes:
    """Draws decision rows of every shape."""
    row = decision_rows()
    for name in ("request_key", "request_check", "payload_hash", "shadow_3"):
        row[name] = draw(WORD)
    for prefix in ("fired", "shadow", "unevaluated"):
        row[f"{prefix}_0"] = draw(st.sampled_from([0, 1, 2**63 + 5, 6]))
        row[f"{prefix}_1"] = draw(st.sampled_from([0, 1, 0xFFFF]))
    row["received_time_us"] = draw(st.integers(0, 2**50))
    row["verdict"] = draw(st.integers(0, 3))
    row["probability"] = draw(st.one_of(st.floats(0, 1), st.just(float("nan"))))
    row["segment"] = draw(st.integers(0, 1))
    row["flags"] = draw(st.integers(0, 31))
    row["degraded_stages"] = draw(st.integers(0, 31))
    row["obligations"], row["list_hits"] = draw(st.integers(0, 15)), draw(st.integers(0, 3))
    row["reason_count"] = draw(st.integers(0, 6))
    for slot in range(6):
        row[f"reason_{slot}_code"] = draw(st.integers(0, 2))
        row[f"reason_{slot}_feature"] = draw(st.integers(-1, 2))
        for name in ("observed", "norm", "contribution"):
            row[f"reason_{slot}_{name}"] = draw(FLOAT)
    return row.tobytes()


@given(rows())
def test_bytes_are_those_of_protobuf(raw: bytes) -> None:
    """Goal: no client can tell. Method: parse, serialise deterministically, compare; and again for determinism."""
    written = BUILDER.decision_bytes(raw)
    message = messages.Decision.FromString(written)
    for reason in message.reasons:  # protobuf writes -0.0, we leave it out: both read 0.
        if reason.contribution == 0:
            reason.ClearField("contribution")

    assert message.SerializeToString(deterministic=True) == written
    assert written == ReplyBuilder({3: NAMES}).decision_bytes(raw)


@given(rows())
def test_reply_says_what_the_row_says(raw: bytes) -> None:
    """Goal: every column arrives. Method: the message against the row, field by field."""
    row = np.frombuffer(raw, DECISION)[0]
    told = message_of(BUILDER, raw)

    assert decision_name(request_key=int(row["request_key"]), request_check=int(row["request_check"])) == told.name
    assert row["verdict"] == told.verdict
    assert told.HasField("fraud_probability") == (row["probability"] == row["probability"])
    assert not told.HasField("fraud_probability") or row["probability"] == told.fraud_probability
    rules = [rule["id"] for rule in NAMES["rules"]]
    for prefix, ids in (
        ("fired", [hit.rule_id for hit in told.rule_hits]),
        ("shadow", [hit.rule_id for hit in told.shadow_rule_hits]),
        ("unevaluated", list(told.unevaluated_rule_ids)),
    ):
        mask = sum(int(row[f"{prefix}_{word}"]) << 64 * word for word in range(4))
        assert [rule for bit, rule in enumerate(rules) if mask >> bit & 1] == ids
    kinds = [kind for bit, kind in enumerate(("step_up", "hold", "limit", "notify")) if row["obligations"] >> bit & 1]
    assert kinds == [item.WhichOneof("kind") for item in told.obligations]
    assert [stage.value.bit_length() for stage in Stage if row["degraded_stages"] & stage] == list(told.degraded_stages)
    assert bool(row["flags"] & DecisionFlag.APPROXIMATE) == told.approximate
    assert row["received_time_us"] == told.receive_time.ToMicroseconds()
    assert row["reason_count"] == len(told.reasons)
    for slot, reason in enumerate(told.reasons):
        assert NAMES["reasons"][row[f"reason_{slot}_code"]]["code"] == reason.code
        feature = row[f"reason_{slot}_feature"]
        assert ("" if feature < 0 else NAMES["features"][feature]) == reason.feature
        for name, field in (("observed", "observed_value"), ("norm", "norm_value")):
            value = row[f"reason_{slot}_{name}"]
            assert reason.HasField(field) == (value == value)
            assert value != value or value == getattr(reason, field)
        contribution = row[f"reason_{slot}_contribution"]
        assert contribution == reason.contribution or contribution != contribution


def test_reply_reads_well() -> None:
    """Goal: a whole reply as a caller sees it. Method: one row, spelled out."""
    told = decision(
        obligations=0b1111, fired_0=0b11, shadow_0=0b100, unevaluated_1=1, list_hits=0b11, degraded_stages=12
    )

    assert "decisions/0123456789abcdeffedcba9876543210" == told.name
    assert [("rule_0", 3), ("rule_1", 2)] == [(hit.rule_id, hit.verdict) for hit in told.rule_hits]
    assert [("rule_2", 0)] == [(hit.rule_id, hit.verdict) for hit in told.shadow_rule_hits]
    assert ["rule_64"] == list(told.unevaluated_rule_ids)
    assert [("bad_cards", 2), ("staff", 1)] == [(hit.list_id, hit.action) for hit in told.list_hits]
    assert [3, 4] == list(told.degraded_stages)
    step_up, hold, limit, notify = told.obligations
    assert ["three_d_secure", "one_time_code"] == list(step_up.step_up.methods)
    assert (86400, 3) == (hold.hold.duration.seconds, hold.hold.default_verdict)
    assert (5000, "EUR") == (limit.limit.amount_minor_max, limit.limit.currency_code)
    assert "payer" == notify.notify.audience
    assert (True, "default", 1) == (told.recorded, told.segment, told.model_mode)
    assert ("policies/starter", "0123456789ab") == (told.policy, told.policy_revision)
    assert ("models/starter", "ba9876543210") == (told.model, told.model_revision)
    assert [
        "The card was used 7 times in an hour, 1.50 is usual.",
        "The device is new: 100 % of {it}.",
        "The usual 20 is far below 12,345.68, and 20 it was.",
    ] == [reason.text for reason in told.reasons]


def test_missing_numbers_have_their_word() -> None:
    """Goal: no "nan" in a sentence for people. Method: observed and norm missing."""
    told = decision(reason_count=1, reason_0_observed=np.nan, reason_0_norm=np.nan)

    assert "The card was used unknown times in an hour, unknown is usual." == told.reasons[0].text
    assert not told.reasons[0].HasField("observed_value")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (-0.0, "0"),
        (7.0, "7"),
        (1999.0, "1,999"),
        (2000.0, "2,000"),
        (1234567.0, "1,234,567"),
        (-5.0, "-5"),
        (1.5, "1.50"),
        (1234.567, "1,234.57"),
        (-12.345, "-12.35"),
        (0.034567, "0.0346"),
        (1e-9, "1e-09"),
        (1e15, "1.000e+15"),
        (-1e300, "-1.000e+300"),
        (float("nan"), "unknown"),
        (float("inf"), "unknown"),
        (float("-inf"), "unknown"),
    ],
)
def test_numbers_are_written_one_way(value: float, text: str) -> None:
    """Goal: a fixed format. Method: a table."""
    assert text == number_text(value)


@pytest.mark.parametrize(("flags", "mode"), [(0, 0), (8, 1), (16, 2), (24, 1), (1, 0)])
def test_model_mode_follows_the_flags(flags: int, mode: int) -> None:
    """Goal: the caller knows whether the model decided. Method: each combination."""
    assert mode == decision(flags=flags).model_mode


def test_no_model_leaves_its_fields_empty() -> None:
    """Goal: no invented names. Method: names without a model, once None and once absent."""
    for names in (
        NAMES | {"model": None, "model_revision": None},
        {k: v for k, v in NAMES.items() if "model" not in k},
    ):
        told = message_of(ReplyBuilder({3: names}), decision_rows(probability=np.nan, flags=1).tobytes())

        assert ("", "", 0) == (told.model, told.model_revision, told.model_mode)


def test_revisions_do_not_mix() -> None:
    """Goal: an old decision is told in the words of its time. Method: two revisions with other names."""
    builder = ReplyBuilder({3: NAMES, 4: NAMES | {"policy": "policies/newer", "segments": ["other"]}})

    assert ["policies/starter", "policies/newer"] == [
        message_of(builder, decision_rows(revision=revision).tobytes()).policy for revision in (3, 4)
    ]


def test_other_responses_follow_the_flags() -> None:
    """Goal: RecordTransaction and ReportOutcome say what happened. Method: each flag on and off."""
    for flags, folded, matched in ((0, False, False), (1, True, False), (4, False, True), (5, True, True)):
        raw = decision_rows(flags=flags).tobytes()
        recorded = service.RecordTransactionResponse.FromString(record_response(raw))
        reported = service.ReportOutcomeResponse.FromString(outcome_response(raw))

        assert (True, folded) == (recorded.recorded, recorded.folded)
        assert (True, matched) == (reported.recorded, reported.matched)


@given(WORD, WORD)
def test_name_goes_there_and_back(request_key: int, request_check: int) -> None:
    """Goal: GetDecision finds what was named. Method: any key."""
    name = decision_name(request_key=request_key, request_check=request_check)

    assert (request_key, request_check) == parse_decision_name(name)


@given(st.text(max_size=50))
def test_other_names_are_refused(name: str) -> None:
    """Goal: no guessing. Method: random text."""
    with pytest.raises(InvalidRequest) as caught:
        parse_decision_name(name)

    assert "name" == caught.value.violations[0].field


@given(st.integers(0, 2**64 - 1))
def test_varint_is_protobufs(value: int) -> None:
    """Goal: lengths and times are right. Method: decode by hand."""
    decoded = sum((byte & 0x7F) << 7 * index for index, byte in enumerate(varint(value)))

    assert value == decoded


def test_memo_of_sets_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Goal: rare combinations do not fill the memory. Method: a small bound, all sets of six."""
    monkeypatch.setattr("riskengine.wire.names._SETS_MAX", 8)
    sets = Sets([bytes((65 + bit,)) for bit in range(6)])

    assert all(sets[mask] == bytes(65 + bit for bit in range(6) if mask >> bit & 1) for mask in range(64))
    assert 8 >= len(sets)


def test_starter_reasons_read_well_from_the_least_their_rules_tell() -> None:
    """Goal: nobody reads "1 checks". Method: each count of the starter at the threshold of the rule that speaks of it."""
    reasons, rules = (load_file(DEFAULTS / name).data for name in ("reason_codes.yaml", "policy.yaml"))
    told = {}
    for rule in rules["rules"]:
        reason = reasons["reasons"].get(rule.get("reason"), {})
        least = re.search(rf"{reason.get('feature')} >= (\d+)", rule["when"])
        if least is not None and reason.get("unit") == "count":
            words = ReasonWords(code=rule["reason"], text=reason["text"], unit="count")
            told[rule["id"]] = messages.Reason.FromString(words.fill(float(least[1]), math.nan)).text

    assert 15 <= len(told)
    assert {} == {rule: text for rule, text in told.items() if re.search(r"\b1 [a-z]", text)}


@pytest.mark.parametrize(
    ("unit", "value", "expected"),
    [
        ("money", 60_000.0, "EUR 600.00"),
        ("money", math.nan, "unknown"),
        ("seconds", 45.0, "45 s"),
        ("seconds", 720.0, "12 min"),
        ("seconds", 12_600.0, "3.5 h"),
        ("days", 20.0, "20 days"),
        ("hour", 3.25, "03:15"),
        ("count", 7.0, "7"),
        (None, 0.125, "0.125"),
    ],
)
def test_reason_shows_its_numbers_in_their_unit(unit: str | None, value: float, expected: str) -> None:
    """Goal: people read money, times and counts, not raw numbers. Method: a sentence with one number for each unit."""
    words = ReasonWords(code="CODE", text="It is {observed}.", unit=unit, base_currency="EUR")

    reason = messages.Reason.FromString(words.fill(value, math.nan))

    assert f"It is {expected}." == reason.text
