"""What a state will take, before there is one: from the traffic that is expected and the configuration.

The bytes of a curve or a table follow from how many rows or members it has, and entities differ widely in that. So for each
entity type the expected mean is spread over a log-normal distribution, and each part of it is put into the slab that the engine
would take.

    rows        events of the profile's horizon; where the traffic lasts for several of them, of the busiest one: slabs never
                shrink
    members     pairs of two types, told apart by what they are: a person's things belong together (_PAIRS_PER_THING pairs for
                each of the more numerous ones); places are returned to, so that new ones come ever more seldom (n events lead
                to n**b places, Heaps' law); a class, such as a card's bin, is one for each thing

INVARIANTS: a pure function; no arena is reserved. The constants were fitted to the simulator's world, which a test holds within a
factor of 1.5 of a real fold; traffic of another kind may lie farther off.

Called by the command `state estimate`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import exp, log, sqrt
from statistics import NormalDist
from typing import Final

import numpy as np

from riskengine.engine.features import FeatureSet
from riskengine.engine.recent import RecentDecisions
from riskengine.engine.sizes import (
    HEAD_BYTES,
    NODE_BYTES,
    SLAB_WORDS,
    SLOT_BYTES,
    WORD_BYTES,
    curve_width,
    own_table_words,
    table_caps,
)
from riskengine.limits import EngineLimits
from riskengine.linkage.layout import LINK_ONE, LINK_OTHER
from riskengine.tables.layout import RELATION_ENTRY_WORDS, RELATION_HEAD_WORDS
from riskengine.types import US_PER_DAY, Floats, Ints
from riskengine.velocity.layout import PROFILE_HORIZON_US, PROFILE_ROWS_MAX, PROFILE_TYPE

_THINGS: Final = frozenset(("account", "card", "device", "email", "phone", "address"))
"""What belongs to a person or two."""
_CLASSES: Final = frozenset(("bin", "email_domain"))
"""What each thing has one of."""
_RETURN_EXPONENTS: Final = {"ip": 0.4, "ip_network": 0.4}
"""Of Heaps' law, for places that are left more seldom than others."""
_RETURN_EXPONENT: Final = 0.75
_PAIRS_PER_THING: Final = 1.3
_SIGMA: Final = 1.0
"""How widely entities of one type differ in their traffic, natural logarithm."""
_PARTS: Final = 256


@dataclass(frozen=True, slots=True)
class Population:
    """Entities of one type that are expected.

    Attributes:
        count: Different ones within the time for which an idle one is remembered.
        share: Of all events, those that name one, above 0 to 1.
    """

    count: int
    share: float = 1.0


@dataclass(frozen=True, slots=True)
class Traffic:
    """What is expected.

    Attributes:
        events_per_day: Above 0.
        days: For how long it has lasted when the state is looked at.
        entities: By entity type.
    """

    events_per_day: float
    days: float
    entities: Mapping[str, Population]


@dataclass(frozen=True, slots=True, kw_only=True)
class TypeEstimate:
    """What one entity type will take, bytes.

    Attributes:
        entity: Its name.
        count: Entities.
        events_each: Events of each in all the days, on average.
        head_bytes, slot_bytes, curve_bytes, register_bytes, table_bytes: As `sizes.TypeSizes` counts them.
    """

    entity: str
    count: int
    events_each: float
    head_bytes: int
    slot_bytes: int
    curve_bytes: int
    register_bytes: int
    table_bytes: int

    @property
    def total_bytes(self) -> int:
        """All of it."""
        return self.head_bytes + self.slot_bytes + self.curve_bytes + self.register_bytes + self.table_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class StateEstimate:
    """What a state will take.

    Attributes:
        types: By entity type.
        left_out: Types that the configuration keeps and nobody told the number of.
        node_bytes: Of linkage.
        recent_bytes: Of the recent decisions, which the limits alone decide.
    """

    types: tuple[TypeEstimate, ...]
    left_out: tuple[str, ...]
    node_bytes: int
    recent_bytes: int

    @property
    def arena_bytes(self) -> int:
        """What of it lies in the arena."""
        return sum(each.curve_bytes + each.register_bytes + each.table_bytes for each in self.types)

    @property
    def total_bytes(self) -> int:
        """All of it."""
        return sum(each.total_bytes for each in self.types) + self.node_bytes + self.recent_bytes


def kept_entities(features: FeatureSet) -> list[str]:
    """Returns the entity types of which anything is kept."""
    return [name for name, us in zip(features.keys.types, features.velocity.horizons_us, strict=True) if us]


