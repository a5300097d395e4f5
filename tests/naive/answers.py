"""Plain versions of what velocity answers: each from all earlier events of an entity, with no curve and no register."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from riskengine.enums import Kind
from riskengine.tables.layout import MEMORY_US
from riskengine.types import MISSING
from riskengine.velocity import layout
from riskengine.velocity.schema import Measure, Places, ratio_windows, window_us

from .registers import Place, Rate
from .velocity import log2_fixed

VALUE_MAX = float(layout.VALUE_MAX)
Condition = Callable[[np.void], bool]
Answers = dict[str, float]


@dataclass(frozen=True)
class Measured:
    """A measure with what its names mean.

    Attributes:
        measure: As it is declared.
        conditions: What each CEL text means.
        numbers: Slot of each of the caller's numbers.
    """

    measure: Measure
    conditions: Mapping[str, Condition]
    numbers: Mapping[str, int]

    def includes(self, default: bool) -> bool:
        """Tells whether the event itself is a part of an answer."""
        return default if self.measure.include_current is None else self.measure.include_current

    @property
    def scale(self) -> int:
        """A number of the caller's is kept in millionths, an amount as it is."""
        return 1 if self.measure.of == "txn.amount" else 1_000_000

    def _of(self, event: np.void) -> float | None:
        """Returns what is measured, None where the event has none."""
        if self.measure.of == "txn.amount":
            amount = int(event["amount_base_minor"])
            return None if amount == MISSING else float(amount)
        assert self.measure.of is not None
        number = float(event[f"number_{self.numbers[self.measure.of.removeprefix('numbers.')]}"])
        return None if math.isnan(number) else number

    def value(self, event: np.void) -> int:
        """Returns what a sum adds, in units of 1 / scale, within what may be added up."""
        return round(max(-VALUE_MAX, min((self._of(event) or 0.0) * self.scale, VALUE_MAX)))

    def log(self, event: np.void) -> int:
        """Returns the logarithm as it is kept, of the whole units."""
        return log2_fixed(round(max(0.0, min(self._of(event) or 0.0, VALUE_MAX))))

    def counts(self, event: np.void) -> bool:
        """Tells whether an event counts: its condition holds, and it has what is measured."""
        if self.measure.when is not None and not self.conditions[self.measure.when](event):
            return False
        return self.measure.of is None or self._of(event) is not None

    def inside(self, events: list[np.void], window: str, time_us: int) -> list[np.void]:
        """Returns the events of a window that count."""
        end = time_us - (window_us(self.measure.delay) if self.measure.delay else 0)
        start = end - window_us(window)
        return [e for e in events if start < e["event_time_us"] <= end and self.counts(e)]


def measure_answers(answers: Answers, prefix: str, measured: Measured, event: np.void, earlier: list[np.void]) -> None:
    measure = measured.measure
    time_us = int(event["event_time_us"])
    with_own = [*earlier, event]
    usual = with_own if measured.includes(True) else earlier
    apart = with_own if measured.includes(False) else earlier
    for window in measure.count:
        answers[f"{prefix}_count_{window}"] = float(len(measured.inside(usual, window, time_us)))
    for window in measure.sum:
        total = sum(measured.value(e) for e in measured.inside(usual, window, time_us))
        answers[f"{prefix}_sum_{window}"] = total / float(measured.scale)
    for window in measure.mean:
        values = [measured.value(e) for e in measured.inside(apart, window, time_us)]
        if values:
            answers[f"{prefix}_mean_{window}"] = sum(values) / float(len(values)) / float(measured.scale)
    for windows, operation, best in ((measure.max, "max", max), (measure.min, "min", min)):
        for window in windows:
            values = [measured.value(e) for e in measured.inside(apart, window, time_us)]
            if values:
                answers[f"{prefix}_{operation}_{window}"] = best(values) / float(measured.scale)
    for ratio in measure.ratio:
        short, long = ratio_windows(ratio)
        within = len(measured.inside(usual, short, time_us))
        overall = len(measured.inside(usual, long, time_us))
        if overall:
            faster = within / float(overall) * (window_us(long) / float(window_us(short)))
            answers[f"{prefix}_ratio_{short}_{long}"] = faster
    _spreads(answers, prefix, measured, event, earlier)
    _hours(answers, prefix, measured, event, apart)
    _rates(answers, prefix, measured, event, earlier)
    _gaps(answers, prefix, measured, time_us, earlier)


