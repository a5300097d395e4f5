"""The starter configuration, with and without a small model trained on a seeded stream."""

from pathlib import Path

import numpy as np
import pytest

from riskengine.engine.configuration import Configuration, load_configuration
from riskengine.engine.pipeline import Pipeline
from riskengine.engine.state import State
from riskengine.lab.fit import fit_model
from riskengine.lab.train import activate_model
from riskengine.limits import EngineLimits
from riskengine.model import narrow
from riskengine.types import US_PER_DAY, words
from tests.strategies import stream_of

DEFAULTS = Path(__file__).resolve().parents[2] / "riskengine" / "defaults"
LIMITS = EngineLimits(
    entities_max=2_000, arena_mib=16, recent_decisions_max=4_000, batch_rows_max=256, lateness_max_s=3600
)


def no_tag(entity: str, value: str) -> int:
    """Stands for the key where a list has no entries."""
    raise ValueError(f"no key for {entity} {value}")


@pytest.fixture(scope="session")
def rules_only(tmp_path_factory: pytest.TempPathFactory) -> Configuration:
    """The starter configuration without a model."""
    return load_configuration(
        DEFAULTS, limits=LIMITS, base_currency="EUR", model_dir=tmp_path_factory.mktemp("no_models"), tag=no_tag
    )


@pytest.fixture(scope="session")
def with_model(tmp_path_factory: pytest.TempPathFactory, rules_only: Configuration) -> Configuration:
    """The starter configuration with a model that finds large amounts suspicious."""
    folder = tmp_path_factory.mktemp("models")
    events = stream_of(6_000, seed=11, entity_count=200)
    pipeline = Pipeline(rules_only, State(rules_only.features, LIMITS), LIMITS)
    names = rules_only.features.names
    parts = []
    for first in range(0, len(events), 256):
        features, valid, _ = pipeline.fold(words(events[first : first + 256]))
        parts.append(narrow(features[:, : len(names)], valid[:, : len(names)]))
    labels = events["amount_base_minor"] > 90_000
    fitted = fit_model(
        np.concatenate(parts),
        labels,
        None,
        events["event_time_us"],
        names,
        rules_only.features.hashes,
        rounds=20,
        depth=3,
        label_delay_us=US_PER_DAY // 4,
    )
    fitted.save(folder / "small", name="small", created_time_us=0)
    activate_model(folder, "small")
    return load_configuration(DEFAULTS, limits=LIMITS, base_currency="EUR", model_dir=folder, tag=no_tag)
