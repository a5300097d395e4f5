"""Seeded requests of a few cards and accounts, so that an event that is lost or counted twice changes later answers.

INVARIANT: the same seed makes the same requests in the same order but for their event times, which are now. Used by
`load` and by tests.
"""

import threading
import time
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from google.protobuf.timestamp_pb2 import Timestamp

from riskengine.v1 import risk_service_pb2 as service
from riskengine.v1.decision_pb2 import Verdict
from riskengine.v1.transaction_pb2 import Entities, IssuerOutcome, IssuerResponse, Transaction, TransactionType

from .ledger import OUTCOME, RECORD, SCORE, Entry, Ledger

TRANSACTION_IDS_KEPT = 500
T = TypeVar("T")


class Traffic:
    """Makes requests and enters them.

    Args:
        ledger: Where they are entered.
        seed: Of everything random, and the beginning of every id.
    """

    def __init__(self, ledger: Ledger, *, seed: int) -> None:
        self._ledger = ledger
        self._name = f"s{seed}"
        self._rng = np.random.default_rng(seed)
        self._lock = threading.Lock()
        self._count = 0
        self._recent: list[str] = []

    def score(self) -> Entry:
        """Makes a payment, or now and then a login, to score."""
        with self._lock:
            request = service.ScoreTransactionRequest(request_id=self._next_id())
            self._fill(request.transaction)
        return self._ledger.add(SCORE, request)

    def record(self) -> Entry:
        """Makes a payment that was decided elsewhere."""
        with self._lock:
            request = service.RecordTransactionRequest(request_id=self._next_id(), verdict=self._of(Verdict.keys()))
            self._fill(request.transaction)
        return self._ledger.add(RECORD, request)

    def outcome(self) -> Entry:
        """Makes an outcome of an earlier payment: half of them name no entities, the engine has to know them."""
        with self._lock:
            request = service.ReportOutcomeRequest(
                request_id=self._next_id(), type=self._of(service.OutcomeType.keys()[1:])
            )
            known = self._recent and self._rng.random() < 0.95
            request.transaction_id = self._of(self._recent) if known else f"{self._name}-stranger"
            _set_time(request.event_time, time.time())
            if self._rng.random() < 0.5:
                self._fill_entities(request.entities)
        return self._ledger.add(OUTCOME, request)

    def draw(self) -> float:
        """Draws from [0, 1)."""
        with self._lock:
            return float(self._rng.random())

    def integer(self, low: int, high: int) -> int:
        """Draws from low to high - 1."""
        with self._lock:
            return int(self._rng.integers(low, high))

    def _next_id(self) -> str:
        self._count += 1
        return f"{self._name}-{self._count:07d}"

    def _of(self, values: Sequence[T]) -> T:
        return values[int(self._rng.integers(0, len(values)))]

    def _fill(self, transaction: Transaction) -> None:
        transaction.transaction_id = f"{self._name}-t{self._count}"
        self._recent = [*self._recent[-TRANSACTION_IDS_KEPT:], transaction.transaction_id]
        _set_time(transaction.event_time, time.time() - float(self._rng.exponential(2.0)))
        self._fill_entities(transaction.entities)
        if self._rng.random() < 0.05:
            transaction.type = TransactionType.TRANSACTION_TYPE_LOGIN
            return
        transaction.type = TransactionType.TRANSACTION_TYPE_CARD_PAYMENT
        transaction.amount_minor = int(self._rng.integers(100, 200_000))
        transaction.currency_code = "EUR"
        transaction.issuer_response.CopyFrom(IssuerResponse(outcome=self._of(IssuerOutcome.keys())))

    def _fill_entities(self, entities: Entities) -> None:
        entities.account_id = f"account-{self._rng.integers(0, 40)}"
        entities.card_id = f"card-{self._rng.integers(0, 60)}"
        entities.device_id = f"device-{self._rng.integers(0, 25)}"
        entities.merchant_id = f"merchant-{self._rng.integers(0, 8)}"


def _set_time(stamp: Timestamp, time_s: float) -> None:
    stamp.FromMicroseconds(int(time_s * 1e6))
