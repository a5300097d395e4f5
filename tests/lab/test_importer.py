"""Importing other people's files: mapped by YAML, mistakes told at once, unreadable rows set aside."""

from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest

from riskengine.errors import ConfigError, HistoryError
from riskengine.lab import source as sources
from riskengine.lab.history import HISTORY_SCHEMA, open_history
from riskengine.lab.importer import ImportReport, import_history, mapping_path
from riskengine.lab.mapping import SourceOptions

from .builders import import_text, imported, write

MAPPING = """\
columns:
  transaction_id: {from: id, prefix: "t-"}
  type: {from: kind, values: {buy: CARD_PAYMENT, back: REFUND}}
  event_time: {from: when, zone: Europe/Berlin}
  amount_minor: {from: price, multiply: 100}
  currency_code: {from: money, default: EUR}
  card_id: {from: card, clean: true}
  fraud: bad
label_delay: 7d
ignore: [note]
"""
SOURCE = """\
id,kind,when,price,money,card,bad,note,spare
1,buy,2026-01-01T10:00:00,12.34,EUR,card 1,0,x,y
2,back,2026-01-01T10:00:01Z,0.125,,card/2,true,,
3,buy,2026-01-01 12:00:00.5,8.575,USD,card-3,FALSE,,
"""


def run(folder: Path, source: str = SOURCE, mapping: str = MAPPING, rows_max: int | None = None) -> ImportReport:
    """Imports a CSV text by a mapping text."""
    return import_text(folder, source=source, mapping=mapping, rows_max=rows_max)


def rejected(folder: Path) -> list[tuple[int, str]]:
    """Reads number and reason of the rows set aside."""
    table = pyarrow.csv.read_csv(folder / "source.csv".replace("source", "history.rejected"))
    return list(zip(table["rejected_row"].to_pylist(), table["rejected_reason"].to_pylist(), strict=True))


def test_columns_are_mapped_transformed_and_ordered(tmp_path: Path) -> None:
    """Goal: each transform does what it says. Method: three rows with one of each, out of order."""
    lines = SOURCE.splitlines()
    report = run(tmp_path, source="\n".join([lines[0], *reversed(lines[1:])]))
    rows = imported(tmp_path)

    assert (3, 3, 0) == (report.rows_read, report.rows_written, report.rows_rejected)
    assert report.reordered
    assert ["t-1", "t-2", "t-3"] == [row["transaction_id"] for row in rows]
    assert ["CARD_PAYMENT", "REFUND", "CARD_PAYMENT"] == [row["type"] for row in rows]
    assert ["09:00:00", "10:00:01", "11:00:00"] == [row["event_time"].strftime("%H:%M:%S") for row in rows]
    assert [1234, 12, 858] == [row["amount_minor"] for row in rows]  # 12.5 and 857.5: half to even
    assert ["EUR", "EUR", "USD"] == [row["currency_code"] for row in rows]
    assert ["card_1", "card/2", "card-3"] == [row["card_id"] for row in rows]
    assert [False, True, False] == [row["fraud"] for row in rows]
    assert {7} == {(row["fraud_label_time"] - row["event_time"]).days for row in rows}


