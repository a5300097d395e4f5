"""Kernels of velocity: what is read of a curve.

The arguments are those of `velocity.kernels`; ``newer`` and ``older`` are the offsets in the arena of the rows at the two ends of
a window; ``inserted`` tells whether the event's own row is in the curve; ``own`` is 1 if the answer is to contain the event
itself, ``held`` 1 if the rows between contain it; ``read int64[FEATURE_WORDS]`` is one answer's row of the plan; ``features`` and
``valid`` are float64[n, F] and uint8[n, F], of which row ``row`` is written where there is an answer.

INVARIANT: nothing here changes the state. Called by `engine.fold.kernels`.
"""

import numpy as np

from riskengine.jit import kernel
from riskengine.tables.layout import HEAD_CURVE, HEAD_CURVE_META, MEMORY_US, META_COUNT_MASK
from riskengine.types import MISSING
from riskengine.velocity.kernels import row_at, row_between
from riskengine.velocity.layout import (
    CONCENTRATION_MAX,
    FEATURE_COLUMN,
    FEATURE_COUNT,
    FEATURE_OPERATION,
    FEATURE_OTHER,
    FEATURE_OWN,
    FEATURE_SCALE,
    FEATURE_SQUARE,
    FEATURE_SUM,
    HOUR_EVENTS_MIN,
    HOUR_FRACTION_BITS,
    LOG_FRACTION_BITS,
    OPERATION_COUNT,
    OPERATION_HOUR_CONCENTRATION,
    OPERATION_HOUR_DEVIATION,
    OPERATION_MAX,
    OPERATION_MEAN,
    OPERATION_MIN,
    OPERATION_RATIO,
    OPERATION_STD,
    OPERATION_SUM,
    OPERATION_ZSCORE,
    STD_EVENTS_MIN,
    STD_FLOOR,
    WINDOW_DELAY_US,
    WINDOW_FEATURE,
    WINDOW_FEATURES,
    WINDOW_MEANS,
    WINDOW_SUMS,
    WINDOW_US,
)


@kernel(inline=True)
def _over(arena, newer, older, measure):
    """Returns what a measure gained between two rows, given by their offsets in the arena."""
    return arena[newer + 1 + measure] - arena[older + 1 + measure]


@kernel(inline=True)
def _put(features, valid, row, column, value):
    features[row, column] = value
    valid[row, column] = 1


@kernel(inline=True)
def _in_units(value, scale):
    """Returns a value in the units of the answer. Most scales are 1, and a division costs more than to ask."""
    return float(value) if scale == 1 else value / float(scale)


@kernel()
def since_event(arena, offset, width, position, measure, number, time_us):
    """Returns the time of the `number`-th last event that a counting measure counted, and of the one after it.

    The count is the same in all rows after an event, so a search for the first row with that count finds it: log2(count)
    touches for each number. What lies MEMORY_US or longer ago is not told: whether a row that old is still there depends on the
    slab's size.

    Args:
        position: Index of the row before the event's own.
        measure: Of the profile, 0 to S - 1.
        number: At least 1.
        time_us: Of the event, microseconds since the epoch.

    Returns:
        The microseconds from that event to the next one counted, the event itself for number 1; -1 where it is not known.
    """
    later_us = time_us
    for step in range(number):
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
        found_us = arena[offset + high * width]
        if time_us - found_us >= MEMORY_US:
            return np.int64(-1)
        if step == number - 1:
            return later_us - found_us
        later_us = found_us
        position = high - 1
    return np.int64(-1)


@kernel()
def concentration(resultant):
    """Returns the von Mises concentration kappa of a mean resultant length.

    Source: the approximation of the maximum likelihood estimate by Best and Fisher 1981; the largest told is CONCENTRATION_MAX.

    Args:
        resultant: 0.0 to 1.0.
    """
    if resultant < 0.53:
        return 2.0 * resultant + resultant**3 + 5.0 * resultant**5 / 6.0
    if resultant < 0.85:
        return -0.4 + 1.39 * resultant + 0.43 / (1.0 - resultant)
    rest = resultant**3 - 4.0 * resultant**2 + 3.0 * resultant
    return 1.0 / rest if rest * CONCENTRATION_MAX > 1.0 else CONCENTRATION_MAX


