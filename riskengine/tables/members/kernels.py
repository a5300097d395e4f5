"""Kernels of last-seen tables: which members were seen with an entity, when, and how many within a window.

The arrays are those of `tables.layout`, as in `tables.kernels`; ``word`` is the head word of a table's slab offset, the next one
holds its size class and its entries.

INVARIANTS: a table never holds more than its cap; at the cap the member unseen for longest is replaced and the entity flagged.
Called by `engine.fold.kernels`.
"""

import numpy as np

from riskengine.jit import kernel
from riskengine.tables.kernels import slab_grow, slab_take, slab_words
from riskengine.tables.layout import (
    ENTRY_COUNT,
    ENTRY_FIRST,
    ENTRY_LAST,
    ENTRY_TAG,
    FLAG_RELATION_FULL,
    HEAD_FLAGS,
    HEAD_LAST_TIME,
    HEAD_TAG,
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
    TYPE_ENTITY_BASE,
    TYPE_USED,
)


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
    """Counts the members last seen after a time; exact below the relation's cap. Reads one word of each entry.

    Args:
        word: The head word of the table's slab offset.
        since_us: The time, microseconds; a member last seen exactly then is not counted.
    """
    offset = heads[entity, word]
    count = heads[entity, word + 1] & META_COUNT_MASK
    seen = np.int64(0)
    for index in range(count):
        if arena[offset + index * RELATION_ENTRY_WORDS + ENTRY_LAST] > since_us:
            seen += 1
    return seen


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
