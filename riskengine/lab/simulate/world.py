"""The people: homes, households, cards, devices, addresses, journeys and habits.

Some of what fraud detection takes for a sign is ordinary life here, on purpose: households share a home address and a
laptop, many phones sit behind one mobile IP, people travel, buy a new phone, pay with a partner's card.

INVARIANT: arrays are indexed by person; entity columns are indices into `Entities`.

Called by `run`; read by every module that makes events.
"""

from dataclasses import dataclass

import numpy as np

from riskengine.types import US_PER_DAY

from .catalogue import Venue
from .config import Generator, SimulationConfig
from .draft import Array, Flags, Floats, Ints, choose, positions
from .entities import Entities, Network
from .merchants import Market, add_merchants, segment_of
from .places import CITY_REGION, CITY_SHARE, REGIONS

CARDS_MAX = 3
JOURNEYS_MAX = 3
KNOWN_PAYEES = 5
"""The first is the person's own bank account."""
FAVOURITE_SHOPS = 8
FAVOURITE_SITES = 5
NEVER_US = 2**62
MAIL_DOMAINS_COMMON = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class People:
    """One entry for each person along the first axis."""

    city: Ints
    partner: Ints  # another member of the household, or oneself
    account: Ints
    open_time_us: Ints
    new: Flags  # the account opens within the simulation
    cards: Ints  # shape (people, CARDS_MAX)
    phone_device: Ints  # shape (people, 2): before and after the change
    phone_change_us: Ints
    laptop: Ints  # -1 without
    home_ip: Ints  # shape (people, 2)
    ip_change_us: Ints
    mobile_ip: Ints
    office_ip: Ints
    address: Ints
    payees: Ints  # shape (people, KNOWN_PAYEES)
    shops: Ints  # shape (people, FAVOURITE_SHOPS)
    sites: Ints  # shape (people, FAVOURITE_SITES)
    activity: Floats  # mean 1
    wealth: Floats  # median 1
    online_bent: Floats  # mean 1
    shift_us: Ints  # of the daily rhythm
    journey_start_us: Ints  # shape (people, JOURNEYS_MAX), NEVER_US without
    journey_end_us: Ints
    journey_city: Ints


@dataclass(frozen=True, slots=True)
class World:
    """Everything that exists, and the configuration it was made for."""

    config: SimulationConfig
    entities: Entities
    market: Market
    people: People
    wifi_ip: Ints
    """A public network in each city, shape (cities, 4)."""
    mobile_ip: Ints
    """Mobile networks' addresses, shape (regions, pool)."""
    wallets: Ints
    """Payees that are people's wallets, bills or shops: whom a new transfer may go to."""