@kernel()
def curve_read_empty(first, increments_row, windows, reads, features, valid, row):
    """Answers for an entity without a curve: counts and sums are what the event itself adds, most else is missing.

    Args:
        windows: int64[w, WINDOW_WORDS] of this profile.
        reads: int64[f, FEATURE_WORDS] of this profile.
    """
    for window in range(len(windows)):
        # A delayed window ends before the event.
        current = 1 if windows[window, WINDOW_DELAY_US] == 0 else 0
        start = windows[window, WINDOW_FEATURE]
        for index in range(start, start + windows[window, WINDOW_FEATURES]):
            operation = reads[index, FEATURE_OPERATION]
            own = reads[index, FEATURE_OWN] * current
            counted = increments_row[first + reads[index, FEATURE_COUNT]] * own
            value = increments_row[first + reads[index, FEATURE_SUM]]
            column = reads[index, FEATURE_COLUMN]
            if operation == OPERATION_COUNT or operation == OPERATION_SUM:
                _put(features, valid, row, column, value * own / float(reads[index, FEATURE_SCALE]))
            elif counted == 0:
                continue
            elif operation == OPERATION_MEAN or operation == OPERATION_MAX:
                _put(features, valid, row, column, value / float(reads[index, FEATURE_SCALE]))
            elif operation == OPERATION_MIN:
                _put(features, valid, row, column, -value / float(reads[index, FEATURE_SCALE]))
            elif operation == OPERATION_RATIO:
                long_us = windows[reads[index, FEATURE_OTHER], WINDOW_US]
                _put(features, valid, row, column, long_us / float(windows[window, WINDOW_US]))


@kernel(inline=True)
def _read_sums(arena, newer, older, reads, first, end, own_increments, current, held, features, valid, row):
    """Answers counts and sums, the reads from ``first`` to before ``end``."""
    for index in range(first, end):
        measure = reads[index, FEATURE_SUM]
        own = own_increments[measure] * (reads[index, FEATURE_OWN] * current - held)
        value = _over(arena, newer, older, measure) + own
        _put(features, valid, row, reads[index, FEATURE_COLUMN], _in_units(value, reads[index, FEATURE_SCALE]))


@kernel(inline=True)
def _read_means(arena, newer, older, reads, first, end, own_increments, current, held, features, valid, row):
    """Answers means, the reads from ``first`` to before ``end``."""
    for index in range(first, end):
        counting = reads[index, FEATURE_COUNT]
        measure = reads[index, FEATURE_SUM]
        change = reads[index, FEATURE_OWN] * current - held
        events = _over(arena, newer, older, counting) + own_increments[counting] * change
        if events >= 1:
            total = _over(arena, newer, older, measure) + own_increments[measure] * change
            mean = _in_units(total / float(events), reads[index, FEATURE_SCALE])
            _put(features, valid, row, reads[index, FEATURE_COLUMN], mean)


@kernel()
def _read_moments(arena, newer, older, read, own_increments, own, held, features, valid, row):
    """Answers a spread or a deviation."""
    operation = read[FEATURE_OPERATION]
    column = read[FEATURE_COLUMN]
    # A zscore is about the event, which must reach the window but is no part of what it is held against.
    change = (0 if operation == OPERATION_ZSCORE else own) - held
    counting = read[FEATURE_COUNT]
    total_measure = read[FEATURE_SUM]
    events = _over(arena, newer, older, counting) + own_increments[counting] * change
    total = _over(arena, newer, older, total_measure) + own_increments[total_measure] * change
    if events < STD_EVENTS_MIN:
        return
    mean = total / float(events)
    square_measure = read[FEATURE_SQUARE]
    squares = _over(arena, newer, older, square_measure) + own_increments[square_measure] * change
    one = float(1 << LOG_FRACTION_BITS)
    spread = np.sqrt(max(squares / float(events) - mean * mean, 0.0)) / one
    if operation == OPERATION_STD:
        _put(features, valid, row, column, spread)
    elif own_increments[counting] * own != 0:
        own_log = own_increments[total_measure] / one
        _put(features, valid, row, column, (own_log - mean / one) / max(spread, STD_FLOOR))


