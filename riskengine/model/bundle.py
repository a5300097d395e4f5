"""Bundles: a model as a directory that proves itself before it scores.

    model.json       the trees, in xgboost's own JSON: it is read by a memory-safe parser and our own checks, and
                     xgboost, which crashes on damaged files (.ubj above all), is never loaded while serving
    calibrator.json  margin -> probability
    features.json    the features in order, each with the hash of its definition
    golden.json      rows of float32 features (null: missing) and the margins xgboost gave them, as hex floats
    report.json      how it was trained and how good it is; for people
    manifest.json    format, name, time, xgboost version, size and SHA-256 of each file, and its own checksum

INVARIANTS: `load_bundle` believes nothing: hashes first, then the structure of every file, then the golden set
through the serving kernel, bit for bit. `write_bundle` publishes only what `load_bundle` accepts. The revision, the
first 12 hex digits of the manifest's SHA-256, stands for all bytes. Checksums guard against damage, not against a
forger.

Called by `engine` and `lab`.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from riskengine.errors import BundleError
from riskengine.types import Floats

from .calibration import Calibrator
from .files import parse_json, publish, read_files, render_json
from .forest import Forest, base_margins
from .trees import FEATURES_MAX, Trees, read_trees

FORMAT: Final = "riskengine.model"
FORMAT_VERSION: Final = 1
GOLDEN_ROWS_MIN: Final = 64
GOLDEN_ROWS_MAX: Final = 4_096
MANIFEST: Final = "manifest.json"
CONTENT: Final = ("calibrator.json", "features.json", "golden.json", "model.json", "report.json")
_MANIFEST_KEYS: Final = {"checksum", "created_time", "files", "format", "format_version", "name", "xgboost_version"}
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_ADVICE: Final = "copy the bundle again from where it was made, or train a new one with `riskengine train`"

Floats32 = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Bundle:
    """A model that passed every check.

    Attributes:
        name: As given when it was made; lower case.
        revision: 12 hex digits that stand for all its bytes.
        created_time: RFC 3339, UTC.
        xgboost_version: That trained it.
        feature_names: In the order of the model.
        definition_hashes: Of each feature's definition at training.
        forest: Ready to score.
        calibrator: Margin to probability.
        report: The training report, for people.
    """

    name: str
    revision: str
    created_time: str
    xgboost_version: str
    feature_names: tuple[str, ...]
    definition_hashes: tuple[str, ...]
    forest: Forest
    calibrator: Calibrator
    report: Mapping[str, Any]


def load_bundle(path: Path | str) -> Bundle:
    """Reads and proves a bundle.

    Args:
        path: The bundle's directory.

    Raises:
        BundleError: If anything at all is wrong; says what, and what to do.
    """
    try:
        return _check(read_files(Path(path), (MANIFEST, *CONTENT)))
    except BundleError as error:
        raise BundleError(f"model bundle {Path(path).name}: {error.message}; {_ADVICE}") from error


def write_bundle(
    path: Path | str,
    *,
    name: str,
    created_time_us: int,
    model_json: bytes,
    calibrator: Calibrator,
    feature_names: Sequence[str],
    definition_hashes: Sequence[str],
    report: Mapping[str, Any],
    golden_features: Floats32,
    golden_margins: Floats32,
    xgboost_version: str,
    replace: bool = False,
) -> str:
    """Checks a model as `load_bundle` would and publishes it in one step.

    Args:
        path: Directory to make; its parent is made, too.
        name: Lower case letters, digits, ``.``, ``_``, ``-``; 1 to 63.
        created_time_us: Microseconds since the epoch, told by the caller.
        model_json: What ``Booster.save_raw("json")`` gave.
        calibrator: Fitted on rows the model has not seen.
        feature_names: In the order of the model's columns, no name twice.
        definition_hashes: One for each feature.
        report: Plain JSON values, finite.
        golden_features: float32[n, F], 64 <= n <= 4096, finite or NaN for missing.
        golden_margins: float32[n], xgboost's margins of these rows.
        xgboost_version: Of the library that trained and scored.
        replace: Whether a bundle already there may be replaced.

    Returns:
        The revision.

    Raises:
        BundleError: If the bundle would not load, or the path is taken.
    """
    trees = read_trees(parse_json(model_json), feature_names=tuple(feature_names))
    base_margin = _find_base_margin(trees, golden_features, golden_margins)
    golden = {
        "base_margin": float(base_margin).hex(),
        "features": [[None if np.isnan(value) else value.hex() for value in row] for row in golden_features.tolist()],
        "margins": [margin.hex() for margin in golden_margins.tolist()],
    }
    features = [
        {"name": feature, "definition_hash": text}
        for feature, text in zip(feature_names, definition_hashes, strict=True)
    ]
    contents = {
        "calibrator.json": render_json(calibrator.document()),
        "features.json": render_json({"features": features}),
        "golden.json": render_json(golden),
        "model.json": model_json,
        "report.json": render_json(dict(report)),
    }
    created_time = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=created_time_us)
    manifest = {
        "created_time": created_time.isoformat().replace("+00:00", "Z"),
        "files": {file: _fingerprint(raw) for file, raw in contents.items()},
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "name": name,
        "xgboost_version": xgboost_version,
    }
    contents[MANIFEST] = render_json({**manifest, "checksum": hashlib.sha256(render_json(manifest)).hexdigest()})
    bundle = _check(contents)
    publish(Path(path), contents, replace=replace)
    return bundle.revision


def _check(contents: Mapping[str, bytes]) -> Bundle:
    """Proves the files of a bundle: hashes before anything else is parsed, then structure, then the golden set."""
    with _inside(MANIFEST):
        manifest = _check_manifest(contents)
    with _inside("features.json"):
        names, hashes = _read_features(parse_json(contents["features.json"]))
    with _inside("model.json"):
        trees = read_trees(parse_json(contents["model.json"]), feature_names=names)
    with _inside("calibrator.json"):
        calibrator = Calibrator.from_document(parse_json(contents["calibrator.json"]))
    with _inside("report.json"):
        report = _object(parse_json(contents["report.json"]))
    with _inside("golden.json"):
        forest = _check_golden(_object(parse_json(contents["golden.json"])), trees)
    return Bundle(
        name=manifest["name"],
        revision=hashlib.sha256(contents[MANIFEST]).hexdigest()[:12],
        created_time=manifest["created_time"],
        xgboost_version=manifest["xgboost_version"],
        feature_names=names,
        definition_hashes=hashes,
        forest=forest,
        calibrator=calibrator,
        report=report,
    )


def _check_manifest(contents: Mapping[str, bytes]) -> dict[str, Any]:
    """Checks the manifest's own bytes, then every file against it.

    The manifest must be rendered exactly as `write_bundle` renders it: so no flipped bit can hide in white space.
    """
    raw = contents[MANIFEST]
    manifest = _object(parse_json(raw))
    if manifest.get("format") != FORMAT or manifest.get("format_version") != FORMAT_VERSION:
        raise BundleError(f"not {FORMAT} version {FORMAT_VERSION}, the only one this version reads")
    body = {key: value for key, value in manifest.items() if key != "checksum"}
    checksum = hashlib.sha256(render_json(body)).hexdigest()
    if manifest.get("checksum") != checksum or render_json(manifest) != raw or set(manifest) != _MANIFEST_KEYS:
        raise BundleError("its own checksum does not match; it was changed or damaged")
    for key in ("name", "created_time", "xgboost_version"):
        if not isinstance(manifest[key], str) or len(manifest[key]) > 63:
            raise BundleError(f"{key} is not a text of at most 63 characters")
    if not _NAME.fullmatch(manifest["name"]):
        raise BundleError("name is not 1 to 63 of a-z, 0-9, '.', '_' and '-', beginning with a letter or digit")
    for file in CONTENT:
        if _object(manifest["files"]).get(file) != _fingerprint(contents[file]):
            raise BundleError(f"{file} does not match its SHA-256; it was changed or damaged")
    return manifest


def _read_features(document: Any) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Reads the ordered names and their definition hashes."""
    items = _object(document).get("features")
    if not isinstance(items, list) or not 1 <= len(items) <= FEATURES_MAX:
        raise BundleError(f"features is not a list of 1 to {FEATURES_MAX}")
    pairs = []
    for index, item in enumerate(items):
        pair = (_object(item).get("name"), item.get("definition_hash"))
        if any(not isinstance(text, str) or not 1 <= len(text) <= 128 for text in pair):
            raise BundleError(f"feature {index} needs a name and a definition_hash of 1 to 128 characters")
        pairs.append(pair)
    names, hashes = zip(*pairs, strict=True)
    if len(set(names)) != len(names):
        raise BundleError("a feature is named twice")
    return names, hashes


