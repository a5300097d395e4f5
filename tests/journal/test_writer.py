"""The writer: space before state, faults that end it, segments that follow each other (F8, F9, F10, F11)."""

import errno
from pathlib import Path

import pytest

from riskengine.errors import JournalCorrupt, JournalFault, JournalFull, StartRefused
from riskengine.journal.directory import journal_folder
from riskengine.journal.reader import journal_exists, verify
from riskengine.journal.writer import JournalWriter
from riskengine.types import words
from tests.journal import builders, rows
from tests.journal.disks import FaultyDisk

NO_SPACE = OSError(errno.ENOSPC, "No space left on device")
BROKEN = OSError(errno.EIO, "Input/output error")


def fail(disk: FaultyDisk, name: str, error: OSError, *, at: int = 1) -> None:
    """Makes the `at`-th call of a name from now on fail."""
    disk.counts = {}

    def fault(called: str, count: int) -> None:
        if called == name and count == at:
            raise error

    disk.fault = fault


def test_everything_written_is_read(tmp_path: Path) -> None:
    """Goal: the way there and back on the real disk. Method: groups of many sizes over many segments, and reopening."""
    writer = builders.create(tmp_path, segment_bytes=65536)
    items = builders.activate(writer, 1)
    for size in (1, 2, 50, 3, 20, 1, 40):
        items += builders.commit(writer, size, seed=size)
        while writer.prepare():
            pass
    writer.close()
    writer = JournalWriter.open(tmp_path, segment_bytes=65536)
    items += builders.activate(writer, 2)
    items += builders.commit(writer, 5)

    assert items == builders.read(tmp_path)
    assert items == builders.read(tmp_path, chunk_rows_max=7)


def test_summary_tells_what_is_there(tmp_path: Path) -> None:
    """Goal: `verify` counts right. Method: two activations and 23 events."""
    writer = builders.create(tmp_path, segment_bytes=8192)
    builders.activate(writer, 1)
    builders.commit(writer, 3)
    builders.activate(writer, 2)
    for _ in range(20):
        builders.commit(writer, 1)
    summary = verify(tmp_path)

    assert (24 - 1, 2, 23) == (summary.frame_count, summary.activation_count, summary.event_count)
    assert (1, 23) == (summary.first_sequence, summary.last_sequence)
    assert 0 == summary.torn_bytes
    assert summary.frame_bytes > summary.event_frame_bytes
    assert summary.event_frame_bytes / 23 == summary.bytes_per_event
    assert 1 < summary.segment_count


def test_activations_alone_may_fill_segments(tmp_path: Path) -> None:
    """Goal: segments that begin with the same sequence have names of their own. Method: big activations, no event."""
    writer = builders.create(tmp_path)
    for revision in range(1, 6):
        writer.append_activation(revision, b"x" * 3000)
        writer.sync()

    assert [(-revision, b"x" * 3000) for revision in range(1, 6)] == builders.read(tmp_path)
    assert 5 == verify(tmp_path).segment_count


@pytest.mark.parametrize("content", [b"x" * 4096, b"{\0}", b"x" * (4 * 1024 * 1024 + 1)])
def test_activation_that_cannot_be_stored_changes_nothing(tmp_path: Path, content: bytes) -> None:
    """Goal: bounds are told before anything moves. Method: too long, or with a zero byte."""
    writer = builders.create(tmp_path)
    with pytest.raises(ValueError, match="activation"):
        writer.append_activation(1, content)
    items = builders.commit(writer, 1)

    assert items == builders.read(tmp_path)


@pytest.mark.parametrize("name", ["allocate", "write", "rename"])
def test_full_disk_is_met_before_state_moves_and_service_resumes(tmp_path: Path, name: str) -> None:
    """Goal: F11. Method: no space for the next segment, at each call that may say so; then there is space."""
    disk = FaultyDisk()
    writer = builders.create(tmp_path, disk=disk)
    items = builders.commit(writer, 2)
    sequence = writer.next_sequence
    for _ in range(3):
        fail(disk, name, NO_SPACE)
        with pytest.raises(JournalFull):
            writer.reserve(2)
    assert 1 == len(list(journal_folder(tmp_path).glob("*.journal")))
    assert sequence == writer.next_sequence
    assert items == builders.read(tmp_path)
    disk.fault = lambda name, count: None
    items += builders.commit(writer, 2)

    assert items == builders.read(tmp_path)


def test_full_disk_while_preparing_is_no_fault(tmp_path: Path) -> None:
    """Goal: the half segment that is left is used. Method: `prepare` meets a full disk; commits go on."""
    disk = FaultyDisk()
    writer = builders.create(tmp_path, disk=disk)
    fail(disk, "allocate", NO_SPACE)

    assert writer.prepare()
    assert not writer.prepare()
    assert builders.commit(writer, 1) == builders.read(tmp_path)