@kernel()
def _read_extreme(arena, newer, older, width, read, own_increments, own, held, features, valid, row):
    """Answers the largest or the smallest value. Touches every row of the window once."""
    word = 1 + read[FEATURE_SUM]
    largest = MISSING
    last = newer - width if held else newer
    for offset in range(older + width, last + width, width):
        largest = max(largest, arena[offset + word])
    if own:
        largest = max(largest, own_increments[read[FEATURE_SUM]])
    if largest != MISSING:
        value = largest if read[FEATURE_OPERATION] == OPERATION_MAX else -largest
        _put(features, valid, row, read[FEATURE_COLUMN], value / float(read[FEATURE_SCALE]))


@kernel()
def _read_hours(arena, newer, older, read, own_increments, own, held, features, valid, row):
    """Answers how regular the hour of day was, or how far the event's own is from the usual one.

    Source: Bahnsen, Aouada, Stojanovic, Ottersten 2016, on the von Mises distribution of the time of payments.
    """
    change = own - held
    counting = read[FEATURE_COUNT]
    sine = own_increments[read[FEATURE_SUM]]
    cosine = own_increments[read[FEATURE_SQUARE]]
    events = _over(arena, newer, older, counting) + own_increments[counting] * change
    if events < HOUR_EVENTS_MIN:
        return
    sines = float(_over(arena, newer, older, read[FEATURE_SUM]) + sine * change)
    cosines = float(_over(arena, newer, older, read[FEATURE_SQUARE]) + cosine * change)
    if read[FEATURE_OPERATION] == OPERATION_HOUR_CONCENTRATION:
        resultant = np.sqrt(sines * sines + cosines * cosines) / (events * float(1 << HOUR_FRACTION_BITS))
        _put(features, valid, row, read[FEATURE_COLUMN], concentration(min(resultant, 1.0)))
    elif own_increments[counting] != 0 and (sines != 0.0 or cosines != 0.0):
        # The angle between the event and the mean, by the two vectors' cross and dot products.
        cross = sine * cosines - cosine * sines
        dot = cosine * cosines + sine * sines
        _put(features, valid, row, read[FEATURE_COLUMN], abs(np.arctan2(cross, dot)) * 12.0 / np.pi)


@kernel()
def _read_ratio(arena, newer, older, longer, short_us, long_us, read, own_increments, change, features, valid, row):
    """Answers how much faster events come in the short window than in the long one, which begins after the row at ``longer``."""
    counting = read[FEATURE_COUNT]
    long_events = _over(arena, newer, longer, counting) + own_increments[counting] * change
    if long_events > 0:
        short_events = _over(arena, newer, older, counting) + own_increments[counting] * change
        pace = short_events / float(long_events) * (long_us / float(short_us))
        _put(features, valid, row, read[FEATURE_COLUMN], pace)


@kernel()
def _read_others(
    arena, width, newer, olders, windows, window, reads, first, end, own_increments, current, held, features, valid, row
):
    """Answers all but counts, sums and means, the reads from ``first`` to before ``end``."""
    older = olders[window]
    for index in range(first, end):
        read = reads[index]
        operation = read[FEATURE_OPERATION]
        own = read[FEATURE_OWN] * current
        if operation == OPERATION_MAX or operation == OPERATION_MIN:
            _read_extreme(arena, newer, older, width, read, own_increments, own, held, features, valid, row)
        elif operation == OPERATION_RATIO:
            longer = olders[read[FEATURE_OTHER]]
            short_us, long_us = windows[window, WINDOW_US], windows[read[FEATURE_OTHER], WINDOW_US]
            _read_ratio(
                arena, newer, older, longer, short_us, long_us, read, own_increments, own - held, features, valid, row
            )
        elif operation == OPERATION_HOUR_DEVIATION or operation == OPERATION_HOUR_CONCENTRATION:
            _read_hours(arena, newer, older, read, own_increments, own, held, features, valid, row)
        else:
            _read_moments(arena, newer, older, read, own_increments, own, held, features, valid, row)


