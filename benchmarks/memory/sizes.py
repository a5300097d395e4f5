"""How many bytes an entity takes, read from the state that a fold left.

INVARIANT: nothing is derived from what a layout promises; offsets, size classes and widths are those of the arrays. Slots are
told as every entity's share of a full table, for they are reserved and not its own. Used by `benchmarks.memory`.
"""

import numpy as np

from riskengine.engine.configuration import Configuration
from riskengine.engine.pipeline import Pipeline
from riskengine.engine.state import State
from riskengine.linkage.layout import NODE_WORDS
from riskengine.tables.kernels import slab_words
from riskengine.tables.layout import (
    COUNTER_ARENA_NEXT,
    COUNTER_ARENA_REFUSED,
    HEAD_CURVE,
    HEAD_CURVE_META,
    HEAD_NODE,
    HEAD_TAG,
    META_CLASS_SHIFT,
    TYPE_ENTITIES_MAX,
    TYPE_ENTITY_BASE,
    TYPE_LIVE,
    TYPE_SLOT_MASK,
    TYPE_USED,
)
from riskengine.types import ENTITY_INDEX, Ints

CARD = ENTITY_INDEX["card"]


def slot_bytes(state: State, entity_type: int) -> float:
    """Returns an entity's share of the slots when the table is full."""
    store, row = state.store, state.store.types[entity_type]
    slots = int(row[TYPE_SLOT_MASK]) + 1
    return slots * (store.slot_tags.itemsize + store.slot_entities.itemsize) / int(row[TYPE_ENTITIES_MAX])


def card_bytes(pipeline: Pipeline) -> dict[str, float]:
    """Returns what a card takes in the mean over all cards of a state, by part."""
    store, row = pipeline.state.store, pipeline.state.store.types[CARD]
    base = int(row[TYPE_ENTITY_BASE])
    heads = store.heads[base : base + int(row[TYPE_USED])]
    heads = heads[heads[:, HEAD_TAG] != 0]
    words = np.array([slab_words.py_func(size_class) for size_class in range(64)])  # type: ignore[attr-defined]

    def slabs(offset_word: int, meta_word: int) -> float:
        sizes = words[heads[:, meta_word] >> META_CLASS_SHIFT] * 8
        return float(np.where(heads[:, offset_word] != 0, sizes, 0).mean())

    parts = {
        "head": float(heads.shape[1] * heads.itemsize),
        "slots": slot_bytes(pipeline.state, CARD),
        "curve": slabs(HEAD_CURVE, HEAD_CURVE_META),
        "last_seen": sum(slabs(word, word + 1) for word in _table_words(pipeline.configuration)),
        "component": float((heads[:, HEAD_NODE] != 0).mean() * NODE_WORDS * 8),
    }
    return parts | {"all": sum(parts.values())}


def used_bytes_per_card(pipeline: Pipeline) -> float:
    """Returns what the whole arena takes for each card, freed slabs included, with head and slots."""
    store = pipeline.state.store
    assert store.counters[COUNTER_ARENA_REFUSED] == 0, "the arena is too small to measure in"
    live = int(store.types[CARD, TYPE_LIVE])
    used = int(store.counters[COUNTER_ARENA_NEXT]) * store.arena.itemsize
    return used / live + float(store.heads.shape[1] * store.heads.itemsize) + slot_bytes(pipeline.state, CARD)


def _table_words(configuration: Configuration) -> Ints:
    """Returns the head words of a card's last-seen tables."""
    words = configuration.features.relations.words
    return np.array([word for (owner, _), word in words.items() if owner == "card"], np.int64)
