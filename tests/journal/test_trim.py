"""Giving up the oldest segments: crash-safe at every step, seen by every reader (F4), the marker's damage told (F6)."""

from pathlib import Path

import numpy as np
import pytest

from riskengine.errors import JournalCorrupt, StartRefused
from riskengine.journal.directory import journal_folder
from riskengine.journal.kept import MARKER_NAME, Kept, kept_names, segments
from riskengine.journal.reader import JournalReader, journal_exists, trim, verify
from riskengine.journal.writer import JournalWriter, read_tail
from tests.journal import builders
from tests.journal.builders import Item
from tests.journal.disks import PowerLoss, SimulatedDisk, stop_after

DATA_DIR = Path("data")
FOLDER = journal_folder(DATA_DIR)
SEGMENT_BYTES = 4096


def written(*, segment_count: int = 5) -> tuple[SimulatedDisk, list[list[Item]]]:
    """Returns a journal and what is in each of its segments."""
    disk = SimulatedDisk()
    writer = builders.create(DATA_DIR, disk=disk, segment_bytes=SEGMENT_BYTES)
    held: list[list[Item]] = []
    group = 0
    while True:
        items = builders.activate(writer, 1 + group) if group % 5 == 0 else builders.commit(writer, 1, seed=group)
        count = len(segments(DATA_DIR, disk))
        if count > segment_count:
            break
        if count > len(held):
            held.append([])
        held[-1] += items
        group += 1
    held.append(items)
    return disk, held


def from_segment(held: list[list[Item]], first: int) -> list[Item]:
    return [item for items in held[first:] for item in items]


def test_trimmed_journal_begins_with_the_segment_that_is_kept(tmp_path: Path) -> None:
    """Goal: readers and writer respect the marker, on the real disk. Method: trim twice, verify, go on, read from anchors."""
    writer = builders.create(tmp_path, segment_bytes=SEGMENT_BYTES)
    items = [item for group in range(40) for item in builders.commit(writer, 1, seed=group)]
    anchors = [(reader.position, item) for reader in [JournalReader(tmp_path, chunk_rows_max=1)] for item in reader]
    before = segments(tmp_path)
    assert 0 == trim(tmp_path, first_kept_index=0)
    assert 2 * SEGMENT_BYTES == trim(tmp_path, first_kept_index=2)
    assert 0 == trim(tmp_path, first_kept_index=2) == trim(tmp_path, first_kept_index=1)
    assert 3 * SEGMENT_BYTES == trim(tmp_path, first_kept_index=5)

    assert before[5:] == segments(tmp_path)
    kept = [item for item in items if item[0] >= before[5].first_sequence]
    assert kept == builders.read(tmp_path)
    assert (before[5].first_sequence, 40) == (verify(tmp_path).first_sequence, verify(tmp_path).last_sequence)
    writer.close()
    writer = JournalWriter.open(tmp_path, segment_bytes=SEGMENT_BYTES)
    kept += builders.commit(writer, 1, seed=99)
    assert kept == builders.read(tmp_path)
    assert read_tail(tmp_path).next_sequence == 42
    for anchor, _ in anchors:
        reader = JournalReader(tmp_path, start=anchor)
        if anchor.segment_index >= 5:
            assert kept[anchor.next_sequence - before[5].first_sequence :] == builders.flat(reader)
        else:
            with pytest.raises(JournalCorrupt, match="before what is kept"):
                list(reader)


def test_there_is_no_trimming_beyond_the_end() -> None:
    """Goal: a wrong number changes nothing. Method: a segment that is not there; then all but the open one."""
    disk, held = written()
    with pytest.raises(ValueError, match="no segment 6"):
        trim(DATA_DIR, first_kept_index=6, disk=disk)
    assert from_segment(held, 0) == builders.read(DATA_DIR, disk=disk)

    trim(DATA_DIR, first_kept_index=5, disk=disk)
    assert held[5] == builders.read(DATA_DIR, disk=disk)