def test_report_accounts_for_every_column(tmp_path: Path) -> None:
    """Goal: nothing goes unsaid. Method: statuses of all columns, and what was not used."""
    report = run(tmp_path, mapping=MAPPING + "source: {format: csv}\n")
    status = {column.name: (column.status, column.source) for column in report.columns}

    assert list(HISTORY_SCHEMA.names) == [column.name for column in report.columns]
    assert ("mapped", "price") == status["amount_minor"]
    assert ("not mapped", "") == status["device_id"]
    assert ("mapped", "event_time and label_delay") == status["fraud_label_time"]
    assert ("spare",) == report.unused_columns


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("4,buy,2026-01-01T10:00:00,abc,EUR,c,0,,", "amount_minor: price is not a number in range"),
        ("4,buy,2026-01-01T10:00:00,1e30,EUR,c,0,,", "amount_minor: price is not a number in range"),
        ("4,buy,2026-01-01T10:00:00,nan,EUR,c,0,,", "amount_minor: price is not a number in range"),
        ("4,buy,2026-01-01T10:00:00,-1,EUR,c,0,,", "amount_minor must be from 0 to 1,000,000,000,000"),
        ("4,buy,2026-01-01T10:00:00,,EUR,c,0,,", "amount_minor is required for this type"),
        ("4,buy,2026-02-30T10:00:00,1,EUR,c,0,,", "event_time: when is not an ISO 8601 time"),
        ("4,buy,noon,1,EUR,c,0,,", "event_time: when is not an ISO 8601 time"),
        ("4,buy,9999-12-31T23:59:59-01:00,1,EUR,c,0,,", "event_time: when is not an ISO 8601 time"),
        ("4,buy,,1,EUR,c,0,,", "event_time must be given, and not before 2000-01-01"),
        ("4,sell,2026-01-01T10:00:00,1,EUR,c,0,,", "type: kind is not among the values of the mapping"),
        (
            "4,buy,2026-01-01T10:00:00,1,EUR,c,maybe,,",
            "fraud: bad is neither true/1 nor false/0; give `values` in the mapping",
        ),
        ("4,buy,2026-01-01T10:00:00,1,XXX,c,0,,", "currency_code must be an ISO 4217 code with a minor unit"),
        ("4,buy,2026-01-01T10:00:00,1,EUR,,0,,", "account_id or another identifier must be given"),
        (
            "4,buy,2026-01-01T10:00:00,1,EUR,4111111111111111,0,,",
            "card_id must have 1 to 64 characters of [A-Za-z0-9._:@+/=-] and must not be a card number",
        ),
        ("1,buy,2026-01-01T10:00:00,1,EUR,c,0,,", "transaction_id occurs a second time"),
        ("4,buy,2026-01-01T10:00:00,1,EUR,c,0", "has 7 columns where the header has 9"),
        ("4,buy,2026-01-01T10:00:00,1,EUR,\udcff\udcfe,0,,", "card_id: card is not UTF-8 text"),
    ],
    ids=lambda text: text[:60],
)
def test_unreadable_rows_are_set_aside_with_the_reason(tmp_path: Path, line: str, reason: str) -> None:
    """Goal: no row is lost silently. Method: one bad row in a good file, then a good one after it."""
    text = f"{SOURCE}{line}\n9,buy,2026-01-02T10:00:00,1,EUR,c,0,,\n"
    file = tmp_path / "source.csv"
    file.write_bytes(text.encode(errors="surrogateescape"))
    report = import_history(file, write(tmp_path, "mapping.yaml", MAPPING), tmp_path / "history.parquet")

    assert (5, 4, 1) == (report.rows_read, report.rows_written, report.rows_rejected)
    assert {reason: 1} == report.reasons
    path = tmp_path / "history.rejected.csv"
    assert report.rejected_path == path
    assert "t-9" == imported(tmp_path)[-1]["transaction_id"]
    kept = path.read_bytes()
    assert reason.encode() in kept.replace(b'""', b'"')
    assert b"\n4," in kept


def test_rejected_rows_keep_number_and_values(tmp_path: Path) -> None:
    """Goal: the row can be found and mended. Method: bad rows of both kinds between good ones."""
    lines = SOURCE.splitlines()
    text = "\n".join([lines[0], lines[1], "short", lines[2], "7,buy,never,1,EUR,c,0,n,s", lines[3]]) + "\n"
    report = run(tmp_path, source=text)
    table = pyarrow.csv.read_csv(report.rejected_path)

    assert [2, 4] == sorted(number for number, _ in rejected(tmp_path))
    assert "never" in table["when"].to_pylist()
    assert 5 == report.rows_read


def test_rejected_rows_are_private(tmp_path: Path) -> None:
    """Goal: raw identifiers are not left for everybody to read. Method: the mode of the file that is written aside."""
    report = run(tmp_path, source=SOURCE + "4,buy,never,1,EUR,c,0,,\n")

    assert report.rejected_path is not None
    assert 0 == report.rejected_path.stat().st_mode & 0o077


