"""The calibrator: from a margin to a probability of fraud that means what it says.

A map given by knots in (margin, log-odds), linear between them, straight beyond, fitted to held-out data: margins are
cut into bins, bins that do not rise are pooled (isotonic regression by pool-adjacent-violators), each block of `n`
rows with `k` frauds becomes one knot at its mean margin with the smoothed share (k + 0.5) / (n + 1).

INVARIANTS: strictly increasing by construction: every slope is at least `SLOPE_MIN`, so there are no plateaus on
which a threshold would flip thousands of payments at once. Never exactly 0 or 1. Two margins may still give the same
double where doubles near 1 run out (log-odds above about 20): rank by margin.

Called by `bundle`, `stage` and `lab`.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from riskengine.errors import BundleError
from riskengine.types import Flags, Floats

from . import kernels

KNOTS_MAX: Final = 1_024
SLOPE_MIN: Final = 0.01
"""Least slope between knots, log-odds per unit of margin."""
TAIL_SLOPES: Final = (0.1, 1.0)
"""Bounds of the slope beyond the knots: at most the model's own."""
BINS: Final = 64
"""Cuts at equal counts of all rows, and as many at equal counts of frauds, which are few and lie at the high end."""


@dataclass(frozen=True, slots=True, eq=False)
class Calibrator:
    """A strictly increasing map from margin to probability.

    Attributes:
        margins: float64[K], knots, strictly increasing.
        log_odds: float64[K], at the knots, strictly increasing.
        slope_low: Below the first knot, log-odds per unit of margin, > 0.
        slope_high: Above the last.

    Raises:
        BundleError: If it would not be such a map.
    """

    margins: Floats
    log_odds: Floats
    slope_low: float
    slope_high: float

    def __post_init__(self) -> None:
        if not 1 <= len(self.margins) == len(self.log_odds) <= KNOTS_MAX:
            raise BundleError(f"a calibrator has 1 to {KNOTS_MAX} knots, each with a margin and log-odds")
        numbers = [*self.margins, *self.log_odds, self.slope_low, self.slope_high]
        if not np.all(np.isfinite(numbers)):
            raise BundleError("a number of the calibrator is not finite")
        if not (np.all(np.diff(self.margins) > 0) and np.all(np.diff(self.log_odds) > 0)):
            raise BundleError("the calibrator's knots do not rise strictly")
        if min(self.slope_low, self.slope_high) <= 0:
            raise BundleError("a slope of the calibrator is not above zero")

    def apply(self, margins: Floats, probabilities: Floats) -> None:
        """Writes the probabilities of a batch.

        Args:
            margins: float64[n], finite, log-odds before calibration.
            probabilities: float64[n], written, strictly between 0 and 1.
        """
        kernels.calibrate(self.margins, self.log_odds, self.slope_low, self.slope_high, margins, probabilities)

    def probabilities(self, margins: npt.NDArray[np.floating[Any]]) -> Floats:
        """Returns the probabilities of margins of any float type."""
        wide = np.ascontiguousarray(margins, np.float64)
        result = np.empty_like(wide)
        self.apply(wide, result)
        return result

    def document(self) -> dict[str, Any]:
        """Returns the calibrator as plain JSON values; doubles survive JSON unchanged."""
        return {
            "method": "isotonic blocks, linear in log-odds",
            "margins": self.margins.tolist(),
            "log_odds": self.log_odds.tolist(),
            "slope_low": self.slope_low,
            "slope_high": self.slope_high,
        }

    @classmethod
    def from_document(cls, document: Any) -> "Calibrator":
        """Reads what `document` returned.

        Raises:
            BundleError: If it is anything else.
        """
        try:
            slope_low, slope_high = _floats([document["slope_low"], document["slope_high"]]).tolist()
            return cls(_floats(document["margins"]), _floats(document["log_odds"]), slope_low, slope_high)
        except (KeyError, TypeError, ValueError, OverflowError):
            raise BundleError("not a calibrator: margins, log_odds, slope_low and slope_high are needed") from None


def fit_calibrator(margins: npt.NDArray[np.floating[Any]], labels: Flags, weights: Floats | None = None) -> Calibrator:
    """Fits the map to held-out rows.

    Args:
        margins: float[n], n >= 1, finite, of rows the model was not trained on.
        labels: bool[n], true for fraud.
        weights: float64[n], how many rows each stands for, > 0; None for one each.

    Returns:
        The calibrator; with rows of one class it is a shift of the margin to the smoothed share.
    """
    wide = np.asarray(margins, np.float64)
    mass = np.ones(len(wide)) if weights is None else weights
    edges = np.unique(np.concatenate([_cuts(wide), _cuts(wide[labels])]))
    bins = np.searchsorted(edges, wide)  # by value alone: equal margins share a bin
    count = len(edges) + 1
    sums = (np.bincount(bins, mass * part, count) for part in (1.0, labels, wide))
    blocks = pool(_Block(*map(float, block)) for block in zip(*sums, strict=True) if block[0] > 0)
    knots = np.array([block.mean_margin for block in blocks])
    log_odds = np.array([block.log_odds for block in blocks])
    slope = 1.0 if len(blocks) == 1 else float((log_odds[-1] - log_odds[0]) / (knots[-1] - knots[0]))
    tail = min(max(slope, TAIL_SLOPES[0]), TAIL_SLOPES[1])
    return Calibrator(knots, log_odds, tail, tail)


@dataclass(frozen=True, slots=True)
class _Block:
    """Neighbouring rows pooled: their weight, the frauds' weight, the weighted sum of margins."""

    rows: float
    frauds: float
    margin_sum: float

    @property
    def mean_margin(self) -> float:
        return self.margin_sum / self.rows

    @property
    def log_odds(self) -> float:
        return math.log((self.frauds + 0.5) / (self.rows - self.frauds + 0.5))

    def with_next(self, other: "_Block") -> "_Block":
        return _Block(self.rows + other.rows, self.frauds + other.frauds, self.margin_sum + other.margin_sum)

    def rises_to(self, other: "_Block") -> bool:
        return other.log_odds - self.log_odds > SLOPE_MIN * (other.mean_margin - self.mean_margin) > 0


def pool(blocks: Iterable[_Block]) -> list[_Block]:
    """Pools neighbours until every block rises to the next. Each block is pooled at most once: linear.

    Args:
        blocks: In the order of their margins.
    """
    pooled: list[_Block] = []
    for block in blocks:
        while pooled and not pooled[-1].rises_to(block):
            block = pooled.pop().with_next(block)
        pooled.append(block)
    return pooled


def _cuts(margins: Floats) -> Floats:
    """Returns the inner edges of bins of about equal count."""
    if len(margins) == 0:
        return margins
    return np.quantile(margins, np.arange(1, BINS) / BINS, method="lower")


def _floats(values: Any) -> Floats:
    """Turns a JSON list of numbers into an array; anything else is a TypeError."""
    if not isinstance(values, list) or any(type(value) is not float and type(value) is not int for value in values):
        raise TypeError("not a list of numbers")
    return np.array(values, np.float64)
