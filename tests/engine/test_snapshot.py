"""Snapshots: what is read is what was written, or it is refused; and what a failing disk leaves behind."""

import dataclasses
import errno
import os
import shutil
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from riskengine.engine.configuration import Configuration
from riskengine.engine.snapshot import (
    SnapshotDamaged,
    check_snapshot,
    discard_partial,
    load_snapshot,
    read_snapshot_header,
    remove_snapshot,
    retire_snapshot,
    snapshot_paths,
)
from riskengine.engine.snapshot.format import HEADER_BYTES, pack_head
from riskengine.engine.state import State
from tests.engine.conftest import LIMITS
from tests.engine.journals import fill, requests, take_snapshot
from tests.journal.disks import FaultyDisk, Inode, SimulatedDisk

FILES = ("allocate", "write", "sync_data", "sync_file", "replace", "sync_folder")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory, rules_only: Configuration) -> Path:
    """A directory with one snapshot."""
    folder = tmp_path_factory.mktemp("written")
    fill(folder, rules_only, requests(300, seed=1))
    take_snapshot(folder, rules_only)
    return folder


def snapshot_of(folder: Path) -> Path:
    """Returns the newest snapshot."""
    return snapshot_paths(folder)[0]


def refused(path: Path, configuration: Configuration) -> str:
    """Returns why a file is refused, by checking and by loading, which must leave the state as it was."""
    state = State(configuration.features, LIMITS)
    empty = state.digest()
    with pytest.raises(SnapshotDamaged) as caught:
        check_snapshot(path)
    with pytest.raises(SnapshotDamaged):
        load_snapshot(path, state)
    assert empty == state.digest()
    return caught.value.message


def test_state_comes_back_to_the_bit(written: Path, rules_only: Configuration) -> None:
    """Goal: every array, cursor and free list. Method: load, compare digests and each array; zeros were not written."""
    header = read_snapshot_header(snapshot_of(written))
    state = State(rules_only.features, LIMITS)

    load_snapshot(snapshot_of(written), state)

    assert header.digest == state.digest()
    assert (300, 301) == (state.sequence, header.anchor.next_sequence)
    assert [1] == list(header.names)
    reserved = sum(array.nbytes for array in state.arrays().values())
    assert snapshot_of(written).stat().st_size < reserved / 3


def test_every_wrong_byte_of_head_and_table_is_noticed(
    written: Path, rules_only: Configuration, tmp_path: Path
) -> None:
    """Goal: F7, 100 % detected. Method: one bit of each byte before the blocks, and of a thousand bytes of the blocks."""
    whole = snapshot_of(written).read_bytes()
    blocks_at = read_snapshot_header(snapshot_of(written)).blocks_offset
    generator = np.random.Generator(np.random.PCG64(1))
    places = [*range(HEADER_BYTES), *generator.integers(HEADER_BYTES, blocks_at, 600).tolist()]
    places += [*generator.integers(blocks_at, len(whole), 200).tolist(), len(whole) - 1]
    path = tmp_path / snapshot_of(written).name
    path.write_bytes(whole)
    check_snapshot(path)
    for place in places:
        with path.open("r+b") as file:
            file.seek(place)
            file.write(bytes([whole[place] ^ (1 << (place % 8))]))
        with pytest.raises(SnapshotDamaged):
            check_snapshot(path)
        with path.open("r+b") as file:
            file.seek(place)
            file.write(whole[place : place + 1])
    check_snapshot(path)


def test_state_is_proved_by_its_digest(written: Path, rules_only: Configuration, tmp_path: Path) -> None:
    """Goal: F7, sound checksums over another state are not believed. Method: a head that tells another digest."""
    whole = snapshot_of(written).read_bytes()
    header = read_snapshot_header(snapshot_of(written))
    head = pack_head(dataclasses.replace(header, digest="00" * 16))
    path = tmp_path / snapshot_of(written).name
    path.write_bytes(head + whole[len(head) :])

    check_snapshot(path)
    with pytest.raises(SnapshotDamaged, match="not the one that was written"):
        load_snapshot(path, State(rules_only.features, LIMITS))


def test_damage_is_told_and_touches_no_state(written: Path, rules_only: Configuration, tmp_path: Path) -> None:
    """Goal: a reason for the log, nothing half loaded. Method: the kinds of damage, one each."""
    whole = snapshot_of(written).read_bytes()
    path = tmp_path / "0000000000000300.snapshot"

    def told(content: bytes) -> str:
        path.write_bytes(content)
        return refused(path, rules_only)

    assert "fewer than a header" in told(b"")
    assert "checksum of its header" in told(b"x" * 200)
    assert "checksum of its document" in told(whole[: HEADER_BYTES + 10])
    assert f"it has {len(whole) - 1} bytes instead of {len(whole)}" in told(whole[:-1])
    assert f"it has {len(whole) + 1} bytes instead of {len(whole)}" in told(whole + b"\0")
    assert "checksum of block" in told(whole[:-1] + bytes([whole[-1] ^ 1]))
    path.unlink()
    assert "cannot be read" in refused(path, rules_only)


def test_snapshot_of_other_bounds_is_refused(written: Path, rules_only: Configuration) -> None:
    """Goal: no array is filled that does not fit, whoever chose the file. Method: a state of half the size."""
    limits = dataclasses.replace(LIMITS, recent_decisions_max=200)

    with pytest.raises(SnapshotDamaged, match="does not fit"):
        load_snapshot(snapshot_of(written), State(rules_only.features, limits))


