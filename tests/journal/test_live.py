"""Reading while somebody writes: each frame once, in order, whole, and never a false alarm."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from riskengine.errors import JournalCorrupt
from riskengine.journal.reader import Anchor, JournalReader, journal_exists, trim, verify
from riskengine.journal.scan import Scan
from riskengine.journal.writer import JournalWriter
from tests.journal import builders, writing
from tests.journal.builders import Item
from tests.journal.disks import SimulatedDisk

DATA_DIR = Path("data")
ROOT = Path(__file__).resolve().parents[2]


def writer_process(data_dir: Path, *, last: int, lives: int = 1, synced: bool = False) -> subprocess.Popen[bytes]:
    """Starts a writer."""
    command = [sys.executable, "-m", "tests.journal.writing", str(data_dir), f"--last={last}", f"--lives={lives}"]
    return subprocess.Popen([*command, "--synced"] if synced else command, cwd=ROOT)


class Follower:
    """Follows a journal in one of two ways: by one reader, or by a new one for each pass.

    Attributes:
        position: Behind the last item seen; None before the first pass.
        passes: How often it looked.
    """

    def __init__(self, data_dir: Path, *, anew: bool, trims: bool = False) -> None:
        self.data_dir = data_dir
        self.position: Anchor | None = None
        self.passes = 0
        self._anew = anew
        self._trims = trims
        self._reader: JournalReader | None = None

    def look(self) -> Iterator[Item]:
        """Yields what is new."""
        if not journal_exists(self.data_dir):
            return
        self.passes += 1
        if self._reader is None or self._anew:
            self._reader = JournalReader(self.data_dir, start=self.position, live=True, chunk_rows_max=64)
        for item in self._reader:
            yield from builders.items_in(item)
        self.position = self._reader.position
        if self._trims and self.passes % 16 == 0:
            trim(self.data_dir, first_kept_index=self.position.segment_index)


@pytest.mark.parametrize("synced", [True, False], ids=["synced, one reader", "unsynced, a new reader each pass"])
def test_follower_sees_each_frame_once_while_another_process_writes(tmp_path: Path, synced: bool) -> None:
    """Goal: no frame twice, missing, half, or told to be corrupt. Method: a real writer, several segments and lives.

    The follower also trims what is behind it; every item is compared with what the writer was to write.
    """
    last = 500 if synced else 4000
    follower = Follower(tmp_path, anew=not synced, trims=not synced)
    story = (item for frame in writing.expected(last=last) for item in frame)
    with writer_process(tmp_path, last=last, lives=4, synced=synced) as process:
        ended = False
        while not ended:
            ended = process.poll() is not None
            for item in follower.look():
                assert next(story) == item
        assert 0 == process.returncode

    assert [] == list(story)
    assert follower.position is not None
    assert follower.position.segment_index >= 3
    assert follower.passes >= 20


def test_verify_beside_a_writer_never_cries_wolf(tmp_path: Path) -> None:
    """Goal: `journal verify` and `replay` may run beside the engine. Method: verify in a loop while a process writes."""
    last = 3000
    found = [0]
    with writer_process(tmp_path, last=last) as process:
        while process.poll() is None:
            if journal_exists(tmp_path):
                found.append(verify(tmp_path).frame_count)
        assert 0 == process.returncode

    assert sorted(found) == found
    assert last == verify(tmp_path).frame_count
    assert len(found) >= 5


class RacingDisk(SimulatedDisk):
    """A disk whose last segment is being written while it is read.

    Before each reading so many frames become whole as chance wills; of those that are written while it lasts, any bytes
    are seen, and zeros in place of the others.
    """

    def __init__(self, whole: SimulatedDisk, ends: list[int], rng: np.random.Generator) -> None:
        super().__init__()
        self.entries = dict(whole.entries)
        self._ends = ends
        self._rng = rng
        self._last = max(self.entries)
        self.written = 0

    def read(self, path: Path, offset: int = 0, size_bytes: int | None = None) -> bytes:
        content = super().read(path, offset, size_bytes)
        if path != self._last or size_bytes == 72:
            return content
        before = min(self.written + int(self._rng.integers(0, 3)), len(self._ends) - 1)
        self.written = min(before + int(self._rng.integers(0, 4)), len(self._ends) - 1)
        seen = np.frombuffer(content, np.uint8).copy()
        at = np.arange(offset, offset + len(seen))
        seen[at >= self._ends[self.written]] = 0
        under_way = at >= self._ends[before]
        pieces = self._rng.random(len(seen) // 8 + 1) < self._rng.choice([0.1, 0.5, 0.9])
        seen[under_way & np.repeat(pieces, 8)[: len(seen)]] = 0
        return seen.tobytes()


@pytest.mark.parametrize("seed", range(4))
def test_any_view_of_frames_under_way_is_taken_for_what_it_is(seed: int) -> None:
    """Goal: no assumption on how reads and writes interleave. Method: readings that mix bytes and zeros, 100 times."""
    disk = SimulatedDisk()
    writer = builders.create(DATA_DIR, disk=disk, segment_bytes=32768)
    items, borders = [], [(0, 72)]
    for group in range(30):
        items += builders.commit(writer, 1 + group % 4, seed=group)
    borders += [(f.row_count, f.offset + f.size_bytes) for f in Scan(disk, DATA_DIR).frames()]
    for trial in range(100):
        racing = RacingDisk(disk, [end for _, end in borders], np.random.default_rng(seed * 1000 + trial))
        reader = JournalReader(DATA_DIR, disk=racing, live=True)
        seen: list[Item] = []
        while len(seen) < len(items):
            whole = racing.written
            for item in reader:
                seen += builders.items_in(item)
            assert items[: len(seen)] == seen
            assert len(seen) >= sum(count for count, _ in borders[: whole + 1]), "what was whole before is seen"


@pytest.mark.parametrize("seed", range(2))
def test_reader_at_rest_is_not_misled_by_frames_under_way(seed: int) -> None:
    """Goal: `verify` beside a writer. Method: as above, reading at rest; it tells a beginning, all that was whole in it."""
    disk = SimulatedDisk()
    writer = builders.create(DATA_DIR, disk=disk, segment_bytes=32768)
    items = [item for group in range(30) for item in builders.commit(writer, 1, seed=group)]
    ends = [72, *(frame.offset + frame.size_bytes for frame in Scan(disk, DATA_DIR).frames())]
    for trial in range(200):
        racing = RacingDisk(disk, ends, np.random.default_rng(seed * 1000 + trial))
        racing.written = int(np.random.default_rng(trial).integers(0, 30))
        whole = racing.written
        seen = builders.read(DATA_DIR, disk=racing)
        assert items[: len(seen)] == seen
        assert len(seen) >= whole


def damaged(*, frame: int, position: int, groups: int = 8) -> tuple[SimulatedDisk, list[Item], str, int]:
    """Returns a journal with a byte wrong in one of its last frames, what is in it, and the place of that frame."""
    disk = SimulatedDisk()
    writer = builders.create(DATA_DIR, disk=disk, segment_bytes=16384)
    items = [item for group in range(groups) for item in builders.commit(writer, 1, seed=group)]
    found = list(Scan(disk, DATA_DIR).frames())[frame]
    (inode,) = disk.entries.values()
    inode.cache[found.offset + position % found.size_bytes] ^= 64
    return disk, items, found.name, found.offset


@pytest.mark.parametrize("position", [0, 8, 20, 36, 41, 200, -1, -5])
def test_damage_is_told_live_when_something_valid_follows(position: int) -> None:
    """Goal: F6 for followers. Method: a wrong byte in the last frame but one, live: told with its place, after the rest."""
    disk, items, name, offset = damaged(frame=-2, position=position)
    seen: list[Item] = []
    reader = JournalReader(DATA_DIR, disk=disk, live=True)
    with pytest.raises(JournalCorrupt) as caught:
        seen.extend(each for item in reader for each in builders.items_in(item))

    assert items[:-2] == seen, "all that precedes the damage is there"
    assert (name, offset) == (caught.value.file, caught.value.offset)


@pytest.mark.parametrize("position", [0, 20, 36, 41, -1])
def test_damage_at_the_very_end_waits_for_the_next_frame(position: int) -> None:
    """Goal: what may be a write under way is no alarm. Method: a wrong byte in the last frame; silence until one follows."""
    disk, items, name, offset = damaged(frame=-1, position=position)
    reader = JournalReader(DATA_DIR, disk=disk, live=True)
    assert items[:-1] == builders.flat(reader)
    assert [] == list(reader)
    with pytest.raises(JournalCorrupt):
        builders.read(DATA_DIR, disk=disk)
    more, *_ = damaged(frame=-2, position=position, groups=9)
    disk.entries = more.entries

    with pytest.raises(JournalCorrupt, match="valid one behind") as caught:
        list(reader)
    assert (name, offset) == (caught.value.file, caught.value.offset)


def test_frame_that_a_dead_engine_left_torn_is_passed_over() -> None:
    """Goal: a follower outlives the engine. Method: cut the last frame; follow; the next engine goes on with a shorter one."""
    disk = SimulatedDisk()
    writer = builders.create(DATA_DIR, disk=disk, segment_bytes=16384)
    items = builders.commit(writer, 2)
    builders.commit(writer, 9)
    (inode,) = disk.entries.values()
    (_, torn) = Scan(disk, DATA_DIR).frames()
    inode.cache[torn.offset + 700 :] = bytes(len(inode.cache) - torn.offset - 700)
    reader = JournalReader(DATA_DIR, disk=disk, live=True)
    seen = builders.flat(reader)
    writer = JournalWriter.open(DATA_DIR, disk=disk, segment_bytes=16384)
    seen += builders.flat(reader)
    items += builders.commit(writer, 1, seed=5) + builders.commit(writer, 3, seed=6)
    seen += builders.flat(reader)

    assert items == seen


def test_live_pass_reads_little_when_nothing_is_new(tmp_path: Path) -> None:
    """Goal: a follower may look often. Method: count the bytes read by a pass at the end of a large segment."""
    disk = SimulatedDisk()
    builders.commit(builders.create(DATA_DIR, disk=disk, segment_bytes=1 << 20), 500)
    reader = JournalReader(DATA_DIR, disk=disk, live=True)
    list(reader)
    sizes: list[int] = []

    def read(path: Path, offset: int = 0, size_bytes: int | None = None) -> bytes:
        found = SimulatedDisk.read(disk, path, offset, size_bytes)
        sizes.append(len(found))
        return found

    disk.read = read  # type: ignore[method-assign]

    assert [] == list(reader)
    assert sum(sizes) < 300_000
