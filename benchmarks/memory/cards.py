"""Cards to measure: two declarations of what is kept for them, and payments made with them.

INVARIANT: a seed gives the same payments, and they are in order. Used by `benchmarks.memory`.
"""

from typing import Final

import numpy as np

from benchmarks.engine import DEFAULTS
from benchmarks.velocity.folding import configure
from benchmarks.velocity.workload import tags
from riskengine.engine.configuration import Configuration
from riskengine.enums import Kind, TransactionType
from riskengine.limits import EngineLimits
from riskengine.types import ENTITIES, US_PER_DAY, Array, Ints, empty_events
from riskengine.yamlfile import load_file, load_yaml

START_US: Final = 20_000 * US_PER_DAY
SPAN_US: Final = 30 * US_PER_DAY
MERCHANTS_OF_A_CARD: Final = 20
DEVICES_OF_A_CARD: Final = 2
PLAIN_MEASURES: Final = 8
PLAIN: Final = """\
version: 1
profiles:
  card:
    measures:
      amount: {of: txn.amount, count: [1h, 24h, 30d], sum: [1h, 24h, 30d], mean: [7d, 30d], zscore: [30d]}
      declined: {when: txn.issuer_outcome == "DECLINED", count: [1h, 24h]}
      small: {when: txn.amount < 500, count: [10m, 1h]}
      abroad: {when: txn.merchant_card_region_mismatch, count: [24h]}
      night: {when: txn.night, count: [7d]}
"""
"""One entity type with eight cumulative measures: count, sum, two of logarithms, and four conditions."""


def plain(limits: EngineLimits) -> Configuration:
    """Compiles the plain declaration."""
    configuration = configure(load_yaml(PLAIN, name="features.yaml"), limits)
    assert len(configuration.features.velocity.measures) == PLAIN_MEASURES
    return configuration


def starter(limits: EngineLimits) -> Configuration:
    """Compiles the starter's features, all of them."""
    return configure(load_file(DEFAULTS / "features.yaml"), limits)


def payments(cards: Ints, time_us: Ints, *, seed: int = 1) -> Array:
    """Makes payments, each with its card's account, one of its devices and one of its merchants.

    Args:
        cards: Number of the card of each payment, at least 0.
        time_us: When, never falling.
        seed: Of amounts, devices and merchants.
    """
    random = np.random.default_rng(seed)
    rows = empty_events(len(cards))
    rows["kind"] = Kind.SCORE
    rows["transaction_type"] = TransactionType.CARD_PAYMENT
    rows["event_time_us"] = time_us
    rows["amount_minor"] = rows["amount_base_minor"] = random.integers(100, 100_000, len(cards))
    rows["card_tag"] = tags(cards, salt=0)
    rows["account_tag"] = tags(cards, salt=1)
    rows["device_tag"] = tags(cards * DEVICES_OF_A_CARD + random.integers(0, DEVICES_OF_A_CARD, len(cards)), salt=2)
    merchants = random.integers(0, MERCHANTS_OF_A_CARD, len(cards))
    rows["merchant_tag"] = tags(cards * MERCHANTS_OF_A_CARD + merchants, salt=3)
    return rows


def strangers(first: int, count: int) -> Array:
    """Makes payments of which each is the first of everything it names: every table of entities grows with each."""
    numbers = np.arange(first, first + count)
    rows = payments(numbers, START_US + numbers * 1_000)
    for salt, entity in enumerate(ENTITIES):
        rows[f"{entity}_tag"] = tags(numbers, salt=salt)
    return rows
