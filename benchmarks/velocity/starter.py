"""The starter configuration's whole velocity stage, on the simulated history that the other benchmarks fold.

INVARIANT: what is timed is `Pipeline.fold` under the starter's features.yaml without its sections `linkage` and `derived`: the
event's own features, the conditions of measures, the increments, entities found and added, curves, last-seen tables, and every
answer of counts, sums, means, deviations, distincts and firsts. Links, components and derived features are left out, and with
them the last-seen tables that only linkage asks for. Called by `benchmarks.velocity`.
"""

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.engine import DEFAULTS, KEY, LIMITS
from benchmarks.engine import configure as configure_starter
from benchmarks.velocity.folding import configure, fold, open_pipeline
from riskengine.engine.configuration import Configuration
from riskengine.lab.features import in_order, packer_of
from riskengine.lab.history import open_history, write_history
from riskengine.lab.simulate import SimulationConfig, simulate
from riskengine.settings import load_settings
from riskengine.types import Array
from riskengine.yamlfile import load_file


def simulated_events(*, people: int, days: int) -> Array:
    """Simulates a history, as `benchmarks.engine` does, and packs it into rows of EVENT."""
    with tempfile.TemporaryDirectory() as name:
        history = Path(name) / "history.parquet"
        write_history(simulate(SimulationConfig(seed=7, people=people, days=days)), history)
        packer = packer_of(load_settings(DEFAULTS / "server.yaml"), KEY, configure_starter(None))
        return np.concatenate([chunk[0] for chunk in in_order(open_history(history).batches(), packer)])


def velocity_alone() -> Configuration:
    """Compiles the starter's features without linkage and derived ones."""
    document = load_file(DEFAULTS / "features.yaml")
    kept = {key: value for key, value in document.data.items() if key not in ("linkage", "derived")}
    assert len(kept) < len(document.data), "the starter has no linkage and nothing derived; measure all of it"
    return configure(replace(document, data=kept), LIMITS)


def measure(events: Array) -> dict[str, float]:
    """Folds the history from an empty state, each way once; returns microseconds an event."""
    alone, whole = velocity_alone(), configure(load_file(DEFAULTS / "features.yaml"), LIMITS)
    ways = {
        "starter_us_64": (alone, 64),
        "starter_us_1": (alone, 1),
        "starter_whole_fold_us_64": (whole, 64),
    }
    return {
        name: fold(open_pipeline(configuration), events, size=size).us(len(events)).wall_s
        for name, (configuration, size) in ways.items()
    }
