"""Fraud with accounts: other people's taken over, and many made on one device.

INVARIANT: every row is labelled, the failed logins of a takeover as well; a farm's accounts belong to nobody of the
world.

Called by `run`.
"""

from typing import Any

import numpy as np

from riskengine.enums import Channel, EntryMode, Initiation, TransactionType, VerificationResult

from .card_fraud import hideouts, victims
from .config import US_PER_MINUTE, Generator
from .draft import Array, Flags, Ints, choose, drafts, gaps_us, positions, running
from .issuer import answers
from .merchants import shelf_price
from .moments import account_columns, home_region, identity
from .places import CITY_OFFSET_MINUTES, REGION_CURRENCY, REGIONS
from .schedule import ACCOUNT_TAKEOVER, DEVICE_FARM, label, starts
from .shopping import pick_card
from .world import MAIL_DOMAINS_COMMON, World

_PASSED = int(VerificationResult.PASSED)
_FAILED = int(VerificationResult.FAILED)
_TRY, _LOGIN, _TOP_UP, _TRANSFER, _CARD = range(5)
_KINDS = np.array(
    [
        TransactionType.LOGIN,
        TransactionType.LOGIN,
        TransactionType.TOP_UP,
        TransactionType.WALLET_TRANSFER,
        TransactionType.VIRTUAL_CARD_ISSUE,
    ]
)


def takeovers(world: World, ordinary_count: int) -> Array:
    """Makes takeovers: failed tries, a login from a new device, perhaps a top-up, transfers to unknown payees."""
    rng = world.config.stream(13)
    begin = starts(rng, world.config, ACCOUNT_TAKEOVER, ordinary_count=ordinary_count)
    count = len(begin)
    victim = victims(rng, world, count)
    careful = rng.random(count) < 0.35
    tries = np.where(careful, choose(rng, count, (0.7, 0.3)), choose(rng, count, (0.2, 0.35, 0.3, 0.15)))
    top_ups = (rng.random(count) < 0.3).astype(np.int64)
    transfers = 1 + np.minimum(rng.poisson(1.3, count), 4)
    issued = (rng.random(count) < 0.2).astype(np.int64)
    steps = np.stack((tries, np.ones(count, np.int64), top_ups, transfers, issued), 1)
    size = steps.sum(1)
    episode = np.repeat(np.arange(count), size)
    step = np.repeat(np.tile(np.arange(5), count), steps.reshape(-1))
    wait = np.where(step == _TRY, 25e6, np.where(step == _LOGIN, 40e6, 150e6)) * np.where(careful[episode], 2.2, 1.0)
    waits = (wait * np.exp(0.6 * rng.standard_normal(len(episode)))).astype(np.int64)
    person = victim[episode]
    rows = drafts(
        len(episode),
        time_us=begin[episode] + running(np.where(positions(size) == 0, 0, waits), size),
        offset_minutes=CITY_OFFSET_MINUTES[world.people.city[person]],
        type=_KINDS[step],
        initiation=int(Initiation.PAYER),
        device=world.entities.devices.add(count, region=0)[episode],
        ip=hideouts(rng, world, home_region(world, victim), careful)[episode],
        channel=np.where(rng.random(count) < 0.5, int(Channel.WEB), int(Channel.MOBILE_APP))[episode],
        **identity(world, person),
    )
    _prove(rng, rows, step, careful[episode])
    _drain(rng, world, rows, step, episode, person, careful[episode])
    return label(rng, rows, ACCOUNT_TAKEOVER, episode)


def _prove(rng: Generator, rows: Array, step: Ints, careful: Flags) -> None:
    """Fills the checks: wrong passcodes, then a right one, with a one-time code that was talked out of the victim."""
    count = len(rows)
    rows["verified_passcode"] = np.where(step == _TRY, _FAILED, np.where(step == _LOGIN, _PASSED, 0))
    asked = (step == _LOGIN) & (rng.random(count) < 0.6)
    passed = rng.random(count) < np.where(careful, 0.85, 0.6)
    rows["verified_one_time_code"] = np.where(asked, np.where(passed, _PASSED, _FAILED), 0)
    again = (step == _TRANSFER) & (rng.random(count) < 0.45)
    rows["verified_one_time_code"] = np.where(
        again, np.where(rng.random(count) < 0.75, _PASSED, _FAILED), rows["verified_one_time_code"]
    )


