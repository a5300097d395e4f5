"""The live stream: first as fast as the server answers, then at a pace that can be followed.

INVARIANTS: calls start in the order of the story; a call that fails is counted by its reason, and the stream goes on.

Called by `command`.
"""

import asyncio
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final

import grpc.aio

from riskengine.cli.decisions import steps_up, verdict_name
from riskengine.cli.requests import outcome_request, score_request
from riskengine.server.client import aio_channel, reason_of
from riskengine.v1.decision_pb2 import Decision
from riskengine.v1.risk_service_pb2_grpc import RiskServiceStub

from .story import Happening
from .tally import Tally

CONCURRENCY: Final = 32
TIMEOUT_S: Final = 5.0
PROGRESS_EVERY: Final = 64

OnDecision = Callable[[Happening, Decision, str], None]
"""Told the event, its decision, and how that looks to somebody who knows the truth (`tally`)."""
OnProgress = Callable[[int, int], None]


class Traffic:
    """A gateway and its payments.

    Args:
        address: Of the server.
        tally: Counts.
        rates: Units of the base currency for one unit of each other currency.
    """

    def __init__(self, address: str, tally: Tally, rates: dict[str, Decimal]) -> None:
        self._address = address
        self._tally = tally
        self._rates = rates

    def send_fast(self, happenings: list[Happening], on_progress: OnProgress) -> None:
        """Sends everything as fast as the server answers, CONCURRENCY calls at once."""
        asyncio.run(self._fast(happenings, on_progress))

    def send_paced(
        self,
        happenings: list[Happening],
        *,
        seconds: float,
        on_start: Callable[[Happening], None],
        on_decision: OnDecision,
    ) -> None:
        """Sends everything evenly over some seconds.

        Args:
            happenings: In order.
            seconds: How long it shall take.
            on_start: Told of each before it is sent.
            on_decision: Told of each decision.
        """
        asyncio.run(self._paced(happenings, seconds, on_start, on_decision))

    async def _fast(self, happenings: list[Happening], on_progress: OnProgress) -> None:
        requests = [(each, self._request(each)) for each in happenings]
        async with aio_channel(self._address) as channel:
            stub: Any = RiskServiceStub(channel)  # type: ignore[no-untyped-call]
            started_s = time.perf_counter()
            ahead = iter(enumerate(requests))

            async def caller() -> None:
                for index, (happening, request) in ahead:
                    await self._call(stub, happening, request)
                    if index % PROGRESS_EVERY == 0:
                        on_progress(index, len(requests))

            await asyncio.gather(*(caller() for _ in range(CONCURRENCY)))
            self._tally.fast_s = time.perf_counter() - started_s
            self._tally.fast_count = len(requests)

    async def _paced(
        self,
        happenings: list[Happening],
        seconds: float,
        on_start: Callable[[Happening], None],
        on_decision: OnDecision,
    ) -> None:
        requests = [(each, self._request(each)) for each in happenings]
        room = asyncio.Semaphore(CONCURRENCY)
        async with aio_channel(self._address) as channel, asyncio.TaskGroup() as group:
            stub: Any = RiskServiceStub(channel)  # type: ignore[no-untyped-call]
            started_s = time.perf_counter()

            async def send(happening: Happening, request: Any) -> None:
                try:
                    decision, look, latency_us = await self._call(stub, happening, request)
                finally:
                    room.release()
                if decision is not None:
                    self._tally.latencies_us.append(latency_us)
                    on_decision(happening, decision, look)

            for index, (happening, request) in enumerate(requests):
                ahead_s = started_s + seconds * index / len(requests) - time.perf_counter()
                if ahead_s > 0:
                    await asyncio.sleep(ahead_s)
                await room.acquire()
                on_start(happening)
                group.create_task(send(happening, request))

    def _request(self, happening: Happening) -> Any:
        return outcome_request(happening.row) if happening.outcome else score_request(happening.row)

    async def _call(self, stub: Any, happening: Happening, request: Any) -> tuple[Decision | None, str, int]:
        """Sends one request; returns its decision, if it has one, how it looks, and the microseconds it took."""
        started_ns = time.perf_counter_ns()
        try:
            if happening.outcome:
                await stub.ReportOutcome(request, timeout=TIMEOUT_S)
                self._tally.outcomes += 1
                return None, "", 0
            decision = (await stub.ScoreTransaction(request, timeout=TIMEOUT_S)).decision
        except grpc.aio.AioRpcError as error:
            self._tally.failed[reason_of(error)] += 1
            return None, "", 0
        latency_us = (time.perf_counter_ns() - started_ns) // 1000
        self._tally.degraded += bool(decision.degraded_stages)
        look = self._tally.add(
            happening.row,
            happening.episode,
            verdict_name(decision),
            asked=steps_up(decision),
            base_minor=self._base_minor(happening.row),
        )
        return decision, look, latency_us

    def _base_minor(self, row: dict[str, Any]) -> int:
        """Returns the amount in minor units of the base currency, for sums; simulated currencies all have two decimals."""
        amount = row["amount_minor"]
        return int(amount * self._rates.get(row["currency_code"], Decimal(1))) if amount is not None else 0
