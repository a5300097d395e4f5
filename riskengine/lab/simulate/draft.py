"""Events while they are being made: rows of indices into the world's tables, and what handles groups of rows.

INVARIANTS: -1 is "none" in every index column, 0 in an enum column, NaN in a position, -1 in an amount; enum numbers
are those of `riskengine.types`. Nothing is text yet.

Used by every module that makes events, and by `assemble`.
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from riskengine.enums import VerificationMethod

Array = npt.NDArray[Any]
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

VERIFIED_COLUMNS: Final = tuple(f"verified_{method.name.lower()}" for method in VerificationMethod)
ENUM_COLUMNS: Final = ("type", "channel", "entry_mode", "initiation", "issuer_outcome", *VERIFIED_COLUMNS)
ENTITY_COLUMNS: Final = ("account", "card", "device", "ip", "email", "phone", "merchant", "payee", "address")

DRAFT: Final = np.dtype(
    [
        ("time_us", "<i8"),
        ("key", "<i8"),  # of this row, unique; becomes the transaction_id
        ("original_key", "<i8"),
        ("amount_minor", "<i8"),
        ("label_time_us", "<i8"),
        ("latitude_degrees", "<f8"),
        ("longitude_degrees", "<f8"),
    ]
    + [(name, "<i4") for name in ENTITY_COLUMNS]
    + [("offset_minutes", "<i2"), ("currency", "i1"), ("issuer_code", "i1"), ("scenario", "i1")]
    + [(name, "i1") for name in ENUM_COLUMNS]
)


def drafts(count: int, **columns: Any) -> Array:
    """Makes rows in which everything is absent but what is given.

    Args:
        count: Number of rows.
        columns: Values of DRAFT columns, scalars or arrays of `count`.

    Returns:
        Array of DRAFT, shape (count,).
    """
    rows = np.zeros(count, DRAFT)
    for name in ("key", "original_key", "amount_minor", "currency", "issuer_code", *ENTITY_COLUMNS):
        rows[name] = -1
    rows["latitude_degrees"] = np.nan
    rows["longitude_degrees"] = np.nan
    for name, values in columns.items():
        rows[name] = values
    return rows


def positions(counts: Ints) -> Ints:
    """Numbers the rows of consecutive groups: counts [2, 3] give [0, 1, 0, 1, 2]."""
    ends = np.cumsum(counts)
    total = int(ends[-1]) if len(ends) else 0
    return np.arange(total) - np.repeat(ends - counts, counts)


def running(values: Ints, counts: Ints) -> Ints:
    """Sums within consecutive groups, each row included: values [1, 2, 3, 4], counts [2, 2] give [1, 3, 3, 7]."""
    total = np.cumsum(values)
    first = np.cumsum(counts) - counts
    filled = counts > 0
    before = np.zeros(len(counts), np.int64)
    before[filled] = total[first[filled]] - values[first[filled]]
    return total - np.repeat(before, counts)


def choose(rng: np.random.Generator, count: int, weights: Any) -> Ints:
    """Draws indices 0 … len(weights) - 1 in proportion to the weights, shape (count,)."""
    edges = np.cumsum(np.asarray(weights, np.float64))
    return np.minimum(np.searchsorted(edges / edges[-1], rng.random(count), side="right"), len(edges) - 1)


def gaps_us(rng: np.random.Generator, count: int, *, median_us: Array | float, spread: float) -> Ints:
    """Draws log-normal durations, microseconds, at least one second each, shape (count,)."""
    drawn = median_us * np.exp(spread * rng.standard_normal(count))
    return np.maximum(drawn, 1e6).astype(np.int64)