def count_calls(disk: SimulatedDisk) -> int:
    """Returns the number of calls that one trimming makes, and trims."""
    calls: list[str] = []
    disk.on_call = calls.append
    trim(DATA_DIR, first_kept_index=3, disk=disk)
    disk.on_call = lambda name: None
    return len(calls)


def trim_until(disk: SimulatedDisk, calls: int) -> bool:
    """Trims and loses power after so many calls; returns whether it came to its end."""
    disk.on_call = stop_after(calls)
    try:
        trim(DATA_DIR, first_kept_index=3, disk=disk)
    except PowerLoss:
        return False
    return True


def test_f4_power_loss_at_any_step_of_trimming_and_of_its_repetition() -> None:
    """Goal: F4. Method: lose power after each call of a trimming, then after each call of the next one, then trim again.

    Whatever is left of the folder, the journal reads as before the trimming or as after it, never in between; after a
    trimming that returned, as after it; and the last one leaves no file behind.
    """
    whole, trimmed = [from_segment(written()[1], first) for first in (0, 3)]
    steps = count_calls(written()[0])
    rng = np.random.default_rng(1)
    seen = set()
    for first in range(steps + 1):
        for second in range(steps + 1):
            disk, _ = written()
            done = trim_until(disk, first)
            disk = disk.after_power_loss(rng)
            read = builders.read(DATA_DIR, disk=disk)
            assert read == trimmed or (read == whole and not done)
            seen.add(len(read))
            done = trim_until(disk, second)
            disk = disk.after_power_loss(rng)
            read = builders.read(DATA_DIR, disk=disk)
            assert read == trimmed or (read == whole and not done)
            trim(DATA_DIR, first_kept_index=3, disk=disk)
            assert trimmed == builders.read(DATA_DIR, disk=disk.after_power_loss(rng))
            assert 3 == len([path for path in disk.entries if path.name.endswith(".journal")])
    assert {len(whole), len(trimmed)} == seen
    assert steps >= 8


def test_f4_trimming_is_noticed_to_need_its_folder_synced() -> None:
    """Goal: the test above is awake. Method: the same on a disk whose folders are never synced: something is lost."""
    losses = 0
    whole, trimmed = [from_segment(written()[1], first) for first in (0, 3)]
    for seed in range(40):
        disk, _ = written()
        disk.sync_folder = lambda path: None  # type: ignore[method-assign]
        trim(DATA_DIR, first_kept_index=3, disk=disk)
        after = disk.after_power_loss(np.random.default_rng(seed))
        losses += builders.read(DATA_DIR, disk=after) != trimmed

    assert losses > 0
    assert whole != trimmed


