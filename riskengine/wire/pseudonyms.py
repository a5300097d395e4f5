"""Raw identifiers to keyed tags, the only form in which they pass the door.

A tag is the 64-bit BLAKE2b of an identifier's normal form under a secret key, personalised by the entity type, so an
account and a card of one name differ, and nobody without the key can turn a guess into a tag. 128 bits of the same make
the key of a request_id.

INVARIANTS: tag 0 means absent (a hash of 0 becomes 1); equal normal forms give equal tags in the door, in lists and in
histories, since all ask here; neither a key nor a raw value is ever part of a repr or of an error.

Called by `wire.entities` for each payment, and by `engine`, `cli` and `lab` for lists and histories.
"""

import os
import re
import stat
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path
from socket import AF_INET, AF_INET6, inet_pton
from typing import Any, Final
from unicodedata import normalize

from riskengine.durable import sync_path
from riskengine.errors import StartRefused
from riskengine.types import ENTITIES

KEY_BYTES: Final = 32
ABSENT: Final = bytes(8)
"""The tag of nothing, as it lies in a row."""
_ONE: Final = (1).to_bytes(8, "little")
_MAPPED: Final = bytes(10) + b"\xff\xff"
"""What an IPv4 address within IPv6 begins with."""
PHONE_FILLING: Final = b" .-()[]+"
_PURPOSES: Final = (*ENTITIES, "transaction", "request", "payload")


class TagKey:
    """The secret that makes tags. Its repr shows a fingerprint only.

    Args:
        secret: 32 bytes.
    """

    __slots__ = ("_secret",)

    def __init__(self, secret: bytes) -> None:
        assert len(secret) == KEY_BYTES, "a tag key has 32 bytes"
        self._secret = secret

    @classmethod
    def load(cls, path: Path) -> "TagKey":
        """Reads a key file.

        Args:
            path: A regular file of exactly 32 bytes that nobody but its owner may read.

        Raises:
            StartRefused: The file is absent, of another size or kind, or readable by others; says how to mend it.
        """
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise StartRefused(
                f"the tag key {path} cannot be read ({error.strerror}); run `riskengine init` or name the right file"
            ) from None
        secret, problem = b"", ""
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                problem = "is not a regular file; name the right file"
            elif stat.S_IMODE(status.st_mode) & 0o077:
                problem = f"can be read by others; run `chmod 600 {path}`"
            elif len(secret := os.read(descriptor, KEY_BYTES + 1)) != KEY_BYTES:
                problem = f"must have exactly {KEY_BYTES} bytes; restore it, since a new key makes all history unknown"
        finally:
            os.close(descriptor)
        if problem:
            raise StartRefused(f"the tag key {path} {problem}")
        return cls(secret)

    @classmethod
    def create(cls, path: Path) -> "TagKey":
        """Writes a new random key that only its owner can read, durably, and returns it.

        Raises:
            StartRefused: The file exists (a key is never overwritten) or cannot be written.
        """
        secret = os.urandom(KEY_BYTES)
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StartRefused(f"the tag key {path} cannot be created ({error.strerror})") from None
        with os.fdopen(descriptor, "wb") as file:
            file.write(secret)
            file.flush()
            os.fsync(file.fileno())
        sync_path(path.absolute().parent)
        return cls(secret)

    @property
    def fingerprint(self) -> str:
        """16 hex digits that tell keys apart and say nothing about them: the key epoch of a journal."""
        return blake2b(key=self._secret, digest_size=8, person=b"fingerprint").hexdigest()

    def hasher(self, purpose: str, *, digest_size: int = 8) -> Any:
        """Returns a BLAKE2b object that has taken the key and the purpose; copy it for each value."""
        assert purpose in _PURPOSES, "a purpose is an entity type or one of ours"
        return blake2b(key=self._secret, digest_size=digest_size, person=purpose.encode())

    def __repr__(self) -> str:
        return f"TagKey(fingerprint={self.fingerprint!r})"


class Pseudonyms:
    """Tags of values, one at a time.

    Args:
        key: The secret.
    """

    def __init__(self, key: TagKey) -> None:
        self._hashers = {purpose: key.hasher(purpose) for purpose in _PURPOSES}

    def tag(self, entity: str, value: str) -> int:
        """Returns the tag of one value.

        Args:
            entity: A name of `types.ENTITIES`, or ``transaction``.
            value: Raw; a derived type (``ip_network``, ``email_domain``) takes the whole address or the derived part.

        Returns:
            uint64 as a Python int; 0 for the empty string and for a value that has no normal form (`normalise`).
        """
        normal = normalise(entity, value)
        return int.from_bytes(digest_of(self._hashers[entity].copy, normal), "little")


