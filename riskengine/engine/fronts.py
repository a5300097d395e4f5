"""The engine's side of its links: who is connected, which rows wait, which answers go where.

`wait` moves bytes, `gather` fills one batch from what arrived, `answer` sends the replies of that batch, one send for
each front. Frames of up to a slice of rows are taken whole; longer ones are batches, set aside and taken one slice at a
time, so that a batch of 1,000 delays a single call by a slice at most.

INVARIANTS: nothing here blocks but `wait` with a timeout; a front that breaks a rule, or does not read its answers,
loses its connection with a logged reason and costs the others nothing; rows of one frame are applied in their order.

Called by `engine.loop` alone.
"""

import logging
import select
import socket
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from riskengine.types import EVENT, EVENT_WORDS, Array, words

from .link import (
    ENGINE_FRAME_BYTES_MAX,
    FRAME_ROWS_MAX,
    HEADER_BYTES,
    REPLY_BYTES,
    REPLY_WORDS,
    SLICE_ROWS,
    TO_ENGINE,
    FrameKind,
    FrameReader,
    LinkFault,
    Outbox,
    document_frame,
    write_header,
)
from .sockets import SOCKET_BUFFER_BYTES

logger = logging.getLogger(__name__)

FRONTS_MAX: Final = 256
OUTBOX_BYTES_MAX: Final = 32 << 20
"""Answers that one front may leave unread."""
BATCH_ROWS_WAITING_MAX: Final = 16 * FRAME_ROWS_MAX
"""Rows of batches set aside for one front."""
# Bound once: an enum's attribute costs 0.24 us in Python 3.11, a name of the module nothing, and these are read for each frame.
_GET: Final = FrameKind.GET
_REPLIES: Final = FrameKind.REPLIES
_BROKEN: Final = select.POLLHUP | select.POLLERR | select.POLLNVAL


class Batch:
    """A frame of many rows that is taken slice by slice.

    Args:
        number: Of its frame.
        rows: EVENT rows, its own copy.
    """

    __slots__ = ("number", "rows", "taken")

    def __init__(self, number: int, rows: Array) -> None:
        self.number = number
        self.rows = rows
        self.taken = 0


class Front:
    """One connection.

    Args:
        connection: Non-blocking.
    """

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.reader = FrameReader(kinds=TO_ENGINE, frame_bytes_max=ENGINE_FRAME_BYTES_MAX)
        self.outbox = Outbox(connection, bytes_max=OUTBOX_BYTES_MAX)
        self.batches: deque[Batch] = deque()
        self.batch_row_count = 0


class Part(NamedTuple):
    """Consecutive rows of a gathered batch that came from one frame."""

    front: Front
    number: int
    row_count: int


class Question(NamedTuple):
    """A GET: keys uint64[n, 2] to look up."""

    front: Front
    number: int
    keys: npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Gathered:
    """What one turn of the loop has to do.

    Attributes:
        row_count: Rows written into the batch.
        parts: Where they came from, in order.
        questions: To be answered after the batch.
    """

    row_count: int
    parts: list[Part]
    questions: list[Question]


