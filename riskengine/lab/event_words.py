"""An event in clear words: codes unpacked, times as text, identifiers as the tags that they are.

INVARIANTS: nothing is looked up, nothing is guessed: what was missing in the request is not there, and a tag stays a tag, since
the journal holds no identifier. Called by `lab.explain`.
"""

from datetime import UTC, datetime, timedelta
from enum import IntEnum
from typing import Any, Final

from riskengine.enums import (
    Channel,
    EntryMode,
    Initiation,
    IssuerOutcome,
    Kind,
    OutcomeType,
    Stage,
    TransactionType,
    Verdict,
    VerificationResult,
)
from riskengine.types import EVENT_COLUMNS, FLOAT_COLUMNS, LABEL_COLUMNS, MISSING, Array, unpack_code
from riskengine.velocity.schema import Inputs

_CLOSED: Final[dict[str, type[IntEnum]]] = {
    "kind": Kind,
    "transaction_type": TransactionType,
    "channel": Channel,
    "entry_mode": EntryMode,
    "initiation": Initiation,
    "verified_address": VerificationResult,
    "verified_card_code": VerificationResult,
    "verified_three_d_secure": VerificationResult,
    "verified_one_time_code": VerificationResult,
    "verified_biometric": VerificationResult,
    "verified_passcode": VerificationResult,
    "issuer_outcome": IssuerOutcome,
    "outcome_type": OutcomeType,
    "recorded_verdict": Verdict,
}
_CODES: Final = (
    "currency",
    "issuer_code",
    "merchant_category",
    "card_region",
    "ip_region",
    "merchant_region",
    "payee_region",
    "billing_region",
    "shipping_region",
    "card_bin",
    *LABEL_COLUMNS,
)
_TIMES: Final = ("received_time_us", "event_time_us", "account_open_time_us")
_KEYS: Final = ("sequence", "request_key", "request_check", "payload_hash")
"""Told otherwise: the sequence, and the decision's name."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def event_words(event: Array, inputs: Inputs) -> dict[str, str | int | float]:
    """Says what an event holds.

    Args:
        event: EVENT[1].
        inputs: Names of the caller's own numbers and labels under the configuration that decided.

    Returns:
        Value by name, in the order of the row: the columns' names, times without their unit, ``numbers.<key>`` and
        ``labels.<key>``. Codes, tags (16 hex digits) and times (RFC 3339) are text.
    """
    own = {f"number_{slot}": f"numbers.{key}" for slot, key in enumerate(inputs.numbers)}
    own |= {f"label_{slot}": f"labels.{key}" for slot, key in enumerate(inputs.labels)}
    told: dict[str, str | int | float] = {}
    for column in EVENT_COLUMNS:
        value = None if column in _KEYS else _word(column, event[column][0].item())
        if value is not None:
            told[own.get(column, column.removesuffix("_us"))] = value
    return told


def time_text(time_us: int) -> str:
    """Returns a time as RFC 3339 text in UTC.

    Args:
        time_us: Microseconds since the epoch, of the years 1 to 9999.
    """
    return (_EPOCH + timedelta(microseconds=time_us)).isoformat().replace("+00:00", "Z")


def _word(column: str, value: Any) -> str | int | float | None:
    """Returns the value of one column in words, None where it is missing."""
    if column in FLOAT_COLUMNS:
        return None if value != value else float(value)
    if value == MISSING or (value == 0 and not column.startswith(("amount", "utc", "account_open"))):
        return None
    if column in _CLOSED:
        return _CLOSED[column](value).name
    if column in _CODES:
        return unpack_code(value)
    if column in _TIMES:
        return time_text(value)
    if column == "skip_stages":
        return ", ".join(stage.name or "" for stage in Stage(value))
    return f"{value:016x}" if column.endswith("_tag") else int(value)
