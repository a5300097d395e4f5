"""The quick pass over what travels in clear: closed sets, codes, and the caller's own numbers and labels.

Closed sets and codes are judged by dictionaries that hold nothing else, so a look-up is the check. What is not surely
fine raises `Suspect` or KeyError, and `checks` decides.

INVARIANTS: accepts nothing that `checks` refuses; the canonical bytes of the maps depend on their content alone, not on
its order nor on which keys are declared.

Called by `wire.door`.
"""

import re
from collections.abc import Mapping
from itertools import product
from math import isfinite, nan
from string import ascii_uppercase
from struct import Struct
from typing import Any, Final

from riskengine.enums import Channel, EntryMode, Initiation, IssuerOutcome, VerificationMethod, VerificationResult
from riskengine.types import EVENT_COLUMNS, LABEL_SLOTS, NUMBER_SLOTS, pack_code
from riskengine.v1 import transaction_pb2 as messages
from riskengine.wire import checks
from riskengine.wire.checks import Suspect
from riskengine.wire.pseudonyms import is_bare_pan

CODES_FIRST: Final = 9
CODES: Final = Struct("<23q")
"""Words 9 to 31 of a row, from currency to account_open_time_us."""
assert EVENT_COLUMNS[CODES_FIRST] == "currency"
assert EVENT_COLUMNS[CODES_FIRST + 22] == "account_open_time_us"
SLOTS_EMPTY: Final = Struct(f"<{NUMBER_SLOTS}d{LABEL_SLOTS}q").pack(*(nan,) * NUMBER_SLOTS, *(0,) * LABEL_SLOTS)
"""The last words of a row, when no declared number or label is there."""

_WORD: Final = Struct("<q")
_DOUBLE: Final = Struct("<d")
# The closed sets as plain numbers: an enum's attribute costs 0.24 us in Python 3.11.
_CHANNEL_LAST: Final = int(max(Channel))
_ENTRY_MODE_LAST: Final = int(max(EntryMode))
_INITIATION_LAST: Final = int(max(Initiation))
_ISSUER_OUTCOME_LAST: Final = int(max(IssuerOutcome))
_METHOD_COUNT: Final = len(VerificationMethod)
_METHODS: Final = {int(method): slot for slot, method in enumerate(VerificationMethod)}
_RESULTS: Final = {int(result): int(result) for result in VerificationResult}
_UNTRIED: Final = (0,) * _METHOD_COUNT
_REGIONS: Final = {"": 0} | {a + b: pack_code(a + b) for a, b in product(ascii_uppercase, repeat=2)}
_ISSUER_CODE: Final = re.compile("[A-Za-z0-9]{1,8}").fullmatch
_UNDECLARED_KEY: Final = re.compile("(?![0-9_]{13})[a-z0-9_]{1,32}").fullmatch
_LABELS_MAX: Final = 16_384
"""Labels remembered; at the bound the memo starts anew. They are clear words of a small set, not personal data."""


class Categories(dict[str, int]):
    """Merchant categories to their codes, at most 10,000, worked out at first sight; "" is 0."""

    def __missing__(self, text: str) -> int:
        if text and not (len(text) == 4 and text.isascii() and text.isdigit()):
            raise Suspect
        code = self[text] = pack_code(text)
        return code


class Labels(dict[str, tuple[bytes, bytes]]):
    """Labels that are surely fine, to their packed codes and canonical bytes."""

    def __missing__(self, text: str) -> tuple[bytes, bytes]:
        raw = text.encode()
        if not (0 < len(raw) <= checks.LABEL_BYTES_MAX and text.isprintable() and not is_bare_pan(text)):
            raise Suspect
        if len(self) >= _LABELS_MAX:
            self.clear()
        pair = self[text] = label_bytes(text)
        return pair


def label_bytes(text: str) -> tuple[bytes, bytes]:
    """Returns a label's packed code and its canonical bytes."""
    raw = text.encode()
    return _WORD.pack(pack_code(text)), b"%c%b" % (len(raw), raw)


