"""What tests of the lab build: small simulations, packers, sources and mappings on disk.

Called by tests/lab.
"""

from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa

from riskengine.lab.events import EventPacker
from riskengine.lab.history import open_history
from riskengine.lab.importer import ImportReport, import_history
from riskengine.lab.simulate import CURRENCY_CODES, SimulationConfig, simulate
from riskengine.wire.pseudonyms import TagKey

KEY = TagKey(bytes(range(32)))
DOOR_OPTIONS: dict[str, Any] = {
    "base_currency": "EUR",
    "rates": dict(zip(CURRENCY_CODES[1:], ("1.17", "0.92", "0.028", "0.23", "1.05"), strict=True)),
    "number_slots": {"basket_items": 3},
    "label_slots": {"segment": 5},
}


@cache
def simulated(seed: int = 7, people: int = 400, days: int = 20) -> pa.Table:
    """Simulates once for all tests of a run."""
    return simulate(SimulationConfig(seed=seed, people=people, days=days))


def packer(**options: Any) -> EventPacker:
    """Makes a packer of the tests' configuration."""
    return EventPacker(KEY, **{**DOOR_OPTIONS, **options})


def write(folder: Path, name: str, text: str) -> Path:
    """Writes a small file."""
    path = folder / name
    path.write_text(text)
    return path


def import_text(folder: Path, *, source: str, mapping: str, rows_max: int | None = None) -> ImportReport:
    """Imports a CSV text by a mapping text into ``history.parquet``."""
    files = write(folder, "source.csv", source), write(folder, "mapping.yaml", mapping)
    return import_history(*files, folder / "history.parquet", rows_max=rows_max)


def imported(folder: Path) -> list[dict[str, Any]]:
    """Reads what was imported."""
    rows: list[dict[str, Any]] = open_history(folder / "history.parquet").read().to_pylist()
    return rows
