"""Plain versions of registers: rates that halve with time, places, and the tags of declared entities.

Each answer is taken from all earlier events of the entity, in the order they came, with integers of any size.
"""

import math
from collections.abc import Sequence

import numpy as np

from riskengine.velocity import layout

MASK = (1 << 64) - 1
DEGREE = 10_000_000
HALF_TURN = 180 * DEGREE


def mix(value: int) -> int:
    """Returns SplitMix64's finaliser of an unsigned word."""
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & MASK
    return value ^ (value >> 31)


def fields_tag(fields: Sequence[int]) -> int:
    """Returns the tag of a tuple of fields, 0 where one is missing."""
    tag = 0x9E3779B97F4A7C15
    for field in fields:
        if field == 0:
            return 0
        tag = mix(tag ^ (field & MASK))
    return tag or 1


def decayed(value: int, elapsed_steps: int) -> int:
    """Returns value * 2**(-steps / DECAY_STEPS), rounded towards 0 as the kernel's fixed point does."""
    halvings, step = divmod(elapsed_steps, layout.DECAY_STEPS)
    if halvings > 44:
        return 0
    size: int = abs(value) * layout.DECAY_FACTORS[step] // 2**17 // 2 ** (layout.DECAY_BITS - 17) // 2**halvings
    return size if value >= 0 else -size


def steps(elapsed_us: int, half_life_us: int) -> int:
    """Returns the whole steps that have passed."""
    halvings, rest = divmod(elapsed_us, half_life_us)
    return halvings * layout.DECAY_STEPS + rest * layout.DECAY_STEPS // half_life_us


class Rate:
    """A sum that halves with time."""

    def __init__(self, half_life_us: int, shift: int) -> None:
        self.half_life_us = half_life_us
        self.shift = shift
        self.value = 0
        self.time_us = 0

    def add(self, increment: int, time_us: int) -> None:
        """Takes one event; nothing happens where it adds nothing."""
        if increment == 0:
            return
        bound = layout.RATE_VALUE_MAX
        added = max(-(bound >> self.shift), min(increment, bound >> self.shift)) << self.shift
        if self.value == 0:
            self.time_us = time_us
        elif time_us >= self.time_us:
            passed = steps(time_us - self.time_us, self.half_life_us)
            self.value = decayed(self.value, passed)
            halvings, step = divmod(passed, layout.DECAY_STEPS)
            self.time_us += halvings * self.half_life_us + step * self.half_life_us // layout.DECAY_STEPS
        else:
            added = decayed(added, steps(self.time_us - time_us, self.half_life_us))
        self.value = max(-bound, min(self.value + added, bound))

    def at(self, time_us: int) -> float:
        """Returns what is left at a time; as of the newest event for an earlier one."""
        value = self.value
        if time_us >= self.time_us:
            value = decayed(value, steps(time_us - self.time_us, self.half_life_us))
        return value / float(1 << self.shift)


def distance_km(one: tuple[int, int], other: tuple[int, int]) -> float:
    """Returns the great-circle distance by the law of haversines."""
    latitude, longitude, other_latitude, other_longitude = (
        math.radians(value / DEGREE) for position in (one, other) for value in position
    )
    half = math.sin((other_latitude - latitude) / 2) ** 2
    half += math.cos(latitude) * math.cos(other_latitude) * math.sin((other_longitude - longitude) / 2) ** 2
    return 2 * 6371.0088 * math.asin(math.sqrt(min(half, 1.0)))


def position_of(event: np.void) -> tuple[int, int] | None:
    """Returns where an event was, in 1e-7 degrees."""
    latitude, longitude = float(event["latitude_degrees"]), float(event["longitude_degrees"])
    if not (abs(latitude) <= 90 and abs(longitude) <= 180):
        return None
    return round(latitude * DEGREE), round(longitude * DEGREE)


class Place:
    """Where an entity was.

    Args:
        regions: Columns of the event, the first that is told counts.
        half_life_us: Of the weight of a position in the home, 0 for no home.
    """

    def __init__(self, regions: Sequence[str], half_life_us: int) -> None:
        self.regions = regions
        self.weight = Rate(half_life_us, layout.RATE_COUNT_SHIFT) if half_life_us else None
        self.region = (0, 0)
        self.position: tuple[tuple[int, int], int] | None = None
        self.home = (0, 0)

    def region_of(self, event: np.void) -> int:
        """Returns the region that counts, 0 for none."""
        return next((int(event[name]) for name in self.regions if event[name]), 0)

    def add(self, event: np.void) -> None:
        """Takes one event."""
        time_us, region, position = int(event["event_time_us"]), self.region_of(event), position_of(event)
        if region and (self.region[0] == 0 or time_us >= self.region[1]):
            self.region = region, time_us
        if position is None:
            return
        if self.weight is not None:
            self._move_home(position, time_us)
        if self.position is None or time_us >= self.position[1]:
            self.position = position, time_us

    def _move_home(self, position: tuple[int, int], time_us: int) -> None:
        assert self.weight is not None
        first = self.weight.value == 0
        self.weight.add(1, time_us)
        if first:
            self.home = position
            return
        own = 1 << layout.RATE_COUNT_SHIFT
        if self.weight.time_us > time_us:
            own = decayed(own, steps(self.weight.time_us - time_us, self.weight.half_life_us))
        latitude, longitude = self.home
        turn = (position[1] - longitude + HALF_TURN) % (2 * HALF_TURN) - HALF_TURN
        latitude += (position[0] - latitude) * own // self.weight.value
        longitude = (longitude + turn * own // self.weight.value + HALF_TURN) % (2 * HALF_TURN) - HALF_TURN
        self.home = latitude, longitude

    def answers(self, event: np.void) -> dict[str, float]:
        """Returns what is told of an event against all before it."""
        told = {}
        region, position = self.region_of(event), position_of(event)
        if region and self.region[0]:
            told["region_changed"] = float(region != self.region[0])
        if position is not None and self.position is not None:
            apart_us = max(abs(int(event["event_time_us"]) - self.position[1]), layout.SPEED_TIME_US_MIN)
            told["travel_speed_kmh"] = distance_km(self.position[0], position) / (apart_us / 3.6e9)
            if self.weight is not None:
                told["home_distance_km"] = distance_km(self.home, position)
        return told
