"""The engine's loop over real sockets, with a stand-in engine that remembers what it was given.

The stand-in is here for what the real engine cannot be made to do on time: a full disk, a fault, a slow commit. The
real one runs behind the same loop in tests/server.
"""

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from riskengine.engine.link import (
    EVENT_BYTES,
    FRONT_FRAME_BYTES_MAX,
    HEADER_BYTES,
    REPLY_WORDS,
    TO_FRONT,
    FrameKind,
    FrameReader,
    LinkFault,
    read_document,
    write_header,
)
from riskengine.engine.loop import EngineLoop
from riskengine.engine.sockets import connect
from riskengine.enums import ReplyStatus
from riskengine.errors import JournalFault, JournalFull
from riskengine.types import DECISION, EVENT, Array, empty_events


class Ledger:
    """Remembers batches; fails on request."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.failure: Exception | None = None
        self.gate = threading.Event()
        self.gate.set()
        self.closed = False

    def commit(self, events: Array) -> tuple[npt.NDArray[np.int64], Array]:
        self.gate.wait(5)
        if self.failure is not None:
            raise self.failure
        self.batches.append(events["amount_minor"].tolist())
        decisions = np.zeros(len(events), DECISION)
        decisions["request_key"] = events["request_key"]
        return np.zeros(len(events), np.int64), decisions

    def get_decisions(self, keys: npt.NDArray[np.uint64]) -> tuple[npt.NDArray[np.int64], Array]:
        decisions = np.zeros(len(keys), DECISION)
        decisions["request_key"] = keys[:, 0]
        return np.where(keys[:, 0] % 2 == 0, ReplyStatus.REPEATED, ReplyStatus.NOT_FOUND).astype(np.int64), decisions

    def catalog(self) -> list[dict[str, Any]]:
        return [{"revision": 1}]

    def counters(self) -> dict[str, int]:
        return {"batches": len(self.batches)}

    def prepare(self) -> None:
        """Has nothing to prepare."""

    def close(self) -> None:
        self.closed = True


class Running:
    """A loop in a thread."""

    def __init__(self, data_dir: Path, rows_max: int) -> None:
        self.data_dir = data_dir
        self.ledger = Ledger()
        self.stages: list[str] = []
        self.error: BaseException | None = None
        self._reader, self._writer = os.pipe()
        self.loop = EngineLoop(
            data_dir, rows_max=rows_max, report=lambda stage, **_: self.stages.append(stage), wakeups=(self._reader,)
        )
        self.thread = threading.Thread(target=self._run)
        self.thread.start()
        while "serving" not in self.stages:
            time.sleep(0.001)

    def _run(self) -> None:
        try:
            self.loop.run(self.ledger)
        except BaseException as error:  # noqa: BLE001
            self.error = error

    def stop(self) -> None:
        self.ledger.gate.set()
        os.write(self._writer, b"x")
        self.thread.join(5)
        os.close(self._reader)
        os.close(self._writer)


class Caller:
    """A front as plain as can be."""

    def __init__(self, data_dir: Path) -> None:
        self.connection = connect(data_dir)
        self.connection.setblocking(True)
        self.connection.settimeout(5)
        self.reader = FrameReader(kinds=TO_FRONT, frame_bytes_max=FRONT_FRAME_BYTES_MAX)
        kind, _, body = self.next()
        assert kind is FrameKind.HELLO
        self.hello = read_document(memoryview(body))

    def next(self) -> tuple[FrameKind, int, bytes]:
        while (header := self.reader.next_frame()) is None:
            self.reader.receive(self.connection)
        body = bytes(self.reader.body())
        self.reader.consume()
        return header.kind, header.number, body

    def replies(self) -> tuple[int, list[int], list[int]]:
        """Returns number, statuses and request keys of the next REPLIES."""
        kind, number, body = self.next()
        assert kind is FrameKind.REPLIES
        rows = np.frombuffer(body, np.int64).reshape(-1, REPLY_WORDS)
        decisions = np.ascontiguousarray(rows[:, 1:]).view(DECISION).reshape(-1)
        return number, rows[:, 0].tolist(), decisions["request_key"].tolist()

    def send(self, number: int, values: range | list[int]) -> None:
        """Sends an EVENTS frame, values as amounts and keys."""
        rows = empty_events(len(values))
        rows["amount_minor"] = values
        rows["request_key"] = values
        self.frame(FrameKind.EVENTS, number, len(values), rows.tobytes())

    def frame(self, kind: FrameKind, number: int, row_count: int, body: bytes) -> None:
        data = bytearray(HEADER_BYTES) + body
        write_header(data, 0, kind=kind, row_count=row_count, body_size=len(body), number=number)
        self.connection.sendall(data)


@contextmanager
def running(data_dir: Path, rows_max: int = 256) -> Iterator[Running]:
    loop = Running(data_dir, rows_max)
    try:
        yield loop
    finally:
        loop.stop()


def test_single_rows_are_answered_in_order(tmp_path: Path) -> None:
    """Goal: each row gets its own answer. Method: two frames, one front."""
    with running(tmp_path) as loop:
        caller = Caller(loop.data_dir)
        caller.send(1, [10, 11])
        caller.send(2, [12])
        answers = [caller.replies(), caller.replies()]

        assert [(1, [0, 0], [10, 11]), (2, [0], [12])] == answers
        assert "SERVING" == caller.hello["state"]
        assert [{"revision": 1}] == caller.hello["catalog"]


def test_who_connects_is_told_what_was_counted(tmp_path: Path) -> None:
    """Goal: the engine's counters can be read from outside. Method: two commits, then one more front."""
    with running(tmp_path) as loop:
        caller = Caller(loop.data_dir)
        for number in (1, 2):
            caller.send(number, [number])
            caller.replies()

        assert {"batches": 0} == caller.hello["counters"]
        assert {"batches": 2} == Caller(loop.data_dir).hello["counters"]


