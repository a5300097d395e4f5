"""The ring of recent decisions against a plain dict."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from riskengine.engine.recent import RecentDecisions
from riskengine.enums import Kind, ReplyStatus
from riskengine.types import DECISION, empty_events, rows_of, words
from tests.naive import engine as naive

REQUESTS = st.tuples(st.integers(1, 12), st.sampled_from([1, 1, 1, 2]))
"""Few requests, so that most are repeated; the second number stands for the payload."""


def events_of(requests: list[tuple[int, int]], *, kind: Kind = Kind.SCORE) -> np.ndarray:
    """Returns one event for each (request, payload)."""
    events = empty_events(len(requests))
    events["kind"] = kind
    # Tags use all 64 bits, and every other one collides in the low bits of the index.
    keys = np.array([request for request, _ in requests], np.uint64)
    events["request_key"] = (keys << np.uint64(58)) | np.uint64(64)
    events["request_check"] = keys
    events["payload_hash"] = [payload for _, payload in requests]
    events["transaction_tag"] = events["request_key"]
    return events


def decided(events: np.ndarray, first: int) -> np.ndarray:
    """Returns decisions that can be told apart by their sequence."""
    decisions = np.zeros(len(events), DECISION)
    for name in ("request_key", "request_check", "payload_hash", "kind"):
        decisions[name] = events[name]
    decisions["verdict"] = 1
    decisions["sequence"] = np.arange(first, first + len(events))
    return decisions


@given(batches=st.lists(st.lists(REQUESTS, min_size=1, max_size=8), max_size=12))
def test_screen_agrees_with_a_dict(batches: list[list[tuple[int, int]]]) -> None:
    """Repeats across and within batches get the first decision, other payloads are told, in a ring that holds all."""
    recent, progress = RecentDecisions(128), np.zeros(2, np.int64)
    known: dict[tuple[int, int], int] = {}
    stored: dict[tuple[int, int], int] = {}
    for requests in batches:
        events = events_of(requests)
        keys = [(int(e["request_key"]), int(e["request_check"])) for e in events]
        statuses = naive.screen([(*key, int(e["payload_hash"])) for key, e in zip(keys, events, strict=True)], known)
        fresh = decided(events[[status == ReplyStatus.DECIDED for status in statuses]], len(stored) + 1)
        answers = naive.settle(keys, statuses, fresh["sequence"].tolist(), stored)

        screened = recent.screen(words(events), progress)
        recent.settle(screened, words(fresh))

        assert statuses == screened.statuses.tolist()
        assert answers == rows_of(screened.replies, DECISION)["sequence"].tolist()


@given(count=st.integers(1, 60), ring=st.integers(4, 16))
def test_oldest_leave_first(count: int, ring: int) -> None:
    """In a ring of n rows the last n requests are known and no other; remembering equals deciding."""
    recent, folded, progress = RecentDecisions(ring), RecentDecisions(ring), np.zeros(2, np.int64)
    known: dict[tuple[int, int], int] = {}
    for request in range(1, count + 1):
        events = events_of([(request, 1)])
        screened = recent.screen(words(events), progress)
        recent.settle(screened, words(decided(events, request)))
        folded.remember(events, decided(events, request))
    alive = range(max(1, count - ring + 1), count + 1)
    wanted = events_of([(request, 1) for request in range(1, count + 1)])
    keys = np.stack([wanted["request_key"], wanted["request_check"]], axis=1)
    rows = [(int(k), int(c), 1) for k, c in keys[alive.start - 1 :]]
    naive.remember(rows, known)

    statuses, replies = recent.lookup(keys)

    found = [status == ReplyStatus.REPEATED for status in statuses]
    assert naive.lookup([(int(k), int(c)) for k, c in keys], known) == found
    assert list(alive) == [int(row["sequence"]) for row, is_found in zip(replies, found, strict=True) if is_found]
    for name, array in recent.arrays().items():
        assert np.array_equal(array, folded.arrays()[name]), name


@given(times=st.lists(st.integers(0, 50), min_size=1, max_size=12), split=st.integers(0, 12))
def test_new_commands_are_numbered(times: list[int], split: int) -> None:
    """Sequences have no gap and received times never fall, across batches; a repeated command gets neither."""
    recent, progress = RecentDecisions(64), np.zeros(2, np.int64)
    events = events_of([(index, 1) for index in range(1, len(times) + 1)])
    events["received_time_us"] = times
    for batch in (events[:split], events[split:], events[:1].copy()):
        if len(batch):
            screened = recent.screen(words(batch), progress)
            recent.settle(screened, words(decided(batch[screened.new], 1)))

    assert list(range(1, len(times) + 1)) == events["sequence"].tolist()
    assert np.maximum.accumulate(times).tolist() == events["received_time_us"].tolist()
    assert [len(times), max(times)] == progress.tolist()


def test_outcome_takes_the_entities_of_its_transaction() -> None:
    """An outcome without entities gets those of the last attempt, also within one batch; one that brings its own keeps them."""
    recent = RecentDecisions(16)
    payment = events_of([(1, 1)])
    payment["card_tag"], payment["account_tag"] = 77, 78
    outcomes = events_of([(2, 1), (3, 1), (4, 1)], kind=Kind.OUTCOME)
    outcomes["transaction_tag"] = [payment["transaction_tag"][0], payment["transaction_tag"][0], 999]
    outcomes["card_tag"][1] = 5
    batch = np.concatenate([payment, outcomes])

    recent.settle(recent.screen(words(batch), np.zeros(2, np.int64)), words(decided(batch, 1)))

    assert [77, 77, 5, 0] == batch["card_tag"].tolist()
    assert [78, 78, 0, 0] == batch["account_tag"].tolist()
