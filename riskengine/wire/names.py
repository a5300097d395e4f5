"""The words that the numbers of a decision row refer to: one activation's names, as bytes of the wire.

A decision row says "rules 3 and 17 fired, reason 4". What that reads in a reply never changes within an activation, so
each rule, list, obligation and reason is serialised once here, and sets of them once for each set that occurs.

INVARIANTS: bytes equal what protobuf would serialise, fields in the order of their numbers; the memos of sets are
bounded.

Called by `wire.reply`; `server.servicers` takes the encoding of fields from here.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from math import isfinite
from typing import Any, Final

from google.protobuf.duration_pb2 import Duration

from riskengine.currencies import MINOR_UNIT_EXPONENTS
from riskengine.types import RULE_WORDS
from riskengine.v1 import decision_pb2 as messages

UNKNOWN_WORDING: Final = "unknown"
"""What a reason's text reads where {observed} or {norm} has no value."""
_SETS_MAX: Final = 4_096
"""Sets each memo remembers; at the bound it starts anew."""
_PLACEHOLDER: Final = re.compile(r"\{(observed|norm)\}")


def varint(value: int) -> bytes:
    """Encodes one number, at least 0."""
    if value < 0x80:
        return _SMALL[value]
    parts = bytearray()
    while value >= 0x80:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)


_SMALL: Final = tuple(bytes((value,)) for value in range(0x80))


def text_field(number: int, text: str) -> bytes:
    """Encodes a string field; nothing when it is empty, as proto3 has it."""
    raw = text.encode()
    return varint(number << 3 | 2) + varint(len(raw)) + raw if raw else b""


def message_field(number: int, body: bytes) -> bytes:
    """Encodes a field that is a message; also an empty one."""
    return varint(number << 3 | 2) + varint(len(body)) + body


def number_text(value: float) -> str:
    """Writes a number for people, the same everywhere.

    Whole ones have no decimals, others from 1 on two, below 1 three significant digits; commas part the thousands.

    Args:
        value: Finite or not; NaN is `UNKNOWN_WORDING`.
    """
    text = _COUNTS.get(value)
    if text is not None:
        return text
    size = abs(value)
    if not size < 1e15:  # NaN and infinities among them.
        return f"{value:.3e}" if isfinite(value) else UNKNOWN_WORDING
    if value.is_integer():
        return f"{value:,.0f}"
    return f"{value:,.2f}" if size >= 1 else f"{value:.3g}"


_COUNTS: Final = {float(count): f"{count:,}" for count in range(2000)}
"""Most numbers that are told are counts; a look-up costs a tenth of formatting."""


class Sets(dict[int, bytes]):
    """Sets, given as the bits of an integer, to the bytes of their members in order.

    Args:
        members: Bytes of each member by bit.
    """

    def __init__(self, members: Sequence[bytes]) -> None:
        super().__init__()
        self._members = members

    def __missing__(self, mask: int) -> bytes:
        if len(self) >= _SETS_MAX:
            self.clear()
        parts = self[mask] = b"".join(part for bit, part in enumerate(self._members) if mask >> bit & 1)
        return parts


class RuleSets(dict[bytes, bytes]):
    """What became of the rules, given as the words fired, shadow and unevaluated of a row, to fields 6, 7 and 8.

    Args:
        members: For each field the bytes of each rule.
    """

    def __init__(self, *members: Sequence[bytes]) -> None:
        super().__init__()
        self._members = members

    def __missing__(self, words: bytes) -> bytes:
        if len(self) >= _SETS_MAX:
            self.clear()
        size = 8 * RULE_WORDS
        masks = [int.from_bytes(words[start : start + size], "little") for start in range(0, len(words), size)]
        parts = self[words] = b"".join(
            part
            for mask, members in zip(masks, self._members, strict=True)
            for bit, part in enumerate(members)
            if mask >> bit & 1
        )
        return parts


def money_text(currency: str) -> Callable[[float], str]:
    """Returns what writes minor units of a currency as people do: ``EUR 600.00``.

    Args:
        currency: ISO 4217 code.
    """
    exponent = MINOR_UNIT_EXPONENTS.get(currency, 2)

    def text(value: float) -> str:
        return f"{currency} {value / 10**exponent:,.{exponent}f}" if isfinite(value) else UNKNOWN_WORDING

    return text


def seconds_text(value: float) -> str:
    """Writes a time span in its largest fitting unit: ``45 s``, ``12 min``, ``3.5 h``, ``20 days``."""
    if not isfinite(value):
        return UNKNOWN_WORDING
    for size_s, name in ((86_400, "days"), (3_600, "h"), (60, "min")):
        if abs(value) >= 2 * size_s:
            return f"{value / size_s:.3g} {name}"
    return f"{value:.3g} s"


def days_text(value: float) -> str:
    """Writes a time span given in days."""
    return seconds_text(value * 86_400)


