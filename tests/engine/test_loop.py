"""The engine's loop over real sockets, with a stand-in engine that remembers what it was given.

The stand-in is here for what the real engine cannot be made to do on time: a full disk, a fault, a slow commit. The
real one runs behind the same loop in tests/server.
"""

import os
import shutil
import socket
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from riskengine.engine.link import (
    EVENT_BYTES,
    FRONT_FRAME_BYTES_MAX,
    HEADER_BYTES,
    TO_FRONT,
    FrameKind,
    FrameReader,
    LinkFault,
    read_document,
    write_header,
)
from riskengine.engine.loop import EngineLoop, told_as_refusal
from riskengine.engine.sockets import connect
from riskengine.enums import ReplyStatus
from riskengine.errors import JournalFault, JournalFull, StartRefused
from riskengine.types import EVENT
from tests.engine.running import Caller, running


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


def test_engine_may_take_fewer_rows_than_the_settings_say(tmp_path: Path) -> None:
    """Goal: a small segment of the journal does not end the engine. Method: a loop of 256 rows, an engine of 3."""
    with running(tmp_path, rows_max=256, engine_rows_max=3) as loop:
        caller = Caller(loop.data_dir)
        caller.send(1, range(100))
        keys: list[int] = []
        while len(keys) < 100:
            keys += caller.replies()[2]

        assert 3 >= max(len(batch) for batch in loop.ledger.batches)
        assert list(range(100)) == keys


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


@pytest.mark.parametrize("good_first", [False, True])
def test_rows_before_a_broken_rule_cost_others_nothing(tmp_path: Path, good_first: bool) -> None:
    """Goal: nobody gets the answers of another's rows.

    Method: while a commit is held, one front sends rows, a question and garbage, another sends rows; either connected
    first. The rows of the bad one are not applied, its link ends.
    """
    with running(tmp_path) as loop:
        one, two = Caller(loop.data_dir), Caller(loop.data_dir)
        good, bad = (one, two) if good_first else (two, one)
        loop.ledger.gate.clear()
        good.send(1, [1])
        time.sleep(0.05)
        bad.send(1, [100, 101, 102])
        bad.frame(FrameKind.GET, 2, 1, np.array([[4, 1]], np.uint64).tobytes())
        bad.connection.sendall(bytes(HEADER_BYTES))
        good.send(2, [7, 8])
        good.send(3, [9])
        time.sleep(0.05)
        loop.ledger.gate.set()

        assert [(1, [0], [1]), (2, [0, 0], [7, 8]), (3, [0], [9])] == [good.replies() for _ in range(3)]
        assert [1, 7, 8, 9] == [value for batch in loop.ledger.batches for value in batch]
        with pytest.raises(LinkFault):
            bad.next()


def test_batches_beyond_the_bound_are_refused_and_the_link_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Goal: one caller's flood is not everybody's fault. Method: a bound of 200 rows, three batches of 100, a single."""
    monkeypatch.setattr("riskengine.engine.fronts.BATCH_ROWS_WAITING_MAX", 200)
    with running(tmp_path) as loop:
        caller = Caller(loop.data_dir)
        loop.ledger.gate.clear()
        caller.send(1, [1])
        time.sleep(0.05)
        for number in (2, 3, 4):
            caller.send(number, range(1000 * number, 1000 * number + 100))
        caller.send(5, [5])
        time.sleep(0.05)
        loop.ledger.gate.set()
        answers: dict[int, list[int]] = {}
        keys: list[int] = []
        while sum(map(len, answers.values())) < 302:
            number, statuses, told = caller.replies()
            answers.setdefault(number, []).extend(statuses)
            keys += told if number in (2, 3) else []

        assert [ReplyStatus.REFUSED] * 100 == answers[4]
        assert [0] * 100 == answers[2] == answers[3]
        assert [0] == answers[1] == answers[5]
        assert [*range(2000, 2100), *range(3000, 3100)] == keys
        assert not any(4000 in batch for batch in loop.ledger.batches)


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


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (MemoryError(), "lower limits.arena_mib (now 77)"),
        (FileExistsError(17, "File exists", "/d/models"), "/d/models cannot be used: File exists"),
        (shutil.Error([("/m/a", "/d/models/a", "no space")]), "/d/models/a cannot be used: no space"),
        (OSError("odd"), "/d cannot be used: OSError"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_the_system_refuses_at_the_start_is_told_with_its_place(error: Exception, told: str) -> None:
    """Goal: no crash loop over what a restart would meet again. Method: each kind; the message says what to do."""
    with pytest.raises(StartRefused) as refused, told_as_refusal(Path("/d"), 77):
        raise error

    assert told in refused.value.message


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
