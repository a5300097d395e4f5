"""From a history to a model bundle: features by the serving kernels, then `fit`.

INVARIANTS: the model sees only features that vary in the history; each is bound by name and definition. Time of making is an
argument. Called by `cli` (train, init, demo).
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from riskengine.durable import replace_file
from riskengine.engine.configuration import ACTIVE_MODEL_FILE, Configuration
from riskengine.errors import HistoryError
from riskengine.lab.booster import FitSettings
from riskengine.lab.events import EventPacker
from riskengine.lab.features import FeatureTable, compute_features
from riskengine.lab.fit import fit_model
from riskengine.lab.history import open_history
from riskengine.types import US_PER_DAY

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """A bundle that was written.

    Attributes:
        path: Its folder.
        name: Its name.
        revision: 12 hex digits that stand for its bytes.
        report: The training report.
        row_count: Events of the history that were used.
        problem_count: Rows of the history that the door would refuse, left out.
    """

    path: Path
    name: str
    revision: str
    report: dict[str, Any]
    row_count: int
    problem_count: int


def train_model(
    history: Path,
    configuration: Configuration,
    packer: EventPacker,
    *,
    name: str,
    model_dir: Path,
    created_time_us: int,
    rounds: int = 300,
    depth: int = 6,
    label_delay_us: int = 7 * US_PER_DAY,
    seed: int = 0,
    threads: int = 2,
    settings: FitSettings | None = None,
    replace: bool = False,
    on_progress: Progress | None = None,
) -> TrainedModel:
    """Trains a model on a history and writes its bundle to ``model_dir/name``.

    Args:
        history: Parquet or CSV of the history schema.
        configuration: What is measured; its model, if any, is not used.
        packer: From `features.packer_of`.
        name: Of the model and its folder.
        model_dir: Folder of bundles.
        created_time_us: Told in the bundle, microseconds since the epoch.
        rounds: Trees, 1 to 2000.
        depth: Of each tree, 1 to 8.
        label_delay_us: Gap between training and calibration, for labels that were not known yet.
        seed: Of xgboost's sampling.
        threads: For xgboost.
        settings: The rest of the fit; None for the defaults.
        replace: Whether a bundle of that name may be replaced.
        on_progress: Called with (what, done, total); what is "features" or "trees".

    Raises:
        HistoryError: The history cannot be read, or holds too few frauds.
        BundleError: The bundle cannot be written.
    """

    def tell(what: str) -> Callable[[int, int], None] | None:
        return (lambda done, total: on_progress(what, done, total)) if on_progress else None

    table = compute_features(open_history(history), configuration, packer, on_progress=tell("features"))
    if not len(table.features):
        rows = f"{table.problem_count:,} row{'s' if table.problem_count != 1 else ''}"
        raise HistoryError(
            f"{history}: nothing to learn from: none of its {rows} is an event that the server would take; "
            "`riskengine history import` sets such rows aside and says what is wrong with each"
        )
    columns = varying_columns(table)
    fitted = fit_model(
        np.ascontiguousarray(table.features[:, columns]),
        table.labels,
        None,
        table.event_time_us,
        [configuration.features.names[column] for column in columns],
        [configuration.features.hashes[column] for column in columns],
        known=table.known,
        rounds=rounds,
        depth=depth,
        label_delay_us=label_delay_us,
        slices=table.slices(),
        settings=settings,
        threads=threads,
        seed=seed,
        on_round=tell("trees"),
    )
    path = model_dir / name
    model_dir.mkdir(parents=True, exist_ok=True)
    revision = fitted.save(path, name=name, created_time_us=created_time_us, replace=replace)
    return TrainedModel(path, name, revision, fitted.report, len(table.features), table.problem_count)


def varying_columns(table: FeatureTable) -> list[int]:
    """Returns the columns that are not the same in every row: the others can teach nothing."""
    first = table.features[0]
    chosen = []
    for column in range(table.features.shape[1]):
        values = table.features[:, column]
        if not np.array_equal(values, np.full_like(values, first[column]), equal_nan=True):
            chosen.append(column)
    return chosen


def activate_model(model_dir: Path, name: str) -> None:
    """Makes a bundle the one that serves after the next start."""
    replace_file(model_dir / ACTIVE_MODEL_FILE, f"{name}\n".encode("ascii"), mode=0o644)
