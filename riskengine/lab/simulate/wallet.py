"""Ordinary life of an account: logins, top-ups, transfers, withdrawals.

INVARIANT: money moves only in sessions whose login lies minutes before; cash comes from machines without one.

Called by `run`.
"""

from typing import Any

import numpy as np

from riskengine.enums import Channel, EntryMode, Initiation, TransactionType, VerificationResult

from .catalogue import ONLINE_HOURS, SHOP_HOURS
from .config import US_PER_MINUTE, Generator
from .draft import Array, Ints, choose, drafts
from .issuer import answers
from .merchants import shelf_price
from .moments import connection, home_region, identity, moments
from .places import CITY_LATITUDE, CITY_LONGITUDE, CITY_OFFSET_MINUTES, CITY_REGION, REGION_CURRENCY, UNITS_PER_EUR
from .shopping import pick_card
from .world import KNOWN_PAYEES, World

SESSION_RATE = 0.24
CASH_RATE = 0.03
NEW_PAYEE_SHARE = 0.10

_PASSED = int(VerificationResult.PASSED)
_FAILED = int(VerificationResult.FAILED)
_NOTHING, _TRANSFER, _TOP_UP, _WITHDRAWAL = range(4)
_PURPOSE_SHARES = (0.55, 0.26, 0.14, 0.05)


def sessions(world: World) -> list[Array]:
    """Makes sessions: a login, failed tries before some of them, and what was done in it."""
    rng = world.config.stream(5)
    acts = moments(rng, world, rate_per_day=SESSION_RATE, hours=ONLINE_HOURS)
    person = acts.person
    count = len(person)
    time_us = acts.utc_us(world)
    changed = time_us - world.people.phone_change_us[person]
    fresh = (changed >= 0) & (changed < 3 * 24 * 60 * US_PER_MINUTE)
    common: dict[str, Any] = {
        "offset_minutes": CITY_OFFSET_MINUTES[acts.city],
        "initiation": int(Initiation.PAYER),
        **connection(rng, world, person, time_us, acts.city, acts.away),
        **identity(world, person),
    }
    checks = login_checks(rng, fresh | acts.away)
    login = drafts(count, time_us=time_us, type=int(TransactionType.LOGIN), **common, **checks)
    wrong = np.flatnonzero(rng.random(count) < np.where(fresh, 0.15, 0.04))
    failed = login[wrong].copy()
    failed["time_us"] -= ((8 + 50 * rng.random(len(wrong))) * 1e6).astype(np.int64)
    failed["verified_passcode"], failed["verified_biometric"], failed["verified_one_time_code"] = _FAILED, 0, 0
    purpose = choose(rng, count, _PURPOSE_SHARES)
    return [login, failed, *_movements(rng, world, person, purpose, time_us, common)]


def login_checks(rng: Generator, unusual: Array) -> dict[str, Array]:
    """Draws how honest people prove themselves; a one-time code is asked for when something is unusual."""
    count = len(unusual)
    biometric = rng.random(count) < 0.6
    asked = rng.random(count) < np.where(unusual, 0.75, 0.06)
    code = np.where(rng.random(count) < 0.05, _FAILED, _PASSED)
    return {
        "verified_biometric": np.where(biometric, _PASSED, 0),
        "verified_passcode": np.where(biometric, 0, _PASSED),
        "verified_one_time_code": np.where(asked, code, 0),
    }


def _movements(
    rng: Generator, world: World, person: Ints, purpose: Ints, login_us: Ints, common: dict[str, Any]
) -> list[Array]:
    """Makes the transfers, top-ups and withdrawals of sessions, one to four minutes after the login."""
    people = world.people
    currency = REGION_CURRENCY[home_region(world, person)]
    payee = people.payees[person, 1 + choose(rng, len(person), (4, 3, 2, 1))]
    strangers = world.wallets[rng.integers(0, len(world.wallets), len(person))]
    payee = np.where(rng.random(len(person)) < NEW_PAYEE_SHARE, strangers, payee)
    assert people.payees.shape[1] == KNOWN_PAYEES, "the own account and four others"
    kinds = (
        (_TRANSFER, TransactionType.WALLET_TRANSFER, payee, 38.0, 1.15),
        (_TOP_UP, TransactionType.TOP_UP, np.full(len(person), -1), 45.0, 0.6),
        (_WITHDRAWAL, TransactionType.WITHDRAWAL, people.payees[person, 0], 120.0, 0.9),
    )
    made = []
    for number, kind, to, median_eur, spread in kinds:
        rows = np.flatnonzero(purpose == number)
        count = len(rows)
        euros = median_eur * people.wealth[person[rows]] * np.exp(spread * rng.standard_normal(count))
        amount = shelf_price(rng, euros, currency[rows])
        extra: dict[str, Any] = {}
        if kind is TransactionType.TOP_UP:
            amount = np.maximum(np.rint(amount / 1000.0), 1).astype(np.int64) * 1000
            extra = {
                "card": pick_card(rng, world, person[rows]),
                "entry_mode": int(EntryMode.CREDENTIAL_ON_FILE),
                **answers(rng, count, decline_share=0.06),
            }
        asked = rng.random(count) < np.where(euros > 250, 0.8, 0.12)
        delay = ((60 + 180 * rng.random(count)) * 1e6).astype(np.int64)
        made.append(
            drafts(
                count,
                **{name: values if np.isscalar(values) else values[rows] for name, values in common.items()},
                time_us=login_us[rows] + delay,
                type=int(kind),
                amount_minor=amount,
                currency=currency[rows],
                payee=to[rows],
                verified_one_time_code=np.where(asked, np.where(rng.random(count) < 0.03, _FAILED, _PASSED), 0),
                **extra,
            )
        )
    return made


def cash(world: World) -> Array:
    """Makes withdrawals of cash, in notes, at machines where the person is."""
    rng = world.config.stream(6)
    acts = moments(rng, world, rate_per_day=CASH_RATE, hours=SHOP_HOURS)
    count = len(acts.person)
    currency = REGION_CURRENCY[CITY_REGION[acts.city]]
    euros = 70.0 * world.people.wealth[acts.person] * np.exp(0.6 * rng.standard_normal(count))
    notes = np.maximum(np.rint(euros * UNITS_PER_EUR[currency] / 10.0), 1).astype(np.int64)
    pin = np.where(rng.random(count) < 0.03, _FAILED, _PASSED)
    return drafts(
        count,
        time_us=acts.utc_us(world),
        offset_minutes=CITY_OFFSET_MINUTES[acts.city],
        type=int(TransactionType.WITHDRAWAL),
        amount_minor=notes * 1000,
        currency=currency,
        channel=int(Channel.ATM),
        entry_mode=np.where(rng.random(count) < 0.03, int(EntryMode.MAGSTRIPE), int(EntryMode.CHIP)),
        initiation=int(Initiation.PAYER),
        account=world.people.account[acts.person],
        card=pick_card(rng, world, acts.person),
        latitude_degrees=CITY_LATITUDE[acts.city] + 0.05 * rng.standard_normal(count),
        longitude_degrees=CITY_LONGITUDE[acts.city] + 0.07 * rng.standard_normal(count),
        verified_passcode=pin,
        **answers(rng, count, decline_share=np.where(pin == _FAILED, 0.95, 0.03)),
    )
