"""Fraud with cards: stolen ones spent, and many tested.

Careless thieves show a new device, another country and large amounts within the hour; careful ones look nearly like
the cardholder. Both exist, so no single sign decides.

INVARIANT: every row is labelled; victims are people of the world, who go on living meanwhile.

Called by `run`.
"""

from typing import Any

import numpy as np

from riskengine.enums import Channel, EntryMode, Initiation, IssuerOutcome, TransactionType, VerificationResult

from .catalogue import CODE_APPROVED, CODE_CARD_CODE, CODE_DO_NOT_HONOUR, CODE_FUNDS, CODE_NO_CARD, CODE_SUSPECTED
from .config import US_PER_MINUTE, Generator
from .draft import Array, Flags, Ints, choose, drafts, gaps_us, positions, running
from .entities import Network
from .merchants import price, shelf_price
from .moments import account_columns, home_region, whereabouts
from .places import CITY_OFFSET_MINUTES, CITY_REGION, CITY_SHARE, REGION_CURRENCY, REGIONS
from .schedule import CARD_TESTING, STOLEN_CARD, label, starts
from .shopping import pick_card
from .world import MAIL_DOMAINS_COMMON, World

_PASSED = int(VerificationResult.PASSED)
_FAILED = int(VerificationResult.FAILED)
_ABANDONED = int(VerificationResult.ABANDONED)
_REMOTE, _ABROAD, _LOST = range(3)


def victims(rng: Generator, world: World, count: int) -> Ints:
    """Draws people whose account was open before the simulation."""
    settled = np.flatnonzero(~world.people.new)
    return settled[rng.integers(0, len(settled), count)]


def hideouts(rng: Generator, world: World, victim_region: Ints, careful: Flags) -> Ints:
    """Draws each thief's IP address: hosting anywhere, a mobile network of the victim's country for careful ones."""
    count = len(victim_region)
    anywhere = rng.integers(0, len(REGIONS), count)
    hosting = world.entities.add_ips(anywhere, Network.HOSTING)
    mobile = world.mobile_ip[victim_region, rng.integers(0, world.mobile_ip.shape[1], count)]
    return np.where(careful, mobile, hosting)


def stolen_cards(world: World, ordinary_count: int) -> Array:
    """Makes the spending on stolen cards: online, on a cloned stripe abroad, or contactless on a lost card nearby."""
    rng = world.config.stream(11)
    begin = starts(rng, world.config, STOLEN_CARD, ordinary_count=ordinary_count)
    victim = victims(rng, world, len(begin))
    mode = choose(rng, len(begin), (0.62, 0.18, 0.20))
    careful = rng.random(len(begin)) < 0.35
    size = np.minimum(2 + rng.poisson(2.4, len(begin)), 12)
    episode = np.repeat(np.arange(len(begin)), size)
    pace = np.where(careful, 75, 16)[episode] * US_PER_MINUTE
    waits = gaps_us(rng, len(episode), median_us=pace, spread=0.9)
    waits = np.where(positions(size) == 0, 0, waits)
    time_us = begin[episode] + running(waits, size)
    city, _ = whereabouts(world, victim, begin)
    abroad = choose(rng, len(begin), CITY_SHARE)
    city = np.where(mode == _ABROAD, abroad, city)
    rows = drafts(
        len(episode),
        time_us=time_us,
        offset_minutes=CITY_OFFSET_MINUTES[city[episode]],
        type=int(TransactionType.CARD_PAYMENT),
        initiation=int(Initiation.PAYER),
        card=pick_card(rng, world, victim)[episode],
        account=world.people.account[victim][episode],
    )
    _goods(rng, world, rows, episode, mode, careful, city)
    remote = np.flatnonzero(mode[episode] == _REMOTE)
    _remote(rng, world, rows, remote, episode, victim, careful)
    _present(rng, rows, np.flatnonzero(mode[episode] != _REMOTE), mode[episode])
    _answers(rng, rows, np.where(careful[episode], 0.12, 0.27) + 0.03 * positions(size))
    return label(rng, rows, STOLEN_CARD, episode)


