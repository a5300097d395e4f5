"""Turns the declared profiles into the feature catalogue and into the arrays that the kernels run.

INVARIANTS: the order of features, measures and conditions follows from the declaration alone; equal measures are kept once.
Feature names follow one grammar, `{entity}.{measure}_{operation}_{window}`. A definition holds every parameter that its
feature's values depend on. Called by `engine.features`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from riskengine.feature import Feature
from riskengine.tables.keys import KeyPlan, matrix
from riskengine.tables.layout import MEMORY_US
from riskengine.types import EVENT_WORD, NUMBER_SLOTS, Ints
from riskengine.velocity import layout
from riskengine.velocity.columns import Key, ProfileColumns, asked_windows, place_features
from riskengine.velocity.schema import Inputs, Places, Profile, window_us
from riskengine.velocity.words import first_seen_words, with_event_words


@dataclass(slots=True)
class VelocityPlan:
    """What the velocity kernels are to do.

    Attributes:
        features: In the order of their columns, which start at the given first column.
        conditions: CEL texts of the measures' conditions, in the order of the conditions matrix.
        numbers: int64[k], slots of the declared numbers.
        measures: int64[M, MEASURE_WORDS].
        profiles: int64[P, PROFILE_WORDS].
        windows: int64[W, WINDOW_WORDS].
        reads: int64[R, FEATURE_WORDS].
        rates: int64[_, RATE_WORDS].
        places: int64[_, PLACE_WORDS].
        first_seen: int64[entity types], column of the entity's age or -1.
        horizons_us: For each entity type the longest time an event matters, 0 where nothing is kept.
        registers: For each entity type how many words beside its head it has: its key, rates and places.
    """

    features: list[Feature]
    conditions: list[str]
    numbers: Ints
    measures: Ints
    profiles: Ints
    windows: Ints
    reads: Ints
    rates: Ints
    places: Ints
    first_seen: Ints
    horizons_us: list[int]
    registers: list[int]


_EVENT_FEATURES: Final = {
    layout.COLUMN_AMOUNT: Feature("txn.amount", "minor units of the base currency", "The amount."),
    layout.COLUMN_AMOUNT_LOG: Feature("txn.amount_log", "doublings", "The binary logarithm of one plus the amount."),
    layout.COLUMN_MONETARY: Feature("txn.monetary", "yes or no", "Whether the transaction moves money.", True),
    layout.COLUMN_HOUR_LOCAL: Feature("txn.hour_local", "hours", "The hour of day where the payer is, 0 to 24."),
    layout.COLUMN_NIGHT: Feature(
        "txn.night", "yes or no", "Whether it is between 0:00 and 6:00 where the payer is.", True
    ),
    layout.COLUMN_WEEKEND: Feature(
        "txn.weekend", "yes or no", "Whether it is Saturday or Sunday where the payer is.", True
    ),
    layout.COLUMN_CARD_PRESENT: Feature(
        "txn.card_present", "yes or no", "Whether a chip, a contactless card or a stripe was read.", True
    ),
    layout.COLUMN_MERCHANT_INITIATED: Feature(
        "txn.merchant_initiated", "yes or no", "Whether the merchant started it.", True
    ),
    layout.COLUMN_ACCOUNT_AGE: Feature("txn.account_age_days", "days", "The time since the account was opened."),
    layout.COLUMN_IP_CARD_MISMATCH: Feature(
        "txn.ip_card_region_mismatch", "yes or no", "Whether the IP address and the card differ in country.", True
    ),
    layout.COLUMN_MERCHANT_CARD_MISMATCH: Feature(
        "txn.merchant_card_region_mismatch", "yes or no", "Whether merchant and card differ in country.", True
    ),
    layout.COLUMN_SHIPPING_BILLING_MISMATCH: Feature(
        "txn.shipping_billing_region_mismatch", "yes or no", "Whether shipping and billing differ in country.", True
    ),
    layout.COLUMN_VERIFICATIONS_FAILED: Feature(
        "txn.verification_failed_count", "verifications", "How many verifications failed."
    ),
    layout.COLUMN_VERIFICATIONS_PASSED: Feature(
        "txn.verification_passed_count", "verifications", "How many verifications passed."
    ),
}
assert sorted(_EVENT_FEATURES) == list(range(layout.COLUMN_NUMBERS)), "each column has a name, and the numbers follow"
EVENT_FEATURES: Final = with_event_words(_EVENT_FEATURES[column] for column in range(layout.COLUMN_NUMBERS))
"""What an event tells of itself, by column."""
RATE_HALVINGS: Final = 8
"""How many half-lives an idle entity is remembered for the sake of a rate: what is left of it then is 0.4 %."""


def event_features(inputs: Inputs) -> list[Feature]:
    """Returns the features of the event alone, the caller's numbers among them: the first columns of the matrix."""
    return [
        *EVENT_FEATURES,
        *(
            Feature(
                f"numbers.{key}",
                "as the caller defines it",
                f"The caller's number {key}.",
                nulls="missing where the caller does not send it",
                exactness="exact",
            )
            for key in inputs.numbers
        ),
    ]


def kept_us(profile: Profile) -> int:
    """Returns how long an idle entity is remembered: as far as any window of its profile reaches, at least MEMORY_US.

    Args:
        profile: Its windows were checked.

    Returns:
        Microseconds, without the lateness that is allowed.
    """
    reaches = [window_us(window) for windows in profile.distinct.values() for window in windows]
    for measure in profile.measures.values():
        delay_us = window_us(measure.delay) if measure.delay else 0
        reaches += [window_us(window) + delay_us for window in asked_windows(measure)]
        # After some halvings nothing is left of a rate.
        reaches += [RATE_HALVINGS * window_us(half_life) for half_life in measure.rate]
    return max([MEMORY_US, *reaches])


