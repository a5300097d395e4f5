"""Everything that can be wrong with a request, found all at once: the contract of the protos as code.

The door looks at a request in one quick pass that knows only "fine" and "perhaps not"; what it suspects comes here,
where each field is looked at by itself and speed does not matter.

INVARIANTS: a path names a field as the proto does; a description says what is expected and repeats nothing that a
caller sent, map keys included; a field has one violation at most, but for maps, whose entries share their field's path;
the number of violations is bounded; nothing is normalised before its length is known.

Called by `wire.door` on suspicion, and by `server.servicers` for the requests that carry others; `lab.rows` takes the bounds
from here.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Any, Final, get_args
from unicodedata import category

from riskengine.currencies import AMOUNT_MINOR_MAX, MINOR_UNIT_EXPONENTS
from riskengine.enums import MONETARY_TYPE_LAST, TransactionType
from riskengine.errors import InvalidRequest, Violation
from riskengine.settings import PanField
from riskengine.types import US_PER_SECOND
from riskengine.v1 import risk_service_pb2 as service
from riskengine.v1 import transaction_pb2 as messages
from riskengine.wire.pseudonyms import is_bare_pan, normal_email, normal_ip, normal_phone

EVENT_TIME_S_MIN: Final = 946_684_800
"""2000-01-01, seconds since the epoch."""
OPEN_TIME_S_MIN: Final = -62_135_596_800
OPEN_TIME_S_MAX: Final = 253_402_300_799
"""The years 1 to 9999, as google.protobuf.Timestamp has them."""
UTC_OFFSET_MINUTES_MAX: Final = 840
ITEMS_MAX: Final = 16
"""Entries of each of the caller's maps."""
BATCH_ITEMS_MAX: Final = 1000
IDENTIFIER_CHARS_MAX: Final = 64
LABEL_BYTES_MAX: Final = 64
ADDRESS_BYTES_MAX: Final = 256
EMAIL_CHARS_MAX: Final = 254
IP_CHARS_MAX: Final = 45
PHONE_CHARS_MAX: Final = 64
PAN_FIELDS: Final[tuple[str, ...]] = get_args(PanField)
"""Identifiers that are refused when they are a bare card number; configuration can exempt some."""

_KEY: Final = r"[A-Za-z0-9._:-]"
_IDENTIFIER: Final = r"[A-Za-z0-9._:@+/=-]"
_PHONE: Final = r"[ .()\[\]-]*\+?[0-9 .()\[\]-]*"
_ADDRESS_BLANKS: Final = "\t\n\r"


class Suspect(Exception):
    """The quick pass is not sure that a request is fine. Carries nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DoorLimits:
    """What of the contract is configured.

    Attributes:
        currencies: Codes with a rate.
        skew_us: How far event times may be ahead of the server's clock, microseconds, at least 0.
        pan_exempt_fields: Of PAN_FIELDS.
    """

    currencies: frozenset[str]
    skew_us: int
    pan_exempt_fields: frozenset[str]


@dataclass(slots=True)
class Findings:
    """The violations found so far, in order, each once."""

    violations: dict[Violation, None] = field(default_factory=dict)

    def add(self, path: str, reason: str, description: str) -> None:
        """Adds one violation unless it is there already."""
        self.violations[Violation(path, reason, description)] = None

    def required(self, path: str, description: str = "is required") -> None:
        """Adds that a field is missing."""
        self.add(path, "REQUIRED", description)

    def text(self, path: str, value: str, alphabet: str, *, shortest: int, longest: int) -> bool:
        """Checks a non-empty text of one alphabet (a regex class).

        Returns:
            Whether it is fine.
        """
        if len(value) > longest:
            self.add(path, "FIELD_TOO_LONG", f"must have at most {longest} characters")
        elif len(value) < shortest:
            self.add(path, "FIELD_TOO_SHORT", f"must have at least {shortest} characters")
        elif re.fullmatch(f"{alphabet}+", value) is None:
            self.add(path, "INVALID_FORMAT", f"must have {shortest} to {longest} characters of {alphabet}")
        else:
            return True
        return False

    def key(self, path: str, value: str, *, shortest: int = 1) -> None:
        """Checks a required id of a request or a transaction."""
        if value:
            self.text(path, value, _KEY, shortest=shortest, longest=IDENTIFIER_CHARS_MAX)
        else:
            self.required(path)

    def enum(self, path: str, value: int, known: Mapping[int, Any], *, required: bool = False) -> None:
        """Checks an enum value against the proto's own numbers."""
        if value not in known:
            self.add(path, "UNKNOWN_VALUE", "must be a value of the enum in this version")
        elif required and value == 0:
            self.required(path)

    def pattern(self, path: str, value: str, regex: str, description: str) -> None:
        """Checks an optional text of a fixed form."""
        if value and re.fullmatch(regex, value) is None:
            self.add(path, "INVALID_FORMAT", description)

    def number(self, path: str, value: float, *, bound: float) -> None:
        """Checks a finite number within -bound to bound inclusive."""
        if not isfinite(value):
            self.add(path, "NOT_FINITE", "must be a finite number")
        elif not -bound <= value <= bound:
            self.add(path, "OUT_OF_RANGE", f"must be from {-bound:g} to {bound:g} inclusive")


