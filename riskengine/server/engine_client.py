"""The front's side of the link: rows out, replies in, and whether the engine is there.

Rows of single calls are gathered into one frame. A lone call is sent in the next turn of the event loop; while calls
overlap, a frame waits up to `pace_ms` or `group_rows_max` rows (ADR 1 has the measurement). A batch is a frame of its
own.

INVARIANTS: a row is in at most one frame and is never sent twice; a reply goes to the call whose row it answers, by the
number of the frame and the order within it; when the link breaks, every call that waits gets `Unavailable` (its event
may or may not be counted: a retry with the same request_id finds out). A call that was cancelled leaves its row where
it is.

Called by `server.servicers`; made by `server.app`.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from struct import Struct
from typing import Any, Final

from riskengine.engine.link import (
    EVENT_BYTES,
    FRAME_ROWS_MAX,
    FRONT_FRAME_BYTES_MAX,
    HEADER_BYTES,
    KEY_BYTES,
    REPLY_BYTES,
    TO_FRONT,
    FrameKind,
    FrameReader,
    LinkFault,
    Outbox,
    read_document,
    write_header,
)
from riskengine.engine.sockets import connect
from riskengine.errors import InternalFault, Unavailable
from riskengine.settings import FrontSettings
from riskengine.types import LAYOUT_VERSION

from .calls import incident
from .waiting import Many, Reply, Singles

logger = logging.getLogger(__name__)

RECONNECT_S: Final = 0.05
SWEEP_S: Final = 0.02
"""How often calls whose deadline passed are looked for."""
OUTBOX_BYTES_MAX: Final = 64 << 20
OnIncident = Callable[[InternalFault], None]
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
        on_state: Called with the engine's document whenever it changes, and with ``{"state": "AWAY"}``.
        on_incident: Given the fault, already logged, when what the engine sent could not be dealt with: the front must end
            with it.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        front: FrontSettings,
        on_state: Callable[[dict[str, Any]], None],
        on_incident: OnIncident,
    ) -> None:
        self._data_dir = data_dir
        self._pace_s = front.pace_ms / 1000
        self._group_rows_max = min(front.group_rows_max, FRAME_ROWS_MAX)
        self._on_state = on_state
        self._on_incident = on_incident
        self._loop = asyncio.get_running_loop()
        self._link: _Link | None = None
        self._frame = bytearray(HEADER_BYTES + self._group_rows_max * EVENT_BYTES)
        self._calls: list[tuple[asyncio.Future[Reply], float]] = []
        self._flush_scheduled = False
        self._last_row_count = 1
        self._number = 0
        self._waiting: dict[int, Singles | Many] = {}
        self._sweep: asyncio.TimerHandle | None = None
        self._was_serving = False
        self._task: asyncio.Task[None] | None = None
        self.document: dict[str, Any] = {"state": "AWAY"}

    @property
    def serving(self) -> bool:
        """Whether rows can be sent."""
        return self._link is not None and self.document["state"] == "SERVING"

    def start(self) -> None:
        """Begins to connect, and keeps at it until `close`."""
        self._task = self._loop.create_task(self._connect_always())

    async def close(self) -> None:
        """Ends the link; calls that still wait get `Unavailable`."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._lose("the front stops")

    def away(self) -> Unavailable:
        """Returns the error of a call that cannot be sent."""
        if self._was_serving:
            return Unavailable("ENGINE_AWAY", "the engine is away; retry with the same request_id")
        return Unavailable("WARMING", "the engine is starting; retry shortly")

    def submit(self, row: bytes, deadline_s: float) -> asyncio.Future[Reply]:
        """Sends the row of a single call with the next frame.

        Args:
            row: One row of EVENT.
            deadline_s: When to give up, on the event loop's clock.

        Raises:
            Unavailable: The engine is away; nothing was sent.
        """
        if not self.serving:
            raise self.away()
        future: asyncio.Future[Reply] = self._loop.create_future()
        calls = self._calls
        offset = HEADER_BYTES + len(calls) * EVENT_BYTES
        self._frame[offset : offset + EVENT_BYTES] = row
        calls.append((future, deadline_s))
        if len(calls) >= self._group_rows_max:
            self._flush()
        elif not self._flush_scheduled:
            self._flush_scheduled = True
            lone = not self._waiting and self._last_row_count == 1
            if lone or not self._pace_s:
                self._loop.call_soon(self._flush_now)
            else:
                self._loop.call_later(self._pace_s, self._flush_now)
        return future

    def submit_batch(self, rows: Sequence[bytes], deadline_s: float) -> asyncio.Future[list[Reply]]:
        """Sends the rows of a batch, in order, as one frame.

        Args:
            rows: 1 to FRAME_ROWS_MAX rows of EVENT.
            deadline_s: When to give up, on the event loop's clock.

        Raises:
            Unavailable: The engine is away; nothing was sent.
        """
        assert 1 <= len(rows) <= FRAME_ROWS_MAX, "a batch fits a frame"
        return self._submit_many(_EVENTS, b"".join(rows), len(rows), deadline_s)

    def get(self, request_key: int, request_check: int, deadline_s: float) -> asyncio.Future[list[Reply]]:
        """Asks for the decision of one request.

        Args:
            request_key: uint64.
            request_check: uint64.
            deadline_s: When to give up, on the event loop's clock.

        Raises:
            Unavailable: The engine is away.
        """
        return self._submit_many(_GET, _KEY.pack(request_key, request_check), 1, deadline_s)

    def _submit_many(
        self, kind: FrameKind, body: bytes, row_count: int, deadline_s: float
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
        write_header(frame, 0, kind=kind, row_count=row_count, body_size=len(body), number=self._number)
        self._expect(Many(future, row_count, deadline_s))
        self._send(frame)
        return future

    def _flush_now(self) -> None:
        self._flush_scheduled = False
        self._flush()

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
        self._waiting[self._number] = waiting
        if self._sweep is None:
            self._sweep = self._loop.call_later(SWEEP_S, self._expire)

    def _expire(self) -> None:
        now_s = self._loop.time()
        for waiting in self._waiting.values():
            waiting.expire(now_s)
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
        already = waiting.answered if isinstance(waiting, Singles) else len(waiting.replies)
        if already + row_count > waiting.row_count:
            raise LinkFault(f"more replies to frame {number} than it has rows")
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
                    self._link = _Link(
                        connect(self._data_dir), self._loop, self._on_frames, self._lose, self._on_incident
                    )
                except OSError:
                    pass
            await asyncio.sleep(RECONNECT_S)

    def _lose(self, why: str) -> None:
        """Ends the link, and with it every call that waits."""
        if self._link is None:
            return
        logger.info("the link to the engine ends: %s", why)
        self._link.close()
        self._link = None
        self.document = {"state": "AWAY"}
        self._fail_all()
        self._on_state(self.document)

    def _fail_all(self) -> None:
        waiting, self._waiting = self._waiting, {}
        calls, self._calls = self._calls, []
        for one in (*waiting.values(), Singles(calls)):
            one.fail(self.away())


class _Link:
    """One connection within the event loop.

    Args:
        connection: Non-blocking.
        loop: The event loop.
        on_frames: Takes whole frames from a reader; may raise LinkFault.
        on_lost: Told why the connection cannot go on.
        on_incident: As of `EngineClient`.
    """

    def __init__(
        self,
        connection: Any,
        loop: asyncio.AbstractEventLoop,
        on_frames: Callable[[FrameReader], None],
        on_lost: Callable[[str], None],
        on_incident: OnIncident,
    ) -> None:
        self._connection = connection
        self._loop = loop
        self._on_frames = on_frames
        self._on_lost = on_lost
        self._on_incident = on_incident
        self._reader = FrameReader(kinds=TO_FRONT, frame_bytes_max=FRONT_FRAME_BYTES_MAX)
        self._outbox = Outbox(connection, bytes_max=OUTBOX_BYTES_MAX)
        loop.add_reader(connection.fileno(), self._readable)

    def send(self, frame: bytearray | memoryview) -> None:
        """Sends a frame, or keeps what the socket does not take; raises LinkFault."""
        self._outbox.send(frame)
        if self._outbox:
            self._loop.add_writer(self._connection.fileno(), self._writable)

    def close(self) -> None:
        """Ends the connection."""
        self._loop.remove_reader(self._connection.fileno())
        self._loop.remove_writer(self._connection.fileno())
        self._connection.close()

    def _readable(self) -> None:
        try:
            if self._reader.receive(self._connection):
                self._on_frames(self._reader)
        except LinkFault as fault:
            self._on_lost(fault.message)
        except Exception as error:  # noqa: BLE001 an event loop would swallow it and the link would hang
            internal = incident(error, where="the link")
            self._on_lost(internal.message)
            self._on_incident(internal)

    def _writable(self) -> None:
        try:
            if self._outbox.flush():
                self._loop.remove_writer(self._connection.fileno())
        except LinkFault as fault:
            self._on_lost(fault.message)