@pytest.mark.parametrize("name", FILES)
def test_full_disk_leaves_what_was_there(written: Path, rules_only: Configuration, tmp_path: Path, name: str) -> None:
    """Goal: F12, nothing half written under the name, no space kept. Method: each call fails once, at its first and last."""
    folder = tmp_path / "data"
    shutil.copytree(written, folder)
    before = snapshot_of(folder).read_bytes()
    for call in (1, 2, 3):
        disk = FaultyDisk()

        def fault(called: str, count: int, wanted: int = call) -> None:
            if called == name and count == wanted:
                raise OSError(errno.ENOSPC, "no space")

        disk.fault = fault
        with suppress(OSError):
            take_snapshot(folder, rules_only, disk=disk)
        assert before == snapshot_of(folder).read_bytes()
        assert [snapshot_of(folder).name] == [path.name for path in (folder / "snapshots").iterdir()]


def test_short_write_is_an_error(written: Path, rules_only: Configuration, tmp_path: Path) -> None:
    """Goal: F9. Method: a disk that writes 100 bytes of what it was given."""
    folder = tmp_path / "data"
    shutil.copytree(written, folder)
    disk = FaultyDisk()
    disk.fault = lambda name, count: 100 if name == "write" else None

    with pytest.raises(OSError, match="short write"):
        take_snapshot(folder, rules_only, disk=disk)


def test_snapshot_is_removed_in_steps_that_nobody_takes_for_one(written: Path, tmp_path: Path) -> None:
    """Goal: syncs of the journal wait for no large file to be freed. Method: what is there at each pause, and afterwards."""
    folder = tmp_path / "snapshots"
    folder.mkdir()
    path = folder / snapshot_of(written).name
    path.write_bytes(snapshot_of(written).read_bytes() + bytes(3 << 20))
    sizes: list[int] = []

    def look(_: int) -> None:
        assert [] == snapshot_paths(tmp_path)
        (left,) = folder.iterdir()
        sizes.append(left.stat().st_size)

    remove_snapshot(path, pause=look)
    remove_snapshot(path, pause=look)

    assert len(sizes) >= 3
    assert list(range(len(sizes) << 20, 0, -1 << 20)) == sizes
    assert [] == list(folder.iterdir())


def test_retired_snapshot_is_written_over_by_the_next_one(
    written: Path, rules_only: Configuration, tmp_path: Path
) -> None:
    """Goal: no space is freed while syncs wait. Method: the same file is the next snapshot, whole; a second spare is removed."""
    folder = tmp_path / "data"
    shutil.copytree(written, folder)
    old = snapshot_of(folder)
    content, inode = old.read_bytes(), old.stat().st_ino
    os.truncate(old, len(content) // 2)
    other = old.with_name("0000000000000001.snapshot")
    other.write_bytes(b"another one")

    retire_snapshot(old)
    retire_snapshot(other)
    retire_snapshot(other)
    assert [] == snapshot_paths(folder)
    take_snapshot(folder, rules_only)
    written_over = snapshot_of(folder)

    assert [written_over.name] == [path.name for path in (folder / "snapshots").iterdir()]
    assert inode == written_over.stat().st_ino
    check_snapshot(written_over)


def test_spare_that_is_too_large_is_no_part_of_the_next_snapshot(
    written: Path, rules_only: Configuration, tmp_path: Path
) -> None:
    """Goal: a snapshot ends where its head says. Method: a spare with bytes behind the end."""
    folder = tmp_path / "data"
    shutil.copytree(written, folder)
    old = snapshot_of(folder)
    size_bytes = old.stat().st_size
    old.write_bytes(old.read_bytes() + b"behind")
    retire_snapshot(old)

    take_snapshot(folder, rules_only)
    written_over = snapshot_of(folder)

    assert size_bytes == written_over.stat().st_size
    check_snapshot(written_over)


def test_leftovers_of_a_killed_writer_are_removed(written: Path, tmp_path: Path) -> None:
    """Goal: no space is lost for ever. Method: a leftover; only it goes."""
    folder = tmp_path / "data"
    shutil.copytree(written, folder)
    (folder / "snapshots" / "0000000000000301.tmp").write_bytes(b"half")

    assert 1 == discard_partial(folder)
    assert [snapshot_of(written).name] == [path.name for path in (folder / "snapshots").iterdir()]
    assert 0 == discard_partial(folder)


def test_power_loss_at_any_step_leaves_the_old_or_the_new_one(
    written: Path, rules_only: Configuration, tmp_path: Path
) -> None:
    """Goal: F2, F3, F4: what has the name is whole. Method: a simulated disk that loses power behind each call, thrice.

    The disk holds an older snapshot; after each loss that or the new one is there, every byte of them proved.
    """
    old = snapshot_of(written).read_bytes()
    disk = SimulatedDisk()
    folder = written / "snapshots"
    disk.entries[folder / "0000000000000100.snapshot"] = Inode(bytearray(old), bytearray(old))
    disk.durable_entries = dict(disk.entries)
    generator = np.random.Generator(np.random.PCG64(7))
    seen: list[list[str]] = []

    def look(_: str) -> None:
        for _trial in range(3):
            after = disk.after_power_loss(generator)
            names = sorted(path.name for path in after.entries if path.suffix == ".snapshot")
            seen.append(names)
            for path, inode in after.entries.items():
                if path.suffix == ".snapshot" and bytes(inode.cache) != old:
                    copy = tmp_path / path.name
                    copy.write_bytes(inode.cache)
                    check_snapshot(copy)

    disk.on_call = look
    path = take_snapshot(written, rules_only, disk=disk)

    assert bytes(disk.entries[path].cache) == old
    assert all("0000000000000100.snapshot" in names for names in seen)
    assert path.name in seen[-1]
    assert path.name not in seen[0]
