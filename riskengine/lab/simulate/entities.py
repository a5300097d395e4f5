"""The tables of who and what exists; events refer to their rows by index.

INVARIANTS: a table only grows, so an index stays valid; `-1` is "none" where a column refers to another table.

Filled by `world`, `lifecycle`, `card_fraud` and `account_fraud`; turned into text by `identifiers`.
"""

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

import numpy as np

from .draft import Array, Ints


class Network(IntEnum):
    """What kind of connection an IP address belongs to."""

    HOME = 0
    MOBILE = 1
    HOSTING = 2
    HOME_V6 = 3


class EntityTable:
    """Columns of one kind of entity.

    Args:
        columns: Name and dtype of each column.
    """

    def __init__(self, **columns: str) -> None:
        self._parts: dict[str, list[Array]] = {name: [np.empty(0, dtype)] for name, dtype in columns.items()}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, count: int, **values: Any) -> Ints:
        """Appends `count` rows; every column must be given, as a scalar or an array.

        Returns:
            The indices of the new rows, shape (count,).
        """
        assert values.keys() == self._parts.keys(), "every column of an entity is given"
        for name, value in values.items():
            parts = self._parts[name]
            parts.append(np.broadcast_to(np.asarray(value, parts[0].dtype), (count,)))
        first = self._count
        self._count += count
        return np.arange(first, self._count)

    def column(self, name: str) -> Array:
        """Returns a column as one array, shape (len(self),)."""
        parts = self._parts[name]
        if len(parts) > 1:
            parts[:] = [np.concatenate(parts)]
        return parts[0]


@dataclass(slots=True)
class Entities:
    """All tables. Regions are indices into REGIONS, cities into CITIES."""

    accounts: EntityTable = field(
        default_factory=lambda: EntityTable(region="i4", open_time_us="i8", email="i4", phone="i4")
    )
    cards: EntityTable = field(default_factory=lambda: EntityTable(region="i4", bin="i4"))
    devices: EntityTable = field(default_factory=lambda: EntityTable(region="i4"))
    ips: EntityTable = field(default_factory=lambda: EntityTable(region="i4", network="i4"))
    emails: EntityTable = field(default_factory=lambda: EntityTable(domain="i4"))
    phones: EntityTable = field(default_factory=lambda: EntityTable(region="i4"))
    merchants: EntityTable = field(
        default_factory=lambda: EntityTable(
            category="i4", city="i4", region="i4", price_log="f8", latitude="f8", longitude="f8"
        )
    )
    payees: EntityTable = field(default_factory=lambda: EntityTable(region="i4"))
    addresses: EntityTable = field(default_factory=lambda: EntityTable(region="i4", city="i4"))

    def add_ips(self, regions: Array, network: Network) -> Ints:
        """Adds one IP address for each region given."""
        return self.ips.add(len(regions), region=regions, network=int(network))

    def add_account(self, regions: Array, *, open_time_us: Array, email_domains: Array) -> Ints:
        """Adds one account for each region given, with an e-mail address and a phone number of its own."""
        count = len(regions)
        emails = self.emails.add(count, domain=email_domains)
        phones = self.phones.add(count, region=regions)
        return self.accounts.add(count, region=regions, open_time_us=open_time_us, email=emails, phone=phones)
