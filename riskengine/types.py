"""The words every part of the engine speaks: events and decisions as rows of 8-byte words.

An event is one row of `EVENT`, a decision one row of `DECISION`: NumPy structured types whose fields are all 8 bytes wide,
so the same memory is columns by name (``batch["amount_minor"]``) and a matrix of words by position (`words`), which is what
kernels take. The front packs a row with one `struct` call, the link and the journal carry rows as they are or narrowed.

Closed sets, as their comments name them, are in `riskengine.enums`.

INVARIANTS: no protobuf, no I/O here. Missing is `MISSING` in an integer column that says so, 0 in a tag or a code,
NaN in a float column. Adding a column appends it to its block and raises `LAYOUT_VERSION`.

Used by everything.
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

LAYOUT_VERSION: Final = 1
MISSING: Final = -(2**63)
"""No value, in an integer column."""

Array = npt.NDArray[Any]
WordMatrix = npt.NDArray[np.int64]
"""Rows of EVENT or DECISION as words."""
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Valid = npt.NDArray[np.uint8]
"""1 where a value is there, 0 where it is missing."""

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

# Keyed 64-bit tags of identifiers, in this order. Those up to the address come from the request, the rest are derived at
# the door.
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
