"""When and where somebody acts, and with which device and connection.

INVARIANT: times are UTC microseconds; a person on a journey has the place and the offset of the destination.

Called by the modules that make ordinary events, and by the fraud modules for their victims.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from riskengine.enums import Channel
from riskengine.types import US_PER_DAY

from .catalogue import WEEKDAY_WEIGHT
from .config import US_PER_HOUR, US_PER_MINUTE, Generator
from .draft import Flags, Ints, choose
from .places import CITY_OFFSET_MINUTES, CITY_REGION
from .world import World


@dataclass(frozen=True, slots=True)
class Moments:
    """Acts of people, before they become events; all of shape (acts,).

    Attributes:
        person: Who.
        day: Local day, counted from the first.
        of_day_us: Local time of day, microseconds.
        city: Where.
        away: Whether on a journey.
    """

    person: Ints
    day: Ints
    of_day_us: Ints
    city: Ints
    away: Flags

    def utc_us(self, world: World) -> Ints:
        """Returns the instants, microseconds since the epoch."""
        local = world.config.start_us + self.day * US_PER_DAY + self.of_day_us
        utc: Ints = local - CITY_OFFSET_MINUTES[self.city] * US_PER_MINUTE
        return utc


def moments(rng: Generator, world: World, *, rate_per_day: Any, hours: Sequence[float]) -> Moments:
    """Draws acts of everybody.

    Args:
        rate_per_day: Mean acts a person and day, scalar or shape (people,); each person's activity multiplies it.
        hours: Relative rate in each local hour.
    """
    config, people = world.config, world.people
    # A day more on each side: local days of places east and west overlap the simulated span.
    counts = rng.poisson(people.activity * rate_per_day * (config.days + 2))
    person = np.repeat(np.arange(config.people), counts)
    weekday = (np.arange(-1, config.days + 1) + config.start.weekday()) % 7
    day = choose(rng, len(person), np.asarray(WEEKDAY_WEIGHT)[weekday]) - 1
    hour = choose(rng, len(person), hours)
    of_day = ((hour + rng.random(len(person))) * US_PER_HOUR).astype(np.int64) + people.shift_us[person]
    of_day %= US_PER_DAY
    city, away = whereabouts(world, person, config.start_us + day * US_PER_DAY + of_day)
    return Moments(person, day, of_day, city, away)


def whereabouts(world: World, person: Ints, time_us: Ints) -> tuple[Ints, Flags]:
    """Returns the city each person is in at a time, and whether that is on a journey."""
    people = world.people
    city = people.city[person]
    away = np.zeros(len(person), np.bool_)
    for number in range(people.journey_city.shape[1]):
        start = people.journey_start_us[person, number]
        there = (time_us >= start) & (time_us < people.journey_end_us[person, number])
        city = np.where(there, people.journey_city[person, number], city)
        away |= there
    return city, away


def connection(rng: Generator, world: World, person: Ints, time_us: Ints, city: Ints, away: Flags) -> dict[str, Ints]:
    """Draws device, IP address and channel of online acts.

    Returns:
        Columns ``device``, ``ip`` and ``channel`` of drafts.
    """
    people = world.people
    count = len(person)
    changed = (time_us >= people.phone_change_us[person]).astype(np.int64)
    phone = people.phone_device[person, changed]
    laptop = people.laptop[person]
    seated = (laptop >= 0) & (rng.random(count) < 0.35) & ~away
    # Now and then somebody acts on the partner's phone.
    borrowed = rng.random(count) < 0.02
    partners = people.phone_device[people.partner[person], 0]
    device = np.where(seated, laptop, np.where(borrowed, partners, phone))
    home = people.home_ip[person, (time_us >= people.ip_change_us[person]).astype(np.int64)]
    drawn = rng.random(count)
    ip = np.where(drawn < 0.58, home, np.where(drawn < 0.86, people.mobile_ip[person], people.office_ip[person]))
    wifi = world.wifi_ip[city, rng.integers(0, world.wifi_ip.shape[1], count)]
    ip = np.where(away, np.where(drawn < 0.5, wifi, people.mobile_ip[person]), ip)
    in_app = ~seated & (rng.random(count) < 0.7)
    channel = np.where(in_app, int(Channel.MOBILE_APP), int(Channel.WEB))
    return {"device": device, "ip": np.where(seated, home, ip), "channel": channel}


def identity(world: World, person: Ints) -> dict[str, Any]:
    """Returns the columns account, email and phone of drafts of these people."""
    return account_columns(world, world.people.account[person])


def account_columns(world: World, accounts: Ints) -> dict[str, Any]:
    """Returns the columns account, email and phone of drafts on these accounts."""
    table = world.entities.accounts
    return {"account": accounts, "email": table.column("email")[accounts], "phone": table.column("phone")[accounts]}


def home_region(world: World, person: Ints) -> Ints:
    """Returns the region each person lives in."""
    return CITY_REGION[world.people.city[person]]
