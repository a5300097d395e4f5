"""Repairing a damaged journal: what is valid stays, everything is kept aside, and a crash at any step does no harm."""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from riskengine.errors import JournalCorrupt, RiskEngineError, StartRefused
from riskengine.journal.kept import MARKER_NAME, trim
from riskengine.journal.reader import JournalReader, verify
from riskengine.journal.repair import examine, repair
from riskengine.journal.writer import JournalWriter
from tests.journal import builders
from tests.journal.builders import Item
from tests.journal.damaged import DATA_DIR, FOLDER, Journal
from tests.journal.disks import PowerLoss, SimulatedDisk, stop_after

BROKEN = DATA_DIR / "journal.broken"
SEGMENT_BYTES = 5632


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Keeps expected warnings away."""
    with caplog.at_level(logging.ERROR):
        yield


def made() -> Journal:
    """Returns a journal of five segments."""
    journal = Journal(groups=30)
    assert 5 <= len(journal.names)
    return journal


def flip_in(frame: int) -> Callable[[Journal], None]:
    def damage(journal: Journal) -> None:
        name, start, end = journal.frames[frame]
        journal.bytes_of(name)[(start + end) // 2] ^= 4

    return damage


def flip_header(segment: int) -> Callable[[Journal], None]:
    def damage(journal: Journal) -> None:
        journal.bytes_of(journal.names[segment])[40] ^= 1

    return damage


def lose_segment(segment: int) -> Callable[[Journal], None]:
    def damage(journal: Journal) -> None:
        del journal.disk.entries[FOLDER / journal.names[segment]]

    return damage


def cut_segment(segment: int, length: int) -> Callable[[Journal], None]:
    def damage(journal: Journal) -> None:
        del journal.bytes_of(journal.names[segment])[length:]

    return damage


def append_to_last(journal: Journal) -> None:
    journal.bytes_of(journal.names[-1]).extend(b"more")


def stray_file(journal: Journal) -> None:
    journal.disk.entries[FOLDER / "copy of a segment.journal"] = journal.disk.entries[FOLDER / journal.names[0]]


DAMAGES: dict[str, Callable[[Journal], None]] = {
    "a bit in the last frame": flip_in(-1),
    "a bit in the last frame but one": flip_in(-2),
    "a bit in the middle": flip_in(14),
    "a bit in the first frame": flip_in(0),
    "the header of a segment": flip_header(3),
    "the header of the last segment": flip_header(-1),
    "a segment is missing": lose_segment(2),
    "a segment is cut": cut_segment(1, 3000),
    "the last segment is cut within its frames": cut_segment(-1, 700),
    "the last segment is cut behind its frames": cut_segment(-1, 5631),
    "the last segment is too long": append_to_last,
    "a file that is none of ours": stray_file,
}


def held_before_damage(journal: Journal) -> list[Item]:
    """Returns the items that a reader gets who stops at the damage; of files of a wrong length, all that is whole."""
    items: list[Item] = []
    for size in (None, SEGMENT_BYTES):
        disk = SimulatedDisk()
        disk.entries = dict(journal.disk.entries)
        for path, inode in disk.entries.items():
            if size and path.name.endswith(".journal"):
                disk.entries[path] = type(inode)(bytearray(bytes(inode.cache)[:size].ljust(size, b"\0")))
        items = []
        try:
            for item in JournalReader(DATA_DIR, disk=disk):
                items += builders.items_in(item)
        except JournalCorrupt:
            continue
    return items


@pytest.mark.parametrize("name", DAMAGES)
def test_what_is_valid_up_to_the_damage_goes_on(name: str) -> None:
    """Goal: F6, after the refusal. Method: damage of each kind; examine, repair, read, go on; the files are kept as they were."""
    journal = made()
    DAMAGES[name](journal)
    kept = held_before_damage(journal)
    before = {path.name: bytes(inode.cache) for path, inode in journal.disk.entries.items()}
    plan = examine(DATA_DIR, disk=journal.disk)
    assert plan is not None
    assert before == {path.name: bytes(inode.cache) for path, inode in journal.disk.entries.items()}

    repair(DATA_DIR, plan, broken=BROKEN, disk=journal.disk)
    assert kept == journal.read()
    assert examine(DATA_DIR, disk=journal.disk) is None
    writer = JournalWriter.open(DATA_DIR, disk=journal.disk, segment_bytes=SEGMENT_BYTES)
    assert plan.end.next_sequence == writer.next_sequence
    kept += [item for group in range(9) for item in builders.commit(writer, 1, seed=group)]
    assert kept == journal.read()
    aside = {path.name: bytes(inode.cache) for path, inode in journal.disk.entries.items() if path.parent == BROKEN}
    assert before == aside, "the copy is as the journal was, also when the journal has gone on"


def test_plan_says_what_is_lost() -> None:
    """Goal: the operator knows before. Method: a bit in the middle, and one in the very last frame."""
    journal = made()
    flip_in(14)(journal)
    plan = examine(DATA_DIR, disk=journal.disk)
    assert plan is not None
    name, start, _ = journal.frames[14]
    assert (name, start) == (plan.last_name, plan.end.offset) == (plan.damage.file, plan.damage.offset)
    assert (1, journal.items[-1][0]) == (plan.first_sequence, plan.lost_sequence)
    assert len(journal.frames) - 14 == plan.lost_frames
    assert tuple(each for each in journal.names if each > name) == plan.removed

    journal = made()
    flip_in(-1)(journal)
    plan = examine(DATA_DIR, disk=journal.disk)
    assert plan is not None
    assert ((), 1, journal.items[-1][0]) == (plan.removed, plan.lost_frames, plan.lost_sequence)


def test_nothing_is_repaired_that_is_sound_or_has_nothing_valid() -> None:
    """Goal: no repair by mistake. Method: a sound journal, a torn one, one without a first header; a folder that exists."""
    journal = made()
    assert examine(DATA_DIR, disk=journal.disk) is None
    name, start, end = journal.frames[-1]
    journal.bytes_of(name)[end - 4 : end] = bytes(4)
    assert examine(DATA_DIR, disk=journal.disk) is None, "torn is not damaged"
    assert start == verify(DATA_DIR, disk=journal.disk).tail_offset

    flip_in(3)(journal)
    plan = examine(DATA_DIR, disk=journal.disk)
    assert plan is not None
    journal.disk.entries[BROKEN / "something"] = journal.disk.entries[FOLDER / name]
    with pytest.raises(StartRefused, match="exists already"):
        repair(DATA_DIR, plan, broken=BROKEN, disk=journal.disk)
    flip_header(0)(journal)
    with pytest.raises(RiskEngineError, match="nothing can be kept; restore"):
        examine(DATA_DIR, disk=journal.disk)


def test_nothing_is_taken_away_before_what_remains_is_proved() -> None:
    """Goal: no way from bad to worse. Method: a plan that the journal does not fit any more, as it got another wrong bit."""
    journal = made()
    flip_in(20)(journal)
    plan = examine(DATA_DIR, disk=journal.disk)
    assert plan is not None
    flip_in(3)(journal)
    names = journal.names
    with pytest.raises(RiskEngineError, match="nothing was taken away"):
        repair(DATA_DIR, plan, broken=BROKEN, disk=journal.disk)

    assert set(names) <= {path.name for path in journal.disk.entries if path.parent == FOLDER}


@pytest.mark.parametrize("marker", ["damaged", "missing", "damaged, older segments left over"])
def test_marker_is_written_anew(marker: str) -> None:
    """Goal: a bit in the marker need not cost the journal. Method: damage or remove it; all that is kept is read again."""
    journal = made()
    oldest = {FOLDER / name: journal.disk.entries[FOLDER / name] for name in journal.names[:1]}
    trim(DATA_DIR, first_kept_index=2, disk=journal.disk)
    kept = journal.read()
    if marker == "missing":
        del journal.disk.entries[FOLDER / MARKER_NAME]
    else:
        journal.disk.entries[FOLDER / MARKER_NAME].cache[5] ^= 1
    if marker == "damaged, older segments left over":
        journal.disk.entries.update(oldest)
    with pytest.raises(JournalCorrupt):
        journal.read()
    plan = examine(DATA_DIR, disk=journal.disk)
    assert plan is not None
    assert ((), 0) == (plan.removed, plan.lost_frames)
    repair(DATA_DIR, plan, broken=BROKEN, disk=journal.disk)

    assert kept == journal.read()


@pytest.mark.parametrize("name", DAMAGES)
def test_f4_power_loss_at_any_step_of_a_repair(name: str) -> None:
    """Goal: F4. Method: lose power after each call; the journal is refused as before, or repaired; the next repair ends it."""
    rng = np.random.default_rng(2)
    journal = made()
    DAMAGES[name](journal)
    kept = held_before_damage(journal)
    for steps in range(200):
        journal = made()
        DAMAGES[name](journal)
        journal.disk.durable_entries, journal.disk.unsynced_entries = journal.disk.entries, []
        for inode in journal.disk.entries.values():
            inode.durable = bytearray(inode.cache)
        plan = examine(DATA_DIR, disk=journal.disk)
        assert plan is not None
        journal.disk.on_call = stop_after(steps)
        done = False
        try:
            repair(DATA_DIR, plan, broken=BROKEN, disk=journal.disk)
            done = True
        except PowerLoss:
            pass
        journal.disk = journal.disk.after_power_loss(rng)
        again = examine(DATA_DIR, disk=journal.disk)
        assert not (done and again)
        if again:
            repair(DATA_DIR, again, broken=Path(f"{BROKEN}.again"), disk=journal.disk)
        assert kept == journal.read()
        if done:
            break
    assert steps >= 8