def commit_many(writer: JournalWriter, items: list[builders.Item]) -> None:
    """Commits until something fails, and keeps what was answered."""
    for _ in range(40):
        items += builders.commit(writer, 2)


@pytest.mark.parametrize("name", ["write", "sync_data", "sync_file", "rename", "sync_folder"])
def test_fault_ends_the_writer_for_good(tmp_path: Path, name: str) -> None:
    """Goal: F8, F9. Method: EIO once, at each call in turn; what was answered is there, and nothing more is done."""
    for at in range(1, 12):
        folder = tmp_path / f"{name}{at}"
        folder.mkdir()
        disk = FaultyDisk()
        writer = builders.create(folder, disk=disk)
        fail(disk, name, BROKEN, at=at)
        items: list[builders.Item] = []
        with pytest.raises(JournalFault, match="Input/output error"):
            commit_many(writer, items)
        disk.fault = lambda name, count: None
        syncs = disk.counts.get("sync_data", 0)
        for again in (
            writer.sync,
            writer.prepare,
            lambda w=writer: w.reserve(1),
            lambda w=writer: builders.activate(w, 1),
        ):
            with pytest.raises(JournalFault):
                again()

        assert syncs == disk.counts.get("sync_data", 0), "a failed sync is never repeated"
        assert items == builders.read(folder)[: len(items)]


def test_short_write_is_a_fault_and_leaves_no_frame(tmp_path: Path) -> None:
    """Goal: F9. Method: the write ends after some of its bytes; the next process goes on where the whole frames end."""
    for kept in (1, 39, 40, 41, 300, 500):
        folder = tmp_path / str(kept)
        folder.mkdir()
        disk = FaultyDisk()
        writer = builders.create(folder, disk=disk)
        items = builders.commit(writer, 1)
        disk.fault = lambda name, count, kept=kept: kept if name == "write" else None  # type: ignore[misc]
        with pytest.raises(JournalFault, match="short write"):
            builders.commit(writer, 2)
        items += builders.commit(JournalWriter.open(folder, segment_bytes=4096), 1, seed=3)

        assert items == builders.read(folder)


def test_lying_disk_is_found_out_by_the_next_start(tmp_path: Path) -> None:
    """Goal: F10. Method: one write is claimed and not made; later ones are."""
    disk = FaultyDisk()
    writer = builders.create(tmp_path, disk=disk)
    disk.lie = True
    disk.fault = lambda name, count: 0 if name == "write" and count == 3 + 1 else None
    for _ in range(4):
        builders.commit(writer, 1)

    with pytest.raises(JournalCorrupt):
        JournalWriter.open(tmp_path, segment_bytes=4096)


def test_frame_is_written_only_after_the_one_before_was_synced(tmp_path: Path) -> None:
    """Goal: at most one frame can be torn. Method: append twice without a sync."""
    writer = builders.create(tmp_path)
    events, decisions = rows.payments(1)
    writer.reserve(1)
    writer.append(words(events), words(decisions))

    with pytest.raises(AssertionError, match="synced"):
        writer.reserve(1)


def test_rows_out_of_sequence_are_a_mistake_of_the_caller(tmp_path: Path) -> None:
    """Goal: sequences have no gap. Method: rows that begin with 2; nothing is written."""
    writer = builders.create(tmp_path)
    writer.reserve(1)
    with pytest.raises(AssertionError, match="sequences"):
        writer.append(*map(words, rows.payments(1, first_sequence=2)))

    assert builders.commit(writer, 1) == builders.read(tmp_path)


def test_segments_are_whole_before_they_have_their_name(tmp_path: Path) -> None:
    """Goal: a segment is never short. Method: look at length and blocks of the files after creation and a roll."""
    writer = builders.create(tmp_path, segment_bytes=524288)
    for _ in range(30):
        builders.commit(writer, 100)
        writer.prepare()

    segments = sorted(journal_folder(tmp_path).glob("*.journal"))
    assert 2 <= len(segments)
    assert {524288} == {path.stat().st_size for path in segments}
    assert all(path.stat().st_blocks * 512 >= 524288 for path in segments)


def test_creation_and_opening_are_kept_apart(tmp_path: Path) -> None:
    """Goal: a journal is never begun over another, nor out of nothing. Method: open none, create twice, odd sizes."""
    assert not journal_exists(tmp_path)
    with pytest.raises(StartRefused, match="no journal"):
        JournalWriter.open(tmp_path)
    with pytest.raises(StartRefused, match="multiple of 512"):
        builders.create(tmp_path, segment_bytes=5000)
    builders.create(tmp_path).close()
    assert journal_exists(tmp_path)

    with pytest.raises(StartRefused, match="already"):
        builders.create(tmp_path)
