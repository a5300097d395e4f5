"""F5: the last write is torn, and a shorter frame is written in its place."""

from pathlib import Path

import pytest

from riskengine.journal.format import SECTOR_BYTES
from riskengine.journal.reader import JournalReader
from riskengine.journal.writer import JournalWriter
from tests.journal import builders
from tests.journal.disks import SimulatedDisk

DATA_DIR = Path("data")
SEGMENT_BYTES = 16384
ROWS = 6


def torn(lost_sector: int) -> tuple[SimulatedDisk, list[builders.Item], int]:
    """Returns a disk whose last frame has lost one sector, what is before it, and where the frame begins."""
    disk = SimulatedDisk()
    writer = builders.create(DATA_DIR, disk=disk, segment_bytes=SEGMENT_BYTES)
    kept = builders.commit(writer, 1)
    begin = _tail_offset(disk)
    builders.commit(writer, ROWS)
    end = _tail_offset(disk)
    (inode,) = disk.entries.values()
    first = begin // SECTOR_BYTES * SECTOR_BYTES + lost_sector * SECTOR_BYTES
    span = slice(max(begin, first), min(end, first + SECTOR_BYTES))
    inode.cache[span] = bytes(span.stop - span.start)
    return disk, kept, end - begin


@pytest.mark.parametrize("lost_sector", range(3))
def test_f05_shorter_frame_over_a_torn_one_leaves_none_of_it(lost_sector: int) -> None:
    """Goal: F5. Method: lose a sector of a frame of 6 rows, open, write 1 row; everything is read, also by a third."""
    disk, kept, torn_bytes = torn(lost_sector)
    writer = JournalWriter.open(DATA_DIR, disk=disk, segment_bytes=SEGMENT_BYTES)
    more = builders.commit(writer, 1, seed=5)
    reader = JournalReader(DATA_DIR, disk=disk)
    read = builders.read(DATA_DIR, disk=disk)
    list(reader)

    assert torn_bytes > 2 * SECTOR_BYTES
    assert kept + more == read
    assert 0 == reader.tail.torn_bytes, "nothing of the torn frame is left"


def _tail_offset(disk: SimulatedDisk) -> int:
    reader = JournalReader(DATA_DIR, disk=disk)
    list(reader)
    return reader.tail.offset
