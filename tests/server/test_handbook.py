"""Real input: the handbook's card payments, made by nobody here, through all of it."""

from pathlib import Path

import numpy as np
import pytest

from riskengine.cli.requests import rows_of, score_request
from riskengine.engine.configuration import Configuration, load_configuration
from riskengine.engine.engine import Engine
from riskengine.enums import Verdict
from riskengine.lab.features import in_order, packer_of
from riskengine.lab.history import open_history
from riskengine.lab.importer import import_history, mapping_path
from riskengine.lab.replay import replay
from riskengine.lab.train import activate_model, train_model
from riskengine.settings import load_settings
from riskengine.v1 import risk_service_pb2 as service
from riskengine.wire.pseudonyms import Pseudonyms, TagKey
from tests.server.running import Server, write_config

ROWS = 300_000
"""A month: frauds need the 7 days of label delay to be known."""


@pytest.fixture(scope="module")
def history(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first month, imported by the mapping that comes with the package; not a row may be lost."""
    target = tmp_path_factory.mktemp("handbook") / "history.parquet"

    report = import_history(
        shared_data / "handbook" / "transactions.parquet", mapping_path("handbook"), target, rows_max=ROWS
    )

    assert (ROWS, ROWS, 0) == (report.rows_read, report.rows_written, report.rows_rejected)
    return target


def test_history_trains_a_model_whose_decisions_replay(history: Path, tmp_path: Path) -> None:
    """Features by the serving kernels, a model that finds frauds, decisions that come out again bit for bit."""
    config_dir = write_config(tmp_path / "config")
    settings = load_settings(config_dir / "server.yaml")
    key = TagKey.load(settings.tag_key_file)
    limits = settings.limits.engine_limits()

    def load() -> Configuration:
        return load_configuration(
            config_dir,
            limits=limits,
            base_currency="USD",
            model_dir=settings.model_dir,
            tag=Pseudonyms(key).tag,
        )

    dollars = settings.model_copy(update={"base_currency": "USD", "rates": {}})
    untrained = load()
    packer = packer_of(dollars, key, untrained)
    trained = train_model(
        history,
        untrained,
        packer,
        name="handbook",
        model_dir=settings.model_dir,
        created_time_us=0,
        rounds=20,
        threads=1,
    )
    activate_model(settings.model_dir, "handbook")
    configuration = load()
    engine = Engine.open(tmp_path / "data", configuration, limits=limits, segment_bytes=8 << 20)
    verdicts = np.zeros(4, np.int64)
    for events, _, _, _ in in_order(open_history(history).batches(), packer):
        for first in range(0, len(events), 1024):
            verdicts += np.bincount(engine.commit(events[first : first + 1024])[1]["verdict"], minlength=4)
    sequence = engine.sequence
    engine.close()

    report = replay(tmp_path / "data")

    assert trained.problem_count == 0
    assert trained.report["figures"]["test"]["auc"] > 0.7
    assert verdicts[Verdict.APPROVE] > 0.9 * ROWS
    assert (sequence, ROWS, 0) == (report.event_count, report.decision_count, report.difference_count)


def test_ten_thousand_payments_are_answered_by_the_running_server(history: Path, server: Server) -> None:
    """Ten batches of a thousand over gRPC: each payment gets its own recorded decision, in order."""
    names: set[str] = set()
    before = server.row_count()
    rows = list(rows_of(next(open_history(history).batches(rows=10_000))))
    for first in range(0, len(rows), 1_000):
        requests = [score_request(row) for row in rows[first : first + 1_000]]
        for request in requests:
            # The handbook has dollars, the starter's base currency is the euro.
            request.transaction.currency_code = "EUR"
        reply = server.calls.BatchScoreTransactions(
            service.BatchScoreTransactionsRequest(requests=requests), timeout=30
        )
        assert all(result.decision.recorded for result in reply.results), reply.results[0]
        names.update(result.decision.name for result in reply.results)

    assert len(rows) == len(names) == 10_000
    assert server.row_count() - before == 10_000
