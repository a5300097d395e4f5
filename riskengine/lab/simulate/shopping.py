"""Ordinary payments by card: in shops, online, and subscriptions.

INVARIANT: every payment has a card, a merchant, an amount in the merchant's currency and the issuer's answer.

Called by `run`.
"""

import numpy as np

from riskengine.enums import Channel, EntryMode, Initiation, TransactionType, VerificationResult
from riskengine.types import US_PER_DAY

from .catalogue import ONLINE_HOURS, SHOP_HOURS, Venue
from .config import US_PER_MINUTE, Generator
from .draft import Array, Ints, choose, drafts, positions
from .issuer import answers
from .merchants import price, segment_of, within_hours
from .moments import Moments, connection, home_region, identity, moments
from .places import CITY_OFFSET_MINUTES, REGION_INDEX
from .world import CARDS_MAX, FAVOURITE_SHOPS, FAVOURITE_SITES, World

SHOP_RATE = 0.55
ONLINE_RATE = 0.20
GUEST_SHARE = 0.3
"""Of online payments to unfamiliar merchants: without an account."""
SECOND_ERRAND_SHARE = 0.16
SUBSCRIPTIONS_MEAN = 1.6
MONTH_US = 30 * US_PER_DAY

_PASSED = int(VerificationResult.PASSED)
_FAILED = int(VerificationResult.FAILED)
_ENTRY_MODES = np.array(
    [
        EntryMode.CONTACTLESS,
        EntryMode.CHIP,
        EntryMode.NETWORK_TOKEN,
        EntryMode.MAGSTRIPE,
        EntryMode.QR_MERCHANT_PRESENTED,
    ]
)
_ENTRY_SHARES = (0.52, 0.27, 0.15, 0.01, 0.05)
_SITE_MODES = np.array([EntryMode.ONLINE, EntryMode.CREDENTIAL_ON_FILE, EntryMode.NETWORK_TOKEN])
_AVS_REGIONS = np.array([REGION_INDEX["GB"], REGION_INDEX["US"]])


def pick_card(rng: Generator, world: World, person: Ints) -> Ints:
    """Draws which of a person's cards pays; the first is the usual one."""
    cards = world.people.cards
    slot = choose(rng, len(person), (0.75, 0.17, 0.08))
    card = cards[person, np.minimum(slot, CARDS_MAX - 1)]
    return np.where(card < 0, cards[person, 0], card)


def shop_payments(world: World) -> Array:
    """Makes the payments in shops; some come as two errands within the hour."""
    rng = world.config.stream(2)
    acts = moments(rng, world, rate_per_day=SHOP_RATE, hours=SHOP_HOURS)
    again = rng.random(len(acts.person)) < SECOND_ERRAND_SHARE
    later = acts.of_day_us[again] + (4 + 50 * rng.random(int(again.sum()))) * US_PER_MINUTE
    acts = Moments(
        np.concatenate((acts.person, acts.person[again])),
        np.concatenate((acts.day, acts.day[again])),
        np.concatenate((acts.of_day_us, later.astype(np.int64))),
        np.concatenate((acts.city, acts.city[again])),
        np.concatenate((acts.away, acts.away[again])),
    )
    person, count = acts.person, len(acts.person)
    usual = world.people.shops[person, choose(rng, count, 1.0 / np.arange(1, FAVOURITE_SHOPS + 1))]
    at_home = ~acts.away & (rng.random(count) < 0.72)
    merchant = np.where(at_home, usual, world.market.draw(rng, acts.city))
    of_day = within_hours(rng, world.entities, merchant, acts.of_day_us)
    acts = Moments(person, acts.day, of_day, acts.city, acts.away)
    amount, currency = price(rng, world.entities, merchant, factor=world.people.wealth[person])
    mode = _ENTRY_MODES[choose(rng, count, _ENTRY_SHARES)]
    by_phone = (mode == EntryMode.NETWORK_TOKEN) | (mode == EntryMode.QR_MERCHANT_PRESENTED)
    time_us = acts.utc_us(world)
    phone = world.people.phone_device[person, (time_us >= world.people.phone_change_us[person]).astype(np.int64)]
    pin = (mode == EntryMode.CHIP) | ((mode == EntryMode.CONTACTLESS) & (amount > 5_000))
    pin_result = np.where(rng.random(count) < 0.012, _FAILED, _PASSED)
    table = world.entities.merchants
    return drafts(
        count,
        time_us=time_us,
        offset_minutes=CITY_OFFSET_MINUTES[acts.city],
        type=int(TransactionType.CARD_PAYMENT),
        amount_minor=amount,
        currency=currency,
        channel=np.where(mode == EntryMode.QR_MERCHANT_PRESENTED, int(Channel.MOBILE_APP), int(Channel.POINT_OF_SALE)),
        entry_mode=mode,
        initiation=int(Initiation.PAYER),
        account=world.people.account[person],
        card=pick_card(rng, world, person),
        device=np.where(by_phone, phone, -1),
        merchant=merchant,
        latitude_degrees=table.column("latitude")[merchant],
        longitude_degrees=table.column("longitude")[merchant],
        verified_passcode=np.where(pin, pin_result, 0),
        verified_biometric=np.where(by_phone, _PASSED, 0),
        **answers(rng, count, decline_share=np.where(pin & (pin_result == _FAILED), 0.9, 0.022)),
    )


