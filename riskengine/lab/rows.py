"""What a row of a history must be to become an event: the judgement, by column.

A chunk is judged column by column, each distinct value once; what is found right is filled into EVENT rows on the
way, so the packer and the importer share every check. The forms are those of `wire.checks`, which judges requests one
at a time (a test holds the two together).

INVARIANTS: a problem names the column and what is expected, never the value; nothing is repaired.

Called by `lab.events` and `lab.importer`.
"""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final
from unicodedata import category

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from riskengine.enums import (
    MONETARY_TYPE_LAST,
    Channel,
    EntryMode,
    Initiation,
    IssuerOutcome,
    TransactionType,
    VerificationMethod,
    VerificationResult,
)
from riskengine.types import MISSING, US_PER_SECOND, empty_events, pack_code
from riskengine.wire.checks import (
    ADDRESS_BYTES_MAX,
    EMAIL_CHARS_MAX,
    EVENT_TIME_S_MIN,
    IP_CHARS_MAX,
    LABEL_BYTES_MAX,
    OPEN_TIME_S_MAX,
    OPEN_TIME_S_MIN,
    PAN_FIELDS,
    PHONE_CHARS_MAX,
    UTC_OFFSET_MINUTES_MAX,
    is_email,
)
from riskengine.wire.money import AMOUNT_MINOR_MAX
from riskengine.wire.pseudonyms import is_bare_pan, normal_ip, normal_phone

from .history import LABEL_PREFIX, NUMBER_PREFIX

Flags = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]
Judge = Callable[[str], bool]

CURRENCIES_NAMED_MAX: Final = 20
"""So many are listed in a problem."""

_IDENTIFIER: Final = re.compile(r"[A-Za-z0-9._:@+/=-]{1,64}").fullmatch
_PHONE: Final = re.compile(r"[ .()\[\]-]*\+?[0-9 .()\[\]-]*").fullmatch
ENUM_COLUMNS: Final[dict[str, tuple[str, type[IntEnum]]]] = {
    "type": ("transaction_type", TransactionType),
    "channel": ("channel", Channel),
    "entry_mode": ("entry_mode", EntryMode),
    "initiation": ("initiation", Initiation),
    "issuer_outcome": ("issuer_outcome", IssuerOutcome),
    **{
        f"verified_{method.name.lower()}": (f"verified_{method.name.lower()}", VerificationResult)
        for method in VerificationMethod
    },
}


@dataclass(frozen=True, slots=True)
class RowProblem:
    """A row that cannot be an event.

    Attributes:
        row: 0-based, within the batch.
        column: Of the history.
        description: What is expected; never the value.
    """

    row: int
    column: str
    description: str


def row_problems(
    batch: pa.RecordBatch, *, currencies: Collection[str], pan_exempt_fields: Collection[str] = ()
) -> list[RowProblem]:
    """Finds every row of a batch that cannot be an event.

    Args:
        batch: Of the history schema, every column present.
        currencies: Codes that are accepted.
        pan_exempt_fields: Identifiers in which a bare card number is not looked for.

    Returns:
        By row; a row can have several.
    """
    work = Work(batch)
    fill_clear(work, currencies=currencies, number_slots={}, label_slots={})
    work.ids("transaction_id")
    work.ids("original_transaction_id")
    work.refuse("transaction_id", work.absent("transaction_id"), "must be given")
    nothing = np.ones(batch.num_rows, np.bool_)
    for column, _, judge, description in ENTITY_COLUMNS:
        work.judge(column, judge_of(column, judge, pan_exempt_fields), description)
        nothing &= work.texts(column).indices < 0
    work.refuse_nameless(nothing)
    return work.sorted_problems()


def fill_clear(
    work: "Work", *, currencies: Collection[str], number_slots: Mapping[str, int], label_slots: Mapping[str, int]
) -> None:
    """Judges everything but identifiers and fills it into the work's events; amount_base_minor stays missing."""
    _fill_times(work)
    _fill_enums(work)
    _fill_money(work, currencies)
    _fill_codes(work)
    _fill_places(work)
    _fill_maps(work, number_slots, label_slots)


