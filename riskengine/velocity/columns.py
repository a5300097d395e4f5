"""One profile's answers: which columns its curve keeps, and what is read of them.

A curve's row holds sums, then extremes; what only rates need stands behind them in the increments and in no row.

INVARIANTS: equal columns are kept once; the order of everything follows from the declaration. Called by `velocity.plan`.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Final

from riskengine.feature import Feature
from riskengine.tables.layout import MEMORY_US
from riskengine.velocity import layout
from riskengine.velocity.operations import OPERATIONS, Operation, own_words
from riskengine.velocity.schema import Measure, Places, Profile, ratio_windows, window_us
from riskengine.velocity.words import curve_words, place_words

Key = tuple[int, int, int, int]
"""A column of the increments: condition, source, transform, scale."""
AddFeature = Callable[[Feature], int]
_EXTREMES: Final = frozenset({layout.TRANSFORM_MAX, layout.TRANSFORM_MIN})
_AMOUNTS: Final = frozenset({layout.OPERATION_SUM, layout.OPERATION_MEAN, layout.OPERATION_MAX, layout.OPERATION_MIN})
"""Operations that answer in units of what is measured."""
NUMBER_SCALE: Final = 1_000_000
"""The caller's numbers are kept in millionths."""


@dataclass(slots=True)
class _Read:
    """One answer, before the places of its columns are known."""

    operation: int
    column: int
    count: Key
    window_us: int = -1
    delay_us: int = 0
    total: Key | None = None
    square: Key | None = None
    scale: int = 1
    own: int = 1
    long_us: int = -1
    other: int = 0


_SUMS: Final = 0
_MEANS: Final = 1
_OTHERS: Final = 2


def _group(read: _Read) -> int:
    """Returns what an answer is computed together with."""
    if read.operation in (layout.OPERATION_COUNT, layout.OPERATION_SUM):
        return _SUMS
    return _MEANS if read.operation == layout.OPERATION_MEAN else _OTHERS


def _read_order(read: _Read) -> tuple[bool, int, int, int, int]:
    return (read.window_us >= 0, read.delay_us, read.window_us, _group(read), read.column)


def asked_windows(measure: Measure) -> Iterator[str]:
    """Yields every window of a measure that a curve must reach back for."""
    for key in OPERATIONS:
        yield from getattr(measure, key)
    for ratio in measure.ratio:
        yield from ratio_windows(ratio)


def place_features(entity: str, places: Places) -> Iterator[tuple[int, Feature]]:
    """Yields what is asked of an entity's places, with the word of the plan that holds its column."""
    if places.region:
        words = f"Whether the region is another one than when this {entity} was last seen."
        definition = f"{entity}|region_changed|{','.join(places.region)}"
        told = place_words("region_changed", entity)
        feature = Feature(f"{entity}.region_changed", "yes or no", words, boolean=True, definition=definition, **told)
        yield layout.PLACE_COLUMN_CHANGED, feature
    if places.travel:
        words = f"How fast this {entity} went from its last position to this one."
        told, definition = place_words("travel_speed", entity), f"{entity}|travel_speed"
        feature = Feature(f"{entity}.travel_speed_kmh", "km/h", words, definition=definition, **told)
        yield layout.PLACE_COLUMN_SPEED, feature
    if places.home:
        words = f"How far this is from where this {entity} usually is."
        definition = f"{entity}|home_distance|{places.home}"
        told = place_words("home_distance", entity)
        feature = Feature(f"{entity}.home_distance_km", "km", words, definition=definition, **told)
        yield layout.PLACE_COLUMN_HOME, feature