def test_dictionaries_are_written_out_bit_by_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Goal: a small file of repeated text takes little memory. Method: columns of dictionaries, a small bound, equal rows."""
    monkeypatch.setattr(sources, "DECODED_BYTES", 1_000)
    table = pyarrow.csv.read_csv(write(tmp_path, "plain.csv", SOURCE)).cast(
        pa.schema([(name, pa.string()) for name in SOURCE.splitlines()[0].split(",")])
    )
    table = pa.concat_tables([table] * 40).set_column(0, "id", pa.array([str(number) for number in range(120)]))
    encoded = pa.table({name: table[name].dictionary_encode() for name in table.column_names})
    mapping = write(tmp_path, "mapping.yaml", MAPPING)
    histories = []
    for name, written in (("encoded", encoded), ("plain", table)):
        pyarrow.parquet.write_table(written, tmp_path / f"{name}.parquet")
        report = import_history(tmp_path / f"{name}.parquet", mapping, tmp_path / f"{name}_history.parquet")
        histories.append(open_history(report.target).read())
        reader = sources.open_source(tmp_path / f"{name}.parquet", SourceOptions())
        parts = [batch for _, batch in reader.batches()]
        assert 3 < len(parts)
        assert all(part.get_total_buffer_size() < 10_000 for part in parts)

    assert 120 == histories[0].num_rows
    assert histories[0].equals(histories[1])


def test_a_better_mapping_removes_old_rejects(tmp_path: Path) -> None:
    """Goal: no stale file beside a clean import. Method: import with a bad row, then without."""
    run(tmp_path, source=SOURCE + "4,buy,never,1,EUR,c,0,,\n")
    report = run(tmp_path)

    assert report.rejected_path is None
    assert sorted(["source.csv", "mapping.yaml", "history.parquet"]) == sorted(p.name for p in tmp_path.iterdir())


BAD_MAPPINGS = [
    ("colums: {}\n", ['mapping.yaml:1:1: unknown key "colums"; did you mean "columns"?', "columns is missing"]),
    (
        MAPPING.replace("card_id:", "card_idd:"),
        ['mapping.yaml:7:3: no history has a column "card_idd"; did you mean "card_id"?'],
    ),
    (
        MAPPING.replace("from: price", "from: prize"),
        ['mapping.yaml:5:24: the source has no column "prize"; did you mean "price"?'],
    ),
    (
        MAPPING.replace("fraud: bad", "fraud: badd"),
        ['mapping.yaml:8:10: the source has no column "badd"; did you mean "bad"?'],
    ),
    (
        MAPPING.replace("CARD_PAYMENT", "CARD_PAYMENTS"),
        ["mapping.yaml:3:36: must be one of CARD_PAYMENT", '; did you mean "CARD_PAYMENT"?'],
    ),
    (
        MAPPING.replace("Europe/Berlin", "Europe/Berlinn"),
        ['not a time zone of the IANA database; did you mean "Europe/Berlin"?'],
    ),
    (MAPPING.replace("multiply", "multipy"), ['mapping.yaml:5:31: unknown key "multipy"; did you mean "multiply"?']),
    (MAPPING.replace("{from: price", "{source: price"), ['mapping.yaml:5:18: unknown key "source"']),
    (
        MAPPING.replace("{from: price", "{fromm: price"),
        ['mapping.yaml:5:18: unknown key "fromm"; did you mean "from"?'],
    ),
    ("source: {encoding: rot13}\n" + MAPPING, ["encoding: must be a text encoding such as utf-8"]),
    ('source: {encoding: "utf\\0"}\n' + MAPPING, ["encoding: must be a text encoding such as utf-8"]),
    ("source: {delimiter: é}\n" + MAPPING, ["delimiter: must be one ASCII character"]),
    (MAPPING.replace("multiply: 100", "multiply: 0"), ["multiply must be greater than 0"]),
    (
        MAPPING.replace('prefix: "t-"', "multiply: 2"),
        ["mapping.yaml:2:30: multiply is for numbers; transaction_id is not"],
    ),
    (
        MAPPING.replace("{from: card, clean: true}", "{clean: true}"),
        ["card_id needs exactly one of from, join, constant, row_number"],
    ),
    (MAPPING.replace("{from: card, clean: true}", "{from: card, constant: x}"), ["card_id needs exactly one of"]),
    (MAPPING.replace("default: EUR", "default: EURO"), ["must be an ISO 4217 code"]),
    (MAPPING.replace("default: EUR", "otherwise: EUR"), ["otherwise goes with values"]),
    (
        MAPPING.replace("label_delay: 7d", "label_delay: week"),
        ["label_delay must be a duration such as 7d, 12h or 30m"],
    ),
    (MAPPING.replace("  fraud: bad\n", ""), ["label_delay goes with fraud"]),
    (
        MAPPING.replace("[note]", "[notes]"),
        ['mapping.yaml:10:10: the source has no column "notes"; did you mean "note"?'],
    ),
    (MAPPING.replace('  transaction_id: {from: id, prefix: "t-"}\n', ""), ['"transaction_id" is missing']),
    (
        MAPPING.replace("  currency_code: {from: money, default: EUR}\n", ""),
        ['"currency_code" is missing; amounts have a currency'],
    ),
    (MAPPING.replace("fraud: bad", "fraud: {from: bad, values: {0: no}}"), ["must be true or false"]),
    (
        MAPPING.replace("{from: card, clean: true}", "{join: [card, spar]}"),
        ['mapping.yaml:7:26: the source has no column "spar"; did you mean "spare"?'],
    ),
    (
        MAPPING.replace("{from: card, clean: true}", "{join: [card]}"),
        ["mapping.yaml:7:19: join must have at least 2 item(s)"],
    ),
    (MAPPING.replace("{from: card, clean: true}", "{from: card, join: [id, card]}"), ["card_id needs exactly one of"]),
    (MAPPING.replace("clean: true", 'separator: ";"'), ["mapping.yaml:7:25: separator goes with join"]),
    (
        MAPPING.replace("fraud: bad", "fraud: {join: [bad, note]}"),
        ["mapping.yaml:8:11: join is for text; fraud is not"],
    ),
    (
        MAPPING.replace("multiply: 100", "unreadable: missing"),
        ["mapping.yaml:5:31: unreadable is for what an event can lack; amount_minor is not"],
    ),
    (MAPPING.replace("clean: true", "unreadable: skip"), ["unreadable must be missing"]),
    (MAPPING + "label_delay: 8d\n", ['the key "label_delay" stands here twice']),
]


@pytest.mark.parametrize(("mapping", "messages"), BAD_MAPPINGS, ids=[messages[0][:60] for _, messages in BAD_MAPPINGS])
def test_a_bad_mapping_says_where_and_what_is_near(tmp_path: Path, mapping: str, messages: list[str]) -> None:
    """Goal: each mistake has its place and its remedy. Method: one mistake each."""
    with pytest.raises(ConfigError) as told:
        run(tmp_path, mapping=mapping)

    for message in messages:
        assert message in told.value.message
    assert not (tmp_path / "history.parquet").exists()


def test_all_mistakes_of_a_mapping_are_told_at_once(tmp_path: Path) -> None:
    """Goal: one round for the analyst. Method: four mistakes of different checks."""
    mapping = (
        MAPPING.replace("card_id:", "card_idd:").replace("from: price", "from: prize").replace("[note]", "[notes]")
    )
    with pytest.raises(ConfigError) as told:
        run(tmp_path, mapping=mapping.replace("CARD_PAYMENT", "CARD_PAYMENTS"))

    assert [3, 5, 7, 10] == [problem.line for problem in told.value.problems]


def test_sources_that_cannot_be_used_are_refused(tmp_path: Path) -> None:
    """Goal: each has its sentence. Method: missing, empty, doubled column, of another kind, itself."""
    mapping = write(tmp_path, "mapping.yaml", MAPPING)
    cases = [
        (tmp_path / "none.csv", "no such file; name the CSV or Parquet file"),
        (write(tmp_path, "empty.csv", ""), "cannot be read as csv: .*; say what it is under `source:` in the mapping"),
        (write(tmp_path, "twice.csv", "id,id\n1,2\n"), 'column "id" occurs twice'),
        (write(tmp_path, "data.txt", SOURCE), "cannot tell what it is"),
        (write(tmp_path, "bad.csv", SOURCE.splitlines()[0] + "\n1,buy,never,1,EUR,c,0,,\n"), "no row could be read"),
    ]
    for source, message in cases:
        with pytest.raises(HistoryError, match=message):
            import_history(source, mapping, tmp_path / "history.parquet")
        assert not (tmp_path / "history.parquet").exists()
    with pytest.raises(HistoryError, match="is the source itself"):
        import_history(cases[3][0].rename(tmp_path / "same.csv"), mapping, tmp_path / "same.csv")


def test_minor_units_follow_the_currency_and_rows_can_be_numbered(tmp_path: Path) -> None:
    """Goal: yen have no cents, dinars have mils. Method: three currencies, no ids, times as numbers."""
    mapping = """\