def test_what_waits_is_committed_as_one_batch(tmp_path: Path) -> None:
    """Goal: group commit. Method: hold the first commit, send from two fronts meanwhile, count batches."""
    with running(tmp_path) as loop:
        one, two = Caller(loop.data_dir), Caller(loop.data_dir)
        loop.ledger.gate.clear()
        one.send(1, [1])
        time.sleep(0.05)
        for number in range(2, 6):
            one.send(number, [number])
            two.send(number, [100 + number])
        loop.ledger.gate.set()
        for _ in range(4):
            two.replies()

        assert [1] == loop.ledger.batches[0]
        assert 2 == len(loop.ledger.batches)
        assert {2, 3, 4, 5, 102, 103, 104, 105} == set(loop.ledger.batches[1])


def test_single_call_overtakes_a_batch(tmp_path: Path) -> None:
    """Goal: 1,000 rows do not block one. Method: send both while a commit is held, look at the order of the answers."""
    with running(tmp_path) as loop:
        caller = Caller(loop.data_dir)
        loop.ledger.gate.clear()
        caller.send(1, range(1000))
        caller.send(2, [5000])
        time.sleep(0.05)
        loop.ledger.gate.set()
        answers = [caller.replies()]
        while sum(len(keys) for number, _, keys in answers if number == 1) < 1000:
            answers.append(caller.replies())

        order = [number for number, _, _ in answers]
        assert order.index(2) <= 2
        assert list(range(1000)) == [key for number, _, keys in answers if number == 1 for key in keys]
        assert 65 >= max(len(batch) for batch in loop.ledger.batches)


def test_batch_never_exceeds_its_bound(tmp_path: Path) -> None:
    """Goal: `batch_rows_max` holds, nothing starves. Method: a bound of 3, all sizes while a commit is held."""
    with running(tmp_path, rows_max=3) as loop:
        caller = Caller(loop.data_dir)
        loop.ledger.gate.clear()
        for number, size in enumerate([1, 2, 1, 7, 1, 3, 1], start=1):
            caller.send(number, [number] * size)
        loop.ledger.gate.set()
        row_count = 0
        while row_count < 16:
            row_count += len(caller.replies()[1])

        assert 3 >= max(len(batch) for batch in loop.ledger.batches)
        assert 16 == sum(len(batch) for batch in loop.ledger.batches)


def test_decisions_are_looked_up(tmp_path: Path) -> None:
    """Goal: GET is answered in its order. Method: one known key, one not."""
    with running(tmp_path) as loop:
        caller = Caller(loop.data_dir)
        caller.frame(FrameKind.GET, 9, 2, np.array([[4, 1], [5, 1]], np.uint64).tobytes())

        assert (9, [ReplyStatus.REPEATED, ReplyStatus.NOT_FOUND], [4, 5]) == caller.replies()


def test_full_journal_refuses_the_rows_and_goes_on(tmp_path: Path) -> None:
    """Goal: a full disk is an answer, not an end. Method: refuse one batch, accept the next."""
    with running(tmp_path) as loop:
        caller = Caller(loop.data_dir)
        loop.ledger.failure = JournalFull()
        caller.send(1, [1, 2])
        refused = caller.replies()
        loop.ledger.failure = None
        caller.send(2, [3])

        assert (1, [ReplyStatus.JOURNAL_FULL] * 2, [0, 0]) == refused
        assert (2, [0], [3]) == caller.replies()


