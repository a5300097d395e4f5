"""Does real input flow through all of it: import, training, the engine, replay?

Input: the 1.24 million card payments of the handbook's data, made by nobody here (see tests/README.md for where they are looked
for; without them this benchmark says so and ends). Prediction: import 15 s, features 30 s, replay at 40,000 events/s.
Budget: no row lost, no decision that differs on replay. The running server gets its 10,000 in tests/server/test_handbook.py.

The model is judged on the newest part of the history, split by time with a gap of 7 days for the labels; that is our own
split, not the book's protocol, so the figures are not to be compared with the book's.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.engine import COMMIT_ROWS, DEFAULTS, KEY, LIMITS, configure
from benchmarks.record import record
from riskengine.engine.engine import Engine
from riskengine.lab.features import in_order, packer_of
from riskengine.lab.history import open_history
from riskengine.lab.importer import import_history, mapping_path
from riskengine.lab.replay import replay
from riskengine.lab.train import train_model
from riskengine.settings import load_settings

ROOT = Path(__file__).resolve().parent.parent
console = Console()


def shared_file() -> Path | None:
    """Returns the data, None where it is absent."""
    folder = Path(os.environ.get("RISKENGINE_SHARED") or ROOT.parent / "shared")
    file = folder / "data" / "handbook" / "transactions.parquet"
    return file if file.is_file() else None


def run(source: Path, folder: Path, *, rows_max: int | None, rounds: int) -> dict[str, Any]:
    """Imports, trains, commits and replays; returns figures."""
    results: dict[str, Any] = {}
    history = folder / "handbook.parquet"
    settings = load_settings(DEFAULTS / "server.yaml")
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("import", total=None)
        started = time.perf_counter()
        imported = import_history(source, mapping_path("handbook"), history, rows_max=rows_max)
        results["import_s"] = time.perf_counter() - started
        results["rows_written"], results["rows_rejected"] = imported.rows_written, imported.rows_rejected
        untrained = configure(None)
        packer = packer_of(settings, KEY, untrained)
        started = time.perf_counter()
        trained = train_model(
            history,
            untrained,
            packer,
            name="handbook",
            model_dir=folder / "models",
            created_time_us=0,
            rounds=rounds,
            on_progress=lambda what, done, total: progress.update(task, description=what, completed=done, total=total),
        )
        results["train_s"] = time.perf_counter() - started
        figures = trained.report["figures"]["test"]
        results["test_auc"], results["test_average_precision"] = figures["auc"], figures["average_precision"]
        configuration = configure(trained.path)
        engine = Engine.open(folder / "data", configuration, limits=LIMITS)
        progress.update(task, description="commit", completed=0, total=imported.rows_written)
        busy = 0.0
        verdicts = np.zeros(4, np.int64)
        for events, _, _, _ in in_order(open_history(history).batches(), packer):
            started = time.perf_counter()
            for first in range(0, len(events), COMMIT_ROWS):
                _, decisions = engine.commit(events[first : first + COMMIT_ROWS])
                verdicts += np.bincount(decisions["verdict"], minlength=4)
            busy += time.perf_counter() - started
            progress.update(task, advance=len(events))
        results["commit_events_per_s"] = engine.sequence / busy
        results["verdicts"] = verdicts[1:].tolist()
        engine.close()
        started = time.perf_counter()
        report = replay(
            folder / "data",
            on_progress=lambda done, total: progress.update(task, description="replay", completed=done, total=total),
        )
        results["replay_events_per_s"] = report.event_count / (time.perf_counter() - started)
        results["replayed"], results["replay_differences"] = report.event_count, report.difference_count
    return results


def main() -> None:
    """Runs and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="the first 300,000 payments, few trees")
    parser.add_argument("--out", type=Path, help="append the JSON line to this file")
    options = parser.parse_args()
    source = shared_file()
    if source is None:
        console.print("handbook: left out, the data is not here; name the folder that holds data/ in RISKENGINE_SHARED")
        return
    size = {"rows_max": 300_000, "rounds": 20} if options.smoke else {"rows_max": None, "rounds": 300}
    with tempfile.TemporaryDirectory() as name:
        results = run(source, Path(name), **size)
    assert results["rows_rejected"] == 0, "rows of the handbook were rejected"
    assert results["replay_differences"] == 0, "a decision differs on replay"
    table = Table("figure", "value", title="handbook")
    for key, value in results.items():
        table.add_row(key, f"{value:,.3f}" if isinstance(value, float) else str(value))
    console.print(table)
    if not options.smoke or options.out:
        record("handbook", parameters=size, results=results, path=options.out)


if __name__ == "__main__":
    main()
