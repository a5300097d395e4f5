"""Appends a benchmark's figures to its results: one JSON line with all that is needed to read them later.

INVARIANT: a line says what ran (commit, versions, parameters), where (machine) and what came out (results); nothing in it
is written by hand. Called by the benchmarks; run by itself it prints the machine and the versions.
"""

import importlib.metadata
import json
import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
RESULTS: Final = ROOT / "benchmarks" / "results"
PACKAGES: Final = (
    "numpy",
    "numba",
    "xgboost-cpu",
    "grpcio",
    "protobuf",
    "uvloop",
    "pyarrow",
    "duckdb",
    "polars",
    "redis",
)
"""Libraries whose version moves figures."""


def record(name: str, *, parameters: dict[str, Any], results: dict[str, Any], path: Path | None = None) -> None:
    """Appends one line.

    Args:
        name: Of the benchmark, e.g. ``forest``.
        parameters: Sizes and settings, plain JSON values.
        results: Figures with their units in their names; ``ratio``, if there is one, is the headline.
        path: File to append to; None: ``benchmarks/results/<name>.jsonl``.
    """
    line = {
        "benchmark": name,
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "machine": machine(),
        "versions": versions(),
        "parameters": parameters,
        "results": results,
        "ratio": results.get("ratio"),
    }
    target = path or RESULTS / f"{name}.jsonl"
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line, allow_nan=False) + "\n")


def commit() -> str | None:
    """Returns the commit, with ``-dirty`` if the tree differs from it; None outside a repository.

    Results do not count: the benchmark that ran before has just appended its own.
    """
    head = _git("rev-parse", "--short=12", "HEAD")
    changes = _git("status", "--porcelain", "--", ".", ":(exclude)benchmarks/results")
    return None if head is None else head + ("-dirty" if changes else "")


def machine() -> dict[str, Any]:
    """Returns what runs here: processor, cores, memory, family of the system, how busy it was."""
    memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "memory_gib": round(memory_bytes / 2**30, 1),
        "system": platform.system(),
        "architecture": platform.machine(),
        "load_1min": round(os.getloadavg()[0], 2),
    }


def versions() -> dict[str, str]:
    """Returns the versions of Python and of the libraries that are installed."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _git(*arguments: str) -> str | None:
    """Runs git in the repository; None if it fails or is not there."""
    try:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _cpu_model() -> str:
    """Returns the processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown"


if __name__ == "__main__":
    print(json.dumps({"commit": commit(), "machine": machine(), "versions": versions()}, indent=1))
