"""Turns the declared profiles into the feature catalogue and into the arrays that the kernels run.

INVARIANTS: the order of features, measures and conditions follows from the declaration alone; equal measures are kept once.
Feature names follow one grammar, `{entity}.{measure}_{operation}_{window}`. A definition holds every parameter that its
feature's values depend on. Called by `engine.features`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from riskengine.feature import Feature
from riskengine.tables.layout import MEMORY_US
from riskengine.types import ENTITIES, ENTITY_INDEX, NUMBER_SLOTS, Ints
from riskengine.velocity import layout
from riskengine.velocity.schema import Inputs, Measure, Profile, window_us
from riskengine.velocity.words import curve_words, first_seen_words, with_event_words


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
        first_seen: int64[entity types], column of the entity's age or -1.
        horizons_us: For each entity type the longest time an event matters, 0 where nothing is kept.
    """

    features: list[Feature]
    conditions: list[str]
    numbers: Ints
    measures: Ints
    profiles: Ints
    windows: Ints
    reads: Ints
    first_seen: Ints
    horizons_us: list[int]


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


_OPERATIONS: Final = {
    "count": (layout.OPERATION_COUNT, "events", "How many {measure}events there were in {window}, this one included."),
    "sum": (layout.OPERATION_SUM, "units of {of}", "The sum of {of} over {window}, this event included."),
    "mean": (layout.OPERATION_MEAN, "units of {of}", "The mean of {of} over {window} before this event."),
    "std": (layout.OPERATION_STD, "doublings", "The spread of {of} over {window} before this event."),
    "zscore": (layout.OPERATION_ZSCORE, "spreads", "How far {of} is from its mean over {window} before this event."),
}


@dataclass(slots=True)
class _Builder:
    columns: dict[str, int]
    features: list[Feature]
    conditions: list[str] = field(default_factory=list)
    measures: list[tuple[int, int, int, int]] = field(default_factory=list)
    profiles: list[list[int]] = field(default_factory=list)
    windows: list[tuple[int, int]] = field(default_factory=list)
    reads: list[list[int]] = field(default_factory=list)

    def feature(self, feature: Feature) -> int:
        self.columns[feature.name] = len(self.features)
        self.features.append(feature)
        return self.columns[feature.name]

    def condition(self, text: str | None) -> int:
        if text is None:
            return -1
        if text not in self.conditions:
            self.conditions.append(text)
        return self.conditions.index(text)


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
        reaches += [window_us(window) + delay_us for name in _OPERATIONS for window in getattr(measure, name)]
    return max([MEMORY_US, *reaches])


def _measure_index(builder: _Builder, first: int, key: tuple[int, int, int, int]) -> int:
    """Returns the place of a cumulative measure within its profile; an equal one is shared."""
    own = builder.measures[first:]
    if key not in own:
        builder.measures.append(key)
        own = builder.measures[first:]
    return own.index(key)


def _definition(entity: str, profile: Profile, measure: Measure, asked: str) -> str:
    """Returns the definition of one answer. The profile's bounds are in it: beyond its rows an answer is an estimate."""
    return (
        f"{entity}|when={measure.when or ''}|of={measure.of or ''}|delay={measure.delay or ''}|{asked}"
        f"|rows_max={profile.rows_max}|epsilon_shift={profile.epsilon_shift}"
    )


def _read_rows(builder: _Builder, entity: str, name: str, profile: Profile, first: int) -> list[list[int]]:
    """Adds the features of one measure and returns their rows of the reads, with windows as (us, delay) pairs in column 2."""
    measure = profile.measures[name]
    condition = builder.condition(measure.when)
    delay_us = window_us(measure.delay) if measure.delay else 0
    # A measure of a value counts only events that have it, so that a mean divides by what it sums.
    source = builder.columns[measure.of] if measure.of else -1
    scale = 1_000_000 if measure.of and measure.of.startswith("numbers.") else 1
    counting = _measure_index(builder, first, (condition, source, layout.TRANSFORM_ONE, 1))
    rows = []
    for operation_name, (operation, unit, words) in _OPERATIONS.items():
        for window in getattr(measure, operation_name):
            total = square = counting
            if operation in (layout.OPERATION_SUM, layout.OPERATION_MEAN):
                total = _measure_index(builder, first, (condition, source, layout.TRANSFORM_VALUE, scale))
            elif operation in (layout.OPERATION_STD, layout.OPERATION_ZSCORE):
                total = _measure_index(builder, first, (condition, source, layout.TRANSFORM_LOG, 1))
                square = _measure_index(builder, first, (condition, source, layout.TRANSFORM_LOG_SQUARE, 1))
            texts = {"measure": "" if name == "event" else f"{name} ", "of": measure.of or "", "window": window}
            column = builder.feature(
                Feature(
                    f"{entity}.{name}_{operation_name}_{window}",
                    unit.format(**texts),
                    f"{words.format(**texts)} Per {entity}.",
                    definition=_definition(entity, profile, measure, f"{operation_name}|{window}"),
                    **curve_words(operation_name, entity, profile),
                )
            )
            answer_scale = scale if operation in (layout.OPERATION_SUM, layout.OPERATION_MEAN) else 1
            rows.append([operation, column, window_us(window), delay_us, counting, total, square, answer_scale])
    if measure.since_last:
        column = builder.feature(
            Feature(
                f"{entity}.{name}_since_last_s",
                "seconds",
                f"The time since the last {name} event. Per {entity}.",
                definition=_definition(entity, profile, measure, "since_last"),
                **curve_words("since_last", entity, profile),
            )
        )
        rows.append([layout.OPERATION_SINCE_LAST, column, -1, 0, counting, counting, counting, 1])
    return rows


