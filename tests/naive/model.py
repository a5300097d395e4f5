"""Twins of `riskengine.model.kernels`, straight from xgboost's JSON: pointers, recursion, no layout.

INVARIANT: nothing of riskengine.model is used. Called by tests/model.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt


def forest_margin(
    trees: Sequence[dict[str, Any]], base_margin: np.float32, features: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    """Scores rows (float32[n, F], NaN for missing): one leaf after the other onto the base margin, in float32."""
    margins = np.empty(len(features), np.float32)
    for index, row in enumerate(features):
        total = np.float32(base_margin)
        for tree in trees:
            total = np.float32(total + np.float32(tree["split_conditions"][path(tree, row)[-1]]))
        margins[index] = total
    return margins


def forest_attribution(
    trees: Sequence[dict[str, Any]], base_margin: np.float32, row: npt.NDArray[np.float32]
) -> tuple[list[float], float]:
    """Attributes one row's margin to its features: the change of the expectation at each step; and the bias."""
    contributions = [0.0] * len(row)
    bias = float(base_margin)
    for tree in trees:
        bias += expectation(tree, 0)
        nodes = path(tree, row)
        for parent, child in pairwise(nodes):
            contributions[tree["split_indices"][parent]] += expectation(tree, child) - expectation(tree, parent)
    return contributions, bias


def calibrate(
    knots: Sequence[tuple[float, float]], slope_low: float, slope_high: float, margins: Sequence[float]
) -> list[float]:
    """Maps margins to probabilities by looking at every pair of knots."""
    probabilities = []
    for margin in margins:
        first, last = knots[0], knots[-1]
        if margin <= first[0]:
            log_odds = first[1] + slope_low * (margin - first[0])
        elif margin >= last[0]:
            log_odds = last[1] + slope_high * (margin - last[0])
        else:
            (x0, y0), (x1, y1) = next(pair for pair in pairwise(knots) if margin < pair[1][0])
            log_odds = y0 + (margin - x0) / (x1 - x0) * (y1 - y0)
        probability = 0.0 if log_odds < -700 else 1 / (1 + math.exp(-log_odds))
        probabilities.append(min(max(probability, 2.0**-53), 1 - 2.0**-53))
    return probabilities


def path(tree: dict[str, Any], row: npt.NDArray[np.float32]) -> list[int]:
    """Returns the nodes a row passes, root first, leaf last."""
    nodes = [0]
    while tree["left_children"][nodes[-1]] != -1:
        node = nodes[-1]
        value = row[tree["split_indices"][node]]
        left = tree["default_left"][node] if np.isnan(value) else value < np.float32(tree["split_conditions"][node])
        nodes.append(tree["left_children"][node] if left else tree["right_children"][node])
    return nodes


def expectation(tree: dict[str, Any], node: int) -> float:
    """Returns the mean of the leaves below a node, weighted by cover."""
    left, right = tree["left_children"][node], tree["right_children"][node]
    if left == -1:
        return float(np.float32(tree["split_conditions"][node]))
    covers = [float(np.float32(tree["sum_hessian"][child])) for child in (left, right)]
    share = covers[0] / sum(covers) if sum(covers) > 0 else 0.5
    return share * expectation(tree, left) + (1 - share) * expectation(tree, right)
