"""A client of our own, for verdicts: every call is looked at, which h2load does not do.

INVARIANT: a run that returns has seen a recorded decision for each call, no two of one name. Called by
`benchmarks.load.__main__`.
"""

import asyncio
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

from riskengine.server.app import run_loop
from riskengine.server.client import SERVICE, aio_channel
from riskengine.v1 import risk_service_pb2 as service
from riskengine.v1.decision_pb2 import Verdict

from .bodies import payments

FIRST: int = 500_000_000_000
"""Numbers from here on are the client's."""


@dataclass(frozen=True, slots=True)
class Checked:
    """A run.

    Attributes:
        calls_per_s: As this client could.
        verdicts: How many of each.
    """

    calls_per_s: float
    verdicts: dict[str, int]


def check_verdicts(address: str, *, calls: int, in_flight: int) -> Checked:
    """Calls and checks.

    Args:
        address: HOST:PORT.
        calls: In all.
        in_flight: At once, over two connections.

    Raises:
        AssertionError: A decision is missing, not recorded, twice, degraded, or changes when asked again.
    """
    result: list[Checked] = []

    async def run() -> None:
        result.append(await _run(address, calls, in_flight))

    run_loop(run())
    return result[0]


async def _run(address: str, calls: int, in_flight: int) -> Checked:
    bodies = payments(first=FIRST)
    names: set[str] = set()
    verdicts: Counter[str] = Counter()
    left = iter(range(calls))
    channels = [aio_channel(address, index=index) for index in range(2)]

    async def worker(index: int) -> None:
        call: Any = channels[index % 2].unary_unary(f"/{SERVICE}/ScoreTransaction")
        for number in left:
            body = next(bodies)
            reply = await call(body, timeout=10)
            decision = service.ScoreTransactionResponse.FromString(reply).decision
            assert decision.recorded, "every decision is durable"
            assert not decision.degraded_stages, "no stage was skipped"
            assert decision.HasField("fraud_probability"), "the model took part"
            verdicts[Verdict.Name(decision.verdict)] += 1
            names.add(decision.name)
            if number % 100 == 0:
                assert await call(body, timeout=10) == reply, "a repeat gets the same bytes"

    started_s = time.perf_counter()
    await asyncio.gather(*(worker(index) for index in range(in_flight)))
    took_s = time.perf_counter() - started_s
    for channel in channels:
        await channel.close()
    assert len(names) == calls, "no two calls share a decision"
    return Checked(calls / took_s, dict(verdicts))
