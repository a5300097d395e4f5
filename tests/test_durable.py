"""Folders and files that last: what is synced, and in which order."""

import os
from pathlib import Path

import pytest

from riskengine.durable import make_folder, replace_file


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths that are synced, in order."""
    paths: list[str] = []
    really = os.fsync

    def fsync(descriptor: int) -> None:
        paths.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        really(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    return paths


def test_each_new_folder_is_durable_in_the_one_above(tmp_path: Path, synced: list[str]) -> None:
    """Goal: no loss of power takes a whole data directory. Method: three new levels, then the same again."""
    make_folder(tmp_path / "a" / "b" / "c")
    make_folder(tmp_path / "a" / "b" / "c")

    assert [str(tmp_path), str(tmp_path / "a"), str(tmp_path / "a" / "b")] == synced
    assert 0o700 == (tmp_path / "a" / "b" / "c").stat().st_mode & 0o777


def test_file_is_synced_before_it_has_its_name(tmp_path: Path, synced: list[str]) -> None:
    """Goal: old or new, whole. Method: replace a file; the content is synced under another name, then the folder."""
    path = tmp_path / "file"
    path.write_text("old")
    replace_file(path, b"new")

    assert b"new" == path.read_bytes()
    assert [f"{path}.tmp", str(tmp_path)] == synced
    assert [path] == list(tmp_path.iterdir())


def test_failure_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Goal: nothing half-written under the name. Method: the sync of the content fails."""
    path = tmp_path / "file"
    path.write_text("old")

    def fail(_descriptor: int) -> None:
        raise OSError(5, "no")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="no"):
        replace_file(path, b"new")

    assert "old" == path.read_text()
