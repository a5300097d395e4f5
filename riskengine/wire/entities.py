"""The quick pass over identifiers: from an Entities message to the tags of a row.

All ids of a request are judged by one regex over their joined text; an address, an e-mail or a telephone number by a
few string methods. What these do not know to be fine raises `Suspect`; the second time round, `checks` has cleared it
(`checked`).

INVARIANTS: accepts nothing that `checks` refuses; tags equal those of `Pseudonyms`; what is remembered between requests
are BINs, merchants and e-mail domains, never what names a person.

Called by `wire.door`.
"""

import re
from collections.abc import Callable
from socket import AF_INET, inet_pton
from typing import Any, Final

from riskengine.types import pack_code
from riskengine.v1 import transaction_pb2 as messages
from riskengine.wire import checks
from riskengine.wire.checks import Suspect
from riskengine.wire.pseudonyms import (
    ABSENT,
    PHONE_FILLING,
    TagKey,
    digest_of,
    is_bare_pan,
    normal_address,
    normal_email,
    normal_ip,
)

_ONE: Final = (1).to_bytes(8, "little")
_CACHE_MAX: Final = 65_536
"""Values each memo remembers; at the bound it starts anew."""


_HASHED: Final = (
    *("transaction", "transaction", "account", "card", "device"),
    *("ip", "email", "phone", "payee", "address"),
)
"""What each request has hashed anew, in the order of the row; memos keep the rest."""


class TagMemo(dict[bytes, bytes]):
    """Tags of values that come back all the time, worked out at first sight.

    Args:
        copy: Of the keyed hasher of their type.
    """

    def __init__(self, copy: Callable[[], Any]) -> None:
        super().__init__()
        self._copy = copy

    def __missing__(self, normal: bytes) -> bytes:
        if len(self) >= _CACHE_MAX:
            self.clear()
        tag = self[normal] = digest_of(self._copy, normal)
        return tag


class BinMemo(dict[str, tuple[int, bytes]]):
    """Card BINs to their codes and tags; "" is 0 and absent.

    Args:
        copy: Of the keyed hasher of BINs.
    """

    def __init__(self, copy: Callable[[], Any]) -> None:
        super().__init__()
        self._copy = copy

    def __missing__(self, text: str) -> tuple[int, bytes]:
        if text and not (6 <= len(text) <= 8 and text.isascii() and text.isdigit()):
            raise Suspect
        if len(self) >= _CACHE_MAX:
            self.clear()
        pair = self[text] = (pack_code(text), digest_of(self._copy, text.encode()))
        return pair


