"""How much faster is the forest kernel than xgboost itself, for one row and for a thousand?

Prediction: a step is two gathers; 300 trees of depth 6 are 1,800 steps, some 1.5 ns each when eight trees go at once: 3 us
a row, 1.5 us more for the call. `Booster.inplace_predict` walks the same nodes but pays 100 us or more for each call.

Budget: one row at least 20 times faster than `inplace_predict` with one thread, and every margin equal bit for bit.
Both are measured in turns in the same run; each round is shorter than a time slice and the figure is the best
of the rounds, because a busy machine stretches long calls more than short ones and would flatter the ratio. Training,
compiling and warming up are outside the clock. Run as ``python -m benchmarks.forest``; called by `make bench`.
"""

import argparse
import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import xgboost
from rich.console import Console
from rich.table import Table

from benchmarks.record import record
from riskengine.model.calibration import Calibrator
from riskengine.model.forest import Forest, base_margins
from riskengine.model.trees import read_trees

BATCH_ROWS: Final = 1_000
RATIO_MIN: Final = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """What is measured."""

    trees: int
    depth: int = 6
    features: int = 80
    missing_share: float = 0.2
    training_rows: int
    rounds: int
    """Interleaved measurements."""
    calls: int
    """Calls in each measurement of one row."""
    seed: int = 1


REAL: Final = Size(trees=300, training_rows=20_000, rounds=41, calls=200)
SMOKE: Final = Size(trees=20, training_rows=2_000, rounds=3, calls=10)


def main() -> int:
    """Measures, prints a table and appends a line; fails if a single bit differs."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.forest", description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="at the smallest size, only to see that it works")
    parser.add_argument("--out", type=Path, help="file to append the line to; default: benchmarks/results/forest.jsonl")
    options = parser.parse_args()
    size = SMOKE if options.smoke else REAL
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # as the engine: one core
    results = measure(size)
    show(results)
    if options.out or not options.smoke:
        record("forest", parameters=asdict(size), results=results, path=options.out)
    return 0


def measure(size: Size) -> dict[str, Any]:
    """Trains, checks every margin, measures; times in microseconds."""
    rows = make_rows(size)
    booster = train(size, rows)
    document = booster_document(booster)
    trees = read_trees(document, feature_names=tuple(f"f{index}" for index in range(size.features)))
    forest = Forest(trees, base_margins(trees.base_score)[0])
    calibrator = Calibrator(np.array([-4.0, 0.0, 4.0]), np.array([-6.0, -1.0, 4.0]), 1.0, 1.0)
    batch = rows[:BATCH_ROWS]
    features, valid = np.nan_to_num(batch.astype(np.float64)), (~np.isnan(batch)).astype(np.uint8)
    columns, margins, probabilities = np.arange(size.features), np.empty(len(batch)), np.empty(len(batch))
    first, single, single_valid = batch[:1].copy(), features[:1].copy(), valid[:1].copy()
    one_margin, one_probability, contributions = np.empty(1), np.empty(1), np.empty(size.features)

    forest.score(features, valid, columns, margins)
    expected = booster.inplace_predict(batch, predict_type="margin")
    assert expected.astype(np.float64).tobytes() == margins.tobytes(), "a margin differs from xgboost's"
    times = interleave(
        {
            "xgboost_one_row_us": (lambda: booster.inplace_predict(first, predict_type="margin"), size.calls // 10),
            "kernel_one_row_us": (lambda: forest.score(single, single_valid, columns, one_margin), size.calls),
            "calibrate_one_row_us": (lambda: calibrator.apply(one_margin, one_probability), size.calls),
            "attribute_one_row_us": (
                lambda: forest.attribute(single, single_valid, columns, 0, contributions),
                size.calls,
            ),
            "xgboost_batch_us": (lambda: booster.inplace_predict(batch, predict_type="margin"), 1),
            "kernel_batch_us": (lambda: forest.score(features, valid, columns, margins), 1),
            "calibrate_batch_us": (lambda: calibrator.apply(margins, probabilities), 1),
        },
        size.rounds,
    )
    return {
        **{name: round(value, 3) for name, value in times.items()},
        "batch_rows": len(batch),
        "rows_equal_bit_for_bit": len(batch),
        "margin_sum": float(margins.sum()),
        "ratio": round(times["xgboost_one_row_us"] / times["kernel_one_row_us"], 1),
        "ratio_batch": round(times["xgboost_batch_us"] / times["kernel_batch_us"], 2),
        "ratio_min": RATIO_MIN,
    }


def make_rows(size: Size) -> npt.NDArray[np.float32]:
    """Makes rows with holes, from the seed."""
    rng = np.random.default_rng(size.seed)
    rows = rng.normal(size=(size.training_rows, size.features)).astype(np.float32)
    rows[rng.random(rows.shape) < size.missing_share] = np.nan
    return rows


def train(size: Size, rows: npt.NDArray[np.float32]) -> xgboost.Booster:
    """Trains full trees: no penalty on small leaves, so most reach the depth."""
    rng = np.random.default_rng(size.seed + 1)
    filled = np.nan_to_num(rows)
    labels = filled[:, :8].sum(axis=1) + filled[:, 0] * filled[:, 1] + rng.normal(size=len(rows)) > 2
    parameters = {
        "objective": "binary:logistic",
        "base_score": 0.5,
        "tree_method": "hist",
        "max_depth": size.depth,
        "min_child_weight": 0,
        "learning_rate": 0.1,
        "nthread": 1,
        "seed": size.seed,
    }
    return xgboost.train(parameters, xgboost.DMatrix(rows, labels), size.trees)


def booster_document(booster: xgboost.Booster) -> Any:
    """Returns the model as parsed JSON."""
    return json.loads(bytes(booster.save_raw("json")))


def interleave(functions: dict[str, tuple[Callable[[], object], int]], rounds: int) -> dict[str, float]:
    """Times each function in turns; returns the best of the rounds, microseconds a call."""
    times: dict[str, list[float]] = {name: [] for name in functions}
    for turn in range(rounds + 1):
        for name, (function, calls) in functions.items():
            start = time.perf_counter_ns()
            for _ in range(calls):
                function()
            if turn:  # the first round warms up
                times[name].append((time.perf_counter_ns() - start) / calls / 1000)
    return {name: min(values) for name, values in times.items()}


def show(results: dict[str, Any]) -> None:
    """Prints the table."""
    table = Table("", "xgboost, us", "kernel, us", "times faster", title="forest: margins equal bit for bit")
    for label, kind, ratio in (
        ("one row", "one_row", "ratio"),
        (f"{results['batch_rows']:,} rows", "batch", "ratio_batch"),
    ):
        xgboost_us, kernel_us = results[f"xgboost_{kind}_us"], results[f"kernel_{kind}_us"]
        table.add_row(label, f"{xgboost_us:,.1f}", f"{kernel_us:,.1f}", f"{results[ratio]:.1f}")
    console = Console()
    console.print(table)
    console.print(
        f"one row besides: calibration {results['calibrate_one_row_us']:.2f} us, path attribution "
        f"{results['attribute_one_row_us']:.1f} us; the bar is {RATIO_MIN:.0f} times faster for one row"
    )


if __name__ == "__main__":
    raise SystemExit(main())
