"""Rows for the tests of the journal: realistic ones and arbitrary ones.

Called by tests/journal and benchmarks/journal.
"""

import functools

import numpy as np
from hypothesis import strategies as st

from riskengine.types import (
    DECISION,
    DECISION_COLUMNS,
    DECISION_WORDS,
    EVENT,
    EVENT_COLUMNS,
    EVENT_WORDS,
    Array,
    empty_events,
    pack_code,
    words,
)

EXTREMES = (0, 1, -1, 255, 256, 65535, 65536, 2**32 - 1, 2**32, 2**32 + 1, 2**63 - 1, 2**63 - 2, -(2**63), 1 - 2**63)
SHARED = tuple(name for name in DECISION_COLUMNS if name in EVENT_COLUMNS)


def payments(count: int, *, seed: int = 0, first_sequence: int = 1) -> tuple[Array, Array]:
    """Returns card payments as a gateway sends them, with decisions: about 30 columns vary."""
    events, decisions = (rows.copy() for rows in made_up(count, seed))
    events["sequence"] = decisions["sequence"] = np.arange(first_sequence, first_sequence + count)
    return events, decisions


@functools.lru_cache(maxsize=100)
def made_up(count: int, seed: int) -> tuple[Array, Array]:
    """Returns the payments of a seed, without sequences; to be copied."""
    rng = np.random.default_rng(seed)
    events = empty_events(count)
    events["kind"] = 1
    events["received_time_us"] = 1_700_000_000_000_000 + np.cumsum(rng.integers(50, 2000, count))
    events["event_time_us"] = events["received_time_us"] - rng.integers(1000, 3_000_000, count)
    events["utc_offset_minutes"] = rng.choice([60, 120], count)
    events["transaction_type"] = rng.choice([1, 1, 1, 2, 3], count)
    events["amount_minor"] = np.exp(rng.normal(8, 1, count)).astype(np.int64)
    events["amount_base_minor"] = events["amount_minor"]
    events["initiation"] = 1
    for name, codes in (
        ("currency", ["EUR", "USD"]),
        ("merchant_category", ["5411", "5812", "4121"]),
        ("card_region", ["DE", "FR", "US"]),
        ("ip_region", ["DE", "FR", "US"]),
        ("merchant_region", ["DE", "FR", "US"]),
        ("card_bin", [str(number) for number in range(400000, 400050)]),
    ):
        events[name] = rng.choice([pack_code(code) for code in codes], count)
    for name, top in (("channel", 4), ("entry_mode", 7), ("verified_card_code", 3), ("verified_three_d_secure", 3)):
        events[name] = rng.integers(1, top, count)
    tags = ("account", "card", "device", "ip", "email", "merchant", "bin", "ip_network", "email_domain", "transaction")
    for name in ("request_key", "request_check", "payload_hash", *(f"{tag}_tag" for tag in tags)):
        events[name] = rng.integers(1, 2**64, count, dtype=np.uint64)
    return events, decided(events, rng)


def decided(events: Array, rng: np.random.Generator) -> Array:
    """Returns decisions on events: one in three with two reasons."""
    count = len(events)
    decisions = np.zeros(count, DECISION)
    for name in SHARED:
        decisions[name] = events[name]
    decisions["revision"] = 1
    decisions["verdict"] = rng.choice([1, 1, 1, 1, 2, 3], count)
    decisions["margin"] = rng.normal(-4, 1, count).astype(np.float32)
    decisions["probability"] = 1 / (1 + np.exp(-decisions["margin"]))
    decisions["segment"] = rng.integers(0, 3, count)
    decisions["flags"] = 9
    decisions["fired_0"] = rng.choice([0, 0, 0, 5, 16], count)
    told = np.flatnonzero(decisions["verdict"] > 1)
    decisions["reason_count"][told] = 2
    for slot in range(2):
        decisions[f"reason_{slot}_code"][told] = rng.integers(1, 30, len(told))
        decisions[f"reason_{slot}_feature"][told] = rng.integers(1, 90, len(told))
        for part in ("observed", "norm", "contribution"):
            decisions[f"reason_{slot}_{part}"][told] = rng.normal(size=len(told))
    return decisions


@st.composite
def arbitrary(draw: st.DrawFn, *, rows_max: int = 12) -> tuple[Array, Array]:
    """Draws rows whose words are anything: constants, narrow and wide ranges, extremes, copies of the event's."""
    count = draw(st.integers(1, rows_max))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    first_sequence = draw(st.sampled_from([1, 7, 2**40]))
    events, decisions = np.zeros(count, EVENT), np.zeros(count, DECISION)
    for rows, columns in ((events, EVENT_WORDS), (decisions, DECISION_WORDS)):
        for column in range(columns):
            words(rows)[:, column] = arbitrary_column(rng, count)
    events["sequence"] = np.arange(first_sequence, first_sequence + count)
    for name in SHARED:
        if rng.random() < 0.5:
            decisions[name] = events[name]
    return events, decisions


def arbitrary_column(rng: np.random.Generator, count: int) -> Array:
    """Returns int64[count] of one of the kinds that the codings tell apart."""
    near = int(rng.choice(EXTREMES))
    match rng.integers(0, 6):
        case 0:
            return np.full(count, near, np.int64)
        case 1:
            return rng.integers(-(2**63), 2**63 - 1, count, np.int64, endpoint=True)
        case 2:
            return rng.choice(np.array(EXTREMES, np.int64), count)
        case 3:
            return rng.permutation(count).astype(np.int64)
        case 4:
            return rng.normal(size=count).view(np.int64)
    span = int(rng.choice([1, 254, 255, 65534, 65535, 2**32 - 2, 2**32 - 1]))
    low = min(near, 2**63 - 1 - span)
    return rng.choice(np.array([low, low + span], np.int64), count)
