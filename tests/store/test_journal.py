"""From an engine's journal into the store, as a follower does it, with the names that the journal has."""

from pathlib import Path

import numpy as np
import pytest

from riskengine.engine.activation import Activation
from riskengine.engine.configuration import Configuration, load_configuration
from riskengine.engine.engine import Engine
from riskengine.enums import Kind, Verdict
from riskengine.journal.reader import Activated, JournalReader
from riskengine.limits import EngineLimits
from riskengine.store.find import Wanted, find
from riskengine.store.reading import open_parts
from riskengine.store.store import DecisionStore
from tests.store.builders import table_of
from tests.strategies import stream_of

DEFAULTS = Path(__file__).resolve().parents[2] / "riskengine" / "defaults"
LIMITS = EngineLimits(entities_max=2_000, arena_mib=16, recent_decisions_max=4_000, batch_rows_max=256)


@pytest.fixture(scope="module")
def configuration(tmp_path_factory: pytest.TempPathFactory) -> Configuration:
    """The starter configuration without a model."""
    return load_configuration(
        DEFAULTS, limits=LIMITS, base_currency="EUR", model_dir=tmp_path_factory.mktemp("models"), tag=lambda _, __: 1
    )


def feed(data_dir: Path) -> DecisionStore:
    """Reads a journal from its beginning and feeds the store."""
    store = DecisionStore(data_dir, rows_max=64)
    names = {}
    for item in JournalReader(data_dir, chunk_rows_max=50):
        if isinstance(item, Activated):
            names[item.revision] = Activation.read(item).names
        else:
            store.append(item.events, item.decisions, names)
    store.flush()
    return store


def test_journal_becomes_the_table_of_what_was_decided(tmp_path: Path, configuration: Configuration) -> None:
    """Goal: the parts fit. Method: an engine with a real journal, fed twice; verdicts, reasons and rules are the engine's."""
    engine = Engine.open(tmp_path, configuration, limits=LIMITS, segment_bytes=1 << 20)
    events = stream_of(300, seed=4, entity_count=4)
    events["kind"][::10] = Kind.RECORD
    decisions = np.concatenate([engine.commit(events[first : first + 100])[1] for first in (0, 100, 200)])
    engine.close()

    feed(tmp_path)
    store = feed(tmp_path)

    table = table_of(tmp_path)
    assert table is not None
    verdicts = [Verdict(verdict).name if verdict else None for verdict in decisions["verdict"]]
    assert 301 == store.next_sequence
    assert verdicts == table.column("verdict").to_pylist()
    assert len(set(verdicts)) > 2, "the stream decides nothing"
    assert decisions["reason_count"].tolist() == [len(reasons) for reasons in table.column("reasons").to_pylist()]
    fired = [sum(int(row[f"fired_{word}"]).bit_count() for word in range(4)) for row in decisions]
    assert fired == [len(rules) for rules in table.column("fired_rules").to_pylist()]
    known = {rule["id"] for rule in configuration.names()["rules"]}
    assert {rule for rules in table.column("fired_rules").to_pylist() for rule in rules} <= known


def test_stored_row_is_found_by_a_tag_of_the_journal(tmp_path: Path, configuration: Configuration) -> None:
    """Goal: investigators find what the engine saw. Method: a device of the stream, against the events themselves."""
    engine = Engine.open(tmp_path, configuration, limits=LIMITS, segment_bytes=1 << 20)
    events = stream_of(60, seed=5, entity_count=6)
    engine.commit(events)
    engine.close()
    feed(tmp_path)
    tag = int(events["device_tag"][7])

    with open_parts(tmp_path) as parts:
        found = [row["sequence"] for row in find(parts, Wanted(tags={"device_tag": tag}, count_max=100))]

    assert (np.flatnonzero(events["device_tag"] == tag) + 1)[::-1].tolist() == found
