"""Fits the model: boosted trees on the past, calibrated on what followed, judged on what followed that.

Rows are split by `split.split_by_time`; those whose label is unknown (declined payments above all) are used nowhere.

INVARIANT: the same input, settings, seed and number of threads give the same bundle, byte for byte.

Called by `lab` (training) and the CLI.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import xgboost

from riskengine.errors import HistoryError
from riskengine.model import Calibrator, fit_calibrator, write_bundle
from riskengine.types import US_PER_DAY

from .booster import FitSettings, Rows, margins_of, parameters_of, train_booster
from .metrics import calibration_table, figures
from .split import describe_parts, split_by_time

TRAIN_FRAUDS_MIN: Final = 20
CALIBRATION_FRAUDS_MIN: Final = 5
MAGNITUDE_MAX: Final = 1e37
"""Larger features are refused: xgboost's split points may overflow to infinity beyond."""
GOLDEN_ROWS: Final = 96
TOLD_FEATURES: Final = 40

Floats32 = npt.NDArray[np.float32]
Floats64 = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class FittedModel:
    """A trained and calibrated model.

    Attributes:
        booster: xgboost's, sliced to the rounds that are used.
        calibrator: Margin to probability.
        feature_names: In the order of the columns.
        definition_hashes: One for each feature.
        report: Plain JSON values: rows by part, settings, figures, calibration, slices, features by gain.
        golden_features: float32[n, F], rows that the serving kernel has to score as xgboost does.
    """

    booster: xgboost.Booster
    calibrator: Calibrator
    feature_names: tuple[str, ...]
    definition_hashes: tuple[str, ...]
    report: dict[str, Any]
    golden_features: Floats32

    def margins(self, features: Floats32) -> Floats32:
        """Returns xgboost's margins, float32[n], log-odds before calibration.

        Args:
            features: float32[n, F], NaN for missing.
        """
        return margins_of(self.booster, features)

    def probabilities(self, features: Floats32) -> Floats64:
        """Returns calibrated probabilities, float64[n].

        Args:
            features: float32[n, F], NaN for missing.
        """
        return self.calibrator.probabilities(self.margins(features))

    def save(self, path: Path | str, *, name: str, created_time_us: int, replace: bool = False) -> str:
        """Writes the bundle and returns its revision.

        Args:
            path: Directory to make.
            name: Of the model; lower case.
            created_time_us: Microseconds since the epoch; told, so that the same model has the same bytes.
            replace: Whether a bundle already there may be replaced.

        Raises:
            BundleError: If the serving kernel does not score as xgboost does, or the path is taken.
        """
        return write_bundle(
            path,
            name=name,
            created_time_us=created_time_us,
            model_json=bytes(self.booster.save_raw("json")),
            calibrator=self.calibrator,
            feature_names=self.feature_names,
            definition_hashes=self.definition_hashes,
            report=self.report,
            golden_features=self.golden_features,
            golden_margins=self.margins(self.golden_features),
            xgboost_version=xgboost.__version__,
            replace=replace,
        )


def fit_model(
    features: Floats32,
    labels: Bools,
    weights: Floats64 | None,
    event_time_us: npt.NDArray[np.int64],
    feature_names: Sequence[str],
    definition_hashes: Sequence[str],
    *,
    known: Bools | None = None,
    rounds: int = 300,
    depth: int = 6,
    label_delay_us: int = 7 * US_PER_DAY,
    slices: Mapping[str, Bools] | None = None,
    settings: FitSettings | None = None,
    threads: int = 2,
    seed: int = 0,
    on_round: Callable[[int, int], None] | None = None,
) -> FittedModel:
    """Splits by time, trains, calibrates, judges.

    Args:
        features: float32[n, F], finite, NaN for missing (`riskengine.model.narrow` makes it).
        labels: bool[n], true for fraud; not read where unknown.
        weights: float64[n], how many rows each stands for, > 0, in training, calibration and figures; None: one each.
        event_time_us: int64[n], microseconds since the epoch, in any order.
        feature_names: F names.
        definition_hashes: F hashes of the features' definitions.
        known: bool[n], whether the label is known; None: all are.
        rounds: Trees, 1 to 2000.
        depth: Of each tree, 1 to 8.
        label_delay_us: Length of the gap, microseconds, at least 0.
        slices: Parts of the test rows to judge apart, each bool[n] by name.
        settings: The rest; None for the defaults.
        threads: For xgboost; another number may give other last bits.
        seed: Of the sampling of rows and features.
        on_round: Called with (rounds done, rounds) after each, for a progress bar.

    Raises:
        HistoryError: If a feature is infinite or huge, or frauds are too few to learn or calibrate from.
    """
    options = settings or FitSettings()
    row_count = len(features)
    assert features.shape == (row_count, len(feature_names)), "a column for each feature"
    assert features.dtype == np.float32, "features as the model sees them"
    assert len(labels) == len(event_time_us) == row_count, "a label and a time for each row"
    assert len(feature_names) == len(definition_hashes), "a hash for each feature"
    usable = np.ones(row_count, np.bool_) if known is None else known
    mass = np.ones(row_count) if weights is None else weights
    _check_features(features, feature_names)
    parts = split_by_time(
        event_time_us,
        usable,
        label_delay_us=label_delay_us,
        calibration_share=options.calibration_share,
        test_share=options.test_share,
    )
    _check_frauds(labels, parts)
    parameters = parameters_of(options, depth=depth, threads=threads, seed=seed)
    rows = Rows(features, labels, mass)
    calibration = rows.only(parts["calibration"])
    booster = train_booster(parameters, options, rounds, rows.only(parts["train"]), calibration, on_round)
    booster.feature_names = list(feature_names)
    margins = margins_of(booster, calibration.features)
    calibrator = fit_calibrator(margins, calibration.labels, calibration.weights)
    report = {
        "parts": describe_parts(parts, labels, event_time_us),
        "rows_unlabelled": int(np.count_nonzero(~usable)),
        "label_delay_days": label_delay_us / US_PER_DAY,
        "settings": {**asdict(options), "rounds": rounds, "xgboost": parameters},
        "trees": booster.num_boosted_rounds(),
        **_judge(booster, calibrator, rows, parts, slices or {}),
        "features": _gains(booster, len(feature_names)),
    }
    golden = _golden_rows(calibration.features, margins)
    return FittedModel(booster, calibrator, tuple(feature_names), tuple(definition_hashes), report, golden)


