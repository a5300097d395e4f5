"""Drafts to the history's table: sorted, indices turned into text, what an entity implies filled in.

INVARIANT: the table has exactly the columns of HISTORY_SCHEMA, is ordered by event time (ties by key) and ends before
the configured end.

Called by `run`.
"""

from enum import IntEnum
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute

from riskengine.enums import Channel, EntryMode, Initiation, IssuerOutcome, TransactionType, VerificationResult
from riskengine.lab.history import HISTORY_SCHEMA

from .catalogue import CATEGORIES, ISSUER_CODES
from .config import SCENARIOS
from .draft import VERIFIED_COLUMNS, Array
from .identifiers import bin_texts, hex_ids, vocabularies
from .places import CURRENCY_CODES, REGIONS
from .world import World

_ENUMS: Final[dict[str, type[IntEnum]]] = {
    "type": TransactionType,
    "channel": Channel,
    "entry_mode": EntryMode,
    "initiation": Initiation,
    "issuer_outcome": IssuerOutcome,
    **dict.fromkeys(VERIFIED_COLUMNS, VerificationResult),
}
_ENTITY_FIELDS: Final = {
    "account_id": "account",
    "card_id": "card",
    "device_id": "device",
    "ip_address": "ip",
    "email_address": "email",
    "phone_number": "phone",
    "merchant_id": "merchant",
    "payee_id": "payee",
    "shipping_address": "address",
}
_TIME: Final = pa.timestamp("us", tz="UTC")


def assemble(world: World, rows: Array) -> pa.Table:
    """Turns drafts with keys into the table.

    Args:
        rows: DRAFT rows in any order; rows outside the simulated span are dropped.

    Returns:
        Table of HISTORY_SCHEMA.
    """
    rows = rows[(rows["time_us"] >= world.config.start_us) & (rows["time_us"] < world.config.end_us)]
    rows = rows[np.lexsort((rows["key"], rows["time_us"]))]
    salt = world.config.seed * 0x2545F4914F6CDD1D
    known = rows["original_key"] >= 0
    columns: dict[str, pa.Array] = {
        "transaction_id": hex_ids("tx_", rows["key"], salt=salt),
        "original_transaction_id": _blank(hex_ids("tx_", np.maximum(rows["original_key"], 0), salt=salt), ~known),
        "event_time": pa.array(rows["time_us"], _TIME),
        "utc_offset_minutes": pa.array(rows["offset_minutes"], pa.int32()),
        "amount_minor": pa.array(rows["amount_minor"], pa.int64(), mask=rows["amount_minor"] < 0),
        "currency_code": _texts(pa.array(CURRENCY_CODES), rows["currency"]),
        "issuer_code": _texts(pa.array(ISSUER_CODES), rows["issuer_code"]),
        "latitude_degrees": _positions(rows["latitude_degrees"]),
        "longitude_degrees": _positions(rows["longitude_degrees"]),
        **_labels(rows),
        **_enums(rows),
        **_entities(world, rows),
    }
    fields = [columns[name] for name in HISTORY_SCHEMA.names]
    return pa.Table.from_arrays(fields, schema=HISTORY_SCHEMA)


def _texts(vocabulary: pa.Array, indices: Array) -> pa.Array:
    """Looks indices up; negative ones give null."""
    return vocabulary.take(pa.array(np.maximum(indices, 0), pa.int32(), mask=indices < 0))


def _blank(values: pa.Array, where: Array) -> pa.Array:
    """Sets values to null where told."""
    return pa.compute.if_else(pa.array(~where), values, pa.scalar(None, values.type))


def _positions(values: Array) -> pa.Array:
    """Makes degrees of six decimals, null for NaN."""
    return pa.array(np.round(values, 6), pa.float64(), mask=np.isnan(values))


def _labels(rows: Array) -> dict[str, pa.Array]:
    """Makes the labels: an honest event is false from the start, a fraud has the time it became known."""
    fraud = rows["scenario"] > 0
    return {
        "fraud": pa.array(fraud),
        "fraud_label_time": pa.array(rows["label_time_us"], _TIME, mask=~fraud),
        "fraud_scenario": _texts(pa.array(SCENARIOS), rows["scenario"].astype(np.int64) - 1),
    }


def _enums(rows: Array) -> dict[str, pa.Array]:
    """Makes the columns of enum names; 0 gives null."""
    made = {}
    for name, members in _ENUMS.items():
        vocabulary = pa.array([None, *(member.name for member in members)], pa.string())
        made[name] = vocabulary.take(pa.array(rows[name], pa.int32()))
    return made


def _entities(world: World, rows: Array) -> dict[str, pa.Array]:
    """Makes identifiers, and what follows from them: regions, category, issuer number, age of the account."""
    entities = world.entities
    texts = vocabularies(world.config, entities)
    made = {field: _texts(texts[name], rows[name]) for field, name in _ENTITY_FIELDS.items()}
    regions = pa.array([region.code for region in REGIONS])
    sources = {
        "card_region_code": ("card", entities.cards.column("region")),
        "ip_region_code": ("ip", entities.ips.column("region")),
        "merchant_region_code": ("merchant", entities.merchants.column("region")),
        "payee_region_code": ("payee", entities.payees.column("region")),
        "billing_region_code": ("account", entities.accounts.column("region")),
        "shipping_region_code": ("address", entities.addresses.column("region")),
    }
    for name, (draft, column) in sources.items():
        made[name] = _texts(regions, _through(column, rows[draft]))
    categories = pa.array([category.code for category in CATEGORIES])
    made["merchant_category_code"] = _texts(
        categories, _through(entities.merchants.column("category"), rows["merchant"])
    )
    made["card_bin"] = _texts(bin_texts(), _through(entities.cards.column("bin"), rows["card"]))
    opened = entities.accounts.column("open_time_us")[np.maximum(rows["account"], 0)]
    made["account_open_time"] = pa.array(opened, _TIME, mask=rows["account"] < 0)
    return made


def _through(column: Array, indices: Array) -> Array:
    """Looks up a property of each entity; -1 stays -1."""
    return np.where(indices < 0, -1, column[np.maximum(indices, 0)])
