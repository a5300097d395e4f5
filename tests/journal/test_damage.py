"""Damage of every kind (F5, F6, F10): what is torn is dropped and logged, what is corrupt is told."""

import itertools
import logging
from collections.abc import Iterator
from pathlib import Path
from zlib import crc32

import numpy as np
import pytest

from riskengine.errors import JournalCorrupt, StartRefused
from riskengine.journal import format as fmt
from riskengine.journal.places import Tail
from riskengine.journal.reader import JournalReader, verify
from riskengine.journal.scan import Scan
from riskengine.journal.writer import JournalWriter, read_tail
from tests.journal import builders
from tests.journal.builders import Item
from tests.journal.disks import Inode, SimulatedDisk

DATA_DIR = Path("data")


class Journal:
    """A journal in memory that tests damage.

    Attributes:
        disk: Where it lives.
        items: What is in it.
        frames: Segment name, first byte and end of each frame.
        last_items: How many items the last frame holds.
    """

    def __init__(self, *, groups: int = 5, last_rows: int = 2, segment_bytes: int = 5632) -> None:
        self.disk = SimulatedDisk()
        writer = builders.create(DATA_DIR, disk=self.disk, segment_bytes=segment_bytes)
        self.items: list[Item] = builders.activate(writer, 1)
        for group in range(groups):
            self.items += builders.commit(writer, 1 + group % 2, seed=group)
        self.items += builders.commit(writer, last_rows, seed=77)
        self.last_items = last_rows
        self.frames = [(f.name, f.offset, f.offset + f.size_bytes) for f in Scan(self.disk, DATA_DIR).frames()]

    @property
    def names(self) -> list[str]:
        return sorted(path.name for path in self.disk.entries)

    def bytes_of(self, name: str) -> bytearray:
        return self.disk.entries[DATA_DIR / "journal" / name].cache

    def read(self) -> list[Item]:
        return builders.read(DATA_DIR, disk=self.disk)


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Keeps thousands of expected warnings away."""
    with caplog.at_level(logging.ERROR):
        yield


def test_every_flipped_bit_is_told_or_harmless() -> None:
    """Goal: F6. Method: flip each bit of two segments; one behind the end may pass, and then all items are there.

    Of the zeros behind the frames every 13th bit is flipped.
    """
    journal = Journal()
    end = journal.frames[-1][2]
    last_name = journal.names[-1]
    assert 2 == len(journal.names)
    told = passed = 0
    for name in journal.names:
        content = journal.bytes_of(name)
        used_bits = 8 * max(frame[2] for frame in journal.frames if frame[0] == name)
        for position in itertools.chain(range(used_bits), range(used_bits, 8 * len(content), 13)):
            content[position // 8] ^= 1 << position % 8
            tail = tail_or_none(journal)
            if tail is None:
                told += 1
            else:
                passed += 1
                assert (last_name, True) == (name, position // 8 >= end), "only bits behind the end may pass"
                assert (end, True) == (tail.offset, tail.torn_bytes > 0)
            content[position // 8] ^= 1 << position % 8

    assert told > 8 * end
    assert passed > 0
    assert journal.items == journal.read()


def tail_or_none(journal: Journal) -> Tail | None:
    """Returns where a journal ends, or None if it is told to be corrupt, at a place in it."""
    try:
        return read_tail(DATA_DIR, disk=journal.disk)
    except JournalCorrupt as error:
        found = error
    assert 1 <= found.sequence <= journal.items[-1][0] + 1
    assert found.file in journal.names
    return None


def test_overwritten_bytes_are_told() -> None:
    """Goal: F6. Method: 8 random bytes anywhere in what was written, 2,000 times."""
    journal, rng = Journal(), np.random.default_rng(1)
    for _ in range(2000):
        name = journal.names[int(rng.integers(0, 2))]
        content = journal.bytes_of(name)
        top = journal.frames[-1][2] if name == journal.names[-1] else len(content)
        start = int(rng.integers(0, top - 8))
        kept, content[start : start + 8] = content[start : start + 8], rng.bytes(8)
        with pytest.raises(JournalCorrupt):
            read_tail(DATA_DIR, disk=journal.disk)
        content[start : start + 8] = kept


@pytest.mark.parametrize("last_rows", [1, 2])
def test_last_frame_cut_at_any_byte_is_dropped(last_rows: int) -> None:
    """Goal: F5. Method: zero the last frame from each of its bytes on; all earlier frames are there."""
    journal = Journal(last_rows=last_rows)
    name, start, end = journal.frames[-1]
    content = journal.bytes_of(name)
    whole = bytes(content)
    for cut in range(start, end):
        content[cut:end] = bytes(end - cut)
        tail = read_tail(DATA_DIR, disk=journal.disk)
        assert start == tail.offset
        assert len(content[start:cut].rstrip(b"\0")) <= tail.torn_bytes <= end - start
        if cut % 29 == 0:
            assert journal.items[:-last_rows] == journal.read()
        content[start:end] = whole[start:end]


@pytest.mark.parametrize("groups", range(3, 9))
def test_any_sectors_of_the_last_frame_may_be_missing(groups: int) -> None:
    """Goal: F5. Method: zero each subset of the frame's chunks, for frames at several places within their sectors."""
    journal = Journal(groups=groups, last_rows=5, segment_bytes=16384)
    name, start, end = journal.frames[-1]
    content = journal.bytes_of(name)
    whole = bytes(content)
    borders = [start, *range((start // 512 + 1) * 512, end, 512), end]
    chunks = list(itertools.pairwise(borders))
    for subset in range(1, 2 ** len(chunks)):
        for index, (first, last) in enumerate(chunks):
            if subset >> index & 1:
                content[first:last] = bytes(last - first)
        assert start == read_tail(DATA_DIR, disk=journal.disk).offset, f"chunks {subset:b} of {chunks}"
        assert journal.items[:-5] == journal.read()
        content[start:end] = whole[start:end]


def test_torn_tail_is_logged_with_file_and_offset(caplog: pytest.LogCaptureFixture) -> None:
    """Goal: nothing is dropped in silence. Method: tear the last frame and read."""
    journal = Journal()
    name, start, end = journal.frames[-1]
    journal.bytes_of(name)[start + 100 : end] = bytes(end - start - 100)
    with caplog.at_level(logging.WARNING):
        summary = verify(DATA_DIR, disk=journal.disk)

    assert [(name, start)] == [record.args[:2] for record in caplog.records if isinstance(record.args, tuple)]
    assert end - start == summary.torn_bytes
    assert len(journal.frames) - 1 == summary.frame_count


@pytest.mark.parametrize("index", [0, 1, 3, 4])
def test_lost_write_is_told(index: int) -> None:
    """Goal: F10, a disk that claimed to have written. Method: zero a whole frame that has successors."""
    journal = Journal()
    name, start, end = journal.frames[index]
    journal.bytes_of(name)[start:end] = bytes(end - start)

    with pytest.raises(JournalCorrupt) as caught:
        journal.read()
    assert (name, start) == (caught.value.file, caught.value.offset)


def test_frames_that_were_moved_are_told() -> None:
    """Goal: F6. Method: swap two frames of equal length, repeat one at the end, remove one and close the gap."""
    journal = Journal(groups=1, segment_bytes=16384)
    writer = JournalWriter.open(DATA_DIR, disk=journal.disk, segment_bytes=16384)
    for _ in range(2):
        builders.commit(writer, 1, seed=5)
    frames = [(f.offset, f.offset + f.size_bytes) for f in Scan(journal.disk, DATA_DIR).frames()]
    content = journal.bytes_of(journal.names[0])
    whole = bytes(content)
    (a, b), (c, d) = frames[-2:]
    assert b - a == d - c
    repeated = whole[:d] + whole[c:d] + whole[d + d - c :]
    removed = whole[:a] + whole[c:] + bytes(b - a)
    swapped = whole[:a] + whole[c:d] + whole[a:b] + whole[d:]

    for damaged in (swapped, repeated, removed):
        assert len(whole) == len(damaged)
        content[:] = damaged
        with pytest.raises(JournalCorrupt, match="does not follow"):
            journal.read()


@pytest.mark.parametrize("order", [(1, 0, 2), (0, 0, 2), (0, 2, 2), (2, 1, 0)])
def test_activations_that_were_moved_are_told(order: tuple[int, ...]) -> None:
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


def test_segments_that_were_moved_are_told() -> None:
    """Goal: F6. Method: remove, rename, shorten, lengthen a segment, or take one of another journal."""
    folder = DATA_DIR / "journal"
    first, second = (folder / name for name in Journal().names)

    for damage, message in {
        "first missing": "missing",
        "renamed": "another file name",
        "shortened": "bytes instead of",
        "lengthened": "bytes instead of",
        "empty": "no valid segment header",
        "foreign": "does not follow|another journal",
    }.items():
        journal = Journal()
        entries = journal.disk.entries
        match damage:
            case "first missing":
                del entries[first]
            case "renamed":
                entries[folder / first.name.replace("-00000000", "-00000002")] = entries.pop(first)
            case "shortened":
                del entries[second].cache[-1:]
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
        with pytest.raises(JournalCorrupt, match=message):
            journal.read()


def test_damage_before_a_later_segment_is_never_torn() -> None:
    """Goal: only the very last frame may be torn. Method: cut the last frame of the first of two segments."""
    journal = Journal()
    name, start, end = [frame for frame in journal.frames if frame[0] == journal.names[0]][-1]
    journal.bytes_of(name)[start + 60 : end] = bytes(end - start - 60)

    with pytest.raises(JournalCorrupt, match="successor"):
        journal.read()


def test_journal_of_a_newer_engine_is_refused() -> None:
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
