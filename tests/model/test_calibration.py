"""The calibrator: strictly increasing, never certain, and right about shares."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from riskengine.errors import BundleError
from riskengine.model.calibration import Calibrator, fit_calibrator


@given(
    seed=st.integers(0, 2**32 - 1),
    rows=st.integers(1, 3000),
    share=st.sampled_from([0.0, 0.003, 0.2, 1.0]),
    direction=st.sampled_from([-1.0, 0.0, 1.0]),
    digits=st.sampled_from([0, 1, 7]),
    weighted=st.booleans(),
)
def test_a_larger_margin_always_has_a_larger_probability(
    seed: int, rows: int, share: float, direction: float, digits: int, weighted: bool
) -> None:
    """Goal: no plateau and no certainty, whatever the data. Method: ties, useless and inverted margins, too."""
    rng = np.random.default_rng(seed)
    margins = np.round(rng.normal(-3, 2, rows), digits)
    labels = rng.random(rows) < share * np.exp(direction * (margins - margins.mean()))
    calibrator = fit_calibrator(margins, labels, rng.random(rows) + 0.1 if weighted else None)
    grid = np.sort(np.concatenate([margins, np.linspace(-18, 12, 2000)]))
    grid = grid[np.diff(grid, prepend=-100) > 1e-6]

    probabilities = calibrator.probabilities(grid)

    assert np.all(np.diff(probabilities) > 0)
    assert 0 < probabilities.min() <= probabilities.max() < 1


def test_probabilities_are_the_shares_of_fraud() -> None:
    """Goal: it calibrates. Method: margins steeper than and shifted from the true log-odds; fresh rows judge."""
    rng = np.random.default_rng(5)

    def sample(rows: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        log_odds = rng.normal(-4, 1.5, rows)
        return 2 * log_odds + 3, rng.random(rows) < 1 / (1 + np.exp(-log_odds))

    calibrator = fit_calibrator(*sample(200_000))
    margins, labels = sample(200_000)
    probabilities = calibrator.probabilities(margins)

    for low, high in ((0.001, 0.01), (0.01, 0.05), (0.05, 0.2), (0.2, 0.9)):
        part = (probabilities >= low) & (probabilities < high)
        assert labels[part].mean() == pytest.approx(probabilities[part].mean(), rel=0.1)


def test_weights_count_rows() -> None:
    """Goal: a row of weight three is three rows. Method: the same history, written both ways."""
    margins = np.array([-2.0, -1.0, 0.0, 1.0, 2.0])
    labels = np.array([False, False, True, False, True])

    weighted = fit_calibrator(margins, labels, np.array([3.0, 3.0, 1.0, 1.0, 1.0]))

    repeated = fit_calibrator(np.repeat(margins, [3, 3, 1, 1, 1]), np.repeat(labels, [3, 3, 1, 1, 1]))
    np.testing.assert_allclose(weighted.probabilities(margins), repeated.probabilities(margins), rtol=0.25)


def test_documents_survive_json_unchanged() -> None:
    """Goal: what was fitted is what is served. Method: there and back through `document`."""
    rng = np.random.default_rng(1)
    margins = rng.normal(size=500)
    calibrator = fit_calibrator(margins, rng.random(500) < 1 / (1 + np.exp(-margins)))

    again = Calibrator.from_document(calibrator.document())

    assert calibrator.probabilities(margins).tobytes() == again.probabilities(margins).tobytes()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"log_odds": [0.0, 0.0]}, "do not rise strictly"),
        ({"margins": [1.0, 0.0]}, "do not rise strictly"),
        ({"margins": [0.0]}, "each with a margin and log-odds"),
        ({"margins": [], "log_odds": []}, "1 to 1024 knots"),
        ({"slope_low": 0.0}, "not above zero"),
        ({"slope_high": -1}, "not above zero"),
        ({"slope_high": 1e999}, "not finite"),
        ({"slope_high": True}, "not a calibrator"),
        ({"margins": ["0", "1"]}, "not a calibrator"),
        ({"margins": None}, "not a calibrator"),
        ({"log_odds": [0, 10**400]}, "not a calibrator"),
    ],
)
def test_anything_but_a_rising_map_is_refused(change: dict[str, Any], message: str) -> None:
    """Goal: a damaged calibrator never scores. Method: one mistake at a time, with its message."""
    good = {"margins": [0.0, 1.0], "log_odds": [-1.0, 1.0], "slope_low": 1.0, "slope_high": 1.0}

    with pytest.raises(BundleError, match=message):
        Calibrator.from_document({**good, **change})
