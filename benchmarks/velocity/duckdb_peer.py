"""The same answers from DuckDB's window functions, on one thread.

INVARIANTS: counts, sums and declined counts are asked once for each window, and the mean before an event follows from them, as
somebody would write it who pays for it; reading the payments into DuckDB and the answers out of it is outside the clock.
Called by `benchmarks.velocity`.
"""

from typing import Final

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from benchmarks.velocity.folding import Took, timed
from benchmarks.velocity.workload import ENTITIES, OPERATIONS, WINDOWS_S, Payments
from riskengine.types import US_PER_SECOND

FRAMES: Final = {
    "interval": ("time", "INTERVAL {us} MICROSECONDS"),
    "integer": ("time_us", "{us}"),
}
"""How a window may be told: as time and interval, or both as plain microseconds."""


def query(frame: str) -> str:
    """Writes the query. A frame has both its ends in it: it begins a microsecond after t - w."""
    order, distance = FRAMES[frame]
    columns, windows = [], []
    for entity in ENTITIES:
        for name, window_s in WINDOWS_S.items():
            window = f"{entity}_{name}"
            reach = distance.format(us=window_s * US_PER_SECOND - 1)
            windows.append(
                f"{window} AS (PARTITION BY {entity} ORDER BY {order} RANGE BETWEEN {reach} PRECEDING AND CURRENT ROW)"
            )
            answers = (
                f"count(*) OVER {window}",
                f"sum(amount) OVER {window}",
                f"(sum(amount) OVER {window} - amount) / nullif(count(*) OVER {window} - 1, 0)",
                f"sum(declined) OVER {window}",
            )
            columns += [f"{answer} AS {window}_{name}" for answer, name in zip(answers, OPERATIONS, strict=True)]
    return f"SELECT id, {', '.join(columns)} FROM payments WINDOW {', '.join(windows)}"


def answer(payments: Payments, frame: str) -> tuple[Took, npt.NDArray[np.float64]]:
    """Answers for payments in order.

    Args:
        payments: None of them late.
        frame: One of FRAMES.

    Returns:
        What it took, and float64[n, 144] in the order of `workload.feature_names`, NaN where there is no answer.
    """
    connection = duckdb.connect(config={"threads": 1})
    source = pa.table(
        {
            "id": np.arange(len(payments)),
            "time_us": payments.time_us,
            "time": pa.array(payments.time_us, pa.timestamp("us")),
            "amount": payments.amount,
            "declined": payments.declined.astype(np.int32),
            **dict(zip(ENTITIES, payments.keys, strict=True)),
        }
    )
    connection.register("source", source)
    connection.execute("CREATE TABLE payments AS SELECT * FROM source")
    statement = f"CREATE TEMP TABLE answers AS {query(frame)}"
    took = timed(lambda: connection.execute(statement))
    found = connection.execute("SELECT * EXCLUDE (id) FROM answers ORDER BY id").fetchnumpy()
    connection.close()
    return took, np.stack([np.ma.filled(column.astype(np.float64), np.nan) for column in found.values()], axis=1)