def estimate(features: FeatureSet, limits: EngineLimits, traffic: Traffic) -> StateEstimate:
    """Estimates a state.

    Args:
        features: What is measured.
        limits: Of these, `entities_max` and `arena_mib` bound nothing here: what is told is what there should be room for.
        traffic: What is expected, of types that are kept.
    """
    kept = kept_entities(features)
    slots = 1 << max(4, (2 * limits.entities_max - 1).bit_length())
    types = []
    for entity in (each for each in kept if each in traffic.entities):
        count = traffic.entities[entity].count
        types.append(
            TypeEstimate(
                entity=entity,
                count=count,
                events_each=_events_each(traffic, entity, traffic.days),
                head_bytes=count
                * (HEAD_BYTES + RELATION_HEAD_WORDS * WORD_BYTES * features.relations.relation_count_max),
                slot_bytes=slots * SLOT_BYTES,
                curve_bytes=_curve_bytes(features, traffic, entity),
                register_bytes=count * _register_bytes(features, entity),
                table_bytes=_table_bytes(features, traffic, entity),
            )
        )
    linked = set(features.linkage.links[:, [LINK_ONE, LINK_OTHER]].reshape(-1).tolist())
    recent = RecentDecisions(limits.recent_decisions_max)
    return StateEstimate(
        types=tuple(types),
        left_out=tuple(each for each in kept if each not in traffic.entities),
        node_bytes=NODE_BYTES * sum(each.count for each in types if features.keys.types[each.entity] in linked),
        recent_bytes=limits.recent_decisions_max * WORD_BYTES + sum(each.nbytes for each in recent.arrays().values()),
    )


def _events_each(traffic: Traffic, entity: str, days: float) -> float:
    """Returns how many events name one entity of a type in some days, on average; whoever is known has had one."""
    population = traffic.entities[entity]
    return max(1.0, traffic.events_per_day * days * population.share / population.count)


def _spread(mean: float) -> Floats:
    """Returns _PARTS values of a log-normal distribution with a mean, each as likely as the others."""
    normal = NormalDist()
    values = np.array([exp(_SIGMA * normal.inv_cdf((part + 0.5) / _PARTS)) for part in range(_PARTS)])
    spread: Floats = values * (mean / values.mean())
    return spread


def _slab_bytes(words: Ints) -> float:
    """Returns the mean bytes of the slabs that so many words are put into."""
    return float((SLAB_WORDS[np.searchsorted(SLAB_WORDS, words)] * WORD_BYTES).mean())


def _curve_bytes(features: FeatureSet, traffic: Traffic, entity: str) -> int:
    for profile in features.velocity.profiles:
        if profile[PROFILE_TYPE] != features.keys.types[entity]:
            continue
        horizon_days = float(profile[PROFILE_HORIZON_US]) / US_PER_DAY
        population = traffic.entities[entity]
        days = min(traffic.days, horizon_days)
        events = _spread(traffic.events_per_day * days * population.share / population.count)
        # The busiest of k horizons: the largest of k Poisson numbers lies sqrt(2 ln k) spreads above the mean.
        events += sqrt(2 * log(max(traffic.days / horizon_days, 1.0))) * np.sqrt(events)
        rows = np.minimum(1 + np.maximum(np.rint(events), 1), profile[PROFILE_ROWS_MAX]).astype(np.int64)
        return round(population.count * _slab_bytes(rows * curve_width(profile)))
    return 0


def _register_bytes(features: FeatureSet, entity: str) -> int:
    """Returns the bytes of one entity's registers; every one that has some is counted with them."""
    words = features.velocity.registers[features.keys.types[entity]]
    return round(_slab_bytes(np.array([words]))) if words else 0


def _table_bytes(features: FeatureSet, traffic: Traffic, entity: str) -> int:
    total = 0.0
    assert len(own_table_words(features, entity)) == len(table_caps(features, entity)), "a table for each member type"
    for member, cap in table_caps(features, entity).items():
        if member not in traffic.entities:
            continue
        count = traffic.entities[entity].count
        pairs = _pairs(traffic, entity, member)
        members = np.minimum(np.maximum(np.rint(_spread(max(pairs / count, 1.0))), 1), cap).astype(np.int64)
        # Where there are fewer pairs than owners, only some of them have a table at all.
        total += min(count, pairs) * _slab_bytes(members * RELATION_ENTRY_WORDS)
    return round(total)


def _pairs(traffic: Traffic, one: str, other: str) -> float:
    """Returns how many different pairs of two types meet in all the days."""
    populations = traffic.entities
    meetings = traffic.events_per_day * traffic.days * min(populations[one].share, populations[other].share)
    counts = {name: population.count for name, population in populations.items()}
    if {one, other} <= _THINGS:
        pairs = _PAIRS_PER_THING * max(counts[one], counts[other])
    elif one in _CLASSES or other in _CLASSES:
        pairs = float(max(counts[one], counts[other]))
    else:
        # Whoever is a thing goes to places; of two places, the rarer one is taken for who goes.
        goes, place = sorted((one, other), key=lambda name: (name not in _THINGS, counts[name]))
        each = max(meetings / counts[goes], 1.0) ** _RETURN_EXPONENTS.get(place, _RETURN_EXPONENT)
        pairs = counts[goes] * min(each, counts[place])
    return min(pairs, meetings)
