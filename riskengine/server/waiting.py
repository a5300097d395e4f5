"""Frames that were sent and wait for their replies: which call gets which row.

INVARIANT: replies are handed out in the order of the rows of their frame, after a look at whether a decision is that of
its row; a call that is done (answered, failed, expired, cancelled) is left alone. Used by `server.engine_client`.
"""

import asyncio
from collections.abc import Callable
from typing import Final, NamedTuple

from riskengine.engine.link import EVENT_BYTES, KEY_BYTES
from riskengine.enums import ReplyStatus
from riskengine.errors import RiskEngineError, Unavailable
from riskengine.types import DECISION_WORD, EVENT_WORD

_SENT_KEY: Final = slice(8 * EVENT_WORD["request_key"], 8 * EVENT_WORD["request_key"] + KEY_BYTES)
_DECIDED_KEY: Final = slice(8 * DECISION_WORD["request_key"], 8 * DECISION_WORD["request_key"] + KEY_BYTES)
_DECIDED_MAX: Final = int(ReplyStatus.REPEATED)  # Plain: an enum's attribute costs 0.24 us in Python 3.11.
assert EVENT_WORD["request_check"] == EVENT_WORD["request_key"] + 1
assert DECISION_WORD["request_check"] == DECISION_WORD["request_key"] + 1


class Reply(NamedTuple):
    """One answer of the engine: a ReplyStatus and the bytes of a DECISION row."""

    status: int
    decision: bytes

    def fits(self, key: bytes) -> bool:
        """Tells whether this can be the answer to a row of that request_key and request_check: a decision names both."""
        return self.status > _DECIDED_MAX or self.decision[_DECIDED_KEY] == key


def key_of(row: bytes | memoryview) -> bytes:
    """Returns request_key and request_check of a row of EVENT, as the link carries them."""
    return bytes(row[_SENT_KEY])


def keys_of(rows: bytes) -> list[bytes]:
    """Returns `key_of` each of consecutive rows of EVENT."""
    return [rows[first + _SENT_KEY.start : first + _SENT_KEY.stop] for first in range(0, len(rows), EVENT_BYTES)]


class NotSent(Unavailable):
    """Nobody can answer just now, and nothing of the call was sent to the engine: it is not counted."""


class DeadlineExceeded(RiskEngineError):
    """The time of a call ran out before the engine answered; its event may or may not be counted."""

    reason = "DEADLINE_EXCEEDED"
    grpc_code = "DEADLINE_EXCEEDED"

    def __init__(self) -> None:
        super().__init__("the deadline passed before the engine answered; retry with the same request_id")


class Singles:
    """A frame of single calls that waits for its replies."""

    __slots__ = ("answered", "calls")

    def __init__(self, calls: list[tuple[asyncio.Future[Reply], float, bytes]]) -> None:
        self.calls = calls
        self.answered = 0

    @property
    def row_count(self) -> int:
        """Rows of the frame."""
        return len(self.calls)

    def fit(self, replies: list[Reply]) -> bool:
        """Tells whether these can be the next replies."""
        return all(reply.fits(key) for (_, _, key), reply in zip(self.calls[self.answered :], replies, strict=False))

    def take(self, replies: list[Reply]) -> bool:
        """Hands replies to their calls; returns whether all rows are answered."""
        first = self.answered
        self.answered += len(replies)
        for (future, _, _), reply in zip(self.calls[first : self.answered], replies, strict=True):
            if not future.done():
                future.set_result(reply)
        return self.answered == len(self.calls)

    def fail(self, error: RiskEngineError) -> None:
        """Fails every call that still waits."""
        for future, _, _ in self.calls[self.answered :]:
            if not future.done():
                future.set_exception(error)

    def expire(self, now_s: float) -> None:
        """Fails what has waited past its deadline, on the event loop's clock."""
        for future, deadline_s, _ in self.calls[self.answered :]:
            if deadline_s <= now_s and not future.done():
                future.set_exception(DeadlineExceeded())


class Many:
    """A frame of a batch, or of a GET, that waits for its replies: one future for all.

    Args:
        future: Of the call.
        keys: Of the rows, as `key_of` gives them.
        deadline_s: When to give up, on the event loop's clock.
        on_settled: Called once, when the engine has answered every row or nothing can come any more, however long ago
            the call gave up.
    """

    __slots__ = ("deadline_s", "future", "keys", "on_settled", "replies")

    def __init__(
        self,
        future: asyncio.Future[list[Reply]],
        keys: list[bytes],
        deadline_s: float,
        on_settled: Callable[[], None] = lambda: None,
    ) -> None:
        self.future = future
        self.keys = keys
        self.deadline_s = deadline_s
        self.on_settled = on_settled
        self.replies: list[Reply] = []

    @property
    def row_count(self) -> int:
        """Rows of the frame."""
        return len(self.keys)

    @property
    def answered(self) -> int:
        """Rows that have their reply."""
        return len(self.replies)

    def fit(self, replies: list[Reply]) -> bool:
        """Tells whether these can be the next replies."""
        return all(reply.fits(key) for key, reply in zip(self.keys[self.answered :], replies, strict=False))

    def take(self, replies: list[Reply]) -> bool:
        """Collects replies; returns whether all rows are answered."""
        self.replies += replies
        if len(self.replies) < self.row_count:
            return False
        self.on_settled()
        if not self.future.done():
            self.future.set_result(self.replies)
        return True

    def fail(self, error: RiskEngineError) -> None:
        """Fails the call if it still waits."""
        self.on_settled()
        if not self.future.done():
            self.future.set_exception(error)

    def expire(self, now_s: float) -> None:
        """Fails what has waited past its deadline, on the event loop's clock."""
        if self.deadline_s <= now_s and not self.future.done():
            self.future.set_exception(DeadlineExceeded())