class ClearCodes:
    """Packs words 9 to 31 and the slots. Not to be shared by threads.

    Args:
        number_slots: Declared keys of `numbers` to slots.
        label_slots: Declared keys of `labels` to slots.
    """

    def __init__(self, *, number_slots: Mapping[str, int], label_slots: Mapping[str, int]) -> None:
        assert all(0 <= slot < NUMBER_SLOTS for slot in number_slots.values())
        assert all(0 <= slot < LABEL_SLOTS for slot in label_slots.values())
        assert all(re.fullmatch("[a-z0-9_]{1,32}", name) for name in (*number_slots, *label_slots))
        self._categories = Categories()
        self._labels = Labels()
        # Declared keys to the byte at which their slot begins.
        self._number_offsets = {name: 8 * slot for name, slot in number_slots.items()}
        self._label_offsets = {name: 8 * (NUMBER_SLOTS + slot) for name, slot in label_slots.items()}

    def read(self, transaction: "messages.Transaction") -> tuple[int, ...]:
        """Reads words 10 to 27, from channel to shipping_region.

        Args:
            transaction: The message.
        """
        channel, entry_mode, initiation = transaction.channel, transaction.entry_mode, transaction.initiation
        if not (
            0 <= channel <= _CHANNEL_LAST
            and 0 <= entry_mode <= _ENTRY_MODE_LAST
            and 0 <= initiation <= _INITIATION_LAST
        ):
            raise Suspect
        verified: Any = _UNTRIED
        if verifications := transaction.verifications:
            verified = [*_UNTRIED]
            for verification in verifications:
                verified[_METHODS[verification.method]] = _RESULTS[verification.result]
            if verified.count(0) + len(verifications) != _METHOD_COUNT:  # A method came twice.
                raise Suspect
        issuer = transaction.issuer_response
        issuer_outcome, issuer_code = issuer.outcome, 0
        if not 0 <= issuer_outcome <= _ISSUER_OUTCOME_LAST:
            raise Suspect
        if text := issuer.response_code:
            if _ISSUER_CODE(text) is None:
                raise Suspect
            issuer_code = pack_code(text)
        region, regions = _REGIONS, transaction.regions
        return (
            channel,
            entry_mode,
            initiation,
            *verified,
            issuer_outcome,
            issuer_code,
            self._categories[transaction.merchant_category_code],
            region[regions.card_region_code],
            region[regions.ip_region_code],
            region[regions.merchant_region_code],
            region[regions.payee_region_code],
            region[regions.billing_region_code],
            region[regions.shipping_region_code],
        )

    def pack_maps(self, transaction: "messages.Transaction", checked: bool) -> tuple[bytes, bytes]:
        """Packs the caller's numbers and labels.

        Args:
            transaction: The message.
            checked: Whether `checks` has cleared the request.

        Returns:
            Canonical bytes of all entries for the payload hash, and the slots with those that are declared.
        """
        numbers, labels = transaction.numbers, transaction.labels
        if not numbers and not labels:
            return b"", SLOTS_EMPTY
        if len(numbers) > checks.ITEMS_MAX or len(labels) > checks.ITEMS_MAX:
            raise Suspect
        canonical = b""
        slots = bytearray(SLOTS_EMPTY)
        for key in sorted(numbers):
            offset = self._number_offsets.get(key, -1)
            value = numbers[key]
            if not isfinite(value) or (offset < 0 and not checked and _UNDECLARED_KEY(key) is None):
                raise Suspect
            packed = _DOUBLE.pack(value + 0.0)  # -0.0 becomes 0.0
            canonical += b"n%b=%b" % (key.encode(), packed)
            if offset >= 0:
                slots[offset : offset + 8] = packed
        for key in sorted(labels):
            offset = self._label_offsets.get(key, -1)
            if offset < 0 and not checked and _UNDECLARED_KEY(key) is None:
                raise Suspect
            packed, text = label_bytes(labels[key]) if checked else self._labels[labels[key]]
            canonical += b"l%b=%b" % (key.encode(), text)
            if offset >= 0:
                slots[offset : offset + 8] = packed
        return canonical, bytes(slots)
