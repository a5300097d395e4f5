"""Ordinary beginnings: accounts opened, cards applied for, virtual cards, promotions redeemed.

A part of the new accounts opens on a shop assistant's device, many in a day: what a device farm looks like at first
sight.

INVARIANT: an account of a new person is opened at its open time; nothing else of that person happens before (`run`
drops it).

Called by `run`.
"""

from typing import Any

import numpy as np

from riskengine.enums import Channel, Initiation, TransactionType, VerificationResult

from .catalogue import ONLINE_HOURS
from .config import US_PER_MINUTE, Generator
from .draft import Array, Ints, drafts, gaps_us
from .entities import Network
from .moments import connection, home_region, identity, moments, whereabouts
from .places import CITY_OFFSET_MINUTES
from .world import World

PROMOTION_RATE = 0.012
VIRTUAL_CARD_RATE = 0.004
COUNTER_SHARE = 0.18
"""Share of new accounts opened at a shop's counter."""

_PASSED = int(VerificationResult.PASSED)


def openings(world: World) -> list[Array]:
    """Makes the openings of new people's accounts, with applications for a card and welcome promotions."""
    rng = world.config.stream(7)
    person = np.flatnonzero(world.people.new)
    time_us = world.people.open_time_us[person]
    common = _context(rng, world, person, time_us)
    counters = max(1, len(person) // 60)
    devices = world.entities.devices.add(counters, region=0)
    regions = home_region(world, person)
    ips = world.entities.add_ips(regions[:counters] if len(person) else np.zeros(counters, np.int64), Network.HOME)
    counter = rng.integers(0, counters, len(person))
    there = rng.random(len(person)) < COUNTER_SHARE
    common["device"] = np.where(there, devices[counter], common["device"])
    common["ip"] = np.where(there, ips[counter], common["ip"])
    opened = drafts(
        len(person),
        time_us=time_us,
        type=int(TransactionType.ACCOUNT_OPENING),
        verified_one_time_code=_PASSED,
        **common,
    )
    return [
        opened,
        _follow(rng, opened, share=0.6, median_us=6 * US_PER_MINUTE, kind=TransactionType.CARD_APPLICATION),
        _follow(rng, opened, share=0.55, median_us=90 * US_PER_MINUTE, kind=TransactionType.PROMOTION_REDEMPTION),
    ]


def _follow(rng: Generator, opened: Array, *, share: float, median_us: float, kind: TransactionType) -> Array:
    """Makes what a share of the new accounts does some time after the opening, in the same place."""
    rows = opened[rng.random(len(opened)) < share]
    rows["time_us"] += gaps_us(rng, len(rows), median_us=median_us, spread=1.2)
    rows["type"] = int(kind)
    rows["verified_one_time_code"] = 0
    return rows


def _context(rng: Generator, world: World, person: Ints, time_us: Ints) -> dict[str, Any]:
    """Returns the columns of acts in the app or on the site."""
    city, away = whereabouts(world, person, time_us)
    return {
        "offset_minutes": CITY_OFFSET_MINUTES[city],
        "initiation": int(Initiation.PAYER),
        **connection(rng, world, person, time_us, city, away),
        **identity(world, person),
    }


def extras(world: World) -> list[Array]:
    """Makes promotions redeemed and virtual cards issued by people who have had their account for long."""
    rng = world.config.stream(8)
    made = []
    kinds = (
        (TransactionType.PROMOTION_REDEMPTION, PROMOTION_RATE),
        (TransactionType.VIRTUAL_CARD_ISSUE, VIRTUAL_CARD_RATE),
    )
    for kind, rate in kinds:
        acts = moments(rng, world, rate_per_day=rate, hours=ONLINE_HOURS)
        time_us = acts.utc_us(world)
        common = _context(rng, world, acts.person, time_us)
        common["channel"] = int(Channel.MOBILE_APP)
        made.append(drafts(len(acts.person), time_us=time_us, type=int(kind), **common))
    return made
