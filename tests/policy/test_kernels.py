"""The policy's kernels against their naive twins."""

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from riskengine.policy import kernels, layout
from riskengine.types import DECISION, DECISION_WORDS, EVENT_WORD, EVENT_WORDS, LISTS_MAX, RULES_MAX, TAG_WORD_FIRST
from tests.naive import policy as naive

FEATURES = 5
CODES = 9
TIMES_US = [0, 1, 999, 1000, 1001, 2**62]
TAGS = [0, 1, 2, 2**63, 2**64 - 1]


@given(st.data())
def test_hits_equal_the_naive_ones(data: st.DataObject) -> None:
    """Goal: binary search and expiry are right, and conditions see each list in its column.

    Method: few tags, ties, the moment of expiry and its neighbours; random columns.
    """
    entity_count = data.draw(st.integers(1, 12))
    entries = data.draw(
        st.lists(
            st.tuples(
                st.integers(0, entity_count - 1),
                st.sampled_from(TAGS[1:]),
                st.sampled_from([*TIMES_US, 2**63 - 1]),
                st.integers(0, LISTS_MAX - 1),
            ),
            max_size=30,
        )
    )
    entries.sort()
    tables = (
        np.array([entry[1] for entry in entries], np.uint64),
        np.array([1 << entry[3] for entry in entries], np.int64),
        np.array([entry[2] for entry in entries], np.int64),
        np.array([sum(entry[0] < entity for entry in entries) for entity in range(entity_count + 1)], np.int64),
    )
    count = data.draw(st.integers(0, 4))
    events = np.zeros((count, EVENT_WORDS), np.uint64)
    for row in range(count):
        events[row, EVENT_WORD["event_time_us"]] = data.draw(st.sampled_from(TIMES_US))
        for entity in range(entity_count):
            events[row, TAG_WORD_FIRST + entity] = data.draw(st.sampled_from(TAGS))
    columns = np.array(data.draw(st.permutations(range(LISTS_MAX)))[: data.draw(st.integers(0, LISTS_MAX))], np.int64)
    hits, features = np.full(count, -1, np.int64), np.full((count, LISTS_MAX), 7.0)
    valid = np.zeros((count, LISTS_MAX), np.uint8)
    expected, expected_features, expected_valid = hits.copy(), features.copy(), valid.copy()
    where = (events.view(np.int64), TAG_WORD_FIRST, EVENT_WORD["event_time_us"])
    expected_count = naive.find_hits(*tables, columns, *where, expected_features, expected_valid, expected)
    hit_count = kernels.find_hits(*tables, columns, *where, features, valid, hits)

    assert expected_count == hit_count
    assert expected.tolist() == hits.tolist()
    assert expected_features.tolist() == features.tolist()
    assert expected_valid.tolist() == valid.tolist()


def draw_tables(data: st.DataObject) -> tuple[Any, ...]:
    """Draws rules, lists, reasons, thresholds and constants as `stage` makes them."""
    indexes = sorted(data.draw(st.sets(st.integers(0, RULES_MAX - 1), max_size=12)))
    rules = np.zeros((len(indexes), layout.RULE_COLUMNS), np.int64)
    for row, index in enumerate(indexes):
        verdict = data.draw(st.sampled_from([0, 2, 3]))
        rules[row] = (
            index // 64,
            np.left_shift(np.int64(1), np.int64(index % 64)),
            data.draw(st.integers(0, 1)),
            verdict,
            data.draw(st.sampled_from([0, 0, 2, 3])),
            # The schema refuses a rule that asks for nothing.
            data.draw(st.integers(0 if verdict else 1, 15)),
            data.draw(st.integers(0, CODES - 1)),
        )
    actions = data.draw(st.lists(st.sampled_from(["allow", "block", "watch"]), max_size=5))
    lists = np.zeros((len(actions), layout.LIST_COLUMNS), np.int64)
    for index, action in enumerate(actions):
        lists[index] = (1 << index, action == "block", data.draw(st.integers(0, CODES - 1)))
    columns = st.integers(-1, FEATURES - 1)
    reasons = np.array([[data.draw(columns), data.draw(columns)] for _ in range(CODES)], np.int64)
    share = st.sampled_from([0.1, 0.5, 0.9])
    thresholds = np.array([sorted([data.draw(share), data.draw(share)]) for _ in range(data.draw(st.integers(1, 4)))])
    constants = np.zeros(layout.CONSTANT_WORDS, np.int64)
    constants[layout.CONSTANT_MODEL_LIVE] = data.draw(st.integers(0, 1))
    constants[layout.CONSTANT_MODEL_FLAG] = data.draw(st.sampled_from([0, 8, 16]))
    constants[layout.CONSTANT_ON_REVIEW] = data.draw(st.integers(0, 15))
    constants[layout.CONSTANT_ON_DECLINE] = data.draw(st.integers(0, 15))
    constants[layout.CONSTANT_BLOCKING] = sum(1 << index for index, each in enumerate(actions) if each == "block")
    constants[layout.CONSTANT_ALLOWING] = sum(1 << index for index, each in enumerate(actions) if each == "allow")
    constants[layout.CONSTANT_UNEVALUATED] = data.draw(st.integers(0, CODES - 1))
    return rules, lists, reasons, thresholds, constants


