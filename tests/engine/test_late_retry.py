"""F15: an attempt at a request that comes again after idempotency forgot it."""

from pathlib import Path

import numpy as np

from riskengine.engine.configuration import Configuration
from riskengine.engine.engine import Engine
from riskengine.enums import DecisionFlag, ReplyStatus
from riskengine.types import DECISION_WORD, words
from tests.engine.conftest import LIMITS
from tests.strategies import START_US, stream_of

COUNT = 2 * LIMITS.recent_decisions_max + 500
LATER = 300


def dense_stream() -> np.ndarray:
    """Returns a stream that is dense enough for every retry to be within the allowed lateness."""
    events = stream_of(COUNT + LATER, seed=15, entity_count=60)
    events["request_check"] = events["request_key"] * np.uint64(3)
    events["event_time_us"] = START_US + np.arange(len(events)) * 1_000
    events["received_time_us"] = events["event_time_us"]
    return events


def commit(engine: Engine, events: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Commits in batches; returns statuses and decisions of all."""
    batches = [engine.commit(events[first : first + 100].copy()) for first in range(0, len(events), 100)]
    return np.concatenate([batch[0] for batch in batches]), np.concatenate([batch[1] for batch in batches])


def test_f15_retry_after_the_horizon_is_never_counted_again(tmp_path: Path, rules_only: Configuration) -> None:
    """Goal: F15, 100 %. Method: retry what the ring forgot and what it knows; later answers are those without retries."""
    events = dense_stream()
    steady = Engine.open(tmp_path / "steady", rules_only, limits=LIMITS)
    commit(steady, events[:COUNT])
    _, expected = commit(steady, events[COUNT:])
    steady.close()

    engine = Engine.open(tmp_path / "retried", rules_only, limits=LIMITS)
    _, first = commit(engine, events[:COUNT])
    forgotten = COUNT - LIMITS.recent_decisions_max
    known, _ = commit(engine, events[forgotten:COUNT])
    statuses, retried = commit(engine, events[:forgotten])
    _, later = commit(engine, events[COUNT:])
    engine.close()

    assert (known == ReplyStatus.REPEATED).all()
    assert (statuses == ReplyStatus.DECIDED).all()
    assert (first["flags"] & DecisionFlag.FOLDED).all()
    assert not (retried["flags"] & DecisionFlag.FOLDED).any()
    same = np.arange(words(later).shape[1]) != DECISION_WORD["sequence"]
    assert words(expected)[:, same].tolist() == words(later)[:, same].tolist()
