"""A request made from a row of a history is what the row packs to."""

from decimal import Decimal
from pathlib import Path

import numpy as np

from riskengine.cli.requests import outcome_request, record_request, rows_of, score_request
from riskengine.enums import Kind
from riskengine.lab.events import EventPacker
from riskengine.lab.features import labelled_outcomes
from riskengine.lab.history import open_history
from riskengine.types import EVENT
from riskengine.wire.door import Door
from riskengine.wire.pseudonyms import TagKey

RATES: dict[str, Decimal | str] = {"USD": "0.92", "GBP": "1.17", "TRY": "0.021", "PLN": "0.23", "CHF": "1.05"}
OPTIONS = {"base_currency": "EUR", "rates": RATES, "number_slots": {}, "label_slots": {}}
NOW_US = 4_000_000_000_000_000
KEY = TagKey(bytes(range(32)))
OWN_TO_THE_DOOR = {"received_time_us", "payload_hash", "request_key", "request_check"}


def test_requests_pack_to_what_the_rows_pack_to(history: Path) -> None:
    """Goal: sending a history is folding it. Method: each row through the door and through the packer, word by word."""
    batch = next(open_history(history).batches(2_000))
    packed = EventPacker(KEY, **OPTIONS).pack(batch, kind=Kind.RECORD)  # type: ignore[arg-type]
    door = Door(KEY, skew_us=0, **OPTIONS)  # type: ignore[arg-type]
    rows = list(rows_of(batch))
    made = np.frombuffer(b"".join(door.record_row(record_request(row), NOW_US) for row in rows), EVENT)

    assert len(packed.problems) == 0
    for name in sorted(set(EVENT.names or ()) - OWN_TO_THE_DOOR | {"request_key", "request_check"}):
        assert np.array_equal(packed.events[name], made[name], equal_nan=made[name].dtype.kind == "f"), name


def test_outcomes_carry_the_tags_of_their_transactions(history: Path) -> None:
    """Goal: a label counts for the right card. Method: outcome rows of the door and of the packer."""
    batch = next(open_history(history).batches(20_000))
    packed = EventPacker(KEY, **OPTIONS).pack(batch)  # type: ignore[arg-type]
    outcomes = labelled_outcomes(batch, packed.rows, packed.events).outcomes
    door = Door(KEY, skew_us=0, **OPTIONS)  # type: ignore[arg-type]
    frauds = [row for row in rows_of(batch) if row["fraud"]]
    made = np.frombuffer(b"".join(door.outcome_row(outcome_request(row), NOW_US) for row in frauds), EVENT)

    assert len(frauds) > 20
    for name in ("event_time_us", "outcome_type", "card_tag", "device_tag", "account_tag", "transaction_tag"):
        assert np.array_equal(outcomes[name], made[name]), name


def test_ids_are_the_same_at_every_turn(history: Path) -> None:
    """Goal: a repeat is harmless. Method: build twice; short ids are lengthened."""
    row = next(rows_of(next(open_history(history).batches(1))))
    short = {**row, "transaction_id": "7"}

    assert score_request(row) == score_request(row)
    assert score_request(row).request_id == row["transaction_id"]
    assert score_request(short).request_id == "history-7"
