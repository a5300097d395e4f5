"""Reading from a place on: snapshots and followers stand on anchors."""

from dataclasses import replace
from pathlib import Path

import pytest

from riskengine.errors import JournalCorrupt
from riskengine.journal.reader import Anchor, JournalReader
from riskengine.journal.writer import JournalWriter
from tests.journal import builders
from tests.journal.builders import Item
from tests.journal.disks import SimulatedDisk

DATA_DIR = Path("data")
SEGMENT_BYTES = 8192


def written(*, groups: int = 30, journal_id: bytes = builders.JOURNAL_ID) -> tuple[SimulatedDisk, list[Item]]:
    """Returns a journal of several segments, and what is in it."""
    disk = SimulatedDisk()
    writer = JournalWriter.create(DATA_DIR, journal_id=journal_id, disk=disk, segment_bytes=SEGMENT_BYTES)
    items = builders.activate(writer, 1)
    for group in range(groups):
        items += builders.commit(writer, 1 + group % 3, seed=group)
        if group % 8 == 5:
            items += builders.activate(writer, 2 + group)
    return disk, items


def positions(reader: JournalReader) -> list[tuple[Anchor, list[Item]]]:
    """Reads everything; returns each item with the position behind it."""
    return [(reader.position, builders.items_in(item)) for item in reader]


def flat(found: list[tuple[Anchor, list[Item]]]) -> list[Item]:
    return [item for _, items in found for item in items]


@pytest.mark.parametrize("chunk_rows_max", [1, 4, 4096])
@pytest.mark.parametrize("live", [False, True])
def test_reading_goes_on_from_every_position(chunk_rows_max: int, live: bool) -> None:
    """Goal: nothing twice, nothing left out. Method: start anew at each position that a reader tells."""
    disk, items = written()
    reader = JournalReader(DATA_DIR, disk=disk, live=live, chunk_rows_max=chunk_rows_max)
    beginning = reader.position
    found = positions(reader)
    assert items == flat(found)
    assert 4 <= reader.segment_count

    for count, (anchor, _) in enumerate([(beginning, []), *found]):
        again = JournalReader(DATA_DIR, disk=disk, start=anchor, live=live)
        assert (anchor, builders.JOURNAL_ID) == (again.position, again.journal_id)
        assert flat(found[count:]) == flat(positions(again))
        assert found[-1][0] == again.position
        assert live or reader.tail == again.tail


def test_reader_goes_on_where_it_stopped() -> None:
    """Goal: a follower keeps its reader. Method: leave a pass after each number of items, then read on; append, read on."""
    disk, items = written(groups=12)
    for taken in range(5):
        reader = JournalReader(DATA_DIR, disk=disk, live=True, chunk_rows_max=4)
        passed = [item for _, item in zip(range(taken), reader, strict=False)]
        rest = flat(positions(reader))
        assert len(passed) == taken
        assert items[len(items) - len(rest) :] == rest
    writer = JournalWriter.open(DATA_DIR, disk=disk, segment_bytes=SEGMENT_BYTES)
    assert [] == flat(positions(reader))
    for group in range(20):
        assert builders.commit(writer, 2, seed=group) == flat(positions(reader))


def test_frame_longer_than_a_window_is_found_before_an_anchor() -> None:
    """Goal: large frames are no trap. Method: one of 100 kB is the last, then live and at rest."""
    disk = SimulatedDisk()
    writer = builders.create(DATA_DIR, disk=disk, segment_bytes=1 << 20)
    items = builders.commit(writer, 500)
    reader = JournalReader(DATA_DIR, disk=disk, live=True)
    assert items == flat(positions(reader))
    more = builders.commit(writer, 400, seed=1) + builders.commit(writer, 1, seed=2)

    assert reader.position.offset > 100_000
    for live in (False, True):
        assert more == flat(positions(JournalReader(DATA_DIR, disk=disk, start=reader.position, live=live)))


