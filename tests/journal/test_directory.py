"""The data directory: one engine at a time (F26)."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from riskengine.errors import StartRefused
from riskengine.journal import directory
from riskengine.journal.disk import OsDisk
from tests.journal import builders

ROOT = Path(__file__).resolve().parents[2]


def test_second_engine_is_told_who_holds_the_directory(tmp_path: Path) -> None:
    """Goal: F26. Method: another process takes it; this one is refused until that one has gone."""
    program = (
        "import pathlib, sys\n"
        "from riskengine.journal.directory import lock_data_dir\n"
        "lock_data_dir(pathlib.Path(sys.argv[1])); print('held', flush=True); sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert "held\n" == holder.stdout.readline()
        with pytest.raises(StartRefused) as caught:
            directory.lock_data_dir(tmp_path)
        holder.kill()

    assert str(tmp_path) in caught.value.message
    assert str(holder.pid) == caught.value.metadata["pid"]
    os.close(directory.lock_data_dir(tmp_path))


def test_looking_whether_a_directory_is_free_leaves_it_so(tmp_path: Path) -> None:
    """Goal: who looks neither takes it nor says so. Method: look, lock, look again."""
    directory.check_free(tmp_path)
    assert "" == (tmp_path / directory.LOCK_NAME).read_text()
    descriptor = directory.lock_data_dir(tmp_path)
    with pytest.raises(StartRefused, match=str(os.getpid())):
        directory.check_free(tmp_path)
    os.close(descriptor)


def test_lock_holds_on_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Goal: the process id is a courtesy. Method: no space for it."""

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("riskengine.journal.directory.os.pwrite", full)
    descriptor = directory.lock_data_dir(tmp_path)
    with pytest.raises(StartRefused, match="is in use"):
        directory.lock_data_dir(tmp_path)
    os.close(descriptor)


def test_directory_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """Goal: a message, not a traceback. Method: lock a folder that does not exist."""
    with pytest.raises(StartRefused, match="cannot be used"):
        directory.lock_data_dir(tmp_path / "none")


def test_files_that_are_no_segments_are_left_alone(tmp_path: Path) -> None:
    """Goal: notes of an operator do no harm. Method: other names in the folder."""
    items = builders.commit(builders.create(tmp_path), 1)
    (directory.journal_folder(tmp_path) / "README").write_text("mine")

    assert 1 == len(directory.segment_names(OsDisk(), tmp_path))
    assert items == builders.read(tmp_path)
