"""Frames that were sent and wait for their replies: which call gets which row.

INVARIANT: replies are handed out in the order of the rows of their frame; a call that is done (answered, failed, expired,
cancelled) is left alone. Used by `server.engine_client`.
"""

import asyncio
from typing import NamedTuple

from riskengine.errors import RiskEngineError


class Reply(NamedTuple):
    """One answer of the engine: a ReplyStatus and the bytes of a DECISION row."""

    status: int
    decision: bytes


class DeadlineExceeded(RiskEngineError):
    """The time of a call ran out before the engine answered; its event may or may not be counted."""

    reason = "DEADLINE_EXCEEDED"
    grpc_code = "DEADLINE_EXCEEDED"

    def __init__(self) -> None:
        super().__init__("the deadline passed before the engine answered; retry with the same request_id")


class Singles:
    """A frame of single calls that waits for its replies."""

    __slots__ = ("answered", "calls")

    def __init__(self, calls: list[tuple[asyncio.Future[Reply], float]]) -> None:
        self.calls = calls
        self.answered = 0

    @property
    def row_count(self) -> int:
        """Rows of the frame."""
        return len(self.calls)

    def take(self, replies: list[Reply]) -> bool:
        """Hands replies to their calls; returns whether all rows are answered."""
        first = self.answered
        self.answered += len(replies)
        for (future, _), reply in zip(self.calls[first : self.answered], replies, strict=True):
            if not future.done():
                future.set_result(reply)
        return self.answered == len(self.calls)

    def fail(self, error: RiskEngineError) -> None:
        """Fails every call that still waits."""
        for future, _ in self.calls[self.answered :]:
            if not future.done():
                future.set_exception(error)

    def expire(self, now_s: float) -> None:
        """Fails what has waited past its deadline, on the event loop's clock."""
        for future, deadline_s in self.calls[self.answered :]:
            if deadline_s <= now_s and not future.done():
                future.set_exception(DeadlineExceeded())


class Many:
    """A frame of a batch, or of a GET, that waits for its replies: one future for all."""

    __slots__ = ("deadline_s", "future", "replies", "row_count")

    def __init__(self, future: asyncio.Future[list[Reply]], row_count: int, deadline_s: float) -> None:
        self.future = future
        self.row_count = row_count
        self.deadline_s = deadline_s
        self.replies: list[Reply] = []

    def take(self, replies: list[Reply]) -> bool:
        """Collects replies; returns whether all rows are answered."""
        self.replies += replies
        if len(self.replies) < self.row_count:
            return False
        if not self.future.done():
            self.future.set_result(self.replies)
        return True

    def fail(self, error: RiskEngineError) -> None:
        """Fails the call if it still waits."""
        if not self.future.done():
            self.future.set_exception(error)

    def expire(self, now_s: float) -> None:
        """Fails what has waited past its deadline, on the event loop's clock."""
        if self.deadline_s <= now_s and not self.future.done():
            self.future.set_exception(DeadlineExceeded())
