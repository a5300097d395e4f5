"""A real server for tests: configuration folder, supervisor in a thread, requests. Imported by the tests of this folder."""

import itertools
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc

from riskengine.engine.link import (
    FRONT_FRAME_BYTES_MAX,
    TO_FRONT,
    FrameReader,
    read_document,
)
from riskengine.engine.sockets import connect
from riskengine.server.client import SERVICE, RiskClient
from riskengine.server.supervisor import OnStage, Supervisor
from riskengine.settings import FrontSettings
from riskengine.v1 import risk_service_pb2 as service
from riskengine.wire.pseudonyms import TagKey

DEFAULTS = Path(__file__).resolve().parents[2] / "riskengine" / "defaults"
SETTINGS = """\
listen: 127.0.0.1:0
limits: {entities_max: 2000, arena_mib: 32, recent_decisions_max: 5000}
journal_segment_mib: 2
deadline: {default_ms: 2000, max_ms: 5000}
"""
START_S = 120
"""Kernels may have to be compiled."""
ids = itertools.count(1)


def write_config(folder: Path, settings: str = SETTINGS) -> Path:
    """Writes a configuration folder with the starter features and policy."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("features.yaml", "policy.yaml", "reason_codes.yaml"):
        shutil.copy(DEFAULTS / name, folder / name)
    (folder / "server.yaml").write_text(settings)
    TagKey.create(folder / "tag.key")
    return folder


class Server:
    """A started server and a client to it."""

    def __init__(self, config_dir: Path, supervisor: Supervisor) -> None:
        self.config_dir = config_dir
        self.supervisor = supervisor
        self.client = RiskClient(supervisor.address)
        self.stages: list[tuple[str, dict[str, Any]]] = []

    @property
    def calls(self) -> Any:
        """The stub."""
        return self.client.service

    def raw(self, method: str, request: bytes, timeout_s: float = 5.0) -> bytes:
        """Calls with bytes, returns bytes."""
        call: Any = self.client.channel.unary_unary(f"/{SERVICE}/{method}")
        reply = call(request, timeout=timeout_s)
        assert isinstance(reply, bytes)
        return reply

    def hello(self) -> dict[str, Any]:
        """Asks the engine itself, as a front does."""
        reader = FrameReader(kinds=TO_FRONT, frame_bytes_max=FRONT_FRAME_BYTES_MAX)
        with connect(self.config_dir / "data") as connection:
            connection.setblocking(True)
            while reader.next_frame() is None:
                reader.receive(connection)
            return read_document(reader.body())

    def row_count(self) -> int:
        """Returns how many rows the engine has applied since it started."""
        return int(self.hello()["counters"]["rows"])


@contextmanager
def serving(
    config_dir: Path,
    *,
    front: FrontSettings | None = None,
    follower: bool = False,
    on_stage: OnStage | None = None,
) -> Iterator[Server]:
    """Starts a server, watches it in a thread, stops it."""
    front = front or FrontSettings(drain_notice_ms=0)
    supervisor = Supervisor(config_dir, front=front, follower=follower, on_stage=on_stage)
    supervisor.start()
    server = Server(config_dir, supervisor)
    done = threading.Event()
    watcher = threading.Thread(target=supervisor.run, args=(done.is_set,))
    watcher.start()
    try:
        server.client.wait_serving(10)
        yield server
    finally:
        done.set()
        watcher.join()
        server.client.close()
        supervisor.stop()


def score_request(**overrides: Any) -> service.ScoreTransactionRequest:
    """Builds a card payment with a new request_id; overrides are fields of the transaction, or request_id."""
    number = next(ids)
    request = service.ScoreTransactionRequest(request_id=overrides.pop("request_id", f"request-{number:08d}"))
    transaction = request.transaction
    transaction.transaction_id = overrides.pop("transaction_id", f"transaction-{number}")
    transaction.type = overrides.pop("type", 1)
    transaction.event_time.GetCurrentTime()
    transaction.amount_minor = overrides.pop("amount_minor", 4_999)
    transaction.currency_code = overrides.pop("currency_code", "EUR")
    transaction.entities.account_id = overrides.pop("account_id", f"account-{number}")
    transaction.entities.card_id = overrides.pop("card_id", f"card-{number}")
    transaction.entities.merchant_id = "merchant-1"
    assert not overrides, "a field that this builder does not know"
    return request


def failure(call: Any, *arguments: Any, **options: Any) -> Any:
    """Calls and returns the error it ends with."""
    try:
        call(*arguments, **options)
    except grpc.RpcError as error:
        return error
    raise AssertionError("the call was expected to fail")
