"""An event in words says what is there, by the caller's own names, and nothing that is not."""

import numpy as np

from riskengine.enums import Channel, Kind, Stage, TransactionType
from riskengine.lab.event_words import event_words
from riskengine.types import EVENT_COLUMNS, empty_events, pack_code
from riskengine.velocity.schema import Inputs

INPUTS = Inputs(numbers=["basket_items"], labels=["tier", "note"])


def test_missing_is_left_out() -> None:
    """Goal: no zero is taken for a value. Method: an event in which everything is missing."""
    assert {} == event_words(empty_events(1), INPUTS)


def test_codes_times_and_own_names_are_words() -> None:
    """Goal: an analyst reads it without a table of codes. Method: one field of each kind."""
    event = empty_events(1)
    event["kind"], event["transaction_type"], event["channel"] = Kind.SCORE, TransactionType.TOP_UP, Channel.ATM
    event["event_time_us"] = 1_700_000_000_000_001
    event["account_open_time_us"] = 0
    event["amount_minor"] = event["amount_base_minor"] = 0
    event["utc_offset_minutes"] = 0
    event["currency"], event["card_region"] = pack_code("EUR"), pack_code("DE")
    event["skip_stages"] = int(Stage.MODEL | Stage.LINKAGE)
    event["card_tag"] = np.uint64(0xF00000000000000F)
    event["number_0"], event["number_1"] = 3.5, -1.0
    event["label_0"], event["label_1"] = pack_code("gold"), pack_code("longer than a word")

    told = event_words(event, INPUTS)

    assert told.pop("labels.note").startswith("#")  # type: ignore[union-attr]
    assert {
        "kind": "SCORE",
        "event_time": "2023-11-14T22:13:20.000001Z",
        "skip_stages": "LINKAGE, MODEL",
        "utc_offset_minutes": 0,
        "transaction_type": "TOP_UP",
        "amount_minor": 0,
        "amount_base_minor": 0,
        "currency": "EUR",
        "channel": "ATM",
        "card_region": "DE",
        "account_open_time": "1970-01-01T00:00:00Z",
        "card_tag": "f00000000000000f",
        "numbers.basket_items": 3.5,
        "number_1": -1.0,
        "labels.tier": "gold",
    } == told


def test_no_column_is_forgotten() -> None:
    """Goal: a new column is told, too. Method: an event in which every word is 1; only what the name tells is left out."""
    event = np.ones(1, empty_events(1).dtype)

    told = event_words(event, Inputs())

    assert len(EVENT_COLUMNS) - 4 == len(told)
