"""How many payments a second get their 144 velocity features, and what is that against DuckDB, Polars and Redis?

6 entities x 6 windows x (count, sum and mean of the amount, count of the declined), compiled and folded by the product's own
code in batches of 1,024 and of 64, on one core, all answers computed. Payments are drawn: the keys of each entity type by Zipf's
law with exponent 1.1 over a million, 5 million payments in 45 days, 1 % of them late by up to an hour. Every page of the state
is written before, so that no fold waits for the system to find memory (`benchmarks.memory` measures that).

Prediction: an event touches 6 heads and 6 curves, some 40 cache lines that are rarely in a cache (3 µs), and makes 72 binary
searches in rows that then are (1.5 µs), 0.5 µs for what it is by itself: 5 µs. Budget: 200,000 events/s on one core; 8 times
DuckDB's window functions, 12 times Polars' rolling_*_by, 100 times Redis' sorted sets.

Peers answer for the first payments of the same stream, each for as many as it manages in a minute, without the late ones,
which they cannot take; all on one thread, Redis with a second core for its server. Their answers must be ours: counts and sums
equal, means to 1e-9, and within the promised bounds where an entity has outgrown its rows. Each is asked in two ways: as it
is usually written, which the budget is about, and in another that was found to be faster, which is told beside it. Ratios are
of the processor's time, so that other programs on the machine do not move them (by the clock for Redis, of which two processes
share the work); `ratio` is ours in batches of 1,024, late payments included, against DuckDB's RANGE BETWEEN INTERVAL.

The last part folds a simulated history under the starter's velocity stage, distincts included; `velocity.starter` says exactly
what is in it. Budget: 9 µs an event in batches of 64, 20 µs one by one.
"""

import argparse
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.progress import Progress, TaskID
from rich.table import Table

from benchmarks.record import record
from benchmarks.velocity import duckdb_peer, polars_peer, redis_peer, starter
from benchmarks.velocity.checking import check
from benchmarks.velocity.folding import Took, answers, configure, fold, open_pipeline
from benchmarks.velocity.workload import (
    LATE_SHARE,
    LATENESS_S,
    SPAN_DAYS,
    ZIPF_EXPONENT,
    Payments,
    feature_names,
    features_yaml,
    make_payments,
)
from riskengine.engine.configuration import Configuration
from riskengine.limits import EngineLimits
from riskengine.tables.layout import (
    COUNTER_ARENA_REFUSED,
    COUNTER_LATE_DROPPED,
    TYPE_EVICTED_COLD,
    TYPE_EVICTED_IDLE,
)
from riskengine.yamlfile import load_yaml

