"""Writes the benchmark tables of the README from benchmarks/results/*.jsonl; nobody edits a figure by hand.

INVARIANTS: only what stands between the markers changes; a line measured on a tree that differed from its commit is passed
over, since nobody could measure it again. `--check` changes nothing and fails when the README is not current.
Called by `make tables` and `make lint`.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any, Final

from benchmarks.load import against_bars

ROOT: Final = Path(__file__).resolve().parent.parent
RESULTS: Final = ROOT / "benchmarks" / "results"
BEGIN: Final = "<!-- figures: written by `make tables` from benchmarks/results -->"
END: Final = "<!-- end of figures -->"
DIRTY: Final = "-dirty"

# Benchmark, figure, words, format. Only what the newest line of a benchmark holds is shown.
ROWS: Final = (
    ("load", "ratio", "whole server against an empty gRPC echo, calls/s", "{:.2f} of it"),
    (
        "load",
        "server_calls_per_s",
        "durable decisions a second, one front, load generator on the same 2 cores",
        "{:,.0f}",
    ),
    ("load", "echo_calls_per_s", "the empty echo in the same runs", "{:,.0f}"),
    ("load", "server_p50_ms_1", "latency with 1 caller, median", "{:.2f} ms"),
    ("load", "server_p99_ms_1", "latency with 1 caller, 99th percentile", "{:.2f} ms"),
    ("load", "server_p50_ms_64", "latency with 64 in flight, median", "{:.1f} ms"),
    ("load", "server_p99_ms_64", "latency with 64 in flight, 99th percentile", "{:.1f} ms"),
    ("load", "front_cpu_us", "CPU of the front, one call", "{:.0f} µs"),
    ("load", "engine_cpu_us", "CPU of the engine, one call", "{:.0f} µs"),
    ("load", "frame_share", "share of the engine's time under load that commits cost beside their sync", "{:.0%}"),
    ("load", "ready_s", "`serve` ready, kernels cached", "{:.1f} s"),
    ("load", "ready_after_load_s", "… with the load's 130,000 events to fold", "{:.1f} s"),
    ("engine", "durable_events_per_s", "events folded, scored and made durable on one core", "{:,.0f}/s"),
    ("engine", "fold_only_events_per_s", "events folded on one core", "{:,.0f}/s"),
    (
        "velocity",
        "events_per_s_1024",
        "payments given 144 velocity features, Zipf keys, in batches of 1,024, one core",
        "{:,.0f}/s",
    ),
    ("velocity", "events_per_s_64", "… in batches of 64", "{:,.0f}/s"),
    ("velocity", "times_duckdb_interval", "… against DuckDB's window functions on one thread", "{:.1f} times as fast"),
    ("velocity", "times_polars_rolling_by", "… against Polars' `rolling_sum_by`, one thread", "{:.1f} times as fast"),
    (
        "velocity",
        "times_polars_rolling_expression",
        "… against its `rolling` expressions, a whole table at once",
        "{:.1f} times as fast",
    ),
    ("velocity", "times_redis_scan", "… against Redis, sorted sets read by a script", "{:.0f} times as fast"),
    ("velocity", "times_redis_cumulative", "… against Redis with cumulative sums in them", "{:.0f} times as fast"),
    (
        "velocity",
        "starter_us_64",
        "the starter's whole velocity stage, distincts included, in batches of 64",
        "{:.1f} µs",
    ),
    ("velocity", "starter_us_1", "… one by one", "{:.1f} µs"),
    ("memory", "plain_card.20.all", "a card with 20 events and 8 measures", "{:,.0f} B"),
    ("memory", "starter_card.20.all", "… under the starter's features", "{:,.0f} B"),
    ("memory", "starter_card.100000.all", "… with 100,000 events in 30 days", "{:,.0f} B"),
    (
        "memory",
        "filling.fresh_p999_us",
        "batches of one while every table fills from empty to its cap, 99.9th percentile",
        "{:.0f} µs",
    ),
    ("memory", "filling.fresh_max_ms", "… the slowest", "{:.1f} ms"),
    ("memory", "filling.fresh_max_cpu_ms", "… the slowest, of the processor's time", "{:.1f} ms"),
    ("replay", "replay_events_per_s", "journaled decisions taken again, every bit compared, on one core", "{:,.0f}/s"),
    ("recovery", "recovery_events_per_s", "events folded by a restart without a snapshot", "{:,.0f}/s"),
    ("recovery", "open_with_snapshot_s", "… a restart after 280,000 events, with a snapshot", "{:.1f} s"),
    ("snapshots", "p99_ms_between", "99th percentile at 250 calls/s, old snapshots being removed", "{:.1f} ms"),
    ("snapshots", "p99_ms_during", "… while a new one is being written", "{:.1f} ms"),
    ("journal", "payment_1.bytes_per_event", "an event and its decision in the journal, committed alone", "{:.0f} B"),
    ("journal", "payment_64.bytes_per_event", "… in groups of 64", "{:.0f} B"),
    ("forest", "kernel_one_row_us", "one row through 300 trees of depth 6", "{:.1f} µs"),
    ("forest", "ratio", "… against xgboost's inplace_predict, same bits", "{:.0f} times faster"),
    ("simulate", "million_events_s", "a million simulated events, written as Parquet", "{:.0f} s"),
    ("handbook", "import_s", "the handbook's payments imported", "{:.0f} s"),
    ("handbook", "replay_events_per_s", "their decisions taken again and compared bit for bit", "{:,.0f}/s"),
    ("handbook", "replay_differences", "… decisions that differ", "{:,.0f}"),
    (
        "aws_samples",
        "average_precision_starter",
        "average precision on registrations of which 1 in 20 is fraud",
        "{:.2f}",
    ),
    ("aws_samples", "average_precision_starter_alone", "… without distinct counts and linkage", "{:.2f}"),
    (
        "aws_samples",
        "average_precision_more",
        "… with the past of IP and e-mail, features chosen in view of the rows that judge",
        "{:.2f}",
    ),
)


def newest(name: str, results: Path = RESULTS) -> dict[str, Any] | None:
    """Returns the last line of a benchmark's results that a commit can answer for, None if there is none.

    Args:
        name: Of the benchmark.
        results: The folder of all results.
    """
    path = results / f"{name}.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    measured = [json.loads(line) for line in lines]
    clean = [line for line in measured if line["commit"] and not line["commit"].endswith(DIRTY)]
    return clean[-1] if clean else None


def render(results: Path = RESULTS) -> str:
    """Returns the table with the machine and the commits it was measured on."""
    lines = ["| what | measured | command |", "|---|---|---|"]
    machines, commits = set(), set()
    for name, figure, words, form in ROWS:
        line = newest(name, results)
        value: Any = line and _figure(line["results"], figure)
        if line is None or value is None:
            continue
        told = form.format(value) + (f"; {against_bars(value)}" if (name, figure) == ("load", "ratio") else "")
        lines.append(f"| {words} | {told} | `benchmarks.{name}` |")
        machine = line["machine"]
        family = machine["system"].split()[0]  # No more: a kernel's name says where somebody works.
        machines.add(f"{family}, {machine['cores']} cores of {machine['cpu']}, {machine['memory_gib']:.0f} GiB")
        commits.add(str(line["commit"]))
    measured_on = f"Machine: {'; '.join(sorted(machines))}. Commits: {', '.join(sorted(commits))}."
    return "\n".join([*lines, "", f"{measured_on} Medians of interleaved runs."])


def _figure(results: dict[str, Any], path: str) -> Any:
    """Returns a figure by its name, or by the dotted names of what it is part of; None where there is none."""
    value: Any = results
    for name in path.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value


def main() -> int:
    """Rewrites the README, or checks it; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.tables", description=__doc__)
    parser.add_argument("--check", action="store_true", help="fail when the README is not current")
    options = parser.parse_args()
    readme = ROOT / "README.md"
    text = readme.read_text(encoding="utf-8")
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    wanted = f"{head}{BEGIN}\n{render()}\n{END}{tail}"
    if text == wanted:
        return 0
    if options.check:
        sys.stderr.write("README.md: the figures are not those of benchmarks/results; run `make tables`\n")
        return 1
    readme.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
