"""The entity store against a dict, through growth, eviction and forgetting."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from riskengine.limits import EngineLimits
from riskengine.tables import kernels, layout
from riskengine.tables.members import kernels as relations
from riskengine.tables.store import Store, create_store

SECOND_US = 1_000_000
RETENTION_US = 1000 * SECOND_US


def new_store(entities_max: int) -> Store:
    """Returns a store of one entity type with one relation."""
    limits = EngineLimits(entities_max=entities_max, arena_mib=1, recent_decisions_max=16)
    return create_store(retentions_us=[RETENTION_US], relation_count_max=1, limits=limits)


def touch(store: Store, tag: int, time_us: int) -> int:
    """Touches an entity as the fold does."""
    entity = kernels.entity_touch(
        store.slot_tags,
        store.slot_entities,
        store.heads,
        store.arena,
        store.types,
        store.free,
        time_us,
        0,
        tag,
        time_us,
    )
    store.heads[entity, layout.HEAD_TOUCHES] += 1
    store.heads[entity, layout.HEAD_LAST_TIME] = max(store.heads[entity, layout.HEAD_LAST_TIME], time_us)
    return int(entity)


# Tags that share their low bits, so that long runs form, wrap around and are shifted back.
TAGS = st.integers(1, 40).map(lambda n: (n % 5) * 2**40 + (n // 5) % 3 + (2**5 - 2))


@given(operations=st.lists(st.tuples(st.booleans(), TAGS), max_size=120))
def test_find_agrees_with_a_dict_through_deletes(operations: list[tuple[bool, int]]) -> None:
    """Whatever is added and dropped, exactly the live tags are found, each at its own head."""
    store = new_store(32)
    alive: dict[int, int] = {}
    for add, tag in operations:
        if add:
            alive[tag] = touch(store, tag, SECOND_US)
        elif tag in alive:
            kernels.entity_drop(
                store.slot_tags,
                store.slot_entities,
                store.heads,
                store.arena,
                store.types,
                store.free,
                0,
                alive.pop(tag),
            )

        for known in {tag for _, tag in operations}:
            found = kernels.entity_find(store.slot_tags, store.slot_entities, store.types, 0, known)
            assert alive.get(known, -1) == found
    assert len(alive) == store.types[0, layout.TYPE_LIVE]


def test_entities_seen_once_leave_before_one_seen_often() -> None:
    """A flood of new keys evicts other new keys, not a victim with a history."""
    store = new_store(16)
    for second in range(5):
        touch(store, 1000, second * SECOND_US)
    for key in range(2000, 2400):
        touch(store, key, 6 * SECOND_US)

    found = kernels.entity_find(store.slot_tags, store.slot_entities, store.types, 0, 1000)

    assert found >= 0
    assert store.types[0, layout.TYPE_LIVE] == 16
    assert store.types[0, layout.TYPE_EVICTED_COLD] == 385


def test_idle_entities_are_swept_as_others_come() -> None:
    """An entity unseen for the retention of event time is forgotten, and its slab is given back zeroed."""
    store = new_store(64)
    old = touch(store, 7, 0)
    word = layout.HEAD_WORDS
    relations.relation_touch(store.heads, store.arena, store.free, store.counters, old, word, 99, 0, 8)
    offset = int(store.heads[old, word])
    for key in range(100, 110):
        touch(store, key, RETENTION_US + SECOND_US)

    found = kernels.entity_find(store.slot_tags, store.slot_entities, store.types, 0, 7)

    assert found == -1
    assert store.types[0, layout.TYPE_EVICTED_IDLE] == 1
    assert not store.arena[offset : offset + 8].any()


@given(
    seen=st.lists(st.tuples(st.integers(1, 9), st.integers(0, 50)), min_size=1, max_size=60),
    since=st.integers(-1, 50),
)
def test_relation_counts_members_seen_after_a_time(seen: list[tuple[int, int]], since: int) -> None:
    """Below the cap the count is exact, and a touch tells whether the pair is new."""
    store = new_store(4)
    entity = touch(store, 1, 0)
    last: dict[int, int] = {}
    for member, time in seen:
        new = relations.relation_touch(
            store.heads, store.arena, store.free, store.counters, entity, layout.HEAD_WORDS, member, time, 16
        )
        assert new == (member not in last)
        last[member] = max(last.get(member, -1), time)

    count = relations.relation_count(store.heads, store.arena, entity, layout.HEAD_WORDS, since)

    assert sum(time > since for time in last.values()) == count


def test_full_relation_replaces_the_member_unseen_for_longest_and_says_so() -> None:
    """At the cap the newest members stay, the entity is flagged, and no slab grows further."""
    store = new_store(4)
    entity = touch(store, 1, 0)
    for member in range(1, 11):
        relations.relation_touch(
            store.heads, store.arena, store.free, store.counters, entity, layout.HEAD_WORDS, member, member, 4
        )

    offset = int(store.heads[entity, layout.HEAD_WORDS])
    members = {int(store.arena[offset + 4 * index]) for index in range(4)}

    assert members == {7, 8, 9, 10}
    assert store.heads[entity, layout.HEAD_FLAGS] & layout.FLAG_RELATION_FULL


def test_used_up_arena_is_counted_and_breaks_nothing() -> None:
    """Without a slab an entity keeps what it has; nothing is written out of bounds."""
    store = new_store(16)
    arena = np.zeros(20, np.int64)
    entity = touch(store, 1, 0)
    for member in range(1, 9):
        relations.relation_touch(
            store.heads, arena, store.free, store.counters, entity, layout.HEAD_WORDS, member, member, 8
        )

    assert store.counters[layout.COUNTER_ARENA_REFUSED] > 0
    assert store.heads[entity, layout.HEAD_WORDS + 1] & layout.META_COUNT_MASK <= 4
