"""A small bundle that passes every check, made once."""

from pathlib import Path

import numpy as np
import pytest
import xgboost

from riskengine.model import Calibrator, write_bundle
from tests.model import builders

NAMES = ("txn.amount", "card.payment_count_1h", "card.amount_sum_24h", "device.account_distinct_24h", "txn.hour")


def train(
    features: builders.Floats32,
    labels: np.ndarray,
    *,
    rounds: int = 6,
    names: tuple[str, ...] = (),
    **parameters: object,
) -> xgboost.Booster:
    """Trains a small booster."""
    matrix = xgboost.DMatrix(features, labels, feature_names=list(names) or None)
    return xgboost.train({"objective": "binary:logistic", "nthread": 1, **parameters}, matrix, rounds)


@pytest.fixture(scope="session")
def good_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a valid bundle of 6 trees over NAMES, with a fitted base score."""
    rng = np.random.default_rng(7)
    features = rng.normal(size=(400, len(NAMES))).astype(np.float32)
    features[rng.random(features.shape) < 0.1] = np.nan
    labels = np.nan_to_num(features[:, 0]) + rng.normal(size=400) > 1
    booster = train(features, labels, names=NAMES, max_depth=4)
    directory = tmp_path_factory.mktemp("models") / "good"
    write_bundle(
        directory,
        name="good",
        created_time_us=1_700_000_000_000_000,
        model_json=bytes(booster.save_raw("json")),
        calibrator=Calibrator(np.array([-2.0, 0.0, 2.0]), np.array([-3.0, -1.0, 1.5]), 0.5, 1.0),
        feature_names=NAMES,
        definition_hashes=[f"hash-{name}" for name in NAMES],
        report={"note": "made up"},
        golden_features=features[:80],
        golden_margins=booster.inplace_predict(features[:80], predict_type="margin"),
        xgboost_version=xgboost.__version__,
    )
    return directory
