"""Features taken apart: parts fill their columns with the bits of the whole."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from riskengine.engine.configuration import Configuration
from riskengine.engine.features import FeatureSet, compile_features
from riskengine.engine.pipeline import Pipeline
from riskengine.engine.split import (
    LINKAGE,
    Part,
    arena_use,
    check_whole,
    columns_of,
    event_columns,
    fits,
    parts_of,
    restricted,
    units_of,
)
from riskengine.engine.state import State
from riskengine.enums import DecisionFlag
from riskengine.limits import EngineLimits
from riskengine.types import ENTITY_INDEX, words
from riskengine.yamlfile import load_yaml
from tests.engine.conftest import DEFAULTS
from tests.strategies import event_streams, stream_of

# Small enough that entities are evicted, that the ring of recent commands turns, and that batches end anywhere.
LIMITS = EngineLimits(entities_max=20, arena_mib=4, recent_decisions_max=16, batch_rows_max=7, lateness_max_s=3600)


CAPS = "degree_max:\n    payee: 200", "degree_max_default: 3\n  degree_max:\n    payee: 5"
TEXT = (DEFAULTS / "features.yaml").read_text()
STARTER = compile_features(load_yaml(TEXT.replace(*CAPS), name="features.yaml"), LIMITS)
"""The starter's features, with caps of linkage that short streams reach."""


class Folded:
    """A stream that was folded by a plan."""

    def __init__(self, plan: FeatureSet, base: Configuration, events: Any, limits: EngineLimits = LIMITS) -> None:
        self.state = State(plan, limits)
        pipeline = Pipeline(replace(base, features=plan), self.state, limits)
        parts = []
        for first in range(0, len(events), pipeline.rows_max):
            batch = words(events[first : first + pipeline.rows_max].copy())
            parts.append([each.copy() for each in pipeline.fold(batch)])
        features, self.valid, self.flags = (np.concatenate(column) for column in zip(*parts, strict=True))
        self.bits = np.where(self.valid == 1, features, 0.0).view(np.int64)


def assert_parts_are_the_whole(
    features: FeatureSet, parts: list[Part], base: Configuration, events: Any, limits: EngineLimits = LIMITS
) -> None:
    """Asserts that the columns and flags of the parts are those of the whole."""
    whole = Folded(features, base, events, limits)
    flags = np.zeros_like(whole.flags)
    for part in parts:
        one = Folded(restricted(features, part), base, events, limits)
        for columns in (columns_of(features, part), event_columns(features)):
            assert np.array_equal(whole.valid[:, columns], one.valid[:, columns])
            assert np.array_equal(whole.bits[:, columns], one.bits[:, columns])
        flags |= one.flags

    assert flags.tolist() == whole.flags.tolist()


@st.composite
def splits(draw: st.DrawFn, features: FeatureSet) -> list[Part]:
    """Draws which of up to four parts each unit goes to."""
    units = list(units_of(features))
    places = draw(st.lists(st.integers(0, 3), min_size=len(units), max_size=len(units)))
    return [frozenset(unit for unit, at in zip(units, places, strict=True) if at == part) for part in range(4)]


@given(events=event_streams(), parts=splits(STARTER))
@settings(max_examples=60)
def test_parts_fill_their_columns_as_the_whole(events: Any, parts: list[Part], rules_only: Configuration) -> None:
    """Goal: how the work is shared changes no bit. Method: drawn streams (late, outcomes, erasures) under drawn splits."""
    assert_parts_are_the_whole(STARTER, parts, rules_only, events)


@pytest.mark.parametrize("count", [1, 2, 3, 12])
@pytest.mark.parametrize("entity_count", [15, 60])
def test_long_streams_are_the_same_in_parts(rules_only: Configuration, count: int, entity_count: int) -> None:
    """Goal: thinned curves, full tables, evictions and large components agree. Method: 3,000 events of few or many entities."""
    events = stream_of(3_000, seed=5, entity_count=entity_count)

    assert_parts_are_the_whole(STARTER, parts_of(units_of(STARTER), count), rules_only, events)


@given(parts=splits(STARTER))
def test_every_column_belongs_to_one_part(parts: list[Part]) -> None:
    """Goal: no feature is forgotten or computed twice. Method: any split of the starter's; then one without a unit."""
    check_whole(STARTER, parts)

    with pytest.raises(AssertionError, match="every column is filled once"):
        check_whole(STARTER, [part - {ENTITY_INDEX["card"]} for part in parts])


def test_part_keeps_only_what_its_columns_need() -> None:
    """Goal: a process does not keep the state of others. Method: the entity types that the parts of a small plan keep."""
    card = restricted(STARTER, frozenset({ENTITY_INDEX["card"]}))
    linkage = restricted(STARTER, frozenset({LINKAGE}))

    kept = {name for name, index in ENTITY_INDEX.items() if card.velocity.horizons_us[index]}
    linked = {name for name, index in ENTITY_INDEX.items() if linkage.velocity.horizons_us[index]}
    assert {"card"} == kept
    assert {"account", "device", "card", "email", "phone", "payee"} == linked
    assert (0, 0) == (len(card.linkage.links), len(linkage.velocity.profiles))
    assert 10 == len(linkage.relations.relations), "two tables for each of five links"


def test_units_are_shared_out_by_cost() -> None:
    """Goal: processes end together. Method: costs by hand, with and without a busy first one."""
    units = {0: 5.0, 1: 4.0, 2: 3.0, 3: 1.0}

    assert [frozenset({0, 3}), frozenset({1, 2})] == parts_of(units, 2)
    assert [frozenset(), frozenset({0, 1, 2, 3})] == parts_of(units, 2, first_busy=2.0)
    assert [{0}, {1}, {2}, {3}, set()] == parts_of(units, 5)


def test_arena_that_is_too_small_for_all_types_is_told(rules_only: Configuration) -> None:
    """Goal: the one bound that types share is watched. Method: an arena in which parts have room and the whole has not."""
    limits = EngineLimits(entities_max=2_000, arena_mib=1, recent_decisions_max=64, batch_rows_max=64)
    events = stream_of(1_500, seed=3, entity_count=900)
    arena_words = 1 << 17
    whole = Folded(STARTER, rules_only, events, limits)
    parts = parts_of(units_of(STARTER), 12)
    uses = [arena_use(Folded(restricted(STARTER, part), rules_only, events, limits).state) for part in parts if part]

    assert arena_use(whole.state)[1], "the whole is not refused anything, so this shows nothing"
    assert not any(refused for _, refused in uses)
    assert not fits(uses, arena_words)
    assert fits(uses, sum(used for used, _ in uses))
    assert not fits([(10, True)], arena_words)


def test_long_stream_has_what_is_compared(rules_only: Configuration) -> None:
    """Goal: the comparison above is worth something. Method: it has estimates and exact answers, and devices over their cap."""
    folded = Folded(STARTER, rules_only, stream_of(3_000, seed=5, entity_count=15))
    over_cap = folded.bits[:, STARTER.names.index("device.over_degree_cap")].view(np.float64)

    assert CAPS[0] in TEXT
    assert {0, int(DecisionFlag.APPROXIMATE)} == set((folded.flags & DecisionFlag.APPROXIMATE).tolist())
    assert {0.0, 1.0} == set(over_cap.tolist())
