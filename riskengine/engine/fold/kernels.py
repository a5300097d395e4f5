"""The kernel of the fold, and the steps it is made of.

It takes each event of a batch in order through the tables, velocity and linkage. It is one loop over events
instead of one call for each stage and batch: an event must see what the event before it changed, also in tables that the
stages share, whatever batch they came in.

INVARIANT: nothing here depends on the length of the batch. Called by `engine.pipeline`.
"""

import numpy as np

from riskengine.engine.erasure.kernels import erase_tags
from riskengine.engine.fetching.kernels import AHEAD_ROWS, fetch_ahead
from riskengine.engine.recent.kernels import move_horizon
from riskengine.enums import DecisionFlag, Kind, Stage
from riskengine.jit import borrowed, kernel
from riskengine.linkage.kernels import linkage_event
from riskengine.tables.kernels import entity_find, entity_touch
from riskengine.tables.keys.kernels import keep_fields
from riskengine.tables.layout import (
    COUNTER_HORIZON_US,
    COUNTER_LATE_DROPPED,
    COUNTER_NEWEST_US,
    FLAG_THINNED,
    HEAD_CURVE,
    HEAD_FIRST_TIME,
    HEAD_FLAGS,
    HEAD_LAST_TIME,
    HEAD_TOUCHES,
    TYPE_RETENTION_US,
)
from riskengine.tables.members.kernels import relations_event
from riskengine.types import EVENT_WORD
from riskengine.velocity.kernels import curve_insert, curve_room
from riskengine.velocity.layout import (
    PROFILE_EPSILON_SHIFT,
    PROFILE_EXTREMES,
    PROFILE_FEATURE,
    PROFILE_FEATURES,
    PROFILE_GAPS,
    PROFILE_HORIZON_US,
    PROFILE_INCREMENT,
    PROFILE_ROWS_MAX,
    PROFILE_SUMS,
    PROFILE_TYPE,
    PROFILE_WINDOW,
    PROFILE_WINDOWS,
)
from riskengine.velocity.reading.kernels import curve_read, curve_read_empty
from riskengine.velocity.registers.kernels import places_event, rates_event

_TIME = EVENT_WORD["event_time_us"]
_KIND = EVENT_WORD["kind"]
_SKIP = EVENT_WORD["skip_stages"]
_OUTCOME = int(Kind.OUTCOME)
_ERASE = int(Kind.ERASE)
_SCORE = int(Kind.SCORE)
_VELOCITY = int(Stage.VELOCITY)
_LINKAGE = int(Stage.LINKAGE)
_FOLDED = int(DecisionFlag.FOLDED)
_APPROXIMATE = int(DecisionFlag.APPROXIMATE)
_MATCHED = int(DecisionFlag.MATCHED)
SCRATCH_ROWS = 3 + 2 * AHEAD_ROWS
"""The entities of the event; the ends of a profile's windows, two rows, the first of which holds the fields of a declared entity
before; the ring of those ahead."""


@kernel(inline=True)
def profile_event(
    heads, arena, free, counters, entity, profile, increments_row, time_us, fold, read, windows, reads, ends, features,
    valid, row,
):  # fmt: skip
    """Folds one event into one entity's curve and answers the profile's features."""
    first = profile[PROFILE_INCREMENT]
    sums = profile[PROFILE_SUMS]
    width = 1 + sums + profile[PROFILE_EXTREMES]
    inserted = False
    adds = False
    for measure in range(first, first + sums):
        adds = adds or increments_row[measure] != 0
    if fold and adds and entity >= 0:
        count = curve_room(
            heads, arena, free, counters, entity, width, sums, profile[PROFILE_ROWS_MAX], profile[PROFILE_HORIZON_US],
            profile[PROFILE_EPSILON_SHIFT], counters[COUNTER_NEWEST_US],
        )  # fmt: skip
        if count > 0:
            curve_insert(heads, arena, entity, width, sums, count, time_us, increments_row, first)
            inserted = True
    if not read:
        return
    own_windows = windows[profile[PROFILE_WINDOW] : profile[PROFILE_WINDOW] + profile[PROFILE_WINDOWS]]
    own_reads = reads[profile[PROFILE_FEATURE] : profile[PROFILE_FEATURE] + profile[PROFILE_FEATURES]]
    if entity < 0 or heads[entity, HEAD_CURVE] == 0:
        curve_read_empty(first, increments_row, own_windows, own_reads, features, valid, row)
        return
    curve_read(
        heads, arena, entity, width, first, increments_row, inserted, time_us, profile[PROFILE_GAPS], own_windows,
        own_reads, ends, features, valid, row,
    )  # fmt: skip


