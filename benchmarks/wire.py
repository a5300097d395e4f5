"""What does the wire cost the front for each payment: parsing, the door, a reply?

Prediction: some 50 fields read at 0.1 µs, a dozen keyed hashes at 0.5 µs, one regex at 1 µs, packing at 2 µs, 1.5 µs of
parsing: 16 µs for the way in; a reply put together from parts that are ready 6 µs, half of what protobuf's own
constructors take.

Budget: 15 µs in, 6 µs out, for messages with all common fields, and for replies with 3 reasons of 5 numbers. Every call
sees another message: memos are hit as often as merchants, domains and BINs come back, not always. Figures are medians of
short interleaved rounds and the best of them; beside them stands one keyed hash, to tell a slow machine from slow code.

Run as ``python -m benchmarks.wire``; called by `make bench`.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from hashlib import blake2b
from statistics import median
from typing import Any, Final

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.record import record
from riskengine.errors import InvalidRequest
from riskengine.types import DECISION
from riskengine.v1 import decision_pb2 as decisions
from riskengine.v1 import risk_service_pb2 as service
from riskengine.wire.door import Door
from riskengine.wire.names import message_field
from riskengine.wire.parse import parse
from riskengine.wire.pseudonyms import TagKey
from riskengine.wire.reply import ReplyBuilder

NOW_US: Final = 1_700_000_100_000_000
IN_US_MAX: Final = 15.0
OUT_US_MAX: Final = 6.0
NAMES: Final[dict[str, Any]] = {
    "policy": "policies/starter",
    "policy_revision": "0123456789ab",
    "model": "models/starter",
    "model_revision": "ba9876543210",
    "base_currency": "EUR",
    "rules": [{"id": f"rule_{number}", "verdict": "decline", "mode": "enforce"} for number in range(20)],
    "lists": [{"id": "bad_cards", "action": "block"}],
    "obligations": [{"step_up": {"methods": ["three_d_secure"]}}],
    "segments": ["default"],
    "reasons": [
        {"code": "CARD_BURST", "text": "The card was used {observed} times in an hour; {norm} is usual."},
        {"code": "DEVICE_SHARED", "text": "{observed} accounts use this device."},
        {"code": "AMOUNT_HIGH", "text": "The amount is {observed} times its usual {norm}."},
    ],
    "features": ["card.payment_count_1h", "device.account_count", "card.amount_ratio_30d"],
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """What is measured."""

    messages: int
    rounds: int
    calls: int
    """Calls in each round; few, so that a round fits between two interruptions."""
    seed: int = 1


REAL: Final = Size(messages=2_000, rounds=300, calls=20)
SMOKE: Final = Size(messages=20, rounds=3, calls=5)


def main() -> int:
    """Measures, prints, and at the real size appends the figures to the results."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.wire", description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="a few calls, only to see that it works")
    size = SMOKE if parser.parse_args().smoke else REAL
    results = measure(size)
    table = Table("part", "median µs", "best µs", title="The wire, per payment")
    for name in (key.removesuffix("_us_best") for key in results if key.endswith("_us_best")):
        table.add_row(name, f"{results[f'{name}_us_median']:.2f}", f"{results[f'{name}_us_best']:.2f}")
    Console().print(table)
    if size is REAL:
        record("wire", parameters=asdict(size), results=results)
    return 0


def measure(size: Size) -> dict[str, Any]:
    """Runs all parts in turns.

    Returns:
        Microseconds a call for each part, the bounds, and the ratio of protobuf's reply to ours (best against best).
    """
    door = Door(
        TagKey(bytes(32)),
        base_currency="EUR",
        rates={"USD": "0.91"},
        number_slots={"basket_items": 0},
        label_slots={"shop": 0},
        skew_us=60_000_000,
    )
    raws = raw_requests(size.messages, size.seed)
    requests = [parse(service.ScoreTransactionRequest, raw) for raw in raws]
    bad = service.ScoreTransactionRequest.FromString(raws[0])
    bad.transaction.entities.email_address = "nobody"
    rows = [row.tobytes() for row in decision_rows(size.messages, size.seed)]
    builder = ReplyBuilder({1: NAMES})
    replies = [decisions.Decision.FromString(builder.decision_bytes(row)) for row in rows]
    assert all(
        message_field(1, builder.decision_bytes(row)) == score_response(reply)
        for row, reply in zip(rows, replies, strict=True)
    ), "both ways write the same bytes"
    hasher = blake2b(key=bytes(32), digest_size=8)
    parts: dict[str, Callable[[int], object]] = {
        "in": lambda index: door.score_row(parse(service.ScoreTransactionRequest, raws[index]), NOW_US, 0),
        "parse": lambda index: parse(service.ScoreTransactionRequest, raws[index]),
        "door": lambda index: door.score_row(requests[index], NOW_US, 0),
        "refusal": lambda _: refused(door, bad),
        "out": lambda index: message_field(1, builder.decision_bytes(rows[index])),
        "out_by_protobuf": lambda index: score_response(rebuilt(replies[index])),
        "one_keyed_hash": lambda index: hashed(hasher, raws[index][:20]),
    }
    results = timings(parts, size)
    results |= {"in_us_max": IN_US_MAX, "out_us_max": OUT_US_MAX}
    results["ratio"] = round(results["out_by_protobuf_us_best"] / results["out_us_best"], 2)
    return results


