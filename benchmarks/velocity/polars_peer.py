"""The same answers from Polars, on one thread: in a process of its own, for Polars takes its threads when it is imported.

INVARIANTS: counts, sums and declined counts are asked once for each window, and the mean before an event follows from them;
making the frame and handing the answers over is outside the clock. Called by `benchmarks.velocity`; run by itself: the child.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from benchmarks.record import ROOT
from benchmarks.velocity.folding import Took, timed
from benchmarks.velocity.workload import ENTITIES, WINDOWS_S, Payments

WAYS: Final = ("rolling_by", "rolling_expression")
"""``rolling_sum_by(...).over(entity)``, or ``sum().rolling(...).over(entity)``: the same answers at another price."""
CHILD_S_MAX: Final = 1_800


def answer(payments: Payments, way: str) -> tuple[Took, npt.NDArray[np.float64]]:
    """Answers for payments in order.

    Args:
        payments: None of them late.
        way: One of WAYS.

    Returns:
        What it took, and float64[n, 144] in the order of `workload.feature_names`, NaN where there is no answer.
    """
    with tempfile.TemporaryDirectory() as name:
        given, taken = Path(name) / "payments.npz", Path(name) / "answers.npz"
        np.savez(
            given,
            time_us=payments.time_us,
            amount=payments.amount,
            declined=payments.declined,
            keys=payments.keys,
        )
        command = [sys.executable, "-m", "benchmarks.velocity.polars_peer", str(given), str(taken), way]
        environment = os.environ | {"POLARS_MAX_THREADS": "1"}
        subprocess.run(command, cwd=ROOT, env=environment, check=True, timeout=CHILD_S_MAX)
        with np.load(taken) as found:
            return Took(*found["took_s"]), found["answers"]


def expressions(pl: Any, way: str) -> list[Any]:
    """Returns what is asked, window by window."""

    def over(column: str, entity: str, period: str) -> Any:
        if way == "rolling_by":
            rolled = pl.col(column).rolling_sum_by("time", window_size=period, closed="right")
        else:
            added = pl.len() if column == "one" else pl.col(column).sum()
            rolled = added.rolling(index_column="time", period=period, closed="right")
        return rolled.over(entity)

    asked = []
    for entity in ENTITIES:
        for name, window_s in WINDOWS_S.items():
            count, total, declined = (over(column, entity, f"{window_s}s") for column in ("one", "amount", "declined"))
            before = pl.when(count > 1).then((total - pl.col("amount")) / (count.cast(pl.Int64) - 1))
            window = f"{entity}_{name}"
            answers = {"count": count, "sum": total, "mean": before, "declined": declined}
            asked += [each.alias(f"{window}_{operation}") for operation, each in answers.items()]
    return asked


def child(given: Path, taken: Path, way: str) -> None:
    """Answers what a file holds, into another."""
    import polars as pl

    assert pl.thread_pool_size() == 1, "POLARS_MAX_THREADS came too late"
    with np.load(given) as payments:
        columns: dict[str, Any] = {"time": payments["time_us"].astype("datetime64[us]"), "one": 1}
        columns |= {"amount": payments["amount"], "declined": payments["declined"]}
        columns |= dict(zip(ENTITIES, payments["keys"], strict=True))
    frame = pl.DataFrame(columns)
    asked = expressions(pl, way)
    frame.head(100).lazy().select(asked).collect()
    answers: list[Any] = []
    took = timed(lambda: answers.extend(frame.lazy().select(asked).collect()))
    matrix = np.stack([column.cast(pl.Float64).fill_null(float("nan")).to_numpy() for column in answers], axis=1)
    np.savez(taken, took_s=[took.wall_s, took.used_s], answers=matrix)


if __name__ == "__main__":
    child(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