def _check_features(features: Floats32, feature_names: Sequence[str]) -> None:
    """Refuses what xgboost would take and the served forest could not repeat."""
    for column, name in enumerate(feature_names):
        values = features[:, column]
        if np.any(np.abs(values) > MAGNITUDE_MAX):  # NaN compares false
            raise HistoryError(
                f"feature {name} is infinite or beyond {MAGNITUDE_MAX:.0e}; bound it where it is defined"
            )


def _check_frauds(labels: Bools, parts: Mapping[str, Bools]) -> None:
    """Refuses a history from which nothing can be learned, saying where the frauds are."""
    for name, least in (("train", TRAIN_FRAUDS_MIN), ("calibration", CALIBRATION_FRAUDS_MIN)):
        mask = parts[name]
        frauds = int(np.count_nonzero(labels[mask]))
        if frauds < least or frauds == np.count_nonzero(mask):
            told = ", ".join(f"{part} {np.count_nonzero(labels[rows])}" for part, rows in parts.items())
            raise HistoryError(
                f"the {name} part has {frauds} frauds among {np.count_nonzero(mask)} rows and needs at least {least} "
                f"and some legitimate rows (frauds by part: {told}); give a longer history or a shorter label delay"
            )


def _judge(
    booster: xgboost.Booster,
    calibrator: Calibrator,
    rows: Rows,
    parts: Mapping[str, Bools],
    slices: Mapping[str, Bools],
) -> dict[str, Any]:
    """Returns figures of the calibration and test parts, and of the test part by slice."""

    def judge(mask: Bools) -> tuple[dict[str, Any], list[dict[str, float]]]:
        part = rows.only(mask)
        margins = margins_of(booster, part.features).astype(np.float64)
        probabilities = calibrator.probabilities(margins)
        table = calibration_table(probabilities, part.labels, part.weights)
        return figures(margins, probabilities, part.labels, part.weights), table

    test, table = judge(parts["test"])
    return {
        "figures": {"calibration": judge(parts["calibration"])[0], "test": test},
        "calibration_table": table,
        "slices": {name: judge(parts["test"] & mask)[0] for name, mask in slices.items()},
    }


def _gains(booster: xgboost.Booster, feature_count: int) -> dict[str, Any]:
    """Returns the features that lowered the loss most, and how many were asked at all."""
    gains = booster.get_score(importance_type="total_gain")
    ranked = sorted(((float(np.max(gain)), name) for name, gain in gains.items()), key=lambda item: (-item[0], item[1]))
    total = sum(gain for gain, _ in ranked) or 1.0
    top = [{"name": name, "gain": gain, "share": gain / total} for gain, name in ranked[:TOLD_FEATURES]]
    return {"count": feature_count, "used": len(ranked), "top": top}


def _golden_rows(features: Floats32, margins: Floats32) -> Floats32:
    """Chooses rows over the whole range of margins, and makes some that data rarely has.

    Args:
        features: float32[n, F], n >= 1.
        margins: float32[n].

    Returns:
        float32[GOLDEN_ROWS, F]: three quarters are real rows; the others lack every second, third ... feature; the
        last four are all missing, all zero and all extreme.
    """
    order = np.argsort(margins, kind="stable")
    golden = features[order[np.linspace(0, len(order) - 1, GOLDEN_ROWS).astype(np.int64)]].copy()
    for row in range(0, GOLDEN_ROWS, 4):
        golden[row, row % 3 :: row // 4 % 7 + 2] = np.nan
    largest = float(np.finfo(np.float32).max)
    extremes = (np.nan, 0.0, largest, -largest)
    for row, value in enumerate(extremes, start=1):
        golden[-row] = value
    return golden