@dataclass(frozen=True, slots=True)
class Texts:
    """A column of text as distinct values (none empty) and each row's index into them, -1 where absent."""

    values: list[str]
    indices: Ints


class Work:
    """A batch on its way: its events so far, and the rows that are out."""

    def __init__(self, batch: pa.RecordBatch) -> None:
        self.batch = batch
        self.events = empty_events(batch.num_rows)
        self.bad = np.zeros(batch.num_rows, np.bool_)
        self.problems: list[RowProblem] = []
        self._texts: dict[str, Texts] = {}

    def refuse(self, column: str, rows: Flags, description: str) -> None:
        """Puts rows out."""
        found = np.flatnonzero(rows)
        self.bad[found] = True
        self.problems += [RowProblem(row, column, description) for row in found.tolist()]

    def refuse_nameless(self, rows: Flags) -> None:
        """Puts out rows without any identifier."""
        self.refuse("account_id", rows, "or another identifier must be given")

    def sorted_problems(self) -> list[RowProblem]:
        """Returns the problems by row."""
        return sorted(self.problems, key=lambda problem: problem.row)

    def absent(self, column: str) -> Flags:
        """Returns where a column of text is null or empty."""
        return np.asarray(pc.equal(self.batch.column(column), "").fill_null(True))

    def integers(self, column: str) -> Ints:
        """Returns a column of integers or times (microseconds), MISSING where null."""
        values = self.batch.column(column).cast(pa.int64()).fill_null(MISSING)
        return np.asarray(values)

    def floats(self, column: str) -> npt.NDArray[np.float64]:
        """Returns a column of floats, NaN where null."""
        return np.asarray(self.batch.column(column).fill_null(np.nan))

    def ids(self, column: str) -> tuple[Ints, list[str]]:
        """Judges a column of transaction ids; returns the rows that have a fine one, and these."""
        values = self.batch.column(column)
        fine = pc.match_substring_regex(values, r"\A[A-Za-z0-9._:-]{1,64}\z").fill_null(False)
        self.refuse(
            column, ~(np.asarray(fine) | self.absent(column)), "must have 1 to 64 characters of [A-Za-z0-9._:-]"
        )
        return np.flatnonzero(np.asarray(fine)), values.filter(fine).to_pylist()

    def texts(self, column: str) -> Texts:
        """Returns a column of text, its distinct values found once."""
        known = self._texts.get(column)
        if known is None:
            encoded = self.batch.column(column).dictionary_encode()
            values: list[str] = encoded.dictionary.to_pylist()
            indices = np.asarray(encoded.indices.fill_null(-1)).astype(np.int64)
            if "" in values:
                indices[indices == values.index("")] = -1
            known = self._texts[column] = Texts(values, indices)
        return known

    def judge(self, column: str, judge: Judge, description: str) -> None:
        """Puts out the rows whose text is not fine; absent is fine."""
        texts = self.texts(column)
        wrong = np.array([bool(text) and not judge(text) for text in texts.values] + [False])
        if wrong.any():
            self.refuse(column, wrong[texts.indices], description)

    def looked_up(self, column: str, judge: Judge, code: Callable[[str], int], description: str) -> Ints:
        """Judges a column and returns the word of each row, 0 where absent or not fine."""
        self.judge(column, judge, description)
        texts = self.texts(column)
        words = np.array([code(text) if text and judge(text) else 0 for text in texts.values] + [0], np.int64)
        return words[texts.indices]


