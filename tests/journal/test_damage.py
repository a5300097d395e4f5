"""Frames and segments that are not where they were written (F6), disks that lie (F10), newer versions (F28)."""

import itertools
import logging
from collections.abc import Callable, Iterator
from zlib import crc32

import pytest

from riskengine.errors import JournalCorrupt, StartRefused
from riskengine.journal import format as fmt
from riskengine.journal.reader import JournalReader
from riskengine.journal.scan import Scan
from riskengine.journal.writer import JournalWriter, read_tail
from tests.journal import builders
from tests.journal.damaged import DATA_DIR, FOLDER, Journal
from tests.journal.disks import Inode, SimulatedDisk


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Keeps thousands of expected warnings away."""
    with caplog.at_level(logging.ERROR):
        yield


def orders(count: int) -> Iterator[tuple[int, ...]]:
    """Yields ways in which `count` frames may come wrong: two swapped, one missing, one repeated anywhere behind itself."""
    for first, second in itertools.combinations(range(count), 2):
        swapped = list(range(count))
        swapped[first], swapped[second] = second, first
        yield tuple(swapped)
        yield (*range(second), first, *range(second, count))
    for missing in range(count - 1):
        yield (*range(missing), *range(missing + 1, count))
        yield (*range(missing + 1), *range(missing, count))


@pytest.mark.parametrize("place", ["first segment", "last segment"])
def test_f6_frames_that_were_moved_are_told(place: str) -> None:
    """Goal: F6. Method: swap any two frames, repeat or remove any; the rest moves up, zeros follow."""
    journal = Journal(groups=12, last_rows=1)
    name = journal.names[0 if place == "first segment" else -1]
    content = journal.bytes_of(name)
    whole = bytes(content)
    spans = journal.frames_of(name)
    frames = [whole[start:end] for start, end in spans]
    tried = 0
    for order in orders(len(frames)):
        moved = b"".join(frames[index] for index in order)
        content[spans[0][0] :] = moved.ljust(len(whole) - spans[0][0], b"\0")[: len(whole) - spans[0][0]]
        with pytest.raises(JournalCorrupt, match=r"does not follow|goes beyond|bytes where|damaged"):
            journal.read()
        tried += 1
    assert tried >= 12


def test_f6_frames_of_other_segments_are_told() -> None:
    """Goal: F6. Method: put each frame in the place of each other one of the same length in another segment."""
    journal = Journal(groups=24, last_rows=1)
    tried = 0
    for (name, start, end), (other, first, last) in itertools.permutations(journal.frames, 2):
        if name == other or end - start != last - first:
            continue
        kept = bytes(journal.bytes_of(name)[start:end])
        journal.bytes_of(name)[start:end] = journal.bytes_of(other)[first:last]
        with pytest.raises(JournalCorrupt, match="does not follow"):
            journal.read()
        journal.bytes_of(name)[start:end] = kept
        tried += 1
    assert tried >= 20


@pytest.mark.parametrize("order", [(1, 0, 2), (0, 0, 2), (0, 2, 2), (2, 1, 0)])
def test_f6_activations_that_were_moved_are_told(order: tuple[int, ...]) -> None:
    """Goal: the chain tells what sequences cannot. Method: swap and repeat frames that all carry the same sequence."""
    disk = SimulatedDisk()
    writer = builders.create(DATA_DIR, disk=disk)
    for revision in range(1, 4):
        builders.activate(writer, revision)
    spans = [(f.offset, f.offset + f.size_bytes) for f in Scan(disk, DATA_DIR).frames()]
    (inode,) = disk.entries.values()
    frames = [bytes(inode.cache[start:end]) for start, end in spans]
    inode.cache[spans[0][0] : spans[-1][1]] = b"".join(frames[index] for index in order)

    with pytest.raises(JournalCorrupt, match="does not follow"):
        builders.read(DATA_DIR, disk=disk)


def test_f6_segments_that_were_moved_are_told() -> None:
    """Goal: F6. Method: remove any segment but the last, put any in the place of any other, with its name or its content."""
    names = Journal(groups=24).names
    assert len(names) >= 4
    for missing in names[:-1]:
        journal = Journal(groups=24)
        del journal.disk.entries[FOLDER / missing]
        with pytest.raises(JournalCorrupt, match="missing"):
            journal.read()
    for name, other in itertools.permutations(names, 2):
        journal = Journal(groups=24)
        entries = journal.disk.entries
        entries[FOLDER / name] = Inode(bytearray(entries[FOLDER / other].cache))
        with pytest.raises(JournalCorrupt, match="another file name"):
            journal.read()
    for name, other in itertools.combinations(names, 2):
        journal = Journal(groups=24)
        entries = journal.disk.entries
        entries[FOLDER / name], entries[FOLDER / other] = entries[FOLDER / other], entries[FOLDER / name]
        with pytest.raises(JournalCorrupt, match="another file name"):
            journal.read()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("renamed", "another file name"),
        ("no segment's name", "missing"),
        ("lengthened", "bytes instead of"),
        ("empty", "no valid segment header"),
        ("foreign", "does not follow|another journal"),
        ("repeated", "another file name"),
    ],
)
def test_f6_files_that_are_no_segments_of_the_journal_are_told(damage: str, message: str) -> None:
    """Goal: F6. Method: rename or lengthen a segment, empty it, take one of another journal, repeat the last one."""
    journal = Journal()
    entries = journal.disk.entries
    first, second = (FOLDER / name for name in journal.names)
    match damage:
        case "renamed":
            entries[FOLDER / first.name.replace("-00000000", "-00000002")] = entries.pop(first)
        case "no segment's name":
            entries[FOLDER / "copy.journal"] = entries.pop(first)
        case "lengthened":
            entries[second].cache.append(0)
        case "empty":
            entries[second] = Inode()
        case "foreign":
            other = SimulatedDisk()
            writer = JournalWriter.create(DATA_DIR, journal_id=bytes(16), disk=other, segment_bytes=5632)
            builders.activate(writer, 1)
            for group in range(5):
                builders.commit(writer, 1 + group % 2, seed=group)
            builders.commit(writer, 2, seed=77)
            entries[second] = other.entries[second]
        case "repeated":
            entries[FOLDER / second.name.replace("-00000001", "-00000002")] = Inode(bytearray(entries[second].cache))

    with pytest.raises(JournalCorrupt, match=message):
        journal.read()


@pytest.mark.parametrize("index", [0, 1, 3, 4])
def test_f10_frame_that_the_disk_lost_is_told(index: int) -> None:
    """Goal: F10, a disk that claimed to have written. Method: zero a whole frame that has successors."""
    journal = Journal()
    name, start, end = journal.frames[index]
    journal.bytes_of(name)[start:end] = bytes(end - start)

    with pytest.raises(JournalCorrupt) as caught:
        journal.read()
    assert (name, start) == (caught.value.file, caught.value.offset)


class LyingDisk(SimulatedDisk):
    """A disk that claims to have written.

    Attributes:
        lie: What one write becomes: takes its data and offset, returns both.
        lies_at: Which write it is, from 1.
        written: Lengths of the writes so far.
    """

    def __init__(self, lie: Callable[[bytes, int], tuple[bytes, int]], lies_at: int) -> None:
        super().__init__()
        self.lie = lie
        self.lies_at = lies_at
        self.written: list[int] = []

    def write(self, descriptor: int, data: bytes, offset: int) -> int:
        self.written.append(len(data) if any(data) else 0)
        if len(self.written) == self.lies_at:
            kept, at = self.lie(data, offset)
            room = len(self.descriptors[descriptor].cache) - at
            super().write(descriptor, kept[: max(0, room)], min(at, at + room))
            return len(data)
        return super().write(descriptor, data, offset)


LIES: dict[str, Callable[[bytes, int], tuple[bytes, int]]] = {
    "nothing is written": lambda data, offset: (b"", offset),
    "a byte is missing at the end": lambda data, offset: (data[:-1], offset),
    "half is written": lambda data, offset: (data[: len(data) // 2], offset),
    "the first sector is missing": lambda data, offset: (data[512:], offset + min(len(data), 512)),
    "8 bytes too far": lambda data, offset: (data, offset + 8),
    "a sector too far": lambda data, offset: (data, offset + 512),
    "a sector too early": lambda data, offset: (data, max(0, offset - 512)),
    "other bytes": lambda data, offset: (bytes(len(data) - 8) + b"otherbyt", offset),
}


@pytest.mark.parametrize("lie", LIES)
def test_f10_a_disk_that_lies_is_found_out_by_the_next_start(lie: str) -> None:
    """Goal: F10, 100 %. Method: each write of frames and headers in turn is claimed and not made as told.

    The last frame alone cannot be told from a torn one where zeros are left; two follow here.
    """
    honest = Journal(groups=8, disk=LyingDisk(LIES[lie], lies_at=0))
    assert isinstance(honest.disk, LyingDisk)
    sizes = honest.disk.written
    found = 0
    for write in range(1, len(sizes) - 1):
        if sizes[write - 1] == 0 or (lie == "a sector too early" and sizes[write - 1] == fmt.SEGMENT_HEADER_BYTES):
            continue
        disk = LyingDisk(LIES[lie], lies_at=write)
        writer = builders.create(DATA_DIR, disk=disk, segment_bytes=5632)
        builders.activate(writer, 1)
        for group in range(8):
            builders.commit(writer, 1 + group % 2, seed=group)
        builders.commit(writer, 2, seed=77)
        with pytest.raises(JournalCorrupt):
            read_tail(DATA_DIR, disk=disk)
        found += 1

    assert found >= 7


def test_f28_journal_of_a_newer_engine_is_refused() -> None:
    """Goal: F28. Method: a segment and a frame of a later version, otherwise sound."""
    journal = Journal(groups=1)
    name, start, _ = journal.frames[-1]
    content = journal.bytes_of(name)
    header = fmt.SegmentHeader.unpack(bytes(content[:72]))
    assert header is not None
    fields = list(fmt.FRAME_HEADER.unpack_from(content, start))
    fields[5] += 1
    head = fmt.FRAME_HEADER.pack(*fields)[:36]
    content[start : start + 40] = head + crc32(head, fmt.crc_seed(header.journal_id)).to_bytes(4, "little")
    with pytest.raises(StartRefused, match="newer version"):
        journal.read()

    newer = fmt.SegmentHeader(
        journal_id=header.journal_id,
        index=0,
        first_sequence=1,
        previous_hash=fmt.NO_HASH,
        segment_bytes=4096,
        format_version=fmt.FORMAT_VERSION + 1,
    )
    content[:72] = newer.pack()
    with pytest.raises(StartRefused, match="newer version"):
        JournalReader(DATA_DIR, disk=journal.disk).__iter__().__next__()
