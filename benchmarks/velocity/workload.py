"""Payments of a busy gateway: six entities each, whose popularity follows Zipf's law.

INVARIANTS: a seed gives the same payments; without the late ones no two have the same time, so that no answer hangs on how a
tie is broken; amounts are whole minor units, so that sums have one value. Used by `benchmarks.velocity` and its peers.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from riskengine.enums import IssuerOutcome, Kind, TransactionType
from riskengine.types import US_PER_DAY, US_PER_SECOND, Array, Ints, empty_events

ENTITIES: Final = ("card", "account", "device", "ip", "email", "merchant")
WINDOWS_S: Final = {"1m": 60, "10m": 600, "1h": 3_600, "24h": 86_400, "7d": 7 * 86_400, "30d": 30 * 86_400}
OPERATIONS: Final = ("amount_count", "amount_sum", "amount_mean", "declined_count")
ZIPF_EXPONENT: Final = 1.1
LATE_SHARE: Final = 0.01
LATENESS_S: Final = 3_600
SPAN_DAYS: Final = 45
START_US: Final = 20_000 * US_PER_DAY
DECLINED_SHARE: Final = 0.08


def features_yaml() -> str:
    """Writes the declaration: 6 entities x 6 windows x 4 answers."""
    windows = ", ".join(WINDOWS_S)
    lines = ["version: 1", "profiles:"]
    for entity in ENTITIES:
        lines += [
            f"  {entity}:",
            "    measures:",
            f"      amount: {{of: txn.amount, count: [{windows}], sum: [{windows}], mean: [{windows}]}}",
            f'      declined: {{when: txn.issuer_outcome == "DECLINED", count: [{windows}]}}',
        ]
    return "\n".join(lines) + "\n"


def feature_names() -> list[str]:
    """Lists the 144 features, entity by entity, window by window: the order in which all who answer are compared."""
    return [f"{entity}.{name}_{window}" for entity in ENTITIES for window in WINDOWS_S for name in OPERATIONS]


@dataclass(frozen=True, slots=True)
class Payments:
    """Payments in the order in which they arrive.

    Attributes:
        time_us: int64[n], event time.
        amount: int64[n], minor units.
        declined: int64[n], 1 or 0.
        keys: int64[6, n], rank of each payment's entities by popularity, 0 the most popular.
        late: bool[n], whether it comes after payments that are younger.
    """

    time_us: Ints
    amount: Ints
    declined: Ints
    keys: Ints
    late: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.time_us)

    def part(self, which: Any) -> "Payments":
        """Returns those that an index chooses."""
        return Payments(
            self.time_us[which], self.amount[which], self.declined[which], self.keys[:, which], self.late[which]
        )

    def in_order(self, count: int) -> "Payments":
        """Returns the first `count` that are not late: what can be asked of those who need order."""
        return self.part(np.flatnonzero(~self.late)[:count])

    def rows(self) -> Array:
        """Returns them as rows of EVENT, to be scored."""
        events = empty_events(len(self))
        events["kind"] = Kind.SCORE
        events["transaction_type"] = TransactionType.CARD_PAYMENT
        events["event_time_us"] = self.time_us
        events["amount_minor"] = events["amount_base_minor"] = self.amount
        events["issuer_outcome"] = np.where(self.declined == 1, IssuerOutcome.DECLINED, IssuerOutcome.APPROVED)
        for index, entity in enumerate(ENTITIES):
            events[f"{entity}_tag"] = tags(self.keys[index], salt=index)
        return events


def tags(ranks: Ints, *, salt: int) -> npt.NDArray[np.uint64]:
    """Turns ranks into tags as evenly spread as the keyed hashes of the door: Vigna's splitmix64, one salt for each type."""
    mixed = ranks.astype(np.uint64) + np.uint64((salt + 1) * 0x9E3779B97F4A7C15 % 2**64)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return (mixed ^ (mixed >> np.uint64(31))) | np.uint64(1)


def make_payments(count: int, *, entities: int, seed: int = 1) -> Payments:
    """Draws payments over SPAN_DAYS.

    Args:
        count: How many.
        entities: Of each type.
        seed: Of all that is drawn.
    """
    random = np.random.default_rng(seed)
    gaps = random.exponential(size=count)
    elapsed = np.cumsum(gaps / gaps.sum() * (SPAN_DAYS * US_PER_DAY - count)).astype(np.int64)
    time_us = START_US + elapsed + np.arange(count)  # The last summand parts those that fall into one microsecond.
    late = random.random(count) < LATE_SHARE
    time_us[late] -= random.integers(1, (LATENESS_S - 60) * US_PER_SECOND, int(late.sum()))
    popularity = np.cumsum(np.arange(1, entities + 1, dtype=np.float64) ** -ZIPF_EXPONENT)
    keys = np.stack([popularity.searchsorted(random.random(count) * popularity[-1]) for _ in ENTITIES])
    return Payments(
        time_us=time_us,
        amount=np.maximum(random.lognormal(8.0, 1.0, count), 1.0).astype(np.int64),
        declined=(random.random(count) < DECLINED_SHARE).astype(np.int64),
        keys=keys.astype(np.int64),
        late=late,
    )
