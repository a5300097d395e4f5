"""Reading ahead: the same items, the same errors, and no thread left behind."""

import sys
import threading
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from riskengine.engine.ahead import read_ahead
from riskengine.errors import JournalCorrupt
from riskengine.journal.reader import Commits, JournalReader
from riskengine.journal.scan import Scan
from tests.journal import builders
from tests.journal.disks import SimulatedDisk

DATA_DIR = Path("data")


def nothing(_: Commits) -> list[np.ndarray]:
    """Prepares nothing."""
    return []


def journal() -> tuple[SimulatedDisk, list[builders.Item]]:
    """Returns a journal of forty frames, and what is in it."""
    disk = SimulatedDisk()
    writer = builders.create(DATA_DIR, disk=disk, segment_bytes=16384)
    return disk, [item for group in range(40) for item in builders.commit(writer, 1 + group % 3, seed=group)]


def take(disk: SimulatedDisk, seen: list[builders.Item], *, leave_after: int | None = None) -> None:
    """Takes items, and leaves by an exception after some."""
    with closing(read_ahead(JournalReader(DATA_DIR, disk=disk, chunk_rows_max=5), nothing)) as items:
        for number, (item, _, _) in enumerate(items):
            if number == leave_after:
                raise SystemExit(0)
            seen += builders.items_in(item)


def test_items_come_in_order_with_their_progress() -> None:
    """Goal: nobody notices but by the time it takes. Method: read ahead; compare with what was written."""
    disk, items = journal()
    threads, interval_s = threading.active_count(), sys.getswitchinterval()

    told = list(read_ahead(JournalReader(DATA_DIR, disk=disk, chunk_rows_max=5), nothing))

    assert items == builders.flat(item for item, _, _ in told)
    done = [progress[0] for _, _, progress in told]
    assert sorted(done) == done
    assert done[-1] == told[-1][2][1]
    assert (threads, interval_s) == (threading.active_count(), sys.getswitchinterval())


def test_damage_comes_behind_what_precedes_it() -> None:
    """Goal: errors are raised where the items are taken. Method: a wrong byte in the thirtieth frame."""
    disk, items = journal()
    frame = list(Scan(disk, DATA_DIR).frames())[30]
    inode = next(inode for path, inode in disk.entries.items() if path.name == frame.name)
    inode.cache[frame.offset + 50] ^= 1
    seen: list[builders.Item] = []
    with pytest.raises(JournalCorrupt) as caught:
        take(disk, seen)

    assert frame.first_sequence == caught.value.sequence
    assert items[: frame.first_sequence - 1] == seen


def test_consumer_may_leave_at_any_time() -> None:
    """Goal: a server that is asked to stop while it recovers ends. Method: leave by an exception, after each number of items."""
    disk, items = journal()
    threads = threading.active_count()
    for wanted in range(12):
        seen: list[builders.Item] = []
        with pytest.raises(SystemExit):
            take(disk, seen, leave_after=wanted)
        assert items[: len(seen)] == seen

    assert threads == threading.active_count()


def test_commands_are_prepared_in_their_order() -> None:
    """Goal: what depends on order may be done ahead. Method: note the sequences that are prepared; each comes with its own."""
    disk, _ = journal()
    seen: list[int] = []

    def prepare(commits: Commits) -> list[np.ndarray]:
        seen.extend(commits.events["sequence"].tolist())
        return [commits.events["sequence"].copy()]

    told = list(read_ahead(JournalReader(DATA_DIR, disk=disk, chunk_rows_max=5), prepare))

    assert list(range(1, seen[-1] + 1)) == seen
    for item, prepared, _ in told:
        expected = [item.events["sequence"].tolist()] if isinstance(item, Commits) else []
        assert expected == [each.tolist() for each in prepared]
