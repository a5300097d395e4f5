"""The merchants, and how a payer picks one.

INVARIANT: merchants are sorted by venue and city, so a venue in a city is one run of rows and a draw by popularity is
one binary search.

Called by `world` and by the modules that make payments.
"""

from dataclasses import dataclass

import numpy as np

from .catalogue import (
    CATEGORY_CLOSES_HOUR,
    CATEGORY_OPENS_HOUR,
    CATEGORY_PRICE_LOG,
    CATEGORY_RISKY,
    CATEGORY_SPREAD,
    CATEGORY_VENUE,
    CATEGORY_WEIGHT,
    Venue,
)
from .config import US_PER_HOUR, Generator, SimulationConfig
from .draft import Array, Floats, Ints, choose
from .entities import Entities
from .places import CITIES, CITY_LATITUDE, CITY_LONGITUDE, CITY_REGION, CITY_SHARE, REGION_CURRENCY, UNITS_PER_EUR

SHOPS_PER_CITY_MIN = 26


@dataclass(frozen=True, slots=True)
class Market:
    """Popularity of the merchants, cumulated over the sorted rows.

    Attributes:
        edges: Cumulative weight before each merchant, shape (merchants + 1,).
        first: First row of each segment, shape (segments,): one for each city's shops, then online, then subscriptions.
        last: Row after its last.
        risky_rows: Online merchants whose goods sell on easily.
        small_rows: Online merchants of small prices, which card testers like.
    """

    edges: Floats
    first: Ints
    last: Ints
    risky_rows: Ints
    small_rows: Ints

    def draw(self, rng: Generator, segments: Ints) -> Ints:
        """Draws a merchant from each segment by popularity, shape of `segments`."""
        first, last = self.first[segments], self.last[segments]
        at = self.edges[first] + rng.random(len(segments)) * (self.edges[last] - self.edges[first])
        rows = np.searchsorted(self.edges, at, side="right") - 1
        return np.clip(rows, first, last - 1)


def segment_of(venue: Venue) -> int:
    """Returns the segment of a venue that is not tied to a city."""
    return len(CITIES) + int(venue) - 1


def add_merchants(rng: Generator, config: SimulationConfig, entities: Entities) -> Market:
    """Builds the merchants, about 0.08 for each person and at least 26 shops a city."""
    shops = np.maximum(SHOPS_PER_CITY_MIN, (0.06 * config.people * CITY_SHARE).astype(np.int64))
    counts = np.concatenate((shops, [max(80, config.people // 60), max(24, config.people // 250)]))
    segments = np.repeat(np.arange(len(counts)), counts)
    venue = np.maximum(segments - len(CITIES) + 1, 0)
    count = len(segments)
    category = np.empty(count, np.int64)
    for number in range(3):
        rows = np.flatnonzero(venue == number)
        category[rows] = choose(rng, len(rows), np.where(number == CATEGORY_VENUE, CATEGORY_WEIGHT**0.5, 0.0))
    city = np.where(venue == 0, segments, choose(rng, count, CITY_SHARE))
    entities.merchants.add(
        count,
        category=category,
        city=city,
        region=CITY_REGION[city],
        price_log=CATEGORY_PRICE_LOG[category] + 0.25 * rng.standard_normal(count),
        latitude=CITY_LATITUDE[city] + 0.06 * rng.standard_normal(count),
        longitude=CITY_LONGITUDE[city] + 0.08 * rng.standard_normal(count),
    )
    popularity = CATEGORY_WEIGHT[category] ** 0.5 * np.exp(0.9 * rng.standard_normal(count))
    ends = np.cumsum(counts)
    online = venue == int(Venue.ONLINE)
    return Market(
        edges=np.concatenate(([0.0], np.cumsum(popularity))),
        first=ends - counts,
        last=ends,
        risky_rows=np.flatnonzero(online & CATEGORY_RISKY[category]),
        small_rows=np.flatnonzero(online & (CATEGORY_PRICE_LOG[category] < np.log(20.0))),
    )


def price(rng: Generator, entities: Entities, merchants: Array, *, factor: Array | float = 1.0) -> tuple[Ints, Array]:
    """Draws what is paid at each merchant.

    Args:
        merchants: Rows of the merchants, shape (n,).
        factor: Multiplies the merchant's usual price: wealth, or a thief's appetite.

    Returns:
        Amounts in minor units of the merchant's currency, at least 20, and the currencies' indices.
    """
    table = entities.merchants
    logs = table.column("price_log")[merchants]
    spread = CATEGORY_SPREAD[table.column("category")[merchants]]
    euros = np.exp(logs + spread * rng.standard_normal(len(merchants))) * factor
    currency = REGION_CURRENCY[table.column("region")[merchants]]
    return shelf_price(rng, euros, currency), currency


def shelf_price(rng: Generator, euros: Floats, currency: Array) -> Ints:
    """Converts to minor units and rounds a part of the prices as shops do (12.00, 11.99), at least 20 minor units."""
    minor: Ints = np.rint(euros * UNITS_PER_EUR[currency] * 100.0).astype(np.int64)
    habit = rng.random(len(minor))
    whole = (minor + 99) // 100 * 100
    minor = np.where(habit < 0.25, whole - 1, np.where(habit < 0.45, whole, minor))
    return np.maximum(minor, 20)


def within_hours(rng: Generator, entities: Entities, merchants: Array, of_day_us: Ints) -> Ints:
    """Moves visits outside a merchant's opening hours into them; local time of day, microseconds."""
    category = entities.merchants.column("category")[merchants]
    opens = CATEGORY_OPENS_HOUR[category] * US_PER_HOUR
    closes = CATEGORY_CLOSES_HOUR[category] * US_PER_HOUR
    moved = opens + (rng.random(len(merchants)) * (closes - opens)).astype(np.int64)
    return np.where((of_day_us >= opens) & (of_day_us < closes), of_day_us, moved)
