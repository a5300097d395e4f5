"""Training: split by time, told settings, calibrated figures, and a bundle that serves what was trained."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from riskengine.errors import HistoryError
from riskengine.lab import metrics
from riskengine.lab.booster import FitSettings
from riskengine.lab.fit import FittedModel, fit_model
from riskengine.lab.split import split_by_time
from riskengine.model import Model, load_bundle, narrow
from riskengine.types import US_PER_DAY

NAMES = ("txn.amount", "card.payment_count_1h", "txn.nothing", "card.amount_sum_24h")
HASHES = tuple(f"hash-{name}" for name in NAMES)
ROWS = 6000
DAYS = 60


def history(seed: int = 0, rows: int = ROWS) -> dict[str, Any]:
    """Makes rows of 60 days in which two features tell fraud, one never has a value and one is noise."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(rows, 4))
    labels = rng.random(rows) < 1 / (1 + np.exp(4.0 - 1.5 * features[:, 0] - 1.0 * features[:, 1]))
    valid = (rng.random(features.shape) > 0.1).astype(np.uint8)
    valid[:, 2] = 0
    return {
        "features": narrow(features, valid),
        "labels": labels,
        "weights": None,
        "event_time_us": np.sort(rng.integers(0, DAYS * US_PER_DAY, rows)),
        "feature_names": NAMES,
        "definition_hashes": HASHES,
        "rounds": 20,
        "depth": 3,
        "settings": FitSettings(learning_rate=0.3),
        "threads": 1,
    }


@pytest.fixture(scope="module")
def fitted() -> FittedModel:
    """A model of `history`."""
    data = history()
    return fit_model(**data, slices={"first": data["features"][:, 0] > 0, "nobody": np.zeros(ROWS, np.bool_)})


def test_the_saved_bundle_serves_what_was_trained(fitted: FittedModel, tmp_path: Path) -> None:
    """Goal: training and serving agree. Method: margins bit for bit, probabilities, on rows of another history."""
    revision = fitted.save(tmp_path / "model", name="tried", created_time_us=0)
    bundle = load_bundle(tmp_path / "model")
    rows = history(seed=1, rows=200)["features"]
    margin, probability = np.empty(200), np.empty(200)

    matrix, valid = np.nan_to_num(rows.astype(np.float64)), (~np.isnan(rows)).astype(np.uint8)
    Model(bundle, NAMES).score(matrix, valid, margin, probability)

    assert revision == bundle.revision
    assert fitted.margins(rows).astype(np.float64).tolist() == margin.tolist()
    assert fitted.probabilities(rows).tolist() == probability.tolist()


def test_the_report_is_complete_and_sober(fitted: FittedModel) -> None:
    """Goal: people can judge the model from its report. Method: parts, figures, slices, features of a known history."""
    report = fitted.report
    parts, test = report["parts"], report["figures"]["test"]

    assert sum(part["rows"] for part in parts.values()) == ROWS
    assert parts["train"]["last_day"] + 7 <= parts["calibration"]["first_day"] + 0.001  # days are rounded
    assert parts["calibration"]["last_day"] < parts["test"]["first_day"]
    assert 0.75 < test["auc"] < 0.95
    assert 0.1 < test["average_precision"] < 0.8
    assert test["mean_probability"] == pytest.approx(test["fraud_share"], rel=0.4)
    assert test["brier"] < test["fraud_share"] * (1 - test["fraud_share"])
    assert 0 < report["slices"]["first"]["rows"] < test["rows"]
    assert (0, None) == (report["slices"]["nobody"]["rows"], report["slices"]["nobody"]["auc"])
    assert [row["name"] for row in report["features"]["top"]][:2] == ["txn.amount", "card.payment_count_1h"]
    assert (report["features"]["count"], report["features"]["used"]) == (4, 3)
    assert report["settings"]["xgboost"]["base_score"] == 0.5
    assert json.loads(json.dumps(report, allow_nan=False)) == report


def test_the_same_input_gives_the_same_bytes(fitted: FittedModel, tmp_path: Path) -> None:
    """Goal: training is deterministic. Method: twice, then with another seed."""
    data = history()
    slices = {"first": data["features"][:, 0] > 0, "nobody": np.zeros(ROWS, np.bool_)}
    first = fitted.save(tmp_path / "one", name="tried", created_time_us=0)

    assert first == fit_model(**data, slices=slices).save(tmp_path / "two", name="tried", created_time_us=0)
    assert first != fit_model(**data, slices=slices, seed=1).save(tmp_path / "three", name="tried", created_time_us=0)


def test_unknown_labels_change_nothing(fitted: FittedModel) -> None:
    """Goal: what is unknown is used nowhere. Method: as many rows again, unknown, with absurd labels and late times."""
    data = history()
    twice = {
        **data,
        "features": np.concatenate([data["features"], -data["features"]]),
        "labels": np.concatenate([data["labels"], ~data["labels"]]),
        "event_time_us": np.concatenate([data["event_time_us"], data["event_time_us"] + 30 * US_PER_DAY]),
    }

    model = fit_model(**twice, known=np.arange(2 * ROWS) < ROWS)

    assert ROWS == model.report["rows_unlabelled"]
    assert fitted.margins(data["features"]).tolist() == model.margins(data["features"]).tolist()