def find_transaction(
    request: "service.ScoreTransactionRequest | service.RecordTransactionRequest", *, limits: DoorLimits, now_us: int
) -> list[Violation]:
    """Finds all violations of a request to score or to record.

    Args:
        request: As parsed.
        limits: The configured part of the contract.
        now_us: The server's clock, microseconds since the epoch.

    Returns:
        In the order of the fields; empty when the request is fine.
    """
    found = Findings()
    found.key("request_id", request.request_id, shortest=8)
    if request.HasField("transaction"):
        _check_transaction(found, request.transaction, limits, now_us)
    else:
        found.required("transaction")
    if isinstance(request, service.RecordTransactionRequest):
        found.enum("verdict", request.verdict, _enum(request, "verdict"))
    return list(found.violations)


def find_outcome(request: "service.ReportOutcomeRequest", *, limits: DoorLimits, now_us: int) -> list[Violation]:
    """Finds all violations of a reported outcome; arguments and result as of `find_transaction`."""
    found = Findings()
    found.key("request_id", request.request_id, shortest=8)
    found.key("transaction_id", request.transaction_id)
    found.enum("type", request.type, _enum(request, "type"), required=True)
    _check_event_time(found, "event_time", request, limits, now_us)
    _check_entities(found, "entities", request.entities, limits)
    return list(found.violations)


def check_batch(request: "service.BatchScoreTransactionsRequest") -> None:
    """Raises InvalidRequest unless a batch has 1 to 1,000 requests; what is wrong with one of them is its own error."""
    if not request.requests:
        raise InvalidRequest([Violation("requests", "REQUIRED", f"must have 1 to {BATCH_ITEMS_MAX} requests")])
    if len(request.requests) > BATCH_ITEMS_MAX:
        raise InvalidRequest([Violation("requests", "TOO_MANY_ITEMS", f"must have 1 to {BATCH_ITEMS_MAX} requests")])


def check_stream_item(request: "service.StreamScoreTransactionsRequest") -> None:
    """Raises InvalidRequest when a message of a stream carries no request."""
    if not request.HasField("request"):
        raise InvalidRequest([Violation("request", "REQUIRED", "is required")])


def _enum(message: Any, name: str) -> Mapping[int, Any]:
    numbers: Mapping[int, Any] = message.DESCRIPTOR.fields_by_name[name].enum_type.values_by_number
    return numbers


def _check_transaction(
    found: Findings, transaction: "messages.Transaction", limits: DoorLimits, now_us: int, at: str = "transaction."
) -> None:
    found.key(f"{at}transaction_id", transaction.transaction_id)
    found.enum(f"{at}type", transaction.type, _enum(transaction, "type"), required=True)
    _check_event_time(found, f"{at}event_time", transaction, limits, now_us)
    if abs(transaction.utc_offset_minutes) > UTC_OFFSET_MINUTES_MAX:
        found.add(
            f"{at}utc_offset_minutes",
            "OUT_OF_RANGE",
            f"must be from -{UTC_OFFSET_MINUTES_MAX} to {UTC_OFFSET_MINUTES_MAX} inclusive",
        )
    _check_money(found, at, transaction, limits)
    for name in ("channel", "entry_mode", "initiation"):
        found.enum(f"{at}{name}", getattr(transaction, name), _enum(transaction, name))
    _check_verifications(found, f"{at}verifications", transaction)
    issuer = transaction.issuer_response
    found.enum(f"{at}issuer_response.outcome", issuer.outcome, _enum(issuer, "outcome"))
    found.pattern(
        f"{at}issuer_response.response_code",
        issuer.response_code,
        "[A-Za-z0-9]{1,8}",
        "must have 1 to 8 letters or digits",
    )
    if transaction.original_transaction_id:
        found.key(f"{at}original_transaction_id", transaction.original_transaction_id)
    entities = f"{at}entities"
    _check_entities(found, entities, transaction.entities, limits)
    if not any(value for _, value in transaction.entities.ListFields()):
        found.required(entities, "must have at least one identifier")
    found.pattern(
        f"{at}merchant_category_code",
        transaction.merchant_category_code,
        "[0-9]{4}",
        "must have four digits (ISO 18245)",
    )
    for descriptor, region in transaction.regions.ListFields():
        found.pattern(f"{at}regions.{descriptor.name}", region, "[A-Z]{2}", "must have two capital letters (CLDR)")
    if transaction.HasField("position"):
        _check_position(found, f"{at}position", transaction.position)
    _check_open_time(found, f"{at}account_open_time", transaction)
    _check_numbers(found, f"{at}numbers", transaction.numbers)
    _check_labels(found, f"{at}labels", transaction.labels)


