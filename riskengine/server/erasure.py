"""Erasure as a client of the engine: one journaled command that turns the tags of a person's identifiers into a tombstone.

It goes over the engine's own socket, which only the owner of the data directory can open: who may erase is who may read
the data. The tombstone is random and comes with the command, so a replay finds the same one.

Called by `cli.erase`.
"""

import secrets
import select
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from riskengine.clock import Clock
from riskengine.engine.link import (
    FRONT_FRAME_BYTES_MAX,
    HEADER_BYTES,
    TO_FRONT,
    FrameKind,
    FrameReader,
    read_document,
    write_header,
)
from riskengine.engine.sockets import connect
from riskengine.enums import DecisionFlag, Kind, ReplyStatus
from riskengine.errors import JournalFull, Unavailable
from riskengine.types import DECISION, ENTITIES, Array, empty_events

ERASABLE: Final = ("account", "card", "device", "ip", "email", "phone", "payee", "address")
"""What may name a person; merchants, BINs, networks and e-mail domains do not."""
assert set(ERASABLE) <= set(ENTITIES)


@dataclass(frozen=True, slots=True)
class Erased:
    """What came of an erasure.

    Attributes:
        sequence: Of the command in the journal: the proof that it was done.
        known: Whether the engine remembered any of the tags.
        tombstone: uint64, what stands in their place.
    """

    sequence: int
    known: bool
    tombstone: int


def erase(data_dir: Path, tags: Mapping[str, int], *, clock: Clock, timeout_s: float = 30.0) -> Erased:
    """Erases tags; returns when that is durable.

    Args:
        data_dir: Of a running engine.
        tags: uint64 tags by entity type of ERASABLE, none of them 0.
        clock: For the time of the command.
        timeout_s: How long to wait for the engine, seconds.

    Raises:
        Unavailable: No engine serves there, or it did not answer in time; the command may be repeated.
        JournalFull: Nothing was erased.
    """
    assert tags, "somebody is to be erased"
    assert set(tags) <= set(ERASABLE), "types that name a person"
    assert all(tags.values()), "a value without a tag is nobody"
    tombstone = secrets.randbits(63) | 1
    row = empty_events(1)
    row["kind"] = int(Kind.ERASE)
    row["received_time_us"] = row["event_time_us"] = clock.now_us()
    row["request_key"], row["request_check"] = secrets.randbits(63) | 1, secrets.randbits(64)
    row["original_transaction_tag"] = row["payload_hash"] = tombstone
    for entity, tag in tags.items():
        row[f"{entity}_tag"] = tag
    status, decision = _ask(data_dir, row, deadline_us=clock.monotonic_us() + int(timeout_s * 1e6), clock=clock)
    if status == ReplyStatus.JOURNAL_FULL:
        raise JournalFull
    return Erased(int(decision["sequence"][0]), bool(decision["flags"][0] & DecisionFlag.MATCHED), tombstone)


def _ask(data_dir: Path, row: Array, *, deadline_us: int, clock: Clock) -> tuple[int, Array]:
    """Sends one row when the engine serves, and waits for its reply."""
    try:
        connection = connect(data_dir)
    except OSError:
        raise Unavailable("ENGINE_AWAY", f"no engine runs on {data_dir}; start it with: riskengine serve") from None
    with connection:
        reader = FrameReader(kinds=TO_FRONT, frame_bytes_max=FRONT_FRAME_BYTES_MAX)
        sent = False
        while True:
            while (header := reader.next_frame()) is not None:
                if header.kind is FrameKind.REPLIES:
                    words = np.frombuffer(bytes(reader.body()), np.int64)
                    return int(words[0]), np.frombuffer(words[1:].tobytes(), DECISION)
                if not sent and read_document(reader.body()).get("state") == "SERVING":
                    connection.sendall(_frame(row))
                    sent = True
                reader.consume()
            left_ms = (deadline_us - clock.monotonic_us()) // 1000
            if left_ms <= 0 or not _readable(connection, left_ms):
                raise Unavailable("ENGINE_AWAY", "the engine did not answer in time; run the command again")
            reader.receive(connection)


def _frame(row: Array) -> bytes:
    body = row.tobytes()
    frame = bytearray(HEADER_BYTES) + body
    write_header(frame, 0, kind=FrameKind.EVENTS, row_count=1, body_size=len(body), number=1)
    return bytes(frame)


def _readable(connection: Any, timeout_ms: int) -> bool:
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    return bool(poll.poll(timeout_ms))