def _add_profile(builder: _Builder, entity: str, profile: Profile, *, lateness_us: int) -> None:
    first = len(builder.measures)
    rows: list[list[int]] = []
    for name in profile.measures:
        rows += _read_rows(builder, entity, name, profile, first)
    if not rows:
        return
    windows = sorted({(row[2], row[3]) for row in rows if row[2] >= 0})
    reach_us = max((us + delay for us, delay in windows), default=0)
    if any(row[0] == layout.OPERATION_SINCE_LAST for row in rows):
        # The last event is looked for as far back as an idle entity is remembered, however short the windows are.
        reach_us = max(reach_us, MEMORY_US)
    # Reads of one window stand together, so that its two searches are done once.
    rows.sort(key=lambda row: (row[2], row[3], row[1]))
    read_first, window_first = len(builder.reads), len(builder.windows)
    for operation, column, us, delay_us, counting, total, square, scale in rows:
        window = windows.index((us, delay_us)) if us >= 0 else -1
        builder.reads.append([operation, column, window, counting, total, square, scale])
    builder.windows += windows
    row = [0] * layout.PROFILE_WORDS
    row[layout.PROFILE_TYPE] = ENTITY_INDEX[entity]
    row[layout.PROFILE_INCREMENT] = first
    row[layout.PROFILE_MEASURES] = len(builder.measures) - first
    row[layout.PROFILE_ROWS_MAX] = profile.rows_max
    row[layout.PROFILE_HORIZON_US] = reach_us + lateness_us
    row[layout.PROFILE_EPSILON_SHIFT] = profile.epsilon_shift
    row[layout.PROFILE_WINDOW], row[layout.PROFILE_WINDOWS] = window_first, len(windows)
    row[layout.PROFILE_FEATURE], row[layout.PROFILE_FEATURES] = read_first, len(rows)
    builder.profiles.append(row)


def _matrix(rows: Sequence[Sequence[int]], words: int) -> Ints:
    return np.array(rows, np.int64).reshape(len(rows), words)


def build_plan(inputs: Inputs, profiles: Mapping[str, Profile], *, lateness_us: int) -> VelocityPlan:
    """Builds the plan.

    Args:
        inputs: The declared numbers and labels.
        profiles: By entity name; names were checked.
        lateness_us: How late an event may be and still enter a window, microseconds.

    Returns:
        The plan; its features are the first columns of the features matrix.
    """
    builder = _Builder(columns={}, features=[])
    for feature in event_features(inputs):
        builder.feature(feature)
    first_seen = np.full(len(ENTITIES), -1, np.int64)
    horizons_us = [0] * len(ENTITIES)
    for entity, profile in profiles.items():
        _add_profile(builder, entity, profile, lateness_us=lateness_us)
        index = ENTITY_INDEX[entity]
        if profile.first_seen:
            name = f"{entity}.first_seen_age_s"
            words = f"The time since this {entity} was first seen."
            kept = kept_us(profile)
            told = first_seen_words(entity, kept_us=kept)
            definition = f"{entity}|first_seen|kept_us={kept}"
            first_seen[index] = builder.feature(Feature(name, "seconds", words, definition=definition, **told))
        horizons_us[index] = kept_us(profile) + lateness_us
    assert len(inputs.numbers) <= NUMBER_SLOTS
    return VelocityPlan(
        features=builder.features,
        conditions=builder.conditions,
        numbers=np.arange(len(inputs.numbers), dtype=np.int64),
        measures=_matrix(builder.measures, layout.MEASURE_WORDS),
        profiles=_matrix(builder.profiles, layout.PROFILE_WORDS),
        windows=_matrix(builder.windows, layout.WINDOW_WORDS),
        reads=_matrix(builder.reads, layout.FEATURE_WORDS),
        first_seen=first_seen,
        horizons_us=horizons_us,
    )
