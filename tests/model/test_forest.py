"""The forest against xgboost itself, bit for bit."""

import json
from typing import Any

import numpy as np
import pytest
import xgboost
from hypothesis import given, settings
from hypothesis import strategies as st

from riskengine.model.forest import Forest, base_margins, narrow
from riskengine.model.trees import read_trees
from tests.model import builders
from tests.model.conftest import train

SEEDS = st.integers(0, 2**32 - 1)


def forest_of(booster: xgboost.Booster, feature_count: int, *, candidate: int = 0) -> Forest:
    document = json.loads(bytes(booster.save_raw("json")))
    trees = read_trees(document, feature_names=tuple(booster.feature_names or map(str, range(feature_count))))
    return Forest(trees, base_margins(trees.base_score)[candidate])


def margins_of(forest: Forest, features: builders.Floats32) -> np.ndarray[Any, np.dtype[np.float64]]:
    margins = np.empty(len(features))
    forest.score(*builders.engine_rows(features), np.arange(features.shape[1]), margins)
    return margins


@given(
    seed=SEEDS,
    depth=st.integers(1, 8),
    rounds=st.integers(1, 25),
    feature_count=st.integers(1, 12),
    method=st.sampled_from(["hist", "exact", "approx"]),
    base_score=st.sampled_from([None, 0.5, 0.01, 0.999]),
    fraud_share=st.sampled_from([0.0, 0.01, 0.3, 1.0]),
)
@settings(max_examples=60)
def test_margin_equals_xgboost_bit_for_bit(
    seed: int, depth: int, rounds: int, feature_count: int, method: str, base_score: float | None, fraud_share: float
) -> None:
    """Goal: no difference in any bit, on data xgboost saw and on rows it never saw.

    Method: trained forests of every depth, single leaves and constant labels among them, a column without values, a
    fitted or given base score; rows with zeros of both signs, subnormals, extremes and holes.
    """
    rng = np.random.default_rng(seed)
    features = builders.feature_rows(rng, rows=150, feature_count=feature_count)
    features[np.abs(features) > 1e37] = 2.0  # beyond that split points may be infinite; fit refuses it
    labels = rng.random(150) < fraud_share + 0.1 * np.nan_to_num(features[:, 0]) * (0 < fraud_share < 1)
    given_score: dict[str, Any] = {} if base_score is None else {"base_score": base_score}
    booster = train(
        features, labels, rounds=rounds, max_depth=depth, tree_method=method, min_child_weight=0, eta=0.5, **given_score
    )
    unseen = np.concatenate([features, builders.feature_rows(rng, rows=150, feature_count=feature_count)])
    expected = booster.inplace_predict(unseen, predict_type="margin")

    # logf is not correctly rounded, so the base margin may be a neighbour; a bundle's golden set decides which.
    actual = [margins_of(forest_of(booster, feature_count, candidate=index), unseen) for index in range(3)]

    assert expected.astype(np.float64).tolist() in [margins.tolist() for margins in actual]


def test_batch_and_single_rows_give_the_same_bits() -> None:
    """Goal: a row's margin does not depend on its batch. Method: 64 rows at once and one by one."""
    rng = np.random.default_rng(3)
    features = builders.feature_rows(rng, rows=64, feature_count=6)
    forest = forest_of(train(features, rng.random(64) < 0.4, max_depth=5), 6)

    together = margins_of(forest, features)

    assert together.tolist() == [margins_of(forest, features[row : row + 1])[0] for row in range(64)]


@given(seed=SEEDS, depth=st.integers(1, 8))
@settings(max_examples=20)
def test_attribution_equals_xgboosts_approximate_contributions(seed: int, depth: int) -> None:
    """Goal: the path attribution is the known one. Method: ``pred_contribs`` with ``approx_contribs`` as the oracle."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(200, 5)).astype(np.float32)
    features[rng.random(features.shape) < 0.2] = np.nan
    booster = train(features, rng.random(200) < 0.3, max_depth=depth)
    forest = forest_of(booster, 5)
    contributions = np.empty(5)

    bias = forest.attribute(*builders.engine_rows(features), np.arange(5), 11, contributions)

    row = xgboost.DMatrix(features[11:12])
    expected = booster.predict(row, pred_contribs=True, approx_contribs=True)[0]
    np.testing.assert_allclose([*contributions, bias], expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("base_score", [1e-6, 0.0078125, 0.09373333, 0.5, 0.75, 0.999])
def test_base_margin_is_xgboosts_or_its_neighbour(base_score: float) -> None:
    """Goal: the log-odds of the base score are found. Method: a booster whose one tree adds nothing."""
    features = np.zeros((4, 1), np.float32)
    booster = train(features, np.array([0, 1, 0, 1]), rounds=1, eta=0.0, base_score=base_score)

    expected = booster.inplace_predict(features, predict_type="margin")[0]

    assert expected in base_margins(np.float32(base_score))


def test_narrow_gives_what_the_kernel_reads() -> None:
    """Goal: training and serving see the same float32. Method: extremes, NaN, and a value behind an invalid mark."""
    features = np.array([[1e300, -1e300, 0.1, 7.0, np.nan]])
    valid = np.array([[1, 1, 1, 0, 1]], np.uint8)

    actual = narrow(features, valid)

    largest = np.finfo(np.float32).max
    np.testing.assert_array_equal(np.array([[largest, -largest, 0.1, np.nan, np.nan]], np.float32), actual)