@dataclass(slots=True)
class _Plan:
    """What has been planned so far."""

    features: list[Feature]
    conditions: list[str] = field(default_factory=list)
    measures: list[Key] = field(default_factory=list)
    profiles: list[list[int]] = field(default_factory=list)
    windows: list[list[int]] = field(default_factory=list)
    reads: list[list[int]] = field(default_factory=list)
    rates: list[list[int]] = field(default_factory=list)
    places: list[list[int]] = field(default_factory=list)

    def feature(self, feature: Feature) -> int:
        self.features.append(feature)
        return len(self.features) - 1

    def condition(self, text: str | None) -> int:
        if text is None:
            return -1
        if text not in self.conditions:
            self.conditions.append(text)
        return self.conditions.index(text)


def _add_measures(plan: _Plan, entity_type: int, entity: str, profile: Profile, *, lateness_us: int) -> list[list[int]]:
    """Adds the answers of a profile's measures; returns the rows of its rates, whose registers are not placed yet."""
    sources = {feature.name: column for column, feature in enumerate(plan.features)}
    own = ProfileColumns(entity, profile, sources)
    for name, measure in profile.measures.items():
        own.add(name, condition=plan.condition(measure.when), feature=plan.feature)
    first = len(plan.measures)
    plan.measures += own.measures()
    if own.reads:
        windows = own.window_rows()
        row = [0] * layout.PROFILE_WORDS
        row[layout.PROFILE_TYPE] = entity_type
        row[layout.PROFILE_INCREMENT] = first
        row[layout.PROFILE_SUMS], row[layout.PROFILE_EXTREMES] = len(own.sums), len(own.extremes)
        row[layout.PROFILE_ROWS_MAX] = profile.rows_max
        row[layout.PROFILE_HORIZON_US] = own.reach_us() + lateness_us
        row[layout.PROFILE_EPSILON_SHIFT] = profile.epsilon_shift
        row[layout.PROFILE_WINDOW], row[layout.PROFILE_WINDOWS] = len(plan.windows), len(windows)
        row[layout.PROFILE_FEATURE], row[layout.PROFILE_FEATURES] = len(plan.reads), len(own.reads)
        row[layout.PROFILE_GAPS] = own.gaps()
        plan.profiles.append(row)
        plan.windows += windows
        plan.reads += own.read_rows()
    return own.rate_rows(entity_type, first)


def _add_places(plan: _Plan, entity_type: int, entity: str, places: Places, register: int) -> int:
    """Adds what is asked of an entity's places; returns the first register after theirs."""
    row = [-1] * layout.PLACE_WORDS
    row[layout.PLACE_TYPE], row[layout.PLACE_REGISTER] = entity_type, register
    row[layout.PLACE_HALF_LIFE_US] = window_us(places.home) if places.home else 0
    for word, region in zip((layout.PLACE_REGION, layout.PLACE_REGION_ELSE), places.region, strict=False):
        row[word] = EVENT_WORD[region]
    for word, feature in place_features(entity, places):
        row[word] = plan.feature(feature)
    if max(row[layout.PLACE_COLUMN_CHANGED :]) < 0:
        return register
    plan.places.append(row)
    return register + layout.PLACE_REGISTERS


def build_plan(inputs: Inputs, profiles: Mapping[str, Profile], keys: KeyPlan, *, lateness_us: int) -> VelocityPlan:
    """Builds the plan.

    Args:
        inputs: The declared numbers and labels.
        profiles: By entity name; names were checked.
        keys: The entity types, declared ones included.
        lateness_us: How late an event may be and still enter a window, microseconds.

    Returns:
        The plan; its features are the first columns of the features matrix.
    """
    plan = _Plan(features=event_features(inputs))
    first_seen = np.full(len(keys.types), -1, np.int64)
    horizons_us, registers = [0] * len(keys.types), keys.registers()
    for entity, profile in profiles.items():
        index = keys.types[entity]
        for row in _add_measures(plan, index, entity, profile, lateness_us=lateness_us):
            row[layout.RATE_REGISTER] = registers[index]
            registers[index] += layout.RATE_REGISTERS
            plan.rates.append(row)
        registers[index] = _add_places(plan, index, entity, profile.places, registers[index])
        if profile.first_seen:
            name = f"{entity}.first_seen_age_s"
            words = f"The time since this {entity} was first seen."
            kept = kept_us(profile)
            told, definition = first_seen_words(entity, kept_us=kept), f"{entity}|first_seen|kept_us={kept}"
            first_seen[index] = plan.feature(Feature(name, "seconds", words, definition=definition, **told))
        horizons_us[index] = kept_us(profile) + lateness_us
    assert len(inputs.numbers) <= NUMBER_SLOTS
    return VelocityPlan(
        features=plan.features,
        conditions=plan.conditions,
        numbers=np.arange(len(inputs.numbers), dtype=np.int64),
        measures=matrix(plan.measures, layout.MEASURE_WORDS),
        profiles=matrix(plan.profiles, layout.PROFILE_WORDS),
        windows=matrix(plan.windows, layout.WINDOW_WORDS),
        reads=matrix(plan.reads, layout.FEATURE_WORDS),
        rates=matrix(plan.rates, layout.RATE_WORDS),
        places=matrix(plan.places, layout.PLACE_WORDS),
        first_seen=first_seen,
        horizons_us=horizons_us,
        registers=registers,
    )