def digest_of(copy: Callable[[], Any], normal: bytes) -> bytes:
    """Returns the tag of a normal form as it lies in a row; empty is absent. `copy` is of a keyed hasher."""
    if not normal:
        return ABSENT
    hasher = copy()
    hasher.update(normal)
    digest: bytes = hasher.digest()
    return digest if digest != ABSENT else _ONE


def request_keys(key: TagKey, request_id: str) -> tuple[int, int]:
    """Returns request_key and request_check of a request_id, as the door makes them.

    Args:
        key: The secret.
        request_id: As the caller sent it.
    """
    hasher = key.hasher("request", digest_size=16)
    hasher.update(request_id.encode())
    digest = hasher.digest()
    return int.from_bytes(digest[:8], "little") or 1, int.from_bytes(digest[8:], "little")


def normalise(entity: str, value: str) -> bytes:
    """Returns the normal form that is hashed; empty when the value has none.

    Args:
        entity: As for `Pseudonyms.tag`.
        value: Raw.
    """
    return _NORMAL_FORMS.get(entity, str.encode)(value)


def normal_ip(text: str) -> bytes:
    """Returns the packed address: 4 bytes for IPv4 (also where IPv6 wraps it), 16 for IPv6, none if unparsable."""
    try:
        if ":" not in text:
            return inet_pton(AF_INET, text)
        packed = inet_pton(AF_INET6, text)
    except (OSError, ValueError):
        return b""
    return packed[12:] if packed[:12] == _MAPPED else packed


def normal_ip_network(text: str) -> bytes:
    """Returns the first 3 bytes (/24) of an IPv4 address, 6 (/48) of an IPv6 one; a prefix length is dropped."""
    packed = normal_ip(text.partition("/")[0])
    return packed[:3] if len(packed) == 4 else packed[:6]


def normal_email(text: str) -> bytes:
    """Returns the address stripped, compatibility-composed and case-folded."""
    if text.isascii():
        return text.strip().lower().encode()
    return _folded(text).strip().encode()


def normal_email_domain(text: str) -> bytes:
    """Returns the part of the normal form after the "@", or all of it where there is none."""
    return normal_email(text).rpartition(b"@")[2]


def normal_phone(text: str) -> bytes:
    """Returns the digits alone; none if anything but digits and filling is there."""
    digits = text.encode().translate(None, PHONE_FILLING)
    return digits if digits.isdigit() else b""


def normal_address(text: str) -> bytes:
    """Returns the text compatibility-composed and case-folded, with single blanks between words."""
    if text.isascii():
        return " ".join(text.lower().split()).encode()
    return " ".join(_folded(text).split()).encode()


def _folded(text: str) -> str:
    # Folding can undo the composition (and the other way round), so the composition stands on both sides.
    return normalize("NFKC", normalize("NFKC", text).casefold())


_NORMAL_FORMS: Final[dict[str, Callable[[str], bytes]]] = {
    "ip": normal_ip,
    "ip_network": normal_ip_network,
    "email": normal_email,
    "email_domain": normal_email_domain,
    "phone": normal_phone,
    "address": normal_address,
}

_SEPARATORS: Final = r"[\s\-\u00ad\u200b-\u200d\u2010-\u2015\u2212\ufeff]*"
_PAN_SHAPE: Final = re.compile(rf"{_SEPARATORS}(?:\d{_SEPARATORS}){{13,19}}\Z").match
_DOUBLED: Final = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)


def is_bare_pan(text: str) -> bool:
    """Says whether a text is a card number and nothing else: 13 to 19 digits with a valid Luhn check digit.

    Blanks, dashes and invisible characters between the digits do not hide it, nor do digits of other widths or scripts.
    One in ten random numbers of that length passes as well.
    """
    if len(text) < 13:
        return False
    if not text.isascii():
        text = normalize("NFKC", text)
    if _PAN_SHAPE(text) is None:
        return False
    digits = [int(character) for character in text if character.isdecimal()]
    return (sum(digits[-1::-2]) + sum(_DOUBLED[digit] for digit in digits[-2::-2])) % 10 == 0
