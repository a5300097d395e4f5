"""Kernels of the entity store: slabs of the arena, and entities found or added by tag.

The arrays are those of `tables.layout`, under the same names in every kernel: ``slot_tags int64[S]``,
``slot_entities int32[S]``, ``heads int64[E, H]``, ``arena int64[A]``, ``types int64[T, TYPE_WORDS]``,
``free int64[CLASSES]``, ``counters int64[COUNTER_WORDS]``, all written in place. An ``entity`` is a row of ``heads``, a
``type_index`` a row of ``types``, an ``offset`` a word of ``arena``.

INVARIANTS: all are helpers that other kernels call once for each event, in event order; none allocates; every loop is bounded by
a table's size. Tags are int64 here (the bits of the uint64 tag), because numba turns mixed uint64 and int64 into float64.
Called by `tables.members.kernels`, `velocity.kernels` and `engine.fold.kernels`.
"""

import numpy as np

from riskengine.jit import kernel
from riskengine.tables.layout import (
    CLASSES,
    COUNTER_ARENA_NEXT,
    COUNTER_ARENA_REFUSED,
    EVICTION_LOOK_MAX,
    EVICTION_SAMPLE,
    HEAD_CURVE,
    HEAD_FIRST_TIME,
    HEAD_LAST_TIME,
    HEAD_REGISTERS,
    HEAD_TAG,
    HEAD_TOUCHES,
    HEAD_WORDS,
    META_CLASS_SHIFT,
    PROBE_MAX,
    RELATION_HEAD_WORDS,
    RELATION_META,
    RELATION_SAMPLE,
    SAMPLE_CLASS,
    SWEEP_PER_INSERT,
    TYPE_CROWDED,
    TYPE_ENTITIES_MAX,
    TYPE_ENTITY_BASE,
    TYPE_EVICTED_COLD,
    TYPE_EVICTED_IDLE,
    TYPE_FREE,
    TYPE_HAND,
    TYPE_LIVE,
    TYPE_RETENTION_US,
    TYPE_SLOT_BASE,
    TYPE_SLOT_MASK,
    TYPE_USED,
)


@kernel(inline=True)
def slab_words(size_class):
    """Returns the words of a slab of a size class, 0 to CLASSES - 1: 8, 12, 16, 24, 32, 48 … No memory is touched."""
    half = size_class >> 1
    words = np.int64(8) << half
    if size_class & 1:
        words += np.int64(4) << half
    return words


@kernel()
def slab_take(arena, free, counters, words):
    """Takes the smallest slab of at least `words` words, zeroed: a freed one, else the next of the arena.

    At most CLASSES steps and two touches of memory.

    Args:
        words: Words wanted, int64, at least 1.

    Returns:
        (offset, size class); offset 0 where the arena is used up or `words` is beyond the largest class, which is counted.
    """
    size_class = np.int64(0)
    while slab_words(size_class) < words:
        size_class += 1
    if size_class >= CLASSES:
        counters[COUNTER_ARENA_REFUSED] += 1
        return np.int64(0), size_class
    offset = free[size_class]
    if offset != 0:
        free[size_class] = arena[offset]
        arena[offset] = 0
        return offset, size_class
    offset = counters[COUNTER_ARENA_NEXT]
    if offset + slab_words(size_class) > len(arena):
        counters[COUNTER_ARENA_REFUSED] += 1
        return np.int64(0), size_class
    counters[COUNTER_ARENA_NEXT] = offset + slab_words(size_class)
    return offset, size_class


@kernel()
def slab_give(arena, free, offset, size_class):
    """Gives a slab back, zeroed: equal states have equal bytes. Writes every word of it once.

    Args:
        offset: Of the slab, not 0; it becomes the first free one of its class.
        size_class: Of the slab.
    """
    for word in range(offset, offset + slab_words(size_class)):
        arena[word] = 0
    arena[offset] = free[size_class]
    free[size_class] = offset


@kernel()
def slab_grow(arena, free, counters, offset, size_class, words_used, words_needed):
    """Moves what a slab holds to a larger one and gives the old one back. Touches `words_used` words and the old slab.

    Args:
        offset: Of the slab, not 0.
        size_class: Of the slab.
        words_used: Words to keep, at most those of the slab.
        words_needed: Words the new slab has at least, more than those of the old one.

    Returns:
        (offset, size class) of the new slab, or (0, size_class) with the old one untouched where the arena is used up.
    """
    new_offset, new_class = slab_take(arena, free, counters, words_needed)
    if new_offset == 0:
        return np.int64(0), size_class
    for word in range(words_used):
        arena[new_offset + word] = arena[offset + word]
    slab_give(arena, free, offset, size_class)
    return new_offset, new_class


