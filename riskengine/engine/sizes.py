"""The bytes of a state by entity type: what is remembered of whom, and what it takes.

Counted by NumPy over the heads: no object for each entity, one pass over the heads and one walk over the free slabs.

INVARIANTS: nothing is changed. Every word of the arena that was ever used, but the first, is part of an entity's slab or of
a free one: that is asserted, so a count that misses something ends loudly.

Called by the command `state size`, by `engine.estimate` and by tests.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from riskengine.engine.features import FeatureSet
from riskengine.engine.state import State
from riskengine.linkage.layout import NODE_WORDS
from riskengine.tables import layout
from riskengine.types import Ints
from riskengine.velocity.layout import PROFILE_EXTREMES, PROFILE_ROWS_MAX, PROFILE_SUMS, PROFILE_TYPE

WORD_BYTES: Final = 8
HEAD_BYTES: Final = layout.HEAD_WORDS * WORD_BYTES
"""Of an entity, before what its last-seen tables add."""
NODE_BYTES: Final = NODE_WORDS * WORD_BYTES
MEMBER_BYTES: Final = layout.RELATION_ENTRY_WORDS * WORD_BYTES
SAMPLE_BYTES: Final = layout.SAMPLE_WORDS * WORD_BYTES
SLOT_BYTES: Final = 12
"""A tag and the index of its entity."""
SLAB_WORDS: Final = np.array([(8 << (each >> 1)) + (each & 1) * (4 << (each >> 1)) for each in range(layout.CLASSES)])
"""int64[CLASSES], words of a slab by size class, as `tables.kernels.slab_words` has them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TypeSizes:
    """One entity type.

    Attributes:
        entity: Its name.
        live: Entities remembered.
        live_max: At most so many.
        head_bytes: Of all heads that were ever used.
        slot_bytes: Of the region that finds an entity by its tag; reserved for `live_max`.
        curve_bytes: Slabs of the curves.
        curve_rows: Rows in use, the base of each curve included.
        register_bytes: Slabs of the registers: declared keys, rates, places.
        table_bytes: Slabs of the last-seen tables and their samples.
        members: Members in them.
        evicted_idle: Entities forgotten since they were idle for longer than anything asks.
        evicted_cold: Entities forgotten since there was no room.
        thinned: Entities whose curve was thinned.
        tables_full: Entities of which a last-seen table was full.
    """

    entity: str
    live: int
    live_max: int
    head_bytes: int
    slot_bytes: int
    curve_bytes: int
    curve_rows: int
    register_bytes: int
    table_bytes: int
    members: int
    evicted_idle: int
    evicted_cold: int
    thinned: int
    tables_full: int

    @property
    def total_bytes(self) -> int:
        """All of it."""
        return self.head_bytes + self.slot_bytes + self.curve_bytes + self.register_bytes + self.table_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class StateSizes:
    """A whole state.

    Attributes:
        types: By entity type, those that are kept.
        nodes: Entities that were ever linked.
        node_bytes: Of their nodes.
        nodes_refused: Links not made for want of a node.
        recent_bytes: Of the recent decisions, reserved at start.
        arena_bytes: Of the arena, all of it.
        arena_used_bytes: Slabs of entities.
        arena_free_bytes: Slabs given back, to be used again.
        free_slabs: (bytes of a slab, slabs) given back, by size class, without those of none.
        arena_refused: Slabs not given for want of room.
        thinnings: How often a curve was thinned.
        late_dropped: Events scored and not folded, for they came too late.
    """

    types: tuple[TypeSizes, ...]
    nodes: int
    node_bytes: int
    nodes_refused: int
    recent_bytes: int
    arena_bytes: int
    arena_used_bytes: int
    arena_free_bytes: int
    free_slabs: tuple[tuple[int, int], ...]
    arena_refused: int
    thinnings: int
    late_dropped: int

    @property
    def total_bytes(self) -> int:
        """What is in use, the slabs that were given back included."""
        return (
            sum(each.total_bytes for each in self.types) + self.arena_free_bytes + self.node_bytes + self.recent_bytes
        )


