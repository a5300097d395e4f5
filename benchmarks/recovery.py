"""How many journaled events a second does a restart fold, and how soon does an engine with a snapshot open?

Prediction: recovery folds without computing a feature, 6 µs an event, and reads, checks and unpacks 1.5 µs an event ahead on the
other core; so 150,000 events/s, which is the budget. With a snapshot of the end it reads what the state has used: 0.2 s.

The history is simulated (seeded), the configuration is the starter's. The peer is the bare fold of the same events from memory in
the same run, on one core: `ratio` is what a restart reaches of it. The snapshot is written by the code of the follower.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.engine import DEFAULTS, LIMITS, prepare
from benchmarks.record import record
from benchmarks.replay import write_journal
from riskengine.clock import SystemClock
from riskengine.engine.configuration import Configuration
from riskengine.engine.engine import Engine
from riskengine.engine.pipeline import Pipeline
from riskengine.engine.snapshot import snapshot_paths
from riskengine.engine.state import State
from riskengine.follower.follower import Follower
from riskengine.settings import RetentionSettings, SnapshotSettings, load_settings
from riskengine.types import Array, words


def fold_all(configuration: Configuration, events: Array) -> None:
    """Folds all events from memory, as recovery does it."""
    pipeline = Pipeline(configuration, State(configuration.features, LIMITS), LIMITS)
    for first in range(0, len(events), LIMITS.batch_rows_max):
        pipeline.absorb(words(events[first : first + LIMITS.batch_rows_max]))


def reopen(folder: Path, configuration: Configuration) -> tuple[float, str]:
    """Opens and closes an engine; returns the seconds that opening took, and the digest of the state."""
    started = time.perf_counter()
    engine = Engine.open(folder, configuration, limits=LIMITS)
    took_s = time.perf_counter() - started
    digest = engine.state.digest()
    engine.close()
    return took_s, digest


def take_snapshot(folder: Path, *, every_events: int) -> float:
    """Follows the journal to its end, with a snapshot there; returns the seconds it took."""
    started = time.perf_counter()
    follower = Follower(
        folder,
        snapshots=SnapshotSettings(every_events=every_events),
        retention=RetentionSettings(journal_days=3_650),
        clock=SystemClock(),
        report=lambda *_, **__: None,
    )
    while follower.turn():
        pass
    assert snapshot_paths(folder), "the follower wrote no snapshot"
    return time.perf_counter() - started


def timed(function: Callable[[], object]) -> float:
    """Returns the seconds that a call takes."""
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


def measure(folder: Path, configuration: Configuration, events: Array, *, runs: int) -> dict[str, Any]:
    """Folds from memory and from the journal in turns; then once with a snapshot."""
    folds, recoveries = [], []
    for _ in track(range(runs), description="measuring", transient=True):
        folds.append(timed(lambda: fold_all(configuration, events)))
        recoveries.append(reopen(folder, configuration))
    follow_s = take_snapshot(folder, every_events=len(events))
    with_snapshot = [reopen(folder, configuration) for _ in range(runs)]
    assert len({digest for _, digest in recoveries + with_snapshot}) == 1, "a snapshot and the rest are not the whole"
    recovery_s = np.array([took_s for took_s, _ in recoveries])
    return {
        "recovery_events_per_s": round(float(np.median(len(events) / recovery_s))),
        "fold_events_per_s": round(float(np.median(len(events) / np.array(folds)))),
        "ratio": float(np.median(np.array(folds) / recovery_s)),
        "open_with_snapshot_s": float(np.median([took_s for took_s, _ in with_snapshot])),
        "snapshot_mib": max(path.stat().st_size for path in snapshot_paths(folder)) / (1 << 20),
        "follow_events_per_s": round(len(events) / follow_s),
    }


def main() -> None:
    """Runs and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="few events")
    parser.add_argument("--out", type=Path, help="append the JSON line to this file")
    options = parser.parse_args()
    size = {"people": 300, "days": 25, "rounds": 10} if options.smoke else {"people": 6_000, "days": 35, "rounds": 10}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        configuration, events = prepare(folder, load_settings(DEFAULTS / "server.yaml"), **size)
        write_journal(folder / "data", configuration, events)
        results = measure(folder / "data", configuration, events, runs=1 if options.smoke else 5)
    table = Table("figure", "value", title=f"recovery, {len(events):,} events")
    for key, value in results.items():
        table.add_row(key, f"{value:,.3f}" if isinstance(value, float) else f"{value:,}")
    Console().print(table)
    if not options.smoke or options.out:
        record("recovery", parameters={**size, "events": len(events)}, results=results, path=options.out)


if __name__ == "__main__":
    main()