def _fill_times(work: Work) -> None:
    """Fills the times and the offset."""
    event_us = work.integers("event_time")
    work.refuse("event_time", event_us < EVENT_TIME_S_MIN * US_PER_SECOND, "must be given, and not before 2000-01-01")
    far = event_us >= (OPEN_TIME_S_MAX + 1) * US_PER_SECOND
    work.refuse("event_time", far, "must be within the years 2000 to 9999")
    work.events["event_time_us"] = event_us
    opened = work.integers("account_open_time")
    early, late = OPEN_TIME_S_MIN * US_PER_SECOND, (OPEN_TIME_S_MAX + 1) * US_PER_SECOND
    known = opened != MISSING
    work.refuse(
        "account_open_time", known & ((opened < early) | (opened >= late)), "must be within the years 1 to 9999"
    )
    work.events["account_open_time_us"] = opened
    offset = work.integers("utc_offset_minutes")
    far = (offset != MISSING) & (np.abs(offset) > UTC_OFFSET_MINUTES_MAX)
    work.refuse("utc_offset_minutes", far, f"must be from -{UTC_OFFSET_MINUTES_MAX} to {UTC_OFFSET_MINUTES_MAX}")
    work.events["utc_offset_minutes"] = offset


def _fill_enums(work: Work) -> None:
    """Fills the columns of names of closed sets."""
    for column, (target, members) in ENUM_COLUMNS.items():
        numbers = {member.name: int(member) for member in members}
        description = f"must be one of {', '.join(numbers)}"
        work.events[target] = work.looked_up(column, numbers.__contains__, numbers.__getitem__, description)
    work.refuse("type", work.events["transaction_type"] == 0, "must be given")


def _fill_money(work: Work, currencies: Collection[str]) -> None:
    """Fills amounts and currency; monetary types have both, others no amount."""
    amount = work.integers("amount_minor")
    monetary = work.events["transaction_type"] <= int(MONETARY_TYPE_LAST)
    present = amount != MISSING
    work.refuse("amount_minor", monetary & ~present, "is required for this type")
    work.refuse("amount_minor", ~monetary & present, "must be absent for this type")
    outside = present & ((amount < 0) | (amount > AMOUNT_MINOR_MAX))
    work.refuse("amount_minor", outside, f"must be from 0 to {AMOUNT_MINOR_MAX:,}")
    amount = np.where(outside, MISSING, amount)
    named = f"must be one of {', '.join(currencies)}"
    accepted = named if len(currencies) <= CURRENCIES_NAMED_MAX else "must be an ISO 4217 code with a minor unit"
    currency = work.looked_up("currency_code", currencies.__contains__, pack_code, accepted)
    work.refuse("currency_code", monetary & work.absent("currency_code"), "is required with an amount")
    work.events["currency"] = currency
    work.events["amount_minor"] = amount


def _fill_codes(work: Work) -> None:
    """Fills the clear codes."""
    for column, target, pattern, description in _CODES:
        work.events[target] = work.looked_up(column, _judge_by(pattern), pack_code, description)


def _judge_by(pattern: str) -> Judge:
    """Returns the judge of a form."""
    form = re.compile(pattern).fullmatch
    return lambda text: form(text) is not None


def _fill_places(work: Work) -> None:
    """Fills the position: both degrees or none."""
    known = []
    for column, bound in (("latitude_degrees", 90.0), ("longitude_degrees", 180.0)):
        values = work.floats(column)
        given = ~np.asarray(work.batch.column(column).is_null())
        work.refuse(column, given & ~(np.abs(values) <= bound), f"must be from -{bound:g} to {bound:g}")
        work.events[column] = values + 0.0  # -0.0 becomes 0.0, as at the door
        known.append(given)
    work.refuse("latitude_degrees", known[0] != known[1], "must come with longitude_degrees or not at all")


