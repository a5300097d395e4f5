"""The simulated world: reproducible, valid, with life-like overlaps and labelled fraud."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from riskengine.enums import TransactionType
from riskengine.lab.history import HISTORY_SCHEMA, open_history, write_history
from riskengine.lab.simulate import CURRENCY_CODES, SCENARIOS, SimulationConfig, simulate
from riskengine.types import US_PER_DAY

from .builders import packer, simulated


def column(table: pa.Table, name: str) -> list[Any]:
    """Returns a column as a list."""
    values: list[Any] = table[name].to_pylist()
    return values


def test_equal_seeds_give_equal_tables_and_others_do_not() -> None:
    """Goal: the seed alone decides. Method: simulate twice and once with another seed."""
    first, again, other = (simulate(SimulationConfig(seed=seed, people=60, days=5)) for seed in (3, 3, 4))

    assert first.equals(again)
    assert not first.equals(other)
    assert not first["amount_minor"].equals(other["amount_minor"])


def test_table_has_the_history_schema_in_order_of_time_within_the_span() -> None:
    """Goal: a simulated history is a history. Method: compare schema, order and bounds."""
    table = simulated()
    times = np.asarray(table["event_time"].cast(pa.int64()).combine_chunks())
    start = SimulationConfig().start_us

    assert table.schema.equals(HISTORY_SCHEMA, check_metadata=True)
    assert (np.diff(times) >= 0).all()
    assert start <= times[0]
    assert times[-1] < start + 20 * US_PER_DAY


def test_every_row_passes_the_door_and_ids_are_unique() -> None:
    """Goal: the server would accept every event. Method: pack all rows with the door's rules."""
    table = simulated()
    problems = [problem for batch in table.to_batches() for problem in packer().pack(batch).problems]

    assert [] == problems
    assert table.num_rows == len(set(column(table, "transaction_id")))


def test_nothing_looks_like_a_card_number() -> None:
    """Goal: no identifier could be taken for a PAN. Method: look for 13 digits in a row in every text."""
    table = simulated()
    texts = [name for name in table.schema.names if pa.types.is_string(table.schema.field(name).type)]
    found = [
        name for name in texts if any(re.search(r"\d{13}", text) for text in table[name].unique().to_pylist() if text)
    ]

    assert [] == found


def test_fraud_share_is_near_what_is_asked_for() -> None:
    """Goal: half a percent to one and a half, and the parameter moves it. Method: count on two shares."""
    low = pc.mean(simulated()["fraud"]).as_py()
    high = pc.mean(simulate(SimulationConfig(people=300, days=20, fraud_share=0.05))["fraud"]).as_py()
    none = pc.mean(simulate(SimulationConfig(people=100, days=5, fraud_share=0.0))["fraud"]).as_py()

    assert 0.005 < low < 0.02
    assert 0.03 < high < 0.08
    assert none == 0.0


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_every_scenario_is_labelled_with_a_delay(scenario: str) -> None:
    """Goal: labels arrive late, of takeovers sooner. Method: delays of each scenario's rows."""
    table = simulated()
    rows = table.filter(pc.equal(table["fraud_scenario"], scenario))
    delays = pc.subtract(rows["fraud_label_time"].cast(pa.int64()), rows["event_time"].cast(pa.int64())).to_numpy()
    days = delays / US_PER_DAY

    assert rows.num_rows >= 8
    assert pc.all(rows["fraud"]).as_py()
    assert days.min() >= (0.08 if scenario == "account_takeover" else 3.0)
    assert days.max() <= (6.0 if scenario == "account_takeover" else 45.0)


def test_honest_rows_have_neither_label_time_nor_scenario() -> None:
    """Goal: what is not reported has no report. Method: nulls of honest rows."""
    table = simulated()
    honest = table.filter(pc.invert(table["fraud"]))

    assert honest["fraud_label_time"].null_count == honest.num_rows
    assert honest["fraud_scenario"].null_count == honest.num_rows


def test_tail_holds_several_episodes_of_each_scenario() -> None:
    """Goal: a demo's live stream shows all four. Method: the last 2,000 rows at demo size."""
    table = simulate(SimulationConfig(people=2_000, days=35, fraud_rate_tail=10.0))
    tail = table.slice(table.num_rows - 2_000)
    shared = {
        "stolen_card": "card_id",
        "card_testing": "merchant_id",
        "account_takeover": "account_id",
        "device_farm": "ip_address",
    }
    episodes = {
        scenario: len(tail.filter(pc.equal(tail["fraud_scenario"], scenario))[name].unique())
        for scenario, name in shared.items()
    }

    assert 60_000 < table.num_rows < 110_000
    assert min(episodes.values()) >= 2, episodes


