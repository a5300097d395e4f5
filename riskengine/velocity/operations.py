"""What can be asked of a measure: the operations of features.yaml, in words and as the kernels know them.

INVARIANT: a key of `OPERATIONS` is a field of `schema.Measure` that lists windows. Called by `velocity.plan` and
`engine.declaration`.
"""

from dataclasses import dataclass
from typing import Final

from riskengine.velocity import layout


@dataclass(frozen=True, slots=True)
class Operation:
    """One answer about the events of a window.

    Attributes:
        code: OPERATION_ of the layout.
        suffix: Of the feature's name; differs from the key where one key asks for two features.
        unit: With {of}, what is measured.
        words: One sentence with {measure}, {of}, {window} and {own}.
        total, square: TRANSFORM_ of the measures it reads besides the count, None for none.
        valued: Whether it is about a value, which the measure names with `of`.
        own: Whether the event itself is a part of the answer unless declared otherwise.
    """

    code: int
    suffix: str
    unit: str
    words: str
    total: int | None = None
    square: int | None = None
    valued: bool = True
    own: bool = False


OPERATIONS: Final[dict[str, tuple[Operation, ...]]] = {
    "count": (
        Operation(
            layout.OPERATION_COUNT,
            "count",
            "events",
            "How many {measure}events there were in {window}, {own}.",
            valued=False,
            own=True,
        ),
    ),
    "sum": (
        Operation(
            layout.OPERATION_SUM,
            "sum",
            "units of {of}",
            "The sum of {of} over {window}, {own}.",
            layout.TRANSFORM_VALUE,
            own=True,
        ),
    ),
    "mean": (
        Operation(
            layout.OPERATION_MEAN,
            "mean",
            "units of {of}",
            "The mean of {of} over {window}, {own}.",
            layout.TRANSFORM_VALUE,
        ),
    ),
    "std": (
        Operation(
            layout.OPERATION_STD,
            "std",
            "doublings",
            "The spread of {of} over {window}, {own}.",
            layout.TRANSFORM_LOG,
            layout.TRANSFORM_LOG_SQUARE,
        ),
    ),
    "zscore": (
        Operation(
            layout.OPERATION_ZSCORE,
            "zscore",
            "spreads",
            "How far {of} is from its mean over {window} before this event.",
            layout.TRANSFORM_LOG,
            layout.TRANSFORM_LOG_SQUARE,
        ),
    ),
    "max": (
        Operation(
            layout.OPERATION_MAX,
            "max",
            "units of {of}",
            "The largest {of} in {window}, {own}.",
            layout.TRANSFORM_MAX,
        ),
    ),
    "min": (
        Operation(
            layout.OPERATION_MIN,
            "min",
            "units of {of}",
            "The smallest {of} in {window}, {own}.",
            layout.TRANSFORM_MIN,
        ),
    ),
    "hour": (
        Operation(
            layout.OPERATION_HOUR_DEVIATION,
            "hour_deviation",
            "hours",
            "How far the hour of day is from the usual one of {measure}events in {window}, {own}.",
            layout.TRANSFORM_SIN,
            layout.TRANSFORM_COS,
            valued=False,
        ),
        Operation(
            layout.OPERATION_HOUR_CONCENTRATION,
            "hour_concentration",
            "von Mises concentration",
            "How regular the hour of day of {measure}events was in {window}, {own}; 0 is any hour.",
            layout.TRANSFORM_SIN,
            layout.TRANSFORM_COS,
            valued=False,
        ),
    ),
}
"""By the key of features.yaml, in the order of their columns."""
VALUED: Final = tuple(key for key, operations in OPERATIONS.items() if operations[0].valued)
"""Keys that are about a value, which a measure names with `of`."""


def own_words(own: bool) -> str:
    """Returns how a description says whether the event itself is counted."""
    return "this event included" if own else "this event left out"
