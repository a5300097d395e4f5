"""The kernels of the engine's own steps: the fold, and the rows of decisions it begins.

The fold takes each event of a batch in order through the tables, velocity and linkage. It is one loop over events
instead of one call for each stage and batch: an event must see what the event before it changed, also in tables that the
stages share, whatever batch they came in.

INVARIANT: nothing here depends on the length of the batch. Called by `engine.pipeline`.
"""

import numpy as np

from riskengine.engine.erasure.kernels import erase_tags
from riskengine.engine.recent.kernels import move_horizon
from riskengine.enums import DecisionFlag, Kind, Stage
from riskengine.jit import kernel
from riskengine.linkage.kernels import linkage_event
from riskengine.tables.kernels import entity_find, entity_touch
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
from riskengine.types import DECISION_WORD, ENTITIES, EVENT_WORD, TAG_WORD_FIRST
from riskengine.velocity.kernels import curve_insert, curve_read, curve_read_empty, curve_room
from riskengine.velocity.layout import (
    PROFILE_EPSILON_SHIFT,
    PROFILE_FEATURE,
    PROFILE_FEATURES,
    PROFILE_HORIZON_US,
    PROFILE_INCREMENT,
    PROFILE_MEASURES,
    PROFILE_ROWS_MAX,
    PROFILE_TYPE,
    PROFILE_WINDOW,
    PROFILE_WINDOWS,
)

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
_MODEL = int(Stage.MODEL)
_ENTITY_COUNT = len(ENTITIES)

_COPIED_NAMES = ("sequence", "kind", "received_time_us", "request_key", "request_check", "payload_hash")
_COPIED = tuple([EVENT_WORD[name] for name in _COPIED_NAMES])
_COPIED_TO = tuple([DECISION_WORD[name] for name in _COPIED_NAMES])
_OUT_FLAGS = DECISION_WORD["flags"]
_OUT_REVISION = DECISION_WORD["revision"]
_OUT_DEGRADED = DECISION_WORD["degraded_stages"]
_OUT_PROBABILITY = DECISION_WORD["probability"]
_OUT_MARGIN = DECISION_WORD["margin"]

SUMMARY_SCORED = 1
SUMMARY_FOLDED_ONLY = 2
SUMMARY_MODEL_SKIPPED = 4


@kernel()
def profile_event(
    heads,
    arena,
    free,
    counters,
    entity,
    profile,
    increments_row,
    time_us,
    fold,
    read,
    windows,
    reads,
    features,
    valid,
    row,
):
    """Folds one event into one entity's curve and answers the profile's features."""
    first = profile[PROFILE_INCREMENT]
    measures = profile[PROFILE_MEASURES]
    width = measures + 1
    inserted = False
    adds = False
    for measure in range(first, first + measures):
        adds = adds or increments_row[measure] != 0
    if fold and adds:
        count = curve_room(
            heads,
            arena,
            free,
            counters,
            entity,
            width,
            profile[PROFILE_ROWS_MAX],
            profile[PROFILE_HORIZON_US],
            profile[PROFILE_EPSILON_SHIFT],
            counters[COUNTER_NEWEST_US],
        )
        if count > 0:
            curve_insert(heads, arena, entity, width, count, time_us, increments_row, first)
            inserted = True
    if not read:
        return
    window_end = profile[PROFILE_WINDOW] + profile[PROFILE_WINDOWS]
    read_end = profile[PROFILE_FEATURE] + profile[PROFILE_FEATURES]
    own_windows = windows[profile[PROFILE_WINDOW] : window_end]
    own_reads = reads[profile[PROFILE_FEATURE] : read_end]
    if entity < 0 or heads[entity, HEAD_CURVE] == 0:
        curve_read_empty(first, increments_row, own_reads, own_windows, features, valid, row)
        return
    curve_read(
        heads,
        arena,
        entity,
        measures,
        first,
        increments_row,
        inserted,
        time_us,
        own_windows,
        own_reads,
        features,
        valid,
        row,
    )