def _fill_maps(work: Work, number_slots: Mapping[str, int], label_slots: Mapping[str, int]) -> None:
    """Fills the slots of the caller's own numbers and labels; what is not declared is checked and not kept."""
    for column in work.batch.schema.names:
        if column.startswith(NUMBER_PREFIX):
            values = work.floats(column)
            given = ~np.asarray(work.batch.column(column).is_null())
            work.refuse(column, given & ~np.isfinite(values), "must be a finite number")
            slot = number_slots.get(column.removeprefix(NUMBER_PREFIX))
            if slot is not None:
                work.events[f"number_{slot}"] = values + 0.0
        elif column.startswith(LABEL_PREFIX):
            words = work.looked_up(
                column, _good_label, pack_code, f"must have 1 to {LABEL_BYTES_MAX} bytes, no card number"
            )
            slot = label_slots.get(column.removeprefix(LABEL_PREFIX))
            if slot is not None:
                work.events[f"label_{slot}"] = words


def judge_of(column: str, judge: Judge, pan_exempt_fields: Collection[str]) -> Judge:
    """Returns the judge of a column of identifiers, card numbers included where they are looked for."""
    if column in pan_exempt_fields or column not in (*PAN_FIELDS, "shipping_address"):
        return judge
    return lambda text: judge(text) and not is_bare_pan(text)


def _good_ip(text: str) -> bool:
    return len(text) <= IP_CHARS_MAX and normal_ip(text) != b""


def _good_email(text: str) -> bool:
    return len(text) <= EMAIL_CHARS_MAX and is_email(text)


def _good_phone(text: str) -> bool:
    return len(text) <= PHONE_CHARS_MAX and 5 <= len(normal_phone(text)) <= 15 and _PHONE(text) is not None


def _good_address(text: str) -> bool:
    if len(text.encode()) > ADDRESS_BYTES_MAX or not text.strip():
        return False
    return text.isprintable() or not any(category(char) == "Cc" and char not in "\t\n\r" for char in text)


def _good_label(text: str) -> bool:
    if len(text.encode()) > LABEL_BYTES_MAX or is_bare_pan(text):
        return False
    return text.isprintable() or not any(category(char) == "Cc" for char in text)


def _good_identifier(text: str) -> bool:
    return _IDENTIFIER(text) is not None


_IDENTIFIER_FORM: Final = "must have 1 to 64 characters of [A-Za-z0-9._:@+/=-] and must not be a card number"
ENTITY_COLUMNS: Final[Sequence[tuple[str, tuple[str, ...], Judge, str]]] = (
    ("account_id", ("account",), _good_identifier, _IDENTIFIER_FORM),
    ("card_id", ("card",), _good_identifier, _IDENTIFIER_FORM),
    ("device_id", ("device",), _good_identifier, _IDENTIFIER_FORM),
    ("ip_address", ("ip", "ip_network"), _good_ip, "must be an IPv4 or IPv6 address in text form"),
    ("email_address", ("email", "email_domain"), _good_email, 'must be a name, one "@" and a domain, without blanks'),
    ("phone_number", ("phone",), _good_phone, 'has 5 to 15 digits and an optional "+" before them'),
    ("merchant_id", ("merchant",), _good_identifier, _IDENTIFIER_FORM),
    ("payee_id", ("payee",), _good_identifier, _IDENTIFIER_FORM),
    (
        "shipping_address",
        ("address",),
        _good_address,
        f"must have 1 to {ADDRESS_BYTES_MAX} bytes, no control characters, no card number",
    ),
    ("card_bin", ("bin",), lambda text: re.fullmatch("[0-9]{6,8}", text) is not None, "must have 6 to 8 digits"),
)
_REGION_FORM: Final = ("[A-Z]{2}", "must have two capital letters (CLDR)")
_CODES: Final = (
    ("issuer_code", "issuer_code", "[A-Za-z0-9]{1,8}", "must have 1 to 8 letters or digits"),
    ("merchant_category_code", "merchant_category", "[0-9]{4}", "must have four digits (ISO 18245)"),
    ("card_bin", "card_bin", "[0-9]{6,8}", "must have 6 to 8 digits"),
    *(
        (f"{name}_region_code", f"{name}_region", *_REGION_FORM)
        for name in ("card", "ip", "merchant", "payee", "billing", "shipping")
    ),
)
