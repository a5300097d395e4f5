"""Archives of closed segments: each once, proved, readable as a journal again."""

import contextlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from riskengine.errors import JournalCorrupt
from riskengine.journal import archive as archives
from riskengine.journal.archive import SUMS_NAME, ArchiveRefused, archive
from riskengine.journal.directory import journal_folder
from riskengine.journal.reader import segments, trim
from riskengine.journal.writer import JournalWriter
from tests.journal import builders

SEGMENT_BYTES = 8192


def written(data_dir: Path, *, groups: int = 40, journal_id: bytes = builders.JOURNAL_ID) -> JournalWriter:
    """Writes a journal of several segments."""
    data_dir.mkdir()
    writer = JournalWriter.create(data_dir, journal_id=journal_id, segment_bytes=SEGMENT_BYTES)
    for group in range(groups):
        builders.commit(writer, 1 + group % 3, seed=group)
    return writer


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_closed_segments_are_copied_once(tmp_path: Path) -> None:
    """Goal: run it every hour. Method: archive, write on, trim, archive; sha256sum agrees, the copies are a journal again."""
    data_dir, folder = tmp_path / "data", tmp_path / "archive"
    writer = written(data_dir)
    closed = [segment.path.name for segment in segments(data_dir)[:-1]]
    told: list[tuple[int, int]] = []
    first = archive(data_dir, folder, on_progress=lambda done, total: told.append((done, total)))
    assert (len(closed), 0, len(closed) * SEGMENT_BYTES) == (first.copied, first.present, first.copied_bytes)
    assert (first.copied_bytes, first.copied_bytes) == told[-1]
    assert sorted([*closed, SUMS_NAME]) == names(folder)

    for group in range(30):
        builders.commit(writer, 2, seed=group)
    trim(data_dir, first_kept_index=2)
    second = archive(data_dir, folder, check=True)
    assert len(closed) - 2 == second.present
    assert second.copied > 0
    assert segments(data_dir)[-1].path.name == second.open_name

    subprocess.run(["sha256sum", "--check", "--quiet", SUMS_NAME], cwd=folder, check=True)
    shutil.copytree(folder, journal_folder(tmp_path / "restored"))
    assert list(range(1, second.next_sequence)) == [item[0] for item in builders.read(tmp_path / "restored")]


def test_journal_with_one_segment_has_nothing_to_archive(tmp_path: Path) -> None:
    """Goal: the open segment is never copied. Method: a new journal."""
    written(tmp_path / "data", groups=1)
    done = archive(tmp_path / "data", tmp_path / "archive")

    assert (0, 0, 0, 1) == (done.copied, done.present, done.first_sequence, done.next_sequence)
    assert [] == names(tmp_path / "archive")


def test_interrupted_run_is_finished_by_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Goal: resumable. Method: the run ends after each of its steps; the next one copies what is missing."""
    data_dir = tmp_path / "data"
    written(data_dir)
    closed = len(segments(data_dir)) - 1
    for name in ("replace", "fsync"):
        for steps in range(3 * closed):
            folder = tmp_path / f"{name}{steps}"
            left = [steps]
            real = getattr(os, name)

            def stop(*arguments: object, left: list[int] = left, real: object = real) -> object:
                left[0] -= 1
                if left[0] < 0:
                    raise KeyboardInterrupt
                return real(*arguments)  # type: ignore[operator]

            monkeypatch.setattr(os, name, stop)
            with contextlib.suppress(KeyboardInterrupt):
                archive(data_dir, folder)
            monkeypatch.setattr(os, name, real)
            done = archive(data_dir, folder, check=True)
            assert closed == done.copied + done.present
            assert closed == len((folder / SUMS_NAME).read_text().splitlines())


def test_damage_is_never_archived(tmp_path: Path) -> None:
    """Goal: an archive is sound. Method: a wrong bit in the third segment, then a wrong segment behind the second."""
    data_dir = tmp_path / "data"
    written(data_dir)
    third = segments(data_dir)[2].path
    content = bytearray(third.read_bytes())
    content[1000] ^= 8
    third.write_bytes(content)
    with pytest.raises(JournalCorrupt):
        archive(data_dir, tmp_path / "archive")

    assert 2 == len(list((tmp_path / "archive").glob("*.journal")))


def test_folder_with_something_else_is_refused(tmp_path: Path) -> None:
    """Goal: nothing is mixed or overwritten. Method: another journal's folder; a copy that changed, or lost its end."""
    written(tmp_path / "data")
    written(tmp_path / "other", journal_id=bytes(16))
    folder = tmp_path / "archive"
    archive(tmp_path / "data", folder)
    with pytest.raises(ArchiveRefused, match="folder of its own"):
        archive(tmp_path / "other", folder)

    copy = sorted(folder.glob("*.journal"))[1]
    content = bytearray(copy.read_bytes())
    content[-1] ^= 1
    copy.write_bytes(content)
    assert archive(tmp_path / "data", folder).copied == 0, "lengths are as they were"
    with pytest.raises(ArchiveRefused, match="not what was copied"):
        archive(tmp_path / "data", folder, check=True)
    copy.write_bytes(content[:-1])
    with pytest.raises(ArchiveRefused, match="not what was copied"):
        archive(tmp_path / "data", folder)


def test_copy_that_does_not_come_back_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Goal: F10 of the archive's disk. Method: reading back gives another checksum; nothing gets its name."""
    written(tmp_path / "data")
    monkeypatch.setattr(archives, "_sum_of", lambda path: "0" * 64)
    with pytest.raises(ArchiveRefused, match="does not come back"):
        archive(tmp_path / "data", tmp_path / "archive")

    assert [] == list((tmp_path / "archive").glob("*.journal"))
