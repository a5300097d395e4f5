"""Engines over small journals, and snapshots of any place in them. Called by tests of recovery, snapshots and the follower."""

import shutil
from pathlib import Path

import numpy as np

from riskengine.engine.activation import Activation, state_key_of
from riskengine.engine.configuration import Configuration, load_configuration
from riskengine.engine.engine import Engine
from riskengine.engine.origin import activations_from
from riskengine.engine.pipeline import Pipeline
from riskengine.engine.recovery import fold_commits
from riskengine.engine.snapshot import write_snapshot
from riskengine.engine.state import State
from riskengine.journal.disk import Disk
from riskengine.journal.reader import Activated, JournalReader
from riskengine.types import Array, words
from tests.engine.conftest import DEFAULTS, LIMITS, no_tag
from tests.strategies import stream_of

SEGMENT_BYTES = 1 << 17
"""As small as an activation allows."""
MORE_WINDOWS = ("count: [1m, 10m, 1h, 24h, 7d, 30d]", "count: [1m, 2m, 10m, 1h, 24h, 7d, 30d]")
"""A change of features.yaml that changes no state."""
FEWER_ROWS = ("  card:\n", "  card:\n    rows_max: 16\n")
"""One that does, and that no name or definition of a feature tells."""


def requests(count: int, seed: int, *, entity_count: int = 40) -> Array:
    """Returns a stream with a request of its own for each event."""
    events = stream_of(count, seed, entity_count=entity_count)
    events["request_check"] = events["request_key"] * np.uint64(3)
    events["payload_hash"] = 7
    return events


def open_engine(folder: Path, configuration: Configuration, *, shorter_history: bool = False) -> Engine:
    """Opens an engine with small bounds and small segments."""
    return Engine.open(
        folder, configuration, limits=LIMITS, segment_bytes=SEGMENT_BYTES, shorter_history=shorter_history
    )


def commit_all(engine: Engine, events: Array, *, batch: int) -> Array:
    """Commits copies in batches and returns all decisions."""
    parts = [engine.commit(events[first : first + batch].copy())[1] for first in range(0, len(events), batch)]
    return np.concatenate(parts)


def fill(folder: Path, configuration: Configuration, events: Array, *, batch: int = 16) -> Array:
    """Commits events to a directory and closes it; returns the decisions."""
    engine = open_engine(folder, configuration)
    decisions = commit_all(engine, events, batch=batch)
    engine.close()
    return decisions


def take_snapshot(
    folder: Path,
    configuration: Configuration,
    *,
    sequence: int | None = None,
    revision: int | None = None,
    disk: Disk | None = None,
) -> Path:
    """Writes a snapshot at the first border of frames at or behind a sequence; at the end by default.

    It is folded under an activation that comes later if its revision is told.
    """
    state = State(configuration.features, LIMITS)
    pipeline = Pipeline(configuration, state, LIMITS)
    reader = JournalReader(folder, live=True, chunk_rows_max=1)
    activation, names = None, {}
    for item in reader:
        if isinstance(item, Activated):
            activation = Activation.read(item)
            names[activation.revision] = activation.names
            continue
        fold_commits(pipeline, item)
        if sequence is not None and state.sequence >= sequence:
            break
    if revision is not None:
        activation = next(each for each in activations_from(folder, None) if each.revision == revision)
    assert activation is not None
    return write_snapshot(
        folder,
        state,
        configuration_key=state_key_of(configuration, since=activation.since),
        anchor=reader.position,
        journal_id=reader.journal_id,
        activation=activation,
        names=names,
        disk=disk,
    )


def edited(folder: Path, old: str, new: str) -> Configuration:
    """Returns the starter configuration with one change of features.yaml."""
    shutil.copytree(DEFAULTS, folder)
    text = (folder / "features.yaml").read_text()
    assert old in text, "the starter's features have changed"
    (folder / "features.yaml").write_text(text.replace(old, new, 1))
    return load_configuration(folder, limits=LIMITS, base_currency="EUR", model_dir=folder / "none", tag=no_tag)


def bits(decisions: Array) -> bytes:
    """Returns the bytes of decisions: equal decisions are equal to the bit."""
    return words(decisions).tobytes()
