"""Features of a history: what was known at each moment, and no row lost on the way."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from riskengine.engine.configuration import Configuration, load_configuration
from riskengine.enums import Kind
from riskengine.errors import HistoryError
from riskengine.lab.features import FeatureTable, compute_features, in_order
from riskengine.lab.history import HISTORY_SCHEMA, open_history, write_history
from riskengine.lab.train import train_model
from riskengine.limits import EngineLimits
from riskengine.types import MISSING

from .builders import packer

DEFAULTS = Path(__file__).resolve().parents[2] / "riskengine" / "defaults"
LIMITS = EngineLimits(entities_max=64, arena_mib=4, recent_decisions_max=64, batch_rows_max=3)
START_US = 1_770_000_000_000_000
HOUR_US = 3_600_000_000
FRAUDS = "account.fraud_outcome_count_30d"


def row(number: int, hour: float, **values: Any) -> dict[str, Any]:
    """Makes a payment of one account; hours count from the start."""
    return {
        "transaction_id": f"tx_{number}",
        "type": "CARD_PAYMENT",
        "event_time": START_US + int(hour * HOUR_US),
        "amount_minor": 1000,
        "currency_code": "EUR",
        "account_id": "acct_1",
        **values,
    }


def fraud(number: int, hour: float, *, known_hour: float) -> dict[str, Any]:
    """Makes a payment that turned out to be fraud."""
    return row(number, hour, fraud=True, fraud_label_time=START_US + int(known_hour * HOUR_US))


def table_of(rows: list[dict[str, Any]]) -> pa.Table:
    """Makes a history."""
    return pa.Table.from_pylist(rows, schema=HISTORY_SCHEMA)


@pytest.fixture(scope="module")
def configuration(tmp_path_factory: pytest.TempPathFactory) -> Configuration:
    """The starter's features, without a model."""
    return load_configuration(
        DEFAULTS,
        limits=LIMITS,
        base_currency="EUR",
        model_dir=tmp_path_factory.mktemp("no_models"),
        tag=lambda _entity, _value: 1,
    )


@pytest.fixture
def features(configuration: Configuration, tmp_path: Path) -> Any:
    """Computes the features of rows, and what progress was told."""

    def compute(rows: list[dict[str, Any]]) -> tuple[FeatureTable, list[tuple[int, int]]]:
        write_history(table_of(rows), tmp_path / "h.parquet")
        told: list[tuple[int, int]] = []
        reader = open_history(tmp_path / "h.parquet")
        table = compute_features(
            reader, configuration, packer(), on_progress=lambda done, total: told.append((done, total))
        )
        return table, told

    return compute


def test_label_counts_from_when_it_was_known(features: Any, configuration: Configuration) -> None:
    """Goal: no row knows the future. Method: a fraud of hour 0 that became known between hours 2 and 3."""
    table, _ = features([fraud(0, 0, known_hour=2.5), *(row(hour, hour) for hour in range(1, 6))])

    counts = table.features[:, configuration.features.names.index(FRAUDS)]

    assert [0, 0, 0, 1, 1, 1] == counts.tolist()
    assert [True, False, False, False, False, False] == table.labels.tolist()
    assert [True, False, False, False, False, False] == table.known.tolist()


def test_rows_that_are_no_event_are_counted_even_if_there_is_nothing_else(features: Any) -> None:
    """Goal: no row is lost on the way. Method: batches with one bad row of three, and with bad rows only."""
    bad = [row(number, number, amount_minor=-1) for number in range(3)]

    mixed, told_of_mixed = features([bad[0], row(1, 1), row(2, 2)])
    nothing, told_of_nothing = features(bad)

    assert (2, 1) == (len(mixed.features), mixed.problem_count)
    assert (0, 3) == (len(nothing.features), nothing.problem_count)
    assert [(3, 3)] == told_of_mixed
    assert [(3, 3)] == told_of_nothing


def test_history_without_events_cannot_be_learned_from(configuration: Configuration, tmp_path: Path) -> None:
    """Goal: the next command is named. Method: train on bad rows only."""
    write_history(table_of([row(0, 0, amount_minor=-1)]), tmp_path / "h.parquet")

    with pytest.raises(HistoryError, match=r"1 row.*`riskengine history import` sets such rows aside"):
        train_model(tmp_path / "h.parquet", configuration, packer(), name="m", model_dir=tmp_path, created_time_us=0)


def test_labels_known_after_the_last_event_come_at_the_end_or_not_at_all() -> None:
    """Goal: one end for all. Method: labels before, at and after the last event; asked for none, for some, for all."""
    rows = [
        fraud(0, 0, known_hour=0.5),
        fraud(1, 1, known_hour=3),
        fraud(2, 2, known_hour=4),
        fraud(3, 3, known_hour=9),
    ]
    batches = table_of(rows).to_batches(max_chunksize=2)

    def hours(known_until_us: int | None) -> list[tuple[int, float]]:
        parts = list(in_order(batches, packer(), kind=Kind.RECORD, known_until_us=known_until_us))
        events = np.concatenate([events for events, *_ in parts])
        assert all(len(labels) == len(known) == len(part) for part, labels, known, _ in parts)
        return [(int(event["kind"]), (int(event["event_time_us"]) - START_US) / HOUR_US) for event in events]

    event, outcome = int(Kind.RECORD), int(Kind.OUTCOME)
    until_last = [(event, 0), (outcome, 0.5), (event, 1), (event, 2), (event, 3)]
    assert until_last == hours(None)
    assert [*until_last, (outcome, 3), (outcome, 4)] == hours(START_US + 4 * HOUR_US)
    assert [*until_last, (outcome, 3), (outcome, 4), (outcome, 9)] == hours(START_US + 99 * HOUR_US)


def test_outcomes_carry_what_their_events_are_known_by() -> None:
    """Goal: a report counts for the right entities and is no repeat. Method: one fraud beside its event."""
    batch = table_of([fraud(0, 0, known_hour=1), row(1, 2)]).to_batches()[0]

    ((events, labels, known, left_out),) = in_order([batch], packer())

    assert [True, False, False] == labels.tolist() == known.tolist()
    assert 0 == left_out
    assert events["account_tag"][0] == events["account_tag"][1]
    assert events["transaction_tag"][0] == events["transaction_tag"][1]
    assert events["request_key"][0] != events["request_key"][1]
    assert MISSING == events["amount_minor"][1]