@kernel()
def _read_gaps(arena, offset, width, position, reads, gaps, time_us, features, valid, row):
    """Answers the reads that ask for no window, the first ``gaps``; ``position`` is of the row before the event's own."""
    for index in range(gaps):
        counting, number = reads[index, FEATURE_COUNT], reads[index, FEATURE_OTHER]
        elapsed_us = since_event(arena, offset, width, position, counting, number, time_us)
        if elapsed_us >= 0:
            _put(features, valid, row, reads[index, FEATURE_COLUMN], elapsed_us / 1e6)


@kernel(inline=True)
def curve_search(arena, offset, width, newest, time_us, windows, newers, olders):
    """Finds where windows end and begin. No search waits for another one, so that a processor runs several at once.

    Args:
        newest: The last row at or before the event.
        time_us: Of the event, microseconds since the epoch.
        windows: int64[w, WINDOW_WORDS].
        newers: int64[at least w], written: the offset of the last row in each window.
        olders: int64[at least w], written: the offset of the last row before each window.
    """
    delay_us = np.int64(-1)
    last = np.int64(0)
    # Rows at or before, and after, the beginning of the window.
    low = np.int64(0)
    high = np.int64(0)
    reach = np.int64(0)
    for window in range(len(windows)):
        if windows[window, WINDOW_DELAY_US] != delay_us:
            delay_us = windows[window, WINDOW_DELAY_US]
            last = newest if delay_us == 0 else row_at(arena, offset, width, newest + 1, time_us - delay_us)
            low, high, reach = last, last + 1, np.int64(0)
        # Windows of one delay come shortest first, so the walk goes on where the last one ended: back in steps that
        # double, to rows that `engine.fetching.kernels` has asked for.
        older_us = time_us - delay_us - windows[window, WINDOW_US]
        while low > 0 and arena[offset + low * width] > older_us:
            high = low
            reach = 2 * reach + 1
            low = max(last - reach, np.int64(0))
        newers[window] = offset + last * width
        olders[window] = row_between(arena, offset, width, low, high, older_us)


@kernel(inline=True)
def curve_read(
    heads, arena, entity, width, first, increments_row, inserted, time_us, gaps, windows, reads, ends, features, valid, row
):  # fmt: skip
    """Answers every window feature of one profile for one event: a search of the curve for each window.

    Args:
        inserted: Whether the event's own row is in the curve; if not, what it adds is counted here.
        time_us: Of the event, microseconds since the epoch.
        gaps: How many of the reads ask for no window.
        windows: int64[w, WINDOW_WORDS] of this profile.
        reads: int64[f, FEATURE_WORDS] of this profile, in the order that `windows` tells.
        ends: int64[2, at least w], scratch for where the windows end and begin.
    """
    offset = heads[entity, HEAD_CURVE]
    count = heads[entity, HEAD_CURVE_META] & META_COUNT_MASK
    own_increments = increments_row[first:]
    newest = row_at(arena, offset, width, count, time_us)
    if gaps > 0:
        position = newest - (1 if inserted else 0)
        _read_gaps(arena, offset, width, position, reads, gaps, time_us, features, valid, row)
    newers, olders = ends[0], ends[1]
    curve_search(arena, offset, width, newest, time_us, windows, newers, olders)
    for window in range(len(windows)):
        newer, older = newers[window], olders[window]
        # A delayed window ends before the event.
        current = 1 if windows[window, WINDOW_DELAY_US] == 0 else 0
        held = 1 if inserted and current == 1 else 0
        start = windows[window, WINDOW_FEATURE]
        means = start + windows[window, WINDOW_SUMS]
        others = means + windows[window, WINDOW_MEANS]
        end = start + windows[window, WINDOW_FEATURES]
        _read_sums(arena, newer, older, reads, start, means, own_increments, current, held, features, valid, row)
        _read_means(arena, newer, older, reads, means, others, own_increments, current, held, features, valid, row)
        if others < end:
            _read_others(
                arena, width, newer, olders, windows, window, reads, others, end, own_increments, current, held,
                features, valid, row,
            )  # fmt: skip
