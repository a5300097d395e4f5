"""Rows, names and stores for the tests of the store.

Called by tests/store and tests/cli.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from riskengine.enums import Kind
from riskengine.store.files import Files, OsFiles
from riskengine.store.folder import store_folder, survey
from riskengine.store.parquet import PartReader
from riskengine.store.store import DecisionStore
from riskengine.types import US_PER_DAY, US_PER_SECOND, Array
from tests.journal import rows
from tests.store.disks import Folder, SimulatedFiles

DAY_US = int(datetime(2026, 3, 1, tzinfo=UTC).timestamp()) * US_PER_SECOND
"""Midnight at which the rows of `stream` begin."""
DATA_DIR = Path("data")
"""Of a simulated disk."""
NAMES: dict[str, Any] = {
    "revision": 1,
    "policy": "policies/starter",
    "policy_revision": "0123456789ab",
    "model": "models/starter",
    "model_revision": "ba9876543210",
    "base_currency": "EUR",
    "rules": [{"id": f"rule_{number}", "verdict": 3, "mode": "enforce"} for number in range(70)],
    "lists": [{"id": "bad_cards", "action": "block"}, {"id": "staff", "action": "allow"}],
    "obligations": [{"notify": {"audience": "payer"}}, {"limit": {"amount_minor_max": 5000}}],
    "obligation_ids": ["tell_payer", "small_only"],
    "segments": ["default", "high_risk", "card_present"],
    "reasons": [{"code": f"REASON_{number}", "text": "Because.", "unit": None} for number in range(40)],
    "features": [f"card.feature_{number}" for number in range(100)],
    "inputs": {"numbers": ["basket_items", "age"], "labels": ["shop"]},
}
OTHER_NAMES: dict[str, Any] = {
    **NAMES,
    "revision": 2,
    "policy_revision": "ffffffffffff",
    "model": "",
    "model_revision": "",
    "rules": [{"id": f"other_{number}", "verdict": 0, "mode": "shadow"} for number in range(10)],
}
CATALOG = {1: NAMES, 2: OTHER_NAMES}
Rows = tuple[Array, Array]


def stream(count: int, *, days: int = 3, seed: int = 0, first_sequence: int = 1, cards: int = 5) -> Rows:
    """Returns rows spread evenly over some days, of few cards, some of them records and outcomes."""
    events, decisions = rows.payments(count, seed=seed, first_sequence=first_sequence)
    events["received_time_us"] = DAY_US + np.arange(count) * (days * US_PER_DAY) // count
    events["card_tag"] = 1 + np.arange(count) % cards
    events["kind"][::5] = Kind.RECORD
    events["kind"][3::10] = Kind.OUTCOME
    for name in ("received_time_us", "kind"):
        decisions[name] = events[name]
    others = events["kind"] != Kind.SCORE
    for name in ("verdict", "fired_0", "reason_count"):
        decisions[name][others] = 0
    return events, decisions


def part_of(whole: Rows, first: int, last: int) -> Rows:
    """Returns rows by their places."""
    return whole[0][first:last], whole[1][first:last]


def simulated() -> SimulatedFiles:
    """Returns an empty disk with a data directory."""
    root = Folder()
    root.change({DATA_DIR.name: Folder()})
    root.sync()
    return SimulatedFiles(root)


def filled(data_dir: Path, whole: Rows, *, flush_rows: int = 0, files: Files | None = None) -> DecisionStore:
    """Returns a store of some rows, flushed every so many; 0: once."""
    store = DecisionStore(data_dir, files=files)
    for first in range(0, len(whole[0]), flush_rows or len(whole[0])):
        store.append(*part_of(whole, first, first + (flush_rows or len(whole[0]))), CATALOG)
        store.flush()
    return store


def table_of(data_dir: Path, *, files: Files | None = None, columns: Sequence[str] | None = None) -> pa.Table | None:
    """Returns everything stored, in the order of the files; None for nothing."""
    files = files or OsFiles()
    folder = store_folder(data_dir)
    tables = []
    for part in survey(files, folder).parts:
        reader = PartReader(files.open(part.path(folder)))
        tables += [reader.group(index, columns) for index in range(reader.group_count)]
        assert part.row_count == sum(table.num_rows for table in tables) - sum(
            t.num_rows for t in tables[: -reader.group_count]
        )
        reader.close()
    return pa.concat_tables(tables) if tables else None


def pairs_of(data_dir: Path, *, files: Files | None = None) -> list[tuple[int, int]]:
    """Returns sequence and card tag of every row stored."""
    table = table_of(data_dir, files=files, columns=["sequence", "card_tag"])
    return (
        []
        if table is None
        else list(zip(*(table.column(name).to_pylist() for name in ("sequence", "card_tag")), strict=True))
    )


def pairs(events: Array) -> list[tuple[int, int]]:
    """Returns the same of rows."""
    return list(zip(events["sequence"].tolist(), events["card_tag"].tolist(), strict=True))


def files_in(folder: Path, suffixes: Iterable[str] = (".parquet", ".partial")) -> list[str]:
    """Returns the names of files below a real folder."""
    return sorted(path.name for path in folder.rglob("*") if path.suffix in suffixes)
