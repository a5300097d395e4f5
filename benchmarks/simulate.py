"""How long does it take to simulate a million events, to write them, and to pack them into events?

Prediction: some 150 vectorised draws of a million numbers at 10 ms, 30 columns of text at 50 ms, and Parquet at 3 s:
10 s for simulating and writing. Packing hashes three times a row (about 0.6 µs each) and distinct identifiers once:
150,000 rows/s.

Budget: a million events simulated and written within 90 s on one core (bar), 30 s (aim); 100,000 rows/s packed.
Everything runs on one core, in one process; a checksum of the table must equal that of a second, small run of the
seed.

Run as ``python -m benchmarks.simulate``; called by `make bench`.
"""

import argparse
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
import pyarrow as pa

from benchmarks.record import record
from riskengine.lab.events import EventPacker
from riskengine.lab.history import open_history, write_history
from riskengine.lab.simulate import CURRENCY_CODES, SimulationConfig, simulate
from riskengine.wire.pseudonyms import TagKey

REAL: Final = SimulationConfig(seed=1, people=12_000, days=68)
SMOKE: Final = SimulationConfig(seed=1, people=200, days=10)
T = TypeVar("T")


def main() -> int:
    """Measures and prints; at the real size also appends the figures to the results."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.simulate", description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="a few thousand events, only to see that it works")
    parser.add_argument("--out", type=Path, help="file to append the line to; default: in benchmarks/results")
    options = parser.parse_args()
    config = SMOKE if options.smoke else REAL
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    pa.set_cpu_count(1)
    assert checksum(simulate(SMOKE)) == checksum(simulate(SMOKE)), "one seed, one history"
    figures = measure(config)
    print(json.dumps(figures, indent=2))
    if options.out or not options.smoke:
        parameters = {"people": config.people, "days": config.days, "seed": config.seed}
        record("simulate", parameters=parameters, results=figures, path=options.out)
    return 0


def measure(config: SimulationConfig) -> dict[str, Any]:
    """Simulates, writes, reads and packs once; seconds of the wall and of the processor."""
    figures: dict[str, Any] = {}
    table = timed(figures, "simulate", lambda: simulate(config))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "history.parquet"
        timed(figures, "write", lambda: write_history(table, path))
        figures["file_mib"] = round(path.stat().st_size / 2**20, 1)
        packed = timed(figures, "read_and_pack", lambda: pack(path))
    assert packed == table.num_rows, "every simulated row is an event"
    total = figures["simulate_s"] + figures["write_s"]
    return {
        "events": table.num_rows,
        "fraud_share": round(float(np.mean(np.asarray(table["fraud"].combine_chunks()))), 5),
        **figures,
        "million_events_s": round(1e6 * total / table.num_rows, 2),
        "million_events_cpu_s": round(1e6 * (figures["simulate_cpu_s"] + figures["write_cpu_s"]) / table.num_rows, 2),
        "read_and_pack_rows_per_s": round(table.num_rows / figures["read_and_pack_s"]),
        "read_and_pack_rows_per_cpu_s": round(table.num_rows / figures["read_and_pack_cpu_s"]),
        "memory_mib_max": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "checksum": checksum(table),
    }


def timed(figures: dict[str, Any], name: str, work: Callable[[], T]) -> T:
    """Runs something once and notes how long it took."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = work()
    figures[f"{name}_s"] = round(time.perf_counter() - wall, 3)
    figures[f"{name}_cpu_s"] = round(time.process_time() - cpu, 3)
    return result


def pack(path: Path) -> int:
    """Reads and packs a history; returns the number of events."""
    rates = dict.fromkeys(CURRENCY_CODES[1:], "1.25")
    packer = EventPacker(TagKey(bytes(32)), base_currency="EUR", rates=rates, number_slots={}, label_slots={})
    return sum(len(packer.pack(batch).events) for batch in open_history(path).batches())


def checksum(table: pa.Table) -> str:
    """Returns a digest of what a history says, independent of how it is chunked."""
    digest = blake2b(digest_size=8)
    for name in ("transaction_id", "event_time", "amount_minor", "card_id", "device_id", "fraud"):
        column = table[name].combine_chunks()
        for buffer in column.buffers():
            digest.update(memoryview(buffer) if buffer is not None else b"-")
    return digest.hexdigest()


if __name__ == "__main__":
    sys.exit(main())