def _check_golden(golden: dict[str, Any], trees: Trees) -> Forest:
    """Lays the forest out and scores the golden rows, which must give xgboost's margins bit for bit."""
    try:
        rows = [[np.nan if value is None else float.fromhex(value) for value in row] for row in golden["features"]]
        features = np.array(rows, np.float64)
        margins = np.array([float.fromhex(value) for value in golden["margins"]], np.float64)
        base_margin = np.float32(float.fromhex(golden["base_margin"]))
    except (KeyError, TypeError, ValueError, OverflowError):
        raise BundleError("not rows of hex floats with their margins and a base_margin") from None
    if features.ndim != 2 or features.shape[1] != trees.feature_count or len(margins) != len(features):
        raise BundleError(f"its rows do not have {trees.feature_count} features and a margin each")
    if not GOLDEN_ROWS_MIN <= len(features) <= GOLDEN_ROWS_MAX:
        raise BundleError(f"{len(features)} rows, but {GOLDEN_ROWS_MIN} to {GOLDEN_ROWS_MAX} are needed")
    if base_margin not in base_margins(trees.base_score):
        raise BundleError("base_margin does not follow from the model's base_score")
    forest = Forest(trees, base_margin)
    different = np.count_nonzero(_margins(forest, features) != margins)
    if different:
        raise BundleError(f"{different} of {len(features)} rows score otherwise than in xgboost")
    return forest


def _find_base_margin(trees: Trees, features: Floats32, margins: Floats32) -> np.float32:
    """Finds the base margin with which the golden rows score as in xgboost; `_check` reports when none does."""
    candidates = base_margins(trees.base_score)
    for candidate in candidates:
        if np.array_equal(_margins(Forest(trees, candidate), features.astype(np.float64)), margins):
            return candidate
    return candidates[0]


def _margins(forest: Forest, features: Floats) -> Floats:
    """Scores rows in which NaN is missing."""
    result = np.empty(len(features))
    columns = np.arange(forest.feature_count)
    forest.score(np.ascontiguousarray(features), np.ones(features.shape, np.uint8), columns, result)
    return result


def _fingerprint(raw: bytes) -> dict[str, Any]:
    """Returns what the manifest says of a file."""
    return {"sha256": hashlib.sha256(raw).hexdigest(), "size_bytes": len(raw)}


def _object(value: Any) -> dict[str, Any]:
    """Returns a JSON object as it is, refuses everything else."""
    if not isinstance(value, dict):
        raise BundleError("not a JSON object where one is expected")
    return value


@contextmanager
def _inside(file: str) -> Iterator[None]:
    """Names the file in whatever is found wrong inside."""
    try:
        yield
    except BundleError as error:
        raise BundleError(f"{file}: {error.message}") from error
