"""Opening and reading histories: what is missing reads as null, what is wrong is told with what to do."""

import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest

from riskengine.errors import HistoryError
from riskengine.lab.history import HISTORY_SCHEMA, open_history, write_history

from .builders import write

ROWS = "transaction_id,type,event_time,number_items\na,LOGIN,2026-01-01 00:00:00Z,2\nb,LOGIN,2026-01-01 00:00:01.5Z,\n"


def test_absent_columns_read_as_null_and_own_ones_are_kept(tmp_path: Path) -> None:
    """Goal: every schema column is there. Method: a CSV file of four columns."""
    reader = open_history(write(tmp_path, "h.csv", ROWS))
    batch = next(reader.batches())

    assert [*HISTORY_SCHEMA.names, "number_items"] == batch.schema.names
    assert batch.column("card_id").null_count == 2
    assert [2.0, None] == batch.column("number_items").to_pylist()
    assert reader.row_count == 2


def test_batches_have_at_most_the_rows_asked_for(tmp_path: Path) -> None:
    """Goal: bounded chunks, nothing lost. Method: 1,000 rows in chunks of 64, both formats."""
    times = pa.array(range(10**15, 10**15 + 1000), pa.timestamp("us", tz="UTC"))
    table = pa.table({"transaction_id": [f"t{i}" for i in range(1000)], "type": ["LOGIN"] * 1000, "event_time": times})
    for name in ("h.parquet", "h.csv"):
        write_history(table, tmp_path / name)
        sizes = [batch.num_rows for batch in open_history(tmp_path / name).batches(64)]

        assert max(sizes) <= 64
        assert sum(sizes) == 1000


def test_columns_can_be_chosen(tmp_path: Path) -> None:
    """Goal: read what is needed. Method: two columns in another order."""
    reader = open_history(write(tmp_path, "h.csv", ROWS))

    assert ["type", "card_id"] == reader.read(["type", "card_id"]).schema.names
    with pytest.raises(HistoryError, match='did you mean "card_id"'):
        reader.read(["card_idd"])


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("h.txt", "x", r'histories end in "\.parquet" or "\.csv"'),
        ("h.csv", "", r"cannot be read as csv: .+ write histor\w+"),
        ("h.parquet", "PAR1 no", r"cannot be read as parquet: .+ write histor\w+"),
        ("h.csv", "transaction_id,type\n1,LOGIN\n", 'column "event_time" is missing'),
        ("h.csv", ROWS.replace("number_items", "card_idd"), 'unknown column "card_idd"; did you mean "card_id"?'),
        ("h.csv", ROWS.replace("number_items", "type"), 'column "type" occurs twice'),
        ("h.csv", ROWS.replace("00:00:01.5Z", "noon"), "rebuild it with"),
        (
            "h.csv",
            ROWS.replace("01-01 00:00:01.5Z", "01-01 00:00:00Z").replace("b,LOGIN", "b,"),
            'row 2: "type" is missing',
        ),
        ("h.csv", ROWS.replace("a,LOGIN,2026", "a,LOGIN,2027"), "row 2: event_time is before the row above"),
    ],
)
def test_bad_files_say_what_to_do(tmp_path: Path, name: str, text: str, message: str) -> None:
    """Goal: every fault has its sentence. Method: one bad file each."""
    path = write(tmp_path, name, text)

    with pytest.raises(HistoryError) as told:
        open_history(path).read()
    assert re.search(re.escape(message) if "\\" not in message else message, told.value.message)


def test_missing_file_says_what_writes_histories(tmp_path: Path) -> None:
    """Goal: the next command is named. Method: no file."""
    with pytest.raises(HistoryError, match="no such file; `riskengine simulate`"):
        open_history(tmp_path / "none.parquet")


def test_order_is_checked_across_batches(tmp_path: Path) -> None:
    """Goal: a fall between chunks is noticed. Method: chunks of one row."""
    path = write(tmp_path, "h.csv", ROWS.replace("a,LOGIN,2026", "a,LOGIN,2027"))

    with pytest.raises(HistoryError, match="row 2"):
        list(open_history(path).batches(1))


def test_writing_leaves_no_half_file(tmp_path: Path) -> None:
    """Goal: whole or not at all. Method: a folder that is not there, a name of no kind, then a good write."""
    table = pa.table({"transaction_id": ["a"]})
    with pytest.raises(HistoryError, match=r"cannot be written: .*; name a file in a folder that is there"):
        write_history(table, tmp_path / "none" / "h.parquet")
    with pytest.raises(HistoryError, match="histories end in"):
        write_history(table, tmp_path / "h.txt")
    write_history(table, tmp_path / "h.parquet")

    assert ["h.parquet"] == [path.name for path in tmp_path.iterdir()]
    assert pyarrow.parquet.read_table(tmp_path / "h.parquet").equals(table)