@kernel()
def profiles_event(
    heads, arena, free, counters, entities, tags, profiles, increments_row, time_us, fold, read, windows, reads, features,
    valid, row,
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
            features, valid, row,
        )  # fmt: skip
        if entity >= 0:
            approximate = approximate or (heads[entity, HEAD_FLAGS] & FLAG_THINNED) != 0
    return approximate


@kernel()
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


@kernel()
def read_first_seen(heads, entities, time_us, first_seen, features, valid, row):
    """Answers how long each known entity has been known; a new one has no answer."""
    for entity_type in range(len(entities)):
        entity = entities[entity_type]
        column = first_seen[entity_type]
        if entity >= 0 and column >= 0 and heads[entity, HEAD_TOUCHES] > 0:
            features[row, column] = max(time_us - heads[entity, HEAD_FIRST_TIME], 0) / 1e6
            valid[row, column] = 1


@kernel()
def touch_entities(heads, entities, time_us):
    """Counts one folded event for each of its entities."""
    for entity_type in range(len(entities)):
        entity = entities[entity_type]
        if entity >= 0:
            heads[entity, HEAD_TOUCHES] += 1
            heads[entity, HEAD_LAST_TIME] = max(heads[entity, HEAD_LAST_TIME], time_us)
            heads[entity, HEAD_FIRST_TIME] = min(heads[entity, HEAD_FIRST_TIME], time_us)


@kernel(
    "int64(int64[:,::1], int64[:,::1], int64[:,::1], int64[:,::1], int64[:,::1], int64[::1], int64[:,::1], int64[:,::1],"
    " int64[:,::1], int64[:,::1], int64[::1], int32[::1], int64[:,::1], int64[::1], int64[:,::1], int64[::1], int64[::1],"
    " int64[:,::1], int64[::1], float64[:,::1], uint8[:,::1], int64[::1], int64[::1], int64, boolean)"
)
def fold_events(
    events,
    increments,
    profiles,
    windows,
    reads,
    first_seen,
    relations,
    relation_reads,
    links,
    link_columns,
    slot_tags,
    slot_entities,
    heads,
    arena,
    types,
    free,
    counters,
    nodes,
    seen_times,
    features,
    valid,
    flags,
    entities,
    lateness_us,
    answers,
):
    """Folds a batch in order and writes the features of each event as of that event.

    Args:
        events: int64[n, EVENT_WORDS].
        increments: int64[n, M], what each event adds to each measure.
        profiles, windows, reads, first_seen: the velocity plan.
        relations, relation_reads: the relation plan.
        links, link_columns: the linkage plan.
        slot_tags … counters: the store; changed.
        nodes: int64[N, NODE_WORDS]; changed.
        seen_times: int64[R], as of `move_horizon`; changed.
        features: float64[n, F], written where present.
        valid: uint8[n, F], 1 where present.
        flags: int64[n], written: FOLDED and APPROXIMATE.
        entities: int64[entity types], scratch.
        lateness_us: How much older than the newest an event may be and still be folded, microseconds.
        answers: Whether features are wanted at all; recovery wants none. The state is the same either way.

    Returns:
        The number of events folded.
    """
    folded = 0
    for row in range(len(events)):
        flags[row] = 0
        time_us = events[row, _TIME]
        move_horizon(counters, seen_times, time_us)
        if events[row, _KIND] == _ERASE:
            flags[row] = _FOLDED
            if erase_tags(slot_tags, slot_entities, heads, arena, types, relations, events[row]):
                flags[row] |= _MATCHED
            continue
        fold = time_us >= counters[COUNTER_NEWEST_US] or counters[COUNTER_NEWEST_US] - time_us <= lateness_us
        fold = fold and time_us > counters[COUNTER_HORIZON_US]
        if fold:
            folded += 1
            flags[row] |= _FOLDED
            counters[COUNTER_NEWEST_US] = max(counters[COUNTER_NEWEST_US], time_us)
        else:
            counters[COUNTER_LATE_DROPPED] += 1
        scored = answers and events[row, _KIND] == _SCORE
        read = scored and (events[row, _SKIP] & _VELOCITY) == 0
        tags = events[row, TAG_WORD_FIRST : TAG_WORD_FIRST + len(entities)]
        resolve_entities(slot_tags, slot_entities, heads, arena, types, free, counters, tags, time_us, fold, entities)
        if read and fold:
            read_first_seen(heads, entities, time_us, first_seen, features, valid, row)
        approximate = profiles_event(
            heads, arena, free, counters, entities, tags, profiles, increments[row], time_us, fold, read, windows, reads,
            features, valid, row,
        )  # fmt: skip
        relate = fold and events[row, _KIND] != _OUTCOME
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
        if read and (approximate or estimated or not fold):
            flags[row] |= _APPROXIMATE
    return folded


