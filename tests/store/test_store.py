"""What the store promises while nothing goes wrong."""

from datetime import date
from pathlib import Path

import pytest

from riskengine.errors import StoreFault
from riskengine.store.folder import store_folder
from riskengine.store.merging import DAY_PARTS_MAX
from riskengine.store.store import DecisionStore
from tests.store.builders import CATALOG, DATA_DIR, files_in, filled, pairs, pairs_of, part_of, simulated, stream


def test_rows_are_there_after_flush_and_the_next_process_goes_on_behind_them(tmp_path: Path) -> None:
    """Goal: each row once. Method: flush some, leave some in memory, open anew, feed again from `next_sequence`."""
    whole = stream(40)
    store = DecisionStore(tmp_path)
    store.append(*part_of(whole, 0, 25), CATALOG)
    store.flush()
    store.append(*part_of(whole, 25, 40), CATALOG)

    again = DecisionStore(tmp_path)

    assert (26, 15) == (store.next_sequence, store.waiting_count)
    assert (26, 0) == (again.next_sequence, again.waiting_count)
    again.append(*part_of(whole, 25, 40), CATALOG)
    again.flush()
    assert pairs(whole[0]) == pairs_of(tmp_path)


def test_file_holds_one_day_and_is_called_by_its_rows(tmp_path: Path) -> None:
    """Goal: a layout that tools understand. Method: 30 rows over three days in one flush."""
    filled(tmp_path, stream(30, days=3))

    found = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.parquet"))

    assert [
        "decisions/day=2026-03-01/0000000000000001-0000000000000010.parquet",
        "decisions/day=2026-03-02/0000000000000011-0000000000000020.parquet",
        "decisions/day=2026-03-03/0000000000000021-0000000000000030.parquet",
    ] == found
    assert {0o600} == {path.stat().st_mode & 0o777 for path in tmp_path.rglob("*.parquet")}


def test_memory_is_bounded_by_flushing_while_rows_are_appended(tmp_path: Path) -> None:
    """Goal: rows_max holds. Method: append ten times as many at once."""
    whole = stream(100, days=1)
    store = DecisionStore(tmp_path, rows_max=10)

    store.append(*whole, CATALOG)

    assert (91, 10) == (store.next_sequence, store.waiting_count)


@pytest.mark.parametrize("first", [0, 5, 10, 19])
def test_rows_that_are_there_already_are_passed_over(tmp_path: Path, first: int) -> None:
    """Goal: feeding again changes nothing. Method: overlap what is durable, what waits, and what is new."""
    whole = stream(40)
    store = DecisionStore(tmp_path)
    store.append(*part_of(whole, 0, 10), CATALOG)
    store.flush()
    store.append(*part_of(whole, 10, 20), CATALOG)

    store.append(*part_of(whole, first, 40), CATALOG)
    store.append(*part_of(whole, 0, 3), CATALOG)
    store.flush()

    assert pairs(whole[0]) == pairs_of(tmp_path)


def test_gap_is_refused(tmp_path: Path) -> None:
    """Goal: no row is left out unnoticed. Method: skip one, behind durable rows and behind waiting ones."""
    whole = stream(40)
    store = DecisionStore(tmp_path)

    with pytest.raises(StoreFault, match="rows 1 to 1 were left out"):
        store.append(*part_of(whole, 1, 10), CATALOG)
    store.append(*part_of(whole, 0, 10), CATALOG)
    with pytest.raises(StoreFault, match="rows 11 to 11 were left out"):
        store.append(*part_of(whole, 11, 20), CATALOG)
    store.flush()

    assert pairs(whole[0][:10]) == pairs_of(tmp_path)


def test_empty_store_can_begin_behind_rows_that_are_gone(tmp_path: Path) -> None:
    """Goal: a store for a journal that was trimmed. Method: begin late, open anew, append; later it is refused."""
    whole = stream(20, first_sequence=500)
    DecisionStore(tmp_path).begin(500)
    store = DecisionStore(tmp_path)

    store.append(*whole, CATALOG)
    store.flush()

    assert pairs(whole[0]) == pairs_of(tmp_path)
    with pytest.raises(StoreFault, match="only an empty store"):
        store.begin(900)


def test_days_that_are_over_become_one_file(tmp_path: Path) -> None:
    """Goal: few files to read. Method: many small flushes over three days; the last day is still under way."""
    whole = stream(90, days=3)
    store = filled(tmp_path, whole, flush_rows=5)

    merged = store.compact()

    assert 12 == merged
    assert [30, 30, *[5] * 6] == [part.row_count for part in store.parts]
    assert 8 == len(files_in(tmp_path))
    assert pairs(whole[0]) == pairs_of(tmp_path)
    assert store.compact() == 0


def test_many_files_of_the_current_day_are_merged() -> None:
    """Goal: a bound while the day lasts. Method: compact after each flush of one row; never many files, rarely merged."""
    whole, files = stream(100, days=1), simulated()
    store = DecisionStore(DATA_DIR, files=files)
    merged = 0
    for row in range(100):
        store.append(*part_of(whole, row, row + 1), CATALOG)
        store.flush()
        merged += store.compact()

        assert len(store.parts) <= DAY_PARTS_MAX + 1

    assert pairs(whole[0]) == pairs_of(DATA_DIR, files=files)
    assert merged < 2.5 * 100


