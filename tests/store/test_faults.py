"""Calls of the disk that fail while the process lives: a full disk, an error, a file that cannot be removed."""

import errno
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from riskengine.errors import StoreFault, StoreFull
from riskengine.store import parquet
from riskengine.store.files import OsFiles
from riskengine.store.folder import store_folder
from riskengine.store.store import DecisionStore
from tests.store.builders import (
    CATALOG,
    DATA_DIR,
    files_in,
    filled,
    pairs,
    pairs_of,
    part_of,
    simulated,
    stream,
)
from tests.store.disks import SimulatedFiles, failing_at

Step = Callable[[DecisionStore], object]
STEPS: dict[str, Step] = {
    "flush": lambda store: store.flush(),
    "compact": lambda store: store.compact(),
    "erase": lambda store: store.erase("card", 2, 999),
    "drop": lambda store: store.drop_before(date(2026, 3, 2)),
    "drop all": lambda store: store.drop_before(date(2026, 4, 1)),
}
CALLS_MAX = 60
ROWS = stream(18, days=3)
Hook = Callable[[str], None]


def no_fault(name: str) -> None:
    """Lets a call be."""


def prepared(files: SimulatedFiles) -> DecisionStore:
    """Returns a store of small files of three days, with rows that wait."""
    store = filled(DATA_DIR, part_of(ROWS, 0, 14), flush_rows=4, files=files)
    store.append(*part_of(ROWS, 14, 18), CATALOG)
    return store


def outcome_of(step: Step, *, before: Hook | None = None, after: Hook | None = None) -> tuple[object, bool]:
    """Does a step, again if it failed; returns what is stored after a last flush, and whether it failed."""
    files = simulated()
    store = prepared(files)
    files.before, files.after = before or no_fault, after or no_fault
    failed = False
    try:
        step(store)
    except StoreFault:
        failed = True
        files.before = files.after = no_fault
        step(store)
    files.before = files.after = no_fault
    store.flush()

    assert [] == [name for name in _all_names(files) if name.endswith(".partial")]
    return (pairs_of(DATA_DIR, files=files), store.next_sequence), failed


def _all_names(files: SimulatedFiles) -> list[str]:
    folder = store_folder(DATA_DIR)
    return [inner for name in files.names(folder) for inner in (name, *files.names(folder / name))]


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("name", STEPS)
def test_step_that_failed_can_be_repeated(name: str, when: str) -> None:
    """Goal: no error is for good. Method: each call fails in turn, without or with its effect; repeat: all is as without."""
    expected, _ = outcome_of(STEPS[name])
    for call in range(CALLS_MAX):
        fault = failing_at(call, lambda: OSError(errno.ENOSPC, "told to"))
        found, failed = outcome_of(STEPS[name], **{when: fault})

        assert expected == found
        if not failed:
            break
    assert 3 < call < CALLS_MAX - 1, "every call had its turn"


def test_full_disk_is_told_and_left_as_it_was(tmp_path: Path) -> None:
    """Goal: ENOSPC is an answer. Method: a disk that takes no bytes; the rows wait, nothing half-made is there; then space."""
    whole = stream(30, days=3)
    files = FullFiles()
    store = filled(tmp_path, part_of(whole, 0, 10), files=files)
    store.append(*part_of(whole, 10, 30), CATALOG)
    files.full = True

    for _ in range(2):
        with pytest.raises(StoreFull, match="is full; free space"):
            store.flush()
        assert (11, 20) == (store.next_sequence, store.waiting_count)
        assert ["0000000000000001-0000000000000010.parquet"] == files_in(tmp_path)
    files.full = False
    store.flush()

    assert pairs(whole[0]) == pairs_of(tmp_path)


def test_full_disk_is_told_also_in_the_middle_of_a_large_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Goal: the error number survives the Parquet library. Method: pass every piece on at once; the first fails."""
    monkeypatch.setattr(parquet, "WRITE_BYTES", 1)
    files = FullFiles()
    store = DecisionStore(tmp_path, files=files)
    store.append(*stream(10, days=1), CATALOG)
    files.full = True

    with pytest.raises(StoreFull):
        store.flush()
    assert [] == files_in(tmp_path)
    files.full = False
    store.flush()
    assert 11 == store.next_sequence


def test_full_disk_stops_feeding_at_the_bound(tmp_path: Path) -> None:
    """Goal: memory stays bounded. Method: append more than fits; it raises, and the same rows may be appended again."""
    whole = stream(40, days=1)
    files = FullFiles()
    store = DecisionStore(tmp_path, rows_max=10, files=files)
    files.full = True

    for _ in range(2):
        with pytest.raises(StoreFull):
            store.append(*whole, CATALOG)
        assert store.waiting_count == 10
    files.full = False
    store.append(*whole, CATALOG)
    store.flush()

    assert pairs(whole[0]) == pairs_of(tmp_path)


def test_old_days_can_be_dropped_from_a_full_disk(tmp_path: Path) -> None:
    """Goal: retention frees space where there is none. Method: drop days while no byte can be written."""
    whole = stream(30, days=3)
    files = FullFiles()
    store = filled(tmp_path, whole, files=files)
    files.full = True

    assert 20 == store.drop_before(date(2026, 3, 3))
    assert pairs(whole[0][20:]) == pairs_of(tmp_path)


def test_files_that_vanish_under_a_store_are_noticed(tmp_path: Path) -> None:
    """Goal: no hole is written. Method: somebody deletes the newest file, a call fails, rows wait behind the hole."""
    whole = stream(30, days=1)
    files = FullFiles()
    store = filled(tmp_path, part_of(whole, 0, 20), flush_rows=10, files=files)
    store.append(*part_of(whole, 20, 30), CATALOG)
    store.parts[-1].path(store.folder).unlink()
    files.full = True
    with pytest.raises(StoreFull):
        store.flush()
    files.full = False

    with pytest.raises(StoreFault, match="feed it again from 11 on"):
        store.flush()
    store.append(*part_of(whole, 10, 30), CATALOG)
    store.flush()

    assert pairs(whole[0]) == pairs_of(tmp_path)


def test_folder_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    """Goal: a message, not a traceback. Method: a file where the folder should be."""
    store_folder(tmp_path).write_text("")

    with pytest.raises(StoreFault, match="decisions cannot be written"):
        DecisionStore(tmp_path)


class FullFiles(OsFiles):
    """The system's files, on a disk that may have no space for another byte."""

    full = False

    def write(self, descriptor: int, data: bytes | bytearray) -> None:
        if self.full:
            super().write(descriptor, data[: len(data) // 2])
            raise OSError(errno.ENOSPC, "No space left on device")
        super().write(descriptor, data)
