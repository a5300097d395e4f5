"""An import of untidy rows: columns put together, and values that are left out without costing their row."""

from pathlib import Path

import pytest

from riskengine.lab.importer import import_history

from .builders import import_text, imported, write

JOINING = """\
columns:
  transaction_id: id
  type: {constant: LOGIN}
  event_time: when
  account_id: {from: who, unreadable: missing}
  phone_number: {from: phone, unreadable: missing}
  shipping_address: {join: [street, zip, city]}
  card_id: {join: [zip, city], separator: "-", clean: true, prefix: "at-"}
  latitude_degrees: {from: lat, unreadable: missing}
  longitude_degrees: {from: lon, unreadable: missing}
  fraud: {from: label, values: {good: false, bad: true}, unreadable: missing}
"""
HEADER = "id,when,who,phone,street,zip,city,lat,lon,label"


def test_columns_are_joined_and_blank_ones_passed_over(tmp_path: Path) -> None:
    """Goal: an address in parts is one address. Method: all parts, some, none; one with a prefix; one that is no text."""
    lines = [
        "a,2026-01-01T00:00:00Z,u,,Am Markt 1,10178, Berlin ,,,",
        "b,2026-01-01T00:00:00Z,u,,,10178,,,,",
        "c,2026-01-01T00:00:00Z,u,,, ,,,,",
        "d,2026-01-01T00:00:00Z,u,,\udcff,10178,,,,",
    ]
    file = tmp_path / "source.csv"
    file.write_bytes("\n".join([HEADER, *lines]).encode(errors="surrogateescape"))
    report = import_history(file, write(tmp_path, "mapping.yaml", JOINING), tmp_path / "history.parquet")
    rows = imported(tmp_path)

    assert ["Am Markt 1, 10178, Berlin", "10178", None] == [row["shipping_address"] for row in rows]
    assert ["at-10178-Berlin", "at-10178", None] == [row["card_id"] for row in rows]
    assert {"shipping_address: street + zip + city is not UTF-8 text": 1} == report.reasons
    assert "street + zip + city" in {column.source for column in report.columns}
    assert () == report.unused_columns


@pytest.mark.parametrize(
    ("line", "column", "told"),
    [
        (",u,12,,1,,,,", "phone_number", 'phone_number has 5 to 15 digits and an optional "+" before them'),
        (",u,,,1,,,,maybe", "fraud", "fraud: label is not among the values of the mapping"),
        (",u,,,1,,north,2,", "latitude_degrees", "latitude_degrees: lat is not a finite number"),
        (",u,,,1,,91,2,", "longitude_degrees", "latitude_degrees must be from -90 to 90"),
        (",u,,,1,,1,,", "latitude_degrees", "latitude_degrees must come with longitude_degrees or not at all"),
        (
            ",4111111111111111,,,1,,,,",
            "account_id",
            "account_id must have 1 to 64 characters of [A-Za-z0-9._:@+/=-] and must not be a card number",
        ),
    ],
)
def test_a_value_that_may_be_missing_does_not_cost_its_row(tmp_path: Path, line: str, column: str, told: str) -> None:
    """Goal: a payment with a bad telephone number is still learned from. Method: one bad value each, read or judged."""
    report = import_text(tmp_path, source=f"{HEADER}\na,2026-01-01T00:00:00Z{line}\n", mapping=JOINING)

    assert (1, 1, 0) == (report.rows_read, report.rows_written, report.rows_rejected)
    assert {told: 1} == report.left_out
    assert imported(tmp_path)[0][column] is None


def test_a_row_known_by_nothing_else_is_set_aside(tmp_path: Path) -> None:
    """Goal: leaving values out makes no event of nobody. Method: a bad telephone number alone; the same beside an account."""
    lines = [f"{name},2026-01-01T00:00:00Z,{who},12,,,,,," for name, who in (("a", ""), ("b", "u"))]
    report = import_text(tmp_path, source="\n".join([HEADER, *lines]), mapping=JOINING)

    assert {"account_id or another identifier must be given": 1} == report.reasons
    assert ["b"] == [row["transaction_id"] for row in imported(tmp_path)]
    assert [1] == list(report.left_out.values())