@pytest.mark.parametrize("live", [False, True])
def test_anchor_that_does_not_fit_is_told(live: bool) -> None:
    """Goal: F7. Method: anchors of a journal with another id, of one that is ahead, and each with one wrong field."""
    disk, _ = written(groups=10)
    anchors = [anchor for anchor, _ in positions(JournalReader(DATA_DIR, disk=disk, chunk_rows_max=1))]
    foreign, _ = written(groups=10, journal_id=bytes(16))
    ahead, _ = written(groups=12)
    wrong = [anchor for anchor, _ in positions(JournalReader(DATA_DIR, disk=foreign, chunk_rows_max=1))]
    wrong += [JournalReader(DATA_DIR, disk=foreign).position]
    wrong += [anchor for anchor, _ in positions(JournalReader(DATA_DIR, disk=ahead, chunk_rows_max=1))[len(anchors) :]]
    for anchor in anchors:
        wrong += [replace(anchor, offset=offset) for offset in (-8, 0, 4, 64, anchor.offset - 8, anchor.offset + 4)]
        wrong += [replace(anchor, offset=SEGMENT_BYTES), replace(anchor, offset=SEGMENT_BYTES + 8)]
        wrong += [replace(anchor, next_sequence=anchor.next_sequence + by) for by in (-1, 1)]
        wrong += [replace(anchor, segment_index=anchor.segment_index + by) for by in (-1, 1, 1000)]
        wrong += [replace(anchor, chain_hash=bytes([anchor.chain_hash[0] ^ 1]) + anchor.chain_hash[1:])]

    for anchor in wrong:
        with pytest.raises(JournalCorrupt, match="to start from"):
            list(JournalReader(DATA_DIR, disk=disk, start=anchor, live=live))


def test_writer_goes_on_from_a_tail_that_was_found_from_an_anchor() -> None:
    """Goal: recovery from a snapshot. Method: start at the end and before the last frame; the last frame is written again."""
    disk, items = written(groups=9)
    found = positions(JournalReader(DATA_DIR, disk=disk, chunk_rows_max=1))
    for anchor, _ in found[-2:]:
        reader = JournalReader(DATA_DIR, disk=disk, start=anchor)
        list(reader)
        assert reader.tail.last_frame
        writer = JournalWriter.open(DATA_DIR, tail=reader.tail, disk=disk, segment_bytes=SEGMENT_BYTES)
        items += builders.commit(writer, 2)

    assert items == builders.read(DATA_DIR, disk=disk)


def test_progress_counts_what_is_in_the_files() -> None:
    """Goal: a bar that moves and ends. Method: a little in a large segment; several segments; from the middle on."""
    disk = SimulatedDisk()
    writer = builders.create(DATA_DIR, disk=disk, segment_bytes=1 << 20)
    for group in range(20):
        builders.commit(writer, 3, seed=group)
    for reader in (JournalReader(DATA_DIR, disk=disk, chunk_rows_max=1), JournalReader(DATA_DIR, disk=written()[0])):
        told = [reader.progress()]
        told += [reader.progress() for _ in reader]
        assert sorted(told) == told
        assert {told[-1][0]} == {total for _, total in told}
    assert JournalReader(DATA_DIR, disk=disk).progress()[1] < 30_000

    disk, _ = written()
    anchors = [anchor for anchor, _ in positions(JournalReader(DATA_DIR, disk=disk))]
    lengths = [JournalReader(DATA_DIR, disk=disk, start=anchor).progress()[1] for anchor in anchors]
    assert lengths == sorted(lengths, reverse=True)
    assert 0 == lengths[-1]


def test_empty_journal_has_a_position() -> None:
    """Goal: a follower may start first. Method: a journal without a frame."""
    disk = SimulatedDisk()
    writer = builders.create(DATA_DIR, disk=disk)
    reader = JournalReader(DATA_DIR, disk=disk, live=True)

    assert [] == list(reader)
    assert Anchor(0, 72, reader.position.chain_hash, 1) == reader.position
    assert (0, 0) == reader.progress()
    assert builders.commit(writer, 1) == flat(positions(reader))