@kernel(inline=True)
def profiles_event(
    heads, arena, free, counters, entities, tags, profiles, increments_row, time_us, fold, read, windows, reads, ends,
    features, valid, row,
):  # fmt: skip
    """Folds one event into the curves of all its entities and answers their features.

    Returns:
        Whether an answer comes from a curve that was thinned.
    """
    approximate = False
    for index in range(len(profiles)):
        entity_type = profiles[index, PROFILE_TYPE]
        entity = entities[entity_type]
        if tags[entity_type] == 0:
            continue
        profile_event(
            heads, arena, free, counters, entity, profiles[index], increments_row, time_us, fold, read, windows, reads,
            ends, features, valid, row,
        )  # fmt: skip
        if entity >= 0:
            approximate = approximate or (heads[entity, HEAD_FLAGS] & FLAG_THINNED) != 0
    return approximate


@kernel(inline=True)
def resolve_entities(slot_tags, slot_entities, heads, arena, types, free, counters, tags, time_us, fold, entities):
    """Finds the entities of one event, adding the new ones if it is folded.

    Args:
        tags: int64[entity types], 0 where absent.
        entities: int64[entity types], written: index in ``heads``, -1 where absent or unknown.
    """
    for entity_type in range(len(entities)):
        entities[entity_type] = -1
        tag = tags[entity_type]
        if tag == 0 or types[entity_type, TYPE_RETENTION_US] == 0:
            continue
        if fold:
            newest_us = counters[COUNTER_NEWEST_US]
            entities[entity_type] = entity_touch(
                slot_tags, slot_entities, heads, arena, types, free, newest_us, entity_type, tag, time_us
            )
        else:
            entities[entity_type] = entity_find(slot_tags, slot_entities, types, entity_type, tag)


@kernel(inline=True)
def entities_event(
    slot_tags, slot_entities, heads, arena, types, free, counters, event, keys, tags, entities, time_us, fold
):
    """Finds the entities of one event, declared ones included, adding the new ones if it is folded.

    Args:
        event: int64[EVENT_WORDS].
        keys: int64[K, KEY_WORDS].
        tags: int64[entity types], 0 where absent.
        entities: int64[entity types], written.
    """
    resolve_entities(slot_tags, slot_entities, heads, arena, types, free, counters, tags, time_us, fold, entities)
    if fold:
        keep_fields(heads, arena, free, counters, types, event, keys, entities)


@kernel(inline=True)
def registers_event(
    heads, arena, free, counters, types, entities, tags, event, position, increments_row, time_us, fold, read, rates,
    places, features, valid, row,
):  # fmt: skip
    """Folds one event into the rates and places of its entities and answers them; an outcome happens at no place.

    Returns:
        Whether an answer is as of a newer event.
    """
    newer = rates_event(
        heads, arena, free, counters, types, entities, tags, increments_row, time_us, fold, read, rates, features, valid,
        row,
    )  # fmt: skip
    if event[_KIND] != _OUTCOME:
        seen_newer = places_event(
            heads, arena, free, counters, types, entities, event, position, time_us, fold, read, places, features, valid,
            row,
        )  # fmt: skip
        newer = newer or seen_newer
    return newer


@kernel(inline=True)
def read_first_seen(heads, entities, time_us, first_seen, features, valid, row):
    """Answers how long each known entity has been known; a new one has no answer."""
    for entity_type in range(len(entities)):
        entity = entities[entity_type]
        column = first_seen[entity_type]
        if entity >= 0 and column >= 0 and heads[entity, HEAD_TOUCHES] > 0:
            features[row, column] = max(time_us - heads[entity, HEAD_FIRST_TIME], 0) / 1e6
            valid[row, column] = 1


@kernel(inline=True)
def touch_entities(heads, entities, time_us):
    """Counts one folded event for each of its entities."""
    for entity_type in range(len(entities)):
        entity = entities[entity_type]
        if entity >= 0:
            heads[entity, HEAD_TOUCHES] += 1
            heads[entity, HEAD_LAST_TIME] = max(heads[entity, HEAD_LAST_TIME], time_us)
            heads[entity, HEAD_FIRST_TIME] = min(heads[entity, HEAD_FIRST_TIME], time_us)


@kernel(inline=True)
def in_time(counters, time_us, lateness_us):
    """Tells whether an event is to be folded, and moves the newest time; one that is too late is counted.

    Args:
        time_us: Of the event, microseconds since the epoch.
        lateness_us: How much older than the newest it may be.
    """
    newest_us = counters[COUNTER_NEWEST_US]
    if (time_us < newest_us and newest_us - time_us > lateness_us) or time_us <= counters[COUNTER_HORIZON_US]:
        counters[COUNTER_LATE_DROPPED] += 1
        return False
    counters[COUNTER_NEWEST_US] = max(newest_us, time_us)
    return True


