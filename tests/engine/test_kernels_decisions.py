"""The rows of decisions as the engine begins them, against rows built by name."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from riskengine.engine import kernels
from riskengine.types import DECISION, DECISION_WORDS, EVENT, TAG_COLUMNS, rows_of, words
from tests.naive import engine as naive

SEEDS = st.integers(0, 2**32 - 1)


def commands(seed: int, count: int) -> np.ndarray:
    """Returns events full of random words, of every kind, some outcomes without any entity."""
    random = np.random.default_rng(seed)
    events = np.frombuffer(random.bytes(count * EVENT.itemsize), EVENT).copy()
    events["kind"] = random.integers(1, 4, count)
    events["skip_stages"] = random.integers(0, 16, count)
    for name in TAG_COLUMNS:
        events[name][random.integers(0, 2, count) == 0] = 0
    return events


@given(seed=SEEDS, count=st.integers(0, 9), revision=st.integers(1, 2**40))
def test_begin_decisions_answers_each_command(seed: int, count: int, revision: int) -> None:
    """Goal: whatever lay in the memory, a begun decision says whom it answers and decides nothing."""
    events = commands(seed, count)
    flags = np.arange(count, dtype=np.int64) % 4
    expected, summary = naive.begin_decisions(events, flags, revision)

    begun = np.full((count, DECISION_WORDS), -7, np.int64)
    told = kernels.begin_decisions(words(events), flags, revision, begun, begun.view(np.float64))

    assert summary == told
    assert expected.tobytes() == rows_of(begun, DECISION).tobytes()


@given(seed=SEEDS, count=st.integers(0, 9))
def test_tell_model_leaves_out_who_skips_it(seed: int, count: int) -> None:
    """Goal: decisions and conditions get the model's answer, except where the deadline had no time for it."""
    events = commands(seed, count)
    random = np.random.default_rng(seed)
    margin, probability = random.normal(size=count), random.uniform(size=count)
    expected = naive.tell_model(events, margin, probability)
    wanted = np.array([answer is not None for answer in expected], np.bool_)
    margins = np.array([answer[0] if answer else np.nan for answer in expected])
    probabilities = np.array([answer[1] if answer else np.nan for answer in expected])
    features, valid = np.full((count, 5), 7.0), np.zeros((count, 5), np.uint8)
    decisions = np.zeros(count, DECISION)

    told = kernels.tell_model(
        words(events), margin, probability, 3, 1, features, valid, words(decisions).view(np.float64)
    )

    assert int(wanted.sum()) == told
    assert np.array_equal(margins, margin, equal_nan=True)
    assert np.array_equal(probabilities, probability, equal_nan=True)
    assert np.array_equal(np.where(wanted, probabilities, 0.0), decisions["probability"])
    assert np.array_equal(np.where(wanted, margins, 0.0), decisions["margin"])
    assert np.array_equal(np.where(wanted, probabilities, 7.0), features[:, 3])
    assert np.array_equal(np.where(wanted, margins, 7.0), features[:, 1])
    assert wanted.tolist() == (valid[:, 3] == 1).tolist() == (valid[:, 1] == 1).tolist()
    assert not valid[:, [0, 2, 4]].any()
