"""How much of an empty grpc.aio echo's throughput is left when every call is scored by the whole engine and made durable?

Prediction: the echo costs about 100 us of CPU a call, the front another 60 us (parse 1, tags 8, door 12, link 4, reply
6, futures and event loop the rest), the engine 40 us, half of it the sync it waits for. With the load generator on the
same two cores that is 0.6 of the echo. Budget: 0.55 now, 0.70 later (`RATIO_BAR`, `RATIO_BAR_LATER`); the gap to both is told.

Echo and server run side by side all the time and are pressed in turns (h2load, 64 calls in flight on 8 connections,
then 1 caller); the ratio is the median of the rounds' ratios. Each call of the server scores a payment of its own
(`front`); the engine's own count is compared with the number of calls. Then the unchanged server starts on the same
journal and a client of our own looks at every verdict. Run as ``python -m benchmarks.load``; called by `make bench`.
"""

import argparse
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

import psutil
from rich.console import Console
from rich.table import Table

from benchmarks.record import record
from riskengine.engine.link import FRONT_FRAME_BYTES_MAX, TO_FRONT, FrameReader, read_document
from riskengine.engine.sockets import connect
from riskengine.server.client import RiskClient
from riskengine.server.supervisor import Supervisor
from riskengine.settings import load_settings
from riskengine.v1 import risk_service_pb2 as service

from . import against_bars, bodies, parts, pressure, verdicts, workspace