def timings(parts: dict[str, Callable[[int], object]], size: Size) -> dict[str, Any]:
    """Runs short rounds of every part in turns; median and best, microseconds a call."""
    samples: dict[str, list[float]] = {name: [] for name in parts}
    at = 0
    for _ in range(size.rounds):
        for name, part in parts.items():
            indexes = [(at + step) % size.messages for step in range(size.calls)]
            start_ns = time.perf_counter_ns()
            for index in indexes:
                part(index)
            samples[name].append((time.perf_counter_ns() - start_ns) / size.calls / 1000)
        at += size.calls
    results: dict[str, Any] = {}
    for name, values in samples.items():
        results[f"{name}_us_median"] = round(median(values), 3)
        results[f"{name}_us_best"] = round(min(values), 3)
    return results


def raw_requests(count: int, seed: int) -> list[bytes]:
    """Makes serialised requests with all common fields and 9 identifiers; merchants, domains and BINs come back."""
    generator = np.random.Generator(np.random.PCG64(seed))
    raws = []
    for number in range(count):
        request = service.ScoreTransactionRequest(request_id=f"6f1c2a3e-7f51-4a3c-9a55-{number:012x}")
        sent = request.transaction
        sent.transaction_id, sent.type = f"txn-{number:09}", enum(1)
        sent.event_time.seconds, sent.event_time.nanos = NOW_US // 1_000_000 - 1, int(generator.integers(0, 10**9))
        sent.utc_offset_minutes, sent.amount_minor = 60, int(generator.integers(1, 10**6))
        sent.currency_code = "EUR" if generator.random() < 0.7 else "USD"
        sent.channel, sent.entry_mode, sent.initiation = enum(1), enum(6), enum(1)
        for method in (2, 3):
            sent.verifications.add(method=enum(method), result=enum(1))
        person = int(generator.integers(0, 10**7))
        who = sent.entities
        who.account_id, who.card_id = f"acc-{person:08}", f"tok_{person:016x}"
        who.card_bin = f"4{generator.integers(0, 300):05}"
        who.device_id, who.merchant_id = f"dev-{person:016x}", f"m-{int(generator.zipf(1.3)) % 20_000}"
        who.ip_address = f"203.{person % 200}.{person % 250}.{person % 240}"
        who.email_address = f"Person.{person}@mail{min(int(generator.zipf(1.5)), 999)}.example"
        who.phone_number = f"+49 30 {person:08}"
        who.shipping_address = f"{person % 300} Main Street, Springfield"
        sent.merchant_category_code = "5411"
        sent.regions.card_region_code = sent.regions.ip_region_code = sent.regions.merchant_region_code = "DE"
        sent.position.latitude_degrees, sent.position.longitude_degrees = 52.5, 13.4
        sent.account_open_time.seconds = 1_600_000_000
        sent.numbers["basket_items"], sent.labels["shop"] = 3.0, "web"
        raws.append(request.SerializeToString())
    return raws


def enum(number: int) -> Any:
    """Returns an enum number as the generated types want it."""
    return number


def decision_rows(count: int, seed: int) -> Any:
    """Makes declines with 3 reasons, two rules and one shadow rule."""
    generator = np.random.Generator(np.random.PCG64(seed))
    rows = np.zeros(count, DECISION)
    rows["request_key"] = generator.integers(1, 2**63, count)
    rows["request_check"] = generator.integers(1, 2**63, count)
    rows["received_time_us"] = NOW_US + generator.integers(0, 10**8, count)
    rows["revision"], rows["verdict"], rows["flags"] = 1, 3, 9
    rows["probability"] = generator.random(count)
    rows["fired_0"], rows["shadow_0"] = 1 << generator.integers(0, 5, count) | 32, 64
    rows["reason_count"] = 3
    for slot in range(3):
        rows[f"reason_{slot}_code"] = rows[f"reason_{slot}_feature"] = slot
        rows[f"reason_{slot}_observed"] = generator.integers(2, 60, count)
        rows[f"reason_{slot}_norm"] = np.round(generator.random(count) * 5, 3)
        rows[f"reason_{slot}_contribution"] = generator.random(count)
    return rows


def rebuilt(reply: "decisions.Decision") -> "decisions.Decision":
    """Builds a reply by protobuf's constructors, the texts given: what `wire.reply` replaces."""
    return decisions.Decision(
        name=reply.name,
        verdict=reply.verdict,
        fraud_probability=reply.fraud_probability,
        reasons=[
            decisions.Reason(
                code=reason.code,
                text=reason.text,
                feature=reason.feature,
                observed_value=reason.observed_value,
                norm_value=reason.norm_value,
                contribution=reason.contribution,
            )
            for reason in reply.reasons
        ],
        rule_hits=[decisions.RuleHit(rule_id=hit.rule_id, verdict=hit.verdict) for hit in reply.rule_hits],
        shadow_rule_hits=[
            decisions.RuleHit(rule_id=hit.rule_id, verdict=hit.verdict) for hit in reply.shadow_rule_hits
        ],
        recorded=True,
        segment=reply.segment,
        policy=reply.policy,
        policy_revision=reply.policy_revision,
        model=reply.model,
        model_revision=reply.model_revision,
        model_mode=reply.model_mode,
        receive_time=reply.receive_time,
    )


def score_response(reply: "decisions.Decision") -> bytes:
    """Serialises a reply by protobuf."""
    return service.ScoreTransactionResponse(decision=reply).SerializeToString(deterministic=True)


def refused(door: Door, request: "service.ScoreTransactionRequest") -> bool:
    """Sends a bad request to the door."""
    try:
        door.score_row(request, NOW_US, 0)
    except InvalidRequest:
        return True
    return False


def hashed(hasher: Any, value: bytes) -> bytes:
    """Hashes one value as the door does."""
    one = hasher.copy()
    one.update(value)
    digest: bytes = one.digest()
    return digest


if __name__ == "__main__":
    raise SystemExit(main())
