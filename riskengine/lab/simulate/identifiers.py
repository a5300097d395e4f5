"""Text for entities: identifiers that look like identifiers and belong to nobody.

INVARIANTS: distinct rows have distinct text. No run of 13 or more digits occurs, so nothing can be taken for a card
number. Addresses are of reserved ranges (100.64.0.0/10, 240.0.0.0/4, 2001:db8::/32), mail domains end in
``.example``.

Called by `assemble`.
"""

from typing import Final

import numpy as np
import pyarrow as pa

from .config import SimulationConfig
from .draft import Array, Ints, positions
from .entities import Entities, Network
from .places import CITIES, REGIONS
from .world import MAIL_DOMAINS_COMMON

MAIL_DOMAINS: Final = (
    "mail.example",
    "post.example",
    "inbox.example",
    "letter.example",
    "campus.example",
    "office.example",
    "tempbox.example",
)
assert len(MAIL_DOMAINS) == MAIL_DOMAINS_COMMON + 1

_HEX: Final = np.frombuffer(b"0123456789abcdef", np.uint8)
_MASK_48: Final = np.uint64((1 << 48) - 1)


def hex_ids(prefix: str, numbers: Ints, *, salt: int, digits: int = 12) -> pa.Array:
    """Makes ``prefix`` and hexadecimal digits from numbers, one to one.

    Args:
        prefix: Begins every identifier, e.g. ``card_``.
        numbers: 0 to 2^48 - 1, shape (n,).
        salt: Other salts give other identifiers.
        digits: Always 12: 48 bits.

    Returns:
        pa.StringArray of n.
    """
    assert digits == 12, "the mixing is one to one on 48 bits"
    mixed = numbers.astype(np.uint64)
    with np.errstate(over="ignore"):
        for factor in (0xBF58476D1CE5, 0x94D049BB1331):
            mixed = (mixed ^ np.uint64(salt & int(_MASK_48))) & _MASK_48
            mixed = (mixed * np.uint64(factor)) & _MASK_48
            mixed ^= mixed >> np.uint64(25)
    head = np.frombuffer(prefix.encode(), np.uint8)
    text = np.empty((len(numbers), len(head) + digits), np.uint8)
    text[:, : len(head)] = head
    for digit in range(digits):
        text[:, len(head) + digit] = _HEX[(mixed >> np.uint64(4 * (digits - 1 - digit))) & np.uint64(15)]
    offsets = np.arange(len(numbers) + 1, dtype=np.int32) * text.shape[1]
    return pa.StringArray.from_buffers(len(numbers), pa.py_buffer(offsets), pa.py_buffer(text))


def vocabularies(config: SimulationConfig, entities: Entities) -> dict[str, pa.Array]:
    """Makes the text of every entity, by the draft column that refers to it."""
    salt = config.seed * 0x9E3779B97F4A7C15 + 0x632BE59BD9B4

    def ids(prefix: str, count: int) -> pa.Array:
        return hex_ids(prefix, np.arange(count), salt=salt + len(prefix) * 7919 + ord(prefix[0]))

    users = ids("u", len(entities.emails)).to_pylist()
    domains = entities.emails.column("domain").tolist()
    return {
        "account": ids("acct_", len(entities.accounts)),
        "card": ids("card_", len(entities.cards)),
        "device": ids("dev_", len(entities.devices)),
        "ip": pa.array(_ip_texts(entities), pa.string()),
        "email": pa.array([f"{u}@{MAIL_DOMAINS[d]}" for u, d in zip(users, domains, strict=True)], pa.string()),
        "phone": pa.array(_phone_texts(entities), pa.string()),
        "merchant": ids("mer_", len(entities.merchants)),
        "payee": ids("payee_", len(entities.payees)),
        "address": pa.array(_address_texts(entities), pa.string()),
    }


def bin_texts() -> pa.Array:
    """Makes the issuer numbers, six digits, six issuers for each region."""
    return pa.array(
        [
            f"{4 + issuer % 2}{90 + region // 10}{region % 10}{issuer}0"
            for region in range(len(REGIONS))
            for issuer in range(6)
        ]
    )


def _ip_texts(entities: Entities) -> list[str]:
    """Makes addresses: neighbours of one kind share a network, 40 to a /24 (8 where servers are hosted)."""
    network = entities.ips.column("network")
    ordinal = _ordinals(network)
    return [_ip_text(kind, number) for kind, number in zip(network.tolist(), ordinal.tolist(), strict=True)]


def _ip_text(kind: int, ordinal: int) -> str:
    """Makes the address of the n-th connection of a kind."""
    if kind == Network.HOME_V6:
        return f"2001:db8:{ordinal * 40503 % 65536:x}:{ordinal // 65536 + 1:x}::{ordinal % 251 + 1:x}"
    per_network = 8 if kind == Network.HOSTING else 40
    block, host = divmod(ordinal, per_network)
    last = 2 + host * (250 // per_network)
    if kind == Network.MOBILE:
        block = block * 2501 % (1 << 14)
        return f"100.{64 + (block >> 8)}.{block & 255}.{last}"
    block = block * 40503 % (1 << 19)
    return f"{(240 if kind == Network.HOME else 248) + (block >> 16)}.{block >> 8 & 255}.{block & 255}.{last}"


def _ordinals(kinds: Array) -> Ints:
    """Numbers rows within their kind, in order of the rows."""
    order = np.argsort(kinds, kind="stable")
    ordinal = np.empty(len(kinds), np.int64)
    ordinal[order] = positions(np.bincount(kinds))
    return ordinal


def _phone_texts(entities: Entities) -> list[str]:
    """Makes numbers of at most 11 digits: calling code, 55, and six digits."""
    region = entities.phones.column("region")
    ordinal = _ordinals(region)
    codes = [item.calling_code for item in REGIONS]
    return [
        f"+{codes[r]}55{n * 700_001 % 1_000_000:06d}" for r, n in zip(region.tolist(), ordinal.tolist(), strict=True)
    ]


def _address_texts(entities: Entities) -> list[str]:
    """Makes postal addresses, numbered within the city."""
    city = entities.addresses.column("city")
    ordinal = _ordinals(city)
    return [
        f"{n % 97 + 1} Street {n // 97 + 1}, {CITIES[c].name}"
        for c, n in zip(city.tolist(), ordinal.tolist(), strict=True)
    ]
