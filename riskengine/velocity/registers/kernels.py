"""Kernels of registers: rates that halve with time, and where an entity was.

Registers are a few words beside an entity's head, in a slab of the arena; see `tables.keys.kernels.registers_of`. The arguments
are those of `velocity.kernels` and `velocity.reading.kernels`.

INVARIANTS: everything kept is int64. A decayed sum depends on the order of events within a step of its half-life: it is exempt
from the independence of order that curves have, and a late event reads it as of the newest. Called by `engine.fold.kernels`.
"""

import numpy as np

from riskengine.jit import kernel
from riskengine.tables.keys.kernels import registers_of
from riskengine.tables.layout import HEAD_REGISTERS
from riskengine.types import EVENT_WORD
from riskengine.velocity.layout import (
    DECAY_BITS,
    DECAY_FACTORS,
    DECAY_STEPS,
    PLACE_COLUMN_CHANGED,
    PLACE_COLUMN_HOME,
    PLACE_COLUMN_SPEED,
    PLACE_HALF_LIFE_US,
    PLACE_REGION,
    PLACE_REGION_ELSE,
    PLACE_REGISTER,
    PLACE_TYPE,
    RATE_COLUMN,
    RATE_COUNT_SHIFT,
    RATE_HALF_LIFE_US,
    RATE_INCREMENT,
    RATE_OWN,
    RATE_REGISTER,
    RATE_SCALE,
    RATE_SHIFT,
    RATE_TYPE,
    RATE_VALUE_MAX,
    REGISTER_HOME_LATITUDE,
    REGISTER_HOME_LONGITUDE,
    REGISTER_HOME_TIME,
    REGISTER_HOME_WEIGHT,
    REGISTER_LATITUDE,
    REGISTER_LONGITUDE,
    REGISTER_POSITION_TIME,
    REGISTER_REGION,
    REGISTER_REGION_TIME,
    SPEED_TIME_US_MIN,
)

_FACTORS = np.array(DECAY_FACTORS, np.int64)
_LATITUDE = EVENT_WORD["latitude_degrees"]
_LONGITUDE = EVENT_WORD["longitude_degrees"]
_UNITS_PER_DEGREE = 10_000_000
_HALF_TURN = 180 * _UNITS_PER_DEGREE
_EARTH_KM = 6371.0088  # mean radius, IUGG


@kernel()
def decay_steps(elapsed_us, half_life_us):
    """Returns how many whole steps of a half-life have passed, DECAY_STEPS a half-life.

    Args:
        elapsed_us: At least 0; with a half-life of up to 90 days any time since the epoch fits.
        half_life_us: At least 1.
    """
    halvings = elapsed_us // half_life_us
    return halvings * DECAY_STEPS + (elapsed_us - halvings * half_life_us) * DECAY_STEPS // half_life_us


@kernel()
def decayed(value, steps):
    """Returns a value after some steps of decay, rounded towards 0.

    Args:
        value: -RATE_VALUE_MAX to RATE_VALUE_MAX.
        steps: At least 0.
    """
    halvings = steps // DECAY_STEPS
    if halvings > 44:
        return np.int64(0)
    factor = _FACTORS[steps - halvings * DECAY_STEPS]
    size = abs(value)
    # 45 and 29 bits are multiplied in two parts, for the product has more than 63.
    low = ((size & 0x1FFFF) * factor) >> 17
    result = (((size >> 17) * factor + low) >> (DECAY_BITS - 17)) >> halvings
    return result if value >= 0 else -result


@kernel()
def rate_add(arena, offset, increment, shift, time_us, half_life_us):
    """Adds to a rate; an older event weighs what would be left of it by now.

    Args:
        offset: Of the rate's two registers: its value with `shift` fraction bits, and the time it is of.
        increment: What the event adds, not 0.
        time_us: Of the event, microseconds since the epoch.
    """
    bound = np.int64(RATE_VALUE_MAX)
    added = max(min(increment, bound >> shift), -(bound >> shift)) << shift
    value = arena[offset]
    if value == 0:
        arena[offset + 1] = time_us
    elif time_us >= arena[offset + 1]:
        steps = decay_steps(time_us - arena[offset + 1], half_life_us)
        value = decayed(value, steps)
        # Only the time of whole steps is taken off, so that a thousand short waits decay as one long one.
        arena[offset + 1] += (steps // DECAY_STEPS) * half_life_us + (
            (steps % DECAY_STEPS) * half_life_us
        ) // DECAY_STEPS
    else:
        added = decayed(added, decay_steps(arena[offset + 1] - time_us, half_life_us))
    arena[offset] = max(min(value + added, bound), -bound)


