"""What the front's own steps cost for one call, each measured alone in a loop, microseconds.

    parse      bytes to message
    tags       the 12 keyed hashes of one payment
    validate   everything else of the door: reading fields, judging them, packing the row, hashing payload and request_id
    link       frame out and reply in, over a socket pair, three rows a frame; without the event loop
    reply      decision row to bytes

The rest of the front's CPU is gRPC, futures, the event loop. Called by `benchmarks.load.__main__`.
"""

import socket
import time
from collections.abc import Callable
from typing import Final

from riskengine.clock import SystemClock
from riskengine.engine.link import (
    ENGINE_FRAME_BYTES_MAX,
    EVENT_BYTES,
    HEADER_BYTES,
    REPLY_BYTES,
    TO_ENGINE,
    TO_FRONT,
    FrameKind,
    FrameReader,
    write_header,
)
from riskengine.settings import ServerSettings
from riskengine.types import EVENT_WORD, TAG_COLUMNS
from riskengine.v1 import risk_service_pb2 as service
from riskengine.wire.names import message_field
from riskengine.wire.parse import parse
from riskengine.wire.pseudonyms import TagKey, digest_of
from riskengine.wire.reply import ReplyBuilder

from .bodies import payments

GROUP_ROWS: Final = 3
ROUNDS: Final = 5


def measure_parts(
    settings: ServerSettings, catalog: list[dict[str, object]], decision: bytes, *, calls: int
) -> dict[str, float]:
    """Measures each part.

    Args:
        settings: Of the server.
        catalog: As the engine tells it.
        decision: A DECISION row of its.
        calls: In each of `ROUNDS` rounds; the best round counts.
    """
    from riskengine.server.vocabulary import Vocabulary

    key = TagKey.load(settings.tag_key_file)
    vocabulary = Vocabulary(key, settings)
    vocabulary.learn(catalog)
    bodies = payments(first=900_000_000_000)
    raws = [next(bodies) for _ in range(calls)]
    requests = [service.ScoreTransactionRequest.FromString(raw) for raw in raws]
    now_us = SystemClock().now_us()
    row = vocabulary.door.score_row(requests[0], now_us)
    tag_count = sum(row[8 * EVENT_WORD[name] : 8 * EVENT_WORD[name] + 8] != bytes(8) for name in TAG_COLUMNS) + 1
    copy = key.hasher("card").copy
    tags_us = _each(lambda index: [digest_of(copy, raws[index][2:30]) for _ in range(tag_count)], calls)
    door_us = _each(lambda index: vocabulary.door.score_row(requests[index], now_us), calls)
    replies: ReplyBuilder = vocabulary.replies
    return {
        "parse": _each(lambda index: parse(service.ScoreTransactionRequest, raws[index]), calls),
        "tags": tags_us,
        "validate": max(0.0, door_us - tags_us),
        "link": _link_us(row, calls),
        "reply": _each(lambda _: message_field(1, replies.decision_bytes(decision)), calls),
    }


def _each(action: Callable[[int], object], calls: int) -> float:
    """Returns the microseconds of one call in the best round."""
    best_ns = 1 << 62
    for _ in range(ROUNDS):
        started_ns = time.perf_counter_ns()
        for index in range(calls):
            action(index)
        best_ns = min(best_ns, time.perf_counter_ns() - started_ns)
    return best_ns / calls / 1000


def _link_us(row: bytes, calls: int) -> float:
    """Returns the front's share of the link for one row."""
    near, far = socket.socketpair()
    near.setblocking(False)
    far.setblocking(False)
    frame = bytearray(HEADER_BYTES + GROUP_ROWS * EVENT_BYTES)
    answer = bytearray(HEADER_BYTES + GROUP_ROWS * REPLY_BYTES)
    write_header(answer, 0, kind=FrameKind.REPLIES, row_count=GROUP_ROWS, body_size=GROUP_ROWS * REPLY_BYTES, number=1)
    outward = FrameReader(kinds=TO_ENGINE, frame_bytes_max=ENGINE_FRAME_BYTES_MAX)
    inward = FrameReader(kinds=TO_FRONT, frame_bytes_max=ENGINE_FRAME_BYTES_MAX)
    spent_ns = 0
    with near, far:
        for _ in range(calls // GROUP_ROWS + 1):
            started_ns = time.perf_counter_ns()
            for index in range(GROUP_ROWS):
                frame[HEADER_BYTES + index * EVENT_BYTES : HEADER_BYTES + (index + 1) * EVENT_BYTES] = row
            size = GROUP_ROWS * EVENT_BYTES
            write_header(frame, 0, kind=FrameKind.EVENTS, row_count=GROUP_ROWS, body_size=size, number=1)
            near.send(frame)
            spent_ns += time.perf_counter_ns() - started_ns
            outward.receive(far)
            assert outward.next_frame() is not None
            outward.consume()
            far.send(answer)
            started_ns = time.perf_counter_ns()
            inward.receive(near)
            assert inward.next_frame() is not None
            body = inward.body()
            for first in range(0, GROUP_ROWS * REPLY_BYTES, REPLY_BYTES):
                int.from_bytes(body[first : first + 8], "little")
                bytes(body[first + 8 : first + REPLY_BYTES])
            inward.consume()
            spent_ns += time.perf_counter_ns() - started_ns
    return spent_ns / (calls // GROUP_ROWS + 1) / GROUP_ROWS / 1000
