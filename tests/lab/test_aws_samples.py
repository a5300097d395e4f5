"""Real-looking registrations and orders, made by nobody here, imported and measured as a reader would by hand."""

import csv
import re
from collections import Counter, defaultdict
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest

from riskengine.engine.configuration import build_configuration
from riskengine.lab.features import compute_features, packer_of
from riskengine.lab.history import open_history
from riskengine.lab.importer import ImportReport, import_history, mapping_path
from riskengine.limits import EngineLimits
from riskengine.settings import ServerSettings
from riskengine.yamlfile import load_file

from .builders import KEY

DEFAULTS: Final = Path(__file__).resolve().parents[2] / "riskengine" / "defaults"
LIMITS: Final = EngineLimits(entities_max=32_000, arena_mib=256, recent_decisions_max=64)
FILES: Final = {
    "aws_registrations": "registration_data_20K_minimum.csv",
    "aws_registrations_coldstart": "registration_data_2K_coldstart.csv",
    "aws_transactions": "transaction_data_2K_coldstart.csv",
}
"""Mapping to file."""
HOUR_S: Final = 3600
DAY_S: Final = 24 * HOUR_S
Line = dict[str, str]
Imported = Callable[[str], tuple[list[Line], ImportReport, list[dict[str, Any]]]]


@pytest.fixture(scope="module")
def imported(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Imported:
    """Imports by a shipped mapping; returns the lines of the file, the report, and the history's rows."""
    folder = tmp_path_factory.mktemp("aws")

    def call(name: str) -> tuple[list[Line], ImportReport, list[dict[str, Any]]]:
        source = shared_data / "aws_samples" / FILES[name]
        with source.open(encoding="utf-8", newline="") as file:
            lines = list(csv.DictReader(file))
        report = import_history(source, mapping_path(name), folder / f"{name}.parquet")
        return lines, report, open_history(report.target).read().to_pylist()

    return call


@pytest.mark.parametrize("name", FILES)
def test_every_line_is_imported_or_told(imported: Imported, name: str) -> None:
    """Goal: nothing is dropped in silence. Method: lines, values left out, labels and unused columns, counted by hand."""
    lines, report, rows = imported(name)
    phones = [line.get("phone_number", line.get("billing_phone", "555-12")) for line in lines]
    endless = sum(not 5 <= len(re.sub(r"\D", "", phone)) <= 15 for phone in phones)
    labels = Counter(
        {"": None, "legit": False, "0": False, "fraud": True, "1": True}[line["EVENT_LABEL"]] for line in lines
    )

    assert len(lines) == report.rows_read == report.rows_written + report.rows_rejected
    assert (0, {}) == (report.rows_rejected, report.reasons)
    assert endless == sum(report.left_out.values())
    assert labels == Counter(row["fraud"] for row in rows)
    assert () == report.unused_columns
    assert len(lines) == len({row["transaction_id"] for row in rows})


def test_an_address_of_several_columns_and_its_telephone_come_through(imported: Imported) -> None:
    """Goal: the mappings use what is there. Method: each order beside its line; a price has the cents it was written with."""
    lines, _, rows = imported("aws_transactions")
    by_id = {line["EVENT_ID"]: line for line in lines}

    for row in rows:
        line = by_id[row["transaction_id"]]
        parts = ("billing_street", "billing_city", "billing_state", "billing_zip")
        assert ", ".join(line[part] for part in parts) == row["shipping_address"]
        assert row["phone_number"] in (line["billing_phone"], None)
        assert f"{row['amount_minor'] / 100:.2f}" == f"{float(line['order_price']):.2f}"
        assert (line["card_bin"], line["product_category"]) == (row["card_bin"], row["label_product_category"])


def columns_of(path: Path, *, base_currency: str, names: list[str]) -> list[list[float]]:
    """Computes features with the starter's definitions; returns those that are named, in the order of the history."""
    configuration = build_configuration(
        *(load_file(DEFAULTS / name) for name in ("features.yaml", "policy.yaml", "reason_codes.yaml")),
        limits=LIMITS,
        base_currency=base_currency,
        model_path=None,
        tag=lambda _entity, _value: 1,
    )
    settings = ServerSettings(base_currency=base_currency)
    reader = open_history(path)
    table = compute_features(reader, configuration, packer_of(settings, KEY, configuration))

    assert (reader.row_count, 0) == (len(table.features), table.problem_count)
    return [table.features[:, configuration.features.names.index(name)].tolist() for name in names]


def seconds(line: Line) -> float:
    """Returns the time of a line."""
    return datetime.fromisoformat(line["EVENT_TIMESTAMP"]).timestamp()


def within(lines: list[Line], key: str, *, window_s: int) -> list[list[int]]:
    """Returns for each line those up to it that share a value and are not as old as the window, by their places."""
    earlier: dict[str, list[int]] = defaultdict(list)
    found = []
    for place, line in enumerate(lines):
        earlier[line[key]].append(place)
        found.append([each for each in earlier[line[key]] if seconds(lines[each]) > seconds(line) - window_s])
    return found


def test_openings_from_one_address_are_counted_as_by_hand(imported: Imported) -> None:
    """Goal: windows and distinct counts mean what they say. Method: all 20,000 registrations, recounted from the CSV."""
    lines, report, rows = imported("aws_registrations")
    ordered = [lines[int(row["transaction_id"].rpartition("-")[2]) - 1] for row in rows]
    day = [len(places) for places in within(ordered, "ip_address", window_s=DAY_S)]
    hour = [len(places) for places in within(ordered, "ip_address", window_s=HOUR_S)]
    month = [len(places) for places in within(ordered, "email_address", window_s=30 * DAY_S)]
    names = ["ip.event_count_24h", "ip.event_count_1h", "ip.account_distinct_24h", "email.account_distinct_30d"]

    events_day, events_hour, accounts_day, accounts_month = columns_of(report.target, base_currency="EUR", names=names)

    assert sorted(map(seconds, lines)) == list(map(seconds, ordered))
    assert max(day) > 2
    assert max(month) > 5
    assert day == events_day
    assert hour == events_hour
    # Each opens an account of its own, so there are as many accounts as openings.
    assert day == accounts_day
    assert month == accounts_month


def test_orders_of_one_customer_are_summed_as_by_hand(imported: Imported) -> None:
    """Goal: money is exact. Method: all orders, their sums, means and counts from the CSV, in cents."""
    lines, report, rows = imported("aws_transactions")
    by_id = {line["EVENT_ID"]: line for line in lines}
    ordered = [by_id[row["transaction_id"]] for row in rows]
    cents = [round(float(line["order_price"]) * 100) for line in ordered]
    week = within(ordered, "ENTITY_ID", window_s=7 * DAY_S)
    month = within(ordered, "ENTITY_ID", window_s=30 * DAY_S)
    names = ["account.amount_sum_7d", "account.payment_count_30d", "account.amount_mean_30d"]

    sums, counts, means = columns_of(report.target, base_currency="USD", names=names)

    assert [float(np.float32(sum(cents[place] for place in places))) for places in week] == sums
    assert [len(places) for places in month] == counts
    # Means leave the event itself out.
    earlier = [[cents[place] for place in places[:-1]] for places in month]
    assert any(earlier)
    for values, mean in zip(earlier, means, strict=True):
        assert (sum(values) / len(values) if values else np.nan) == pytest.approx(mean, rel=1e-6, nan_ok=True)