def test_types_channels_and_currencies_are_all_there() -> None:
    """Goal: a starter model sees every kind of event. Method: the sets of values."""
    table = simulated(people=1_000)
    types = set(column(table, "type"))

    assert {member.name for member in TransactionType} == types
    assert {"CHIP", "CONTACTLESS", "ONLINE", "NETWORK_TOKEN", "QR_MERCHANT_PRESENTED"} <= set(
        column(table, "entry_mode")
    )
    assert set(CURRENCY_CODES) == set(column(table, "currency_code")) - {None}
    assert pc.mean(pc.equal(table["currency_code"], "EUR")).as_py() > 0.5
    assert {"APPROVED", "DECLINED"} <= set(column(table, "issuer_outcome"))


def people_behind(table: pa.Table, key: str) -> np.ndarray:
    """Counts the accounts that each value of a column was seen with."""
    pairs = table.select([key, "account_id"]).drop_null().group_by(key).aggregate([("account_id", "count_distinct")])
    return np.asarray(pairs["account_id_count_distinct"].combine_chunks())


def test_honest_people_share_devices_and_addresses() -> None:
    """Goal: sharing alone proves nothing. Method: accounts behind each device and IP among honest rows."""
    table = simulated(people=1_000)
    honest = table.filter(pc.invert(table["fraud"]))
    devices, ips = people_behind(honest, "device_id"), people_behind(honest, "ip_address")

    assert (devices > 1).mean() > 0.05
    assert (devices == 1).mean() > 0.5
    assert ips.max() > 20
    assert (ips > 1).mean() > 0.2


def test_card_testing_shows_many_cards_and_declines_on_few_devices() -> None:
    """Goal: the scenario has its signature. Method: cards by merchant and decline share, against honest rows."""
    table = simulated(people=1_000)
    rows = table.filter(pc.equal(table["fraud_scenario"], "card_testing"))
    declined = pc.mean(pc.equal(rows["issuer_outcome"], "DECLINED")).as_py()
    cards = len(rows["card_id"].unique())
    devices = len(rows["device_id"].unique())

    assert 0.4 < declined < 0.95
    assert cards > 3 * devices


def test_refunds_follow_their_payment_and_are_not_larger() -> None:
    """Goal: originals exist. Method: look each refund's and reversal's original up."""
    table = simulated()
    rows = {
        row["transaction_id"]: row for row in table.select(["transaction_id", "event_time", "amount_minor"]).to_pylist()
    }
    back = table.filter(table["original_transaction_id"].is_valid())

    assert back.num_rows > 20
    for row in back.select(["original_transaction_id", "event_time", "amount_minor"]).to_pylist():
        original = rows[row["original_transaction_id"]]
        assert original["event_time"] < row["event_time"]
        assert 0 < row["amount_minor"] <= original["amount_minor"]


def test_new_accounts_open_before_anything_else() -> None:
    """Goal: no life before birth. Method: first event of each account that has an opening."""
    table = simulated()
    first = table.group_by("account_id").aggregate([("event_time", "min")])
    first_times = dict(zip(first["account_id"].to_pylist(), first["event_time_min"].to_pylist(), strict=True))
    openings = table.filter(pc.equal(table["type"], "ACCOUNT_OPENING"))

    assert openings.num_rows > 5
    for account, time in zip(column(openings, "account_id"), column(openings, "event_time"), strict=True):
        assert first_times[account] == time


def test_written_histories_read_back_equal(tmp_path: Path) -> None:
    """Goal: Parquet and CSV lose nothing. Method: write, open, read, compare."""
    table = simulate(SimulationConfig(people=60, days=4))
    for name in ("h.parquet", "h.csv"):
        write_history(table, tmp_path / name)
        reader = open_history(tmp_path / name)

        assert reader.row_count == table.num_rows
        assert reader.read().combine_chunks().equals(table.combine_chunks()), name


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"people": 10}, "people must be between"),
        ({"days": 0}, "days must be between"),
        ({"seed": -1}, "seed must be"),
        ({"fraud_share": 0.5}, "fraud_share must be"),
        ({"start": datetime(2026, 1, 1)}, "time zone"),  # noqa: DTZ001
    ],
)
def test_impossible_configurations_are_refused(options: dict[str, Any], message: str) -> None:
    """Goal: a wrong option says so. Method: one wrong option each."""
    with pytest.raises(ValueError, match=message):
        SimulationConfig(**options)


def test_start_moves_the_history() -> None:
    """Goal: time comes from the configuration. Method: the same world a week later."""
    later = SimulationConfig().start + timedelta(days=7)
    table = simulate(SimulationConfig(people=60, days=3, start=later))

    assert min(column(table, "event_time")) >= later.astimezone(UTC)
