"""The front's side of the link: rows out, replies in, and whether the engine is there.

Rows of single calls are gathered into one frame. A lone call is sent in the next turn of the event loop; while calls
overlap, a frame waits for more, up to `group_rows_max` rows (`pacing` says how long). A batch is a frame of its own.

INVARIANTS: a row is in at most one frame and is never sent twice; a reply goes to the call whose row it answers, by the
number of the frame and the order within it, and a decision that names another request ends the link; when the link
breaks, every call that waits gets `Unavailable` (its event may or may not be counted: a retry with the same request_id
finds out), one whose row was not sent yet `NotSent`. A call that was cancelled leaves its row where it is.

An engine that answers nothing at all for `silence_s` while calls wait, stopped or before a disk that hangs, counts as away
until it answers again.

Called by `server.servicers`; made by `server.app`.
"""

import asyncio
import errno
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from struct import Struct
from typing import Any, Final

from riskengine.engine.link import (
    EVENT_BYTES,
    FRAME_ROWS_MAX,
    HEADER_BYTES,
    KEY_BYTES,
    REPLY_BYTES,
    FrameKind,
    FrameReader,
    LinkFault,
    read_document,
    write_header,
)
from riskengine.engine.sockets import connect
from riskengine.errors import Unavailable
from riskengine.settings import FrontSettings
from riskengine.types import LAYOUT_VERSION

from .connection import Connection, OnIncident
from .pacing import Pacer
from .waiting import Many, NotSent, Reply, Singles, key_of, keys_of

logger = logging.getLogger(__name__)

RECONNECT_S: Final = 0.05
SWEEP_S: Final = 0.02
"""How often calls whose deadline passed are looked for."""
_KEY: Final = Struct("<2Q")
# Bound once: an enum's attribute costs 0.24 us in Python 3.11.
_EVENTS: Final = FrameKind.EVENTS
_GET: Final = FrameKind.GET
_REPLIES: Final = FrameKind.REPLIES
assert _KEY.size == KEY_BYTES


