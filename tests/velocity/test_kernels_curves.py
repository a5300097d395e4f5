"""Curves past their rows: thinning keeps every answer within its stated bound."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from riskengine.limits import EngineLimits
from riskengine.tables import layout as tables
from riskengine.tables.kernels import slab_take, slab_words
from riskengine.tables.store import Store, create_store
from riskengine.velocity import kernels
from riskengine.velocity.layout import SUM_MAX, VALUE_MAX

LIMITS = EngineLimits(entities_max=16, arena_mib=1, recent_decisions_max=16)
SECOND_US = 1_000_000
DAY_US = 86_400 * SECOND_US
START_US = 1_700_000_000 * SECOND_US


def store_with_entity() -> Store:
    """Returns a store in which entity 0 exists."""
    store = create_store(retentions_us=[DAY_US], relation_count_max=0, limits=LIMITS)
    store.heads[0, tables.HEAD_TAG] = 1
    return store


def insert(store: Store, time_us: int, amount: int, *, rows_max: int, shift: int, newest_us: int) -> None:
    """Adds one event of (count, amount) to the curve of entity 0."""
    count = kernels.curve_room(
        store.heads, store.arena, store.free, store.counters, 0, 3, 2, rows_max, 40 * DAY_US, shift, newest_us
    )
    assert 0 < count < rows_max
    kernels.curve_insert(store.heads, store.arena, 0, 3, 2, count, time_us, np.array([1, amount]), 0)


def over(store: Store, time_us: int, window_us: int) -> tuple[int, int]:
    """Returns count and sum over (time - window, time]."""
    offset = store.heads[0, tables.HEAD_CURVE]
    count = store.heads[0, tables.HEAD_CURVE_META] & tables.META_COUNT_MASK
    newer = offset + 3 * kernels.row_at(store.arena, offset, 3, count, time_us)
    older = offset + 3 * kernels.row_at(store.arena, offset, 3, count, time_us - window_us)
    return tuple(int(store.arena[newer + m] - store.arena[older + m]) for m in (1, 2))  # type: ignore[return-value]


@pytest.mark.parametrize("shift", [4, 5])
@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=15)
def test_answers_past_the_cap_lie_between_two_true_windows(shift: int, seed: int) -> None:
    """3,000 events in 512 rows: every answer lies between the truth for w and for w * (1 + epsilon)."""
    generator = np.random.Generator(np.random.PCG64(seed))
    gaps = generator.exponential(generator.choice([30, 600]) * SECOND_US, 3000).astype(np.int64)
    times = START_US + np.cumsum(gaps)
    amounts = generator.integers(0, 1000, 3000)
    store = store_with_entity()

    for time_us, amount in zip(times.tolist(), amounts.tolist(), strict=True):
        insert(store, time_us, amount, rows_max=512, shift=shift, newest_us=time_us)

    now = int(times[-1])
    for window_us in (60 * SECOND_US, 3600 * SECOND_US, DAY_US, 7 * DAY_US):
        stretched = window_us + (window_us >> shift)
        for answer, values in zip(over(store, now, window_us), (np.ones(3000, np.int64), amounts), strict=True):
            least = int(values[times > now - window_us].sum())
            most = int(values[times > now - stretched].sum())
            assert least <= answer <= most


def test_rows_that_no_window_reaches_are_forgotten_before_the_curve_grows() -> None:
    """A card used once a day for three years needs no more rows than forty days have."""
    store = store_with_entity()
    for day in range(1000):
        insert(store, START_US + day * DAY_US, 5, rows_max=1024, shift=5, newest_us=START_US + day * DAY_US)

    size_class = int(store.heads[0, tables.HEAD_CURVE_META]) >> tables.META_CLASS_SHIFT

    assert (30, 150) == over(store, START_US + 999 * DAY_US, 30 * DAY_US)
    assert slab_words(size_class) <= 3 * 64


def test_freed_slabs_are_zero_and_used_again() -> None:
    """Growing gives the smaller slab back zeroed, and the next curve of that size takes it."""
    store = store_with_entity()
    insert(store, START_US, 1, rows_max=64, shift=5, newest_us=START_US)
    first = int(store.heads[0, tables.HEAD_CURVE])
    for second in range(1, 9):
        insert(store, START_US + second, 1, rows_max=64, shift=5, newest_us=START_US + second)

    freed = store.arena[first : first + 8]

    assert store.heads[0, tables.HEAD_CURVE] != first
    assert not freed.any()
    assert (first, 0) == slab_take(store.arena, store.free, store.counters, 8)


@pytest.mark.parametrize("sign", [1, -1])
def test_sum_of_the_largest_values_stays_at_the_bound(sign: int) -> None:
    """Goal: no sum wraps into its opposite. Method: 2,000 values of the largest kind, one of them late, and then small ones."""
    store = store_with_entity()
    for number in range(2_000):
        late_us = 90 * SECOND_US if number == 1_500 else 0
        now_us = START_US + number * SECOND_US
        insert(store, now_us - late_us, sign * VALUE_MAX, rows_max=1024, shift=5, newest_us=now_us)

    count, total = over(store, START_US + 1_999 * SECOND_US, DAY_US)
    few, recent = over(store, START_US + 1_999 * SECOND_US, 10 * SECOND_US)

    assert (2_000, sign * SUM_MAX) == (count, total)
    assert few == 10
    assert 0 <= sign * recent <= 10 * VALUE_MAX
