"""How many journaled decisions a second are taken again on one core: by the program itself, and by another policy?

Prediction: a replay is the pipeline of `benchmarks.engine` without its frames and syncs, 18 µs an event, plus 1.5 µs to read and
unpack the journal and 1 µs to compare. A what-if reads the journal twice, for the reports of fraud come later, and counts
rules: 3 µs more. Budget: 40,000 events/s for a replay.

The history is simulated (seeded), the configuration is the starter's with its model live, committed by 256. The peer is the bare
pipeline over the same events from memory in the same run: `ratio` is the share of it that a replay keeps. Rates are of this
process's own CPU time, so that a busy machine tells much the same as an idle one; `replay_wall_events_per_s` is by the wall's
clock.
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

from benchmarks.engine import COMMIT_ROWS, DEFAULTS, LIMITS, prepare
from benchmarks.record import record
from riskengine.engine.configuration import Configuration, Replacement
from riskengine.engine.engine import Engine
from riskengine.engine.pipeline import Pipeline
from riskengine.engine.state import State
from riskengine.lab.find import find_by_sequence
from riskengine.lab.replay import replay
from riskengine.lab.whatif import WhatIf
from riskengine.settings import load_settings
from riskengine.types import Array, words
from riskengine.yamlfile import load_file


def write_journal(folder: Path, configuration: Configuration, events: Array) -> None:
    """Commits all events; outside the clock."""
    engine = Engine.open(folder, configuration, limits=LIMITS)
    for first in range(0, len(events), COMMIT_ROWS):
        engine.commit(events[first : first + COMMIT_ROWS].copy())
    engine.close()


def apply_all(configuration: Configuration, events: Array) -> None:
    """Applies all events from memory: the pipeline alone."""
    pipeline = Pipeline(configuration, State(configuration.features, LIMITS), LIMITS)
    for first in range(0, len(events), LIMITS.batch_rows_max):
        pipeline.apply(words(events[first : first + LIMITS.batch_rows_max]))


def replay_all(folder: Path) -> None:
    """Replays; every decision must come out the same."""
    report = replay(folder)
    assert report.difference_count == report.foreign_count == 0, "a decision came out otherwise"


def ask_stricter(folder: Path) -> int:
    """Replays by stricter thresholds; returns how many verdicts change."""
    policy = load_file(DEFAULTS / "policy.yaml")
    policy.data["model"]["mode"] = "live"
    policy.data["thresholds"] = {"default": {"review": 0.02, "decline": 0.5}}
    return WhatIf(folder, Replacement(policy=policy)).run().comparison.changed_count


def timed(function: Callable[[], object]) -> tuple[float, float]:
    """Returns CPU and wall seconds."""
    wall_s, cpu_s = time.perf_counter(), time.process_time()
    function()
    return time.process_time() - cpu_s, time.perf_counter() - wall_s


def measure(folder: Path, configuration: Configuration, events: Array, *, runs: int) -> dict[str, Any]:
    """Runs everything interleaved; returns figures."""
    parts: dict[str, Callable[[], object]] = {
        "pipeline": lambda: apply_all(configuration, events),
        "replay": lambda: replay_all(folder),
        "whatif": lambda: ask_stricter(folder),
        "find": lambda: find_by_sequence(folder, len(events)),
    }
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in parts}
    for _ in track(range(runs), description="measuring", transient=True):
        for name, part in parts.items():
            seconds[name].append(timed(part))
    rates = {name: [len(events) / cpu_s for cpu_s, _ in pairs] for name, pairs in seconds.items()}
    return {
        **{f"{name}_events_per_s": round(float(np.median(values))) for name, values in rates.items()},
        "replay_wall_events_per_s": round(float(np.median([len(events) / wall_s for _, wall_s in seconds["replay"]]))),
        "whatif_ratio": float(np.median(np.array(rates["whatif"]) / np.array(rates["replay"]))),
        "ratio": float(np.median(np.array(rates["replay"]) / np.array(rates["pipeline"]))),
    }


def main() -> None:
    """Runs and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="few events, few trees")
    parser.add_argument("--out", type=Path, help="append the JSON line to this file")
    options = parser.parse_args()
    size = {"people": 300, "days": 25, "rounds": 40} if options.smoke else {"people": 6_000, "days": 35, "rounds": 300}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        configuration, events = prepare(folder, load_settings(DEFAULTS / "server.yaml"), **size)
        write_journal(folder / "data", configuration, events)
        results = measure(folder / "data", configuration, events, runs=1 if options.smoke else 3)
        results["changed"] = ask_stricter(folder / "data")
    table = Table("figure", "value", title=f"replay, {len(events):,} events, one core")
    for key, value in results.items():
        table.add_row(key, f"{value:,.3f}" if isinstance(value, float) else f"{value:,}")
    Console().print(table)
    if not options.smoke or options.out:
        record("replay", parameters={**size, "events": len(events)}, results=results, path=options.out)


if __name__ == "__main__":
    main()
