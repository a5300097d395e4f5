"""Figures of a scored set: how well it ranks, and whether its probabilities mean what they say.

INVARIANT: ties share one rank, so no figure depends on the order of rows. A figure that does not exist (one class
only, no rows) is None, never NaN: reports are strict JSON.

Called by `fit`.
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

CALIBRATION_BINS: Final = 10

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


def figures(margins: Floats, probabilities: Floats, labels: Bools, weights: Floats | None = None) -> dict[str, Any]:
    """Returns all figures of one set.

    Args:
        margins: float64[n], what rows are ranked by.
        probabilities: float64[n], calibrated.
        labels: bool[n], true for fraud.
        weights: float64[n], how many rows each stands for; None for one each.
    """
    mass = np.ones(len(labels)) if weights is None else weights
    total = float(mass.sum())
    return {
        "rows": len(labels),
        "frauds": int(np.count_nonzero(labels)),
        "fraud_share": float(mass[labels].sum()) / total if total else None,
        "mean_probability": float(np.average(probabilities, weights=mass)) if total else None,
        "auc": auc(margins, labels, mass),
        "average_precision": average_precision(margins, labels, mass),
        "brier": float(np.average((probabilities - labels) ** 2, weights=mass)) if total else None,
    }


def auc(scores: Floats, labels: Bools, weights: Floats | None = None) -> float | None:
    """Returns the chance that a fraud scores above a legitimate row (a tie counts half), from 0 to 1."""
    frauds, others = _by_score(scores, labels, weights)
    total = frauds.sum() * others.sum()
    if not total:
        return None
    below = np.cumsum(others) - others
    return float(np.sum(frauds * (below + others / 2)) / total)


def average_precision(scores: Floats, labels: Bools, weights: Floats | None = None) -> float | None:
    """Returns the precision averaged over the recall it is reached at, from 0 to 1; no interpolation."""
    frauds, others = (part[::-1] for part in _by_score(scores, labels, weights))
    if not frauds.sum():
        return None
    caught = np.cumsum(frauds)
    precision = caught / (caught + np.cumsum(others))
    return float(np.sum(frauds * precision) / frauds.sum())


def calibration_table(
    probabilities: Floats, labels: Bools, weights: Floats | None = None, *, bins: int = CALIBRATION_BINS
) -> list[dict[str, float]]:
    """Compares probabilities with shares of fraud, in bins of equal count in the order of the probability.

    Args:
        probabilities: float64[n].
        labels: bool[n].
        weights: float64[n] or None.
        bins: How many at most, at least 1; rows of equal probability share one.

    Returns:
        One row a bin: lowest and highest probability, rows, their mean probability and share of fraud.
    """
    mass = np.ones(len(labels)) if weights is None else weights
    if len(labels) == 0:
        return []
    edges = np.unique(np.quantile(probabilities, np.arange(1, bins) / bins, method="lower"))
    bin_of = np.searchsorted(edges, probabilities)
    table = []
    for index in np.unique(bin_of):
        part = bin_of == index
        table.append(
            {
                "lowest": float(probabilities[part].min()),
                "highest": float(probabilities[part].max()),
                "rows": int(np.count_nonzero(part)),
                "mean_probability": float(np.average(probabilities[part], weights=mass[part])),
                "fraud_share": float(np.average(labels[part], weights=mass[part])),
            }
        )
    return table


def _by_score(scores: Floats, labels: Bools, weights: Floats | None) -> tuple[Floats, Floats]:
    """Returns the weight of frauds and of other rows at each distinct score, lowest first."""
    mass = np.ones(len(labels)) if weights is None else weights
    distinct, place = np.unique(scores, return_inverse=True)
    frauds, others = (np.bincount(place, mass * part, len(distinct)).astype(np.float64) for part in (labels, ~labels))
    return frauds, others
