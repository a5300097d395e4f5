"""The words every part of the engine speaks: events and decisions as rows of 8-byte words, closed sets, limits.

An event is one row of `EVENT`, a decision one row of `DECISION`: NumPy structured types whose fields are all 8 bytes wide,
so the same memory is columns by name (``batch["amount_minor"]``) and a matrix of words by position (`words`), which is what
kernels take. The front packs a row with one `struct` call, the link and the journal carry rows as they are or narrowed.

INVARIANTS: no protobuf, no I/O here. Missing is `MISSING` in an integer column that says so, 0 in a tag or a code,
NaN in a float column. Adding a column appends it to its block and raises `LAYOUT_VERSION`.

Used by everything.
"""

from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import Any, Final

import numpy as np
import numpy.typing as npt

LAYOUT_VERSION: Final = 1
MISSING: Final = -(2**63)
"""No value, in an integer column."""

Array = npt.NDArray[Any]
WordMatrix = npt.NDArray[np.int64]

NUMBER_SLOTS: Final = 16
LABEL_SLOTS: Final = 16
RULE_WORDS: Final = 4
"""A set of rules is 4 words of 64 bits: at most 256 rules."""
RULES_MAX: Final = 64 * RULE_WORDS
LISTS_MAX: Final = 62
OBLIGATIONS_MAX: Final = 62
SEGMENTS_MAX: Final = 64
REASONS_MAX: Final = 6
REASON_WORDS: Final = 5

US_PER_SECOND: Final = 1_000_000
US_PER_DAY: Final = 86_400 * US_PER_SECOND

# Keyed 64-bit tags of identifiers, in this order. The first ENTITY_RAW_COUNT come from the request, the rest are derived
# at the door.
ENTITIES: Final = (
    "account",
    "card",
    "device",
    "ip",
    "email",
    "phone",
    "merchant",
    "payee",
    "address",
    "bin",
    "ip_network",
    "email_domain",
)
ENTITY_RAW_COUNT: Final = 9
ENTITY_INDEX: Final = {name: index for index, name in enumerate(ENTITIES)}

_INTEGERS: Final = (
    "sequence",  # assigned by the engine, 1, 2, 3 ...
    "kind",  # Kind
    "received_time_us",  # at the front, never falling within one journal
    "event_time_us",
    "skip_stages",  # Stage bits that the front chose from the deadline: reads and scoring only, never folds
    "utc_offset_minutes",  # MISSING when not told
    "transaction_type",  # TransactionType
    "amount_minor",  # in the transaction's currency; MISSING when there is none
    "amount_base_minor",  # in the base currency, converted at the door; MISSING when there is none
    "currency",  # code
    "channel",  # Channel
    "entry_mode",  # EntryMode
    "initiation",  # Initiation
    "verified_address",  # VerificationResult of each method, 0 when not tried
    "verified_card_code",
    "verified_three_d_secure",
    "verified_one_time_code",
    "verified_biometric",
    "verified_passcode",
    "issuer_outcome",  # IssuerOutcome
    "issuer_code",  # code
    "merchant_category",  # code
    "card_region",  # codes
    "ip_region",
    "merchant_region",
    "payee_region",
    "billing_region",
    "shipping_region",
    "card_bin",  # code
    "outcome_type",  # OutcomeType, of Kind.OUTCOME
    "recorded_verdict",  # Verdict, of Kind.RECORD
    "account_open_time_us",  # MISSING when not told
)
_KEYS: Final = (
    "request_key",  # keyed 128-bit hash of request_id: the half that finds it ...
    "request_check",  # ... and the half that proves it
    "payload_hash",  # of the canonical row
    "transaction_tag",
    "original_transaction_tag",
)
TAG_COLUMNS: Final = tuple(f"{name}_tag" for name in ENTITIES)
NUMBER_COLUMNS: Final = tuple(f"number_{slot}" for slot in range(NUMBER_SLOTS))
LABEL_COLUMNS: Final = tuple(f"label_{slot}" for slot in range(LABEL_SLOTS))
FLOAT_COLUMNS: Final = ("latitude_degrees", "longitude_degrees", *NUMBER_COLUMNS)

EVENT: Final = np.dtype(
    [(name, "<i8") for name in _INTEGERS]
    + [(name, "<u8") for name in _KEYS]
    + [(name, "<u8") for name in TAG_COLUMNS]
    + [(name, "<f8") for name in FLOAT_COLUMNS]
    + [(name, "<i8") for name in LABEL_COLUMNS]
)
assert EVENT.names is not None
EVENT_COLUMNS: Final = EVENT.names
EVENT_WORDS: Final = len(EVENT_COLUMNS)
EVENT_WORD: Final = {name: index for index, name in enumerate(EVENT_COLUMNS)}
"""Position of each column in a row of words."""
EVENT_STRUCT: Final = "<" + "".join({"i": "q", "u": "Q", "f": "d"}[EVENT[name].kind] for name in EVENT_COLUMNS)
"""The `struct` format of one row."""
TAG_WORD_FIRST: Final = EVENT_WORD[TAG_COLUMNS[0]]