def test_merged_file_has_its_bound(tmp_path: Path) -> None:
    """Goal: bounded work. Method: files of 5 rows, at most 12 in one."""
    whole = stream(60, days=2)
    filled(tmp_path, whole, flush_rows=5)
    store = DecisionStore(tmp_path, part_rows_max=12)

    store.compact()

    assert [10, 10, 10] == [part.row_count for part in store.parts][:3]
    assert pairs(whole[0]) == pairs_of(tmp_path)


def test_erasure_replaces_a_tag_wherever_it_is_and_nothing_else(tmp_path: Path) -> None:
    """Goal: forgetting somebody. Method: rows on disk and in memory; only one column changes, a repeat changes nothing."""
    whole = stream(60)
    store = filled(tmp_path, part_of(whole, 0, 50), flush_rows=20)
    store.append(*part_of(whole, 50, 60), CATALOG)
    expected = whole[0].copy()
    expected["card_tag"][expected["card_tag"] == 3] = 999

    changed = store.erase("card", 3, 999)
    repeated = store.erase("card", 3, 999)

    assert (12, 0) == (changed, repeated)
    assert pairs(expected) == pairs_of(tmp_path)
    assert 0 == store.erase("device", 4, 999), "another column is not looked at"


def test_erasure_can_stop_at_a_sequence(tmp_path: Path) -> None:
    """Goal: an erasure that is told again later spares what came after it. Method: erase before the middle."""
    whole = stream(60)
    store = filled(tmp_path, whole)
    expected = whole[0].copy()
    expected["card_tag"][:30][expected["card_tag"][:30] == 3] = 999

    assert 6 == store.erase("card", 3, 999, before=31)
    assert pairs(expected) == pairs_of(tmp_path)


def test_old_days_are_dropped_and_feeding_goes_on_behind_them(tmp_path: Path) -> None:
    """Goal: retention. Method: drop one day, then all, with rows waiting; open anew each time."""
    whole = stream(30, days=3)
    store = filled(tmp_path, part_of(whole, 0, 25))
    store.append(*part_of(whole, 25, 30), CATALOG)

    assert 10 == store.drop_before(date(2026, 3, 2))
    assert pairs(whole[0][10:25]) == pairs_of(tmp_path)
    assert 15 == store.drop_before(date(2026, 4, 1))
    assert [] == pairs_of(tmp_path)
    again = DecisionStore(tmp_path)
    assert 26 == again.next_sequence
    store.flush()
    assert pairs(whole[0][25:]) == pairs_of(tmp_path)
    assert ["day=2026-03-03", "next.json"] == sorted(path.name for path in store_folder(tmp_path).iterdir())


def test_day_deleted_by_hand_is_no_damage_unless_rows_after_it_stay(tmp_path: Path) -> None:
    """Goal: the oldest may go, a hole may not be. Method: delete the first day, then the one in the middle."""
    filled(tmp_path, stream(40, days=4))
    folder = store_folder(tmp_path)
    for path in sorted(folder.rglob("*.parquet"))[:1]:
        path.unlink()
    fine = DecisionStore(tmp_path)
    for path in sorted(folder.rglob("*.parquet"))[1:2]:
        path.unlink()

    assert [(11, 20), (21, 30), (31, 40)] == [(part.first, part.last) for part in fine.parts]
    with pytest.raises(StoreFault, match=r"decisions 21 to 30 are missing.*from a copy"):
        DecisionStore(tmp_path)


def test_what_is_no_file_of_ours_is_left_alone(tmp_path: Path) -> None:
    """Goal: nobody's notes are deleted. Method: strange names beside ours."""
    filled(tmp_path, stream(10, days=1))
    folder = store_folder(tmp_path)
    for name in ("README", "day=yesterday", "day=2026-03-01/notes.parquet", "day=2026-03-01/1-2.parquet"):
        (folder / name).write_text("mine")

    store = DecisionStore(tmp_path)

    assert 11 == store.next_sequence
    assert "mine" == (folder / "day=2026-03-01" / "1-2.parquet").read_text()


def test_damaged_file_is_named(tmp_path: Path) -> None:
    """Goal: damage is told and not copied. Method: flip a byte of each third of a file, then merge and erase."""
    whole = stream(20, days=1)
    store = filled(tmp_path, whole, flush_rows=10)
    path = store.parts[0].path(store.folder)
    good = path.read_bytes()
    for at in (100, len(good) // 2, len(good) - 20):
        path.write_bytes(good[:at] + bytes([good[at] ^ 0xFF]) + good[at + 1 :])

        with pytest.raises(StoreFault, match=r"0{15}1-0{14}10\.parquet cannot be read .*from a copy"):
            DecisionStore(tmp_path)._merge(store.parts)

    path.write_bytes(good)
    assert pairs(whole[0]) == pairs_of(tmp_path)
    assert 2 == len(files_in(tmp_path))


def test_note_of_where_to_go_on_is_read_with_care(tmp_path: Path) -> None:
    """Goal: no guess. Method: what a hand or a bad disk may leave in it."""
    filled(tmp_path, stream(10, days=1)).drop_before(date(2027, 1, 1))
    note = store_folder(tmp_path) / "next.json"
    for text in ("", "{", "[]", "{}", '{"next_sequence": "5"}', '{"next_sequence": 0}'):
        note.write_text(text)

        with pytest.raises(StoreFault, match="cannot be understood"):
            DecisionStore(tmp_path)
