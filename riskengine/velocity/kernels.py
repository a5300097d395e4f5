"""Kernels of velocity: cumulative curves, as events are folded into them.

A curve is a slab of rows ``(event time, cumulative measure 1 … S, extreme 1 … X)`` ordered by (event time, arrival). Row 0 is the
base: its time is the least int64 and its sums are those of everything already forgotten, so every search finds a row. An
extreme is the largest value among the row's own events, its own one's and those of rows that were thinned into it; MISSING for
none. The sum over ``(t-d-w, t-d]`` is the last row at or before ``t-d`` minus the last row at or before ``t-d-w``: the
exponential-histogram idea (Datar, Gionis, Indyk, Motwani 2002) kept as one array, exact until an entity exceeds its rows.

The arguments that many kernels share: ``heads``, ``arena``, ``free`` and ``counters`` as in `tables.layout`; ``entity``, a row of
``heads``; a curve's ``offset`` in the arena, its ``sums`` S, its ``width`` (1 + S + X words a row) and its ``count`` (rows in
use, the base included); ``increments_row int64``, what the event adds to the measures of all profiles, and ``first``, the
first of this one's.

INVARIANTS: everything kept is int64, so no order of events and no CPU changes a bit. Called by `engine.fold.kernels`; read by
`velocity.reading.kernels`.
"""

import numpy as np

from riskengine.jit import kernel
from riskengine.tables.kernels import slab_grow, slab_take, slab_words
from riskengine.tables.layout import (
    COUNTER_THINNED,
    FLAG_THINNED,
    HEAD_CURVE,
    HEAD_CURVE_META,
    HEAD_FLAGS,
    META_CLASS_SHIFT,
    META_COUNT_MASK,
)
from riskengine.types import MISSING
from riskengine.velocity.layout import SUM_MAX


@kernel(inline=True)
def row_between(arena, offset, width, low, high, time_us):
    """Returns the offset of the last row at or before a time, from `low` to before `high`: log2(high - low) touches.

    Args:
        low: A row at or before the time.
        high: A row after the time, or one more than all rows.
        time_us: Microseconds since the epoch.
    """
    rows = high - low
    found = offset + low * width
    while rows > 1:
        half = rows >> 1
        # Masked, not branched on: which half it is cannot be foretold, and a wrong guess costs more than a touch.
        found += (half * width) & -np.int64(arena[found + half * width] <= time_us)
        rows -= half
    return found


@kernel(inline=True)
def row_at(arena, offset, width, count, time_us):
    """Returns the index of the last row at or before a time. Row 0, the base, is before every time.

    A search that gallops back from the newest row: one touch for an event in order, 2 * log2(d) for the d-th newest row.

    Args:
        count: At least 1; only the first so many rows are looked at.
        time_us: Microseconds since the epoch.
    """
    high = count
    low = count - 1
    step = np.int64(1)
    while low > 0 and arena[offset + low * width] > time_us:
        high = low
        low = max(low - step, np.int64(0))
        step <<= 1
    while high - low > 1:
        middle = (low + high) >> 1
        if arena[offset + middle * width] <= time_us:
            low = middle
        else:
            high = middle
    return low


@kernel()
def curve_collapse(arena, offset, width, sums, count, before_us):
    """Folds all rows at or before a time into the base and zeroes what becomes free. Touches every row once.

    Args:
        count: At least 1.
        before_us: Microseconds since the epoch; nothing happens where the oldest row is later.

    Returns:
        The number of rows left, the base included.
    """
    last = row_at(arena, offset, width, count, before_us)
    if last == 0:
        return count
    for word in range(1, 1 + sums):
        arena[offset + word] = arena[offset + last * width + word]
    kept = count - last
    for word in range(width, kept * width):
        arena[offset + word] = arena[offset + last * width + word]
    for word in range(kept * width, count * width):
        arena[offset + word] = 0
    return kept


@kernel()
def curve_thin(arena, offset, width, sums, count, epsilon_shift):
    """Drops rows so that the gap at age a stays at most a * 2**-epsilon_shift.

    Cumulative sums stay true at every row kept, and a row takes over the extremes of those dropped just before it.

    Greedy from the newest row to the oldest: a row goes if its neighbours on both sides would still be close enough. The age
    that counts is the newer neighbour's, so that an answer for w lies between the truths for w and w * (1 + epsilon). Touches
    every row twice, and happens once in some hundred events of an entity beyond its rows.

    Args:
        count: At least 2.
        epsilon_shift: 2 to 8: epsilon is 2**-epsilon_shift.

    Returns:
        The number of rows left, the base included.
    """
    newest = arena[offset + (count - 1) * width]
    write = count - 1
    last_kept = newest
    for index in range(count - 2, 0, -1):
        older = arena[offset + (index - 1) * width]
        # The base has no age: the row after it always stays, else a whole history would fall into one gap.
        if index > 1 and last_kept - older <= (newest - last_kept) >> epsilon_shift:
            for word in range(1 + sums, width):
                kept_extreme = arena[offset + write * width + word]
                arena[offset + write * width + word] = max(kept_extreme, arena[offset + index * width + word])
            continue
        write -= 1
        last_kept = arena[offset + index * width]
        for word in range(width):
            arena[offset + write * width + word] = arena[offset + index * width + word]
    kept = count - write
    for word in range(kept * width):
        arena[offset + width + word] = arena[offset + write * width + word]
    for word in range((kept + 1) * width, count * width):
        arena[offset + word] = 0
    return kept + 1


