"""The front's side of the link against an engine that lies, falls silent or goes away on time."""

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from riskengine.engine.fronts import BATCH_ROWS_WAITING_MAX
from riskengine.engine.link import (
    ENGINE_FRAME_BYTES_MAX,
    HEADER_BYTES,
    REPLY_WORDS,
    TO_ENGINE,
    FrameKind,
    FrameReader,
    document_frame,
    write_header,
)
from riskengine.engine.sockets import listen
from riskengine.enums import ReplyStatus
from riskengine.errors import InternalFault, Overloaded, Unavailable
from riskengine.server.admission import Admission, Stay
from riskengine.server.engine_client import EngineClient
from riskengine.server.waiting import DeadlineExceeded, NotSent
from riskengine.settings import FrontSettings
from riskengine.types import DECISION, EVENT, LAYOUT_VERSION, Array, empty_events, words

HELLO = document_frame(FrameKind.HELLO, {"state": "SERVING", "layout": LAYOUT_VERSION, "catalog": []})
SILENCE_S = 0.2


class Engine:
    """Answers when it is told to."""

    def __init__(self, data_dir: Path) -> None:
        self.listener = listen(data_dir)
        self.connection: socket.socket

    async def accept(self) -> None:
        """Greets the front that connects."""
        self.connection, _ = await asyncio.get_running_loop().sock_accept(self.listener)
        self.connection.setblocking(False)
        self.connection.sendall(HELLO)
        self.reader = FrameReader(kinds=TO_ENGINE, frame_bytes_max=ENGINE_FRAME_BYTES_MAX)

    async def next(self) -> tuple[int, Array]:
        """Returns number and rows of the next EVENTS frame."""
        while (header := self.reader.next_frame()) is None:
            self.reader.receive(self.connection)
            await asyncio.sleep(0.001)
        rows = np.frombuffer(self.reader.body(), EVENT).copy()
        self.reader.consume()
        return header.number, rows

    def reply(self, number: int, rows: Array, *, status: int = 0) -> None:
        """Decides rows."""
        decisions = np.zeros(len(rows), DECISION)
        for name in ("request_key", "request_check"):
            decisions[name] = rows[name]
        replies = np.zeros((len(rows), REPLY_WORDS), np.int64)
        replies[:, 0] = status
        if status <= ReplyStatus.REPEATED:
            replies[:, 1:] = words(decisions)
        data = bytearray(HEADER_BYTES) + replies.tobytes()
        size = len(data) - HEADER_BYTES
        write_header(data, 0, kind=FrameKind.REPLIES, row_count=len(rows), body_size=size, number=number)
        self.connection.sendall(data)


def row(key: int) -> bytes:
    """Returns a row of EVENT of that request_key."""
    rows = empty_events(1)
    rows["request_key"] = key
    rows["request_check"] = 7 * key
    return rows.tobytes()


def linked(folder: Path, body: Callable[[EngineClient, Engine, list[str]], Awaitable[None]], **front: Any) -> list[str]:
    """Runs `body` with a client that is linked to an engine; returns the states that the client told."""
    states: list[str] = []

    def on_incident(fault: InternalFault) -> None:
        raise AssertionError(fault.message)

    async def run() -> None:
        engine = Engine(folder)
        client = EngineClient(
            folder,
            front=FrontSettings(pace_ms=0, **front),
            silence_s=SILENCE_S,
            on_state=lambda document: states.append(document["state"]),
            on_incident=on_incident,
        )
        client.start()
        await engine.accept()
        while not serves(client):
            await asyncio.sleep(0.001)
        try:
            await body(client, engine, states)
        finally:
            await client.close()
            engine.connection.close()
            engine.listener.close()

    asyncio.run(asyncio.wait_for(run(), 20))
    return states


def serves(client: EngineClient) -> bool:
    """Returns whether rows can be sent just now."""
    return client.serving


def later(seconds: float = 10.0) -> float:
    """Returns a deadline on the event loop's clock."""
    return asyncio.get_running_loop().time() + seconds


