"""Decision rows to Decision messages: bytes put together from parts that were serialised beforehand.

A message is written field by field in the order of their numbers, so it equals protobuf's own deterministic serialisation
(a test compares them) and costs two thirds of building the message (`benchmarks/wire.py`), the reasons' texts
included; whoever needs the message parses the bytes.

INVARIANTS: the same row and the same names give the same bytes; nothing in a message is read from a clock or a request.

Called by `server.vocabulary` and the servicers, which put the messages into their replies.
"""

import re
from collections.abc import Mapping
from struct import Struct
from typing import Any, Final

from riskengine.enums import DecisionFlag, Stage
from riskengine.errors import InvalidRequest, Violation
from riskengine.types import DECISION_STRUCT, DECISION_WORD, REASON_WORDS, REASONS_MAX, RULE_WORDS, US_PER_SECOND
from riskengine.v1 import decision_pb2 as messages
from riskengine.wire.names import RevisionNames, Sets, message_field, varint

_HEAD: Final = Struct("<3q3Q2q2d5q")
"""The words before the rules; the padding keeps it honest about the layout, see the assertions."""
_REASON: Final = Struct("<2q3d")
_NUMBERS: Final = Struct("<BdBdBd")
_WORD: Final = Struct("<q")
_NAME: Final = re.compile(r"decisions/([0-9a-f]{16})([0-9a-f]{16})").fullmatch
_NAME_HEAD: Final = b"\x0a\x2adecisions/"
_PROBABILITY: Final = 8 * DECISION_WORD["probability"]
_FLAGS: Final = 8 * DECISION_WORD["flags"]
_RULES: Final = 8 * DECISION_WORD["fired_0"]
_RULES_END: Final = _RULES + 3 * 8 * RULE_WORDS
_REASON_COUNT: Final = 8 * DECISION_WORD["reason_count"]
_REASONS: Final = 8 * DECISION_WORD["reason_0_code"]
_REASON_BYTES: Final = 8 * REASON_WORDS
assert DECISION_STRUCT.startswith("<qqqQQQqqddqqqqq")
assert _HEAD.size == _RULES
assert DECISION_WORD["unevaluated_0"] == DECISION_WORD["fired_0"] + 2 * RULE_WORDS
_NO_RULES: Final = bytes(_RULES_END - _RULES)
_VERDICTS: Final = (b"", b"\x10\x01", b"\x10\x02", b"\x10\x03")
_RECORDED: Final = b"\x58\x01"
_APPROXIMATE: Final = b"\x60\x01"
_FLAG_FOLDED, _FLAG_MATCHED = int(DecisionFlag.FOLDED), int(DecisionFlag.MATCHED)
_FLAG_APPROXIMATE = int(DecisionFlag.APPROXIMATE)
_FLAG_MODE = int(DecisionFlag.MODEL_LIVE | DecisionFlag.MODEL_SHADOW)
_MODES: Final = {
    0: b"",
    int(DecisionFlag.MODEL_LIVE): b"\x90\x01\x01",
    int(DecisionFlag.MODEL_SHADOW): b"\x90\x01\x02",
    _FLAG_MODE: b"\x90\x01\x01",
}
_STAGES_MAX: Final = len(Stage)