@kernel(inline=True)
def rates_event(
    heads,
    arena,
    free,
    counters,
    types,
    entities,
    tags,
    increments_row,
    time_us,
    fold,
    read,
    rates,
    features,
    valid,
    row,
):
    """Folds one event into the rates of its entities and answers them. Touches two words of each.

    Args:
        entities: int64[entity types], index in ``heads``, -1 where absent or unknown.
        tags: int64[entity types], 0 where absent.
        rates: int64[_, RATE_WORDS].

    Returns:
        Whether an answer is as of a newer event.
    """
    newer = False
    for index in range(len(rates)):
        entity_type = rates[index, RATE_TYPE]
        if tags[entity_type] == 0:
            continue
        entity = entities[entity_type]
        increment = increments_row[rates[index, RATE_INCREMENT]]
        half_life_us = rates[index, RATE_HALF_LIFE_US]
        offset = np.int64(0)
        if entity >= 0:
            offset = heads[entity, HEAD_REGISTERS]
            if fold and increment != 0:
                offset = registers_of(heads, arena, free, counters, types, entity_type, entity)
        before = np.int64(0)
        if offset != 0:
            offset += rates[index, RATE_REGISTER]
            before = arena[offset]
            if read and time_us >= arena[offset + 1]:
                before = decayed(before, decay_steps(time_us - arena[offset + 1], half_life_us))
            newer = newer or (before != 0 and time_us < arena[offset + 1])
            if fold and increment != 0:
                rate_add(arena, offset, increment, rates[index, RATE_SHIFT], time_us, half_life_us)
        if read:
            total = before / float(1 << rates[index, RATE_SHIFT])
            if rates[index, RATE_OWN]:
                total += increment
            features[row, rates[index, RATE_COLUMN]] = total / float(rates[index, RATE_SCALE])
            valid[row, rates[index, RATE_COLUMN]] = 1
    return newer


@kernel()
def distance_km(latitude, longitude, other_latitude, other_longitude):
    """Returns the great-circle distance of two positions in 1e-7 degrees.

    Source: the haversine formula (Sinnott 1984) on a sphere of the earth's mean radius.
    """
    radians = np.pi / _HALF_TURN
    one = latitude * radians
    other = other_latitude * radians
    half = np.sin((other - one) / 2.0) ** 2
    half += np.cos(one) * np.cos(other) * np.sin((other_longitude - longitude) * radians / 2.0) ** 2
    return 2.0 * _EARTH_KM * np.arcsin(np.sqrt(min(half, 1.0)))


@kernel()
def home_add(arena, offset, latitude, longitude, time_us, half_life_us):
    """Moves a home towards a position by its share of the decayed weight of all.

    Args:
        offset: Of the place's registers.
        latitude, longitude: 1e-7 degrees.
        time_us: Of the event, microseconds since the epoch.
    """
    one = np.int64(1) << RATE_COUNT_SHIFT
    weight = arena[offset + REGISTER_HOME_WEIGHT]
    if weight == 0:
        arena[offset + REGISTER_HOME_LATITUDE] = latitude
        arena[offset + REGISTER_HOME_LONGITUDE] = longitude
    rate_add(arena, offset + REGISTER_HOME_WEIGHT, np.int64(1), RATE_COUNT_SHIFT, time_us, half_life_us)
    if weight == 0:
        return
    total = arena[offset + REGISTER_HOME_WEIGHT]
    behind_us = arena[offset + REGISTER_HOME_TIME] - time_us
    own = decayed(one, decay_steps(behind_us, half_life_us)) if behind_us > 0 else one
    arena[offset + REGISTER_HOME_LATITUDE] += (latitude - arena[offset + REGISTER_HOME_LATITUDE]) * own // total
    turn = longitude - arena[offset + REGISTER_HOME_LONGITUDE]
    # The short way round.
    turn = (turn + _HALF_TURN) % (2 * _HALF_TURN) - _HALF_TURN
    moved = arena[offset + REGISTER_HOME_LONGITUDE] + turn * own // total
    arena[offset + REGISTER_HOME_LONGITUDE] = (moved + _HALF_TURN) % (2 * _HALF_TURN) - _HALF_TURN


