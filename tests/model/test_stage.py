"""The stage: features by name, columns anywhere, errors that help."""

from pathlib import Path

import numpy as np
import pytest

from riskengine.errors import BundleError
from riskengine.model import Model, load_bundle
from tests.model.conftest import NAMES


def test_columns_are_found_by_name_in_any_order(good_bundle: Path) -> None:
    """Goal: the model reads its features wherever they stand. Method: the same row in two matrices."""
    bundle = load_bundle(good_bundle)
    others = ("list.blocked", *reversed(NAMES), "model.margin")
    values = {name: float(index) - 2 for index, name in enumerate(NAMES)}
    results = []
    for names in (NAMES, others):
        row = np.array([[values.get(name, 99.0) for name in names]])
        margin, probability = np.empty(1), np.empty(1)
        Model(bundle, names).score(row, np.ones(row.shape, np.uint8), margin, probability)
        results.append((margin[0], probability[0]))

    assert results[0] == results[1]


def test_contributions_stand_at_their_columns_and_add_up(good_bundle: Path) -> None:
    """Goal: bias and contributions are the margin; columns the model does not ask stay 0."""
    names = ("unasked", *NAMES)
    model = Model(load_bundle(good_bundle), names)
    rows = np.random.default_rng(2).normal(size=(4, len(names)))
    valid = np.ones(rows.shape, np.uint8)
    margin, probability, contributions = np.empty(4), np.empty(4), np.full(len(names), np.nan)
    model.score(rows, valid, margin, probability)

    bias = model.attribute(rows, valid, 2, contributions)

    assert bias + contributions.sum() == pytest.approx(margin[2], abs=1e-5)
    assert contributions[0] == 0.0
    assert np.count_nonzero(contributions) >= 1


def test_a_missing_feature_is_named_with_the_nearest(good_bundle: Path) -> None:
    """Goal: the message says what to write instead. Method: one name misspelt in the matrix."""
    names = [name.replace("card.payment_count_1h", "card.payments_count_1h") for name in NAMES]

    with pytest.raises(BundleError, match=r'card\.payment_count_1h \(did you mean "card\.payments_count_1h"\?\)'):
        Model(load_bundle(good_bundle), names)


def test_a_feature_defined_otherwise_than_at_training_is_refused(good_bundle: Path) -> None:
    """Goal: the same name with another meaning is not scored. Method: one hash changed, then all as they were."""
    bundle = load_bundle(good_bundle)
    hashes = dict(zip(bundle.feature_names, bundle.definition_hashes, strict=True))
    assert Model(bundle, NAMES, definition_hashes=hashes).column_count == len(NAMES)

    with pytest.raises(BundleError, match=r"other definitions of txn\.hour;"):
        Model(bundle, NAMES, definition_hashes={**hashes, "txn.hour": "changed"})


def test_a_matrix_of_another_width_is_not_scored(good_bundle: Path) -> None:
    """Goal: no read out of bounds. Method: a matrix one column narrower than the names."""
    model = Model(load_bundle(good_bundle), NAMES)
    narrow = np.zeros((2, len(NAMES) - 1))

    with pytest.raises(AssertionError):
        model.score(narrow, np.ones(narrow.shape, np.uint8), np.empty(2), np.empty(2))
