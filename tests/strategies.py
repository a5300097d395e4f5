"""Hypothesis strategies that several test modules share."""

from typing import Any

import numpy as np
from hypothesis import strategies as st

from riskengine.enums import Kind, TransactionType
from riskengine.types import MISSING, empty_events

START_US = 1_700_000_000_000_000
MINUTE_US = 60_000_000
# Steps that make ties, exact window borders and late events likely.
TIME_STEPS_US = st.sampled_from(
    [
        *(0, 0, 1, MINUTE_US - 1, MINUTE_US, MINUTE_US + 1, 10 * MINUTE_US, 60 * MINUTE_US, 24 * 60 * MINUTE_US),
        *(-1, -MINUTE_US, -45 * MINUTE_US, -2 * 60 * MINUTE_US),
    ]
)
ENTITY_COLUMNS = ("account", "card", "device", "payee", "merchant")


@st.composite
def event_streams(draw: st.DrawFn, *, events_max: int = 40) -> Any:
    """Draws a stream of events of few entities with ties, late events, refunds, outcomes and missing fields."""
    count = draw(st.integers(1, events_max))
    events = empty_events(count)
    time_us = START_US
    for row in range(count):
        time_us += draw(TIME_STEPS_US)
        event = events[row]
        event["sequence"] = row + 1
        event["kind"] = draw(st.sampled_from([Kind.SCORE] * 6 + [Kind.RECORD, Kind.OUTCOME]))
        event["event_time_us"] = time_us
        event["received_time_us"] = START_US + row
        for entity in ENTITY_COLUMNS:
            event[f"{entity}_tag"] = draw(st.sampled_from([0, 1, 1, 2, 3, 2**63 + 5])) + 10 * len(entity)
            if draw(st.integers(0, 5)) == 0:
                event[f"{entity}_tag"] = 0
        if event["kind"] == Kind.OUTCOME:
            event["outcome_type"] = draw(st.integers(1, 6))
            continue
        event["transaction_type"] = draw(st.sampled_from([1, 1, 2, 5, 7]))
        if event["transaction_type"] != TransactionType.LOGIN:
            amount = draw(st.one_of(st.integers(0, 1000), st.sampled_from([0, 1, 499, 500, 10**12])))
            event["amount_minor"] = event["amount_base_minor"] = amount
        else:
            event["amount_base_minor"] = MISSING
        event["issuer_outcome"] = draw(st.integers(0, 4))
    return events


def stream_of(count: int, seed: int, *, entity_count: int = 50) -> np.ndarray:
    """Makes a long seeded stream without hypothesis, mostly in order."""
    generator = np.random.Generator(np.random.PCG64(seed))
    events = empty_events(count)
    events["kind"] = Kind.SCORE
    steps = generator.integers(0, 2 * MINUTE_US, count)
    late = np.where(generator.random(count) < 0.02, generator.integers(0, 30 * MINUTE_US, count), 0)
    events["event_time_us"] = START_US + np.cumsum(steps) - late
    events["received_time_us"] = START_US + np.cumsum(steps)
    events["sequence"] = np.arange(1, count + 1)
    events["transaction_type"] = generator.choice([1, 1, 1, 2, 5, 7], count)
    amounts = generator.integers(1, 100_000, count)
    events["amount_base_minor"] = np.where(events["transaction_type"] == TransactionType.LOGIN, MISSING, amounts)
    events["amount_minor"] = events["amount_base_minor"]
    events["issuer_outcome"] = generator.integers(0, 4, count)
    events["request_key"] = np.arange(1, count + 1)
    events["transaction_tag"] = np.arange(1, count + 1)
    for index, entity in enumerate(("account", "card", "device", "ip", "email", "phone", "merchant", "payee")):
        tags = generator.integers(1, entity_count + 1, count).astype(np.uint64)
        events[f"{entity}_tag"] = tags * np.uint64(0x9E3779B97F4A7C15) + np.uint64(index)
    return events