@kernel(inline=True)
def fold_in_order(
    events, increments, keys, profiles, windows, reads, rates, places, first_seen, relations, relation_reads, links,
    link_columns, slot_tags, slot_entities, heads, arena, types, free, counters, nodes, seen_times, features, valid,
    flags, scratch, lateness_us, answers,
):  # fmt: skip
    """Folds a batch; as `fold_events`."""
    folded = 0
    positions = events.view(np.float64)
    type_count = len(types)
    entities = scratch[0][:type_count]
    ring = scratch[3:]
    count = len(events)
    for step in range(count + AHEAD_ROWS - 1):
        fetch_ahead(
            slot_tags, slot_entities, heads, arena, types, events, keys, profiles, relations, scratch[1], ring, step,
            answers,
        )  # fmt: skip
        row = step - AHEAD_ROWS + 1
        if row < 0:
            continue
        tags = ring[row % AHEAD_ROWS][:type_count]
        flags[row] = 0
        time_us = events[row, _TIME]
        move_horizon(counters, seen_times, time_us)
        if events[row, _KIND] == _ERASE:
            flags[row] = _FOLDED
            if erase_tags(slot_tags, slot_entities, heads, arena, types, relations, keys, events[row]):
                flags[row] |= _MATCHED
            continue
        fold = in_time(counters, time_us, lateness_us)
        if fold:
            folded += 1
            flags[row] |= _FOLDED
        scored = answers and events[row, _KIND] == _SCORE
        read = scored and (events[row, _SKIP] & _VELOCITY) == 0
        entities_event(
            slot_tags, slot_entities, heads, arena, types, free, counters, events[row], keys, tags, entities, time_us,
            fold,
        )  # fmt: skip
        if read and fold:
            read_first_seen(heads, entities, time_us, first_seen, features, valid, row)
        approximate = profiles_event(
            heads, arena, free, counters, entities, tags, profiles, increments[row], time_us, fold, read, windows, reads,
            scratch[1:3], features, valid, row,
        )  # fmt: skip
        relate = fold and events[row, _KIND] != _OUTCOME
        newer = registers_event(
            heads, arena, free, counters, types, entities, tags, events[row], positions[row], increments[row], time_us,
            fold, read, rates, places, features, valid, row,
        )  # fmt: skip
        estimated = relations_event(
            heads, arena, free, counters, entities, tags, time_us, relate, read, relations, relation_reads, features,
            valid, row,
        )  # fmt: skip
        link_read = scored and (events[row, _SKIP] & _LINKAGE) == 0
        linkage_event(
            heads, arena, types, nodes, counters, entities, relate, link_read, links, link_columns, features, valid, row,
        )  # fmt: skip
        if fold:
            touch_entities(heads, entities, time_us)
        # A too late event may ask for rows that are forgotten already.
        if read and (approximate or estimated or newer or not fold):
            flags[row] |= _APPROXIMATE
    return folded


@kernel(
    "int64(int64[:,::1], int64[:,::1], int64[:,::1], int64[:,::1], int64[:,::1], int64[:,::1], int64[:,::1], int64[:,::1],"
    " int64[::1], int64[:,::1], int64[:,::1], int64[:,::1], int64[:,::1], int64[::1], int32[::1], int64[:,::1], int64[::1],"
    " int64[:,::1], int64[::1], int64[::1], int64[:,::1], int64[::1], float64[:,::1], uint8[:,::1], int64[::1],"
    " int64[:,::1], int64, boolean)"
)
def fold_events(
    events, increments, keys, profiles, windows, reads, rates, places, first_seen, relations, relation_reads, links,
    link_columns, slot_tags, slot_entities, heads, arena, types, free, counters, nodes, seen_times, features, valid,
    flags, scratch, lateness_us, answers,
):  # fmt: skip
    """Folds a batch in order and writes the features of each event as of that event.

    Args:
        events: int64[n, EVENT_WORDS].
        increments: int64[n, M], what each event adds to each measure.
        keys: the declared entity types.
        profiles, windows, reads, rates, places, first_seen: the velocity plan.
        relations, relation_reads: the relation plan.
        links, link_columns: the linkage plan.
        slot_tags … counters: the store; changed.
        nodes: int64[N, NODE_WORDS]; changed.
        seen_times: int64[R], as of `move_horizon`; changed.
        features: float64[n, F], written where present.
        valid: uint8[n, F], 1 where present.
        flags: int64[n], written: FOLDED and APPROXIMATE.
        scratch: int64[SCRATCH_ROWS, entity types, at least KEY_FIELDS_MAX and the windows of every profile].
        lateness_us: How much older than the newest an event may be and still be folded, microseconds.
        answers: Whether features are wanted at all; recovery wants none. The state is the same either way.

    Returns:
        The number of events folded.
    """
    return fold_in_order(
        borrowed(events), borrowed(increments), borrowed(keys), borrowed(profiles), borrowed(windows), borrowed(reads),
        borrowed(rates), borrowed(places), borrowed(first_seen), borrowed(relations), borrowed(relation_reads),
        borrowed(links), borrowed(link_columns), borrowed(slot_tags), borrowed(slot_entities), borrowed(heads),
        borrowed(arena), borrowed(types), borrowed(free), borrowed(counters), borrowed(nodes), borrowed(seen_times),
        borrowed(features), borrowed(valid), borrowed(flags), borrowed(scratch), lateness_us, answers,
    )  # fmt: skip