def _check_position(found: Findings, path: str, position: "messages.Position") -> None:
    for name, bound in (("latitude_degrees", 90), ("longitude_degrees", 180)):
        if position.HasField(name):
            found.number(f"{path}.{name}", getattr(position, name), bound=bound)
        else:
            found.required(f"{path}.{name}")


def _check_event_time(found: Findings, path: str, message: Any, limits: DoorLimits, now_us: int) -> None:
    if not message.HasField("event_time"):
        found.required(path)
        return
    seconds, nanos = message.event_time.seconds, message.event_time.nanos
    if not 0 <= nanos <= 999_999_999:
        found.add(path, "INVALID_FORMAT", "must have nanos from 0 to 999,999,999")
    elif seconds < EVENT_TIME_S_MIN:
        found.add(path, "OUT_OF_RANGE", "must not be before 2000-01-01")
    elif seconds * US_PER_SECOND + nanos // 1000 > now_us + limits.skew_us:
        found.add(
            path, "EVENT_TIME_SKEW", f"must be at most {limits.skew_us / US_PER_SECOND:g} s ahead of the server's clock"
        )


def _check_open_time(found: Findings, path: str, transaction: "messages.Transaction") -> None:
    opened = transaction.account_open_time
    if not 0 <= opened.nanos <= 999_999_999:
        found.add(path, "INVALID_FORMAT", "must have nanos from 0 to 999,999,999")
    elif not OPEN_TIME_S_MIN <= opened.seconds <= OPEN_TIME_S_MAX:
        found.add(path, "OUT_OF_RANGE", "must be within the years 1 to 9999")


def _check_money(found: Findings, at: str, transaction: "messages.Transaction", limits: DoorLimits) -> None:
    amount, currency = f"{at}amount_minor", f"{at}currency_code"
    present = transaction.HasField("amount_minor")
    if transaction.type in _MONETARY and not present:
        found.add(amount, "AMOUNT_REQUIRED", "is required for this type")
    elif transaction.type in _NOT_MONETARY and present:
        found.add(amount, "AMOUNT_NOT_ALLOWED", "must be absent for this type")
    elif not 0 <= transaction.amount_minor <= AMOUNT_MINOR_MAX:
        found.add(amount, "OUT_OF_RANGE", f"must be from 0 to {AMOUNT_MINOR_MAX:,} inclusive")
    if not transaction.currency_code:
        if transaction.type in _MONETARY:
            found.required(currency, "is required with an amount")
    elif re.fullmatch("[A-Z]{3}", transaction.currency_code) is None:
        found.add(currency, "INVALID_FORMAT", "must have three capital letters (ISO 4217)")
    elif transaction.currency_code not in MINOR_UNIT_EXPONENTS:
        found.add(currency, "UNKNOWN_CURRENCY", "must be an ISO 4217 code")
    elif transaction.currency_code not in limits.currencies:
        found.add(currency, "UNKNOWN_CURRENCY", "must be a currency with a rate in server.yaml")


def _check_verifications(found: Findings, path: str, transaction: "messages.Transaction") -> None:
    verifications = transaction.verifications
    methods = set()
    most = len(messages.VerificationMethod.values()) - 1
    if len(verifications) > most:
        found.add(path, "TOO_MANY_ITEMS", f"must have at most {most} items")
    for index, verification in enumerate(verifications[:most]):
        for name in ("method", "result"):
            value = getattr(verification, name)
            found.enum(f"{path}[{index}].{name}", value, _enum(verification, name), required=True)
        if verification.method in methods:
            found.add(f"{path}[{index}].method", "DUPLICATE_ITEM", "must come at most once")
        methods.add(verification.method)


def _check_entities(found: Findings, path: str, entities: "messages.Entities", limits: DoorLimits) -> None:
    for descriptor, value in entities.ListFields():
        name, at = descriptor.name, f"{path}.{descriptor.name}"
        if name in _ENTITY_FORMS:
            _ENTITY_FORMS[name](found, at, value)
        elif (
            found.text(at, value, _IDENTIFIER, shortest=1, longest=IDENTIFIER_CHARS_MAX)
            and name not in limits.pan_exempt_fields
            and is_bare_pan(value)
        ):
            _refuse_pan(found, at)


