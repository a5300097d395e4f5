"""What does a snapshot, while it is being written, cost the calls that are answered meanwhile?

Prediction: the follower is niced and writes 64 MiB a second, so the engine's syncs wait a little for the same disk, and the two
processes for the same cores: 10 % of the p99. Budget: 20 %.

The real server with its follower, on a journal that holds a simulated history, so that a snapshot has some hundred MiB; payments
come at a fixed rate that is a tenth of what the server can, each timed from when it was due. A snapshot is due again and again;
a call belongs to it where one was being written while the call was under way. `ratio` is the p99 between snapshots to the
p99 during them: in the same run, from the same calls.
"""

import argparse
import asyncio
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.engine import COMMIT_ROWS, DEFAULTS, prepare
from benchmarks.load.bodies import payments
from benchmarks.load.workspace import make_workspace
from benchmarks.record import record
from benchmarks.recovery import take_snapshot
from riskengine.engine.configuration import load_configuration
from riskengine.engine.engine import Engine
from riskengine.engine.snapshot import snapshot_paths
from riskengine.server.app import run_loop
from riskengine.server.client import SERVICE, RiskClient, aio_channel
from riskengine.server.supervisor import Supervisor
from riskengine.settings import load_settings
from riskengine.types import Array
from riskengine.wire.pseudonyms import Pseudonyms, TagKey

LOOK_S = 0.005
WARM_S = 3.0


def fill(folder: Path, events: Array) -> None:
    """Commits a history under the configuration of a folder."""
    settings = load_settings(folder / "server.yaml")
    limits = settings.limits.engine_limits()
    configuration = load_configuration(
        folder,
        limits=limits,
        base_currency=settings.base_currency,
        model_dir=settings.model_dir,
        tag=Pseudonyms(TagKey.load(settings.tag_key_file)).tag,
    )
    engine = Engine.open(settings.data_dir, configuration, limits=limits)
    for first in range(0, len(events), COMMIT_ROWS):
        engine.commit(events[first : first + COMMIT_ROWS].copy())
    engine.close()


async def call_steadily(address: str, *, first: int, calls_per_s: float, seconds: float) -> np.ndarray:
    """Calls at a fixed rate; returns float64[n, 2]: when each call was due and when its answer came, seconds."""
    channel = aio_channel(address)
    call: Any = channel.unary_unary(f"/{SERVICE}/ScoreTransaction")
    bodies = payments(first=first)
    times: list[tuple[float, float]] = []
    tasks: list[asyncio.Task[None]] = []

    async def one(due_s: float) -> None:
        await call(next(bodies), timeout=10)
        times.append((due_s, time.perf_counter()))

    began_s = time.perf_counter()
    for number in range(int(calls_per_s * seconds)):
        due_s = began_s + number / calls_per_s
        await asyncio.sleep(max(0.0, due_s - time.perf_counter()))
        tasks.append(asyncio.create_task(one(due_s)))
    await asyncio.gather(*tasks)
    await channel.close()
    return np.array(times)


def watch(folder: Path, done: threading.Event, seen: list[tuple[float, bool]]) -> None:
    """Notes, again and again, whether a snapshot is being written."""
    while not done.wait(LOOK_S):
        seen.append((time.perf_counter(), any(folder.glob("*.tmp"))))


def during(calls: np.ndarray, seen: list[tuple[float, bool]]) -> np.ndarray:
    """Returns bool[n]: whether a snapshot was being written at some look while the call was under way, or just before."""
    looks = np.array([at_s for at_s, _ in seen])
    written = np.concatenate([[0], np.cumsum([busy for _, busy in seen])])
    first = np.maximum(np.searchsorted(looks, calls[:, 0]) - 1, 0)
    return written[np.searchsorted(looks, calls[:, 1])] > written[first]


def measure(folder: Path, *, calls_per_s: float, seconds: float) -> dict[str, Any]:
    """Serves and calls."""
    calls: list[np.ndarray] = []
    seen: list[tuple[float, bool]] = []
    snapshots = folder / "data" / "snapshots"
    supervisor = Supervisor(folder)
    supervisor.start()
    stop = threading.Event()
    watchers = [
        threading.Thread(target=supervisor.run, args=(stop.is_set,)),
        threading.Thread(target=watch, args=(snapshots, stop, seen)),
    ]
    for watcher in watchers:
        watcher.start()
    try:
        with RiskClient(supervisor.address) as client:
            client.wait_serving(20)

        async def run() -> None:
            for first, length_s in ((1, WARM_S), (1_000_000, seconds)):
                load = call_steadily(supervisor.address, first=first, calls_per_s=calls_per_s, seconds=length_s)
                calls.append(await load)

        run_loop(run())
    finally:
        stop.set()
        for watcher in watchers:
            watcher.join()
        supervisor.stop()
    times = calls[-1]
    busy = during(times, seen)
    latency_ms = (times[:, 1] - times[:, 0]) * 1000
    between, meanwhile = latency_ms[~busy], latency_ms[busy]
    assert len(between), "there was always a snapshot under way"
    assert len(meanwhile), "no snapshot was written meanwhile"
    p99 = {name: float(np.percentile(part, 99)) for name, part in (("between", between), ("during", meanwhile))}
    return {
        "p99_ms_between": p99["between"],
        "p99_ms_during": p99["during"],
        "p50_ms_between": float(np.median(between)),
        "p50_ms_during": float(np.median(meanwhile)),
        "ratio": p99["between"] / p99["during"],
        "calls_between": len(between),
        "calls_during": len(meanwhile),
        "snapshot_mib": max(path.stat().st_size for path in snapshot_paths(folder / "data")) / (1 << 20),
    }


def main() -> None:
    """Runs and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="few events, a few seconds")
    parser.add_argument("--out", type=Path, help="append the JSON line to this file")
    options = parser.parse_args()
    history = {"people": 300, "days": 25, "rounds": 5} if options.smoke else {"people": 6_000, "days": 35, "rounds": 5}
    load = {"calls_per_s": 250.0, "seconds": 4.0} if options.smoke else {"calls_per_s": 250.0, "seconds": 90.0}
    every_events = 300 if options.smoke else 3_000
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "config"
        make_workspace(folder, trees=20 if options.smoke else 300, depth=6, seed=1)
        with (folder / "server.yaml").open("a") as file:
            file.write(f"snapshots: {{every_events: {every_events}}}\nretention: {{journal_days: 3650}}\n")
        _, events = prepare(Path(name), load_settings(DEFAULTS / "server.yaml"), **history)
        fill(folder, events)
        take_snapshot(folder / "data", every_events=len(events))  # The follower goes on from there.
        results = measure(folder, **load)
    table = Table("figure", "value", title=f"snapshots under load, {len(events):,} events before")
    for key, value in results.items():
        table.add_row(key, f"{value:,.3f}" if isinstance(value, float) else f"{value:,}")
    Console().print(table)
    if not options.smoke or options.out:
        parameters = {**history, **load, "every_events": every_events, "events": len(events)}
        record("snapshots", parameters=parameters, results=results, path=options.out)


if __name__ == "__main__":
    main()