def measure_state(state: State, features: FeatureSet) -> StateSizes:
    """Counts a state.

    Args:
        state: May hold anything that a fold makes.
        features: That it was folded under.
    """
    counters, arena = state.store.counters, state.store.arena
    types = tuple(
        _measure_type(state, features, entity, index)
        for entity, index in features.keys.types.items()
        if state.store.types[index, layout.TYPE_RETENTION_US]
    )
    free = _free_slabs(arena, state.store.free)
    free_bytes = sum(each * count for each, count in free)
    used_bytes = sum(each.curve_bytes + each.register_bytes + each.table_bytes for each in types)
    ever_bytes = (int(counters[layout.COUNTER_ARENA_NEXT]) - 1) * WORD_BYTES
    assert used_bytes + free_bytes == ever_bytes, "a slab belongs to one entity or is free"
    nodes = int(counters[layout.COUNTER_NODES])
    return StateSizes(
        types=types,
        nodes=nodes,
        node_bytes=nodes * NODE_BYTES,
        nodes_refused=int(counters[layout.COUNTER_NODES_REFUSED]),
        recent_bytes=state.seen_times.nbytes + sum(each.nbytes for each in state.recent.arrays().values()),
        arena_bytes=arena.nbytes,
        arena_used_bytes=used_bytes,
        arena_free_bytes=free_bytes,
        free_slabs=free,
        arena_refused=int(counters[layout.COUNTER_ARENA_REFUSED]),
        thinnings=int(counters[layout.COUNTER_THINNED]),
        late_dropped=int(counters[layout.COUNTER_LATE_DROPPED]),
    )


def _measure_type(state: State, features: FeatureSet, entity: str, index: int) -> TypeSizes:
    kept = state.store.types[index]
    base, used = int(kept[layout.TYPE_ENTITY_BASE]), int(kept[layout.TYPE_USED])
    heads = state.store.heads[base : base + used]
    heads = heads[heads[:, layout.HEAD_TAG] != 0]
    curve_bytes, curve_rows = _slabs(heads, layout.HEAD_CURVE)
    register_bytes, _ = _slabs(heads, layout.HEAD_REGISTERS)
    words = own_table_words(features, entity)
    tables = [_slabs(heads, word) for word in words]
    samples = sum(int(np.count_nonzero(heads[:, word + layout.RELATION_SAMPLE])) for word in words)
    flags = heads[:, layout.HEAD_FLAGS]
    return TypeSizes(
        entity=entity,
        live=int(kept[layout.TYPE_LIVE]),
        live_max=int(kept[layout.TYPE_ENTITIES_MAX]),
        head_bytes=used * heads.shape[1] * WORD_BYTES,
        slot_bytes=(int(kept[layout.TYPE_SLOT_MASK]) + 1) * SLOT_BYTES,
        curve_bytes=curve_bytes,
        curve_rows=curve_rows,
        register_bytes=register_bytes,
        table_bytes=sum(each for each, _ in tables) + samples * SAMPLE_BYTES,
        members=sum(each for _, each in tables),
        evicted_idle=int(kept[layout.TYPE_EVICTED_IDLE]),
        evicted_cold=int(kept[layout.TYPE_EVICTED_COLD]),
        thinned=int(np.count_nonzero(flags & layout.FLAG_THINNED)),
        tables_full=int(np.count_nonzero(flags & layout.FLAG_RELATION_FULL)),
    )


def _slabs(heads: Ints, word: int) -> tuple[int, int]:
    """Returns the bytes of the slabs that a word of the heads points to, and the rows or entries in them."""
    metas = heads[heads[:, word] != 0, word + 1]
    slab_bytes = SLAB_WORDS[metas >> layout.META_CLASS_SHIFT] * WORD_BYTES
    return int(slab_bytes.sum()), int((metas & layout.META_COUNT_MASK).sum())


def _free_slabs(arena: Ints, free: Ints) -> tuple[tuple[int, int], ...]:
    """Walks the chains of free slabs: some 0.1 s for a million."""
    words = arena.data
    found = []
    for size_class, first in enumerate(free.tolist()):
        count, offset = 0, first
        while offset:
            count, offset = count + 1, words[offset]
        if count:
            found.append((int(SLAB_WORDS[size_class]) * WORD_BYTES, count))
    return tuple(found)


def own_table_words(features: FeatureSet, entity: str) -> list[int]:
    """Returns the head words of an entity type's last-seen tables."""
    return [word for (owner, _), word in features.relations.words.items() if owner == entity]


def curve_width(profile: Ints) -> int:
    """Returns the words of a row of a profile's curve; `profile` is int64[PROFILE_WORDS]."""
    return int(1 + profile[PROFILE_SUMS] + profile[PROFILE_EXTREMES])


def curve_layout(features: FeatureSet, entity: str) -> tuple[int, int]:
    """Returns the bytes of a row of an entity type's curve and the most rows of one; (0, 0) without a curve."""
    for profile in features.velocity.profiles:
        if profile[PROFILE_TYPE] == features.keys.types[entity]:
            return curve_width(profile) * WORD_BYTES, int(profile[PROFILE_ROWS_MAX])
    return 0, 0


def table_caps(features: FeatureSet, entity: str) -> dict[str, int]:
    """Returns the most members of each last-seen table of an entity type, by member type."""
    relations, names = features.relations.relations, list(features.keys.types)
    return {
        names[row[layout.RELATION_MEMBER]]: int(row[layout.RELATION_ENTRIES_MAX])
        for row in relations
        if row[layout.RELATION_TYPE] == features.keys.types[entity]
    }