@kernel(inline=True)
def slot_home(tag, base, mask):
    """Returns the slot at which the search for a tag starts. Tags are keyed hashes, so their bits need no more mixing.

    Args:
        tag: Not 0.
        base: First slot of the type's region.
        mask: Slots of the region, a power of two, less one.
    """
    return base + ((tag ^ (tag >> 32)) & mask)


@kernel(inline=True)
def entity_find(slot_tags, slot_entities, types, type_index, tag):
    """Finds an entity by linear probing: a cache miss or two, for regions are at most half full; PROBE_MAX slots at the most.

    Args:
        tag: Not 0.

    Returns:
        Its row of ``heads``, or -1 where it is unknown.
    """
    base = types[type_index, TYPE_SLOT_BASE]
    mask = types[type_index, TYPE_SLOT_MASK]
    slot = slot_home(tag, base, mask)
    # INVARIANT: no tag lies PROBE_MAX or more slots behind its home: none is filled in there, and deletion moves tags homewards.
    for _ in range(PROBE_MAX):
        if slot_entities[slot] == 0:
            break
        if slot_tags[slot] == tag:
            return np.int64(slot_entities[slot]) - 1
        slot = base + ((slot - base + 1) & mask)
    return np.int64(-1)


@kernel()
def slot_free(slot_entities, types, type_index, tag):
    """Returns the first free slot of a tag's search, or -1 where the first PROBE_MAX are taken."""
    base = types[type_index, TYPE_SLOT_BASE]
    mask = types[type_index, TYPE_SLOT_MASK]
    slot = slot_home(tag, base, mask)
    for _ in range(PROBE_MAX):
        if slot_entities[slot] == 0:
            return slot
        slot = base + ((slot - base + 1) & mask)
    return np.int64(-1)


@kernel()
def slot_delete(slot_tags, slot_entities, types, type_index, tag):
    """Removes a tag and shifts later ones back, so that no tombstone stays. Touches the run of slots behind it.

    Args:
        tag: Of an entity that is there.
    """
    base = types[type_index, TYPE_SLOT_BASE]
    mask = types[type_index, TYPE_SLOT_MASK]
    slot = slot_home(tag, base, mask)
    while slot_tags[slot] != tag or slot_entities[slot] == 0:
        slot = base + ((slot - base + 1) & mask)
    hole = slot
    slot = base + ((slot - base + 1) & mask)
    while slot_entities[slot] != 0:
        home = slot_home(slot_tags[slot], base, mask)
        # The entry may move into the hole unless its home lies cyclically within (hole, slot].
        if ((slot - home) & mask) >= ((slot - hole) & mask):
            slot_tags[hole] = slot_tags[slot]
            slot_entities[hole] = slot_entities[slot]
            hole = slot
        slot = base + ((slot - base + 1) & mask)
    slot_tags[hole] = 0
    slot_entities[hole] = 0


@kernel()
def entity_drop(slot_tags, slot_entities, heads, arena, types, free, type_index, entity):
    """Forgets an entity: its slot, its slabs, its head, zeroed but for the link of the type's free heads.

    Touches every word of its head and of its slabs. Its node of the linkage stays: a component outlives its members.

    Args:
        entity: A live one of the type.
    """
    slot_delete(slot_tags, slot_entities, types, type_index, heads[entity, HEAD_TAG])
    for word in (HEAD_CURVE, HEAD_REGISTERS):
        if heads[entity, word] != 0:
            slab_give(arena, free, heads[entity, word], heads[entity, word + 1] >> META_CLASS_SHIFT)
    for word in range(HEAD_WORDS, heads.shape[1], RELATION_HEAD_WORDS):
        if heads[entity, word] != 0:
            slab_give(arena, free, heads[entity, word], heads[entity, word + RELATION_META] >> META_CLASS_SHIFT)
        if heads[entity, word + RELATION_SAMPLE] != 0:
            slab_give(arena, free, heads[entity, word + RELATION_SAMPLE], SAMPLE_CLASS)
    for word in range(heads.shape[1]):
        heads[entity, word] = 0
    heads[entity, HEAD_LAST_TIME] = types[type_index, TYPE_FREE]
    types[type_index, TYPE_FREE] = entity + 1
    types[type_index, TYPE_LIVE] -= 1


@kernel()
def entity_sweep(slot_tags, slot_entities, heads, arena, types, free, type_index, newest_us):
    """Checks the next SWEEP_PER_INSERT entities of a type and forgets those idle for longer than its retention.

    Args:
        newest_us: Newest event time folded so far, microseconds.
    """
    base = types[type_index, TYPE_ENTITY_BASE]
    used = types[type_index, TYPE_USED]
    for _ in range(min(SWEEP_PER_INSERT, used)):
        hand = types[type_index, TYPE_HAND]
        if hand >= used:
            hand = np.int64(0)
        types[type_index, TYPE_HAND] = hand + 1
        entity = base + hand
        live = heads[entity, HEAD_TAG] != 0
        if live and heads[entity, HEAD_LAST_TIME] < newest_us - types[type_index, TYPE_RETENTION_US]:
            entity_drop(slot_tags, slot_entities, heads, arena, types, free, type_index, entity)
            types[type_index, TYPE_EVICTED_IDLE] += 1