class ProfileColumns:
    """Collects the columns and the answers of one profile.

    Args:
        entity: Name of its entity type.
        profile: The declaration; names were checked.
        sources: Columns of the features that may be measured, by name.

    Attributes:
        sums, extremes, loose: Columns that the curve adds up, takes the largest of, and that only rates read.
        reads: Answers in the order of their features.
    """

    def __init__(self, entity: str, profile: Profile, sources: Mapping[str, int]) -> None:
        self.entity = entity
        self.profile = profile
        self._sources = sources
        self.sums: list[Key] = []
        self.extremes: list[Key] = []
        self.loose: list[Key] = []
        self.reads: list[_Read] = []
        self._rates: list[tuple[Key, list[int]]] = []

    def add(self, name: str, *, condition: int, feature: AddFeature) -> None:
        """Adds all answers of one measure.

        Args:
            name: Of the measure.
            condition: Column of its condition, -1 for none.
            feature: Adds a feature and returns its column.
        """
        measure = self.profile.measures[name]
        for key, operations in OPERATIONS.items():
            for window in getattr(measure, key):
                for operation in operations:
                    self._add_operation(name, operation, window, condition, feature)
        for ratio in measure.ratio:
            self._add_ratio(name, ratio, condition, feature)
        for half_life in measure.rate:
            self._add_rate(name, half_life, condition, feature)
        self._add_gaps(name, condition, feature)

    def _named(self, name: str, operation: str, suffix: str, unit: str, words: str, asked: str) -> Feature:
        """Returns a feature. The profile's bounds are in its definition: beyond its rows an answer is an estimate."""
        measure, profile = self.profile.measures[name], self.profile
        current = "" if measure.include_current is None else f"|include_current={measure.include_current}"
        definition = (
            f"{self.entity}|when={measure.when or ''}|of={measure.of or ''}|delay={measure.delay or ''}|{asked}"
            f"|rows_max={profile.rows_max}|epsilon_shift={profile.epsilon_shift}{current}"
        )
        told = curve_words(operation, self.entity, profile)
        return Feature(
            f"{self.entity}.{name}_{suffix}", unit, f"{words} Per {self.entity}.", definition=definition, **told
        )

    def _source(self, measure: Measure) -> tuple[int, int]:
        """Returns the column of what is measured, -1 for none, and the scale it is kept at."""
        source = self._sources[measure.of] if measure.of else -1
        return source, NUMBER_SCALE if measure.of and measure.of.startswith("numbers.") else 1

    def _keep(self, *keys: Key | None) -> None:
        for key in keys:
            columns = self.extremes if key is not None and key[2] in _EXTREMES else self.sums
            if key is not None and key not in columns:
                columns.append(key)

    def _add_operation(self, name: str, operation: Operation, window: str, condition: int, feature: AddFeature) -> None:
        measure = self.profile.measures[name]
        source, scale = self._source(measure)
        if operation.total == layout.TRANSFORM_SIN:
            source = layout.COLUMN_HOUR_LOCAL  # Only events that have an hour tell of a habit.
        own = operation.own if measure.include_current is None else measure.include_current
        texts = {"measure": "" if name == "event" else f"{name} ", "of": measure.of or "", "window": window}
        words = operation.words.format(**texts, own=own_words(own))
        told = self._named(
            name,
            operation.suffix,
            f"{operation.suffix}_{window}",
            operation.unit.format(**texts),
            words,
            f"{operation.suffix}|{window}",
        )
        in_units = operation.code in _AMOUNTS
        read = _Read(
            operation.code,
            feature(told),
            # A measure of a value counts only events that have it, so that a mean divides by what it sums.
            count=(condition, source, layout.TRANSFORM_ONE, 1),
            window_us=window_us(window),
            delay_us=window_us(measure.delay) if measure.delay else 0,
            total=None if operation.total is None else (condition, source, operation.total, scale if in_units else 1),
            square=None if operation.square is None else (condition, source, operation.square, 1),
            scale=scale if in_units else 1,
            own=int(own or operation.code == layout.OPERATION_ZSCORE),
        )
        self.reads.append(read)
        self._keep(read.count, read.total, read.square)

    def _add_ratio(self, name: str, ratio: str, condition: int, feature: AddFeature) -> None:
        measure = self.profile.measures[name]
        short, long = ratio_windows(ratio)
        own = measure.include_current is not False
        words = f"How many times the rate of {name} events over {long} the one over {short} is, {own_words(own)}; 1 is as ever."
        told = self._named(name, "ratio", f"ratio_{short}_{long}", "times", words, f"ratio|{ratio}")
        read = _Read(
            layout.OPERATION_RATIO,
            feature(told),
            count=(condition, self._source(measure)[0], layout.TRANSFORM_ONE, 1),
            window_us=window_us(short),
            delay_us=window_us(measure.delay) if measure.delay else 0,
            long_us=window_us(long),
            own=int(own),
        )
        self.reads.append(read)
        self._keep(read.count)

    def _add_gaps(self, name: str, condition: int, feature: AddFeature) -> None:
        measure = self.profile.measures[name]
        count = (condition, self._source(measure)[0], layout.TRANSFORM_ONE, 1)
        asked = []
        if measure.since_last:
            words = f"The time since the last {name} event."
            asked.append((layout.OPERATION_SINCE_LAST, "since_last", 1, "since_last_s", words, "since_last"))
        for number in range(1, measure.gaps + 1):
            words = f"The time between {name} events: gap {number}, counted back from this event."
            asked.append((layout.OPERATION_GAP, "gap", number, f"gap_{number}_s", words, f"gap|{number}"))
        for operation, key, number, suffix, words, definition in asked:
            column = feature(self._named(name, key, suffix, "seconds", words, definition))
            self.reads.append(_Read(operation, column, count=count, other=number))
            self._keep(count)

    def _add_rate(self, name: str, half_life: str, condition: int, feature: AddFeature) -> None:
        measure = self.profile.measures[name]
        source, scale = self._source(measure)
        own = measure.include_current is not False
        what, unit = (measure.of, f"units of {measure.of}") if measure.of else (f"{name} events", "events")
        words = f"What {what} add up to where half is forgotten every {half_life}, {own_words(own)}."
        column = feature(self._named(name, "rate", f"rate_{half_life}", unit, words, f"rate|{half_life}"))
        valued = measure.of is not None
        key = (condition, source, layout.TRANSFORM_VALUE if valued else layout.TRANSFORM_ONE, scale if valued else 1)
        row = [0] * layout.RATE_WORDS
        row[layout.RATE_HALF_LIFE_US] = window_us(half_life)
        row[layout.RATE_SHIFT] = layout.RATE_VALUE_SHIFT if valued else layout.RATE_COUNT_SHIFT
        row[layout.RATE_COLUMN], row[layout.RATE_SCALE] = column, key[3]
        row[layout.RATE_OWN] = int(own)
        self._rates.append((key, row))

    def measures(self) -> list[Key]:
        """Returns the columns of the increments, when all answers were added."""
        kept = [*self.sums, *self.extremes]
        self.loose = list(dict.fromkeys(key for key, _ in self._rates if key not in kept))
        return [*kept, *self.loose]

    def windows(self) -> list[tuple[int, int]]:
        """Returns the (delay, window) that are read, microseconds, the shortest of each delay first."""
        pairs = chain.from_iterable(
            ((read.delay_us, read.window_us), (read.delay_us, read.long_us)) for read in self.reads
        )
        return sorted({pair for pair in pairs if pair[1] >= 0})

    def reach_us(self) -> int:
        """Returns how far back the curve is read, microseconds."""
        reaches = [us + delay_us for delay_us, us in self.windows()]
        if any(read.window_us < 0 for read in self.reads):
            # The last event is looked for as far back as an idle entity is remembered, however short the windows are.
            reaches.append(MEMORY_US)
        return max(reaches, default=0)

    def gaps(self) -> int:
        """Returns how many answers ask for no window."""
        return sum(read.window_us < 0 for read in self.reads)

    def window_rows(self) -> list[list[int]]:
        """Returns the windows for the kernels; each says which of `read_rows` are its own."""
        rows = []
        first = self.gaps()
        for delay_us, us in self.windows():
            groups = [_group(read) for read in self.reads if (read.delay_us, read.window_us) == (delay_us, us)]
            row = [0] * layout.WINDOW_WORDS
            row[layout.WINDOW_US], row[layout.WINDOW_DELAY_US], row[layout.WINDOW_FEATURE] = us, delay_us, first
            row[layout.WINDOW_SUMS], row[layout.WINDOW_MEANS] = groups.count(_SUMS), groups.count(_MEANS)
            row[layout.WINDOW_FEATURES] = len(groups)
            first += len(groups)
            rows.append(row)
        return rows

    def read_rows(self) -> list[list[int]]:
        """Returns the answers for the kernels: those without a window, then window by window, sums before means before others."""
        columns, windows = [*self.sums, *self.extremes], self.windows()
        rows = []
        for read in sorted(self.reads, key=_read_order):
            row = [0] * layout.FEATURE_WORDS
            row[layout.FEATURE_OPERATION], row[layout.FEATURE_COLUMN] = read.operation, read.column
            row[layout.FEATURE_COUNT] = columns.index(read.count)
            row[layout.FEATURE_SUM] = columns.index(read.total or read.count)
            row[layout.FEATURE_SQUARE] = columns.index(read.square or read.count)
            row[layout.FEATURE_SCALE], row[layout.FEATURE_OWN] = read.scale, read.own
            row[layout.FEATURE_OTHER] = read.other
            if read.long_us >= 0:
                row[layout.FEATURE_OTHER] = windows.index((read.delay_us, read.long_us))
            rows.append(row)
        return rows

    def rate_rows(self, entity_type: int, first: int) -> list[list[int]]:
        """Returns the rates for the kernels, their registers not placed yet.

        Args:
            entity_type: Whose rates they are.
            first: Column of the increments at which `measures` begin.
        """
        columns = [*self.sums, *self.extremes, *self.loose]
        for key, row in self._rates:
            row[layout.RATE_TYPE], row[layout.RATE_INCREMENT] = entity_type, first + columns.index(key)
        return [row for _, row in self._rates]