class EngineClient:
    """The link to the engine of one data directory, made again whenever it breaks.

    Args:
        data_dir: The engine's directory.
        front: Pace and group size.
        silence_s: How long the engine may answer nothing while calls wait.
        on_state: Called with the engine's document whenever it changes, with ``{"state": "AWAY"}``, and with
            ``{"state": "SILENT"}``.
        on_incident: Given the fault, already logged, when what the engine sent could not be dealt with: the front must end
            with it.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        front: FrontSettings,
        silence_s: float,
        on_state: Callable[[dict[str, Any]], None],
        on_incident: OnIncident,
    ) -> None:
        self._data_dir = data_dir
        self._group_rows_max = min(front.group_rows_max, FRAME_ROWS_MAX)
        self._silence_s = silence_s
        self._on_state = on_state
        self._on_incident = on_incident
        self._loop = asyncio.get_running_loop()
        self._link: Connection | None = None
        self._frame = bytearray(HEADER_BYTES + self._group_rows_max * EVENT_BYTES)
        self._calls: list[tuple[asyncio.Future[Reply], float, bytes]] = []
        self._pacer = Pacer(
            self._loop, pace_s=front.pace_ms / 1000, pace_max_s=front.pace_max_ms / 1000, flush=self._flush
        )
        self._last_row_count = 1
        self._number = 0
        self._waiting: dict[int, Singles | Many] = {}
        self._sweep: asyncio.TimerHandle | None = None
        self._was_serving = False
        self._heard_s = 0.0
        self._silent = False
        self._connect_failure = 0
        self._task: asyncio.Task[None] | None = None
        self.document: dict[str, Any] = {"state": "AWAY"}

    @property
    def serving(self) -> bool:
        """Whether rows can be sent."""
        return self._link is not None and not self._silent and self.document["state"] == "SERVING"

    def start(self) -> None:
        """Begins to connect, and keeps at it until `close`."""
        self._task = self._loop.create_task(self._connect_always())

    async def close(self) -> None:
        """Ends the link; calls that still wait get `Unavailable`."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._lose("the front stops")

    def away(self) -> NotSent:
        """Returns the error of a call that cannot be sent."""
        if self._was_serving:
            return NotSent("ENGINE_AWAY", "the engine is away; retry with the same request_id")
        return NotSent("WARMING", "the engine is starting; retry shortly")

    def submit(self, row: bytes, deadline_s: float) -> asyncio.Future[Reply]:
        """Sends the row of a single call with the next frame.

        Args:
            row: One row of EVENT.
            deadline_s: When to give up, on the event loop's clock.

        Raises:
            NotSent: The engine is away.

        The future may end with NotSent, too, or with Unavailable once the row was sent.
        """
        if not self.serving:
            raise self.away()
        future: asyncio.Future[Reply] = self._loop.create_future()
        calls = self._calls
        offset = HEADER_BYTES + len(calls) * EVENT_BYTES
        self._frame[offset : offset + EVENT_BYTES] = row
        calls.append((future, deadline_s, key_of(row)))
        if len(calls) >= self._group_rows_max:
            self._flush()
        else:
            self._pacer.row_came(lone=not self._waiting and self._last_row_count == 1, deadline_s=deadline_s)
        return future

    def submit_batch(
        self, rows: Sequence[bytes], deadline_s: float, *, on_settled: Callable[[], None]
    ) -> asyncio.Future[list[Reply]]:
        """Sends the rows of a batch, in order, as one frame.

        Args:
            rows: 1 to FRAME_ROWS_MAX rows of EVENT.
            deadline_s: When to give up, on the event loop's clock.
            on_settled: Called once, when the engine has done with the rows or the link has ended, which may be long after
                the call gave up; not called where this raises.

        Raises:
            NotSent: The engine is away.
        """
        assert 1 <= len(rows) <= FRAME_ROWS_MAX, "a batch fits a frame"
        body = b"".join(rows)
        return self._submit_many(_EVENTS, body, keys_of(body), deadline_s, on_settled)

    def get(self, request_key: int, request_check: int, deadline_s: float) -> asyncio.Future[list[Reply]]:
        """Asks for the decision of one request.

        Args:
            request_key: uint64.
            request_check: uint64.
            deadline_s: When to give up, on the event loop's clock.

        Raises:
            NotSent: The engine is away.
        """
        key = _KEY.pack(request_key, request_check)
        return self._submit_many(_GET, key, [key], deadline_s)

    def _submit_many(
        self,
        kind: FrameKind,
        body: bytes,
        keys: list[bytes],
        deadline_s: float,
        on_settled: Callable[[], None] = lambda: None,
    ) -> asyncio.Future[list[Reply]]:
        if not self.serving:
            raise self.away()
        self._flush()  # What came first goes first.
        future: asyncio.Future[list[Reply]] = self._loop.create_future()
        if not self.serving:  # The flush may have lost the link.
            raise self.away()
        self._number += 1
        frame = bytearray(HEADER_BYTES + len(body))
        frame[HEADER_BYTES:] = body
        write_header(frame, 0, kind=kind, row_count=len(keys), body_size=len(body), number=self._number)
        self._expect(Many(future, keys, deadline_s, on_settled))
        self._send(frame)
        return future

    def _flush(self) -> None:
        """Sends the frame of single calls, if there is any."""
        calls = self._calls
        if not calls:
            return
        self._calls = []
        self._last_row_count = len(calls)
        self._number += 1
        size = len(calls) * EVENT_BYTES
        write_header(self._frame, 0, kind=_EVENTS, row_count=len(calls), body_size=size, number=self._number)
        self._expect(Singles(calls))
        with memoryview(self._frame) as frame:
            self._send(frame[: HEADER_BYTES + size])

    def _expect(self, waiting: Singles | Many) -> None:
        if not self._waiting:
            self._heard_s = self._loop.time()
        self._waiting[self._number] = waiting
        if self._sweep is None:
            self._sweep = self._loop.call_later(SWEEP_S, self._expire)

    def _expire(self) -> None:
        now_s = self._loop.time()
        for waiting in self._waiting.values():
            waiting.expire(now_s)
        if self._waiting and not self._silent and now_s - self._heard_s > self._silence_s:
            logger.error(
                "the engine has answered nothing for %.1f s while calls wait, and counts as away until it does; is its "
                "process stopped, or does its disk hang?",
                now_s - self._heard_s,
            )
            self._silent = True
            self._fail_unsent()
            self._on_state({"state": "SILENT"})
        self._sweep = self._loop.call_later(SWEEP_S, self._expire) if self._waiting else None

    def _send(self, frame: bytearray | memoryview) -> None:
        if self._link is None:
            self._fail_all()
            return
        try:
            self._link.send(frame)
        except LinkFault as fault:
            self._lose(fault.message)

    def _on_frames(self, reader: FrameReader) -> None:
        """Takes all whole frames that arrived."""
        self._heard_s = self._loop.time()
        while (header := reader.next_frame()) is not None:
            body = reader.body()
            if header.kind is _REPLIES:
                self._on_replies(header.number, header.row_count, body)
            else:
                self._on_document(header.kind, read_document(body))
            reader.consume()

    def _on_replies(self, number: int, row_count: int, body: memoryview) -> None:
        waiting = self._waiting.get(number)
        if waiting is None:
            raise LinkFault(f"replies to frame {number}, which waits for none")
        replies = [
            Reply(int.from_bytes(body[first : first + 8], "little"), bytes(body[first + 8 : first + REPLY_BYTES]))
            for first in range(0, row_count * REPLY_BYTES, REPLY_BYTES)
        ]
        if waiting.answered + row_count > waiting.row_count:
            raise LinkFault(f"more replies to frame {number} than it has rows")
        if not waiting.fit(replies):
            logger.error("a reply to frame %d of the link is of another request: none of that frame is used", number)
            raise LinkFault(f"a reply to frame {number} is of another request")
        if self._silent:
            logger.warning("the engine answers again")
            self._silent = False
            self._on_state(self.document)
        if waiting.take(replies):
            del self._waiting[number]

    def _on_document(self, kind: FrameKind, document: dict[str, Any]) -> None:
        if kind is FrameKind.HELLO and document.get("layout") != LAYOUT_VERSION:
            raise LinkFault(f"the engine's rows have layout {document.get('layout')}, the front's {LAYOUT_VERSION}")
        self.document = document if kind is FrameKind.HELLO else {**self.document, **document}
        self._was_serving = self._was_serving or self.serving
        self._on_state(self.document)

    async def _connect_always(self) -> None:
        while True:
            if self._link is None:
                try:
                    self._link = Connection(
                        connect(self._data_dir), self._loop, self._on_frames, self._lose, self._on_incident
                    )
                    self._connect_failure = 0
                except OSError as error:
                    self._tell_connect_failure(error)
            await asyncio.sleep(RECONNECT_S)

    def _tell_connect_failure(self, error: OSError) -> None:
        """Logs, once, why the engine cannot be connected to where it is this process that lacks something."""
        if error.errno != self._connect_failure and error.errno in (errno.EMFILE, errno.ENFILE, errno.EACCES):
            logger.error(
                "the engine cannot be connected to: %s; allow this process more open files, or the folder",
                error.strerror,
            )
        self._connect_failure = error.errno or 0

    def _lose(self, why: str) -> None:
        """Ends the link, and with it every call that waits."""
        if self._link is None:
            return
        logger.info("the link to the engine ends: %s", why)
        self._link.close()
        self._link = None
        self._silent = False
        self.document = {"state": "AWAY"}
        self._fail_all()
        self._on_state(self.document)

    def _fail_all(self) -> None:
        waiting, self._waiting = self._waiting, {}
        for one in waiting.values():
            one.fail(
                Unavailable(
                    "ENGINE_AWAY", "the engine went away before it answered; retry with the same request_id to find out"
                )
            )
        self._fail_unsent()

    def _fail_unsent(self) -> None:
        calls, self._calls = self._calls, []
        Singles(calls).fail(self.away())
