"""Kernels of velocity: cumulative curves, folded and read.

A curve is a slab of rows ``(event time, cumulative measure 1 … M)`` ordered by (event time, arrival). Row 0 is the base: its time
is the least int64 and its sums are those of everything already forgotten, so every search finds a row. The value over
``(t-d-w, t-d]`` is the last row at or before ``t-d`` minus the last row at or before ``t-d-w``: the exponential-histogram idea
(Datar, Gionis, Indyk, Motwani 2002) kept as one array, exact until an entity exceeds its rows.

The arguments that many kernels share: ``heads``, ``arena``, ``free`` and ``counters`` as in `tables.layout`; ``entity``, a row of
``heads``; a curve's ``offset`` in the arena, its ``width`` (1 + M words a row) and its ``count`` (rows in use, the base
included); ``increments_row int64``, what the event adds to the measures of all profiles, and ``first``, the first of this one's.

INVARIANTS: everything kept is int64, so no order of events and no CPU changes a bit. Floats appear only in answers.
Called by `engine.kernels`.
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
    MEMORY_US,
    META_CLASS_SHIFT,
    META_COUNT_MASK,
)
from riskengine.types import MISSING
from riskengine.velocity.layout import (
    FEATURE_COLUMN,
    FEATURE_COUNT,
    FEATURE_OPERATION,
    FEATURE_SCALE,
    FEATURE_SQUARE,
    FEATURE_SUM,
    FEATURE_WINDOW,
    LOG_FRACTION_BITS,
    OPERATION_COUNT,
    OPERATION_MEAN,
    OPERATION_SINCE_LAST,
    OPERATION_STD,
    OPERATION_SUM,
    OPERATION_ZSCORE,
    STD_EVENTS_MIN,
    STD_FLOOR,
    WINDOW_DELAY_US,
    WINDOW_US,
)


@kernel()
def row_at(arena, offset, width, count, time_us):
    """Returns the index of the last row at or before a time. Row 0, the base, is before every time.

    A binary search: log2(count) touches, some ten for a full curve.

    Args:
        count: At least 1.
        time_us: Microseconds since the epoch.
    """
    low = np.int64(0)
    high = count
    while high - low > 1:
        middle = (low + high) >> 1
        if arena[offset + middle * width] <= time_us:
            low = middle
        else:
            high = middle
    return low


@kernel()
def curve_collapse(arena, offset, width, count, before_us):
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
    for word in range(1, width):
        arena[offset + word] = arena[offset + last * width + word]
    kept = count - last
    for word in range(width, kept * width):
        arena[offset + word] = arena[offset + last * width + word]
    for word in range(kept * width, count * width):
        arena[offset + word] = 0
    return kept


@kernel()
def curve_thin(arena, offset, width, count, epsilon_shift):
    """Drops rows so that the gap at age a stays at most a * 2**-epsilon_shift; cumulative sums stay true at every row kept.

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


@kernel()
def curve_room(heads, arena, free, counters, entity, width, rows_max, horizon_us, epsilon_shift, newest_us):
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
        return np.int64(1)
    size_class = heads[entity, HEAD_CURVE_META] >> META_CLASS_SHIFT
    count = heads[entity, HEAD_CURVE_META] & META_COUNT_MASK
    if (count + 1) * width <= slab_words(size_class) and count < rows_max:
        return count
    count = curve_collapse(arena, offset, width, count, newest_us - horizon_us)
    if (count + 1) * width > slab_words(size_class) and count < rows_max:
        grown, new_class = slab_grow(arena, free, counters, offset, size_class, count * width, (count + 1) * width)
        if grown != 0:
            offset = grown
            size_class = new_class
    if (count + 1) * width > slab_words(size_class) or count >= rows_max:
        counters[COUNTER_THINNED] += 1
        heads[entity, HEAD_FLAGS] |= FLAG_THINNED
        before = count
        count = curve_thin(arena, offset, width, count, epsilon_shift)
        if count > before - (before >> 2):
            # Thinning alone freed too little (a short slab, or a cap too small for epsilon): the oldest quarter
            # becomes the base, so that this is not done again for each event.
            count = curve_collapse(arena, offset, width, count, arena[offset + max(before >> 2, 1) * width])
    heads[entity, HEAD_CURVE] = offset
    heads[entity, HEAD_CURVE_META] = (size_class << META_CLASS_SHIFT) | count
    return count


@kernel()
def curve_insert(heads, arena, entity, width, count, time_us, increments_row, first):
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
        for word in range(1, width):
            arena[target + word] = arena[source + word] + increments_row[first + word - 1]
    target = offset + position * width
    arena[target] = time_us
    for word in range(1, width):
        arena[target + word] = arena[target - width + word] + increments_row[first + word - 1]
    heads[entity, HEAD_CURVE_META] += 1
    return position


@kernel(inline=True)
def _over(arena, newer, older, measure):
    """Returns what a measure gained between two rows, given by their offsets in the arena."""
    return arena[newer + 1 + measure] - arena[older + 1 + measure]


@kernel()
def since_last(arena, offset, width, position, measure, time_us):
    """Returns the microseconds since the last earlier event that a counting measure counted, or -1.

    The count is the same in all rows after that event, so a search for the first row with that count finds it: log2(count)
    touches. What lies MEMORY_US or longer ago is not told: whether a row that old is still there depends on the slab's size.

    Args:
        position: Index of the row before the event's own.
        measure: Of the profile, 0 to M - 1.
        time_us: Of the event, microseconds since the epoch.
    """
    counted = arena[offset + position * width + 1 + measure]
    if counted == arena[offset + 1 + measure]:
        return np.int64(-1)
    low = np.int64(0)
    high = position
    while high - low > 1:
        middle = (low + high) >> 1
        if arena[offset + middle * width + 1 + measure] < counted:
            low = middle
        else:
            high = middle
    elapsed_us = time_us - arena[offset + high * width]
    return elapsed_us if elapsed_us < MEMORY_US else np.int64(-1)


