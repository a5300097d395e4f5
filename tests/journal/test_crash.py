"""Power loss at every call, on a simulated disk: nothing acknowledged is lost, no half group found (F2 to F5, F8)."""

from pathlib import Path

import numpy as np
import pytest

from riskengine.errors import JournalCorrupt, JournalFault, StartRefused
from riskengine.journal.reader import JournalReader
from riskengine.journal.writer import JournalWriter
from riskengine.types import words
from tests.journal import builders, rows
from tests.journal.builders import Item
from tests.journal.disks import PowerLoss, SimulatedDisk, stop_after

DATA_DIR = Path("data")
SEGMENT_BYTES = 8192
LOSSES_PER_CALL = 18
POINTS_MIN = 2000


class Ledger:
    """What a client knows: what it sent, and what was acknowledged."""

    def __init__(self) -> None:
        self.sent: list[Item] = []
        self.acknowledged = 0
        self.boundaries = [0]

    def expect(self, items: list[Item]) -> None:
        """Checks a recovered journal: a beginning of what was sent, whole groups, all that was acknowledged."""
        assert len(items) >= self.acknowledged, f"{self.acknowledged - len(items)} acknowledged items were lost"
        assert len(items) in self.boundaries, "half a group was found"
        assert self.sent[: len(items)] == items


def run(disk: SimulatedDisk, ledger: Ledger, *, groups: int, seed: int) -> None:
    """Creates a journal and commits groups of 1 to 3 payments, with an activation now and then."""
    rng = np.random.default_rng(seed)
    writer = builders.create(DATA_DIR, disk=disk, segment_bytes=SEGMENT_BYTES)
    for group in range(groups):
        events, decisions = rows.payments(int(rng.integers(1, 4)), seed=group, first_sequence=writer.next_sequence)
        if group % 7 == 3:
            ledger.sent.append((-group, b'{"group": %d}' % group))
            ledger.boundaries.append(len(ledger.sent))
            writer.append_activation(group, b'{"group": %d}' % group)
            writer.sync()
            ledger.acknowledged = len(ledger.sent)
        ledger.sent += builders.items_of(events, decisions)
        ledger.boundaries.append(len(ledger.sent))
        writer.reserve(len(events))
        writer.append(words(events), words(decisions))
        writer.sync()
        ledger.acknowledged = len(ledger.sent)
        if group % 3:
            writer.prepare()


def recover(disk: SimulatedDisk) -> list[Item]:
    """Returns what a restarted process reads."""
    try:
        return builders.read(DATA_DIR, disk=disk)
    except StartRefused:
        return []


def recover_with_losses(disk: SimulatedDisk, ledger: Ledger, rng: np.random.Generator) -> None:
    """Restarts on what is left of a disk; loses power up to twice while opening, then goes on and loses it again."""
    for _ in range(3):
        items = recover(disk)
        ledger.expect(items)
        if not items:
            return
        disk.on_call = stop_after(int(rng.integers(0, 12)))
        try:
            writer = JournalWriter.open(DATA_DIR, disk=disk, segment_bytes=SEGMENT_BYTES)
            break
        except PowerLoss:
            disk = disk.after_power_loss(rng)
    else:
        return
    disk.on_call = lambda name: None
    found = recover(disk)
    ledger.expect(found)
    after = disk.after_power_loss(rng)
    assert found == recover(after), "what a process has read at its start is durable when it goes on"
    more = builders.commit(writer, 2, seed=99)
    assert found + more == recover(disk.after_power_loss(rng))


def count_points(disk: SimulatedDisk, *, seed: int, groups: int = 28) -> int:
    """Runs the workload with several power losses at each call, recovers from each, and returns their number."""
    ledger, rng, points = Ledger(), np.random.default_rng(seed), 0

    def lose_power(name: str) -> None:
        nonlocal points
        for _ in range(LOSSES_PER_CALL):
            points += 1
            recover_with_losses(disk.after_power_loss(rng), ledger, rng)

    disk.on_call = lose_power
    run(disk, ledger, groups=groups, seed=seed)
    return points


def test_power_loss_at_any_call_loses_nothing_acknowledged() -> None:
    """Goal: F2, F3, F4. Method: 2,000 losses, over all calls of a run, any unsynced sectors kept, and in opening."""
    assert count_points(SimulatedDisk(), seed=1) >= POINTS_MIN


def test_power_loss_is_noticed_without_fdatasync() -> None:
    """Goal: the test above is awake. Method: the same, on a disk whose sync does nothing."""
    disk = SimulatedDisk()
    disk.sync_is_real = False

    with pytest.raises((AssertionError, JournalCorrupt)):
        count_points(disk, seed=1)


def test_frame_whose_sync_failed_is_made_durable_by_the_next_process() -> None:
    """Goal: F8 and the page cache: pages are marked clean after a failed sync, so syncing again would do nothing.

    Method: the sync fails, the next process reads the frame from the cache and goes on; then power is lost.
    """
    disk = SimulatedDisk()
    writer = builders.create(DATA_DIR, disk=disk, segment_bytes=SEGMENT_BYTES)
    items = builders.commit(writer, 2)
    disk.sync_failures = 1
    with pytest.raises(JournalFault):
        builders.commit(writer, 1)
    read = recover(disk)
    JournalWriter.open(DATA_DIR, disk=disk, segment_bytes=SEGMENT_BYTES)

    assert len(items) + 1 == len(read)
    for seed in range(20):
        assert read == recover(disk.after_power_loss(np.random.default_rng(seed)))


def test_torn_frame_is_zeroed_before_the_journal_goes_on() -> None:
    """Goal: a short frame over a torn one leaves none of it. Method: lose a sector of 3 rows, then write 1 row."""
    disk = SimulatedDisk()
    writer = builders.create(DATA_DIR, disk=disk, segment_bytes=SEGMENT_BYTES)
    kept = builders.commit(writer, 1)
    builders.commit(writer, 3)
    (inode,) = disk.entries.values()
    inode.cache[512:1024] = bytes(512)
    reader = JournalReader(DATA_DIR, disk=disk)
    list(reader)
    torn_bytes = reader.tail.torn_bytes
    writer = JournalWriter.open(DATA_DIR, disk=disk, segment_bytes=SEGMENT_BYTES)
    more = builders.commit(writer, 1, seed=5)

    assert torn_bytes > 512
    assert kept + more == recover(disk)
