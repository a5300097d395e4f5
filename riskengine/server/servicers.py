"""The six calls: bytes in, bytes out.

Each parses, asks admission, turns requests into rows at the door, sends them over the link, and turns the rows that
come back into a reply. `app` registers the methods behind `calls.guard_unary` and `guard_stream`, which turn what they
raise into statuses.

INVARIANTS: nothing is sent to the engine for a request that has a violation, whose deadline has passed, or that
admission refused; a fallback answers only for what was not sent; items of a batch or stream fail alone; replies keep the
order of requests. A call that is cancelled after its row was sent may still be folded, whole.

Made by `server.app`; benchmarks wrap it.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

from riskengine.clock import Clock
from riskengine.enums import ReplyStatus
from riskengine.errors import (
    DecisionNotFound,
    JournalFull,
    Overloaded,
    RequestIdReused,
    RiskEngineError,
    Unavailable,
)
from riskengine.settings import ServerSettings
from riskengine.v1 import risk_service_pb2 as service
from riskengine.wire.checks import check_batch, check_stream_item
from riskengine.wire.names import message_field, text_field
from riskengine.wire.parse import parse
from riskengine.wire.reply import outcome_response, parse_decision_name, record_response
from riskengine.wire.status import ITEM_STATUS_BYTES_MAX, status_of

from .admission import RETRY_AFTER_S, Admission, Budget, Deadlines, Stay
from .calls import Gate, check_item_size, check_size, draining, incident
from .engine_client import EngineClient
from .fallback import fallback_decision
from .idle import IdleWatch
from .vocabulary import Vocabulary
from .waiting import NotSent, Reply

YIELD_EVERY: Final = 32
"""Items of a batch that are packed or built before other calls get their turn."""
# Bound once: an enum's attribute costs 0.24 us in Python 3.11.
_DECIDED_MAX: Final = int(ReplyStatus.REPEATED)
_FAILURES: Final[dict[int, Callable[[], RiskEngineError]]] = {
    ReplyStatus.REUSED: RequestIdReused,
    ReplyStatus.NOT_FOUND: DecisionNotFound,
    ReplyStatus.JOURNAL_FULL: JournalFull,
    ReplyStatus.REFUSED: lambda: Overloaded(_QUEUE_FULL, retry_after_s=RETRY_AFTER_S),
}
_QUEUE_FULL: Final = "the engine's queue of batches is full; nothing of this batch was counted"
DecisionBytes = bytes
"""A serialised Decision."""
Item = asyncio.Task[bytes] | Exception | None
"""Of a stream: a reply under way, why reading failed, or the end."""


class RiskServicer:
    """The calls of riskengine.v1.RiskService, on raw bytes.

    Args:
        engine: The link.
        vocabulary: Door and reply builder of the active configuration.
        settings: Deadlines, fallback, bounds of the front.
        clock: For received times.
        gate: Tells streams when the server stops.
    """

    def __init__(
        self,
        *,
        engine: EngineClient,
        vocabulary: Vocabulary,
        settings: ServerSettings,
        clock: Clock,
        gate: Gate,
    ) -> None:
        self._engine = engine
        self._vocabulary = vocabulary
        self._fallback = settings.fallback
        self._deadlines = Deadlines(settings.deadline, settings.front)
        self._calls = Admission(settings.front.in_flight_max, "calls")
        self._batch_rows = Admission(settings.front.batch_rows_in_flight_max, "rows of batches")
        self._streams = Admission(settings.front.streams_max, "streams")
        self._stream_window = settings.front.stream_window
        self._stream_idle_s = settings.front.stream_idle_s
        self._now_us = clock.now_us
        self._gate = gate
        self._loop = asyncio.get_running_loop()

    async def score_transaction(self, raw: bytes, context: Any) -> bytes:
        """Scores one transaction."""
        budget = self._budget(context)
        return message_field(1, await self._score(parse(service.ScoreTransactionRequest, raw), budget))

    async def batch_score_transactions(self, raw: bytes, context: Any) -> bytes:
        """Scores many transactions in order, each with its own decision or error."""
        budget = self._budget(context)
        batch = parse(service.BatchScoreTransactionsRequest, raw)
        check_batch(batch)
        count = len(batch.requests)
        stay = Stay(self._batch_rows, count)
        try:
            results = await self._score_many(batch.requests, budget, stay)
        finally:
            stay.leave()
        return b"".join(message_field(1, _result(result, decision_field=1, error_field=2)) for result in results)

    async def stream_score_transactions(self, messages: AsyncIterator[bytes], _context: Any) -> AsyncIterator[bytes]:
        """Scores a stream; up to `stream_window` items are under way, replies keep their order.

        When the server stops, or nothing arrives for `stream_idle_s`, items under way are answered and the stream ends as
        UNAVAILABLE.
        """
        self._streams.enter()
        waiting: asyncio.Queue[Item] = asyncio.Queue(self._stream_window)
        late: list[asyncio.Task[None]] = []

        def end(error: Unavailable) -> None:
            reader.cancel()
            late.append(self._loop.create_task(waiting.put(error)))

        watch = IdleWatch(self._stream_idle_s, lambda: end(self._idle()))
        reader = self._loop.create_task(self._read_stream(messages, waiting, watch))
        item: Item = None
        try:
            with self._gate.ending(lambda: end(draining())):
                while (item := await waiting.get()) is not None:
                    if isinstance(item, Exception):
                        raise item
                    yield await item
        finally:
            self._streams.leave()
            watch.close()
            for task in (reader, *late):
                task.cancel()
            while isinstance(item, asyncio.Task):
                item.cancel()
                item = None if waiting.empty() else waiting.get_nowait()

    async def record_transaction(self, raw: bytes, context: Any) -> bytes:
        """Folds a transaction without scoring it."""
        budget = self._budget(context)
        request = parse(service.RecordTransactionRequest, raw)
        row = self._vocabulary.door.record_row(request, self._now_us())
        return record_response((await self._ask(row, budget)).decision)

    async def report_outcome(self, raw: bytes, context: Any) -> bytes:
        """Records what became of a transaction."""
        budget = self._budget(context)
        request = parse(service.ReportOutcomeRequest, raw)
        row = self._vocabulary.door.outcome_row(request, self._now_us())
        return outcome_response((await self._ask(row, budget)).decision)

    async def get_decision(self, raw: bytes, context: Any) -> bytes:
        """Finds a recent decision by name."""
        budget = self._budget(context)
        key, check = parse_decision_name(parse(service.GetDecisionRequest, raw).name)
        self._calls.enter()
        try:
            (reply,) = await self._engine.get(key, check, budget.deadline_s)
        finally:
            self._calls.leave()
        return message_field(1, self._decision_of(reply))

    def _budget(self, context: Any) -> Budget:
        return self._deadlines.budget(context.time_remaining(), self._loop.time())

    async def _score(self, request: service.ScoreTransactionRequest, budget: Budget) -> DecisionBytes:
        """Scores one request; raises what stands in its way."""
        row = self._vocabulary.door.score_row(request, self._now_us(), budget.skip_stages)
        try:
            reply = await self._ask(row, budget)
        except NotSent as away:
            return fallback_decision(row, self._fallback, away)
        return self._vocabulary.replies.decision_bytes(reply.decision)

    async def _ask(self, row: bytes, budget: Budget) -> Reply:
        """Sends one row and waits for its reply."""
        self._calls.enter()
        try:
            reply = await self._engine.submit(row, budget.deadline_s)
        finally:
            self._calls.leave()
        _check(reply)
        return reply

    async def _score_many(self, requests: Any, budget: Budget, stay: Stay) -> list[DecisionBytes | RiskEngineError]:
        """Scores the requests of a batch: those with violations get their error, the others share one frame."""
        results: dict[int, DecisionBytes | RiskEngineError] = {}
        rows: dict[int, bytes] = {}
        door = self._vocabulary.door
        for index, request in enumerate(requests):
            await _give_way(index)
            try:
                check_item_size(request)
                rows[index] = door.score_row(request, self._now_us(), budget.skip_stages)
            except RiskEngineError as error:
                results[index] = error
        if (
            door is not self._vocabulary.door
        ):  # Other calls had their turn: rows may not mean what the engine takes them for.
            changed = Unavailable("ENGINE_AWAY", "the configuration changed; retry with the same request_id")
            return [results.get(index, changed) for index in range(len(requests))]
        if rows:
            answers = await self._ask_many(list(rows.values()), budget, stay)
            results.update(zip(rows, answers, strict=True))
        return [results[index] for index in range(len(requests))]

    async def _ask_many(self, rows: list[bytes], budget: Budget, stay: Stay) -> list[DecisionBytes | RiskEngineError]:
        stay.prolong()  # Until the engine is done with the rows, also when the caller has given up.
        try:
            future = self._engine.submit_batch(rows, budget.deadline_s, on_settled=stay.leave)
        except NotSent as away:
            stay.leave()
            return [_attempt(fallback_decision, row, self._fallback, away) for row in rows]
        try:
            replies = await future
        except Unavailable as broken:
            return [broken] * len(rows)
        answers = []
        for index, reply in enumerate(replies):
            await _give_way(index)
            answers.append(_attempt(self._decision_of, reply))
        return answers

    def _decision_of(self, reply: Reply) -> DecisionBytes:
        _check(reply)
        return self._vocabulary.replies.decision_bytes(reply.decision)

    def _idle(self) -> Unavailable:
        return Unavailable("STREAM_IDLE", f"nothing came on this stream for {self._stream_idle_s} s; open a new one")

    async def _read_stream(
        self, messages: AsyncIterator[bytes], waiting: asyncio.Queue[Item], watch: IdleWatch
    ) -> None:
        """Starts items as they arrive, as far as the window allows."""
        try:
            async for raw in messages:
                watch.heard()
                await waiting.put(self._loop.create_task(self._stream_item(raw)))
        except Exception as error:  # noqa: BLE001 told to the one who answers
            await waiting.put(error)
        else:
            await waiting.put(None)

    async def _stream_item(self, raw: bytes) -> bytes:
        """Scores one message of a stream; its errors are its own."""
        head = b""
        result: DecisionBytes | RiskEngineError
        try:
            check_size(raw)
            message = parse(service.StreamScoreTransactionsRequest, raw)
            check_stream_item(message)
            head = text_field(1, message.request.request_id)
            result = await self._score(message.request, self._deadlines.item_budget(self._loop.time()))
        except RiskEngineError as error:
            result = error
        except Exception as error:  # noqa: BLE001 one item must not take the others with it
            result = incident(error, where="StreamScoreTransactions")
        return head + _result(result, decision_field=2, error_field=3)


def _check(reply: Reply) -> None:
    """Raises the error that a reply's status stands for, if it is one."""
    if reply.status > _DECIDED_MAX:
        failure = _FAILURES[reply.status]
        raise failure()


def _result(result: DecisionBytes | RiskEngineError, *, decision_field: int, error_field: int) -> bytes:
    """Serialises the oneof of a batch's or a stream's result."""
    if isinstance(result, RiskEngineError):
        return message_field(error_field, _item_status(result))
    return message_field(decision_field, result)


def _item_status(error: RiskEngineError) -> bytes:
    raw: bytes = status_of(error, bytes_max=ITEM_STATUS_BYTES_MAX).SerializeToString(deterministic=True)
    return raw


def _attempt(build: Callable[..., DecisionBytes], *arguments: Any) -> DecisionBytes | RiskEngineError:
    """Calls, and returns the error of this item alone."""
    try:
        return build(*arguments)
    except RiskEngineError as error:
        return error
    except Exception as error:  # noqa: BLE001 one item must not take the others with it
        return incident(error, where="BatchScoreTransactions")


async def _give_way(index: int) -> None:
    """Lets other calls run now and then."""
    if index % YIELD_EVERY == YIELD_EVERY - 1:
        await asyncio.sleep(0)
