"""A loop in a thread over a stand-in engine, and a front as plain as can be. Imported by the tests of this folder."""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from riskengine.engine.link import (
    FRONT_FRAME_BYTES_MAX,
    HEADER_BYTES,
    REPLY_WORDS,
    TO_FRONT,
    FrameKind,
    FrameReader,
    read_document,
    write_header,
)
from riskengine.engine.loop import EngineLoop
from riskengine.engine.sockets import connect
from riskengine.enums import ReplyStatus
from riskengine.types import DECISION, Array, empty_events


class Ledger:
    """Remembers batches; fails on request."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.rows_max = 4096
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

    def __init__(self, data_dir: Path, rows_max: int, engine_rows_max: int) -> None:
        self.data_dir = data_dir
        self.ledger = Ledger()
        self.ledger.rows_max = engine_rows_max
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
def running(data_dir: Path, rows_max: int = 256, engine_rows_max: int = 4096) -> Iterator[Running]:
    loop = Running(data_dir, rows_max, engine_rows_max)
    try:
        yield loop
    finally:
        loop.stop()