def _refuse_pan(found: Findings, path: str) -> None:
    found.add(path, "PAN_NOT_ALLOWED", "must not be a card number; send a token or a fingerprint of it")


def _check_bin(found: Findings, path: str, value: str) -> None:
    found.pattern(path, value, "[0-9]{6,8}", "must have 6 to 8 digits")


def _check_ip(found: Findings, path: str, value: str) -> None:
    if len(value) > IP_CHARS_MAX:
        found.add(path, "FIELD_TOO_LONG", f"must have at most {IP_CHARS_MAX} characters")
    elif not normal_ip(value):
        found.add(path, "INVALID_FORMAT", "must be an IPv4 or IPv6 address in text form, without a zone")


def _check_email(found: Findings, path: str, value: str) -> None:
    if len(value) > EMAIL_CHARS_MAX:
        found.add(path, "FIELD_TOO_LONG", f"must have at most {EMAIL_CHARS_MAX} characters")
    elif not is_email(value):
        found.add(path, "INVALID_FORMAT", 'must be a name, one "@" and a domain, without blanks')


def is_email(text: str) -> bool:
    """Says whether a text of a bounded length is an e-mail address; blanks around it are no fault, control characters are."""
    # Normalising takes the square of the length where marks are combined, so whoever asks has looked at the length.
    local, at, domain = normal_email(text).decode().partition("@")
    whole = local + domain
    fine = bool(local and at and domain) and "@" not in domain and whole.isprintable() and " " not in whole
    return fine and not any(category(character) == "Cc" for character in text)


def _check_phone(found: Findings, path: str, value: str) -> None:
    if len(value) > PHONE_CHARS_MAX:
        found.add(path, "FIELD_TOO_LONG", f"must have at most {PHONE_CHARS_MAX} characters")
    elif not 5 <= len(normal_phone(value)) <= 15 or re.fullmatch(_PHONE, value) is None:
        found.add(path, "INVALID_FORMAT", 'must have 5 to 15 digits and an optional "+" before them')


def _check_address(found: Findings, path: str, value: str) -> None:
    if len(value.encode()) > ADDRESS_BYTES_MAX:
        found.add(path, "FIELD_TOO_LONG", f"must have at most {ADDRESS_BYTES_MAX} bytes")
    elif any(category(character) == "Cc" and character not in _ADDRESS_BLANKS for character in value):
        found.add(path, "INVALID_FORMAT", "must have no control characters")
    elif not value.strip():
        found.add(path, "INVALID_FORMAT", "must have more than blanks")
    elif is_bare_pan(value):
        _refuse_pan(found, path)


def _check_map_keys(found: Findings, path: str, entries: Mapping[str, Any]) -> None:
    if len(entries) > ITEMS_MAX:
        found.add(path, "TOO_MANY_ITEMS", f"must have at most {ITEMS_MAX} entries")
    for key in entries:
        if re.fullmatch("[a-z0-9_]{1,32}", key) is None:
            found.add(path, "INVALID_FORMAT", "must have keys of 1 to 32 characters of [a-z0-9_]")
        elif is_bare_pan(key.replace("_", "")):
            _refuse_pan(found, path)


def _check_numbers(found: Findings, path: str, numbers: Mapping[str, float]) -> None:
    _check_map_keys(found, path, numbers)
    if not all(map(isfinite, numbers.values())):
        found.add(path, "NOT_FINITE", "must have finite numbers")


def _check_labels(found: Findings, path: str, labels: Mapping[str, str]) -> None:
    _check_map_keys(found, path, labels)
    for value in labels.values():
        if not value:
            found.add(path, "REQUIRED", f"must have values of 1 to {LABEL_BYTES_MAX} bytes")
        elif len(value.encode()) > LABEL_BYTES_MAX:
            found.add(path, "FIELD_TOO_LONG", f"must have values of 1 to {LABEL_BYTES_MAX} bytes")
        elif any(category(character) == "Cc" for character in value):
            found.add(path, "INVALID_FORMAT", "must have values without control characters")
        elif is_bare_pan(value):
            _refuse_pan(found, path)


_MONETARY: Final = frozenset(int(kind) for kind in TransactionType if kind <= MONETARY_TYPE_LAST)
_NOT_MONETARY: Final = frozenset(map(int, TransactionType)) - _MONETARY
_ENTITY_FORMS: Final = {
    "card_bin": _check_bin,
    "ip_address": _check_ip,
    "email_address": _check_email,
    "phone_number": _check_phone,
    "shipping_address": _check_address,
}
