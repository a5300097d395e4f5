"""Kernels that ask for the memory of the next events while an earlier one is folded.

An event touches some forty places that are in no cache: the slots of its entities, their heads, the ends of their curves, their
last-seen tables. Each is known only when the one before it has been read, so a processor left to itself waits for them one after
another. Here they are asked for in three steps, each one event ahead of the next: slots, heads, slabs.

INVARIANTS: nothing of the state is changed, and nothing is decided by what is found here, for the events between may still
change it; so an answer does not depend on it, and not on the length of the batch either. Called by `engine.fold.kernels`.

The arrays are those of `tables.layout`; ``ring int64[2 * AHEAD_ROWS, at least the entity types]`` holds, for the event of a
batch's row r, its tags in row ``r % AHEAD_ROWS`` and its entities, as far as they are known, AHEAD_ROWS further on.
"""

import numpy as np

from riskengine.enums import Kind
from riskengine.jit import fetch, kernel
from riskengine.tables.kernels import entity_find, slot_home
from riskengine.tables.keys.kernels import key_tags
from riskengine.tables.layout import (
    HEAD_CURVE,
    HEAD_CURVE_META,
    HEAD_REGISTERS,
    META_COUNT_MASK,
    RELATION_TYPE,
    RELATION_WORD,
    TYPE_RETENTION_US,
    TYPE_SLOT_BASE,
    TYPE_SLOT_MASK,
)
from riskengine.types import ENTITIES, EVENT_WORD, TAG_WORD_FIRST
from riskengine.velocity.layout import PROFILE_EXTREMES, PROFILE_SUMS, PROFILE_TYPE

AHEAD_ROWS = 4
"""Events on their way at once: one in each of the three steps, and the one that is folded."""
LINE_WORDS = 8
"""Words of a cache line."""
_ENTITY_COUNT = len(ENTITIES)
_KIND = EVENT_WORD["kind"]
_ERASE = int(Kind.ERASE)


@kernel(inline=True)
def fetch_slots(slot_tags, slot_entities, types, event, keys, fields, tags):
    """Finds the tags of an event, and asks for the slots where the search for them begins.

    Args:
        event: int64[EVENT_WORDS].
        keys: int64[K, KEY_WORDS].
        fields: int64[KEY_FIELDS_MAX], scratch.
        tags: int64[entity types], written: 0 where absent.
    """
    for entity_type in range(_ENTITY_COUNT):
        tags[entity_type] = event[TAG_WORD_FIRST + entity_type]
    key_tags(event, keys, fields, tags)
    for entity_type in range(len(tags)):
        if tags[entity_type] != 0 and types[entity_type, TYPE_RETENTION_US] != 0:
            slot = slot_home(tags[entity_type], types[entity_type, TYPE_SLOT_BASE], types[entity_type, TYPE_SLOT_MASK])
            fetch(slot_tags, slot)
            fetch(slot_entities, slot)


@kernel(inline=True)
def fetch_heads(slot_tags, slot_entities, heads, types, tags, entities):
    """Asks for the heads of an event's entities.

    Args:
        tags: int64[entity types], from `fetch_slots`.
        entities: int64[entity types], written: index in ``heads``, -1 where absent or unknown so far.
    """
    words = heads.shape[1]
    for entity_type in range(len(tags)):
        entities[entity_type] = -1
        if tags[entity_type] == 0 or types[entity_type, TYPE_RETENTION_US] == 0:
            continue
        entity = entity_find(slot_tags, slot_entities, types, entity_type, tags[entity_type])
        entities[entity_type] = entity
        if entity >= 0:
            for word in range(0, words, LINE_WORDS):
                fetch(heads, entity * words + word)


@kernel(inline=True)
def fetch_slabs(heads, arena, profiles, relations, entities, answers):
    """Asks for both ends of the curves of an event's entities, for their registers and for their last-seen tables.

    Args:
        answers: Whether features are wanted: then also for the rows at which searches of the curves begin.
        profiles: int64[P, PROFILE_WORDS].
        relations: int64[R, RELATION_WORDS].
        entities: int64[entity types], from `fetch_heads`.
    """
    for entity_type in range(len(entities)):
        entity = entities[entity_type]
        if entity >= 0 and heads[entity, HEAD_REGISTERS] != 0:
            fetch(arena, heads[entity, HEAD_REGISTERS])
    for profile in range(len(profiles)):
        entity = entities[profiles[profile, PROFILE_TYPE]]
        if entity < 0 or heads[entity, HEAD_CURVE] == 0:
            continue
        offset = heads[entity, HEAD_CURVE]
        width = 1 + profiles[profile, PROFILE_SUMS] + profiles[profile, PROFILE_EXTREMES]
        count = heads[entity, HEAD_CURVE_META] & META_COUNT_MASK
        fetch(arena, offset)
        for word in range((count - 1) * width, (count + 1) * width, LINE_WORDS):
            fetch(arena, offset + word)
        reach = np.int64(3)
        while answers and reach < count:
            fetch(arena, offset + (count - reach) * width)
            reach = 2 * reach + 1
    for relation in range(len(relations)):
        entity = entities[relations[relation, RELATION_TYPE]]
        if entity >= 0 and heads[entity, relations[relation, RELATION_WORD]] != 0:
            fetch(arena, heads[entity, relations[relation, RELATION_WORD]])


@kernel(inline=True)
def fetch_ahead(slot_tags, slot_entities, heads, arena, types, events, keys, profiles, relations, fields, ring, step,
                answers):  # fmt: skip
    """Takes three events one step further: those of the batch's rows `step`, `step - 1` and `step - 2`, as far as there are.

    Args:
        events: int64[n, EVENT_WORDS].
        fields: int64[KEY_FIELDS_MAX], scratch.
        answers: As of `fetch_slabs`.
        step: 0 to n + 1, in order; then the tags of row ``step - 2`` and those before it are in the ring.
    """
    count, type_count = len(events), len(types)
    if step < count and events[step, _KIND] != _ERASE:
        fetch_slots(slot_tags, slot_entities, types, events[step], keys, fields, ring[step % AHEAD_ROWS][:type_count])
    row = step - 1
    if 0 <= row < count and events[row, _KIND] != _ERASE:
        place = row % AHEAD_ROWS
        fetch_heads(
            slot_tags, slot_entities, heads, types, ring[place][:type_count], ring[AHEAD_ROWS + place][:type_count]
        )
    row = step - 2
    if 0 <= row < count and events[row, _KIND] != _ERASE:
        fetch_slabs(heads, arena, profiles, relations, ring[AHEAD_ROWS + row % AHEAD_ROWS][:type_count], answers)