def test_journal_fault_ends_the_loop_without_an_answer(tmp_path: Path) -> None:
    """Goal: nothing is acknowledged that is not on disk. Method: fail one commit; no reply, no close."""
    with running(tmp_path) as loop:
        caller = Caller(loop.data_dir)
        loop.ledger.failure = JournalFault("sync failed")
        caller.send(1, [1])
        loop.thread.join(5)

        assert isinstance(loop.error, JournalFault)
        assert not loop.ledger.closed
        caller.connection.settimeout(0.1)
        with pytest.raises((LinkFault, TimeoutError)):
            caller.next()


@pytest.mark.parametrize("garbage", [b"GET / HTTP/1.1\r\n" * 8, bytes(200), os.urandom(1000)])
def test_garbage_ends_its_connection_alone(tmp_path: Path, garbage: bytes) -> None:
    """Goal: one bad front costs the others nothing. Method: garbage on one, a row on another."""
    with running(tmp_path) as loop:
        bad, good = Caller(loop.data_dir), Caller(loop.data_dir)
        bad.connection.sendall(garbage)
        with pytest.raises(LinkFault):
            bad.next()
        good.send(1, [7])

        assert (1, [0], [7]) == good.replies()


def test_half_a_frame_commits_nothing(tmp_path: Path) -> None:
    """Goal: never half an event. Method: close in the middle of a frame of two rows."""
    with running(tmp_path) as loop:
        bad, good = Caller(loop.data_dir), Caller(loop.data_dir)
        body = np.zeros(2, EVENT).tobytes()
        data = bytearray(HEADER_BYTES) + body
        write_header(data, 0, kind=FrameKind.EVENTS, row_count=2, body_size=len(body), number=1)
        bad.connection.sendall(data[: HEADER_BYTES + EVENT_BYTES + 8])
        bad.connection.close()
        good.send(1, [7])
        good.replies()

        assert [[7]] == loop.ledger.batches


def test_front_that_does_not_read_is_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Goal: a stalled front never blocks the engine. Method: a small bound, no reading; another front goes on."""
    monkeypatch.setattr("riskengine.engine.fronts.OUTBOX_BYTES_MAX", 100_000)
    monkeypatch.setattr("riskengine.engine.fronts.SOCKET_BUFFER_BYTES", 4096)
    with running(tmp_path) as loop:
        stalled, good = Caller(loop.data_dir), Caller(loop.data_dir)
        stalled.connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            send_without_reading(stalled)
        good.send(1, [7])

        assert (1, [0], [7]) == good.replies()


def send_without_reading(caller: Caller) -> None:
    """Sends rows for more answers than are kept for anybody."""
    for number in range(1, 200):
        caller.send(number, range(64))
        time.sleep(0.001)


def test_stop_finishes_what_was_read(tmp_path: Path) -> None:
    """Goal: SIGTERM loses no answer. Method: hold a commit, send more, stop, read all answers."""
    with running(tmp_path) as loop:
        caller = Caller(loop.data_dir)
        loop.ledger.gate.clear()
        caller.send(1, [1])
        time.sleep(0.05)
        caller.send(2, range(300))
        time.sleep(0.05)
        stopper = threading.Thread(target=loop.stop)
        stopper.start()
        keys: list[int] = []
        while len(keys) < 301:
            keys += caller.replies()[2]
        stopper.join()
        loop.stop = lambda: None  # type: ignore[method-assign]

        assert [1, *range(300)] == keys
        assert loop.ledger.closed
        assert loop.error is None


def test_recovery_tells_its_progress(tmp_path: Path) -> None:
    """Goal: a front knows why it waits. Method: progress before the loop runs, from the thread that recovers."""
    reader, writer = os.pipe()
    stages: list[tuple[str, dict[str, int]]] = []
    loop = EngineLoop(
        tmp_path, rows_max=8, report=lambda stage, **more: stages.append((stage, more)), wakeups=(reader,)
    )
    loop.progress(1, 10)
    connection = connect(tmp_path)
    time.sleep(0.11)
    loop.progress(5, 10)
    connection.setblocking(True)
    frames = FrameReader(kinds=TO_FRONT, frame_bytes_max=FRONT_FRAME_BYTES_MAX)
    documents: list[dict[str, Any]] = []
    while len(documents) < 2:
        frames.receive(connection)
        while frames.next_frame() is not None:
            documents.append(read_document(frames.body()))
            frames.consume()
    os.write(writer, b"x")
    time.sleep(0.11)
    with pytest.raises(SystemExit):
        loop.progress(6, 10)

    assert ["RECOVERING", "RECOVERING"] == [document["state"] for document in documents]
    assert 5 == documents[-1]["done"]
    assert [("recovery", {"done": 1, "total": 10}), ("recovery", {"done": 5, "total": 10})] == stages[:2]
    for descriptor in (reader, writer):
        os.close(descriptor)
    connection.close()
