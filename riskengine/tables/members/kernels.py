"""Kernels of last-seen tables: which members were seen with an entity, when, and how many within a window.

The arrays are those of `tables.layout`, as in `tables.kernels`; ``word`` is the first head word of a table. A table is an
unordered list of (tag, last seen, first seen, count); a scan of 256 entries costs less than a cache miss or two of a hash table.

INVARIANTS: a table never holds more than its cap; while the members within its retention fit, every count over it is exact;
beyond it `tables.sampling.kernels` says what is kept and how far off an estimate is. A new member takes the place of one entry,
or none where it is late: a flood costs a few scans of a table for each event, never a rebuild. Neither the position of an entry
nor when one that matters no more is overwritten changes an answer. Called by `engine.fold.kernels`, `engine.erasure.kernels` and
`linkage.kernels`.
"""

import numpy as np

from riskengine.jit import kernel
from riskengine.tables.kernels import slab_grow, slab_take, slab_words
from riskengine.tables.layout import (
    COUNTER_NEWEST_US,
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
    NEVER_US,
    READ_COLUMN,
    READ_WINDOW_US,
    RELATION_ENTRIES_MAX,
    RELATION_ENTRY_WORDS,
    RELATION_KNOWN_US,
    RELATION_MEMBER,
    RELATION_META,
    RELATION_NEW_COLUMN,
    RELATION_READ,
    RELATION_READS,
    RELATION_RETENTION_US,
    RELATION_SAMPLE,
    RELATION_TYPE,
    RELATION_WORD,
    SAMPLE_LEVELS,
    SAMPLE_WORDS,
    TYPE_ENTITY_BASE,
    TYPE_USED,
)
from riskengine.tables.sampling.kernels import entry_matters, member_level, sample_give_up


@kernel(inline=True)
def relation_find(arena, offset, count, member):
    """Returns the position of a member among the entries, or -1. Reads one word of each."""
    for position in range(count):
        if arena[offset + position * RELATION_ENTRY_WORDS + ENTRY_TAG] == member:
            return np.int64(position)
    return np.int64(-1)


@kernel()
def relation_oldest(arena, offset, count):
    """Returns the position of the member unseen for longest, -1 where there is none. Reads one word of each."""
    oldest = np.int64(-1)
    for position in range(count):
        last = arena[offset + position * RELATION_ENTRY_WORDS + ENTRY_LAST]
        if oldest < 0 or last < arena[offset + oldest * RELATION_ENTRY_WORDS + ENTRY_LAST]:
            oldest = np.int64(position)
    return oldest


@kernel()
def relation_grow(heads, arena, free, counters, entity, word, count):
    """Gives a table a slab for one entry more than `count`; without room in the arena all stays as it is, counted.

    Returns:
        Whether there is one.
    """
    needed = (count + 1) * RELATION_ENTRY_WORDS
    if heads[entity, word] == 0:
        offset, size_class = slab_take(arena, free, counters, needed)
    else:
        size_class = heads[entity, word + RELATION_META] >> META_CLASS_SHIFT
        used = count * RELATION_ENTRY_WORDS
        offset, size_class = slab_grow(arena, free, counters, heads[entity, word], size_class, used, needed)
    if offset == 0:
        return False
    heads[entity, word] = offset
    heads[entity, word + RELATION_META] = (size_class << META_CLASS_SHIFT) | count
    return True


