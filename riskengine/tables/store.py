"""The entity store: every entity the engine remembers, in flat arrays.

INVARIANTS: memory is reserved at start and bounded; it is touched only as entities come. One writer. Layout in
`riskengine.tables.layout`; the work is done by kernels. Built by `engine.state`, which also hashes it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from riskengine.limits import EngineLimits
from riskengine.tables import layout
from riskengine.types import MISSING, Ints


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