@kernel("int64(int64[:,::1], int64[::1], int64, int64[:,::1], float64[:,::1])")
def begin_decisions(events, flags, revision, decisions, decision_floats):
    """Begins the decision of each command: whom it answers, under which revision, and nothing decided yet.

    Args:
        events: int64[n, EVENT_WORDS].
        flags: int64[n], from the fold.
        revision: Ordinal of the activation.
        decisions: int64[n, DECISION_WORDS], all of it written.
        decision_floats: float64[n, DECISION_WORDS], the same memory.

    Returns:
        SUMMARY bits: whether rows are to be scored, whether others are not, whether the model is skipped by some that are.
    """
    summary = 0
    for row in range(len(events)):
        for word in range(decisions.shape[1]):
            decisions[row, word] = 0
        for index in range(len(_COPIED)):
            decisions[row, _COPIED_TO[index]] = events[row, _COPIED[index]]
        decisions[row, _OUT_REVISION] = revision
        decisions[row, _OUT_FLAGS] = flags[row]
        decision_floats[row, _OUT_PROBABILITY] = np.nan
        decision_floats[row, _OUT_MARGIN] = np.nan
        if events[row, _KIND] == _SCORE:
            decisions[row, _OUT_DEGRADED] = events[row, _SKIP]
            summary |= SUMMARY_SCORED
            if events[row, _SKIP] & _MODEL:
                summary |= SUMMARY_MODEL_SKIPPED
            continue
        summary |= SUMMARY_FOLDED_ONLY
        if events[row, _KIND] == _OUTCOME:
            for tag in range(_ENTITY_COUNT):
                if events[row, TAG_WORD_FIRST + tag] != 0:
                    decisions[row, _OUT_FLAGS] |= _MATCHED
    return summary


@kernel("int64(int64[:,::1], float64[::1], float64[::1], int64, int64, float64[:,::1], uint8[:,::1], float64[:,::1])")
def tell_model(events, margin, probability, probability_column, margin_column, features, valid, decision_floats):
    """Writes what the model says into the decisions, and into the columns that conditions read.

    Args:
        events: int64[n, EVENT_WORDS]; rows that skip the model get none of it.
        margin: float64[n], log-odds; NaN is written where the model is skipped.
        probability: float64[n], likewise.
        probability_column, margin_column: Of the matrix.
        features: float64[n, C], out.
        valid: uint8[n, C], out: 1 in both columns where the model is not skipped.
        decision_floats: float64[n, DECISION_WORDS], out.

    Returns:
        The number of rows that the model speaks of.
    """
    told = 0
    for row in range(len(events)):
        if events[row, _SKIP] & _MODEL:
            margin[row] = np.nan
            probability[row] = np.nan
            continue
        told += 1
        features[row, probability_column] = probability[row]
        features[row, margin_column] = margin[row]
        valid[row, probability_column] = 1
        valid[row, margin_column] = 1
        decision_floats[row, _OUT_PROBABILITY] = probability[row]
        decision_floats[row, _OUT_MARGIN] = margin[row]
    return told
