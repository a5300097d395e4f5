"""Kernels of declared entity types: tags of tuples, the registers beside a head, and what erasure does to both.

The arrays are those of `tables.layout`, as in `tables.kernels`.

INVARIANTS: a tag is a function of its fields alone and never 0; the order of the fields matters. Integers wrap as int64.
Called by `engine.fold.kernels` and `engine.erasure.kernels`.
"""

import numpy as np

from riskengine.jit import kernel
from riskengine.tables.kernels import entity_rename, slab_take
from riskengine.tables.layout import (
    HEAD_REGISTERS,
    HEAD_REGISTERS_META,
    HEAD_TAG,
    KEY_ENTITY,
    KEY_FIELDS,
    KEY_TYPE,
    KEY_WORD,
    META_CLASS_SHIFT,
    TYPE_ENTITY_BASE,
    TYPE_REGISTERS,
    TYPE_RETENTION_US,
    TYPE_USED,
)

_SEED = np.int64(-0x61C8864680B583EB)
_FIRST = np.int64(-0x40A7B892E31B1A47)
_SECOND = np.int64(-0x6B2FB644ECCEEE15)


@kernel(inline=True)
def mix(value):
    """Spreads the bits of a word over all of them; no two words become one.

    Source: the finaliser of SplitMix64 (Steele, Lea, Flood 2014), in wrapping int64.
    """
    value = (value ^ ((value >> 30) & np.int64((1 << 34) - 1))) * _FIRST
    value = (value ^ ((value >> 27) & np.int64((1 << 37) - 1))) * _SECOND
    return value ^ ((value >> 31) & np.int64((1 << 33) - 1))


@kernel()
def registers_of(heads, arena, free, counters, types, type_index, entity):
    """Returns where an entity's registers are, taking a zeroed slab for them at first; 0 where the arena is used up."""
    offset = heads[entity, HEAD_REGISTERS]
    if offset == 0 and types[type_index, TYPE_REGISTERS] > 0:
        offset, size_class = slab_take(arena, free, counters, types[type_index, TYPE_REGISTERS])
        if offset != 0:
            heads[entity, HEAD_REGISTERS] = offset
            heads[entity, HEAD_REGISTERS_META] = size_class << META_CLASS_SHIFT
    return offset


@kernel()
def fields_tag(fields, count):
    """Returns the tag of a tuple, 0 where one of its fields is missing.

    Args:
        fields: int64[at least count], 0 where missing.
        count: At least 1.
    """
    tag = _SEED
    for index in range(count):
        if fields[index] == 0:
            return np.int64(0)
        tag = mix(tag ^ fields[index])
    return tag if tag != 0 else np.int64(1)


@kernel()
def key_tags(event, keys, fields, tags):
    """Fills in the tags of an event's declared entities.

    Args:
        event: int64[EVENT_WORDS].
        keys: int64[K, KEY_WORDS].
        fields: int64[KEY_FIELDS_MAX], scratch.
        tags: int64[entity types]; those of the declared types are written, 0 where a field is missing.
    """
    for key in range(len(keys)):
        for index in range(keys[key, KEY_FIELDS]):
            fields[index] = event[keys[key, KEY_WORD + index]]
        tags[keys[key, KEY_TYPE]] = fields_tag(fields, keys[key, KEY_FIELDS])


@kernel()
def keep_fields(heads, arena, free, counters, types, event, keys, entities):
    """Notes in the registers of an event's declared entities which fields they are made of: erasure must find them."""
    for key in range(len(keys)):
        entity_type = keys[key, KEY_TYPE]
        entity = entities[entity_type]
        if entity < 0 or heads[entity, HEAD_REGISTERS] != 0:
            continue
        offset = registers_of(heads, arena, free, counters, types, entity_type, entity)
        if offset != 0:
            for index in range(keys[key, KEY_FIELDS]):
                arena[offset + index] = event[keys[key, KEY_WORD + index]]


@kernel()
def keys_rename(slot_tags, slot_entities, heads, arena, types, keys, entity_type, tag, new_tag):
    """Gives every declared entity that has a field another field: its tag follows, its history stays.

    Args:
        keys: int64[K, KEY_WORDS].
        entity_type: Of the field.
        tag: The field, not 0.
        new_tag: A tag that nobody has, not 0.

    Returns:
        Entities renamed. Touches every entity of the types that have such a field once. For erasure, which is rare.
    """
    renamed = 0
    for key in range(len(keys)):
        owner = keys[key, KEY_TYPE]
        if types[owner, TYPE_RETENTION_US] == 0:
            continue
        for index in range(keys[key, KEY_FIELDS]):
            if keys[key, KEY_ENTITY + index] != entity_type:
                continue
            base = types[owner, TYPE_ENTITY_BASE]
            for entity in range(base, base + types[owner, TYPE_USED]):
                offset = heads[entity, HEAD_REGISTERS]
                if heads[entity, HEAD_TAG] == 0 or offset == 0 or arena[offset + index] != tag:
                    continue
                arena[offset + index] = new_tag
                own = fields_tag(arena[offset:], keys[key, KEY_FIELDS])
                entity_rename(slot_tags, slot_entities, heads, types, owner, heads[entity, HEAD_TAG], own)
                renamed += 1
    return renamed
