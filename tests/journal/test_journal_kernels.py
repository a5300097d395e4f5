"""The kernels of the journal against their twins. Run compiled, interpreted and bounds-checked."""

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from riskengine.journal import codec, kernels
from riskengine.journal import format as fmt
from riskengine.journal.v1 import record_pb2
from riskengine.types import DECISION, EVENT, Array, words
from tests.journal import rows
from tests.naive import journal as naive

EVENT_CATALOGUE = [tuple(column) for column in codec.EVENT_CATALOGUE.T.tolist()]
DECISION_CATALOGUE = [tuple(column) for column in codec.DECISION_CATALOGUE.T.tolist()]


def packed(events: Array, decisions: Array, *, first_sequence: int) -> tuple[int, bytes]:
    """Returns the kernel's status and the message it packed."""
    message = np.zeros(fmt.body_bytes_max(len(events)), np.uint8)
    status = kernels.pack_frame(
        words(events),
        words(decisions),
        codec.EVENT_CATALOGUE,
        codec.DECISION_CATALOGUE,
        first_sequence,
        np.zeros((2, 128), np.int64),
        np.zeros(fmt.columns_bytes_max(len(events)), np.uint8),
        message,
    )
    return int(status), message[: max(0, status)].tobytes()


def parts_of(message: bytes) -> tuple[bytes, bytes, bytes, bytes]:
    """Returns directories and columns of a message."""
    commit = record_pb2.GroupCommit.FromString(message)
    return commit.event_directory, commit.event_columns, commit.decision_directory, commit.decision_columns


def unpacked(frames: list[tuple[int, int, bytes, bytes, bytes, bytes]]) -> tuple[int, Array, Array]:
    """Returns the kernel's status and the rows it unpacked."""
    count = sum(frame[1] for frame in frames)
    events, decisions = np.zeros(count, EVENT), np.zeros(count, DECISION)
    status = kernels.unpack_frames(
        np.array([[*frame[:2], *map(len, frame[2:])] for frame in frames], np.int64),
        np.frombuffer(b"".join(part for frame in frames for part in frame[2:]), np.uint8),
        codec.POSITIONS,
        codec.EVENT_CATALOGUE,
        codec.DECISION_CATALOGUE,
        words(events),
        words(decisions),
    )
    return int(status), events, decisions


@given(group=rows.arbitrary())
def test_pack_writes_what_the_proto_describes(group: tuple[Array, Array]) -> None:
    """Goal: the bytes are those of the specification. Method: arbitrary words, against the twin."""
    events, decisions = group
    status, message = packed(events, decisions, first_sequence=int(events["sequence"][0]))

    expected = naive.pack_frame(words(events).tolist(), words(decisions).tolist(), EVENT_CATALOGUE, DECISION_CATALOGUE)
    names = ("event_directory", "event_columns", "decision_directory", "decision_columns")
    commit = record_pb2.GroupCommit(row_count=len(events), **dict(zip(names, expected, strict=True)))
    assert len(message) == status
    assert commit.SerializeToString() == message


@given(groups=st.lists(rows.arbitrary(rows_max=4), min_size=1, max_size=3))
def test_unpack_reads_many_frames_at_once(groups: list[tuple[Array, Array]]) -> None:
    """Goal: nothing of one frame shows in another. Method: frames packed by the twin, rows compared with its rows."""
    frames = [
        (
            int(events["sequence"][0]),
            len(events),
            *naive.pack_frame(words(events).tolist(), words(decisions).tolist(), EVENT_CATALOGUE, DECISION_CATALOGUE),
        )
        for events, decisions in groups
    ]
    status, events, decisions = unpacked(frames)

    naive_events, naive_decisions = naive.unpack_frames(frames, EVENT_CATALOGUE, DECISION_CATALOGUE)
    assert sum(len(group[0]) for group in groups) == status
    assert naive_events == words(events).tolist()
    assert naive_decisions == words(decisions).tolist()
    assert b"".join(group[0].tobytes() for group in groups) == events.tobytes()
    assert b"".join(group[1].tobytes() for group in groups) == decisions.tobytes()


@given(group=rows.arbitrary(rows_max=70))
@example(group=rows.payments(70))
def test_no_stored_value_is_zero(group: tuple[Array, Array]) -> None:
    """Goal: a whole frame has no sector of zeros. Method: look for a long run of zeros in all that is packed."""
    events, decisions = group
    _, message = packed(events, decisions, first_sequence=int(events["sequence"][0]))

    assert bytes(32) not in message


def test_pack_refuses_rows_that_are_not_in_sequence() -> None:
    """Goal: the sequence need not be stored. Method: a gap, and another first sequence."""
    events, decisions = rows.payments(3)

    assert kernels.ERROR_SEQUENCE == packed(events, decisions, first_sequence=2)[0]
    events["sequence"][2] = 9
    assert kernels.ERROR_SEQUENCE == packed(events, decisions, first_sequence=1)[0]


@given(seed=st.integers(0, 2**32 - 1))
def test_unpack_reads_nothing_outside_of_damaged_parts(seed: int) -> None:
    """Goal: bytes without meaning are told, never followed. Method: random damage and cuts; only a status may come."""
    rng = np.random.default_rng(seed)
    events, decisions = rows.payments(4, seed=seed % 97)
    parts = list(parts_of(packed(events, decisions, first_sequence=1)[1]))
    part = int(rng.integers(0, 4))
    raw = bytearray(parts[part])
    if rng.random() < 0.5:
        raw[int(rng.integers(0, len(raw)))] ^= int(rng.integers(1, 256))
    else:
        del raw[int(rng.integers(0, len(raw))) :]
    parts[part] = bytes(raw)

    assert unpacked([(1, 4, parts[0], parts[1], parts[2], parts[3])])[0] in (4, -1)