def _goods(rng: Generator, world: World, rows: Array, episode: Ints, mode: Ints, careful: Flags, city: Ints) -> None:
    """Fills merchant, amount and place: goods that sell on easily, dearer than usual for the careless."""
    count = len(rows)
    risky = world.market.risky_rows[rng.integers(0, len(world.market.risky_rows), count)]
    anything = world.market.draw(rng, np.full(count, len(CITY_REGION)))
    online = np.where(rng.random(count) < 0.7, risky, anything)
    remote = mode[episode] == _REMOTE
    merchant = np.where(remote, online, world.market.draw(rng, city[episode]))
    appetite = np.where(careful, 1.0, 2.1)[episode] * np.where(mode == _LOST, 0.8, 1.0)[episode]
    rows["merchant"] = merchant
    rows["amount_minor"], rows["currency"] = price(rng, world.entities, merchant, factor=appetite)
    table = world.entities.merchants
    rows["latitude_degrees"] = np.where(remote, np.nan, table.column("latitude")[merchant])
    rows["longitude_degrees"] = np.where(remote, np.nan, table.column("longitude")[merchant])


def _remote(rng: Generator, world: World, rows: Array, at: Ints, episode: Ints, victim: Ints, careful: Flags) -> None:
    """Fills device, address, account and checks of online spending; a thief serves about three victims."""
    episodes = len(victim)
    thieves = max(1, episodes // 3)
    thief = rng.integers(0, thieves, episodes)
    devices = world.entities.devices.add(thieves, region=0)[thief]
    fresh = world.entities.devices.add(episodes, region=0)
    device = np.where(careful, fresh, devices)[episode[at]]
    rows["device"][at] = device
    rows["ip"][at] = hideouts(rng, world, home_region(world, victim), careful)[episode[at]]
    rows["channel"][at] = np.where(rng.random(len(at)) < 0.75, int(Channel.WEB), int(Channel.MOBILE_APP))
    rows["entry_mode"][at] = int(EntryMode.ONLINE)
    # Four in ten pay from an account of their own, to which they add one stolen card after the other.
    own = world.entities.add_account(
        rng.integers(0, len(REGIONS), thieves),
        open_time_us=world.config.start_us - (rng.random(thieves) * 40 * 86_400e6).astype(np.int64),
        email_domains=np.where(rng.random(thieves) < 0.5, MAIL_DOMAINS_COMMON, 0),
    )[thief]
    account = np.where(rng.random(episodes) < 0.4, own, world.people.account[victim])[episode[at]]
    for name, values in account_columns(world, account).items():
        rows[name][at] = values
    guest = (rng.random(episodes) < 0.15)[episode[at]]
    rows["account"][at] = np.where(guest, -1, account)
    drop = world.entities.addresses.add(thieves, region=rng.integers(0, len(REGIONS), thieves), city=0)[thief]
    rows["address"][at] = np.where(rng.random(len(at)) < 0.4, drop[episode[at]], -1)
    rows["verified_card_code"][at] = np.where(rng.random(len(at)) < 0.14, _FAILED, _PASSED)
    asked = rng.random(len(at)) < 0.25
    outcome = np.array([_PASSED, _FAILED, _ABANDONED])[choose(rng, len(at), (0.35, 0.3, 0.35))]
    rows["verified_three_d_secure"][at] = np.where(asked, outcome, 0)


def _present(rng: Generator, rows: Array, at: Ints, mode: Ints) -> None:
    """Fills how cards are read in shops: a cloned stripe abroad, contactless below the PIN limit nearby."""
    lost = mode[at] == _LOST
    rows["channel"][at] = int(Channel.POINT_OF_SALE)
    stripe = np.where(rng.random(len(at)) < 0.6, int(EntryMode.MAGSTRIPE), int(EntryMode.CONTACTLESS))
    rows["entry_mode"][at] = np.where(lost, int(EntryMode.CONTACTLESS), stripe)
    capped = 1_500 + (3_500 * rng.random(len(at))).astype(np.int64)
    rows["amount_minor"][at] = np.where(lost, np.minimum(rows["amount_minor"][at], capped), rows["amount_minor"][at])


def _answers(rng: Generator, rows: Array, decline_share: Any) -> None:
    """Fills the issuer's answers; declines are of the kinds fraud meets."""
    count = len(rows)
    declined = rng.random(count) < decline_share
    codes = np.array([CODE_FUNDS, CODE_DO_NOT_HONOUR, CODE_SUSPECTED, CODE_CARD_CODE])
    drawn = codes[choose(rng, count, (0.4, 0.38, 0.12, 0.10))]
    rows["issuer_code"] = np.where(declined, drawn, CODE_APPROVED)
    rows["issuer_outcome"] = np.where(declined, int(IssuerOutcome.DECLINED), int(IssuerOutcome.APPROVED))


def _testers_account(rng: Generator, world: World, hands: int, which: Ints) -> dict[str, Any]:
    """Returns account, e-mail and phone of tests: a made-up account that cards are added to, or none at all."""
    opened = world.config.start_us - (rng.random(hands) * 30 * 86_400e6).astype(np.int64)
    accounts = world.entities.add_account(
        rng.integers(0, len(REGIONS), hands),
        open_time_us=opened,
        email_domains=np.where(rng.random(hands) < 0.4, MAIL_DOMAINS_COMMON, 0),
    )
    columns = account_columns(world, accounts[which])
    guest = (rng.random(hands) < 0.5)[which]
    columns["account"] = np.where(guest, -1, columns["account"])
    return columns


def card_testing(world: World, ordinary_count: int) -> Array:
    """Makes runs of small authorisations: many cards, real and made up, from one device or address, most declined."""
    rng = world.config.stream(12)
    begin = starts(rng, world.config, CARD_TESTING, ordinary_count=ordinary_count)
    careful = rng.random(len(begin)) < 0.3
    size = np.clip(7 + rng.poisson(10, len(begin)), 8, 60)
    episode = np.repeat(np.arange(len(begin)), size)
    count = len(episode)
    seconds = np.where(careful, 70, 14)[episode]
    waits = gaps_us(rng, count, median_us=seconds * 1e6, spread=0.7)
    region = rng.integers(0, len(REGIONS), len(begin))
    known = rng.random(count) < 0.45
    guessed = world.entities.cards.add(
        count, region=region[episode], bin=region[episode] * 6 + rng.integers(0, 6, len(begin))[episode]
    )
    card = np.where(known, pick_card(rng, world, victims(rng, world, count)), guessed)
    small = world.market.small_rows
    merchant = small[rng.integers(0, len(small), len(begin))][episode]
    currency = REGION_CURRENCY[world.entities.merchants.column("region")[merchant]]
    euros = np.where(careful[episode], 4.0, 1.3) * np.exp(0.6 * rng.standard_normal(count))
    # A careful tester changes device and address every few cards.
    hand = episode * 20 + np.where(careful[episode], positions(size) // 6, 0)
    hands, which = np.unique(hand, return_inverse=True)
    devices = world.entities.devices.add(len(hands), region=0)
    ips = hideouts(rng, world, region[hands // 20], careful[hands // 20] & (rng.random(len(hands)) < 0.5))
    rows = drafts(
        count,
        time_us=begin[episode] + running(np.where(positions(size) == 0, 0, waits), size),
        offset_minutes=CITY_OFFSET_MINUTES[choose(rng, len(begin), CITY_SHARE)][episode],
        type=int(TransactionType.CARD_PAYMENT),
        initiation=int(Initiation.PAYER),
        channel=int(Channel.WEB),
        entry_mode=int(EntryMode.ONLINE),
        card=card,
        device=devices[which],
        ip=ips[which],
        **_testers_account(rng, world, len(hands), which),
        merchant=merchant,
        amount_minor=shelf_price(rng, euros, currency),
        currency=currency,
        verified_card_code=np.where(rng.random(count) < 0.55, _FAILED, _PASSED),
    )
    declined = rng.random(count) < np.where(known, 0.35, 0.93)
    codes = np.array([CODE_NO_CARD, CODE_CARD_CODE, CODE_DO_NOT_HONOUR])[choose(rng, count, (0.4, 0.35, 0.25))]
    rows["issuer_outcome"] = np.where(declined, int(IssuerOutcome.DECLINED), int(IssuerOutcome.APPROVED))
    rows["issuer_code"] = np.where(declined, codes, CODE_APPROVED)
    return label(rng, rows, CARD_TESTING, episode)