def _drain(rng: Generator, world: World, rows: Array, step: Ints, episode: Ints, person: Ints, careful: Flags) -> None:
    """Fills the amounts, the cards of top-ups and the mules' wallets, each of which serves about four takeovers."""
    episodes = int(episode.max()) + 1 if len(episode) else 0
    currency = REGION_CURRENCY[home_region(world, person)]
    median = np.where(step == _TOP_UP, 180.0, np.where(careful, 150.0, 380.0))
    amount = shelf_price(rng, median * np.exp(0.8 * rng.standard_normal(len(rows))), currency)
    moves = (step == _TOP_UP) | (step == _TRANSFER)
    rows["amount_minor"] = np.where(moves, amount, -1)
    rows["currency"] = np.where(moves, currency, -1)
    mules = world.entities.payees.add(
        max(1, episodes // 4), region=rng.integers(0, len(REGIONS), max(1, episodes // 4))
    )
    mule = mules[rng.integers(0, len(mules), episodes)][episode]
    rows["payee"] = np.where(step == _TRANSFER, mule, -1)
    paid = step == _TOP_UP
    rows["card"] = np.where(paid, pick_card(rng, world, person), -1)
    rows["entry_mode"] = np.where(paid, int(EntryMode.CREDENTIAL_ON_FILE), 0)
    for name, values in answers(rng, len(rows), decline_share=0.15).items():
        rows[name] = np.where(paid, values, -1 if name == "issuer_code" else 0)


def device_farms(world: World, ordinary_count: int) -> Array:
    """Makes farms: many accounts opened on few devices, a promotion redeemed with each, the bonus collected."""
    rng = world.config.stream(14)
    begin = starts(rng, world.config, DEVICE_FARM, ordinary_count=ordinary_count)
    farms = len(begin)
    careful = rng.random(farms) < 0.3
    accounts = 4 + rng.poisson(2.0, farms)
    farm = np.repeat(np.arange(farms), accounts)
    opening_us = np.where(careful, 12, 5)[farm] * US_PER_MINUTE * np.exp(0.5 * rng.standard_normal(len(farm)))
    opened_us = begin[farm] + running(np.where(positions(accounts) == 0, 0, opening_us).astype(np.int64), accounts)
    region = rng.integers(0, len(REGIONS), farms)
    disposable = rng.random(len(farm)) < np.where(careful, 0.1, 0.45)[farm]
    account = world.entities.add_account(
        region[farm],
        open_time_us=opened_us,
        email_domains=np.where(disposable, MAIL_DOMAINS_COMMON, choose(rng, len(farm), (40, 20, 14, 8, 6, 4))),
    )
    # One device for the careless, one for each two accounts for the careful; all behind one address.
    device_first = world.entities.devices.add(farms * 16, region=0).reshape(farms, 16)
    device = device_first[farm, np.where(careful[farm], np.minimum(positions(accounts) // 2, 15), 0)]
    common: dict[str, Any] = {
        "offset_minutes": CITY_OFFSET_MINUTES[rng.integers(0, len(CITY_OFFSET_MINUTES), farms)][farm],
        "initiation": int(Initiation.PAYER),
        "channel": int(Channel.MOBILE_APP),
        "device": device,
        "ip": hideouts(rng, world, region, careful)[farm],
        **account_columns(world, account),
    }
    opened = drafts(
        len(farm),
        time_us=opened_us,
        type=int(TransactionType.ACCOUNT_OPENING),
        verified_one_time_code=np.where(rng.random(len(farm)) < 0.9, _PASSED, 0),
        **common,
    )
    redeemed = opened.copy()
    redeemed["type"] = int(TransactionType.PROMOTION_REDEMPTION)
    redeemed["verified_one_time_code"] = 0
    redeemed["time_us"] += gaps_us(rng, len(farm), median_us=4 * US_PER_MINUTE, spread=0.7)
    currency = REGION_CURRENCY[region[farm]]
    collected = redeemed.copy()
    collected["type"] = int(TransactionType.WALLET_TRANSFER)
    collected["time_us"] += gaps_us(rng, len(farm), median_us=5 * US_PER_MINUTE, spread=0.7)
    collected["amount_minor"] = shelf_price(rng, 10.0 * np.exp(0.05 * rng.standard_normal(len(farm))), currency)
    collected["currency"] = currency
    collected["payee"] = world.entities.payees.add(farms, region=region)[farm]
    taken = rng.random(len(farm)) < 0.3
    rows = np.concatenate((opened, redeemed, collected[taken]))
    return label(rng, rows, DEVICE_FARM, np.concatenate((farm, farm, farm[taken])))