def build_world(config: SimulationConfig) -> World:
    """Builds the world of a configuration."""
    rng = config.stream(1)
    entities = Entities()
    market = add_merchants(rng, config, entities)
    pool = max(2, config.people // 400)
    regions = np.repeat(np.arange(len(REGIONS)), pool)
    mobile_ip = entities.add_ips(regions, Network.MOBILE).reshape(len(REGIONS), pool)
    wifi_ip = entities.add_ips(np.repeat(CITY_REGION, 4), Network.HOME).reshape(len(CITY_REGION), 4)
    household = _households(rng, config.people)
    wallet_count = config.people // 2 + 60
    wallets = entities.payees.add(wallet_count, region=CITY_REGION[choose(rng, wallet_count, CITY_SHARE)])
    people = _people(rng, config, entities, market, household, mobile_ip, wallets)
    return World(config, entities, market, people, wifi_ip, mobile_ip, wallets)


def _households(rng: Generator, people: int) -> Ints:
    """Groups neighbours of the person axis into households of 1 to 4; returns each person's household, ascending."""
    sizes = 1 + choose(rng, people, (0.55, 0.25, 0.12, 0.08))
    return np.repeat(np.arange(people), sizes)[:people]


def _people(
    rng: Generator,
    config: SimulationConfig,
    entities: Entities,
    market: Market,
    household: Ints,
    mobile_ip: Ints,
    wallets: Ints,
) -> People:
    """Draws every person; members of a household share city, address, home IP and often the laptop."""
    count = config.people
    homes = int(household[-1]) + 1
    city = choose(rng, homes, CITY_SHARE)[household]
    region = CITY_REGION[city]
    first = np.searchsorted(household, household)
    size = np.bincount(household)[household]
    partner = first + (np.arange(count) - first + 1) % size
    new = rng.random(count) < min(0.3, 0.002 * config.days)
    opened = _open_times(rng, config, new)
    home_region = CITY_REGION[city[np.searchsorted(household, np.arange(homes))]]
    network = np.where(rng.random(homes) < 0.12, int(Network.HOME_V6), int(Network.HOME))
    home_ip = np.stack([entities.ips.add(homes, region=home_region, network=network)[household] for _ in range(2)], 1)
    office = _offices(rng, entities, city)
    home_address = entities.addresses.add(
        homes, region=home_region, city=city[np.searchsorted(household, range(homes))]
    )
    devices, laptop = _devices(rng, entities, household, region)
    journeys = _journeys(rng, config, city)
    domains = np.where(rng.random(count) < 0.92, choose(rng, count, (40, 20, 14, 8, 6, 4)), MAIL_DOMAINS_COMMON)
    return People(
        city=city,
        partner=partner,
        account=entities.add_account(region, open_time_us=opened, email_domains=domains),
        open_time_us=opened,
        new=new,
        cards=_cards(rng, entities, region),
        phone_device=devices,
        phone_change_us=_sometime(rng, config, count, share=min(0.5, 0.0016 * config.days)),
        laptop=laptop,
        home_ip=home_ip,
        ip_change_us=_sometime(rng, config, homes, share=min(0.9, 0.02 * config.days))[household],
        mobile_ip=mobile_ip[region, rng.integers(0, mobile_ip.shape[1], count)],
        office_ip=np.where(rng.random(count) < 0.4, office, home_ip[:, 0]),
        address=home_address[household],
        payees=_payees(rng, entities, region, wallets),
        shops=np.stack([market.draw(rng, city) for _ in range(FAVOURITE_SHOPS)], 1),
        sites=np.stack([market.draw(rng, np.full(count, segment_of(Venue.ONLINE))) for _ in range(FAVOURITE_SITES)], 1),
        activity=np.exp(-0.18 + 0.6 * rng.standard_normal(count)),
        wealth=np.exp(0.4 * rng.standard_normal(count)),
        online_bent=np.exp(-0.125 + 0.5 * rng.standard_normal(count)),
        shift_us=(rng.standard_normal(count) * 1.2 * 3.6e9).astype(np.int64),
        journey_start_us=journeys[0],
        journey_end_us=journeys[1],
        journey_city=journeys[2],
    )


def _open_times(rng: Generator, config: SimulationConfig, new: Flags) -> Ints:
    """Draws when accounts opened: within the simulation for new ones, up to six years before it for the others."""
    count = len(new)
    before = config.start_us - ((0.02 + 6.0 * rng.random(count) ** 1.5) * 365 * US_PER_DAY).astype(np.int64)
    within = config.start_us + (rng.random(count) * config.days * US_PER_DAY).astype(np.int64)
    return np.where(new, within, before)


def _sometime(rng: Generator, config: SimulationConfig, count: int, *, share: float) -> Ints:
    """Draws a moment within the simulation for a share of `count`, NEVER_US for the others."""
    moment = config.start_us + (rng.random(count) * config.days * US_PER_DAY).astype(np.int64)
    return np.where(rng.random(count) < share, moment, NEVER_US)


def _offices(rng: Generator, entities: Entities, city: Ints) -> Ints:
    """Draws the IP address each person works behind, shared by about 25 people of the city."""
    residents = np.bincount(city, minlength=len(CITY_REGION))
    counts = residents // 25 + 1
    ips = entities.add_ips(np.repeat(CITY_REGION, counts), Network.HOME)
    first = np.cumsum(counts) - counts
    works_at: Ints = ips[first[city] + (rng.random(len(city)) * counts[city]).astype(np.int64)]
    return works_at


def _devices(rng: Generator, entities: Entities, household: Ints, region: Array) -> tuple[Ints, Ints]:
    """Draws phones (before and after a change) and laptops; half of the laptops belong to the whole household."""
    count = len(household)
    phones = np.stack([entities.devices.add(count, region=region) for _ in range(2)], 1)
    own = entities.devices.add(count, region=region)
    shared = own[np.searchsorted(household, household)]
    laptop = np.where(rng.random(int(household[-1]) + 1)[household] < 0.5, shared, own)
    return phones, np.where(rng.random(count) < 0.55, laptop, -1)


def _cards(rng: Generator, entities: Entities, region: Array) -> Ints:
    """Draws one to three cards a person, issued at home, each by one of the region's six issuers; -1 for no card."""
    count = len(region)
    held = 1 + choose(rng, count, (0.62, 0.28, 0.10))
    cards = np.full((count, CARDS_MAX), -1, np.int64)
    owner = np.repeat(np.arange(count), held)
    issuer = region[owner] * 6 + rng.integers(0, 6, len(owner))
    cards[owner, positions(held)] = entities.cards.add(len(owner), region=region[owner], bin=issuer)
    return cards


def _payees(rng: Generator, entities: Entities, region: Array, wallets: Ints) -> Ints:
    """Draws each person's payees: an own bank account, then wallets and bills that others pay as well."""
    count = len(region)
    known = wallets[rng.integers(0, len(wallets), (count, KNOWN_PAYEES - 1))]
    return np.concatenate((entities.payees.add(count, region=region)[:, None], known), 1)


def _journeys(rng: Generator, config: SimulationConfig, city: Ints) -> tuple[Ints, Ints, Ints]:
    """Draws up to three journeys of 2 to 10 days a person, one in about 70 days; start, end and destination."""
    count = len(city)
    drawn = np.minimum(rng.poisson(config.days / 70.0, count), JOURNEYS_MAX)
    shape = (count, JOURNEYS_MAX)
    taken = np.arange(JOURNEYS_MAX) < drawn[:, None]
    start = config.start_us + (rng.random(shape) * config.days * US_PER_DAY).astype(np.int64)
    end = start + ((2.0 + 8.0 * rng.random(shape)) * US_PER_DAY).astype(np.int64)
    destination = choose(rng, count * JOURNEYS_MAX, np.sqrt(CITY_SHARE)).reshape(shape)
    return np.where(taken, start, NEVER_US), np.where(taken, end, NEVER_US), destination
