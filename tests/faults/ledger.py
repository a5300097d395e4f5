"""What the callers know: every request they sent, and the reply of those that were acknowledged.

INVARIANTS: an entry's reply is that of its first acknowledgement and never changes; whatever contradicts it later is kept
as a violation, for the oracle to raise. Thread-safe. Filled by `load` and by tests, read by `oracle`.
"""

import threading
from collections import Counter
from dataclasses import dataclass
from typing import Any

import grpc
from google.rpc import error_details_pb2
from google.rpc.status_pb2 import Status

from riskengine.server.client import reason_of
from riskengine.v1 import risk_service_pb2 as service
from riskengine.wire.names import message_field

SCORE, RECORD, OUTCOME = "ScoreTransaction", "RecordTransaction", "ReportOutcome"
STATUS_NAMES = {code.value[0]: code.name for code in grpc.StatusCode}
REQUESTS: dict[str, Any] = {
    SCORE: service.ScoreTransactionRequest,
    RECORD: service.RecordTransactionRequest,
    OUTCOME: service.ReportOutcomeRequest,
}


@dataclass(slots=True)
class Entry:
    """One request.

    Attributes:
        method: Of the call.
        request_id: Its own.
        raw: The payload, as every attempt sends it.
        attempts: How often it was sent.
        reply: Bytes of the first OK reply; None: never acknowledged.
        acknowledged_in: How often the server had been hurt when that came, for messages.
        key: What the journal knows it by; filled in by the oracle.
    """

    method: str
    request_id: str
    raw: bytes
    attempts: int = 0
    reply: bytes | None = None
    acknowledged_in: int = 0
    key: tuple[int, int] | None = None


class Ledger:
    """All requests of one data directory.

    Attributes:
        entries: By request_id.
        life: How often the server has been hurt so far.
        failures: How often calls ended with which (status, reason).
        violations: What callers saw that must not be.
    """

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self.life = 0
        self.failures: Counter[tuple[str, str]] = Counter()
        self.violations: list[str] = []
        self._lock = threading.Lock()

    def add(self, method: str, request: Any) -> Entry:
        """Enters a request that will be sent."""
        entry = Entry(method, request.request_id, request.SerializeToString())
        with self._lock:
            assert entry.request_id not in self.entries, "traffic makes each id once"
            self.entries[entry.request_id] = entry
        return entry

    def acknowledged(self, entry: Entry, reply: bytes) -> None:
        """Notes an OK reply, the first or another."""
        with self._lock:
            if entry.reply is None:
                entry.reply, entry.acknowledged_in = reply, self.life
            elif entry.reply != reply:
                self.violations.append(
                    f"{entry.method} {entry.request_id}: acknowledged in life {entry.acknowledged_in} as "
                    f"{entry.reply.hex()}, in life {self.life} as {reply.hex()}"
                )

    def failed(self, error: grpc.RpcError) -> str:
        """Notes how a call ended; returns the status."""
        status = str(error.code().name)
        with self._lock:
            self.failures[status, reason_of(error)] += 1
        return status

    def refused(self, error: Status) -> str:
        """Notes how one item of a batch ended; returns the status."""
        info = error_details_pb2.ErrorInfo()
        reason = info.reason if any(detail.Unpack(info) for detail in error.details) else ""
        with self._lock:
            self.failures[STATUS_NAMES[error.code], reason] += 1
        return STATUS_NAMES[error.code]

    def count_acknowledged(self) -> int:
        """Returns how many requests were acknowledged."""
        with self._lock:
            return sum(entry.reply is not None for entry in self.entries.values())

    def snapshot(self) -> list[Entry]:
        """Returns all entries, in the order in which they were made."""
        with self._lock:
            return list(self.entries.values())


def attempt(call: Any, ledger: Ledger, entry: Entry, *, timeout_s: float) -> str:
    """Sends an entry once.

    Args:
        call: A channel or `RiskClient.channel`.
        ledger: Told how it ended.
        entry: What to send.
        timeout_s: The caller's deadline.

    Returns:
        The status, ``OK`` or another.
    """
    entry.attempts += 1
    try:
        reply = method_of(call, entry.method)(entry.raw, timeout=timeout_s)
    except grpc.RpcError as error:
        return ledger.failed(error)
    ledger.acknowledged(entry, reply)
    return "OK"


def attempt_batch(channel: grpc.Channel, ledger: Ledger, entries: list[Entry], *, timeout_s: float) -> str:
    """Sends scored entries as one batch; as `attempt`, ``OK`` only where all are."""
    batch = service.BatchScoreTransactionsRequest(
        requests=[service.ScoreTransactionRequest.FromString(entry.raw) for entry in entries]
    )
    for entry in entries:
        entry.attempts += 1
    try:
        raw = method_of(channel, "BatchScoreTransactions")(batch.SerializeToString(), timeout=timeout_s)
    except grpc.RpcError as error:
        return ledger.failed(error)
    status = "OK"
    for entry, result in zip(entries, service.BatchScoreTransactionsResponse.FromString(raw).results, strict=True):
        if result.WhichOneof("result") == "decision":
            ledger.acknowledged(entry, message_field(1, result.decision.SerializeToString(deterministic=True)))
        else:
            status = ledger.refused(result.error)
    return status


def method_of(channel: grpc.Channel, method: str) -> Any:
    """Returns a method on raw bytes: replies are compared as they came over the wire."""
    return channel.unary_unary(f"/riskengine.v1.RiskService/{method}")
