"""Small journals of real engines: scored, recorded, reported; and configurations that differ in a known way.

Called by tests/lab.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from riskengine.engine.configuration import Configuration, build_configuration
from riskengine.engine.engine import Engine
from riskengine.enums import Kind, OutcomeType, Stage
from riskengine.journal.reader import Commits, JournalReader
from riskengine.types import empty_events
from riskengine.yamlfile import Document, load_file
from tests.engine.conftest import DEFAULTS, LIMITS, no_tag
from tests.strategies import stream_of

Edit = Callable[[dict[str, Any]], None]


def policy_document(edit: Edit | None = None) -> Document:
    """Returns the starter's policy with its model live, changed in place by `edit`."""
    document = load_file(DEFAULTS / "policy.yaml")
    document.data["model"]["mode"] = "live"
    if edit is not None:
        edit(document.data)
    return document


def configuration_of(base: Configuration, edit: Edit | None = None, *, features: Edit | None = None) -> Configuration:
    """Returns a configuration with the model of another one, policy and features changed in place."""
    measured = load_file(DEFAULTS / "features.yaml")
    if features is not None:
        features(measured.data)
    return build_configuration(
        measured,
        policy_document(edit),
        load_file(DEFAULTS / "reason_codes.yaml"),
        limits=LIMITS,
        base_currency="EUR",
        model_path=base.model_path,
        tag=no_tag,
    )


def thresholds(review: float, decline: float) -> Edit:
    """Returns an edit that sets the same thresholds for everything."""

    def edit(policy: dict[str, Any]) -> None:
        policy["thresholds"] = {"default": {"review": review, "decline": decline}}

    return edit


def mixed_events(count: int, seed: int, *, entity_count: int = 12) -> np.ndarray:
    """Returns payments of few entities: some recorded only, some without time for the model, each tenth reported later.

    Requests are numbered, and the first of the reports are of fraud, the second of the contrary, and so on by turns.
    """
    events = stream_of(count, seed, entity_count=entity_count)
    events["request_check"] = events["request_key"] * np.uint64(3)
    events["payload_hash"] = 7
    events["kind"][3::11] = Kind.RECORD
    events["skip_stages"][5::13] = int(Stage.MODEL)
    reported = events[1::10]
    outcomes = empty_events(len(reported))
    outcomes["kind"] = Kind.OUTCOME
    outcomes["outcome_type"] = np.where(np.arange(len(reported)) % 2, OutcomeType.LEGITIMATE, OutcomeType.FRAUD)
    outcomes["transaction_tag"] = reported["transaction_tag"]
    outcomes["event_time_us"] = outcomes["received_time_us"] = events["received_time_us"].max(initial=0) + 1
    outcomes["request_key"] = np.arange(len(reported)) + 10 * count
    outcomes["payload_hash"] = 9
    everything: np.ndarray = np.concatenate([events, outcomes])
    return everything


def write_journal(folder: Path, configuration: Configuration, events: np.ndarray, *, batch: int = 64) -> None:
    """Commits events through an engine of its own."""
    engine = Engine.open(folder, configuration, limits=LIMITS, segment_bytes=1 << 20)
    for first in range(0, len(events), batch):
        engine.commit(events[first : first + batch].copy())
    engine.close()


def journaled(folder: Path) -> Commits:
    """Returns all that a journal holds, as one chunk."""
    chunks = [item for item in JournalReader(folder) if isinstance(item, Commits)]
    return Commits(
        np.concatenate([chunk.events for chunk in chunks]), np.concatenate([chunk.decisions for chunk in chunks])
    )


def bytes_of(folder: Path) -> dict[str, bytes]:
    """Returns every file of a folder, to see that nothing was written."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
