"""A journal in memory that tests damage, and what a reader says of it.

Called by tests/journal.
"""

from pathlib import Path

from riskengine.errors import JournalCorrupt
from riskengine.journal.places import Tail
from riskengine.journal.scan import Scan
from riskengine.journal.writer import read_tail
from tests.journal import builders
from tests.journal.builders import Item
from tests.journal.disks import SimulatedDisk

DATA_DIR = Path("data")
FOLDER = DATA_DIR / "journal"


class Journal:
    """A journal in memory that tests damage.

    Attributes:
        disk: Where it lives.
        items: What is in it.
        frames: Segment name, first byte and end of each frame.
        last_items: How many items the last frame holds.
    """

    def __init__(
        self, *, groups: int = 5, last_rows: int = 2, segment_bytes: int = 5632, disk: SimulatedDisk | None = None
    ) -> None:
        self.disk = disk or SimulatedDisk()
        writer = builders.create(DATA_DIR, disk=self.disk, segment_bytes=segment_bytes)
        self.items: list[Item] = builders.activate(writer, 1)
        for group in range(groups):
            self.items += builders.commit(writer, 1 + group % 2, seed=group)
        self.items += builders.commit(writer, last_rows, seed=77) if last_rows else builders.activate(writer, 2)
        self.last_items = last_rows or 1
        self.frames = [(f.name, f.offset, f.offset + f.size_bytes) for f in Scan(self.disk, DATA_DIR).frames()]

    @property
    def names(self) -> list[str]:
        return sorted(path.name for path in self.disk.entries)

    def bytes_of(self, name: str) -> bytearray:
        return self.disk.entries[FOLDER / name].cache

    def frames_of(self, name: str) -> list[tuple[int, int]]:
        """Returns first byte and end of each frame of a segment."""
        return [(start, end) for holder, start, end in self.frames if holder == name]

    def read(self) -> list[Item]:
        return builders.read(DATA_DIR, disk=self.disk)

    def tail(self) -> Tail | None:
        """Returns where the journal ends, or None if it is told to be corrupt, at a place in it."""
        try:
            return read_tail(DATA_DIR, disk=self.disk)
        except JournalCorrupt as error:
            found = error
        assert 1 <= found.sequence <= self.items[-1][0] + 1
        assert found.file in self.names
        return None