def hour_text(value: float) -> str:
    """Writes an hour of day, 0 to 24: ``03:15``."""
    if not isfinite(value):
        return UNKNOWN_WORDING
    minutes = int(value * 60) % 1440
    return f"{minutes // 60:02d}:{minutes % 60:02d}"


_UNIT_TEXTS: Final[Mapping[str, Callable[[float], str]]] = {
    "seconds": seconds_text,
    "days": days_text,
    "hour": hour_text,
}


class ReasonWords:
    """One reason of the catalogue.

    Args:
        code: Its stable code.
        text: Its sentence; {observed} and {norm} stand for the numbers.
        unit: What the numbers are, as in reason_codes.yaml; None for plain ones.
        base_currency: Of money.

    Attributes:
        fixed: Bytes of code and text when no number is in the text, else empty.
    """

    __slots__ = ("_code", "_number_text", "_numbers", "_template", "fixed")

    def __init__(self, *, code: str, text: str, unit: str | None = None, base_currency: str = "") -> None:
        self._number_text = money_text(base_currency) if unit == "money" else _UNIT_TEXTS.get(unit or "", number_text)
        pieces = _PLACEHOLDER.split(text)
        self._code = text_field(1, code)
        self._numbers = tuple(pieces[1::2])
        self._template = "%s".join(piece.replace("%", "%%") for piece in pieces[::2])
        self.fixed = b"" if self._numbers else self._code + text_field(2, text)

    def fill(self, observed: float, norm: float) -> bytes:
        """Returns the bytes of code and text with the numbers in it."""
        numbers = self._numbers
        number_text = self._number_text
        if numbers == ("observed", "norm"):
            words: tuple[str, ...] = number_text(observed), number_text(norm)
        else:
            words = tuple([number_text(observed if name == "observed" else norm) for name in numbers])
        raw = (self._template % words).encode()
        return b"%b\x12%b%b" % (self._code, varint(len(raw)), raw)


class RevisionNames:
    """One activation's names, ready to be put together.

    Args:
        names: The JSON-able mapping that the engine sends for a revision.
    """

    def __init__(self, names: Mapping[str, Any]) -> None:
        rules = names["rules"]
        hits = [messages.RuleHit(rule_id=rule["id"], verdict=_verdict(rule.get("verdict"))) for rule in rules]
        lists = [
            messages.ListHit(list_id=item["id"], action=f"LIST_ACTION_{item['action'].upper()}")
            for item in names["lists"]
        ]
        obligations = [_obligation(item, names["base_currency"]) for item in names["obligations"]]
        self.obligations = Sets([_field(3, item) for item in obligations])
        self.rules = RuleSets(
            [_field(6, hit) for hit in hits],
            [_field(7, hit) for hit in hits],
            [text_field(8, rule["id"]) for rule in rules],
        )
        self.lists = Sets([_field(9, item) for item in lists])
        policy = text_field(14, names["policy"]) + text_field(15, names["policy_revision"])
        model = text_field(16, names.get("model") or "") + text_field(17, names.get("model_revision") or "")
        self.segments = [text_field(13, segment) + policy + model for segment in names["segments"]]
        """Fields 13 to 17 by segment."""
        currency = names["base_currency"]
        self.reasons = [
            ReasonWords(code=reason["code"], text=reason["text"], unit=reason.get("unit"), base_currency=currency)
            for reason in names["reasons"]
        ]
        self.features = [*(text_field(3, feature) for feature in names["features"]), b""]
        """Field 3 of a reason by feature; the last, -1, is none."""


def _field(number: int, message: Any) -> bytes:
    return message_field(number, message.SerializeToString(deterministic=True))


def _verdict(value: str | int | None) -> str:
    """Returns the enum's name of a verdict that comes as "decline", as a number, or not at all."""
    if isinstance(value, int):
        return messages.Verdict.Name(value)
    return f"VERDICT_{(value or 'unspecified').upper()}"


def _obligation(item: Mapping[str, Any], base_currency: str) -> "messages.Obligation":
    """Builds one obligation from its only entry."""
    ((kind, fields),) = item.items()
    return _OBLIGATIONS[kind](fields, base_currency)


def _hold(fields: Mapping[str, Any], _: str) -> "messages.Obligation":
    duration = Duration(seconds=fields["duration_s"])
    return messages.Obligation(
        hold=messages.Hold(duration=duration, default_verdict=_verdict(fields["default_verdict"]))
    )


def _limit(fields: Mapping[str, Any], base_currency: str) -> "messages.Obligation":
    limit = messages.Limit(amount_minor_max=fields["amount_minor_max"], currency_code=base_currency)
    return messages.Obligation(limit=limit)


_OBLIGATIONS: Final[Mapping[str, Callable[[Mapping[str, Any], str], "messages.Obligation"]]] = {
    "step_up": lambda fields, _: messages.Obligation(step_up=messages.StepUp(methods=fields["methods"])),
    "hold": _hold,
    "limit": _limit,
    "notify": lambda fields, _: messages.Obligation(notify=messages.Notify(audience=fields["audience"])),
}