@kernel(inline=True)
def curve_room(heads, arena, free, counters, entity, width, sums, rows_max, horizon_us, epsilon_shift, newest_us):
    """Makes room for one more row: forgets what no window can reach, then grows, then thins.

    Touches two words of the head while there is room, else every row; a slab then has half as much again, and thinning frees a
    quarter, so that this is rare.

    Args:
        rows_max: Most rows of a curve, the base included, 16 to 1024.
        horizon_us: How far back a window may reach, microseconds.
        epsilon_shift: As in `curve_thin`.
        newest_us: Newest event time folded so far, microseconds.

    Returns:
        The number of rows in use, or -1 where the arena has no slab for a new curve. Thinning is counted and flags the entity.
    """
    offset = heads[entity, HEAD_CURVE]
    if offset == 0:
        offset, size_class = slab_take(arena, free, counters, 2 * width)
        if offset == 0:
            return np.int64(-1)
        heads[entity, HEAD_CURVE] = offset
        heads[entity, HEAD_CURVE_META] = (size_class << META_CLASS_SHIFT) | 1
        arena[offset] = MISSING
        for word in range(1 + sums, width):
            arena[offset + word] = MISSING
        return np.int64(1)
    size_class = heads[entity, HEAD_CURVE_META] >> META_CLASS_SHIFT
    count = heads[entity, HEAD_CURVE_META] & META_COUNT_MASK
    if (count + 1) * width <= slab_words(size_class) and count < rows_max:
        return count
    count = curve_collapse(arena, offset, width, sums, count, newest_us - horizon_us)
    if (count + 1) * width > slab_words(size_class) and count < rows_max:
        grown, new_class = slab_grow(arena, free, counters, offset, size_class, count * width, (count + 1) * width)
        if grown != 0:
            offset = grown
            size_class = new_class
    if (count + 1) * width > slab_words(size_class) or count >= rows_max:
        counters[COUNTER_THINNED] += 1
        heads[entity, HEAD_FLAGS] |= FLAG_THINNED
        before = count
        count = curve_thin(arena, offset, width, sums, count, epsilon_shift)
        if count > before - (before >> 2):
            # Thinning alone freed too little (a short slab, or a cap too small for epsilon): the oldest quarter
            # becomes the base, so that this is not done again for each event.
            count = curve_collapse(arena, offset, width, sums, count, arena[offset + max(before >> 2, 1) * width])
    heads[entity, HEAD_CURVE] = offset
    heads[entity, HEAD_CURVE_META] = (size_class << META_CLASS_SHIFT) | count
    return count


@kernel(inline=True)
def _added(arena, offset, source, word, increment):
    """Returns a row's sum plus an increment, at most SUM_MAX from the base's: so no sum over a window can wrap.

    Args:
        source: Offset of the row.
        word: Of the sum within a row.
    """
    base = arena[offset + word]
    gained = arena[source + word] - base + increment
    return base + min(max(gained, np.int64(-SUM_MAX)), np.int64(SUM_MAX))


@kernel(inline=True)
def curve_insert(heads, arena, entity, width, sums, count, time_us, increments_row, first):
    """Inserts one row in (time, arrival) order; room for it exists. An event in order touches one row, a late one all after it.

    Args:
        count: From `curve_room`.
        time_us: Of the event, microseconds since the epoch.

    Returns:
        The index of the new row.
    """
    offset = heads[entity, HEAD_CURVE]
    position = row_at(arena, offset, width, count, time_us) + 1
    for index in range(count, position, -1):
        target = offset + index * width
        source = target - width
        arena[target] = arena[source]
        for word in range(1, 1 + sums):
            arena[target + word] = _added(arena, offset, source, word, increments_row[first + word - 1])
        for word in range(1 + sums, width):
            arena[target + word] = arena[source + word]
    target = offset + position * width
    arena[target] = time_us
    for word in range(1, 1 + sums):
        arena[target + word] = _added(arena, offset, target - width, word, increments_row[first + word - 1])
    for word in range(1 + sums, width):
        arena[target + word] = increments_row[first + word - 1]
    heads[entity, HEAD_CURVE_META] += 1
    return position
