"""The forest: checked trees laid out as heaps, scored by the kernels.

A leaf above the forest's depth is replicated to both children down to it, so every walk has the same length (the
layout is in `kernels`). Memory: 2^D * (4 + 8 + 16) bytes a tree, 0.5 MB for 300 trees of depth 6.

INVARIANTS: the margin equals xgboost's ``predict(output_margin=True)`` bit for bit on finite float32 and missing. The
scratch arrays belong to the forest: one thread at a time.

Called by `bundle` (golden set) and `stage`.
"""

import math

import numpy as np
import numpy.typing as npt

from riskengine.types import Floats, Ints, Valid

from . import kernels
from .trees import Tree, Trees

_BASE_SCORE_MIN = np.float32(1e-6)
"""xgboost keeps a fitted base score this far from 0 and 1."""


def base_margins(base_score: np.float32) -> tuple[np.float32, ...]:
    """Returns the base margins, log-odds, that xgboost may have made of a base score; the likeliest first.

    xgboost computes ``-logf(1 / base_score - 1)`` in float32, and logf is not correctly rounded: 1 of 400 base scores
    tried was off by one unit in the last place. So the neighbours are candidates, and the golden set decides.

    Args:
        base_score: float32 probability, from 0 to 1.
    """
    one = np.float32(1)
    clamped = min(max(base_score, _BASE_SCORE_MIN), one - _BASE_SCORE_MIN)
    margin = np.float32(-math.log(one / clamped - one)) + np.float32(0)  # + 0 turns -0 into 0: same sums
    infinity = np.float32(np.inf)
    return (margin, np.nextafter(margin, infinity), np.nextafter(margin, -infinity))


def narrow(features: Floats, valid: Valid) -> npt.NDArray[np.float32]:
    """Turns the engine's features into what the model sees, for training and golden sets.

    Args:
        features: float64[n, F].
        valid: uint8[n, F]; 0 is missing.

    Returns:
        float32[n, F]: clamped to the finite range, NaN for missing.
    """
    clamped = np.clip(features, -kernels.FLOAT32_MAX, kernels.FLOAT32_MAX).astype(np.float32)
    clamped[valid == 0] = np.nan
    return clamped


class Forest:
    """A forest ready to score.

    Args:
        trees: Checked by `trees.read_trees`.
        base_margin: float32 log-odds before the first tree, one of `base_margins`.
    """

    def __init__(self, trees: Trees, base_margin: np.float32) -> None:
        self.feature_count = trees.feature_count
        self.tree_count = len(trees.trees)
        self.depth = trees.depth
        self.base_margin = base_margin
        inner = 1 << self.depth
        splits = np.zeros((inner, self.tree_count), np.uint32)
        values = np.zeros((2 * inner, self.tree_count), np.float32)
        expectations = np.zeros((2 * inner, self.tree_count), np.float64)
        for index, tree in enumerate(trees.trees):
            _lay_out(tree, self.feature_count, splits[:, index], values[:, index], expectations[:, index])
        self.bias = float(base_margin) + float(expectations[1].sum())
        """Mean margin over the training rows, log-odds: what is left when every contribution is taken away."""
        self._splits = splits.reshape(-1)
        self._values = values.reshape(-1)
        self._expectations = expectations.reshape(-1)
        self._row = np.zeros(2 * self.feature_count, np.float32)
        self._positions = np.zeros(self.tree_count, np.uint32)

    def score(
        self,
        features: Floats,
        valid: Valid,
        columns: Ints,
        margins: Floats,
    ) -> None:
        """Writes the margins of a batch.

        Args:
            features: float64[n, C], C-contiguous; magnitudes beyond float32 are clamped to its finite range.
            valid: uint8[n, C]; 0 is missing. NaN is missing, too.
            columns: int64[F], the matrix column of each feature, below C.
            margins: float64[n], written: the float32 margin, log-odds.
        """
        kernels.forest_margin(
            self._splits,
            self._values,
            self.depth,
            self.base_margin,
            features,
            valid,
            columns,
            self._row,
            self._positions,
            margins,
        )

    def attribute(
        self,
        features: Floats,
        valid: Valid,
        columns: Ints,
        row: int,
        contributions: Floats,
    ) -> float:
        """Attributes the margin of one row to its features, along the paths.

        Args:
            features: As `score`.
            valid: As `score`.
            columns: As `score`.
            row: Row to explain, below n.
            contributions: float64[C], written: log-odds by matrix column.

        Returns:
            The bias: with the contributions it adds up to the margin.
        """
        kernels.forest_attribution(
            self._splits,
            self._values,
            self._expectations,
            self.depth,
            self.tree_count,
            features,
            valid,
            columns,
            row,
            self._row,
            contributions,
        )
        return self.bias


def _lay_out(
    tree: Tree,
    feature_count: int,
    splits: npt.NDArray[np.uint32],
    values: npt.NDArray[np.float32],
    expectations: Floats,
) -> None:
    """Writes one tree's column of the heap arrays.

    Args:
        tree: The tree.
        feature_count: F: a node whose default is right points into the second copy of the row.
        splits: uint32[2^D], written.
        values: float32[2^(D+1)], written.
        expectations: float64[2^(D+1)], written.
    """
    inner = len(splits)
    nodes = np.zeros(2 * inner, np.int64)  # the tree's node at each heap position
    levels = [np.arange(first, 2 * first) for first in (1 << level for level in range(inner.bit_length() - 1))]
    for positions in levels:
        at = nodes[positions]
        leaf = tree.left[at] == -1
        nodes[2 * positions] = np.where(leaf, at, tree.left[at])
        nodes[2 * positions + 1] = np.where(leaf, at, tree.right[at])
        # A padded node asks feature 0 for nothing: both its children are the same leaf.
        splits[positions] = np.where(leaf, 0, tree.feature[at] + np.where(tree.default_left[at], 0, feature_count))
        values[positions] = np.where(leaf, np.float32(0), tree.value[at])
    values[inner:] = tree.value[nodes[inner:]]
    expectations[inner:] = values[inner:]
    for positions in reversed(levels):
        low, high = 2 * positions, 2 * positions + 1
        cover = tree.cover[nodes[low]]
        both = cover + tree.cover[nodes[high]]
        share = np.where(both > 0, cover / np.where(both > 0, both, 1), 0.5)
        expectations[positions] = share * expectations[low] + (1 - share) * expectations[high]
