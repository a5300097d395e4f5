"""What follows ordinary payments: a second try after a decline, refunds, reversals.

INVARIANT: a refund or a reversal names a payment of the same table by its key, is later, and is not larger.

Called by `run` with keyed payments.
"""

import numpy as np

from riskengine.enums import Channel, Initiation, IssuerOutcome, TransactionType
from riskengine.types import US_PER_DAY

from .catalogue import CODE_APPROVED, CODE_FUNDS
from .config import US_PER_MINUTE, SimulationConfig
from .draft import ENTITY_COLUMNS, Array, Ints, drafts

RETRY_SHARE = 0.55
REFUND_SHARE = 0.02
REVERSAL_SHARE = 0.003


def retries(config: SimulationConfig, payments: Array) -> Array:
    """Makes second tries of payments declined for lack of funds, within minutes; most fail again."""
    rng = config.stream(9)
    short = (payments["issuer_outcome"] == IssuerOutcome.DECLINED) & (payments["issuer_code"] == CODE_FUNDS)
    rows: Array = payments[short & (rng.random(len(payments)) < RETRY_SHARE)]
    rows["time_us"] += ((30 + 400 * rng.random(len(rows))) * 1e6).astype(np.int64)
    covered = rng.random(len(rows)) < 0.4
    rows["issuer_outcome"] = np.where(covered, int(IssuerOutcome.APPROVED), rows["issuer_outcome"])
    rows["issuer_code"] = np.where(covered, CODE_APPROVED, rows["issuer_code"])
    return rows


def returns(config: SimulationConfig, payments: Array) -> list[Array]:
    """Makes refunds some days after approved payments, and reversals some minutes after."""
    rng = config.stream(10)
    approved = payments[payments["issuer_outcome"] == IssuerOutcome.APPROVED]
    drawn = rng.random(len(approved))
    refunded = approved[drawn < REFUND_SHARE]
    days = 1.0 + 14.0 * rng.random(len(refunded))
    refund = _back(refunded, TransactionType.REFUND, (days * US_PER_DAY).astype(np.int64))
    part = np.where(rng.random(len(refund)) < 0.75, 1.0, 0.2 + 0.7 * rng.random(len(refund)))
    refund["amount_minor"] = np.maximum(np.rint(refund["amount_minor"] * part), 1).astype(np.int64)
    reversed_rows = approved[drawn > 1.0 - REVERSAL_SHARE]
    minutes = 1.0 + 40.0 * rng.random(len(reversed_rows))
    reversal = _back(reversed_rows, TransactionType.REVERSAL, (minutes * US_PER_MINUTE).astype(np.int64))
    return [refund, reversal]


def _back(payments: Array, kind: TransactionType, delay_us: Ints) -> Array:
    """Makes money going back for each payment: the merchant acts, so no device, address or place."""
    kept = {name: payments[name] for name in ENTITY_COLUMNS if name not in ("device", "ip", "address")}
    return drafts(
        len(payments),
        time_us=payments["time_us"] + delay_us,
        offset_minutes=payments["offset_minutes"],
        original_key=payments["key"],
        type=int(kind),
        amount_minor=payments["amount_minor"],
        currency=payments["currency"],
        channel=int(Channel.API),
        initiation=int(Initiation.MERCHANT_UNSCHEDULED),
        **kept,
    )