def test_early_stopping_keeps_the_best_rounds_only(tmp_path: Path) -> None:
    """Goal: the bundle holds the best iteration, not the last. Method: a fast learner that soon overfits."""
    data = {**history(), "rounds": 200, "settings": FitSettings(learning_rate=0.8, early_stopping_rounds=5)}
    model = fit_model(**data)
    model.save(tmp_path / "model", name="tried", created_time_us=0)

    assert 1 <= model.report["trees"] < 100
    assert model.report["trees"] == load_bundle(tmp_path / "model").forest.tree_count


def test_progress_is_told_round_by_round() -> None:
    """Goal: a progress bar can be drawn. Method: collect what is told."""
    told: list[tuple[int, int]] = []

    fit_model(**{**history(), "rounds": 3}, on_round=lambda done, of: told.append((done, of)))

    assert [(1, 3), (2, 3), (3, 3)] == told


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": np.zeros(ROWS, np.bool_)}, "the train part has 0 frauds among .* and needs at least 20"),
        ({"labels": np.ones(ROWS, np.bool_)}, "and some legitimate rows"),
        ({"labels": np.arange(ROWS) < 2000}, "the calibration part has 0 frauds"),
        ({"label_delay_us": 59 * US_PER_DAY}, "a longer history or a shorter label delay"),
        ({"known": np.zeros(ROWS, np.bool_)}, "no row has a known label"),
        ({"features": np.full((ROWS, 4), np.inf, np.float32)}, r"feature txn\.amount is infinite or beyond 1e\+37"),
    ],
)
def test_a_history_that_teaches_nothing_is_refused(change: dict[str, Any], message: str) -> None:
    """Goal: a clear word instead of a useless model. Method: one lack at a time."""
    with pytest.raises(HistoryError, match=message):
        fit_model(**{**history(), **change})


@given(
    times=st.lists(st.integers(0, 50), min_size=1, max_size=80),
    delay=st.integers(0, 20),
    shares=st.sampled_from([(0.15, 0.15), (0.5, 0.4), (0.2, 0.0)]),
)
def test_parts_are_disjoint_and_ordered_in_time(times: list[int], delay: int, shares: tuple[float, float]) -> None:
    """Goal: nothing leaks from later parts. Method: any times, ties above all."""
    times_us = np.array(times, np.int64)
    known = np.arange(len(times)) % 3 != 1
    parts = split_by_time(times_us, known, label_delay_us=delay, calibration_share=shares[0], test_share=shares[1])
    bounds = [(int(times_us[mask].min()), int(times_us[mask].max())) for mask in parts.values() if mask.any()]

    assert np.array_equal(np.sum(list(parts.values()), axis=0), known.astype(int))
    assert all(before[1] < after[0] for before, after in pairwise(bounds))
    if parts["train"].any() and parts["calibration"].any():
        assert times_us[parts["train"]].max() + delay < times_us[parts["calibration"]].min()


@given(
    rows=st.lists(st.tuples(st.integers(0, 6), st.booleans(), st.integers(1, 4)), min_size=2, max_size=40).filter(
        lambda rows: len({label for _, label, _ in rows}) == 2
    )
)
def test_figures_agree_with_their_definitions(rows: list[tuple[int, bool, int]]) -> None:
    """Goal: AUC by pairs, average precision by thresholds, weights as repeated rows. Method: written out."""
    repeated = [(score, label) for score, label, weight in rows for _ in range(weight)]
    frauds = [score for score, label in repeated if label]
    others = [score for score, label in repeated if not label]
    pairs = [1.0 if fraud > other else 0.5 if fraud == other else 0.0 for fraud in frauds for other in others]
    precision_sum = 0.0
    for threshold in set(frauds):
        caught, alarms = sum(s >= threshold for s in frauds), sum(s >= threshold for s in others)
        precision_sum += frauds.count(threshold) * caught / (caught + alarms)
    scores, labels, weights = (np.array(column) for column in zip(*rows, strict=True))
    arguments = scores.astype(np.float64), labels, weights.astype(np.float64)

    assert metrics.auc(*arguments) == pytest.approx(np.mean(pairs))
    assert metrics.average_precision(*arguments) == pytest.approx(precision_sum / len(frauds))


def test_the_calibration_table_covers_every_row_once() -> None:
    """Goal: bins are of about equal count and right about their rows. Method: probabilities with many ties."""
    probabilities = np.repeat([0.1, 0.2, 0.3], [50, 1, 49])
    labels = np.arange(100) % 10 == 0

    table = metrics.calibration_table(probabilities, labels)

    assert 100 == sum(int(row["rows"]) for row in table)
    assert [0.1, 0.2, 0.3] == sorted({row["lowest"] for row in table} | {row["highest"] for row in table})
    assert table[0] == pytest.approx(
        {"lowest": 0.1, "highest": 0.1, "rows": 50, "mean_probability": 0.1, "fraud_share": 0.1}
    )