BATCHES: Final = (1_024, 64)
CHUNK_ROWS: Final = 1 << 16
"""Rows of events made at once, outside the clock."""
console = Console()


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much is measured.

    Attributes:
        events: Payments that the engine folds.
        entities: Of each type.
        peers: Payments that each peer answers for, by the package it needs.
        people, days: Of the history for the starter.
        runs: Rounds of all, in turns.
        arena_mib: Of the engine.
    """

    events: int
    entities: int
    peers: dict[str, int]
    people: int
    days: int
    runs: int
    arena_mib: int


SMOKE: Final = Size(
    events=40_000,
    entities=20_000,
    peers={"duckdb": 10_000, "polars": 3_000, "redis": 500},
    people=100,
    days=25,
    runs=3,
    arena_mib=64,
)
REAL: Final = Size(
    events=5_000_000,
    entities=1_000_000,
    peers={"duckdb": 200_000, "polars": 100_000, "redis": 10_000},
    people=6_000,
    days=35,
    runs=3,
    arena_mib=2_048,
)

Answer = Callable[[Payments], tuple[Took, npt.NDArray[np.float64]]]


def peers() -> tuple[dict[tuple[str, str], Answer], dict[str, str]]:
    """Returns who can be asked here, by package and way; and who cannot, with the reason."""
    absent = {
        "duckdb": "" if importlib.util.find_spec("duckdb") else "the Python package duckdb is not installed",
        "polars": "" if importlib.util.find_spec("polars") else "the Python package polars is not installed",
        "redis": redis_peer.absent(),
    }
    ways: dict[tuple[str, str], Answer] = {
        **{("duckdb", way): partial(duckdb_peer.answer, frame=way) for way in duckdb_peer.FRAMES},
        **{("polars", way): partial(polars_peer.answer, way=way) for way in polars_peer.WAYS},
        **{("redis", way): partial(redis_peer.answer, way=way) for way in redis_peer.WAYS},
    }
    left_out = {name: reason for name, reason in absent.items() if reason}
    return {key: ask for key, ask in ways.items() if key[0] not in left_out}, left_out


def fold_all(configuration: Configuration, payments: Payments, *, size: int, advance: Callable[[int], None]) -> Took:
    """Folds all payments from an empty state; returns what an event took, microseconds."""
    pipeline = open_pipeline(configuration)
    took = Took()
    for first in range(0, len(payments), CHUNK_ROWS):
        rows = payments.part(slice(first, first + CHUNK_ROWS)).rows()
        took += fold(pipeline, rows, size=size)
        advance(len(rows))
    store = pipeline.state.store
    assert store.counters[COUNTER_LATE_DROPPED] == 0, "a late payment was not folded"
    assert store.counters[COUNTER_ARENA_REFUSED] == 0, "the arena is too small to measure the fold"
    assert not store.types[:, [TYPE_EVICTED_COLD, TYPE_EVICTED_IDLE]].any(), "entities were forgotten"
    return took.us(len(payments))


def measure(size: Size, progress: Progress, task: TaskID) -> dict[str, Any]:
    """Measures ours and the peers in turns, and checks that they say the same."""
    limits = EngineLimits(
        entities_max=size.entities, arena_mib=size.arena_mib, recent_decisions_max=200_000, lateness_max_s=LATENESS_S
    )
    configuration = configure(load_yaml(features_yaml(), name="features.yaml"), limits)
    columns = [configuration.features.names.index(name) for name in feature_names()]
    payments = make_payments(size.events, entities=size.entities)
    asked, left_out = peers()
    for name, reason in left_out.items():
        progress.console.print(f"left out: {name}: {reason}", style="yellow")
    ordered = payments.in_order(max([size.peers[name] for name, _ in asked], default=0))
    told = answers(open_pipeline(configuration), ordered.rows(), columns, size=64)
    ours: dict[int, list[Took]] = {batch: [] for batch in BATCHES}
    theirs: dict[tuple[str, str], list[Took]] = {key: [] for key in asked}
    exact = {}
    for _ in range(size.runs):
        for batch in BATCHES:
            ours[batch].append(
                fold_all(configuration, payments, size=batch, advance=lambda done: progress.advance(task, done))
            )
        for (name, way), ask in asked.items():
            progress.update(task, description=f"{name}, {way}")
            part = ordered.part(slice(0, size.peers[name]))
            took, found = ask(part)
            exact[name] = check(told[: len(part)], found, part, peer=f"{name}, {way}")
            theirs[name, way].append(took.us(len(part)))
        progress.update(task, description="engine")
    return _figures(ours, theirs, exact) | {"left_out": left_out}


def _figures(
    ours: dict[int, list[Took]], theirs: dict[tuple[str, str], list[Took]], exact: dict[str, float]
) -> dict[str, Any]:
    """Sums up the rounds: medians by the clock, and the median of the ratios within a round by the processor's time."""
    figures: dict[str, Any] = {
        f"events_per_s_{batch}": 1e6 / float(np.median([each.wall_s for each in us])) for batch, us in ours.items()
    }
    for (name, way), us in theirs.items():
        figures[f"{name}_{way}_us"] = float(np.median([each.wall_s for each in us]))
        clock = "wall_s" if name == "redis" else "used_s"
        ratios = [getattr(their, clock) / getattr(our, clock) for their, our in zip(us, ours[BATCHES[0]], strict=True)]
        figures[f"times_{name}_{way}"] = float(np.median(ratios))
    figures |= {f"{name}_answers_equal_share": share for name, share in exact.items()}
    if "times_duckdb_interval" in figures:
        figures["ratio"] = figures["times_duckdb_interval"]
    return figures


def main() -> None:
    """Runs and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="few payments")
    parser.add_argument("--out", type=Path, help="append the JSON line to this file")
    parser.add_argument("--events", type=int, help="payments to fold, for a trial between the two sizes")
    options = parser.parse_args()
    size = SMOKE if options.smoke else REAL
    events = options.events or size.events
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("engine", total=events * len(BATCHES) * size.runs)
        results = measure(replace(size, events=events), progress, task)
        progress.update(task, description="the starter's velocity")
        history = starter.simulated_events(people=size.people, days=size.days)
        stages = [starter.measure(history) for _ in range(size.runs)]
    results |= {name: float(np.median([stage[name] for stage in stages])) for name in stages[0]}
    table = Table("figure", "value", title=f"velocity, {events:,} payments, {len(history):,} events of the starter")
    for key, value in results.items():
        table.add_row(key, f"{value:,.2f}" if isinstance(value, float) else str(value))
    console.print(table)
    parameters = {
        "events": events,
        "entities": size.entities,
        "zipf_exponent": ZIPF_EXPONENT,
        "span_days": SPAN_DAYS,
        "late_share": LATE_SHARE,
        "peers": size.peers,
        "starter_events": len(history),
        "runs": size.runs,
    }
    if (not options.smoke and not options.events) or (options.out and "ratio" in results):
        record("velocity", parameters=parameters, results=results, path=options.out)


if __name__ == "__main__":
    main()
