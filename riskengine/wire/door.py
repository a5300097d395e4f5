"""The door: one request in, one packed row of EVENT out, or all that is wrong with it.

A good request is read once: text is judged by one regex over all identifiers joined, closed sets by look-ups that fail
for what is not in them, and what remains is packed in a few pieces. Anything unusual raises `Suspect` (or KeyError, or
what socket raises for an address) and `wire.checks` decides: it names every violation, or clears the request, which is
then packed without being judged again.

INVARIANTS: the quick pass accepts nothing that `checks` refuses (a property test compares them); a row holds tags and
clear codes, never a raw identifier; the payload hash covers what a caller sent in its canonical form, so neither the
order of a map, nor unknown fields, nor request_id, nor the configuration (rates, declared keys) change it.

Called by `server.servicers`, once for each event; made by `server.vocabulary`.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from math import nan
from struct import Struct
from typing import Any, Final

from riskengine.currencies import AMOUNT_MINOR_MAX
from riskengine.enums import MONETARY_TYPE_LAST, Kind, OutcomeType, TransactionType, Verdict
from riskengine.errors import InvalidRequest, Violation
from riskengine.types import EVENT_COLUMNS, EVENT_STRUCT, MISSING, US_PER_SECOND, pack_code
from riskengine.v1 import risk_service_pb2 as service
from riskengine.v1 import transaction_pb2 as messages
from riskengine.wire import checks
from riskengine.wire.checks import DoorLimits, Suspect
from riskengine.wire.codes import CODES, SLOTS_EMPTY, ClearCodes
from riskengine.wire.entities import EntityTags
from riskengine.wire.money import load_rates
from riskengine.wire.pseudonyms import TagKey

# A row in pieces: words 0 to 8, the codes (9 to 31), the three keys, the tags, the position, the slots.
_HEAD: Final = Struct("<9q")
_HEAD_COLUMNS: Final = (
    "sequence",
    "kind",
    "received_time_us",
    "event_time_us",
    "skip_stages",
    "utc_offset_minutes",
    "transaction_type",
    "amount_minor",
    "amount_base_minor",
)
_POSITION: Final = Struct("<2d")
_POSITION_EMPTY: Final = _POSITION.pack(nan, nan)
_CANONICAL_HEAD: Final = Struct("<5q")
"""Of words 0 to 8, what the payload hash covers."""
_NOBODY: Final = bytes(96)
"""The twelve tags of nobody."""
_CODES_BYTES: Final = CODES.size
assert EVENT_COLUMNS[:9] == _HEAD_COLUMNS
assert EVENT_STRUCT == "<" + "q" * 32 + "Q" * 17 + "d" * 18 + "q" * 16

_SUSPICIONS: Final = (Suspect, KeyError, OSError, ValueError)
"""What the quick pass raises when it is not sure."""
# As plain numbers: an enum's attribute costs 0.24 us in Python 3.11.
_SCORE, _RECORD, _OUTCOME = int(Kind.SCORE), int(Kind.RECORD), int(Kind.OUTCOME)
_MONETARY_LAST: Final = int(MONETARY_TYPE_LAST)
_TYPE_LAST: Final = int(max(TransactionType))
_VERDICT_LAST: Final = int(max(Verdict))
_OUTCOME_TYPE_LAST: Final = int(max(OutcomeType))


class Door:
    """Packs requests into rows. Not to be shared by threads.

    Args:
        key: The secret of all tags.
        base_currency: ISO 4217 code that amounts are converted to.
        rates: Units of the base currency for one unit of each accepted currency, as exact decimals.
        number_slots: Declared keys of `numbers` to their slots, 0 to NUMBER_SLOTS - 1.
        label_slots: Declared keys of `labels` to their slots, 0 to LABEL_SLOTS - 1.
        skew_us: How far event times may be ahead of `received_time_us`, microseconds, at least 0.
        pan_exempt_fields: Fields of `checks.PAN_FIELDS` in which a bare card number is not looked for.

    Raises:
        ValueError: A rate cannot be used; see `currencies.rate_problems`.
    """

    def __init__(
        self,
        key: TagKey,
        *,
        base_currency: str,
        rates: Mapping[str, Decimal | str],
        number_slots: Mapping[str, int],
        label_slots: Mapping[str, int],
        skew_us: int,
        pan_exempt_fields: frozenset[str] = frozenset(),
    ) -> None:
        assert pan_exempt_fields <= set(checks.PAN_FIELDS), "only identifiers can be exempt"
        loaded = load_rates(base_currency=base_currency, rates=rates)
        self._rates = {code: (pack_code(code), rate.convert) for code, rate in loaded.items()}
        self._base_currency = base_currency
        self._skew_us = skew_us
        self._limits = DoorLimits(currencies=frozenset(loaded), skew_us=skew_us, pan_exempt_fields=pan_exempt_fields)
        self._tags = EntityTags(key, pan_exempt_fields=pan_exempt_fields)
        self._codes = ClearCodes(number_slots=number_slots, label_slots=label_slots)
        self._payload = key.hasher("payload").copy

    def score_row(
        self, request: "service.ScoreTransactionRequest", received_time_us: int, skip_stages: int = 0
    ) -> bytes:
        """Packs a request to score.

        Args:
            request: As parsed.
            received_time_us: The front's clock, microseconds since the epoch.
            skip_stages: Stage bits chosen from the deadline.

        Returns:
            One row of EVENT, `types.EVENT_STRUCT`; its sequence is 0.

        Raises:
            InvalidRequest: With all violations.
        """
        try:
            return self._pack_transaction(request, _SCORE, 0, received_time_us, skip_stages, False)
        except _SUSPICIONS:
            pass  # Raised below, so that no exception that quotes a value hangs on to the error as its context.
        _raise_if(checks.find_transaction(request, limits=self._limits, now_us=received_time_us))
        return self._pack_transaction(request, _SCORE, 0, received_time_us, skip_stages, True)

    def record_row(self, request: "service.RecordTransactionRequest", received_time_us: int) -> bytes:
        """Packs a request to record; as `score_row`."""
        verdict = request.verdict
        try:
            if 0 <= verdict <= _VERDICT_LAST:
                return self._pack_transaction(request, _RECORD, verdict, received_time_us, 0, False)
        except _SUSPICIONS:
            pass
        _raise_if(checks.find_transaction(request, limits=self._limits, now_us=received_time_us))
        return self._pack_transaction(request, _RECORD, verdict, received_time_us, 0, True)

    def outcome_row(self, request: "service.ReportOutcomeRequest", received_time_us: int) -> bytes:
        """Packs a reported outcome; as `score_row`. Tags are absent where the request has no entities."""
        try:
            return self._pack_outcome(request, received_time_us, False)
        except _SUSPICIONS:
            pass
        _raise_if(checks.find_outcome(request, limits=self._limits, now_us=received_time_us))
        return self._pack_outcome(request, received_time_us, True)

    def _pack_transaction(
        self, request: Any, kind: int, verdict: int, received_time_us: int, skip_stages: int, checked: bool
    ) -> bytes:
        transaction: messages.Transaction = request.transaction
        transaction_type = transaction.type
        event_time_us = self._event_time_us(transaction.event_time, received_time_us)
        amount, amount_base, currency = self._amounts(transaction, transaction_type)
        utc_offset = transaction.utc_offset_minutes
        if not -checks.UTC_OFFSET_MINUTES_MAX <= utc_offset <= checks.UTC_OFFSET_MINUTES_MAX:
            raise Suspect
        if not utc_offset and not transaction.HasField("utc_offset_minutes"):
            utc_offset = MISSING
        codes = self._codes.read(transaction)
        place = _place(transaction)
        maps, slots = self._codes.pack_maps(transaction, checked)
        request_key, tags, card_bin = self._tags.pack(
            request.request_id,
            transaction.transaction_id,
            transaction.original_transaction_id,
            transaction.entities,
            checked,
        )
        if tags.endswith(_NOBODY):
            raise Suspect
        known = CODES.pack(currency, *codes, card_bin, 0, verdict, _open_time_us(transaction)) + tags + place
        hasher = self._payload()
        hasher.update(_CANONICAL_HEAD.pack(kind, event_time_us, utc_offset, transaction_type, amount) + known + maps)
        head = _HEAD.pack(
            0,
            kind,
            received_time_us,
            event_time_us,
            skip_stages,
            utc_offset,
            transaction_type,
            amount,
            amount_base,
        )
        return b"".join((head, known[:_CODES_BYTES], request_key, hasher.digest(), known[_CODES_BYTES:], slots))

    def _pack_outcome(self, request: "service.ReportOutcomeRequest", received_time_us: int, checked: bool) -> bytes:
        event_time_us = self._event_time_us(request.event_time, received_time_us)
        if not 1 <= request.type <= _OUTCOME_TYPE_LAST:
            raise Suspect
        request_key, tags, card_bin = self._tags.pack(
            request.request_id, request.transaction_id, "", request.entities, checked
        )
        known = CODES.pack(*(0,) * 19, card_bin, request.type, 0, MISSING) + tags + _POSITION_EMPTY
        hasher = self._payload()
        hasher.update(_CANONICAL_HEAD.pack(_OUTCOME, event_time_us, MISSING, 0, MISSING) + known)
        head = _HEAD.pack(0, _OUTCOME, received_time_us, event_time_us, 0, MISSING, 0, MISSING, MISSING)
        return b"".join((head, known[:_CODES_BYTES], request_key, hasher.digest(), known[_CODES_BYTES:], SLOTS_EMPTY))

    def _event_time_us(self, event_time: Any, received_time_us: int) -> int:
        """Returns the event time in microseconds; an absent one reads 1970 and is suspect."""
        seconds, nanos = event_time.seconds, event_time.nanos
        event_time_us: int = seconds * US_PER_SECOND + nanos // 1000
        if (
            seconds < checks.EVENT_TIME_S_MIN
            or not 0 <= nanos <= 999_999_999
            or event_time_us > received_time_us + self._skew_us
        ):
            raise Suspect
        return event_time_us

    def _amounts(self, transaction: "messages.Transaction", transaction_type: int) -> tuple[int, int, int]:
        """Returns amount_minor, amount_base_minor and the currency's code."""
        amount, currency = transaction.amount_minor, transaction.currency_code
        if 1 <= transaction_type <= _MONETARY_LAST:
            if not 0 <= amount <= AMOUNT_MINOR_MAX or (not amount and not transaction.HasField("amount_minor")):
                raise Suspect
            code, convert = self._rates[currency]
            return amount, amount if currency == self._base_currency else convert(amount), code
        if not _MONETARY_LAST < transaction_type <= _TYPE_LAST or transaction.HasField("amount_minor"):
            raise Suspect
        return MISSING, MISSING, self._rates[currency][0] if currency else 0


