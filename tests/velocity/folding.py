"""Events of one card through the fold of a declared text, for tests that say what each answer is."""

from types import SimpleNamespace

import numpy as np

from riskengine.engine.features import FeatureSet, compile_features
from riskengine.engine.pipeline import Pipeline
from riskengine.engine.state import State
from riskengine.enums import Kind, TransactionType
from riskengine.limits import EngineLimits
from riskengine.types import empty_events, words
from riskengine.yamlfile import load_yaml

LIMITS = EngineLimits(
    entities_max=64, arena_mib=1, recent_decisions_max=10_000, batch_rows_max=256, lateness_max_s=3600
)
START_US = 1_700_000_000_000_000
SECOND_US = 1_000_000
HOUR_US = 3600 * SECOND_US


def compiled(profiles: str, more: str = "") -> FeatureSet:
    """Compiles a features.yaml of the given profiles, in flow style."""
    text = f"version: 1\nprofiles: {profiles}\n{more}"
    return compile_features(load_yaml(text, name="features.yaml"), LIMITS)


def pipeline_of(features: FeatureSet, limits: EngineLimits = LIMITS) -> Pipeline:
    """Returns a pipeline over a new state that folds and never decides."""
    configuration = SimpleNamespace(features=features, column_count=len(features.features), revision=1, model=None)
    return Pipeline(configuration, State(features, limits), limits)  # type: ignore[arg-type]


def payments(seconds: list[float], *, amounts: list[int] | None = None, cards: list[int] | None = None) -> np.ndarray:
    """Returns payments by card, in the order they arrive, at so many seconds after the start."""
    events = empty_events(len(seconds))
    events["kind"] = Kind.SCORE
    events["transaction_type"] = TransactionType.CARD_PAYMENT
    events["sequence"] = np.arange(1, len(seconds) + 1)
    events["event_time_us"] = START_US + np.rint(np.array(seconds) * SECOND_US).astype(np.int64)
    events["received_time_us"] = events["event_time_us"].max()
    events["request_key"] = np.arange(1, len(seconds) + 1)
    events["amount_minor"] = events["amount_base_minor"] = amounts if amounts is not None else 100
    events["card_tag"] = cards if cards is not None else 7
    return events


def fold(pipeline: Pipeline, events: np.ndarray, *, batch: int = 256) -> list[dict[str, float]]:
    """Folds events and returns what each was told, by name, without what is missing."""
    names = pipeline.configuration.features.names
    told = []
    for first in range(0, len(events), batch):
        values, valid, _ = pipeline.fold(words(events[first : first + batch]))
        told += [
            {names[column]: float(row[column]) for column in np.flatnonzero(there)}
            for row, there in zip(values, valid, strict=True)
        ]
    return told


def column(told: list[dict[str, float]], name: str) -> list[float | None]:
    """Returns one feature of all events, None where it is missing."""
    return [answers.get(name) for answers in told]