class Fronts:
    """All connections.

    Args:
        listener: Non-blocking, listening.
        rows_max: Rows of one gathered batch, at least 1.
        hello: Builds the document that greets a front.
        wakeups: Descriptors that end a `wait` (signals, the supervisor's pipe).
    """

    def __init__(
        self,
        listener: socket.socket,
        *,
        rows_max: int,
        hello: Callable[[], dict[str, Any]],
        wakeups: Sequence[int] = (),
    ) -> None:
        self._listener = listener
        self._rows_max = rows_max
        self._slice_rows = max(1, min(SLICE_ROWS, rows_max // 2))
        self._hello = hello
        self._wakeups = frozenset(wakeups)
        self._fronts: dict[int, Front] = {}
        self._poll = select.poll()
        self._poll.register(listener, select.POLLIN)
        for descriptor in wakeups:
            self._poll.register(descriptor, select.POLLIN)
        self._replies = np.zeros((max(rows_max, FRAME_ROWS_MAX), REPLY_WORDS), np.int64)
        self._left_over = False

    def __len__(self) -> int:
        return len(self._fronts)

    @property
    def left_over(self) -> bool:
        """Whether the last `gather` left whole frames or rows of batches for the next."""
        return self._left_over

    def wait(self, timeout_ms: int | None) -> bool:
        """Waits until something arrives, accepts, reads once from each front that has something, sends what was stuck.

        Args:
            timeout_ms: None waits without end; not at all where frames are left over from the turn before.

        Returns:
            Whether a wakeup descriptor was ready.
        """
        woken = False
        for descriptor, events in self._poll.poll(0 if self._left_over else timeout_ms):
            front = self._fronts.get(descriptor)
            if front is not None:
                self._guard(front, self._move, front, events)
            elif descriptor in self._wakeups:
                woken = True
            else:
                self._accept()
        return woken

    def gather(self, batch: Array) -> Gathered:
        """Takes waiting rows: a slice of one batch, then whole frames as far as they fit.

        Args:
            batch: EVENT rows to fill, `rows_max` of them.

        Returns:
            What was taken. Frames left over make the next `wait` return at once.
        """
        parts: list[Part] = []
        questions: list[Question] = []
        self._left_over = False
        count = self._take_slice(batch, parts)
        for front in list(self._fronts.values()):
            taken = self._guard(front, self._take_frames, front, batch, count, parts, questions)
            count = count if taken is None else taken
        self._left_over = self._left_over or any(front.batches for front in self._fronts.values())
        if len(self._fronts) > 1:  # The first to be asked goes to the end.
            first = next(iter(self._fronts))
            self._fronts[first] = self._fronts.pop(first)
        return Gathered(count, parts, questions)

    def answer(self, parts: Sequence[Part], statuses: npt.NDArray[np.int64], decisions: Array | None) -> None:
        """Sends the replies of a batch, all of one front at once.

        Args:
            parts: As gathered.
            statuses: ReplyStatus int64[n], n the sum of the parts' rows.
            decisions: DECISION rows, n of them; None where there are none: zeros are sent.
        """
        count = len(statuses)
        replies = self._replies[:count]
        replies[:, 0] = statuses
        if decisions is None:
            replies[:, 1:] = 0
        else:
            replies[:, 1:] = words(decisions)
        data = replies.data.cast("B")
        frames: dict[Front, list[Any]] = {}
        first = 0
        for part in parts:
            size = part.row_count * REPLY_BYTES
            header = bytearray(HEADER_BYTES)
            write_header(header, 0, kind=_REPLIES, row_count=part.row_count, body_size=size, number=part.number)
            frames.setdefault(part.front, []).extend((header, data[first : first + size]))
            first += size
        for front, pieces in frames.items():
            if front.connection.fileno() in self._fronts:  # It may be gone since its rows were gathered.
                self._guard(front, self._send, front, b"".join(pieces))

    def notify(self, document: dict[str, Any]) -> None:
        """Sends a NOTICE to everybody."""
        frame = document_frame(FrameKind.NOTICE, document)
        for front in list(self._fronts.values()):
            self._guard(front, self._send, front, frame)

    def unsent_bytes(self) -> int:
        """Returns how much is stuck in all outboxes."""
        return sum(len(front.outbox) for front in self._fronts.values())

    def close(self) -> None:
        """Closes the listener and every connection."""
        self._listener.close()
        for front in self._fronts.values():
            front.connection.close()
        self._fronts.clear()

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError as error:
            logger.warning("a front could not be accepted: %s", error.strerror)
            return
        if len(self._fronts) >= FRONTS_MAX:
            logger.warning("a front was refused: %d are connected", len(self._fronts))
            connection.close()
            return
        connection.setblocking(False)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BUFFER_BYTES)
        front = Front(connection)
        self._fronts[connection.fileno()] = front
        self._poll.register(connection, select.POLLIN)
        self._guard(front, self._send, front, document_frame(FrameKind.HELLO, self._hello()))

    def _guard(self, front: Front, action: Callable[..., Any], *arguments: Any) -> Any:
        """Calls; a broken rule ends this front alone."""
        try:
            return action(*arguments)
        except LinkFault as fault:
            logger.info("front %d: %s", front.connection.fileno(), fault.message)
            self._drop(front)
            return None

    def _drop(self, front: Front) -> None:
        descriptor = front.connection.fileno()
        self._poll.unregister(descriptor)
        del self._fronts[descriptor]
        front.connection.close()

    def _move(self, front: Front, events: int) -> None:
        if events & select.POLLOUT and front.outbox.flush():
            self._poll.modify(front.connection, select.POLLIN)
        if events & select.POLLIN or events & _BROKEN:
            front.reader.receive(front.connection)

    def _send(self, front: Front, data: bytes) -> None:
        front.outbox.send(data)
        if front.outbox:
            self._poll.modify(front.connection, select.POLLIN | select.POLLOUT)

    def _take_slice(self, batch: Array, parts: list[Part]) -> int:
        """Takes up to a slice of the batch that waits longest, of the first front that has one."""
        for front in self._fronts.values():
            if front.batches:
                waiting = front.batches[0]
                count = min(self._slice_rows, len(waiting.rows) - waiting.taken)
                batch[:count] = waiting.rows[waiting.taken : waiting.taken + count]
                waiting.taken += count
                front.batch_row_count -= count
                if waiting.taken == len(waiting.rows):
                    front.batches.popleft()
                parts.append(Part(front, waiting.number, count))
                return count
        return 0

    def _take_frames(self, front: Front, batch: Array, count: int, parts: list[Part], questions: list[Question]) -> int:
        """Takes a front's whole frames from row `count` on; returns the new count."""
        reader = front.reader
        while (header := reader.next_frame()) is not None:
            if header.kind is _GET:
                keys = np.frombuffer(reader.body(), np.uint64).reshape(-1, 2).copy()
                questions.append(Question(front, header.number, keys))
            elif header.row_count > self._slice_rows:
                front.batch_row_count += header.row_count
                if front.batch_row_count > BATCH_ROWS_WAITING_MAX:
                    raise LinkFault(f"more than {BATCH_ROWS_WAITING_MAX} rows of batches wait")
                front.batches.append(Batch(header.number, np.frombuffer(reader.body(), EVENT).copy()))
            elif count + header.row_count > self._rows_max:
                self._left_over = True
                return count
            else:
                # As words: a copy of structured rows goes field by field, 83 of them.
                arrived = np.frombuffer(reader.body(), np.int64).reshape(header.row_count, EVENT_WORDS)
                words(batch)[count : count + header.row_count] = arrived
                parts.append(Part(front, header.number, header.row_count))
                count += header.row_count
            reader.consume()
        return count