class EntityTags:
    """Makes the keys and tags of rows. Not to be shared by threads.

    Args:
        key: The secret of all tags.
        pan_exempt_fields: Fields of `checks.PAN_FIELDS` in which a bare card number is not looked for.
    """

    def __init__(self, key: TagKey, *, pan_exempt_fields: frozenset[str]) -> None:
        self._pan_fields = tuple(name for name in checks.PAN_FIELDS if name not in pan_exempt_fields)
        self._plain = _text_match(pan_exempt=pan_exempt_fields)
        self._loose = _text_match(pan_exempt=frozenset(checks.PAN_FIELDS))
        self._request = key.hasher("request", digest_size=16).copy
        self._copies = tuple(key.hasher(purpose).copy for purpose in _HASHED)
        self._networks = TagMemo(key.hasher("ip_network").copy)
        self._merchants = TagMemo(key.hasher("merchant").copy)
        self._domains = TagMemo(key.hasher("email_domain").copy)
        self._bins = BinMemo(key.hasher("bin").copy)

    def pack(
        self, request_id: str, transaction_id: str, original_id: str, entities: "messages.Entities", checked: bool
    ) -> tuple[bytes, bytes, int]:
        """Judges and tags all that names somebody or something.

        Everything is read first and hashed last, so that BLAKE2b's large code is visited once. The loop is plain: the
        same in C (`map` over the methods of the hashers) cost 3 % more, since the hashing itself is what takes the time.

        Args:
            request_id: Of the request.
            transaction_id: Of the transaction.
            original_id: Of the transaction it belongs to; "" is none.
            entities: The message; absent is empty.
            checked: Whether `checks` has cleared the request.

        Returns:
            The request's 16-byte key and the 14 tags, as they lie in a row, and the code of the BIN.
        """
        text = (
            f"{request_id}\n{transaction_id}\n{original_id}\n{entities.account_id}\n{entities.card_id}\n"
            f"{entities.device_id}\n{entities.merchant_id}\n{entities.payee_id}\n{entities.email_address}\n"
            f"{entities.phone_number}"
        )
        if checked:
            raws = _raws(request_id, transaction_id, original_id, entities)
            email = normal_email(entities.email_address)
        else:
            if self._plain(text) is None:
                self._look_closer(text, entities)
            raws = text.encode().split(b"\n")  # The regex has seen that no field has a line feed of its own.
            email = entities.email_address.lower().encode()
        phone = raws[9].translate(None, PHONE_FILLING)
        if raws[9] and not 5 <= len(phone) <= 15:
            raise Suspect
        address = _address(entities.shipping_address, checked) if entities.shipping_address else b""
        ip = _ip(entities.ip_address) if entities.ip_address else b""
        code, bin_tag = self._bins[entities.card_bin]
        normals = (*raws[1:6], ip, email, phone, raws[7], address)
        tags = []
        for copy, normal in zip(self._copies, normals, strict=True):
            if normal:
                hasher = copy()
                hasher.update(normal)
                tags.append(hasher.digest())
            else:
                tags.append(ABSENT)
        hasher = self._request()
        hasher.update(raws[0])
        if tags.count(ABSENT) != normals.count(b""):
            tags = [digest_of(copy, normal) for copy, normal in zip(self._copies, normals, strict=True)]
        tags.insert(8, self._merchants[raws[6]])
        tags += (
            bin_tag,
            self._networks[ip[:3] if len(ip) == 4 else ip[:6]],
            self._domains[email.rpartition(b"@")[2]],
        )
        request_key = hasher.digest()
        if request_key.startswith(ABSENT):
            request_key = _ONE + request_key[8:]
        return request_key, b"".join(tags), code

    def _look_closer(self, text: str, entities: "messages.Entities") -> None:
        """Judges ids that the regex did not clear: most long numbers are no card numbers."""
        if self._loose(text) is None or any(is_bare_pan(getattr(entities, name)) for name in self._pan_fields):
            raise Suspect


def _text_match(*, pan_exempt: frozenset[str]) -> Callable[[str], object]:
    """Builds the regex for ids, e-mail and telephone of a request, joined by line feeds, which none of them may have.

    Args:
        pan_exempt: Fields in which a text that might be a card number is not noticed.
    """
    key, identifier = "[A-Za-z0-9._:-]", "[A-Za-z0-9._:@+/=-]"
    looks_like_pan = r"(?![0-9-]{13,}(?:\n|\Z))"
    ids = [f"{'' if name in pan_exempt else looks_like_pan}{identifier}{{0,64}}" for name in checks.PAN_FIELDS]
    email = rf"(?:(?![^\n]{{{checks.EMAIL_CHARS_MAX + 1}}})[!-?A-~]+@[!-?A-~]+)?"
    phone = rf"(?:\+?[0-9 .()\[\]-]{{5,{checks.PHONE_CHARS_MAX - 1}}})?"
    return re.compile(r"\n".join((f"{key}{{8,64}}", f"{key}{{1,64}}", f"{key}{{0,64}}", *ids, email, phone))).fullmatch


def _raws(request_id: str, transaction_id: str, original_id: str, entities: "messages.Entities") -> list[bytes]:
    """Returns the ten joined fields one by one, whatever is in them: no line feed can shift what follows it."""
    return [
        text.encode()
        for text in (
            request_id,
            transaction_id,
            original_id,
            entities.account_id,
            entities.card_id,
            entities.device_id,
            entities.merchant_id,
            entities.payee_id,
            entities.email_address,
            entities.phone_number,
        )
    ]


def _ip(text: str) -> bytes:
    """Returns the packed form of an address that is fine."""
    ip = inet_pton(AF_INET, text) if ":" not in text else normal_ip(text)
    if not ip or len(text) > checks.IP_CHARS_MAX:
        raise Suspect
    return ip


def _address(text: str, checked: bool) -> bytes:
    """Returns the normal form of an address that is fine: one with a letter is no card number."""
    # The length comes first: normalising takes its square where marks are combined. A character has at most 4 bytes.
    if not checked and len(text) > 64 and len(text.encode()) > checks.ADDRESS_BYTES_MAX:
        raise Suspect
    address = normal_address(text)
    if not checked and not (text.isprintable() and address and (address.islower() or not is_bare_pan(text))):
        raise Suspect
    return address