def test_answer_of_another_request_ends_the_link(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Goal: nobody gets another's decision, whatever the engine does.

    Method: answer three rows in a wrong order, singles and a batch; a refusal names nobody and is taken.
    """

    async def body(client: EngineClient, engine: Engine, _: list[str]) -> None:
        good = client.submit(row(1), later())
        engine.reply(*await engine.next())
        assert (await good).decision
        refused = client.submit(row(2), later())
        engine.reply(*await engine.next(), status=ReplyStatus.JOURNAL_FULL)
        assert ReplyStatus.JOURNAL_FULL == (await refused).status
        calls = [client.submit(row(key), later()) for key in (3, 4, 5)]
        number, rows = await engine.next()
        engine.reply(number, rows[[0, 2, 1]])
        ends = await asyncio.gather(*calls, return_exceptions=True)
        assert [Unavailable] * 3 == [type(end) for end in ends]
        await engine.accept()
        while not serves(client):
            await asyncio.sleep(0.001)
        batch = client.submit_batch([row(6), row(7)], later(), on_settled=lambda: None)
        number, rows = await engine.next()
        engine.reply(number, rows[[1, 0]])
        with pytest.raises(Unavailable, match="before it answered"):
            await batch

    states = linked(tmp_path, body)

    assert ["SERVING", "AWAY", "SERVING", "AWAY"] == states[:4]
    assert 2 == sum("of another request" in record.message for record in caplog.records if record.levelname == "ERROR")


def test_only_what_was_not_sent_is_told_apart(tmp_path: Path) -> None:
    """Goal: a fallback that says "not recorded" is right. Method: one row sent, one not yet; end the link."""

    async def body(client: EngineClient, engine: Engine, _: list[str]) -> None:
        sent = client.submit(row(1), later())
        await engine.next()
        unsent = client.submit(row(2), later())  # Goes with the next turn of the event loop.
        client._lose("the test")
        ends = await asyncio.gather(sent, unsent, return_exceptions=True)
        assert [Unavailable, NotSent] == [type(end) for end in ends]
        with pytest.raises(NotSent):
            await client.submit(row(3), later())

    linked(tmp_path, body)


def test_silent_engine_counts_as_away_until_it_answers(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Goal: a hung engine is noticed, once, and so is its return. Method: answer late."""

    async def body(client: EngineClient, engine: Engine, states: list[str]) -> None:
        call = client.submit(row(1), later(0.1))
        number, rows = await engine.next()
        with pytest.raises(DeadlineExceeded):
            await call
        while serves(client):
            await asyncio.sleep(0.01)
        with pytest.raises(NotSent) as away:
            await client.submit(row(2), later())
        await asyncio.sleep(2 * SILENCE_S)
        engine.reply(number, rows)
        while not serves(client):
            await asyncio.sleep(0.001)
        again = client.submit(row(3), later())
        engine.reply(*await engine.next())
        await again
        await asyncio.sleep(2 * SILENCE_S)  # Nobody waits: silence says nothing.
        assert "ENGINE_AWAY" == away.value.reason
        assert ["SERVING", "SILENT", "SERVING"] == states

    linked(tmp_path, body)

    assert 1 == sum("has answered nothing" in record.message for record in caplog.records)


def test_rows_of_a_batch_count_until_the_engine_is_done_with_them(tmp_path: Path) -> None:
    """Goal: callers that give up early cannot fill the engine's queue. Method: expire one batch, lose another."""

    async def body(client: EngineClient, engine: Engine, _: list[str]) -> None:
        admission = Admission(3, "rows of batches")
        for outcome in ("answered", "lost"):
            stay = Stay(admission, 2)
            stay.prolong()
            call = client.submit_batch([row(1), row(2)], later(0.05), on_settled=stay.leave)
            number, rows = await engine.next()
            with pytest.raises(DeadlineExceeded):
                await call
            stay.leave()
            assert 2 == admission.waiting
            with pytest.raises(Overloaded):
                Stay(admission, 2)
            if outcome == "answered":
                engine.reply(number, rows)
            else:
                engine.connection.close()
            while admission.waiting:
                await asyncio.sleep(0.001)
        await engine.accept()

    linked(tmp_path, body)


def test_front_admits_no_more_than_the_engine_takes() -> None:
    """Goal: no allowed setting makes the engine refuse. Method: the largest value, and one more."""
    FrontSettings(batch_rows_in_flight_max=BATCH_ROWS_WAITING_MAX)

    with pytest.raises(ValueError, match="batch_rows_in_flight_max"):
        FrontSettings(batch_rows_in_flight_max=BATCH_ROWS_WAITING_MAX + 1)


def test_connecting_without_descriptors_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Goal: the operator learns why a front stays away. Method: every connect meets EMFILE for a while."""

    def no_descriptor(_: Path) -> socket.socket:
        raise OSError(24, "Too many open files")

    async def run() -> None:
        monkeypatch.setattr("riskengine.server.engine_client.connect", no_descriptor)
        client = EngineClient(
            tmp_path,
            front=FrontSettings(),
            silence_s=SILENCE_S,
            on_state=lambda _: None,
            on_incident=lambda _: None,
        )
        client.start()
        await asyncio.sleep(0.2)
        await client.close()

    with caplog.at_level(logging.INFO):
        asyncio.run(run())

    assert 1 == sum("Too many open files" in record.message for record in caplog.records)