def _spreads(answers: Answers, prefix: str, measured: Measured, event: np.void, earlier: list[np.void]) -> None:
    measure = measured.measure
    time_us = int(event["event_time_us"])
    asked = [(window, "std", measured.includes(False)) for window in measure.std]
    asked += [(window, "zscore", False) for window in measure.zscore]
    for window, operation, own in asked:
        logs = [measured.log(e) for e in measured.inside([*earlier, event] if own else earlier, window, time_us)]
        if len(logs) < layout.STD_EVENTS_MIN:
            continue
        mean = sum(logs) / float(len(logs))
        squares = sum(log * log for log in logs) / float(len(logs))
        spread = math.sqrt(max(squares - mean * mean, 0.0)) / 4096
        if operation == "std":
            answers[f"{prefix}_std_{window}"] = spread
        elif measured.counts(event) and not measure.delay:
            own_log = measured.log(event) / 4096
            answers[f"{prefix}_zscore_{window}"] = (own_log - mean / 4096) / max(spread, layout.STD_FLOOR)


def _minute(event: np.void) -> int | None:
    if event["utc_offset_minutes"] == MISSING:
        return None
    local_us = int(event["event_time_us"]) + int(event["utc_offset_minutes"]) * 60_000_000
    return local_us // 60_000_000 % layout.MINUTES_PER_DAY


def _angle(event: np.void) -> tuple[int, int]:
    """Returns sine and cosine of an event's minute of the day, as they are kept."""
    minute = _minute(event)
    assert minute is not None
    turn = 2 * math.pi * minute / layout.MINUTES_PER_DAY
    return round(math.sin(turn) * 2**20), round(math.cos(turn) * 2**20)


def _hours(answers: Answers, prefix: str, measured: Measured, event: np.void, events: list[np.void]) -> None:
    """Answers from all angles, by the sums of their sines and cosines."""
    time_us = int(event["event_time_us"])
    timed = Measured(measured.measure.model_copy(update={"of": None}), measured.conditions, measured.numbers)
    for window in measured.measure.hour:
        angles = [_angle(e) for e in timed.inside(events, window, time_us) if _minute(e) is not None]
        if len(angles) < layout.HOUR_EVENTS_MIN:
            continue
        sines, cosines = sum(sine for sine, _ in angles), sum(cosine for _, cosine in angles)
        length = min(math.hypot(sines, cosines) / len(angles) / 2**20, 1.0)
        if length < 0.53:
            kappa = 2 * length + length**3 + 5 * length**5 / 6
        elif length < 0.85:
            kappa = -0.4 + 1.39 * length + 0.43 / (1 - length)
        else:
            rest = length**3 - 4 * length**2 + 3 * length
            kappa = min(1 / rest, layout.CONCENTRATION_MAX) if rest > 0 else layout.CONCENTRATION_MAX
        answers[f"{prefix}_hour_concentration_{window}"] = kappa
        if timed.counts(event) and _minute(event) is not None and (sines or cosines):
            sine, cosine = _angle(event)
            apart = math.degrees(math.atan2(sine, cosine) - math.atan2(sines, cosines)) / 15 % 24
            answers[f"{prefix}_hour_deviation_{window}"] = min(apart, 24 - apart)


def _rates(answers: Answers, prefix: str, measured: Measured, event: np.void, earlier: list[np.void]) -> None:
    valued = measured.measure.of is not None
    scale = measured.scale if valued else 1

    def increment(e: np.void) -> int:
        if not measured.counts(e):
            return 0
        return measured.value(e) if valued else 1

    for half_life in measured.measure.rate:
        shift = layout.RATE_VALUE_SHIFT if valued else layout.RATE_COUNT_SHIFT
        rate = Rate(window_us(half_life), shift)
        for e in earlier:
            rate.add(increment(e), int(e["event_time_us"]))
        own = increment(event) if measured.includes(True) else 0
        answers[f"{prefix}_rate_{half_life}"] = (rate.at(int(event["event_time_us"])) + own) / float(scale)


def _gaps(answers: Answers, prefix: str, measured: Measured, time_us: int, earlier: list[np.void]) -> None:
    times = sorted((int(e["event_time_us"]) for e in earlier if measured.counts(e)), reverse=True)
    times = [time_us, *(time for time in times if time_us - MEMORY_US < time <= time_us)]
    gaps = [(later - time) / 1e6 for later, time in pairwise(times)]
    if measured.measure.since_last and gaps:
        answers[f"{prefix}_since_last_s"] = gaps[0]
    for number, gap in enumerate(gaps[: measured.measure.gaps], start=1):
        answers[f"{prefix}_gap_{number}_s"] = gap


def place_answers(answers: Answers, entity: str, places: Places, event: np.void, earlier: list[np.void]) -> None:
    place = Place(places.region, window_us(places.home) if places.home else 0)
    for e in earlier:
        if e["kind"] != Kind.OUTCOME:
            place.add(e)
    asked = {"region_changed": places.region, "travel_speed_kmh": places.travel, "home_distance_km": places.home}
    for name, value in place.answers(event).items():
        if asked[name]:
            answers[f"{entity}.{name}"] = value