def draw_features(data: st.DataObject, count: int) -> tuple[Any, Any]:
    """Draws features and their masks."""
    generator = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    return generator.normal(size=(count, FEATURES)), generator.integers(0, 2, (count, FEATURES)).astype(np.uint8)


@given(st.data())
def test_combination_equals_the_naive_one(data: st.DataObject) -> None:
    """Goal: verdict, obligations, bits and reasons are right. Method: random tables, conditions, hits and chances."""
    tables = draw_tables(data)
    rules, lists, _, thresholds, _ = tables
    count = data.draw(st.integers(1, 4))
    width = len(rules) + len(thresholds) - 1
    cells = st.lists(st.integers(0, 1), min_size=count * width, max_size=count * width)
    truths = np.array(data.draw(cells), np.float64).reshape(count, width)
    known = np.array(data.draw(cells), np.uint8).reshape(count, width)
    features, valid = draw_features(data, count)
    hits = np.array([data.draw(st.integers(0, 2 ** len(lists) - 1)) for _ in range(count)], np.int64)
    chances = st.sampled_from([np.nan, 0.1, 0.3, 0.5, 0.9, 0.95])
    probability = np.array([data.draw(chances) for _ in range(count)])
    # What an earlier batch has left must not shine through.
    words, expected = np.full((count, DECISION_WORDS), 3, np.int64), np.full((count, DECISION_WORDS), 3, np.int64)
    inputs: list[Any] = [*tables, truths, known, features, valid, hits, probability]
    expected_stopped = naive.combine(*[*inputs, expected, expected.view(np.float64)])
    stopped = kernels.combine(*[*inputs, words, words.view(np.float64)])

    assert expected_stopped == stopped
    assert_same(expected, words)


@given(st.data())
def test_explanation_equals_the_naive_one(data: st.DataObject) -> None:
    """Goal: the heaviest groups are told, once each, behind what is there. Method: ties, zeros and full places."""
    _, _, reasons, _, _ = draw_tables(data)
    features, valid = draw_features(data, 2)
    groups = np.array([data.draw(st.integers(-1, CODES - 1)) for _ in range(FEATURES)], np.int64)
    weights = st.sampled_from([-1.0, 0.0, 0.1, 0.25, 0.25, 2.0])
    contributions = np.array([data.draw(weights) for _ in range(FEATURES)])
    words = np.zeros((2, DECISION_WORDS), np.int64)
    there = data.draw(st.lists(st.integers(0, CODES - 1), unique=True, max_size=6))
    naive.write_reasons(words, words.view(np.float64), 1, 0, [(code, -1, 1.0, 2.0, 0.0) for code in there])
    expected = words.copy()
    inputs: list[Any] = [groups, reasons, contributions, 1, features, valid]
    scratch = (np.full(CODES, 9.0), np.full(CODES, 9, np.int64))
    expected_added = naive.explain(*[*inputs, expected, expected.view(np.float64), *scratch])
    added = kernels.explain(*[*inputs, words, words.view(np.float64), *scratch])

    assert expected_added == added
    assert_same(expected, words)


def assert_same(expected: Any, actual: Any) -> None:
    """Compares rows of DECISION column by column: bits where there are numbers, and any NaN with any other."""
    for name in DECISION.names or ():
        left, right = expected.view(DECISION)[name], actual.view(DECISION)[name]

        np.testing.assert_array_equal(left, right, err_msg=name)
