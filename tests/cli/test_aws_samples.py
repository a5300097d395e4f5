"""Real-looking registrations and orders from the file to the answer: import, warm start, `riskengine serve`, find, explain.

INVARIANT: what is scored is a request that a gateway could send: rows of a history, and nothing of their labels.
"""

import csv
import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet
import pytest

from riskengine.cli.demo.prepare import make_folder
from riskengine.cli.demo.running import running_server
from riskengine.cli.requests import rows_of, score_request
from riskengine.lab.history import HistoryReader, open_history, write_history
from riskengine.server.client import RiskClient
from riskengine.v1 import decision_pb2
from riskengine.v1 import risk_service_pb2 as service
from tests.cli.running import Run

pytestmark = [pytest.mark.server, pytest.mark.slow, pytest.mark.timeout(600)]

LIVE_ROWS: Final = 300
"""The newest orders are scored one by one; what was before is loaded."""
STORED_S: Final = 120
"""Until the newest decisions are stored."""
SCANNED: Final = 60
"""Identifiers of each kind that are looked for in the files."""
RAW_COLUMNS: Final = ("customer_email", "billing_phone", "ip_address", "ENTITY_ID", "billing_street")


@dataclass(frozen=True)
class Served:
    """A server that has the past of the orders and has decided on the newest."""

    folder: Path
    address: str
    client: RiskClient
    lines: list[dict[str, str]]
    rows: list[dict[str, Any]]
    """Those that were scored."""
    decisions: list[decision_pb2.Decision]
    """On each of them."""


def parted(reader: HistoryReader, folder: Path) -> tuple[Path, list[dict[str, Any]]]:
    """Writes all but the newest rows of a history, as it was known then; returns the file and the newest as dictionaries."""
    table = reader.read()
    cut = table.num_rows - LIVE_ROWS
    past, newest = table.slice(0, cut), table.slice(cut).combine_chunks()
    known = pc.less(past["fraud_label_time"], newest["event_time"][0])
    for name in ("fraud", "fraud_label_time"):
        index = past.schema.get_field_index(name)
        field = past.schema.field(index)
        past = past.set_column(index, field, pc.if_else(known, past[name], pa.scalar(None, field.type)))
    write_history(past, folder / "past.parquet")
    return folder / "past.parquet", [row for batch in newest.to_batches() for row in rows_of(batch)]


