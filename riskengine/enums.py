"""The closed sets of the engine: what each number in a row of `riskengine.types` stands for.

INVARIANTS: numbers are those of riskengine.v1 where a set is the contract's; 0 is no value and has no name; a number is never
used again. Plain Python: kernels take the integers as constants, so this file is a part of what is compiled.

Used by everything.
"""

from enum import IntEnum, IntFlag
from typing import Final


class Kind(IntEnum):
    """What a row of the journal asks of the engine."""

    SCORE = 1
    RECORD = 2
    OUTCOME = 3


class TransactionType(IntEnum):
    """As riskengine.v1.TransactionType."""

    CARD_PAYMENT = 1
    WALLET_TRANSFER = 2
    TOP_UP = 3
    WITHDRAWAL = 4
    REFUND = 5
    REVERSAL = 6
    LOGIN = 7
    ACCOUNT_OPENING = 8
    CARD_APPLICATION = 9
    VIRTUAL_CARD_ISSUE = 10
    PROMOTION_REDEMPTION = 11


MONETARY_TYPE_LAST: Final = TransactionType.REVERSAL
"""Types up to this one carry an amount, later ones none."""


class Channel(IntEnum):
    """As riskengine.v1.Channel."""

    WEB = 1
    MOBILE_APP = 2
    POINT_OF_SALE = 3
    ATM = 4
    MOTO = 5
    API = 6


class EntryMode(IntEnum):
    """As riskengine.v1.EntryMode."""

    CHIP = 1
    CONTACTLESS = 2
    MAGSTRIPE = 3
    QR_MERCHANT_PRESENTED = 4
    QR_PAYER_PRESENTED = 5
    ONLINE = 6
    NETWORK_TOKEN = 7
    CREDENTIAL_ON_FILE = 8
    MANUAL = 9


class Initiation(IntEnum):
    """As riskengine.v1.Initiation."""

    PAYER = 1
    PAYER_RECURRING_FIRST = 2
    MERCHANT_RECURRING = 3
    MERCHANT_UNSCHEDULED = 4


class VerificationMethod(IntEnum):
    """As riskengine.v1.VerificationMethod."""

    ADDRESS = 1
    CARD_CODE = 2
    THREE_D_SECURE = 3
    ONE_TIME_CODE = 4
    BIOMETRIC = 5
    PASSCODE = 6


class VerificationResult(IntEnum):
    """As riskengine.v1.VerificationResult."""

    PASSED = 1
    FAILED = 2
    PARTIAL = 3
    UNAVAILABLE = 4
    ABANDONED = 5


class IssuerOutcome(IntEnum):
    """As riskengine.v1.IssuerOutcome."""

    APPROVED = 1
    DECLINED = 2
    AUTHENTICATION_REQUIRED = 3
    TIMED_OUT = 4


class OutcomeType(IntEnum):
    """As riskengine.v1.OutcomeType."""

    FRAUD = 1
    LEGITIMATE = 2
    CHARGEBACK_FRAUD = 3
    CHARGEBACK_OTHER = 4
    REFUNDED = 5
    ISSUER_DECLINED = 6


class Verdict(IntEnum):
    """As riskengine.v1.Verdict; a larger value is stricter."""

    APPROVE = 1
    REVIEW = 2
    DECLINE = 3


class ListAction(IntEnum):
    """As riskengine.v1.ListAction."""

    ALLOW = 1
    BLOCK = 2
    WATCH = 3


class Stage(IntFlag):
    """Stages as bits; the number of riskengine.v1.Stage is the bit's position plus one."""

    LISTS = 1
    VELOCITY = 2
    LINKAGE = 4
    MODEL = 8
    POLICY = 16


class DecisionFlag(IntFlag):
    """What else is to be told of a decision."""

    FOLDED = 1  # the event entered the windows
    APPROXIMATE = 2  # a feature used is an estimate
    MATCHED = 4  # an outcome's entities were known
    MODEL_LIVE = 8
    MODEL_SHADOW = 16


class ReplyStatus(IntEnum):
    """How a command ended, beside its decision row on the link."""

    DECIDED = 0
    REPEATED = 1  # same request_id and payload: the stored decision
    REUSED = 2  # same request_id, another payload
    NOT_FOUND = 3  # GetDecision
    JOURNAL_FULL = 4
    REFUSED = 5  # the engine cannot serve: it is ending
