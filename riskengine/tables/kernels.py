"""Kernels of the entity store: find or insert by tag, slabs, last-seen tables.

INVARIANTS: all are helpers that other kernels call once for each event, in event order; none allocates; every loop is bounded by
a table's size. Tags are int64 here (the bits of the uint64 tag), because numba turns mixed uint64 and int64 into float64.
Layout: `riskengine.tables.layout`. Called by `velocity.kernels`, `linkage.kernels`, `engine.kernels`.
"""

import numpy as np

from riskengine.jit import kernel
from riskengine.tables.layout import (
    CLASSES,
    COUNTER_ARENA_NEXT,
    COUNTER_ARENA_REFUSED,
    ENTRY_COUNT,
    ENTRY_FIRST,
    ENTRY_LAST,
    ENTRY_TAG,
    EVICTION_SAMPLE,
    FLAG_RELATION_FULL,
    HEAD_CURVE,
    HEAD_FIRST_TIME,
    HEAD_FLAGS,
    HEAD_LAST_TIME,
    HEAD_TAG,
    HEAD_TOUCHES,
    HEAD_WORDS,
    META_CLASS_SHIFT,
    META_COUNT_MASK,
    READ_COLUMN,
    READ_WINDOW_US,
    RELATION_ENTRIES_MAX,
    RELATION_ENTRY_WORDS,
    RELATION_MEMBER,
    RELATION_NEW_COLUMN,
    RELATION_READ,
    RELATION_READS,
    RELATION_TYPE,
    RELATION_WORD,
    SWEEP_PER_INSERT,
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
    """Returns the words of a slab; see `layout.class_words`."""
    half = size_class >> 1
    words = np.int64(8) << half
    if size_class & 1:
        words += np.int64(4) << half
    return words


@kernel()
def slab_take(arena, free, counters, words):
    """Takes the smallest slab of at least `words` words, zeroed.

    Returns:
        (offset, size class); offset 0 where the arena is used up, which is counted.
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
    """Gives a slab back, zeroed: equal states have equal bytes."""
    for word in range(offset, offset + slab_words(size_class)):
        arena[word] = 0
    arena[offset] = free[size_class]
    free[size_class] = offset


@kernel()
def slab_grow(arena, free, counters, offset, size_class, words_used, words_needed):
    """Moves `words_used` words to a slab of at least `words_needed`.

    Returns:
        (offset, size class) of the new slab, or (0, size_class) with the old one untouched.
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
    """Returns the slot at which the search for a tag starts. Tags are keyed hashes, so their bits need no more mixing."""
    return base + ((tag ^ (tag >> 32)) & mask)


@kernel()
def entity_find(slot_tags, slot_entities, types, type_index, tag):
    """Finds an entity.

    Returns:
        Its index in ``heads``, or -1.
    """
    base = types[type_index, TYPE_SLOT_BASE]
    mask = types[type_index, TYPE_SLOT_MASK]
    slot = slot_home(tag, base, mask)
    # INVARIANT: a region holds at most half as many entities as slots, so an empty slot ends the search.
    while slot_entities[slot] != 0:
        if slot_tags[slot] == tag:
            return np.int64(slot_entities[slot]) - 1
        slot = base + ((slot - base + 1) & mask)
    return np.int64(-1)


@kernel()
def slot_fill(slot_tags, slot_entities, types, type_index, tag, entity):
    """Writes a tag that is not there into the first free slot of its search."""
    base = types[type_index, TYPE_SLOT_BASE]
    mask = types[type_index, TYPE_SLOT_MASK]
    slot = slot_home(tag, base, mask)
    while slot_entities[slot] != 0:
        slot = base + ((slot - base + 1) & mask)
    slot_tags[slot] = tag
    slot_entities[slot] = entity + 1


@kernel()
def slot_delete(slot_tags, slot_entities, types, type_index, tag):
    """Removes a tag and shifts later ones back, so that no tombstone stays."""
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
    """Forgets an entity: its slot, its slabs, its head. The head joins the type's free list."""
    slot_delete(slot_tags, slot_entities, types, type_index, heads[entity, HEAD_TAG])
    for word in range(HEAD_CURVE, heads.shape[1], 2):
        # The curve's two words and each relation's two words; the node and flags pair between them owns no slab.
        owns_slab = word == HEAD_CURVE or word >= HEAD_WORDS
        if owns_slab and heads[entity, word] != 0:
            slab_give(arena, free, heads[entity, word], heads[entity, word + 1] >> META_CLASS_SHIFT)
    for word in range(heads.shape[1]):
        heads[entity, word] = 0
    heads[entity, HEAD_LAST_TIME] = types[type_index, TYPE_FREE]
    types[type_index, TYPE_FREE] = entity + 1
    types[type_index, TYPE_LIVE] -= 1


@kernel()
def entity_sweep(slot_tags, slot_entities, heads, arena, types, free, type_index, newest_us):
    """Checks the next few entities and forgets those idle for longer than the type's retention."""
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
    """Forgets the coldest of the next few entities: one seen once before one seen often, then the longest idle."""
    base = types[type_index, TYPE_ENTITY_BASE]
    used = types[type_index, TYPE_USED]
    victim = np.int64(-1)
    for step in range(min(EVICTION_SAMPLE, used)):
        entity = base + (types[type_index, TYPE_HAND] + step) % used
        if heads[entity, HEAD_TAG] == 0:
            continue
        if victim < 0:
            victim = entity
            continue
        single = heads[entity, HEAD_TOUCHES] <= 1
        victim_single = heads[victim, HEAD_TOUCHES] <= 1
        if single != victim_single:
            if single:
                victim = entity
        elif heads[entity, HEAD_LAST_TIME] < heads[victim, HEAD_LAST_TIME]:
            victim = entity
    types[type_index, TYPE_HAND] = (types[type_index, TYPE_HAND] + EVICTION_SAMPLE) % max(used, np.int64(1))
    if victim >= 0:
        entity_drop(slot_tags, slot_entities, heads, arena, types, free, type_index, victim)
        types[type_index, TYPE_EVICTED_COLD] += 1


@kernel()
def entity_touch(slot_tags, slot_entities, heads, arena, types, free, newest_us, type_index, tag, time_us):
    """Finds an entity or adds it.

    Args:
        newest_us: Newest event time folded so far, microseconds.
        type_index: Row of ``types``.
        tag: The entity's tag, not 0.
        time_us: The event's time, microseconds.

    Returns:
        Its index in ``heads``. A new one has HEAD_TOUCHES 0: the caller counts the touch when it has read the head.
    """
    entity = entity_find(slot_tags, slot_entities, types, type_index, tag)
    if entity >= 0:
        return entity
    entity_sweep(slot_tags, slot_entities, heads, arena, types, free, type_index, newest_us)
    if types[type_index, TYPE_LIVE] >= types[type_index, TYPE_ENTITIES_MAX]:
        entity_evict_cold(slot_tags, slot_entities, heads, arena, types, free, type_index)
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
    slot_fill(slot_tags, slot_entities, types, type_index, tag, entity)
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
    slot_delete(slot_tags, slot_entities, types, type_index, tag)
    slot_fill(slot_tags, slot_entities, types, type_index, new_tag, entity)
    heads[entity, HEAD_TAG] = new_tag
    return 1


@kernel()
def relations_rename(heads, arena, types, relations, member_type, tag, new_tag):
    """Gives a member another tag in every last-seen table that may hold it.

    Args:
        heads: int64[E, words].
        arena: int64[A].
        types: int64[T, TYPE_WORDS].
        relations: int64[R, RELATION_WORDS].
        member_type: The member's entity type.
        tag: The tag it has, not 0.
        new_tag: A tag that nobody has, not 0.

    Returns:
        Entries renamed. Reads every entry of those tables once: some 10 ms for a million. For erasure, which is rare.
    """
    renamed = 0
    for relation in range(len(relations)):
        if relations[relation, RELATION_MEMBER] != member_type:
            continue
        owner = relations[relation, RELATION_TYPE]
        word = relations[relation, RELATION_WORD]
        base = types[owner, TYPE_ENTITY_BASE]
        for entity in range(base, base + types[owner, TYPE_USED]):
            if heads[entity, HEAD_TAG] == 0:
                continue
            count = heads[entity, word + 1] & META_COUNT_MASK
            for index in range(count):
                entry = heads[entity, word] + index * RELATION_ENTRY_WORDS
                if arena[entry + ENTRY_TAG] == tag:
                    arena[entry + ENTRY_TAG] = new_tag
                    renamed += 1
    return renamed


@kernel()
def relation_touch(heads, arena, free, counters, entity, word, member, time_us, entries_max):
    """Notes that `member` was seen with an entity.

    A last-seen table is an unordered list of (tag, last seen, first seen, count); a scan of 256 entries costs less than a
    cache miss or two of a hash table. At `entries_max` the entry unseen for longest is replaced and the entity flagged.

    Args:
        word: The head word of this relation's slab offset.
        member: The other entity's tag, not 0.
        time_us: The event's time, microseconds.
        entries_max: The cap, at least 1.

    Returns:
        1 if the pair is new, else 0.
    """
    offset = heads[entity, word]
    count = heads[entity, word + 1] & META_COUNT_MASK
    size_class = heads[entity, word + 1] >> META_CLASS_SHIFT
    for index in range(count):
        entry = offset + index * RELATION_ENTRY_WORDS
        if arena[entry + ENTRY_TAG] == member:
            arena[entry + ENTRY_LAST] = max(arena[entry + ENTRY_LAST], time_us)
            arena[entry + ENTRY_FIRST] = min(arena[entry + ENTRY_FIRST], time_us)
            arena[entry + ENTRY_COUNT] += 1
            return np.int64(0)
    room = np.int64(0)
    if offset != 0:
        room = slab_words(size_class) // RELATION_ENTRY_WORDS
    if count < entries_max and count >= room:
        needed = (count + 1) * RELATION_ENTRY_WORDS
        if offset == 0:
            offset, size_class = slab_take(arena, free, counters, needed)
        else:
            grown, new_class = slab_grow(
                arena, free, counters, offset, size_class, count * RELATION_ENTRY_WORDS, needed
            )
            if grown != 0:
                offset = grown
                size_class = new_class
        heads[entity, word] = offset
        if offset == 0:
            return np.int64(1)
        room = slab_words(size_class) // RELATION_ENTRY_WORDS
    position = count
    if count >= entries_max or count >= room:
        heads[entity, HEAD_FLAGS] |= FLAG_RELATION_FULL
        position = np.int64(0)
        for index in range(1, count):
            oldest = arena[offset + position * RELATION_ENTRY_WORDS + ENTRY_LAST]
            if arena[offset + index * RELATION_ENTRY_WORDS + ENTRY_LAST] < oldest:
                position = np.int64(index)
    else:
        count += 1
    entry = offset + position * RELATION_ENTRY_WORDS
    arena[entry + ENTRY_TAG] = member
    arena[entry + ENTRY_LAST] = time_us
    arena[entry + ENTRY_FIRST] = time_us
    arena[entry + ENTRY_COUNT] = 1
    heads[entity, word + 1] = (size_class << META_CLASS_SHIFT) | count
    return np.int64(1)


@kernel()
def relation_count(heads, arena, entity, word, since_us):
    """Counts the members last seen after `since_us`, microseconds; exact below the relation's cap."""
    offset = heads[entity, word]
    count = heads[entity, word + 1] & META_COUNT_MASK
    seen = np.int64(0)
    for index in range(count):
        if arena[offset + index * RELATION_ENTRY_WORDS + ENTRY_LAST] > since_us:
            seen += 1
    return seen


@kernel()
def relations_event(
    heads, arena, free, counters, entities, tags, time_us, fold, read, relations, reads, features, valid, row
):
    """Folds one event into the last-seen tables of all its entities and answers what is asked of them.

    Args:
        entities: int64[entity types], index in ``heads`` of each entity of the event, -1 where it is absent.
        tags: int64[entity types], 0 where absent.
        fold: Whether the event is folded; a too late one only reads.
        read: Whether features are wanted.
        relations: int64[R, RELATION_WORDS].
        reads: int64[_, READ_WORDS].
        features, valid: row `row` is written.

    Returns:
        Whether an answer is an estimate: a table is full, or the entity has been seen after this event.
    """
    approximate = False
    for relation in range(len(relations)):
        entity = entities[relations[relation, RELATION_TYPE]]
        member = tags[relations[relation, RELATION_MEMBER]]
        if entity < 0:
            continue
        word = relations[relation, RELATION_WORD]
        if fold and member != 0:
            entries_max = relations[relation, RELATION_ENTRIES_MAX]
            new = relation_touch(heads, arena, free, counters, entity, word, member, time_us, entries_max)
            column = relations[relation, RELATION_NEW_COLUMN]
            if read and column >= 0:
                features[row, column] = float(new)
                valid[row, column] = 1
        if not read:
            continue
        first = relations[relation, RELATION_READ]
        for index in range(first, first + relations[relation, RELATION_READS]):
            seen = relation_count(heads, arena, entity, word, time_us - reads[index, READ_WINDOW_US])
            features[row, reads[index, READ_COLUMN]] = float(seen)
            valid[row, reads[index, READ_COLUMN]] = 1
            approximate = approximate or (heads[entity, HEAD_FLAGS] & FLAG_RELATION_FULL) != 0
            approximate = approximate or heads[entity, HEAD_LAST_TIME] > time_us
    return approximate