def online_payments(world: World) -> Array:
    """Makes the payments on sites and in apps."""
    rng = world.config.stream(3)
    acts = moments(rng, world, rate_per_day=ONLINE_RATE * world.people.online_bent, hours=ONLINE_HOURS)
    person, count = acts.person, len(acts.person)
    usual = world.people.sites[person, choose(rng, count, 1.0 / np.arange(1, FAVOURITE_SITES + 1))]
    known = rng.random(count) < 0.6
    segment = np.full(count, segment_of(Venue.ONLINE))
    merchant = np.where(known, usual, world.market.draw(rng, segment))
    amount, currency = price(rng, world.entities, merchant, factor=world.people.wealth[person])
    time_us = acts.utc_us(world)
    mode = _SITE_MODES[choose(rng, count, (0.5, 0.34, 0.16))]
    mode = np.where(known, mode, np.where(rng.random(count) < 0.8, int(EntryMode.ONLINE), mode))
    # A partner's card now and then: a card on somebody else's device.
    payer = np.where(rng.random(count) < 0.03, world.people.partner[person], person)
    shipped = rng.random(count) < 0.45
    elsewhere = rng.random(count) < 0.07
    guest = ~known & (rng.random(count) < GUEST_SHARE)
    who = identity(world, person)
    who["account"] = np.where(guest, -1, who["account"])
    receiver = np.where(elsewhere, rng.integers(0, world.config.people, count), person)
    return drafts(
        count,
        time_us=time_us,
        offset_minutes=CITY_OFFSET_MINUTES[acts.city],
        type=int(TransactionType.CARD_PAYMENT),
        amount_minor=amount,
        currency=currency,
        entry_mode=mode,
        initiation=int(Initiation.PAYER),
        card=pick_card(rng, world, payer),
        merchant=merchant,
        address=np.where(shipped, world.people.address[receiver], -1),
        **site_checks(rng, world, person, mode),
        **connection(rng, world, person, time_us, acts.city, acts.away),
        **who,
        **answers(rng, count, decline_share=0.045),
    )


def site_checks(rng: Generator, world: World, person: Ints, mode: Array) -> dict[str, Array]:
    """Draws what honest payers verify online: card code, 3-D Secure, address (only where issuers answer it)."""
    count = len(person)
    typed = mode == EntryMode.ONLINE
    code = np.where(rng.random(count) < 0.02, _FAILED, _PASSED)
    secure = choose(rng, count, (0.955, 0.015, 0, 0.01, 0.02)) + 1
    address = np.array([VerificationResult.PASSED, VerificationResult.PARTIAL, VerificationResult.FAILED])[
        choose(rng, count, (0.88, 0.09, 0.03))
    ]
    checked = np.isin(home_region(world, person), _AVS_REGIONS) & (rng.random(count) < 0.8)
    return {
        "verified_card_code": np.where(typed, code, 0),
        "verified_three_d_secure": np.where(typed & (rng.random(count) < 0.5), secure, 0),
        "verified_address": np.where(checked, address, 0),
    }


def subscription_payments(world: World) -> Array:
    """Makes monthly payments that merchants start: the same amount from the same card at the same time of day."""
    rng = world.config.stream(4)
    config, people = world.config, world.people
    held = rng.poisson(SUBSCRIPTIONS_MEAN, config.people)
    person = np.repeat(np.arange(config.people), held)
    merchant = world.market.draw(rng, np.full(len(person), segment_of(Venue.SUBSCRIPTION)))
    amount, currency = price(rng, world.entities, merchant)
    card = pick_card(rng, world, person)
    first_us = config.start_us + (rng.random(len(person)) * MONTH_US).astype(np.int64)
    months = np.maximum((config.end_us - first_us + MONTH_US - 1) // MONTH_US, 0)
    row = np.repeat(np.arange(len(person)), months)
    month = positions(months)
    begins = (rng.random(len(person)) < 0.06)[row] & (month == 0)
    started = np.where(begins, int(Initiation.PAYER_RECURRING_FIRST), int(Initiation.MERCHANT_RECURRING))
    return drafts(
        len(row),
        time_us=first_us[row] + month * MONTH_US,
        offset_minutes=CITY_OFFSET_MINUTES[people.city[person[row]]],
        type=int(TransactionType.CARD_PAYMENT),
        amount_minor=amount[row],
        currency=currency[row],
        channel=int(Channel.API),
        entry_mode=int(EntryMode.CREDENTIAL_ON_FILE),
        initiation=started,
        account=people.account[person[row]],
        email=world.entities.accounts.column("email")[people.account[person[row]]],
        card=card[row],
        merchant=merchant[row],
        **answers(rng, len(row), decline_share=0.05),
    )