class ReplyBuilder:
    """Turns decision rows into messages. Not to be shared by threads.

    Args:
        catalog: The names of each known revision, as the engine sends them.
    """

    def __init__(self, catalog: Mapping[int, Mapping[str, Any]]) -> None:
        self._revisions: dict[int, RevisionNames] = {}
        self._stages = Sets([varint(bit + 1) for bit in range(_STAGES_MAX)])
        self._second_last: tuple[int, bytes] = (0, b"")
        for revision, names in catalog.items():
            self._revisions[revision] = RevisionNames(names)

    def decision_bytes(self, raw: bytes) -> bytes:
        """Serialises a Decision.

        Args:
            raw: A durable row of DECISION, of a revision of the catalogue.
        """
        (
            _,
            _,
            received_us,
            _,
            _,
            _,
            revision,
            verdict,
            probability,
            _,
            segment,
            flags,
            degraded,
            obligations,
            lists,
        ) = _HEAD.unpack_from(raw)
        names = self._revisions[revision]
        body = b"%b%b%b" % (_NAME_HEAD, (raw[31:23:-1] + raw[39:31:-1]).hex().encode(), _VERDICTS[verdict])
        if obligations:
            body += names.obligations[obligations]
        if probability == probability:
            body += b"\x21" + raw[_PROBABILITY : _PROBABILITY + 8]
        if raw[_REASON_COUNT]:
            body += _reasons(names, raw, raw[_REASON_COUNT])
        if (rules := raw[_RULES:_RULES_END]) != _NO_RULES:
            body += names.rules[rules]
        if lists:
            body += names.lists[lists]
        if degraded:
            body += message_field(10, self._stages[degraded])
        body += _RECORDED
        if flags & _FLAG_APPROXIMATE:
            body += _APPROXIMATE
        return b"%b%b%b%b" % (
            body,
            names.segments[segment],
            _MODES[flags & _FLAG_MODE],
            self._receive_time(received_us),
        )

    def decision(self, raw: bytes) -> "messages.Decision":
        """Returns the Decision that `decision_bytes` serialises; for explanations."""
        return messages.Decision.FromString(self.decision_bytes(raw))

    def _receive_time(self, time_us: int) -> bytes:
        """Serialises field 19, a Timestamp not before 1970; many in a row fall into one second."""
        seconds, rest_us = divmod(time_us, US_PER_SECOND)
        second, body = self._second_last
        if seconds != second:
            body = b"\x08" + varint(seconds) if seconds else b""
            self._second_last = seconds, body
        if rest_us:
            nanos = rest_us * 1000
            if 0x200000 <= nanos < 0x10000000:  # The usual length, written out: a third of the price of the loop.
                body += bytes((0x10, nanos & 127 | 128, nanos >> 7 & 127 | 128, nanos >> 14 & 127 | 128, nanos >> 21))
            else:
                body += b"\x10" + varint(nanos)
        return b"\x9a\x01%c%b" % (len(body), body)


def _reasons(names: RevisionNames, raw: bytes, count: int) -> bytes:
    """Serialises field 5, the first `count` reasons of a row."""
    parts = b""
    for at in range(_REASONS, _REASONS + min(count, REASONS_MAX) * _REASON_BYTES, _REASON_BYTES):
        code, feature, observed, norm, contribution = _REASON.unpack_from(raw, at)
        reason = names.reasons[code]
        body = (reason.fixed or reason.fill(observed, norm)) + names.features[feature]
        if observed == observed and norm == norm and contribution:
            body += _NUMBERS.pack(0x21, observed, 0x29, norm, 0x31, contribution)
        else:
            if observed == observed:
                body += b"\x21" + raw[at + 16 : at + 24]
            if norm == norm:
                body += b"\x29" + raw[at + 24 : at + 32]
            if contribution:
                body += b"\x31" + raw[at + 32 : at + 40]
        parts += b"\x2a%b%b" % (varint(len(body)), body)
    return parts


def record_response(raw: bytes) -> bytes:
    """Serialises the RecordTransactionResponse of a row: durable, and whether it was folded."""
    return b"\x08\x01" + (b"\x10\x01" if _flags(raw) & _FLAG_FOLDED else b"")


def outcome_response(raw: bytes) -> bytes:
    """Serialises the ReportOutcomeResponse of a row: durable, and whether its entities were known."""
    return b"\x08\x01" + (b"\x10\x01" if _flags(raw) & _FLAG_MATCHED else b"")


def _flags(raw: bytes) -> int:
    flags: int = _WORD.unpack_from(raw, _FLAGS)[0]
    return flags


def decision_name(*, request_key: int, request_check: int) -> str:
    """Returns the resource name of a decision."""
    return f"decisions/{request_key:016x}{request_check:016x}"


def parse_decision_name(name: str) -> tuple[int, int]:
    """Returns request_key and request_check of a resource name.

    Raises:
        InvalidRequest: It is missing or not a decision's name.
    """
    match = _NAME(name)
    if match is None:
        reason, what = (
            ("INVALID_FORMAT", 'must be "decisions/" and 32 hex digits') if name else ("REQUIRED", "is required")
        )
        raise InvalidRequest([Violation("name", reason, what)])
    return int(match[1], 16), int(match[2], 16)