def test_f6_every_flipped_bit_of_the_marker_is_told() -> None:
    """Goal: F6. Method: flip each bit, cut and lengthen the marker; all readers refuse, and nothing is begun anew."""
    disk, _ = written()
    trim(DATA_DIR, first_kept_index=3, disk=disk)
    marker = disk.entries[FOLDER / MARKER_NAME].cache
    whole = bytes(marker)
    damages = [whole[:cut] for cut in range(len(whole))] + [whole + b"\n", whole.replace(b'":', b'": ')]
    for position in range(8 * len(whole)):
        flipped = bytearray(whole)
        flipped[position // 8] ^= 1 << position % 8
        damages.append(bytes(flipped))

    for damage in damages:
        marker[:] = damage
        with pytest.raises((JournalCorrupt, StartRefused)):
            read_tail(DATA_DIR, disk=disk)
        assert journal_exists(DATA_DIR, disk=disk)
    marker[:] = whole
    read_tail(DATA_DIR, disk=disk)


@pytest.mark.parametrize(
    ("lost", "message"),
    [
        ([MARKER_NAME], "segment before this one is missing"),
        (["3"], "segment before this one is missing"),
        (["3", "4", "5"], "all segments are missing"),
        (["4"], "segment before this one is missing"),
    ],
    ids=["marker", "first kept segment", "all segments", "a later segment"],
)
def test_f6_missing_files_are_told(lost: list[str], message: str) -> None:
    """Goal: F6: what is missing is never taken for what was trimmed. Method: remove the marker or segments."""
    disk, _ = written()
    trim(DATA_DIR, first_kept_index=3, disk=disk)
    for path in list(disk.entries):
        if path.name in lost or path.name[-len("3.journal")] in lost:
            del disk.entries[path]

    with pytest.raises(JournalCorrupt, match=message):
        read_tail(DATA_DIR, disk=disk)
    with pytest.raises(StartRefused, match="already"):
        builders.create(DATA_DIR, disk=disk)


def test_f6_another_segment_in_the_place_of_the_first_is_told() -> None:
    """Goal: F6. Method: the first kept segment is one of another journal, of the same index and sequence."""
    disk, _ = written()
    trim(DATA_DIR, first_kept_index=3, disk=disk)
    other = SimulatedDisk()
    writer = JournalWriter.create(DATA_DIR, journal_id=bytes(16), disk=other, segment_bytes=SEGMENT_BYTES)
    names = [segment.path for segment in segments(DATA_DIR, disk)]
    group = 0
    while names[0] not in other.entries:
        if group % 5 == 0:
            builders.activate(writer, 1 + group)
        else:
            builders.commit(writer, 1, seed=group)
        group += 1
    disk.entries[names[0]] = other.entries[names[0]]

    with pytest.raises(JournalCorrupt, match=r"not the one that kept\.json tells"):
        read_tail(DATA_DIR, disk=disk)


def test_what_was_trimmed_under_a_reader_is_told_as_that() -> None:
    """Goal: a long verification beside a follower. Method: trim while a reader is in the first segment."""
    disk, held = written()
    items = iter(JournalReader(DATA_DIR, disk=disk, chunk_rows_max=1))
    next(items)
    trim(DATA_DIR, first_kept_index=4, disk=disk)

    with pytest.raises(StartRefused, match="trimmed while it was read"):
        list(items)
    assert from_segment(held, 4) == builders.read(DATA_DIR, disk=disk)


def test_names_are_those_of_the_marker_that_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Goal: trimming and beginning segments while somebody looks is no damage. Method: trim at each look at the folder."""
    disk, held = written()
    names = SimulatedDisk.names
    looks = [0]

    def trim_meanwhile(self: SimulatedDisk, folder: Path) -> list[str]:
        looks[0] += 1
        if looks[0] == 1:
            trim(DATA_DIR, first_kept_index=3, disk=disk)
        return names(self, folder)

    monkeypatch.setattr(SimulatedDisk, "names", trim_meanwhile)
    kept, found = kept_names(disk, DATA_DIR)

    assert kept is not None
    assert (3, 3) == (kept.first_index, len(found))
    assert from_segment(held, 3) == builders.read(DATA_DIR, disk=disk)


def test_f28_marker_of_a_newer_engine_is_refused() -> None:
    """Goal: F28. Method: a marker of another version."""
    disk, _ = written()
    trim(DATA_DIR, first_kept_index=3, disk=disk)
    marker = disk.entries[FOLDER / MARKER_NAME].cache
    marker[:] = marker.replace(b'"version":1', b'"version":2')

    with pytest.raises(StartRefused, match="newer version"):
        read_tail(DATA_DIR, disk=disk)


def test_marker_is_these_bytes() -> None:
    """Goal: old markers stay readable. Method: bytes as in the specification, and some that are none."""
    raw = b'{"version":1,"first_index":7,"first_sequence":812345,"header_hash":"0123456789abcdef"}\n'

    assert Kept(7, 812345, bytes.fromhex("0123456789abcdef")) == Kept.unpack(raw)
    assert raw == Kept(7, 812345, bytes.fromhex("0123456789abcdef")).pack()
    for wrong in (
        b"",
        b"{}",
        b"[1]",
        b"7\n",
        raw.replace(b":7", b":0"),
        raw.replace(b":7", b":true"),
        raw.replace(b":1,", b":2,"),
        raw.replace(b"abcdef", b""),
        b"\xff",
    ):
        assert Kept.unpack(wrong) is None