def _place(transaction: "messages.Transaction") -> bytes:
    """Packs latitude and longitude, NaN when absent."""
    if not transaction.HasField("position"):
        return _POSITION_EMPTY
    position = transaction.position
    latitude, longitude = position.latitude_degrees, position.longitude_degrees
    if not (latitude and longitude) and not (
        position.HasField("latitude_degrees") and position.HasField("longitude_degrees")
    ):
        raise Suspect
    if not (-90.0 <= latitude <= 90.0 and -180.0 <= longitude <= 180.0):  # NaN fails as well.
        raise Suspect
    return _POSITION.pack(latitude + 0.0, longitude + 0.0)  # -0.0 becomes 0.0


def _open_time_us(transaction: "messages.Transaction") -> int:
    """Returns account_open_time in microseconds; MISSING when absent."""
    opened = transaction.account_open_time
    seconds, nanos = opened.seconds, opened.nanos
    if not seconds and not nanos and not transaction.HasField("account_open_time"):
        return MISSING
    if not (checks.OPEN_TIME_S_MIN <= seconds <= checks.OPEN_TIME_S_MAX and 0 <= nanos <= 999_999_999):
        raise Suspect
    open_time_us: int = seconds * US_PER_SECOND + nanos // 1000
    return open_time_us


def _raise_if(violations: Sequence[Violation]) -> None:
    """Raises InvalidRequest if there are violations."""
    if violations:
        raise InvalidRequest(violations)