@pytest.fixture(scope="module")
def served(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Imports the orders, loads their past into a new server and scores the newest, as a user would."""
    from riskengine.cli.main import run

    source = shared_data / "aws_samples" / "transaction_data_2K_coldstart.csv"
    base = tmp_path_factory.mktemp("aws")
    history, folder = base / "orders.parquet", base / "folder"
    assert run(["history", "import", str(source), "--mapping", "aws_transactions", "--out", str(history)]) == 0
    past, rows = parted(open_history(history), base)
    make_folder(folder)
    with source.open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    with running_server(folder, on_line=lambda line: None) as address, RiskClient(address) as client:
        assert run(["history", "load", str(past), "--address", address]) == 0
        decisions = [client.service.ScoreTransaction(score_request(row), timeout=10).decision for row in rows]
        yield Served(folder, address, client, lines, rows, decisions)


def test_every_order_gets_a_decision_of_its_own(served: Served) -> None:
    """Goal: nothing that the importer takes is refused by the door. Method: 300 calls after the 1,311 that were loaded."""
    verdicts = {decision_pb2.VERDICT_APPROVE, decision_pb2.VERDICT_REVIEW, decision_pb2.VERDICT_DECLINE}

    assert len(served.rows) == len({decision.name for decision in served.decisions}) == LIVE_ROWS
    assert verdicts >= {decision.verdict for decision in served.decisions}
    assert all(decision.recorded and not decision.degraded_stages for decision in served.decisions)
    assert not any(decision.approximate for decision in served.decisions)  # None came too late to be counted.


def test_registrations_are_decided_in_batches(shared_data: Path, served: Served, tmp_path: Path) -> None:
    """Goal: the other kind of event, all of a file. Method: the 2,000 registrations, some older than what the engine has seen."""
    from riskengine.lab.importer import import_history, mapping_path

    source = shared_data / "aws_samples" / "registration_data_2K_coldstart.csv"
    report = import_history(source, mapping_path("aws_registrations_coldstart"), tmp_path / "h.parquet")
    names: set[str] = set()
    for batch in open_history(report.target).batches(rows=500):
        request = service.BatchScoreTransactionsRequest(requests=[score_request(row) for row in rows_of(batch)])
        results = served.client.service.BatchScoreTransactions(request, timeout=30).results
        assert {"decision"} == {result.WhichOneof("result") for result in results}
        names.update(result.decision.name for result in results)

    assert report.rows_read == len(names) == 2_000


def eventually(found: Callable[[], list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Asks until something is found."""
    deadline = time.monotonic() + STORED_S
    while not (rows := found()):
        assert time.monotonic() < deadline, "nothing was stored"
        time.sleep(0.5)
    return rows


def test_a_decision_is_found_by_whom_it_was_about(command: Run, served: Served) -> None:
    """Goal: an analyst starts from an e-mail address. Method: the last order's, its account's and its address's decisions."""
    row, name = served.rows[-1], served.decisions[-1].name

    def find(*options: str) -> list[dict[str, Any]]:
        ran = command("decisions", "find", *options, "--config", served.folder, "--json", "--limit", "1000")
        found = [json.loads(line) for line in ran.out.splitlines()] if ran.code == 0 else []
        return found if any(each["decision"] == name for each in found) else []

    found = eventually(lambda: find("--email", row["email_address"]))

    lines = [line for line in served.lines if line["customer_email"] == row["email_address"]]
    assert len(lines) == len([each for each in found if each["kind"] != "outcome"])
    assert found == find("--email", row["email_address"].upper())
    assert find("--account", row["account_id"])
    assert find("--ip", row["ip_address"], "--request", row["transaction_id"])


def test_a_decision_is_explained(command: Run, served: Served) -> None:
    """Goal: what was measured is told. Method: the last order by its name and by its request, compared with a count by hand."""
    row, decision = served.rows[-1], served.decisions[-1]
    mine = [line for line in served.lines if line["ENTITY_ID"] == row["account_id"]]

    told = command("decision", "explain", decision.name, served.folder, "--json")
    shown = command("decision", "explain", "--request-id", row["transaction_id"], served.folder)

    assert (0, 0) == (told.code, shown.code), told.err + shown.err
    assert json.loads(told.out)["name"] == decision.name in shown.out
    month = [line for line in mine if age_days(line, row["event_time"]) < 30]
    assert {"name": "account.payment_count_30d", "value": float(len(month))} in features_of(json.loads(told.out))


def age_days(line: dict[str, str], now_us: int) -> float:
    """Returns how long before a moment an order was."""
    from datetime import datetime

    return (now_us / 1e6 - datetime.fromisoformat(line["EVENT_TIMESTAMP"]).timestamp()) / 86_400


def features_of(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Returns the features of an explanation, name and value."""
    return [{"name": each["name"], "value": each["value"]} for each in document["answer"]["features"]]


def texts_of(path: Path) -> bytes:
    """Returns all that stands in a file: its bytes, and of compressed Parquet what the columns hold."""
    raw = path.read_bytes()
    if path.suffix == ".parquet":
        raw += repr(pyarrow.parquet.read_table(path).to_pylist()).encode()
    return re.sub(rb"\0{8,}", b"\0", raw)  # What is reserved ahead is long and says nothing.


def found_in(folder: Path, needles: set[str]) -> set[str]:
    """Returns which of the texts stand in any file of a folder, in any case of letters."""
    wanted = {needle: needle.lower().encode() for needle in needles}
    found: set[str] = set()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            hay = texts_of(path).lower()
            found |= {needle for needle, raw in wanted.items() if raw in hay}
    return found


def test_nobody_can_be_read_from_the_files(served: Served, tmp_path: Path) -> None:
    """Goal: identifiers are tags on disk. Method: look for people of the file in all that was written; see that looking finds."""
    needles = {line[name] for line in served.lines[:SCANNED] for name in RAW_COLUMNS}
    planted = sorted(needles)[7]
    write_history_like(tmp_path / "planted.parquet", planted.upper())

    assert {planted} == found_in(tmp_path, needles)
    assert {"account.payment_count_30d"} == found_in(served.folder / "data", {"account.payment_count_30d"})
    assert list((served.folder / "data").rglob("*.parquet"))
    assert set() == found_in(served.folder, needles)


def write_history_like(path: Path, text: str) -> None:
    """Writes a text into compressed Parquet, as somebody who forgot would."""
    pyarrow.parquet.write_table(pa.table({"email": [text] * 3}), path, compression="zstd")
