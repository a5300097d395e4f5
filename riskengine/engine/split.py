"""A set of features taken apart, so that several processes can fold the same events, each for a part of the columns.

What is kept for an entity type (its entities, their curves and last-seen tables) depends on the events and on nothing that is
kept for another; components depend on the tables of the links alone. So there is a unit for each entity type that is kept and
one for all of linkage, and any units make a part.

INVARIANTS: a part has the columns, the conditions and the measures of the whole, by the same numbers, and a part that folds the
same events fills its own columns with the same bits, as long as the arena has room for the whole: that one bound is shared by
all types (`fits`). Every column but the derived ones belongs to one unit or to the event itself. What is APPROXIMATE to the
whole is so to at least one part.

Called by `lab.compute`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from riskengine.engine.features import FeatureSet
from riskengine.engine.state import State
from riskengine.expr import Program
from riskengine.linkage.layout import (
    COLUMN_COMPONENT_SIZE,
    COLUMN_OVER_CAP,
    LINK_ONE,
    LINK_ONE_WORD,
    LINK_OTHER,
    LINK_OTHER_WORD,
)
from riskengine.tables.layout import (
    COUNTER_ARENA_NEXT,
    COUNTER_ARENA_REFUSED,
    READ_COLUMN,
    RELATION_NEW_COLUMN,
    RELATION_READ,
    RELATION_READS,
    RELATION_TYPE,
    RELATION_WORD,
)
from riskengine.types import Flags, Ints
from riskengine.velocity.layout import (
    FEATURE_COLUMN,
    PLACE_COLUMN_CHANGED,
    PLACE_COLUMN_HOME,
    PLACE_COLUMN_SPEED,
    PLACE_TYPE,
    PROFILE_EXTREMES,
    PROFILE_FEATURE,
    PROFILE_FEATURES,
    PROFILE_SUMS,
    PROFILE_TYPE,
    PROFILE_WINDOWS,
    RATE_COLUMN,
    RATE_TYPE,
)
from riskengine.velocity.plan import event_features

LINKAGE: Final = -1
"""The unit of linkage; the others are entity types."""
Part = frozenset[int]
"""Units that one process folds."""

# What an event costs a unit, in memory touches, by the loops of the kernels; only the balance depends on them.
_ENTITY_COST: Final = 4
_RELATION_COST: Final = 3
_REGISTER_COST: Final = 2
_LINK_COST: Final = 6


def units_of(features: FeatureSet) -> dict[int, float]:
    """Returns the units that a set of features has, each with the estimated cost of an event."""
    velocity, relations = features.velocity, features.relations
    units: dict[int, float] = {
        index: float(_ENTITY_COST) for index, kept_us in enumerate(velocity.horizons_us) if kept_us
    }
    for profile in velocity.profiles:
        cost = (
            (profile[PROFILE_SUMS] + profile[PROFILE_EXTREMES]) / 2
            + 2 * profile[PROFILE_WINDOWS]
            + profile[PROFILE_FEATURES]
        )
        units[int(profile[PROFILE_TYPE])] += float(cost)
    for entity_type in (*velocity.rates[:, RATE_TYPE], *velocity.places[:, PLACE_TYPE]):
        units[int(entity_type)] += float(_REGISTER_COST)
    for relation in relations.relations:
        units[int(relation[RELATION_TYPE])] += float(_RELATION_COST * (1 + relation[RELATION_READS]))
    if len(features.linkage.links):
        # Each link keeps two tables, which the owners' own parts keep as well.
        units[LINKAGE] = float((_LINK_COST + 2 * _RELATION_COST) * len(features.linkage.links))
    return units


def parts_of(units: dict[int, float], count: int, *, first_busy: float = 0.0) -> list[Part]:
    """Shares units out: the costliest first, each to whoever has least so far.

    Args:
        units: From `units_of`.
        count: Parts wanted, at least 1; some are empty where there are fewer units.
        first_busy: What the first has to do anyway, as a share of the cost of all units.
    """
    parts: list[set[int]] = [set() for _ in range(count)]
    loads = [first_busy * sum(units.values()), *(0.0 for _ in range(count - 1))]
    for unit, cost in sorted(units.items(), key=lambda item: (-item[1], item[0])):
        least = loads.index(min(loads))
        parts[least].add(unit)
        loads[least] += cost
    return [frozenset(part) for part in parts]


def restricted(features: FeatureSet, part: Part) -> FeatureSet:
    """Returns features that fill the columns of a part, and those of the event, and keep nothing that these do not need.

    Args:
        features: The whole.
        part: Some of its units.
    """
    velocity, relations, links = features.velocity, features.relations, features.linkage.links
    own = _member(part, len(velocity.horizons_us))
    needed = own.copy()
    kept = own[relations.relations[:, RELATION_TYPE]]
    rows = relations.relations.copy()
    if LINKAGE in part and len(links):
        needed[links[:, [LINK_ONE, LINK_OTHER]]] = True
        linked = _linked(relations.relations, links)
        # Of another part's tables linkage wants to know how many members they have: nothing is asked of them here.
        lent = linked & ~kept
        rows[lent, RELATION_READS] = 0
        rows[lent, RELATION_NEW_COLUMN] = -1
        kept |= linked
    columns = features.linkage.columns.copy()
    if LINKAGE not in part:
        columns[:, [COLUMN_COMPONENT_SIZE, COLUMN_OVER_CAP]] = -1
    return replace(
        features,
        velocity=replace(
            velocity,
            profiles=np.ascontiguousarray(velocity.profiles[own[velocity.profiles[:, PROFILE_TYPE]]]),
            rates=np.ascontiguousarray(velocity.rates[own[velocity.rates[:, RATE_TYPE]]]),
            places=np.ascontiguousarray(velocity.places[own[velocity.places[:, PLACE_TYPE]]]),
            first_seen=np.where(own, velocity.first_seen, -1),
            horizons_us=[us if needed[index] else 0 for index, us in enumerate(velocity.horizons_us)],
        ),
        relations=replace(relations, relations=np.ascontiguousarray(rows[kept])),
        linkage=replace(features.linkage, links=links if LINKAGE in part else links[:0], columns=columns),
        derived=Program((), ()),
    )


def event_columns(features: FeatureSet) -> Ints:
    """Returns the columns that an event tells of itself: every part fills them."""
    return np.arange(len(event_features(features.inputs)))


def columns_of(features: FeatureSet, part: Part) -> Ints:
    """Returns the columns of the features matrix that the units of a part fill, in order."""
    velocity, relations = features.velocity, features.relations
    found: list[int] = []
    for profile in velocity.profiles:
        if profile[PROFILE_TYPE] in part:
            first = profile[PROFILE_FEATURE]
            found += velocity.reads[first : first + profile[PROFILE_FEATURES], FEATURE_COLUMN].tolist()
    found += [int(rate[RATE_COLUMN]) for rate in velocity.rates if rate[RATE_TYPE] in part]
    for place in velocity.places:
        if place[PLACE_TYPE] in part:
            found += place[[PLACE_COLUMN_CHANGED, PLACE_COLUMN_SPEED, PLACE_COLUMN_HOME]].tolist()
    found += [int(velocity.first_seen[unit]) for unit in part if unit != LINKAGE]
    for relation in relations.relations:
        if relation[RELATION_TYPE] in part:
            first = relation[RELATION_READ]
            found += relations.reads[first : first + relation[RELATION_READS], READ_COLUMN].tolist()
            found.append(int(relation[RELATION_NEW_COLUMN]))
    if LINKAGE in part:
        found += features.linkage.columns[:, [COLUMN_COMPONENT_SIZE, COLUMN_OVER_CAP]].reshape(-1).tolist()
    return np.array(sorted(column for column in found if column >= 0), np.int64)


def check_whole(features: FeatureSet, parts: Iterable[Part]) -> None:
    """Asserts that parts, the event and what is derived fill every column once."""
    filled = np.concatenate(
        [event_columns(features), features.derived.targets, *(columns_of(features, p) for p in parts)]
    )
    assert sorted(filled.tolist()) == list(range(len(features.features))), "every column is filled once"


def arena_use(state: State) -> tuple[int, bool]:
    """Returns the words of the arena that a state ever took, and whether it was refused some."""
    counters = state.store.counters
    return int(counters[COUNTER_ARENA_NEXT]), bool(counters[COUNTER_ARENA_REFUSED])


def fits(uses: Sequence[tuple[int, bool]], arena_words: int) -> bool:
    """Tells whether the whole would have had room in one arena wherever its parts had it in theirs.

    A slab is made new only where none of its size is free. So the whole makes at most as many of a size as all parts together:
    it needs the most that are in use at one time, each part the most that it uses at any.

    Args:
        uses: From `arena_use`, of each part.
        arena_words: Words of one arena.
    """
    return not any(refused for _, refused in uses) and sum(used for used, _ in uses) <= arena_words


def _member(part: Part, count: int) -> Flags:
    flags = np.zeros(count, np.bool_)
    flags[[unit for unit in part if unit != LINKAGE]] = True
    return flags


def _linked(relations: Ints, links: Ints) -> Flags:
    """Tells of each last-seen table whether a link reads its size."""
    pairs = {(int(link[LINK_ONE]), int(link[LINK_ONE_WORD])) for link in links}
    pairs |= {(int(link[LINK_OTHER]), int(link[LINK_OTHER_WORD])) for link in links}
    return np.array(
        [(int(row[RELATION_TYPE]), int(row[RELATION_WORD])) in pairs for row in relations], np.bool_
    ).reshape(len(relations))
