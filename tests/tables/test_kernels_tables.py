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


def relation(*, entries_max: int) -> np.ndarray:
    """Returns the row of the store's only relation."""
    row = np.zeros(layout.RELATION_WORDS, np.int64)
    row[layout.RELATION_WORD], row[layout.RELATION_ENTRIES_MAX] = layout.HEAD_WORDS, entries_max
    row[layout.RELATION_RETENTION_US] = row[layout.RELATION_KNOWN_US] = RETENTION_US
    return row


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
    """An entity unseen for the retention of event time is forgotten, and its slabs are given back, zeroed but for the links."""
    store = new_store(64)
    old = touch(store, 7, 0)
    word = layout.HEAD_WORDS
    store.counters[layout.COUNTER_NEWEST_US] = 5
    for member in range(1, 6):
        relations.relation_touch(
            store.heads, store.arena, store.free, store.counters, old, relation(entries_max=4), member, member
        )
    offset, sample = int(store.heads[old, word]), int(store.heads[old, word + layout.RELATION_SAMPLE])
    for key in range(100, 110):
        touch(store, key, RETENTION_US + SECOND_US)

    found = kernels.entity_find(store.slot_tags, store.slot_entities, store.types, 0, 7)

    assert found == -1
    assert store.types[0, layout.TYPE_EVICTED_IDLE] == 1
    assert 0 not in (offset, sample)
    assert {offset, sample} <= set(store.free.tolist())
    assert not store.arena[: store.counters[layout.COUNTER_ARENA_NEXT]].any()


def test_used_up_arena_is_counted_and_breaks_nothing() -> None:
    """Without a slab an entity keeps what it has; nothing is written out of bounds."""
    store = new_store(16)
    arena = np.zeros(20, np.int64)
    entity = touch(store, 1, 0)
    told = []
    for member in range(1, 9):
        store.counters[layout.COUNTER_NEWEST_US] = member
        told.append(
            relations.relation_touch(
                store.heads, arena, store.free, store.counters, entity, relation(entries_max=8), member, member
            )
        )

    offset, count = store.heads[entity, layout.HEAD_WORDS], store.heads[entity, layout.HEAD_WORDS + 1] & 0xFFFF
    assert store.counters[layout.COUNTER_ARENA_REFUSED] > 0
    assert {7, 8} == set(arena[offset : offset + 4 * count : 4].tolist()), "those seen last"
    assert store.heads[entity, layout.HEAD_FLAGS] & layout.FLAG_RELATION_FULL
    assert [1, 1, -1] == [told[0], told[1], told[-1]], "nobody can tell any more"


def test_search_is_bounded_where_every_tag_has_one_home() -> None:
    """Goal: chosen tags cost no more than PROBE_MAX looks each. Method: 300 of one home; those that are kept are found again."""
    limits = EngineLimits(entities_max=1_000, arena_mib=1, recent_decisions_max=16)
    store = create_store(retentions_us=[10**12], relation_count_max=0, limits=limits)
    tags = [(number << 32) | (number ^ 77) for number in range(1, 301)]

    entities = [
        kernels.entity_touch(
            store.slot_tags, store.slot_entities, store.heads, store.arena, store.types, store.free, 0, 0, tag, number
        )
        for number, tag in enumerate(tags)
    ]

    assert layout.PROBE_MAX == sum(entity >= 0 for entity in entities)
    assert 300 - layout.PROBE_MAX == store.types[0, layout.TYPE_CROWDED]
    found = [kernels.entity_find(store.slot_tags, store.slot_entities, store.types, 0, tag) for tag in tags]
    assert entities == found
    kernels.entity_drop(
        store.slot_tags, store.slot_entities, store.heads, store.arena, store.types, store.free, 0, entities[5]
    )
    left = [kernels.entity_find(store.slot_tags, store.slot_entities, store.types, 0, tag) for tag in tags]
    assert [-1 if row == 5 else entity for row, entity in enumerate(entities)] == left