@kernel()
def relation_room(heads, arena, free, counters, entity, relation, member, time_us):
    """Finds the place of a new member: at the end, that of an entry that matters no more, or that of one given up.

    Args: as of `relation_touch`.

    Returns:
        A position whose entry may be overwritten, or -1 where the member does not get in.
    """
    word = relation[RELATION_WORD]
    meta = heads[entity, word + RELATION_META]
    count = meta & META_COUNT_MASK
    offset = heads[entity, word]
    room = np.int64(0)
    if offset != 0:
        room = min(slab_words(meta >> META_CLASS_SHIFT) // RELATION_ENTRY_WORDS, relation[RELATION_ENTRIES_MAX])
    if count >= room:
        expired_us = counters[COUNTER_NEWEST_US] - relation[RELATION_RETENTION_US]
        sample = heads[entity, word + RELATION_SAMPLE]
        for position in range(count):
            if not entry_matters(arena, offset + position * RELATION_ENTRY_WORDS, sample, expired_us):
                return np.int64(position)
        grown = count < relation[RELATION_ENTRIES_MAX] and relation_grow(
            heads, arena, free, counters, entity, word, count
        )
        if not grown:
            if offset != 0 and sample == 0:
                sample, _ = slab_take(arena, free, counters, np.int64(SAMPLE_WORDS))
                heads[entity, word + RELATION_SAMPLE] = sample
                if sample != 0:
                    arena[sample : sample + SAMPLE_LEVELS] = NEVER_US
            if sample == 0:
                heads[entity, HEAD_FLAGS] |= FLAG_RELATION_FULL
                return relation_oldest(arena, offset, count)
            return sample_give_up(arena, offset, count, sample, member, time_us)
    heads[entity, word + RELATION_META] += 1
    return count


@kernel(inline=True)
def relation_touch(heads, arena, free, counters, entity, relation, member, time_us):
    """Notes that `member` was seen with an entity.

    One scan of the entries for a member that is there, two for a new one of a full table, four if one has to be given up.

    Args:
        relation: int64[RELATION_WORDS], a row of the relations; its cap is at least 1.
        member: The other entity's tag, not 0.
        time_us: The event's time, microseconds, at most counters[COUNTER_NEWEST_US] and after its retention.

    Returns:
        1 if the pair was not seen within RELATION_KNOWN_US before the event, 0 if it was, -1 if it may have been given up since.
    """
    word = relation[RELATION_WORD]
    offset = heads[entity, word]
    sample = heads[entity, word + RELATION_SAMPLE]
    known_us = time_us - relation[RELATION_KNOWN_US]
    reach = np.int64(NEVER_US)
    if sample != 0:
        reach = arena[sample + member_level(member)]
    matters_us = max(counters[COUNTER_NEWEST_US] - relation[RELATION_RETENTION_US], reach)
    position = relation_find(arena, offset, heads[entity, word + RELATION_META] & META_COUNT_MASK, member)
    if position >= 0:
        entry = offset + position * RELATION_ENTRY_WORDS
        last = arena[entry + ENTRY_LAST]
        if last > matters_us:
            arena[entry + ENTRY_LAST] = max(last, time_us)
            arena[entry + ENTRY_FIRST] = min(arena[entry + ENTRY_FIRST], time_us)
            arena[entry + ENTRY_COUNT] += 1
            return np.int64(1) if last <= known_us else np.int64(0)
    if time_us > matters_us:
        if position < 0:
            position = relation_room(heads, arena, free, counters, entity, relation, member, time_us)
        if position >= 0:
            entry = heads[entity, word] + position * RELATION_ENTRY_WORDS
            arena[entry + ENTRY_TAG] = member
            arena[entry + ENTRY_LAST] = time_us
            arena[entry + ENTRY_FIRST] = time_us
            arena[entry + ENTRY_COUNT] = 1
    if reach > known_us or heads[entity, HEAD_FLAGS] & FLAG_RELATION_FULL != 0:
        return np.int64(-1)
    return np.int64(1)


@kernel(inline=True)
def relation_count(heads, arena, entity, word, since_us):
    """Counts the members last seen after a time, by the lowest level that is complete since then.

    Args:
        word: The first head word of the table.
        since_us: The time, microseconds, not before the table's retention; a member last seen exactly then is not counted.

    Returns:
        (count, level): exact at level 0, else an estimate; a lower bound where even the last level is incomplete.
        Reads one word of each entry at level 0, two else.
    """
    offset = heads[entity, word]
    count = heads[entity, word + RELATION_META] & META_COUNT_MASK
    sample = heads[entity, word + RELATION_SAMPLE]
    level = np.int64(0)
    if sample != 0:
        while level < SAMPLE_LEVELS - 1 and arena[sample + level] > since_us:
            level += 1
    seen = np.int64(0)
    for position in range(count):
        entry = offset + position * RELATION_ENTRY_WORDS
        if arena[entry + ENTRY_LAST] > since_us and (level == 0 or member_level(arena[entry + ENTRY_TAG]) >= level):
            seen += 1
    return seen << level, level


@kernel()
def relation_exceeds(heads, arena, entity, word, since_us, members_max):
    """Tells whether an entity was seen with more than so many members after a time.

    Those that the table holds are certain, so a full one tells of more than `members_max` whatever the estimate says.
    Costs no scan while the table never held as many, else up to two.

    Args: as of `relation_count`.
        members_max: Below the table's cap.
    """
    count = heads[entity, word + RELATION_META] & META_COUNT_MASK
    sample = heads[entity, word + RELATION_SAMPLE]
    if count <= members_max and sample == 0:
        return False
    certain = np.int64(0)
    for position in range(count):
        entry = heads[entity, word] + position * RELATION_ENTRY_WORDS
        if entry_matters(arena, entry, sample, since_us):
            certain += 1
    if certain > members_max or sample == 0:
        return certain > members_max
    estimate, _ = relation_count(heads, arena, entity, word, since_us)
    return estimate > members_max


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
            count = heads[entity, word + RELATION_META] & META_COUNT_MASK
            for index in range(count):
                entry = heads[entity, word] + index * RELATION_ENTRY_WORDS
                if arena[entry + ENTRY_TAG] == tag:
                    arena[entry + ENTRY_TAG] = new_tag
                    renamed += 1
    return renamed


@kernel(inline=True)
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
        features, valid: row `row` is written; whether a pair is new stays missing where that cannot be known.

    Returns:
        Whether an answer is an estimate: a table gave up members of the window, or the entity has been seen after this event.
    """
    approximate = False
    for relation in range(len(relations)):
        entity = entities[relations[relation, RELATION_TYPE]]
        member = tags[relations[relation, RELATION_MEMBER]]
        if entity < 0:
            continue
        if fold and member != 0:
            new = relation_touch(heads, arena, free, counters, entity, relations[relation], member, time_us)
            column = relations[relation, RELATION_NEW_COLUMN]
            if read and column >= 0:
                approximate = approximate or new < 0
                if new >= 0:
                    features[row, column] = float(new)
                    valid[row, column] = 1
        if not read:
            continue
        word = relations[relation, RELATION_WORD]
        first = relations[relation, RELATION_READ]
        for index in range(first, first + relations[relation, RELATION_READS]):
            seen, level = relation_count(heads, arena, entity, word, time_us - reads[index, READ_WINDOW_US])
            features[row, reads[index, READ_COLUMN]] = float(seen)
            valid[row, reads[index, READ_COLUMN]] = 1
            approximate = approximate or level > 0 or heads[entity, HEAD_LAST_TIME] > time_us
            approximate = approximate or (heads[entity, HEAD_FLAGS] & FLAG_RELATION_FULL) != 0
    return approximate
