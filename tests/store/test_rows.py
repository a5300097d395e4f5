"""Rows become columns that say what the API says, of any rows."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from riskengine.enums import Channel, Kind, OutcomeType, Stage, TransactionType, Verdict, VerificationResult
from riskengine.store.block import Block
from riskengine.store.columns import KIND_NAMES, SCHEMA, VIEWS, view_columns
from riskengine.store.rows import TableBuilder
from riskengine.types import (
    DECISION,
    ENTITIES,
    EVENT,
    LISTS_MAX,
    MISSING,
    Array,
    empty_events,
    pack_code,
    unpack_code,
    words,
)
from riskengine.v1 import decision_pb2 as messages
from riskengine.wire.reply import ReplyBuilder
from tests.store.builders import CATALOG, NAMES
from tests.wire import builders as wire

RULE_COUNT = {revision: len(names["rules"]) for revision, names in CATALOG.items()}


def table(events: Array, decisions: Array, names: dict[int, dict[str, Any]] = CATALOG) -> pa.Table:
    """Builds a table and lets Arrow look it through."""
    blocks = Block(EVENT, len(events)), Block(DECISION, len(events))
    blocks[0].add(events)
    blocks[1].add(decisions)
    builder = TableBuilder()
    builder.learn(decisions["revision"], names)
    made = builder.table(*blocks)
    made.validate(full=True)
    assert made.schema.equals(SCHEMA, check_metadata=True)
    return made


def made_up(count: int, seed: int) -> tuple[Array, Array]:
    """Returns rows whose every column may hold any value that an engine gives it, of two revisions."""
    rng = np.random.default_rng(seed)
    events, decisions = empty_events(count), np.zeros(count, DECISION)
    events["kind"] = rng.integers(1, 4, count)
    for name, members in (("transaction_type", TransactionType), ("channel", Channel), ("outcome_type", OutcomeType)):
        events[name] = rng.integers(0, len(members) + 1, count)
    events["verified_passcode"] = rng.integers(0, len(VerificationResult) + 1, count)
    events["recorded_verdict"] = rng.integers(0, 4, count)
    for name in ("received_time_us", "event_time_us"):
        events[name] = rng.integers(0, 2**51, count)
    for name in ("amount_minor", "amount_base_minor", "utc_offset_minutes", "account_open_time_us"):
        events[name] = np.where(rng.random(count) < 0.5, MISSING, rng.integers(-800, 800, count))
    codes = [0, *map(pack_code, ("EUR", "US", "4711", "a label of many characters", "ü"))]
    for name in ("currency", "card_region", "card_bin", "label_0"):
        events[name] = rng.choice(codes, count)
    for name in ("number_0", "number_1", "latitude_degrees"):
        events[name] = np.where(rng.random(count) < 0.5, np.nan, rng.normal(size=count))
    for name in ("request_key", "request_check", *(f"{entity}_tag" for entity in ENTITIES)):
        events[name] = rng.integers(0, 2**64 - 1, count, np.uint64, endpoint=True) * rng.integers(
            0, 2, count, np.uint64
        )
    for name in ("kind", "received_time_us", "request_key", "request_check"):
        decisions[name] = events[name]
    events["sequence"] = decisions["sequence"] = np.arange(5, count + 5)
    decide(decisions, rng)
    return events, decisions


def decide(decisions: Array, rng: np.random.Generator) -> None:
    """Fills what is decided, of rows that are scored."""
    count = len(decisions)
    scored = decisions["kind"] == Kind.SCORE
    decisions["revision"] = np.sort(rng.integers(1, 3, count))
    decisions["verdict"] = rng.integers(1, 4, count) * scored
    for name in ("probability", "margin"):
        decisions[name] = np.where(rng.random(count) < 0.5, np.nan, rng.normal(size=count).astype(np.float32))
    decisions["segment"] = rng.integers(0, len(NAMES["segments"]), count)
    decisions["flags"] = rng.integers(0, 32, count)
    decisions["degraded_stages"] = rng.integers(0, 32, count) * scored
    decisions["obligations"] = rng.integers(0, 1 << len(NAMES["obligations"]), count) * scored
    decisions["list_hits"] = rng.integers(0, 1 << len(NAMES["lists"]), count) * scored
    for row in np.flatnonzero(scored):
        for kind in ("fired", "shadow", "unevaluated"):
            for rule in rng.integers(0, RULE_COUNT[int(decisions["revision"][row])], rng.integers(0, 5)):
                decisions[f"{kind}_{rule // 64}"][row] |= np.uint64(1 << int(rule % 64))
        decisions["reason_count"][row] = rng.integers(0, 7)
        for slot in range(6):
            decisions[f"reason_{slot}_code"][row] = rng.integers(0, len(NAMES["reasons"]))
            decisions[f"reason_{slot}_feature"][row] = rng.integers(-1, len(NAMES["features"]))
            for part in ("observed", "norm", "contribution"):
                decisions[f"reason_{slot}_{part}"][row] = rng.choice([np.nan, 0.0, -1.5, 1e18])
            decisions[f"reason_{slot}_contribution"][row] = rng.choice([0.0, 0.25])


@given(count=st.integers(1, 20), seed=st.integers(0, 2**32 - 1))
def test_decision_is_stored_as_it_was_answered(count: int, seed: int) -> None:
    """Goal: the store and the API agree. Method: any decisions; each row against the reply made of the same row."""
    events, decisions = made_up(count, seed)
    replies = ReplyBuilder(CATALOG)

    for row, decision in zip(table(events, decisions).to_pylist(), decisions, strict=True):
        if row["kind"] == "score":
            reply = replies.decision(words(decision.reshape(1)).tobytes())

            assert told(reply) == {name: row[name] for name in told(reply)}


def told(reply: "messages.Decision") -> dict[str, Any]:
    """Returns what a reply says, as the store would."""

    def present(message: Any, name: str) -> Any:
        return getattr(message, name) if message.HasField(name) else None

    return {
        "decision": reply.name,
        "verdict": messages.Verdict.Name(reply.verdict).removeprefix("VERDICT_"),
        "probability": present(reply, "fraud_probability"),
        "model_mode": messages.ModelMode.Name(reply.model_mode).removeprefix("MODEL_MODE_").replace("UNSPECIFIED", "")
        or None,
        "segment": reply.segment,
        "approximate": reply.approximate,
        "degraded_stages": [messages.Stage.Name(stage).removeprefix("STAGE_") for stage in reply.degraded_stages],
        "fired_rules": [hit.rule_id for hit in reply.rule_hits],
        "shadow_rules": [hit.rule_id for hit in reply.shadow_rule_hits],
        "unevaluated_rules": list(reply.unevaluated_rule_ids),
        "list_hits": [hit.list_id for hit in reply.list_hits],
        "obligations": [
            {"notify": "tell_payer", "limit": "small_only"}[each.WhichOneof("kind")] for each in reply.obligations
        ],
        "reasons": [
            {
                "code": reason.code,
                "feature": reason.feature or None,
                "observed": present(reason, "observed_value"),
                "norm": present(reason, "norm_value"),
                "contribution": reason.contribution,
            }
            for reason in reply.reasons
        ],
        "policy": reply.policy,
        "policy_revision": reply.policy_revision,
        "model": reply.model or None,
        "model_revision": reply.model_revision or None,
    }


@given(count=st.integers(1, 20), seed=st.integers(0, 2**32 - 1))
def test_columns_of_the_event_say_what_the_words_mean(count: int, seed: int) -> None:
    """Goal: no column is mistaken. Method: any rows, each value told anew from its word, one by one."""
    events, decisions = made_up(count, seed)

    for row, event, decision in zip(table(events, decisions).to_pylist(), events, decisions, strict=True):
        expected = {
            "sequence": int(event["sequence"]),
            "kind": KIND_NAMES[Kind(event["kind"])],
            "type": name_of(TransactionType, event["transaction_type"]),
            "channel": name_of(Channel, event["channel"]),
            "verified_passcode": name_of(VerificationResult, event["verified_passcode"]),
            "verified_address": None,
            "outcome_type": name_of(OutcomeType, event["outcome_type"]),
            "recorded_verdict": name_of(Verdict, event["recorded_verdict"]),
            "currency_code": unpack_code(int(event["currency"])) or None,
            "card_region_code": unpack_code(int(event["card_region"])) or None,
            "card_bin": unpack_code(int(event["card_bin"])) or None,
            **{
                name: None if event[name] == MISSING else event[name] for name in ("amount_minor", "utc_offset_minutes")
            },
            "latitude_degrees": None if np.isnan(event["latitude_degrees"]) else event["latitude_degrees"],
            **{f"{entity}_tag": int(event[f"{entity}_tag"]) or None for entity in ENTITIES},
            "numbers": [
                (key, event[f"number_{slot}"])
                for slot, key in enumerate(("basket_items", "age"))
                if not np.isnan(event[f"number_{slot}"])
            ],
            "labels": [("shop", unpack_code(int(event["label_0"])))] if event["label_0"] else [],
            "base_currency_code": None if event["amount_base_minor"] == MISSING else "EUR",
            "revision": int(decision["revision"]),
            "folded": None if event["kind"] == Kind.OUTCOME else bool(decision["flags"] & 1),
            "matched": bool(decision["flags"] & 4) if event["kind"] == Kind.OUTCOME else None,
        }

        assert expected == {name: row[name] for name in expected}
        for name in ("received_time", "event_time", "account_open_time"):
            time_us = int(event[f"{name}_us"])
            assert (None if time_us == MISSING else time_us) == microseconds(row[name])


def name_of(members: Any, number: int) -> str | None:
    return members(number).name if number else None


def microseconds(when: Any) -> int | None:
    return None if when is None else pa.scalar(when, pa.timestamp("us", tz="UTC")).value


@pytest.mark.parametrize("kind", [Kind.RECORD, Kind.OUTCOME])
def test_command_that_is_not_scored_has_no_decision(kind: Kind) -> None:
    """Goal: no zero is taken for an answer. Method: a row as the engine leaves it."""
    events, decisions = empty_events(1), np.zeros(1, DECISION)
    events["kind"] = decisions["kind"] = kind
    decisions["revision"] = 1

    (row,) = table(events, decisions).to_pylist()

    hidden = set(view_columns("decisions")) - set(
        view_columns({Kind.RECORD: "records", Kind.OUTCOME: "outcomes"}[kind])
    )
    assert {"verdict", "probability", "margin", "segment", "fired_rules", "reasons"} <= hidden
    assert all(row[name] in (None, []) for name in hidden), {name: row[name] for name in hidden}


def test_request_is_stored_in_the_words_it_came_in() -> None:
    """Goal: what the gateway sent can be read. Method: a full request through the door, field by field."""
    names = {
        **NAMES,
        "inputs": {"numbers": ["basket_items", "b", "c", "d", "e", "risk_score"], "labels": ["x", "shop"]},
    }
    request = wire.score_request(numbers={"basket_items": 3.0, "risk_score": 0.5})
    events = np.frombuffer(wire.door().score_row(request, wire.NOW_US), EVENT).copy()
    decisions = np.zeros(1, DECISION)
    decisions["revision"], decisions["kind"], decisions["verdict"] = 1, Kind.SCORE, Verdict.APPROVE
    sent = request.transaction

    (row,) = table(events, decisions, {1: names}).to_pylist()

    assert (sent.amount_minor, sent.currency_code) == (row["amount_minor"], row["currency_code"])
    assert ("CARD_PAYMENT", "WEB", "ONLINE", "PAYER") == (
        row["type"],
        row["channel"],
        row["entry_mode"],
        row["initiation"],
    )
    assert ("PASSED", "FAILED") == (row["verified_card_code"], row["verified_three_d_secure"])
    assert ("DECLINED", "51") == (row["issuer_outcome"], row["issuer_code"])
    assert ("5411", "DE", "FR", "411111") == tuple(
        row[name] for name in ("merchant_category_code", "card_region_code", "ip_region_code", "card_bin")
    )
    assert [("basket_items", 3.0), ("risk_score", 0.5)] == row["numbers"]
    assert [("shop", "web")] == row["labels"]
    assert None not in [row[f"{entity}_tag"] for entity in ENTITIES]


def test_widest_sets_fit() -> None:
    """Goal: the last bit counts. Method: 256 rules and all lists, all set."""
    names = {
        **NAMES,
        "rules": [{"id": f"r{rule}"} for rule in range(256)],
        "lists": [{"id": f"l{listed}"} for listed in range(LISTS_MAX)],
    }
    events, decisions = empty_events(2), np.zeros(2, DECISION)
    events["kind"] = decisions["kind"] = Kind.SCORE
    decisions["revision"], decisions["verdict"] = 1, 1
    for word in range(4):
        decisions[f"fired_{word}"][1] = 2**64 - 1
    decisions["list_hits"][1] = 2**LISTS_MAX - 1

    made = table(events, decisions, {1: names})

    assert [[], [f"r{rule}" for rule in range(256)]] == made.column("fired_rules").to_pylist()
    assert [[], [f"l{listed}" for listed in range(LISTS_MAX)]] == made.column("list_hits").to_pylist()


def test_every_view_has_columns_of_its_own_kind() -> None:
    """Goal: a view shows what its rows can have. Method: the columns that only one kind has."""
    assert {"verdict", "reasons", "probability"} <= set(view_columns("decisions"))
    assert "recorded_verdict" in view_columns("records")
    assert {"outcome_type", "matched"} <= set(view_columns("outcomes"))
    assert not [view for view in VIEWS if "kind" in view_columns(view)]
    assert len(Stage) == 5