@kernel()
def curve_read_empty(first, increments_row, read, windows, features, valid, row):
    """Answers for an entity without a curve: counts and sums are what the event itself adds, all else is missing.

    Args:
        read: int64[f, FEATURE_WORDS] of this profile; its counts and sums are touched once each.
        windows: int64[w, WINDOW_WORDS] of this profile.
        features, valid: float64[n, F] and uint8[n, F]; row `row` is written.
    """
    for index in range(len(read)):
        operation = read[index, FEATURE_OPERATION]
        if operation != OPERATION_COUNT and operation != OPERATION_SUM:
            continue
        measure = read[index, FEATURE_COUNT] if operation == OPERATION_COUNT else read[index, FEATURE_SUM]
        delayed = windows[read[index, FEATURE_WINDOW], WINDOW_DELAY_US] != 0
        own = 0.0 if delayed else increments_row[first + measure] / float(read[index, FEATURE_SCALE])
        features[row, read[index, FEATURE_COLUMN]] = own
        valid[row, read[index, FEATURE_COLUMN]] = 1


@kernel()
def _read_moments(arena, newer, older, read, own_events, own_increments, own, inserted, features, valid, row):
    """Answers a mean, a spread or a deviation of the events before this one.

    Args:
        newer, older: Offsets of the rows at the two ends of the window.
        read: int64[FEATURE_WORDS].
        own_events: How many of the window's events are the event itself, 0 or 1.
        own_increments: int64[M or more], what the event adds to each measure of the profile.
        own: 1 if the window reaches the event, else 0.
        inserted: Whether the event's own row is in the curve.
        features, valid: float64[n, F] and uint8[n, F]; row `row` is written where there is an answer.
    """
    operation = read[FEATURE_OPERATION]
    column = read[FEATURE_COLUMN]
    total_measure = read[FEATURE_SUM]
    events = _over(arena, newer, older, read[FEATURE_COUNT]) - own_events
    total = _over(arena, newer, older, total_measure)
    if inserted:
        total -= own_increments[total_measure] * own
    if events < 1:
        return
    mean = total / float(events)
    if operation == OPERATION_MEAN:
        features[row, column] = mean / float(read[FEATURE_SCALE])
        valid[row, column] = 1
        return
    if events < STD_EVENTS_MIN:
        return
    squares = _over(arena, newer, older, read[FEATURE_SQUARE])
    if inserted:
        squares -= own_increments[read[FEATURE_SQUARE]] * own
    one = float(1 << LOG_FRACTION_BITS)
    spread = np.sqrt(max(squares / float(events) - mean * mean, 0.0)) / one
    if operation == OPERATION_STD:
        features[row, column] = spread
        valid[row, column] = 1
    elif operation == OPERATION_ZSCORE and own_increments[read[FEATURE_COUNT]] * own != 0:
        own_log = own_increments[total_measure] / one
        features[row, column] = (own_log - mean / one) / max(spread, STD_FLOOR)
        valid[row, column] = 1


@kernel()
def curve_read(
    heads,
    arena,
    entity,
    profile_measures,
    first,
    increments_row,
    inserted,
    time_us,
    windows,
    read,
    features,
    valid,
    row,
):
    """Answers every window feature of one profile for one event: two searches of the curve for each window.

    Args:
        profile_measures: M.
        inserted: Whether the event's own row is in the curve; if not, what it adds is counted here.
        time_us: Of the event, microseconds since the epoch.
        windows: int64[w, WINDOW_WORDS] of this profile.
        read: int64[f, FEATURE_WORDS] of this profile; those of one window stand together.
        features, valid: float64[n, F] and uint8[n, F]; row `row` is written where there is an answer.
    """
    width = profile_measures + 1
    offset = heads[entity, HEAD_CURVE]
    count = heads[entity, HEAD_CURVE_META] & META_COUNT_MASK
    window = np.int64(-1)
    newer = np.int64(0)
    older = np.int64(0)
    delayed = False
    for index in range(len(read)):
        operation = read[index, FEATURE_OPERATION]
        column = read[index, FEATURE_COLUMN]
        counting = read[index, FEATURE_COUNT]
        if operation == OPERATION_SINCE_LAST:
            position = row_at(arena, offset, width, count, time_us) - (1 if inserted else 0)
            elapsed = since_last(arena, offset, width, position, counting, time_us)
            if elapsed >= 0:
                features[row, column] = elapsed / 1e6
                valid[row, column] = 1
            continue
        if read[index, FEATURE_WINDOW] != window:
            window = read[index, FEATURE_WINDOW]
            end = time_us - windows[window, WINDOW_DELAY_US]
            delayed = windows[window, WINDOW_DELAY_US] != 0
            newer = offset + row_at(arena, offset, width, count, end) * width
            older = offset + row_at(arena, offset, width, count, end - windows[window, WINDOW_US]) * width
        # What the event itself adds to the two sums of this feature; a delayed window ends before the event.
        own = 0 if delayed else 1
        if operation == OPERATION_COUNT or operation == OPERATION_SUM:
            measure = counting if operation == OPERATION_COUNT else read[index, FEATURE_SUM]
            value = _over(arena, newer, older, measure)
            if not inserted:
                value += increments_row[first + measure] * own
            features[row, column] = value / float(read[index, FEATURE_SCALE])
            valid[row, column] = 1
            continue
        own_events = increments_row[first + counting] * own if inserted else 0
        _read_moments(
            arena, newer, older, read[index], own_events, increments_row[first:], own, inserted, features, valid, row
        )
