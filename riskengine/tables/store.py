"""The entity store: every entity the engine remembers, in flat arrays.

INVARIANTS: memory is reserved at start and bounded; it is touched only as entities come. One writer. Layout in
`riskengine.tables.layout`; the work is done by kernels. Built by `engine.state`, which also hashes it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from riskengine.limits import EngineLimits
from riskengine.tables import layout
from riskengine.types import MISSING, Ints

_PAGE_WORDS: Final = (2 << 20) // 8
"""Of the largest pages that a system gives by itself."""
_HEADS_AHEAD_WORDS: Final = (4 << 20) // 8
_ARENA_AHEAD_WORDS: Final = (16 << 20) // 8
_LOOK_ROWS: Final = 64
"""Events between two looks: they take a small part of what is touched ahead."""
_PAGES_A_LOOK: Final = 4
"""Tables that fill alike come to their next pages at the same event."""


@dataclass(frozen=True, slots=True)
class Store:
    """The arrays; see `layout` for the meaning of every word."""

    slot_tags: Ints
    slot_entities: npt.NDArray[np.int32]
    heads: Ints
    arena: Ints
    types: Ints
    free: Ints
    counters: Ints

    def used(self) -> dict[str, Ints | npt.NDArray[np.int32]]:
        """Returns the parts of the arrays that were ever written, for hashing and snapshots."""
        end = int(self.counters[layout.COUNTER_ARENA_NEXT])
        return {
            "slot_tags": self.slot_tags,
            "slot_entities": self.slot_entities,
            "heads": self.heads,
            "arena": self.arena[:end],
            "types": self.types,
            "free": self.free,
            "counters": self.counters,
        }


class Ahead:
    """Touches memory a little before it is needed: the first touch of a page that the system must clear takes half a millisecond.

    One event of new entities would meet such a page in every table at once, 16 ms in all. Slots are looked up at random, so
    all of them are touched at the beginning; heads and slabs are taken in order, so only the next few pages are.

    INVARIANT: only zeros are written, where nothing was ever used: no state changes.

    Args:
        store: New, or as it was read from a snapshot.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._heads = store.heads.reshape(-1)
        row_words = store.heads.shape[1]
        self._regions = [
            (index, int(row[layout.TYPE_ENTITY_BASE]) * row_words, int(row[layout.TYPE_ENTITIES_MAX]) * row_words)
            for index, row in enumerate(store.types)
            if row[layout.TYPE_RETENTION_US]
        ]
        self._touched = {index: first for index, first, _ in self._regions}
        self._arena_touched = 0
        self._left = 0
        for slots in (store.slot_tags, store.slot_entities):
            unused = slots[::_PAGE_WORDS]
            unused[unused == 0] = 0
        self._look(len(store.heads) + len(store.arena))

    def touch(self, rows: int) -> None:
        """Touches what the next events may need; to be called before each batch.

        Args:
            rows: Of the batch.
        """
        self._left -= rows
        if self._left <= 0:
            self._left = _LOOK_ROWS
            self._look(_PAGES_A_LOOK)

    def _look(self, pages_max: int) -> None:
        """Touches some pages of what is next, table by table; what is left waits for the next look, for all is far ahead."""
        row_words = self._store.heads.shape[1]
        used = self._store.types[:, layout.TYPE_USED].tolist()
        for index, first, words in self._regions:
            edge = first + used[index] * row_words
            wanted = min(edge + _HEADS_AHEAD_WORDS, first + words)
            touched, pages_max = _touch(self._heads, max(self._touched[index], edge), wanted, pages_max)
            self._touched[index] = touched
        edge = int(self._store.counters[layout.COUNTER_ARENA_NEXT])
        wanted = min(edge + _ARENA_AHEAD_WORDS, len(self._store.arena))
        self._arena_touched, _ = _touch(self._store.arena, max(self._arena_touched, edge), wanted, pages_max)


def _touch(array: Ints, touched: int, wanted: int, pages_max: int) -> tuple[int, int]:
    """Touches pages of an array; returns up to where it is touched now, and how many pages more may be."""
    while touched < wanted and pages_max > 0:
        array[touched] = 0
        touched += _PAGE_WORDS
        pages_max -= 1
    return touched, pages_max


def create_store(
    *,
    retentions_us: Sequence[int],
    relation_count_max: int,
    limits: EngineLimits,
    registers: Sequence[int] | None = None,
) -> Store:
    """Reserves the arrays of a store.

    Args:
        retentions_us: For each entity type, how long an idle entity is kept, microseconds; 0 for a type that is not kept.
        relation_count_max: The largest number of relations that one entity type owns.
        limits: `entities_max` and `arena_mib` apply.
        registers: For each entity type the words beside its head; none where it is None.

    Returns:
        The store, empty. Pages are not touched before they are used.
    """
    slots_per_type = 1 << max(4, (2 * limits.entities_max - 1).bit_length())
    types = np.zeros((len(retentions_us), layout.TYPE_WORDS), np.int64)
    slot_base = entity_base = 0
    for index, retention_us in enumerate(retentions_us):
        if retention_us == 0:
            continue
        types[index, layout.TYPE_SLOT_BASE] = slot_base
        types[index, layout.TYPE_SLOT_MASK] = slots_per_type - 1
        types[index, layout.TYPE_ENTITY_BASE] = entity_base
        types[index, layout.TYPE_ENTITIES_MAX] = limits.entities_max
        types[index, layout.TYPE_RETENTION_US] = retention_us
        types[index, layout.TYPE_REGISTERS] = registers[index] if registers else 0
        slot_base += slots_per_type
        entity_base += limits.entities_max
    head_words = layout.HEAD_WORDS + layout.RELATION_HEAD_WORDS * relation_count_max
    counters = np.zeros(layout.COUNTER_WORDS, np.int64)
    counters[layout.COUNTER_NEWEST_US] = MISSING
    counters[layout.COUNTER_HORIZON_US] = MISSING
    counters[layout.COUNTER_ARENA_NEXT] = 1
    return Store(
        slot_tags=np.zeros(max(slot_base, 1), np.int64),
        slot_entities=np.zeros(max(slot_base, 1), np.int32),
        heads=np.zeros((max(entity_base, 1), head_words), np.int64),
        arena=np.zeros(limits.arena_mib * (1 << 20) // 8, np.int64),
        types=types,
        free=np.zeros(layout.CLASSES, np.int64),
        counters=counters,
    )
