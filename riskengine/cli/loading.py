"""A history into a running engine: each event by RecordTransaction, each fraud by ReportOutcome when it became known.

INVARIANTS: requests are started in the order of event time, at most `concurrency` at once and never more than SPREAD_US
apart, so that none comes too late to be folded (the engine inserts what is a little late where it belongs); a row that is
refused is told with its reason, never dropped in silence; a repeat changes nothing, for the ids of requests come from
those of transactions.

Called by `history load`.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import grpc
import grpc.aio
import numpy as np

from riskengine.cli.requests import Row, has_outcome, outcome_request, record_request, rows_of
from riskengine.errors import HistoryError, Unavailable
from riskengine.lab.history import HistoryReader
from riskengine.lab.labels import Label, with_labels
from riskengine.server.client import aio_channel, describe, reason_of
from riskengine.types import Ints
from riskengine.v1.risk_service_pb2 import RecordTransactionRequest, ReportOutcomeRequest
from riskengine.v1.risk_service_pb2_grpc import RiskServiceStub

ATTEMPTS_MAX: Final = 12
"""For a call that the server cannot take just now; with the pauses between them, about 20 s."""
PAUSE_S: Final = 0.05
PAUSE_MAX_S: Final = 3.0
CALL_TIMEOUT_S: Final = 10.0
SPREAD_US: Final = 10 * 60 * 1_000_000
"""Event time between calls under way at once; well below the shipped `lateness_max_s` of an hour."""
READ_ROWS: Final = 1_024
"""Their requests are made at once, which holds the calls under way up for some 30 ms."""
REFUSED_KEPT_MAX: Final = 100_000
"""Refused rows remembered one by one; beyond it they are only counted."""
TOO_LATE: Final = (
    "its first event entered no window, since the engine has already seen newer ones, so nothing else was loaded. Load a history "
    "before the first payment: stop the server, name another, empty data_dir in server.yaml, start it, and load first"
)
_WORTH_A_RETRY: Final = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED)

Request = RecordTransactionRequest | ReportOutcomeRequest
Numbered = tuple[int, Row, Request | str]
"""The number of a row, the row, and its request or why there is none."""
Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Refused:
    """A row that the server did not take.

    Attributes:
        row: 1-based, in the history.
        transaction_id: Of the row.
        reason: In words.
    """

    row: int
    transaction_id: str
    reason: str


@dataclass(slots=True)
class LoadReport:
    """What a load did.

    Attributes:
        recorded: Transactions that are durable.
        too_late: Those of them that entered no window, because the engine has seen newer events.
        outcomes: Frauds reported.
        outcomes_ahead: Frauds that become known only after now; not reported.
        reasons: Refused requests by ErrorInfo reason.
        refused: One by one, up to REFUSED_KEPT_MAX.
    """

    recorded: int = 0
    too_late: int = 0
    outcomes: int = 0
    outcomes_ahead: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    refused: list[Refused] = field(default_factory=list)


async def load_history(
    reader: HistoryReader, address: str, *, concurrency: int, now_us: int, on_progress: Progress
) -> LoadReport:
    """Loads a history.

    Args:
        reader: The history.
        address: HOST:PORT of the server.
        concurrency: Calls under way at once, at least 1.
        now_us: Time of day, microseconds since the epoch: later labels are not known yet.
        on_progress: Told how many rows of the history have been read.

    Raises:
        HistoryError: The first event entered no window: the engine has seen newer ones. No other was sent.
        Unavailable: The server cannot be reached, or not any more; run it again later.
    """
    report = LoadReport()
    async with aio_channel(address) as channel:
        loader = _Loader(RiskServiceStub(channel), report, concurrency)  # type: ignore[no-untyped-call]
        tested = False
        for number, row, request in _in_order(reader, report, now_us, on_progress):
            await loader.start(number, row, request)
            if not tested:
                await loader.finish()
                tested = report.recorded > 0
                if report.too_late:
                    raise HistoryError(TOO_LATE)
        await loader.finish()
    return report


def _in_order(reader: HistoryReader, report: LoadReport, now_us: int, on_progress: Progress) -> Iterator[Numbered]:
    """Yields requests in the order in which the world would have sent them, or why there is none for a row."""
    for chunk, labels in with_labels(_numbered(reader)):
        due = deque(labels)
        for index, item in enumerate(chunk or ()):
            while due and due[0].row <= index:
                yield _reported(due.popleft())
            yield item
        if chunk:
            on_progress(chunk[-1][0])
        # Only the labels of the end are left: those that the world knows by now, and those that it does not.
        for label in due:
            if label.known_us <= now_us:
                yield _reported(label)
            else:
                report.outcomes_ahead += 1


def _numbered(reader: HistoryReader) -> Iterator[tuple[list[Numbered], Ints, list[Label[Numbered]]]]:
    """Yields the rows of a history as requests, with their times and with the labels of those that can be recorded."""
    number = 0
    for batch in reader.batches(READ_ROWS):
        chunk: list[Numbered] = []
        labels: list[Label[Numbered]] = []
        for index, row in enumerate(rows_of(batch)):
            number += 1
            try:
                chunk.append((number, row, record_request(row)))
            except (ValueError, TypeError) as error:
                chunk.append((number, row, str(error)))
                continue
            if has_outcome(row):
                labels.append(Label(index, row["fraud_label_time"], chunk[-1]))
        yield chunk, np.array([row["event_time"] for _, row, _ in chunk], np.int64), labels


def _reported(label: Label[Numbered]) -> Numbered:
    """Returns the report that a row turned out to be fraud."""
    number, row, _ = label.report
    return number, row, outcome_request(row)


class _Loader:
    """Calls under way."""

    def __init__(self, stub: Any, report: LoadReport, concurrency: int) -> None:
        self._stub = stub
        self._report = report
        self._concurrency = concurrency
        self._tasks: dict[asyncio.Task[None], int] = {}
        """With their event times, in the order in which they were started."""
        self._failure: BaseException | None = None

    async def start(self, number: int, row: Row, request: Request | str) -> None:
        """Starts a call as soon as there is room; raises what ended an earlier one."""
        if isinstance(request, str):
            self._refuse(number, row, "UNREADABLE", request)
            return
        time_us = row["fraud_label_time" if isinstance(request, ReportOutcomeRequest) else "event_time"]
        while self._tasks and (
            len(self._tasks) >= self._concurrency or time_us - next(iter(self._tasks.values())) > SPREAD_US
        ):
            await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        if self._failure is not None:
            raise self._failure
        task = asyncio.create_task(self._call(number, row, request))
        self._tasks[task] = time_us
        task.add_done_callback(self._ended)

    async def finish(self) -> None:
        """Waits for all calls."""
        while self._tasks:
            await asyncio.wait(self._tasks)
        if self._failure is not None:
            raise self._failure

    def _ended(self, task: "asyncio.Task[None]") -> None:
        del self._tasks[task]
        if not task.cancelled() and task.exception() is not None:
            self._failure = self._failure or task.exception()

    async def _call(self, number: int, row: Row, request: Request) -> None:
        pause_s = PAUSE_S
        for attempt in range(1, ATTEMPTS_MAX + 1):
            try:
                await self._send(request)
                return
            except grpc.aio.AioRpcError as error:
                if error.code() not in _WORTH_A_RETRY:
                    self._refuse(number, row, reason_of(error), describe(error))
                    return
                if attempt == ATTEMPTS_MAX:
                    raise Unavailable("NOT_SERVING", f"the server does not answer: {describe(error)}") from None
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, PAUSE_MAX_S)

    async def _send(self, request: Request) -> None:
        report = self._report
        if isinstance(request, ReportOutcomeRequest):
            await self._stub.ReportOutcome(request, timeout=CALL_TIMEOUT_S)
            report.outcomes += 1
            return
        reply = await self._stub.RecordTransaction(request, timeout=CALL_TIMEOUT_S)
        report.recorded += 1
        report.too_late += not reply.folded

    def _refuse(self, number: int, row: Row, reason: str, words: str) -> None:
        report = self._report
        report.reasons[reason] += 1
        if len(report.refused) < REFUSED_KEPT_MAX:
            report.refused.append(Refused(number, row["transaction_id"], " ".join(words.split())))


def write_refused(report: LoadReport, path: Path) -> None:
    """Writes the refused rows with their reasons as CSV."""
    import csv

    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("row", "transaction_id", "reason"))
        writer.writerows((each.row, each.transaction_id, each.reason) for each in report.refused)
