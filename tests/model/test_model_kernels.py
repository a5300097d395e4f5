"""The kernels of the model against their twins. Run compiled, interpreted and bounds-checked; no xgboost here."""

from typing import Any

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from riskengine.model.calibration import Calibrator
from riskengine.model.forest import Forest
from riskengine.model.kernels import FLOAT32_MAX
from riskengine.model.trees import read_trees
from tests.model import builders
from tests.naive import model as naive

SEEDS = st.integers(0, 2**32 - 1)


def forest_and_trees(rng: np.random.Generator, features: int, depth: int) -> tuple[Forest, list[dict[str, Any]]]:
    document = builders.model_document(rng, feature_count=features, tree_count=int(rng.integers(1, 40)), depth=depth)
    names = tuple(f"f{index}" for index in range(features))
    forest = Forest(read_trees(document, feature_names=names), np.float32(rng.normal()))
    return forest, document["learner"]["gradient_booster"]["model"]["trees"]


@given(seed=SEEDS, features=st.integers(1, 9), depth=st.integers(0, 8))
@example(seed=0, features=1, depth=0)
def test_margin_is_that_of_a_walk_along_pointers(seed: int, features: int, depth: int) -> None:
    """Goal: the heap layout changes no bit. Method: made-up trees of any shape, rows full of ties and holes."""
    rng = np.random.default_rng(seed)
    forest, trees = forest_and_trees(rng, features, depth)
    rows = builders.feature_rows(rng, rows=5, feature_count=features)
    margins = np.empty(5)

    forest.score(*builders.engine_rows(rows), np.arange(features), margins)

    expected = naive.forest_margin(trees, forest.base_margin, rows)
    assert expected.astype(np.float64).tobytes() == margins.tobytes()


@given(seed=SEEDS)
def test_margin_reads_the_columns_it_is_given_and_no_invalid_value(seed: int) -> None:
    """Goal: columns are mapped, and a value marked missing is never read. Method: a shuffled, wider, poisoned one."""
    rng = np.random.default_rng(seed)
    forest, trees = forest_and_trees(rng, 4, 5)
    rows = builders.feature_rows(rng, rows=3, feature_count=4)
    values, present = builders.engine_rows(rows)
    columns = rng.permutation(7)[:4]
    wide, valid = np.full((3, 7), np.nan), np.ones((3, 7), np.uint8)
    wide[:, columns] = np.where(present == 1, values, 12345.0)
    valid[:, columns] = present
    margins = np.empty(3)

    forest.score(wide, valid, columns, margins)

    assert naive.forest_margin(trees, forest.base_margin, rows).tolist() == margins.tolist()


def test_values_beyond_float32_are_clamped_and_nan_is_missing() -> None:
    """Goal: no infinity enters the row, where it stands for missing. Method: a split at the least float32."""
    rng = np.random.default_rng(0)
    document = builders.model_document(rng, feature_count=1, tree_count=1, depth=0)
    document["learner"]["gradient_booster"]["model"]["trees"][0].update(
        left_children=[1, -1, -1],
        right_children=[2, -1, -1],
        split_indices=[0, 0, 0],
        default_left=[1, 0, 0],
        split_conditions=[-FLOAT32_MAX, -1.0, 1.0],
        sum_hessian=[2.0, 1.0, 1.0],
        split_type=[0, 0, 0],
    )
    forest = Forest(read_trees(document, feature_names=("a",)), np.float32(0))
    rows = np.array([[1e300], [np.inf], [-3.41e38], [-1e300], [-np.inf], [np.nan]])
    margins = np.empty(6)

    forest.score(rows, np.ones((6, 1), np.uint8), np.zeros(1, np.int64), margins)

    assert [1.0, 1.0, 1.0, 1.0, 1.0, -1.0] == margins.tolist()


@given(seed=SEEDS, depth=st.integers(0, 8))
def test_attribution_is_the_change_along_the_path_and_adds_up(seed: int, depth: int) -> None:
    """Goal: contributions are the twin's, by matrix column, and with the bias add up to the margin."""
    rng = np.random.default_rng(seed)
    forest, trees = forest_and_trees(rng, 4, depth)
    rows = builders.feature_rows(rng, rows=3, feature_count=4)
    values, valid = builders.engine_rows(rows)
    contributions, margins = np.full(4, np.nan), np.empty(3)

    bias = forest.attribute(values, valid, np.arange(4), 1, contributions)

    forest.score(values, valid, np.arange(4), margins)
    expected, expected_bias = naive.forest_attribution(trees, forest.base_margin, rows[1])
    np.testing.assert_allclose(contributions, expected, rtol=0, atol=1e-9)
    assert abs(bias - expected_bias) < 1e-9
    assert abs(bias + contributions.sum() - margins[1]) < 1e-4


@given(
    steps=st.lists(st.tuples(st.floats(1e-3, 5), st.floats(1e-3, 5)), max_size=20),
    slopes=st.tuples(st.floats(0.1, 2), st.floats(0.1, 2)),
    margins=st.lists(st.floats(-1e6, 1e6) | st.floats(-10, 10), max_size=20),
)
def test_calibration_is_linear_between_knots_with_straight_tails(
    steps: list[tuple[float, float]], slopes: tuple[float, float], margins: list[float]
) -> None:
    """Goal: the search among knots finds the right two. Method: any strictly rising knots against a linear scan."""
    knots = np.cumsum(np.array([(-5.0, -7.0), *steps]), axis=0)
    calibrator = Calibrator(knots[:, 0].copy(), knots[:, 1].copy(), *slopes)

    probabilities = calibrator.probabilities(np.array(margins, np.float64))

    expected = naive.calibrate([(x, y) for x, y in knots.tolist()], *slopes, margins)
    np.testing.assert_allclose(probabilities, expected, rtol=1e-9, atol=1e-16)
    assert np.all((probabilities > 0) & (probabilities < 1))