DECISION: Final = np.dtype(
    [
        ("sequence", "<i8"),
        ("kind", "<i8"),  # Kind of the command decided on
        ("received_time_us", "<i8"),
        ("request_key", "<u8"),
        ("request_check", "<u8"),
        ("payload_hash", "<u8"),
        ("revision", "<i8"),  # ordinal of the activation whose names this row refers to
        ("verdict", "<i8"),  # Verdict, 0 for commands that are not scored
        ("probability", "<f8"),  # NaN without a model
        ("margin", "<f8"),  # log-odds before calibration, a float32 value; NaN without a model
        ("segment", "<i8"),  # index of the threshold segment
        ("flags", "<i8"),  # DecisionFlag bits
        ("degraded_stages", "<i8"),  # Stage bits
        ("obligations", "<i8"),  # bits into the activation's obligations
        ("list_hits", "<i8"),  # bits into the activation's lists
    ]
    + [(f"fired_{word}", "<u8") for word in range(RULE_WORDS)]  # enforced rules, bit r % 64 of word r // 64
    + [(f"shadow_{word}", "<u8") for word in range(RULE_WORDS)]
    + [(f"unevaluated_{word}", "<u8") for word in range(RULE_WORDS)]
    + [("reason_count", "<i8")]
    + [
        column
        for slot in range(REASONS_MAX)
        for column in (
            (f"reason_{slot}_code", "<i8"),  # index into the activation's reasons
            (f"reason_{slot}_feature", "<i8"),  # index into its features, -1 for none
            (f"reason_{slot}_observed", "<f8"),  # NaN: missing
            (f"reason_{slot}_norm", "<f8"),  # NaN: unknown
            (f"reason_{slot}_contribution", "<f8"),  # log-odds, 0 from a rule
        )
    ]
)
assert DECISION.names is not None
DECISION_COLUMNS: Final = DECISION.names
DECISION_WORDS: Final = len(DECISION_COLUMNS)
DECISION_WORD: Final = {name: index for index, name in enumerate(DECISION_COLUMNS)}
DECISION_STRUCT: Final = "<" + "".join({"i": "q", "u": "Q", "f": "d"}[DECISION[name].kind] for name in DECISION_COLUMNS)


class Kind(IntEnum):
    """What a row of the journal asks of the engine."""

    SCORE = 1
    RECORD = 2
    OUTCOME = 3
    ERASE = 4  # the tags of the row become its original_transaction_tag, a tombstone


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


def empty_events(count: int) -> Array:
    """Returns `count` rows of EVENT in which everything is missing.

    Args:
        count: Number of rows, at least 0.
    """
    rows = np.zeros(count, EVENT)
    for name in ("utc_offset_minutes", "amount_minor", "amount_base_minor", "account_open_time_us"):
        rows[name] = MISSING
    for name in FLOAT_COLUMNS:
        rows[name] = np.nan
    return rows


def words(rows: Array) -> WordMatrix:
    """Views contiguous rows of EVENT or DECISION as a matrix of int64 words, shape (rows, words). No copy."""
    # `rows.view(np.int64)` says the same; it checks the fields in Python, 5 µs a call, eight times a commit.
    assert rows.flags.c_contiguous, "rows of words are contiguous"
    return np.ndarray((len(rows), rows.dtype.itemsize // 8), np.int64, rows)


def rows_of(matrix: WordMatrix, dtype: np.dtype[Any]) -> Array:
    """Views a contiguous matrix of words as rows of EVENT or DECISION: the other way round. No copy."""
    assert matrix.flags.c_contiguous, "rows of words are contiguous"
    assert matrix.shape[1] * 8 == dtype.itemsize, "a row has the words of its type"
    return np.ndarray(len(matrix), dtype, matrix)


def pack_code(text: str) -> int:
    """Turns a short clear code into one word: equal codes are equal words, and 0 is no code.

    Up to 8 ASCII characters are kept as they are (big-endian bytes, never negative); anything longer or not ASCII is an
    unkeyed 63-bit BLAKE2b hash with the sign bit set. For codes and labels only: a hash without a key hides nothing.

    Args:
        text: The code, e.g. ``"US"``; the empty string is no code.

    Returns:
        int64 as a Python int.
    """
    raw = text.encode()
    if len(raw) <= 8 and text.isascii():
        return int.from_bytes(raw.ljust(8, b"\0"), "big")
    from hashlib import blake2b

    return -1 - (int.from_bytes(blake2b(raw, digest_size=8).digest(), "big") >> 1)


def unpack_code(code: int) -> str:
    """Turns a word of `pack_code` back into text; a hashed one reads ``#`` and 16 hex digits."""
    if code < 0:
        return f"#{code & 0xFFFFFFFFFFFFFFFF:016x}"
    return code.to_bytes(8, "big").rstrip(b"\0").decode("ascii")


@dataclass(frozen=True, slots=True)
class Feature:
    """One column of the features matrix, in words.

    Attributes:
        name: `{entity}.{input}_{operation}_{window}`; how conditions, models and reasons call it.
        unit: What a value of 1 means.
        description: One sentence.
        boolean: Whether it is 0 or 1 and a bool in conditions.
        definition: Canonical text of how it is computed; equal definitions give equal values.
    """

    name: str
    unit: str
    description: str
    boolean: bool = False
    definition: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineLimits:
    """Bounds of the engine's memory and work. Arrays are reserved at start and touched as they fill."""

    entities_max: int = 200_000
    """Entities kept for each entity type; beyond it the coldest leave first, counted."""
    arena_mib: int = 1024
    """Memory for windows and last-seen tables, MiB; at the bound an entity gives up its oldest rows, counted."""
    recent_decisions_max: int = 200_000
    """Decisions kept for idempotency and GetDecision."""
    batch_rows_max: int = 1024
    """Rows applied and journaled as one group."""
    lateness_max_s: int = 3600
    """An event older than the newest received by more than this is scored but not folded, seconds."""