@kernel()
def place_read(arena, offset, region, positioned, latitude, longitude, time_us, place, features, valid, row):
    """Answers for an event what is asked of the places before it.

    Args:
        offset: Of the place's registers.
        region: Of the event, 0 for none.
        positioned: Whether the event has a position: latitude and longitude in 1e-7 degrees.
        place: int64[PLACE_WORDS].

    Returns:
        Whether an answer is as of a newer event.
    """
    newer = False
    column = place[PLACE_COLUMN_CHANGED]
    if column >= 0 and region != 0 and arena[offset + REGISTER_REGION] != 0:
        features[row, column] = 1.0 if region != arena[offset + REGISTER_REGION] else 0.0
        valid[row, column] = 1
        newer = arena[offset + REGISTER_REGION_TIME] > time_us
    if not positioned or arena[offset + REGISTER_POSITION_TIME] == 0:
        return newer
    column = place[PLACE_COLUMN_SPEED]
    if column >= 0:
        apart_us = max(abs(time_us - arena[offset + REGISTER_POSITION_TIME]), np.int64(SPEED_TIME_US_MIN))
        apart_km = distance_km(
            arena[offset + REGISTER_LATITUDE], arena[offset + REGISTER_LONGITUDE], latitude, longitude
        )
        features[row, column] = apart_km / (apart_us / 3.6e9)
        valid[row, column] = 1
    column = place[PLACE_COLUMN_HOME]
    if column >= 0:
        features[row, column] = distance_km(
            arena[offset + REGISTER_HOME_LATITUDE], arena[offset + REGISTER_HOME_LONGITUDE], latitude, longitude
        )
        valid[row, column] = 1
    return newer or arena[offset + REGISTER_POSITION_TIME] > time_us


@kernel()
def place_fold(arena, offset, region, positioned, latitude, longitude, time_us, place):
    """Notes where an event was. What is newest stays newest; the home takes late events, too."""
    if region != 0 and (arena[offset + REGISTER_REGION] == 0 or time_us >= arena[offset + REGISTER_REGION_TIME]):
        arena[offset + REGISTER_REGION] = region
        arena[offset + REGISTER_REGION_TIME] = time_us
    if not positioned:
        return
    if place[PLACE_HALF_LIFE_US] > 0:
        home_add(arena, offset, latitude, longitude, time_us, place[PLACE_HALF_LIFE_US])
    if arena[offset + REGISTER_POSITION_TIME] == 0 or time_us >= arena[offset + REGISTER_POSITION_TIME]:
        arena[offset + REGISTER_LATITUDE] = latitude
        arena[offset + REGISTER_LONGITUDE] = longitude
        arena[offset + REGISTER_POSITION_TIME] = time_us


@kernel(inline=True)
def places_event(
    heads, arena, free, counters, types, entities, event, position, time_us, fold, read, places, features, valid, row
):
    """Answers where the entities of an event were before it, then notes where it is.

    Args:
        entities: int64[entity types], index in ``heads``, -1 where absent or unknown.
        event: int64[EVENT_WORDS].
        position: float64[EVENT_WORDS], the same memory.
        places: int64[_, PLACE_WORDS].

    Returns:
        Whether an answer is as of a newer event.
    """
    newer = False
    positioned = abs(position[_LATITUDE]) <= 90.0 and abs(position[_LONGITUDE]) <= 180.0
    latitude = np.int64(np.rint(position[_LATITUDE] * _UNITS_PER_DEGREE)) if positioned else np.int64(0)
    longitude = np.int64(np.rint(position[_LONGITUDE] * _UNITS_PER_DEGREE)) if positioned else np.int64(0)
    for index in range(len(places)):
        entity_type = places[index, PLACE_TYPE]
        entity = entities[entity_type]
        if entity < 0:
            continue
        region = np.int64(0)
        if places[index, PLACE_REGION] >= 0:
            region = event[places[index, PLACE_REGION]]
        if region == 0 and places[index, PLACE_REGION_ELSE] >= 0:
            region = event[places[index, PLACE_REGION_ELSE]]
        if region == 0 and not positioned:
            continue
        offset = heads[entity, HEAD_REGISTERS]
        if fold:
            offset = registers_of(heads, arena, free, counters, types, entity_type, entity)
        if offset == 0:
            continue
        offset += places[index, PLACE_REGISTER]
        if read:
            told = place_read(
                arena, offset, region, positioned, latitude, longitude, time_us, places[index], features, valid, row
            )
            newer = newer or told
        if fold:
            place_fold(arena, offset, region, positioned, latitude, longitude, time_us, places[index])
    return newer
