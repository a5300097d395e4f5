"""Bodies of frames: nothing is lost, whatever the words; the proto tells the truth; old journals stay readable."""

import numpy as np
import pytest
from hypothesis import given

from riskengine.journal import codec
from riskengine.journal.v1 import record_pb2
from riskengine.types import DECISION_COLUMNS, EVENT_COLUMNS, Array, empty_events, words
from tests.journal import rows


def encoded(events: Array, decisions: Array) -> bytes:
    return codec.CommitEncoder().encode(words(events), words(decisions), first_sequence=int(events["sequence"][0]))


def decoded(*bodies: tuple[int, int, bytes]) -> tuple[Array, Array]:
    decoder = codec.CommitDecoder()
    for first_sequence, row_count, body in bodies:
        assert decoder.add(memoryview(body), first_sequence=first_sequence, row_count=row_count)
    taken = decoder.take()
    assert not isinstance(taken, int)
    return taken


@given(group=rows.arbitrary())
def test_rows_come_back_to_the_bit(group: tuple[Array, Array]) -> None:
    """Goal: the journal is exact. Method: arbitrary words, extremes and NaNs with payloads included."""
    events, decisions = group
    got_events, got_decisions = decoded((int(events["sequence"][0]), len(events), encoded(events, decisions)))

    assert events.tobytes() == got_events.tobytes()
    assert decisions.tobytes() == got_decisions.tobytes()


@pytest.mark.parametrize(
    ("enum", "prefix", "columns"),
    [
        (record_pb2.EventColumn, "EVENT_COLUMN_", EVENT_COLUMNS),
        (record_pb2.DecisionColumn, "DECISION_COLUMN_", DECISION_COLUMNS),
    ],
    ids=["events", "decisions"],
)
def test_proto_names_every_column_in_order(enum: type, prefix: str, columns: tuple[str, ...]) -> None:
    """Goal: the schema documents the rows. Method: compare enum and layout, name by name and number by number."""
    documented = {name: number for name, number in enum.items() if number}  # type: ignore[attr-defined]

    assert {f"{prefix}{name.upper()}": index for index, name in enumerate(columns, start=1)} == documented
    assert max(documented.values()) < codec.NUMBERS_MAX


def test_columns_that_an_old_journal_lacks_are_missing() -> None:
    """Goal: new columns do not break old journals. Method: a body without entries for some columns."""
    events, decisions = rows.payments(3)
    commit = record_pb2.GroupCommit.FromString(encoded(events, decisions))
    commit.event_directory, commit.event_columns = b"", b""
    got_events, _ = decoded((1, 3, commit.SerializeToString()))

    expected = empty_events(3)
    expected["sequence"] = [1, 2, 3]
    assert expected.tobytes() == got_events.tobytes()


@pytest.mark.parametrize(
    "change",
    [
        {"event_directory": bytes([250, 0])},
        {"event_directory": bytes([2, 6])},
        {"event_directory": bytes([2, 5])},
        {"event_directory": bytes([2, 0x51])},
        {"event_directory": bytes([2])},
        {"event_directory": bytes([2, 0x40, 1])},
        {"event_columns": b"x"},
        {"decision_columns": b""},
    ],
)
def test_body_without_meaning_is_told(change: dict[str, bytes]) -> None:
    """Goal: a body is never followed out of its bytes. Method: unknown columns, codings, cut entries, odd lengths."""
    commit = record_pb2.GroupCommit.FromString(encoded(*rows.payments(2)))
    for name, value in change.items():
        setattr(commit, name, value)
    decoder = codec.CommitDecoder()
    assert decoder.add(memoryview(encoded(*rows.payments(1))), first_sequence=1, row_count=1)
    assert decoder.add(memoryview(commit.SerializeToString()), first_sequence=1, row_count=2)

    assert 1 == decoder.take()


def test_bytes_that_are_no_message_are_told() -> None:
    """Goal: a wrong row count or garbage is refused. Method: one of each."""
    body = encoded(*rows.payments(2))

    assert not codec.CommitDecoder().add(memoryview(body), first_sequence=1, row_count=3)
    assert not codec.CommitDecoder().add(memoryview(b"\xff\xff"), first_sequence=1, row_count=1)
    assert codec.decode_activation(memoryview(b"\xff\xff")) is None


@pytest.mark.parametrize(("count", "bytes_max"), [(1, 450), (8, 300), (64, 280), (1024, 280)])
def test_payment_takes_few_bytes(count: int, bytes_max: int) -> None:
    """Goal: at most 600 bytes an event. Method: realistic payments, a bound a little above what is measured."""
    assert len(encoded(*rows.payments(count))) / count <= bytes_max


def test_constant_rows_take_next_to_nothing() -> None:
    """Goal: default columns are free. Method: empty events."""
    events, decisions = empty_events(100), codec.empty_decisions(100)
    events["sequence"] = decisions["sequence"] = np.arange(1, 101)

    assert len(encoded(events, decisions)) <= 12
