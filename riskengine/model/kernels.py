"""The kernels of the model: a forest's margin, its attribution along the path, and the calibration of a batch.

Layout of a forest of `T` trees and depth `D`. Every tree is a complete binary heap: node 1 is the root, the children
of `p` are `2p` and `2p + 1`, the leaves are the nodes `2^D … 2^(D+1) - 1`. Arrays run node by node, and within a node
tree by tree: entry `p * T + t`. `splits` (inner nodes only) points into the working row, which holds the features
twice: `[0, F)` with missing as -inf, `[F, 2F)` with missing as +inf. A node whose default is left points into the
first copy, one whose default is right into the second, so that missing needs no branch. `values` holds thresholds,
and the leaves' values.

INVARIANTS: indices are checked by `trees.read_trees` before they get here, not here; a kernel allocates nothing, and
one row's result does not depend on the other rows. Sums are float32 in the order of the trees, starting from the base
margin, as xgboost adds them: adding the base last is off by up to 9.5e-6 (tests/model/test_forest.py compares bit for
bit).

Called by `forest` and `calibration`.
"""

import math

import numpy as np
import numpy.typing as npt

from riskengine.jit import kernel
from riskengine.types import Floats, Ints, Valid

FLOAT32_MAX = 3.4028234663852886e38
"""The largest finite float32. Larger magnitudes are clamped to it: the row holds infinity for missing alone."""
PROBABILITY_MIN = 2.0**-53
"""Probabilities stay within [2^-53, 1 - 2^-53]: never 0 or 1."""

Floats32 = npt.NDArray[np.float32]
Words32 = npt.NDArray[np.uint32]


@kernel(inline=True)
def load_row(
    features: Floats,
    valid: Valid,
    columns: Ints,
    index: int,
    row: Floats32,
) -> int:
    """Gathers one row's features into both copies of the working row.

    Args:
        features: float64[n, C], the engine's matrix.
        valid: uint8[n, C]; 0 is missing, and the feature is then not read. NaN is missing, too.
        columns: int64[F], the column of each feature of the forest.
        index: Row to gather.
        row: float32[2F], written: missing as -inf, then missing as +inf.

    Returns:
        How many features are present.
    """
    feature_count = columns.shape[0]
    present = 0
    for feature in range(feature_count):
        column = columns[feature]
        value = features[index, column]
        if valid[index, column] == 0 or value != value:
            row[feature] = -np.inf
            row[feature_count + feature] = np.inf
        else:
            single = np.float32(min(max(value, -FLOAT32_MAX), FLOAT32_MAX))
            row[feature] = single
            row[feature_count + feature] = single
            present += 1
    return present


@kernel(
    "int64(uint32[::1], float32[::1], int64, float32, float64[:,::1], uint8[:,::1], int64[::1],"
    " float32[::1], uint32[::1], float64[::1])"
)
def forest_margin(
    splits: Words32,
    values: Floats32,
    depth: int,
    base_margin: np.float32,
    features: Floats,
    valid: Valid,
    columns: Ints,
    row: Floats32,
    positions: Words32,
    margins: Floats,
) -> int:
    """Scores a batch.

    The loop over trees lies inside the loop over depth, so that its steps are independent and LLVM gathers several
    trees at once; unsigned indices spare it the test for negative ones (5.6 instead of 3.3 us a row for 300 trees of
    depth 6). Touches: per row 2F floats written, then two gathers for each tree and level.

    Args:
        splits: uint32[2^D * T], position in `row` of each inner node's feature.
        values: float32[2^(D+1) * T], thresholds, then leaf values.
        depth: D, 0 (single leaves) to 8.
        base_margin: float32 log-odds before the first tree.
        features: float64[n, C]; see `load_row` for this and the next two.
        valid: uint8[n, C].
        columns: int64[F].
        row: float32[2F], scratch.
        positions: uint32[T], scratch; T is taken from it.
        margins: float64[n], written: the float32 margin, log-odds, widened.

    Returns:
        Rows scored, n.
    """
    row_count = features.shape[0]
    tree_count = positions.shape[0]
    stride = np.uint64(tree_count)
    two = np.uint64(2)
    for index in range(row_count):
        load_row(features, valid, columns, index, row)
        for tree in range(tree_count):
            positions[tree] = np.uint32(1)
        for _ in range(depth):
            for tree in range(tree_count):
                position = np.uint64(positions[tree])
                node = position * stride + np.uint64(tree)
                right = row[np.uint64(splits[node])] >= values[node]
                positions[tree] = np.uint32(two * position + np.uint64(right))
        total = base_margin
        for tree in range(tree_count):
            total += values[np.uint64(positions[tree]) * stride + np.uint64(tree)]
        margins[index] = total
    return row_count


