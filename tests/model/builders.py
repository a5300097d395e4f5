"""Forests and bundles for the tests: made up node by node, or trained by xgboost on made-up rows.

INVARIANT: everything comes from a seed. Called by tests/model and tests/lab.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from riskengine.model.bundle import CONTENT, FORMAT, FORMAT_VERSION, MANIFEST
from riskengine.model.files import render_json

Floats32 = npt.NDArray[np.float32]


def tree_document(rng: np.random.Generator, *, feature_count: int, depth: int, leaf_share: float) -> dict[str, Any]:
    """Makes one tree as xgboost writes it: nodes in the order of their levels, leaves wherever chance says."""
    tree: dict[str, Any] = {
        key: []
        for key in (
            *("left_children", "right_children", "split_indices", "default_left"),
            *("split_conditions", "sum_hessian", "split_type"),
        )
    }
    level = [0]
    count = 1
    for step in range(depth + 1):
        below: list[int] = []
        for _ in level:
            leaf = step == depth or rng.random() < leaf_share
            tree["left_children"].append(-1 if leaf else count)
            tree["right_children"].append(-1 if leaf else count + 1)
            tree["split_indices"].append(0 if leaf else int(rng.integers(feature_count)))
            tree["default_left"].append(int(rng.integers(2)))
            tree["split_conditions"].append(float(np.float32(rng.choice([rng.normal(), 0.0, -1.0, 1e-40]))))
            tree["sum_hessian"].append(float(np.float32(rng.choice([0.0, 1.0, rng.random() * 100]))))
            tree["split_type"].append(0)
            if not leaf:
                below += [count, count + 1]
                count += 2
        level = below
    return {**tree, "categories": [], "tree_param": {"size_leaf_vector": "1", "num_nodes": str(count)}}


def model_document(
    rng: np.random.Generator, *, feature_count: int, tree_count: int, depth: int, base_score: str = "[5E-1]"
) -> dict[str, Any]:
    """Makes a whole model file."""
    trees = [
        tree_document(rng, feature_count=feature_count, depth=int(rng.integers(depth + 1)), leaf_share=rng.random() / 2)
        for _ in range(tree_count)
    ]
    return {
        "learner": {
            "feature_names": [],
            "gradient_booster": {"name": "gbtree", "model": {"trees": trees, "tree_info": [0] * tree_count}},
            "learner_model_param": {
                "base_score": base_score,
                "num_class": "0",
                "num_feature": str(feature_count),
                "num_target": "1",
            },
            "objective": {"name": "binary:logistic"},
        },
        "version": [3, 2, 0],
    }


def feature_rows(rng: np.random.Generator, *, rows: int, feature_count: int) -> Floats32:
    """Makes float32 rows full of ties with thresholds, holes, extremes, and one feature that is always missing."""
    usual = rng.normal(size=(rows, feature_count))
    odd = rng.choice([0.0, -0.0, 1.0, -1.0, 1e-40, 3.4e38, -3.4e38], size=usual.shape)
    features = np.where(rng.random(usual.shape) < 0.2, odd, usual).astype(np.float32)
    features[rng.random(usual.shape) < 0.2] = np.nan
    if feature_count > 1:
        features[:, rng.integers(feature_count)] = np.nan
    return features


def engine_rows(features: Floats32) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.uint8]]:
    """Turns float32 rows with NaN into the engine's matrix and validity."""
    return np.nan_to_num(features.astype(np.float64)), (~np.isnan(features)).astype(np.uint8)


def read_bundle(directory: Path) -> dict[str, bytes]:
    """Returns the files of a bundle but its manifest."""
    return {name: (directory / name).read_bytes() for name in CONTENT}


def seal(directory: Path, contents: dict[str, bytes], **changes: Any) -> Path:
    """Writes a bundle whose manifest is right, whatever the files hold: what a forger would do."""
    directory.mkdir(parents=True)
    fingerprints = {
        name: {"sha256": hashlib.sha256(raw).hexdigest(), "size_bytes": len(raw)} for name, raw in contents.items()
    }
    manifest = {
        "created_time": "2024-01-01T00:00:00Z",
        "files": fingerprints,
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "name": "forged",
        "xgboost_version": "3.2.0",
        **changes,
    }
    manifest["checksum"] = hashlib.sha256(render_json(manifest)).hexdigest()
    for name, raw in contents.items():
        (directory / name).write_bytes(raw)
    (directory / MANIFEST).write_bytes(render_json(manifest))
    return directory


def as_json(document: Any) -> bytes:
    """Renders JSON as anybody might, NaN and Infinity included."""
    return json.dumps(document).encode()
