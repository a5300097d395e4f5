"""The estimate of a state, against states that simulated streams made."""

from pathlib import Path

import numpy as np
import pytest

from riskengine.engine.configuration import Configuration
from riskengine.engine.estimate import Population, StateEstimate, Traffic, estimate, kept_entities
from riskengine.engine.pipeline import Pipeline
from riskengine.engine.sizes import StateSizes, measure_state
from riskengine.engine.state import State
from riskengine.lab.features import in_order
from riskengine.lab.simulate import SimulationConfig, simulate
from riskengine.limits import EngineLimits
from riskengine.types import words
from tests.engine.journals import FEWER_ROWS, edited
from tests.lab.builders import packer

LIMITS = EngineLimits(entities_max=8_000, arena_mib=64, recent_decisions_max=4_096)
FACTOR = 1.5
LARGE_SHARE = 0.05
"""Of the arena, what one type has to have for its own estimate to count."""


def tags_of(events: np.ndarray, entity: str) -> np.ndarray:
    """Returns whom each event names, 0 for nobody; a pair of card and merchant is told by both."""
    if entity != "card_merchant":
        return np.asarray(events[f"{entity}_tag"])
    card, merchant = events["card_tag"], events["merchant_tag"]
    return np.where((card != 0) & (merchant != 0), card * np.uint64(3) ^ merchant, 0)


def folded(configuration: Configuration, *, people: int, days: int, seed: int) -> tuple[StateSizes, StateEstimate]:
    """Returns what a simulated stream took, and what is estimated from the facts that an operator knows of it."""
    state = State(configuration.features, LIMITS)
    pipeline = Pipeline(configuration, state, LIMITS)
    history = simulate(SimulationConfig(seed=seed, people=people, days=days))
    events = np.concatenate([part for part, _, _, _ in in_order(history.to_batches(), packer())])
    for first in range(0, len(events), LIMITS.batch_rows_max):
        pipeline.absorb(words(events[first : first + LIMITS.batch_rows_max]))
    tags = {entity: tags_of(events, entity) for entity in kept_entities(configuration.features)}
    populations = {
        entity: Population(len(np.unique(found[found != 0])), float((found != 0).mean()))
        for entity, found in tags.items()
    }
    traffic = Traffic(len(events) / days, days, populations)
    return measure_state(state, configuration.features), estimate(configuration.features, LIMITS, traffic)


def check(sizes: StateSizes, expected: StateEstimate) -> None:
    """Compares what is in the arena: in all, and of each type that has a good part of it."""
    assert 1 / FACTOR < expected.arena_bytes / sizes.arena_used_bytes < FACTOR
    compared = 0
    for one, other in zip(sizes.types, expected.types, strict=True):
        assert one.entity == other.entity
        assert (one.slot_bytes, 1) == (other.slot_bytes, round(other.head_bytes / one.head_bytes, 1))
        for name in ("curve_bytes", "table_bytes"):
            if getattr(one, name) > LARGE_SHARE * sizes.arena_used_bytes:
                compared += 1
                assert 1 / FACTOR < getattr(other, name) / getattr(one, name) < FACTOR, (one.entity, name)
    assert compared >= 4


@pytest.mark.parametrize(("people", "days", "seed"), [(400, 45, 21), (900, 12, 22)])
def test_estimate_is_near_a_real_fold(rules_only: Configuration, people: int, days: int, seed: int) -> None:
    """Goal: an operator buys the right machine. Method: streams of seeds that nothing was fitted to; a factor of 1.5."""
    sizes, expected = folded(rules_only, people=people, days=days, seed=seed)

    check(sizes, expected)
    assert 1 / FACTOR < expected.node_bytes / sizes.node_bytes < FACTOR
    assert sizes.recent_bytes == expected.recent_bytes


def test_estimate_knows_the_cap_of_rows(rules_only: Configuration, tmp_path: Path) -> None:
    """Goal: rows_max is what an operator can turn. Method: cards of 16 rows, against their fold and against the usual cap."""
    few = edited(tmp_path / "folder", *FEWER_ROWS)
    sizes, expected = folded(few, people=400, days=30, seed=23)
    card = next(each for each in expected.types if each.entity == "card")
    measured = next(each for each in sizes.types if each.entity == "card")

    assert sizes.thinnings > 0
    assert 1 / FACTOR < card.curve_bytes / measured.curve_bytes < FACTOR
    assert card.curve_bytes <= 16 * 128 * card.count


def test_estimate_grows_with_what_is_expected(rules_only: Configuration) -> None:
    """Goal: no surprise of sign. Method: more events, more entities, fewer days; a type that nobody told is named."""

    def arena(events_per_day: float = 10_000, days: float = 90, cards: int = 5_000) -> int:
        traffic = Traffic(events_per_day, days, {"card": Population(cards), "merchant": Population(200, 0.5)})
        return estimate(rules_only.features, LIMITS, traffic).arena_bytes

    assert arena(days=2) < arena() < arena(cards=50_000)
    assert arena(events_per_day=1_000) < arena()
    alone = estimate(rules_only.features, LIMITS, Traffic(1.0, 1.0, {"card": Population(1)}))
    assert ("card",) == tuple(each.entity for each in alone.types)
    assert (
        set(alone.left_out) == set(kept_entities(rules_only.features)) - {"card"} <= set(rules_only.features.keys.types)
    )
    assert 0 < alone.arena_bytes < 10_000
