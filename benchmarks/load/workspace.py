"""A configuration folder for the load: the starter configuration with a live model of full size.

INVARIANT: everything comes from a seed; the labels are noise, since only the model's shape costs time. Called by
`benchmarks.load.__main__`.
"""

import shutil
from pathlib import Path
from typing import Final

import numpy as np
import xgboost

from riskengine.clock import SystemClock
from riskengine.engine.configuration import ACTIVE_MODEL_FILE, load_configuration
from riskengine.model import fit_calibrator, write_bundle
from riskengine.settings import load_settings
from riskengine.wire.pseudonyms import Pseudonyms, TagKey

DEFAULTS: Final = Path(__file__).resolve().parents[2] / "riskengine" / "defaults"
MODEL: Final = "load"
TRAINING_ROWS: Final = 6_000
FRAUD_SHARE: Final = 0.02
SETTINGS: Final = """\
listen: 127.0.0.1:0
deadline: {default_ms: 2000, max_ms: 10000}
"""


def make_workspace(folder: Path, *, trees: int, depth: int, seed: int) -> None:
    """Writes the folder.

    Args:
        folder: Made.
        trees: Of the model.
        depth: Of each tree.
        seed: Of the training rows.
    """
    folder.mkdir(parents=True)
    for name in ("features.yaml", "policy.yaml", "reason_codes.yaml"):
        shutil.copy(DEFAULTS / name, folder / name)
    policy = (folder / "policy.yaml").read_text()
    assert "mode: shadow" in policy, "the starter policy serves its model in shadow"
    (folder / "policy.yaml").write_text(policy.replace("mode: shadow", "mode: live", 1))
    (folder / "server.yaml").write_text(SETTINGS)
    key = TagKey.create(folder / "tag.key")
    settings = load_settings(folder / "server.yaml")
    configuration = load_configuration(
        folder,
        limits=settings.limits.engine_limits(),
        base_currency=settings.base_currency,
        model_dir=settings.model_dir,
        tag=Pseudonyms(key).tag,
    )
    _train(settings.model_dir, configuration.features.names, configuration.features.hashes, trees, depth, seed)


def _train(model_dir: Path, names: tuple[str, ...], hashes: tuple[str, ...], trees: int, depth: int, seed: int) -> None:
    """Trains on noise and makes the bundle active."""
    rng = np.random.default_rng(seed)
    rows = rng.lognormal(size=(TRAINING_ROWS, len(names))).astype(np.float32)
    rows[rng.random(rows.shape) < 0.2] = np.nan
    labels = rng.random(TRAINING_ROWS) < FRAUD_SHARE
    parameters = {
        "objective": "binary:logistic",
        "max_depth": depth,
        "eta": 0.02,
        "base_score": 0.5,
        "min_child_weight": 0,
        "nthread": 1,
        "seed": seed,
    }
    booster = xgboost.train(parameters, xgboost.DMatrix(rows, labels), num_boost_round=trees)
    margins = booster.predict(xgboost.DMatrix(rows), output_margin=True)
    write_bundle(
        model_dir / MODEL,
        name=MODEL,
        created_time_us=SystemClock().now_us(),
        model_json=bytes(booster.save_raw("json")),
        calibrator=fit_calibrator(margins, labels),
        feature_names=names,
        definition_hashes=hashes,
        report={"rows": TRAINING_ROWS},
        golden_features=rows[:64],
        golden_margins=margins[:64],
        xgboost_version=xgboost.__version__,
    )
    (model_dir / ACTIVE_MODEL_FILE).write_text(f"{MODEL}\n")
