"""Lives of an engine and its follower on a disk that fails, drawn from a seed; after each death nothing may be lost.

One world is one data directory. Its processes write groups and activations, begin segments, trim, follow and restart,
until a fault comes: power loss or a killed process after any call to the disk, a write cut short, a sync that fails and
marks its pages clean, no space. Faults come during recovery as well, so that deaths nest.

INVARIANT: what a world does is a function of its seed and number alone.

Called by `test_crash` and `crash_soak`.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np

from riskengine.errors import JournalFault, JournalFull
from riskengine.journal.directory import parse_segment_name
from riskengine.journal.reader import Anchor, JournalReader, journal_exists, segments, trim
from riskengine.journal.scan import Scan
from riskengine.journal.writer import JournalWriter
from riskengine.types import words
from tests.journal import builders, rows
from tests.journal.builders import Item
from tests.journal.disks import SECTOR_BYTES, PowerLoss, SimulatedDisk

DATA_DIR = Path("data")
SEGMENT_BYTES = 8192
CRASHES_PER_WORLD = 50
SEGMENTS_KEPT_MAX = 3
"""Journals are kept short, as each recovery reads all of one."""


R = TypeVar("R")


class Killed(Exception):
    """The process is gone; what it wrote is still in the page cache."""


class Ledger:
    """What clients know: what was sent, what was acknowledged, where groups end, what was trimmed.

    Attributes:
        sent: Every item.
        acknowledged: How many of them are acknowledged.
        boundaries: Numbers of items after which no group is half.
        kept_from: So many items were trimmed.
        trimming_to: So many may be trimmed, as a trimming has not returned.
        anchors: Places, and how many items precede them.
    """

    def __init__(self) -> None:
        self.sent: list[Item] = []
        self.acknowledged = 0
        self.boundaries = {0}
        self.kept_from = 0
        self.trimming_to = 0
        self.anchors: list[tuple[Anchor, int]] = []

    def send(self, items: list[Item]) -> None:
        """Notes items that are about to be written as one frame."""
        self.sent += items
        self.boundaries.add(len(self.sent))

    def found(self, items: list[Item]) -> tuple[int, int]:
        """Checks a recovered journal: what was sent but for what was trimmed, whole groups, all that was acknowledged.

        Returns:
            How many items were trimmed, and how many the journal ever had, up to its end.
        """
        for first in sorted({self.kept_from, self.trimming_to}, reverse=True):
            count = first + len(items)
            if self.sent[first:count] == items and count >= self.acknowledged and count in self.boundaries:
                return first, count
        raise AssertionError(
            f"{len(items)} items were found; {len(self.sent)} sent, {self.acknowledged} acknowledged, "
            f"{self.kept_from} or {self.trimming_to} trimmed, groups end at {sorted(self.boundaries)}"
        )

    def settle(self, first: int, count: int) -> None:
        """Takes what was found, and is durable, for what there is: the rest was never acknowledged."""
        self.kept_from = self.trimming_to = first
        del self.sent[count:]
        self.acknowledged = count
        self.boundaries = {each for each in self.boundaries if each <= count}
        self.anchors = [(anchor, before) for anchor, before in self.anchors if first < before <= count]


class World:
    """One data directory and its processes.

    Args:
        seed: Of the run.
        number: Of the world in it.
        disk: Where it lives; for tests that break it.

    Attributes:
        crashes: Deaths so far.
        depths: How often so many processes in a row died before they had recovered.
        done: How often each thing was done.
    """

    def __init__(self, seed: int, number: int, *, disk: SimulatedDisk | None = None) -> None:
        self._rng = np.random.default_rng([seed, number])
        self._disk = disk or SimulatedDisk()
        self._ledger = Ledger()
        self._groups = 0
        self._created = False
        self.crashes = 0
        self.depths: dict[int, int] = {}
        self.done: dict[str, int] = {}

    def run(self, crashes: int = CRASHES_PER_WORLD) -> None:
        """Lives until so many deaths, then checks a last time what is left.

        Raises:
            AssertionError: Something acknowledged was lost, or something else is wrong.
        """
        depth = 0
        while self.crashes < crashes:
            recovered = self._live()
            depth = 1 if recovered else depth + 1
            self.depths[depth] = self.depths.get(depth, 0) + 1
            self.crashes += 1
        self._disk.on_call = lambda name: None
        self._recover()

    def _live(self) -> bool:
        """Starts processes and lets them work until a fault; returns whether they had recovered before it."""
        rng, disk = self._rng, self._disk
        recovered = False
        calls = int(rng.integers(0, 8 if rng.random() < 0.6 else 50))
        kills = rng.random() < 0.3
        self._arm(calls, Killed if kills else PowerLoss)
        try:
            writer = self._recover()
            recovered = True
            while True:
                self._work(writer)
        except Killed:
            self._note("killed")
        except JournalFault:
            self._note("fault")
        except PowerLoss:
            kills = False
        disk.on_call = lambda name: None
        disk.cut = lambda data, offset: None
        disk.sync_failures = disk.no_space = 0
        if not kills:
            self._note("power lost")
            self._disk = disk.after_power_loss(rng)
        return recovered

    def _arm(self, calls: int, death: type[Exception]) -> None:
        """Sets the faults that are to come: the end after so many calls, perhaps within a write, and smaller ones."""
        rng, disk = self._rng, self._disk
        done = [0]
        sync_fails_at = int(rng.integers(0, 30)) if rng.random() < 0.1 else -1

        def after_call(name: str) -> None:
            done[0] += 1
            disk.sync_failures = int(done[0] == sync_fails_at)
            if done[0] > calls:
                raise death(name)

        def cut(data: bytes, offset: int) -> int | None:
            if done[0] != calls or death is not Killed:
                return None
            kept = int(rng.integers(0, len(data)))
            # The remains of a torn frame are zeroed page by page, at least sector by sector; see `format`, "End".
            return kept if any(data) else max(0, (offset + kept) // SECTOR_BYTES * SECTOR_BYTES - offset)

        disk.on_call, disk.cut = after_call, cut
        disk.no_space = int(rng.integers(1, 4)) if rng.random() < 0.1 else 0

    def _recover(self) -> JournalWriter:
        """Reads what there is, checks it, opens it for writing, and checks that it is durable."""
        disk, ledger = self._disk, self._ledger
        if not journal_exists(DATA_DIR, disk=disk):
            assert not self._created, "a journal whose creation returned is gone"
            writer = self._retry(lambda: builders.create(DATA_DIR, disk=disk, segment_bytes=SEGMENT_BYTES))
            self._created = True
            return writer
        reader = JournalReader(DATA_DIR, disk=disk)
        first, count = ledger.found(builders.flat(reader))
        writer = JournalWriter.open(DATA_DIR, tail=reader.tail, disk=disk, segment_bytes=SEGMENT_BYTES)
        self._created = True
        ledger.settle(first, count)
        if self._rng.random() < 0.2:
            after = disk.after_power_loss(self._rng)
            assert (first, count) == ledger.found(builders.read(DATA_DIR, disk=after)), "what was recovered is durable"
        self._read_from_anchor(count)
        return writer

    def _read_from_anchor(self, count: int) -> None:
        """Reads on from a place of an earlier life."""
        ledger = self._ledger
        if not ledger.anchors:
            return
        anchor, before = ledger.anchors[int(self._rng.integers(0, len(ledger.anchors)))]
        items = builders.flat(JournalReader(DATA_DIR, disk=self._disk, start=anchor))
        assert ledger.sent[before:count] == items, "an anchor of something durable stays good"

    def _work(self, writer: JournalWriter) -> None:
        """Does one thing."""
        chance = self._rng.random()
        if chance < 0.55:
            self._commit(writer)
        elif chance < 0.65:
            self._activate(writer)
        elif chance < 0.80:
            self._retry(writer.prepare)
            self._note("prepared")
        elif chance < 0.93:
            self._trim()
        else:
            self._follow()

    def _commit(self, writer: JournalWriter) -> None:
        """Commits a group."""
        self._groups += 1
        count = int(self._rng.integers(1, 4))
        events, decisions = rows.payments(count, seed=self._groups % 25, first_sequence=writer.next_sequence)
        try:
            writer.reserve(count)
        except JournalFull:
            self._note("full")
            return
        self._ledger.send(builders.items_of(events, decisions))
        writer.append(words(events), words(decisions))
        writer.sync()
        self._ledger.acknowledged = len(self._ledger.sent)
        self._note("committed")

    def _activate(self, writer: JournalWriter) -> None:
        """Writes an activation."""
        self._groups += 1
        content = b'{"group": %d}' % self._groups
        self._ledger.send([(-self._groups, content)])
        try:
            writer.append_activation(self._groups, content)
        except JournalFull:
            self._ledger.settle(self._ledger.kept_from, len(self._ledger.sent) - 1)
            self._note("full")
            return
        writer.sync()
        self._ledger.acknowledged = len(self._ledger.sent)
        self._note("activated")

    def _trim(self) -> None:
        """Gives up old segments, if there are many, as the follower does."""
        ledger = self._ledger
        found = segments(DATA_DIR, self._disk)
        if len(found) == 1:
            return
        first = int(self._rng.integers(max(1, len(found) - SEGMENTS_KEPT_MAX), len(found)))
        frames = Scan(self._disk, DATA_DIR).frames()
        trimmed = sum(max(1, f.row_count) for f in frames if _index(f.name) < found[first].index)
        ledger.trimming_to = ledger.kept_from + trimmed
        try:
            trim(DATA_DIR, first_kept_index=found[first].index, disk=self._disk)
        except OSError:
            self._note("full")
            return
        ledger.kept_from = ledger.trimming_to
        self._note("trimmed")

    def _follow(self) -> None:
        """Reads live, and remembers a place."""
        reader = JournalReader(DATA_DIR, disk=self._disk, live=True, chunk_rows_max=4)
        places = [(reader.position, len(builders.items_in(item))) for item in reader]
        before = self._ledger.kept_from
        for anchor, count in places:
            before += count
            self._ledger.anchors.append((anchor, before))
        assert before == len(self._ledger.sent)
        self._ledger.anchors = self._ledger.anchors[-20:]
        self._note("followed")

    def _retry(self, call: Callable[[], R]) -> R:
        """Calls until there is space."""
        while True:
            try:
                return call()
            except JournalFull:
                self._note("full")

    def _note(self, what: str) -> None:
        self.done[what] = self.done.get(what, 0) + 1


def _index(name: str) -> int:
    parsed = parse_segment_name(name)
    assert parsed is not None
    return parsed[1]