@kernel(
    "int64(uint32[::1], float32[::1], float64[::1], int64, int64, float64[:,::1], uint8[:,::1], int64[::1],"
    " int64, float32[::1], float64[::1])"
)
def forest_attribution(
    splits: Words32,
    values: Floats32,
    expectations: Floats,
    depth: int,
    tree_count: int,
    features: Floats,
    valid: Valid,
    columns: Ints,
    index: int,
    row: Floats32,
    contributions: Floats,
) -> int:
    """Attributes one row's margin to the features on its paths (Saabas 2014, "Interpreting random forests").

    Each step from a node to its child changes the expected leaf value; the change goes to the feature that the node
    asks. The sum of all contributions and the forest's bias is the margin, up to the rounding of float32 sums. xgboost
    gives the same as ``predict(pred_contribs=True, approx_contribs=True)``.

    Args:
        splits: As `forest_margin`.
        values: As `forest_margin`.
        expectations: float64[2^(D+1) * T], cover-weighted mean of the leaves below each node.
        depth: D, 0 to 8.
        tree_count: T.
        features: float64[n, C]; see `load_row` for this and the next two.
        valid: uint8[n, C].
        columns: int64[F].
        index: Row to explain, below n.
        row: float32[2F], scratch.
        contributions: float64[C], written whole: log-odds by column of the matrix, 0 where the forest asks nothing.

    Returns:
        How many of the forest's features are present.
    """
    for column in range(contributions.shape[0]):
        contributions[column] = 0.0
    present = load_row(features, valid, columns, index, row)
    feature_count = columns.shape[0]
    for tree in range(tree_count):
        position = 1
        for _ in range(depth):
            node = position * tree_count + tree
            split = np.int64(splits[node])
            position = 2 * position + (1 if row[split] >= values[node] else 0)
            feature = split if split < feature_count else split - feature_count
            change = expectations[position * tree_count + tree] - expectations[node]
            contributions[columns[feature]] += change
    return present


@kernel("int64(float64[::1], float64[::1], float64, float64, float64[::1], float64[::1])")
def calibrate(
    knot_margins: Floats,
    knot_log_odds: Floats,
    slope_low: float,
    slope_high: float,
    margins: Floats,
    probabilities: Floats,
) -> int:
    """Maps a batch of margins to probabilities: linear in log-odds between knots, straight tails beyond.

    Args:
        knot_margins: float64[K], strictly increasing, K >= 1.
        knot_log_odds: float64[K], strictly increasing.
        slope_low: Log-odds per unit of margin below the first knot, > 0.
        slope_high: The same above the last knot, > 0.
        margins: float64[n], finite.
        probabilities: float64[n], written, within [2^-53, 1 - 2^-53].

    Returns:
        Rows mapped, n.
    """
    last = knot_margins.shape[0] - 1
    for index in range(margins.shape[0]):
        margin = margins[index]
        if margin <= knot_margins[0]:
            log_odds = knot_log_odds[0] + slope_low * (margin - knot_margins[0])
        elif margin >= knot_margins[last]:
            log_odds = knot_log_odds[last] + slope_high * (margin - knot_margins[last])
        else:
            low, high = 0, last
            while high - low > 1:  # halves each time
                middle = (low + high) // 2
                if knot_margins[middle] <= margin:
                    low = middle
                else:
                    high = middle
            share = (margin - knot_margins[low]) / (knot_margins[high] - knot_margins[low])
            log_odds = knot_log_odds[low] + share * (knot_log_odds[high] - knot_log_odds[low])
        if log_odds >= 0.0:
            probability = 1.0 / (1.0 + math.exp(-log_odds))
        else:
            odds = math.exp(log_odds)
            probability = odds / (1.0 + odds)
        probabilities[index] = min(max(probability, PROBABILITY_MIN), 1.0 - PROBABILITY_MIN)
    return margins.shape[0]