source: {delimiter: ";"}
columns:
  transaction_id: {row_number: true, prefix: "row-"}
  type: {constant: CARD_PAYMENT}
  event_time: {from: t, format: epoch_s}
  amount_minor: {from: amount, minor_units: true}
  currency_code: cur
  card_id: {constant: card_1}
  number_weight: {from: amount, multiply: 2}
"""
    run(
        tmp_path,
        source="t;amount;cur\n1770000000;10.5;JPY\n1770000001;10.5;KWD\n1770000002.25;10.005;EUR\n",
        mapping=mapping,
    )
    rows = imported(tmp_path)

    assert ["row-1", "row-2", "row-3"] == [row["transaction_id"] for row in rows]
    assert [10, 10_500, 1000] == [row["amount_minor"] for row in rows]
    assert [21.0, 21.0, 20.01] == [row["number_weight"] for row in rows]
    assert 250_000 == rows[2]["event_time"].microsecond


def test_parquet_sources_of_many_types(tmp_path: Path) -> None:
    """Goal: typed sources need no text. Method: decimals, floats, booleans, naive nanoseconds, a null amount."""
    table = pa.table(
        {
            "id": pa.array([1, 2, 3], pa.int32()),
            "kind": pa.array(["buy", "buy", "buy"]).dictionary_encode(),
            "when": pa.array([1_770_000_000_000_000_001 + i for i in range(3)], pa.timestamp("ns")),
            "price": pa.array([Decimal("1.23"), None, Decimal("0.005")], pa.decimal128(12, 3)),
            "money": ["EUR", "EUR", "EUR"],
            "card": [1.0, 2.0, 3.0],
            "bad": [True, None, False],
            "note": ["", "", ""],
        }
    )
    pyarrow.parquet.write_table(table, tmp_path / "source.parquet")
    mapping = write(tmp_path, "mapping.yaml", MAPPING)
    report = import_history(tmp_path / "source.parquet", mapping, tmp_path / "history.csv")
    rows = open_history(tmp_path / "history.csv").read().to_pylist()

    assert [123, 0] == [row["amount_minor"] for row in rows]
    assert [True, False] == [row["fraud"] for row in rows]
    assert [2] == pyarrow.parquet.read_table(tmp_path / "history.rejected.parquet")["id"].to_pylist()
    assert report.rejected_path == tmp_path / "history.rejected.parquet"


def test_progress_and_row_limit(tmp_path: Path) -> None:
    """Goal: long imports show where they are and can be cut. Method: two of three rows."""
    told: list[int] = []
    files = write(tmp_path, "source.csv", SOURCE), write(tmp_path, "mapping.yaml", MAPPING)
    report = import_history(*files, tmp_path / "h.parquet", rows_max=2, progress=lambda done, total: told.append(done))

    assert [2] == told
    assert 2 == report.rows_written


def test_shipped_mappings_are_found_by_name(tmp_path: Path) -> None:
    """Goal: `--mapping handbook` works. Method: look up a name, a path and nonsense."""
    own = write(tmp_path, "own.yaml", MAPPING)

    assert mapping_path("handbook").name == "handbook.yaml"
    assert mapping_path(str(own)) == own
    with pytest.raises(
        HistoryError, match="shipped with the package: aws_registrations, aws_registrations_coldstart, "
    ):
        mapping_path("nonsense")


def test_handbook_flows_through(shared_data: Path, tmp_path: Path) -> None:
    """Goal: real input becomes a history. Method: 20,000 rows of the handbook's data by the shipped mapping."""
    source = shared_data / "handbook" / "transactions.parquet"
    report = import_history(source, mapping_path("handbook"), tmp_path / "h.parquet", rows_max=20_000)
    table = open_history(tmp_path / "h.parquet").read()
    raw = pyarrow.parquet.ParquetFile(source).read_row_group(0).slice(0, 20_000)

    assert (20_000, 0, ()) == (report.rows_written, report.rows_rejected, report.unused_columns)
    cents = [int((Decimal(str(amount)) * 100).to_integral_value()) for amount in raw["TX_AMOUNT"].to_pylist()]
    assert cents == table["amount_minor"].to_pylist()
    assert [bool(label) for label in raw["TX_FRAUD"].to_pylist()] == table["fraud"].to_pylist()
    assert "customer-596" == table["card_id"][0].as_py()
