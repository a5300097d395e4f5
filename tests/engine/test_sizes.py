"""What a state takes, counted by NumPy: against a count entity by entity, and against the arena itself."""

from dataclasses import replace

import numpy as np
import pytest

from riskengine.engine.configuration import Configuration
from riskengine.engine.pipeline import Pipeline
from riskengine.engine.sizes import SLAB_WORDS, StateSizes, curve_layout, measure_state, table_caps
from riskengine.engine.state import State
from riskengine.limits import EngineLimits
from riskengine.tables import layout
from riskengine.tables.kernels import slab_words
from riskengine.types import ENTITIES, words
from tests.engine.journals import FEWER_ROWS, edited
from tests.strategies import stream_of

TINY = EngineLimits(entities_max=24, arena_mib=1, recent_decisions_max=64, batch_rows_max=64)
ROOMY = replace(TINY, arena_mib=8)


def folded(configuration: Configuration, limits: EngineLimits, *, entity_count: int, count: int = 3_000) -> State:
    """Returns the state after a stream with late events."""
    state = State(configuration.features, limits)
    pipeline = Pipeline(configuration, state, limits)
    events = stream_of(count, seed=5, entity_count=entity_count)
    events["event_time_us"][count // 2 :: 97] -= 40 * 86_400_000_000
    for first in range(0, count, 64):
        pipeline.absorb(words(events[first : first + 64]))
    return state


def naive(state: State, configuration: Configuration, entity: str) -> dict[str, int]:
    """Counts one entity type head by head."""
    kept = state.store.types[configuration.features.keys.types[entity]].tolist()
    tables = [word for (owner, _), word in configuration.features.relations.words.items() if owner == entity]
    found = dict.fromkeys(
        ("live", "curve_bytes", "curve_rows", "register_bytes", "table_bytes", "members", "thinned", "tables_full"), 0
    )
    base = kept[layout.TYPE_ENTITY_BASE]
    for head in state.store.heads[base : base + kept[layout.TYPE_USED]].tolist():
        if head[layout.HEAD_TAG] == 0:
            continue
        found["live"] += 1
        found["thinned"] += bool(head[layout.HEAD_FLAGS] & layout.FLAG_THINNED)
        found["tables_full"] += bool(head[layout.HEAD_FLAGS] & layout.FLAG_RELATION_FULL)
        for word, size, count in (
            (layout.HEAD_CURVE, "curve_bytes", "curve_rows"),
            *((word, "table_bytes", "members") for word in tables),
        ):
            if head[word]:
                found[size] += 8 * int(slab_words(np.int64(head[word + 1] >> 32)))
                found[count] += head[word + 1] & 0xFFFFFFFF
        found["table_bytes"] += sum(8 * layout.SAMPLE_WORDS for word in tables if head[word + layout.RELATION_SAMPLE])
        if head[layout.HEAD_REGISTERS]:
            found["register_bytes"] += 8 * int(slab_words(np.int64(head[layout.HEAD_REGISTERS_META] >> 32)))
    return found


def by_entity(sizes: StateSizes) -> dict[str, dict[str, int]]:
    """Returns what a naive count returns, of every type."""
    names = ("live", "curve_bytes", "curve_rows", "register_bytes", "table_bytes", "members", "thinned", "tables_full")
    return {each.entity: {name: getattr(each, name) for name in names} for each in sizes.types}


@pytest.mark.parametrize("entity_count", [6, 400])
def test_counts_are_those_of_each_entity(rules_only: Configuration, entity_count: int) -> None:
    """Goal: the table is true. Method: crowded and evicted entities, each type head by head; every slab is somewhere."""
    state = folded(rules_only, TINY, entity_count=entity_count)

    sizes = measure_state(state, rules_only.features)

    kept = [
        name
        for name, us in zip(rules_only.features.keys.types, rules_only.features.velocity.horizons_us, strict=True)
        if us
    ]
    assert {entity: naive(state, rules_only, entity) for entity in kept} == by_entity(sizes)
    own = [each for each in sizes.types if each.entity in ENTITIES]  # Six by six pairs are more than fit.
    assert (entity_count > 24) == any(each.evicted_cold for each in own)
    assert sizes.late_dropped > 0
    used_bytes = 8 * (int(state.store.counters[layout.COUNTER_ARENA_NEXT]) - 1)
    assert used_bytes == sizes.arena_used_bytes + sizes.arena_free_bytes
    assert sum(size * count for size, count in sizes.free_slabs) == sizes.arena_free_bytes
    assert sizes.free_slabs


def test_thinned_curves_are_told(rules_only: Configuration, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Goal: an operator sees who is approximate. Method: a curve of 16 rows for busy cards, then as shipped."""
    few = edited(tmp_path_factory.mktemp("few") / "folder", *FEWER_ROWS)

    thinned = by_entity(measure_state(folded(few, ROOMY, entity_count=6), few.features))["card"]
    whole = by_entity(measure_state(folded(rules_only, ROOMY, entity_count=6), rules_only.features))["card"]

    assert (0, True) == (whole["thinned"], thinned["thinned"] > 0)
    assert thinned["curve_rows"] <= 16 * thinned["live"] < whole["curve_rows"]


def test_empty_state_has_sizes(rules_only: Configuration) -> None:
    """Goal: a new server can be asked. Method: nothing was folded; what is reserved is told."""
    sizes = measure_state(State(rules_only.features, TINY), rules_only.features)

    assert (0, 0, ()) == (sizes.arena_used_bytes, sizes.arena_free_bytes, sizes.free_slabs)
    assert {0} == {each.live for each in sizes.types} == {each.head_bytes for each in sizes.types}
    assert sizes.total_bytes == sizes.recent_bytes + sum(each.slot_bytes for each in sizes.types)


def test_slab_classes_are_those_of_the_kernel() -> None:
    """Goal: one layout, told twice, stays one. Method: every class."""
    assert [int(slab_words(np.int64(each))) for each in range(layout.CLASSES)] == SLAB_WORDS.tolist()


def test_layouts_follow_the_declaration(rules_only: Configuration) -> None:
    """Goal: the bytes of a row are those of the plan. Method: a profile, one without a curve, the caps of tables."""
    features = rules_only.features
    row_bytes, rows_max = curve_layout(features, "merchant")

    assert (8 * 6, 512) == (row_bytes, rows_max)
    assert (0, 0) == curve_layout(features, "phone")
    assert {"card": 256} == table_caps(features, "merchant")
    assert 256 == table_caps(features, "account")["device"]