ROOT: Final = Path(__file__).resolve().parents[2]
ENGINE_PARTS: Final = {
    "fold": "velocity + linkage",
    "model": "model",
    "policy": "policy",
    "frame": "frame",
    "sync": "sync",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """What is measured."""

    trees: int
    depth: int = 6
    rounds: int
    calls_64: int
    """Calls of a run with 64 in flight."""
    calls_1: int
    """Calls of a run with one caller."""
    checked_calls: int
    """Calls whose verdicts are looked at."""
    part_calls: int
    seed: int = 1


REAL: Final = Size(trees=300, rounds=7, calls_64=16_000, calls_1=1_500, checked_calls=10_000, part_calls=3_000)
SMOKE: Final = Size(trees=20, rounds=1, calls_64=600, calls_1=60, checked_calls=200, part_calls=100)


def main() -> int:
    """Measures, prints, and appends a line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.load", description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="at the smallest size, only to see that it works")
    parser.add_argument("--out", type=Path, help="file to append the line to; default: benchmarks/results/load.jsonl")
    options = parser.parse_args()
    size = SMOKE if options.smoke else REAL
    console = Console()
    if not pressure.available():
        console.print("h2load is not installed (apt install nghttp2-client): only verdicts are checked")
    with tempfile.TemporaryDirectory() as folder:
        config_dir = Path(folder) / "config"
        workspace.make_workspace(config_dir, trees=size.trees, depth=size.depth, seed=size.seed)
        results: dict[str, Any] = {}
        if pressure.available():
            results |= measure(config_dir, size, console)
        results |= check(config_dir, size)
    show(console, results)
    if (not options.smoke or options.out) and pressure.available():
        record("load", parameters=asdict(size), results=results, path=options.out)
    return 0


def measure(config_dir: Path, size: Size, console: Console) -> dict[str, Any]:
    """Presses echo and server in turns."""
    with watched(config_dir, "benchmarks.load.front") as supervisor:
        with RiskClient(supervisor.address) as client:
            client.wait_serving(10)
            reply = client.service.ScoreTransaction(bodies.payment(0), timeout=10)
        with echo(reply.SerializeToString()) as (echo_port, echo_pid):
            server_port = int(supervisor.address.rpartition(":")[2])
            pids = {"front": supervisor.pid_of("front"), "engine": supervisor.pid_of("engine"), "echo": echo_pid}
            body = next(bodies.payments())
            rounds = []
            for port in (echo_port, server_port):
                pressure.press(port, body, calls=size.calls_64 // 4, connections=8, streams=8)
            for index in range(size.rounds):
                rounds.append(_round(config_dir, size, body, echo_port, server_port, pids, reverse=index % 2 == 1))
                console.print(
                    f"round {index + 1} of {size.rounds}: server {rounds[-1]['server_64'].calls_per_s:,.0f} calls/s, "
                    f"echo {rounds[-1]['echo_64'].calls_per_s:,.0f}, load {os.getloadavg()[0]:.1f}"
                )
    return _summary(rounds)


def _round(
    config_dir: Path,
    size: Size,
    body: bytes,
    echo_port: int,
    server_port: int,
    pids: dict[str, int],
    *,
    reverse: bool,
) -> dict[str, Any]:
    """Runs both opponents at 64 in flight, then with one caller."""
    result: dict[str, Any] = {}
    opponents = [("echo", echo_port), ("server", server_port)]
    for name, port in reversed(opponents) if reverse else opponents:
        before, cpu = hello(config_dir)["counters"], {name: _cpu_us(pid) for name, pid in pids.items()}
        result[f"{name}_64"] = pressure.press(port, body, calls=size.calls_64, connections=8, streams=8)
        after = hello(config_dir)["counters"]
        result[f"{name}_cpu_us"] = {of: (_cpu_us(pid) - cpu[of]) / size.calls_64 for of, pid in pids.items()}
        if name == "server":
            assert after["rows"] - before["rows"] == size.calls_64, "every call was decided, each once"
            result["engine"] = {key: after[key] - before[key] for key in after}
    for name, port in reversed(opponents) if reverse else opponents:
        result[f"{name}_1"] = pressure.press(port, body, calls=size.calls_1, connections=1, streams=1)
    return result


def _summary(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """Takes medians over the rounds."""
    ratios = [one["server_64"].calls_per_s / one["echo_64"].calls_per_s for one in rounds]
    summary: dict[str, Any] = {"ratio": median(ratios), "ratio_min": min(ratios), "ratio_max": max(ratios)}
    for name in ("server", "echo"):
        summary[f"{name}_calls_per_s"] = median(one[f"{name}_64"].calls_per_s for one in rounds)
        for callers in (1, 64):
            for field in ("p50_ms", "p99_ms"):
                summary[f"{name}_{field}_{callers}"] = median(
                    getattr(one[f"{name}_{callers}"], field) for one in rounds
                )
    summary["front_cpu_us"] = median(one["server_cpu_us"]["front"] for one in rounds)
    summary["engine_cpu_us"] = median(one["server_cpu_us"]["engine"] for one in rounds)
    summary["echo_cpu_us"] = median(one["echo_cpu_us"]["echo"] for one in rounds)
    summary["frame_share"] = median(
        one["engine"]["frame_ns"] / sum(one["engine"][f"{part}_ns"] for part in ENGINE_PARTS) for one in rounds
    )
    summary["group_rows"] = median(one["engine"]["rows"] / one["engine"]["batches"] for one in rounds)
    for part in ENGINE_PARTS:
        summary[f"{part}_us"] = median(one["engine"][f"{part}_ns"] / one["engine"]["rows"] / 1000 for one in rounds)
    return summary


def check(config_dir: Path, size: Size) -> dict[str, Any]:
    """Starts the unchanged server on the same journal and on none, looks at verdicts, measures the front's parts."""
    with watched(config_dir, "riskengine.server.app") as supervisor:
        before = hello(config_dir)["counters"]["rows"]
        checked = verdicts.check_verdicts(supervisor.address, calls=size.checked_calls, in_flight=64)
        document = hello(config_dir)
        assert document["counters"]["rows"] - before == size.checked_calls, "repeats are not counted"
        row = decision_row(config_dir, supervisor.address)
    settings = load_settings(config_dir / "server.yaml")
    costs = parts.measure_parts(settings, document["catalog"], row, calls=size.part_calls)
    shutil.rmtree(settings.data_dir)
    with watched(config_dir, "riskengine.server.app") as anew:
        pass
    return {
        "ready_s": anew.ready_after_s,
        "ready_after_load_s": supervisor.ready_after_s,
        "client_calls_per_s": checked.calls_per_s,
        "verdicts": checked.verdicts,
        **{f"{name}_us": cost for name, cost in costs.items()},
    }


def decision_row(config_dir: Path, address: str) -> bytes:
    """Returns the DECISION row of one more payment, as the engine keeps it."""
    from riskengine.engine.link import HEADER_BYTES, FrameKind, write_header

    with RiskClient(address) as client:
        request: service.ScoreTransactionRequest = bodies.payment(800_000_000_000)
        name = client.service.ScoreTransaction(request, timeout=10).decision.name.removeprefix("decisions/")
    body = b"".join(int(part, 16).to_bytes(8, "little") for part in (name[:16], name[16:]))
    frame = bytearray(HEADER_BYTES) + body
    write_header(frame, 0, kind=FrameKind.GET, row_count=1, body_size=len(body), number=1)
    reader = FrameReader(kinds=TO_FRONT, frame_bytes_max=FRONT_FRAME_BYTES_MAX)
    with connect(config_dir / "data") as connection:
        connection.setblocking(True)
        connection.sendall(frame)
        while True:
            while (header := reader.next_frame()) is None:
                reader.receive(connection)
            if header.kind is FrameKind.REPLIES:
                return bytes(reader.body()[8:])
            reader.consume()


def hello(config_dir: Path) -> dict[str, Any]:
    """Asks the engine for its counters and names, as a front does when it connects."""
    reader = FrameReader(kinds=TO_FRONT, frame_bytes_max=FRONT_FRAME_BYTES_MAX)
    with connect(config_dir / "data") as connection:
        connection.setblocking(True)
        while reader.next_frame() is None:
            reader.receive(connection)
        return read_document(reader.body())


@contextlib.contextmanager
def watched(config_dir: Path, front_module: str) -> Iterator[Supervisor]:
    """Runs a server; its supervisor watches in a thread."""
    supervisor = Supervisor(config_dir, front_module=front_module, follower=False)
    supervisor.start()
    done = threading.Event()
    watcher = threading.Thread(target=supervisor.run, args=(done.is_set,))
    watcher.start()
    try:
        yield supervisor
    finally:
        done.set()
        watcher.join()
        supervisor.stop()


@contextlib.contextmanager
def echo(reply: bytes) -> Iterator[tuple[int, int]]:
    """Runs the echo; yields its port and process id."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(reply)
        file.flush()
        command = [sys.executable, "-m", "benchmarks.load.echo", file.name]
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}
        )
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline()), process.pid
        finally:
            process.communicate()


def _cpu_us(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return (times.user + times.system) * 1e6


def show(console: Console, results: dict[str, Any]) -> None:
    """Prints the tables."""
    if "ratio" in results:
        table = Table("", "calls/s, 64 in flight", "p50 / p99 ms, 64", "p50 / p99 ms, 1 caller", "CPU us a call")
        for name, cpu in (("echo", "{echo_cpu_us:.0f}"), ("server", "{front_cpu_us:.0f} + {engine_cpu_us:.0f}")):
            latencies = [
                f"{results[f'{name}_p50_ms_{callers}']:.2f} / {results[f'{name}_p99_ms_{callers}']:.2f}"
                for callers in (64, 1)
            ]
            table.add_row(name, f"{results[f'{name}_calls_per_s']:,.0f}", *latencies, cpu.format(**results))
        console.print(table)
        console.print(
            f"ratio {results['ratio']:.2f} ({results['ratio_min']:.2f} to {results['ratio_max']:.2f}): "
            f"{against_bars(results['ratio'])}; {results['group_rows']:.1f} rows a commit"
        )
        costs = ", ".join(f"{label} {results[f'{part}_us']:.1f}" for part, label in ENGINE_PARTS.items())
        console.print(f"engine, us a row: {costs}; the frame is {results['frame_share']:.0%} of it")
    costs = ", ".join(f"{name} {results[f'{name}_us']:.1f}" for name in ("parse", "tags", "validate", "link", "reply"))
    console.print(f"front, us a call, each alone: {costs}")
    counts = ", ".join(f"{count:,} {name}" for name, count in sorted(results["verdicts"].items()))
    console.print(
        f"verdicts checked: {counts}; {results['client_calls_per_s']:,.0f} calls/s; ready in {results['ready_s']:.1f} s"
    )


if __name__ == "__main__":
    sys.exit(main())