@kernel()
def entity_evict_cold(slot_tags, slot_entities, heads, arena, types, free, type_index):
    """Forgets the coldest of the next EVICTION_SAMPLE entities: one seen once before one seen often, then the longest idle.

    Where none of them was seen once, the search goes on to the first that was, EVICTION_LOOK_MAX entities in all: a flood of new
    keys then pushes out its own, for at least one of so many neighbours soon is one of them. Touches the heads looked at.
    Nothing is forgotten where all of them are free.
    """
    base = types[type_index, TYPE_ENTITY_BASE]
    used = types[type_index, TYPE_USED]
    hand = types[type_index, TYPE_HAND]
    victim = np.int64(-1)
    victim_single = False
    looked = np.int64(0)
    while looked < used and (looked < EVICTION_SAMPLE or (looked < EVICTION_LOOK_MAX and not victim_single)):
        entity = base + (hand + looked) % used
        looked += 1
        if heads[entity, HEAD_TAG] == 0:
            continue
        single = heads[entity, HEAD_TOUCHES] <= 1
        colder = victim < 0 or heads[entity, HEAD_LAST_TIME] < heads[victim, HEAD_LAST_TIME]
        if (single and not victim_single) or (single == victim_single and colder):
            victim = entity
            victim_single = single
    types[type_index, TYPE_HAND] = (hand + looked) % max(used, np.int64(1))
    if victim >= 0:
        entity_drop(slot_tags, slot_entities, heads, arena, types, free, type_index, victim)
        types[type_index, TYPE_EVICTED_COLD] += 1


@kernel(inline=True)
def entity_touch(slot_tags, slot_entities, heads, arena, types, free, newest_us, type_index, tag, time_us):
    """Finds an entity or adds it.

    Args:
        newest_us: Newest event time folded so far, microseconds.
        type_index: Row of ``types``.
        tag: The entity's tag, not 0.
        time_us: The event's time, microseconds.

    Returns:
        Its index in ``heads``. A new one has HEAD_TOUCHES 0: the caller counts the touch when it has read the head. -1 where so
        many tags lie around the new one's home that it is not kept, which is counted: tags are keyed hashes, so half a full
        region does that to one in 10**11, and whoever could choose tags slows nobody.
    """
    entity = entity_find(slot_tags, slot_entities, types, type_index, tag)
    if entity >= 0:
        return entity
    entity_sweep(slot_tags, slot_entities, heads, arena, types, free, type_index, newest_us)
    if types[type_index, TYPE_LIVE] >= types[type_index, TYPE_ENTITIES_MAX]:
        entity_evict_cold(slot_tags, slot_entities, heads, arena, types, free, type_index)
    slot = slot_free(slot_entities, types, type_index, tag)
    if slot < 0:
        types[type_index, TYPE_CROWDED] += 1
        return np.int64(-1)
    # INVARIANT: a full region's sample holds only live heads, so the eviction above freed one.
    if types[type_index, TYPE_FREE] != 0:
        entity = types[type_index, TYPE_FREE] - 1
        types[type_index, TYPE_FREE] = heads[entity, HEAD_LAST_TIME]
    else:
        entity = types[type_index, TYPE_ENTITY_BASE] + types[type_index, TYPE_USED]
        types[type_index, TYPE_USED] += 1
    types[type_index, TYPE_LIVE] += 1
    heads[entity, HEAD_TAG] = tag
    heads[entity, HEAD_LAST_TIME] = time_us
    heads[entity, HEAD_FIRST_TIME] = time_us
    slot_tags[slot] = tag
    slot_entities[slot] = entity + 1
    return entity


@kernel()
def entity_rename(slot_tags, slot_entities, heads, types, type_index, tag, new_tag):
    """Gives an entity another tag; its history stays.

    Args:
        slot_tags: int64[S].
        slot_entities: int32[S].
        heads: int64[E, words].
        types: int64[T, TYPE_WORDS].
        type_index: Row of ``types``.
        tag: The tag it has, not 0.
        new_tag: A tag that no entity of the type has, not 0.

    Returns:
        1 if there was such an entity, else 0. Costs two searches.
    """
    entity = entity_find(slot_tags, slot_entities, types, type_index, tag)
    if entity < 0 or entity_find(slot_tags, slot_entities, types, type_index, new_tag) >= 0:
        return 0
    slot = slot_free(slot_entities, types, type_index, new_tag)
    if slot < 0:
        return 0
    slot_tags[slot] = new_tag
    slot_entities[slot] = entity + 1
    heads[entity, HEAD_TAG] = new_tag
    slot_delete(slot_tags, slot_entities, types, type_index, tag)
    return 1
