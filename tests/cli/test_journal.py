"""Commands that look into a journal, mend it and keep it; on a copy of the golden one."""

import json
import shutil
from pathlib import Path

import pytest

from riskengine.journal.directory import lock_data_dir
from riskengine.journal.reader import segments, trim, verify
from tests.cli.running import Run
from tests.journal.goldens import GOLDEN

EVENTS, ACTIVATIONS, FRAMES = 48, 2, 18


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """A data folder with five segments, to be changed."""
    return Path(shutil.copytree(GOLDEN / "v1", tmp_path / "data"))


def damage(data_dir: Path, *, segment: int, offset: int) -> None:
    """Flips a bit."""
    path = segments(data_dir)[segment].path
    content = bytearray(path.read_bytes())
    content[offset] ^= 16
    path.write_bytes(content)


def test_inspect_lists_frames(command: Run, data_dir: Path) -> None:
    """Goal: what is where. Method: all, from the middle on, a few; as words and as JSON."""
    ran = command("journal", "inspect", data_dir)
    told = [json.loads(line) for line in command("journal", "inspect", data_dir, "--json").out.splitlines()]
    middle = command("journal", "inspect", data_dir, "--from", "20", "--limit", "2", "--json").out.splitlines()

    assert (0, "") == (ran.code, ran.err)
    assert ran.out.count("events") == FRAMES - ACTIVATIONS
    assert [FRAMES, EVENTS, ACTIVATIONS] == [
        len(told),
        sum(frame["rows"] for frame in told),
        sum(frame["kind"] == "activation" for frame in told),
    ]
    assert verify(data_dir).frame_bytes == sum(frame["bytes"] for frame in told)
    first = json.loads(middle[0])
    assert first["first_sequence"] <= 20 < first["first_sequence"] + first["rows"]
    assert len(middle) == 2


def test_inspect_shows_what_precedes_damage_and_tells_it(command: Run, data_dir: Path) -> None:
    """Goal: one sees how far it is sound. Method: damage in the third segment."""
    damage(data_dir, segment=2, offset=200)
    ran = command("journal", "inspect", data_dir)

    assert ran.code == 1
    assert [line.split()[:3] for line in ran.out.splitlines()[-2:]] == [["1", "events", "8"], ["1", "events", "12"]]
    assert "damaged" in ran.err
    assert "journal repair" in ran.err


def test_inspect_shows_rows_in_clear_words(command: Run, data_dir: Path) -> None:
    """Goal: a person reads decisions. Method: three rows as a table and as JSON, names of rules included."""
    pytest.importorskip("riskengine.store")
    ran = command("journal", "inspect", data_dir, "--rows", "--from", "30", "--limit", "3")
    told = command("journal", "inspect", data_dir, "--rows", "--limit", "100", "--json").out.splitlines()
    rows = [json.loads(line) for line in told]

    assert ran.code == 0, ran.err
    assert ["30", "31", "32"] == [line.split("\t")[0] for line in ran.out.splitlines()[1:]]
    assert list(range(1, EVENTS + 1)) == [row["sequence"] for row in rows]
    assert {"APPROVE", "DECLINE"} <= {row["verdict"] for row in rows}
    assert {"large_amount"} <= {rule for row in rows for rule in row["fired_rules"]}


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl"])
def test_export_writes_each_event_once(command: Run, data_dir: Path, tmp_path: Path, suffix: str) -> None:
    """Goal: the journal for other programs. Method: all, a range; nothing is replaced unasked; a trimmed journal."""
    pytest.importorskip("riskengine.store")
    from pyarrow import parquet

    def read(path: Path) -> list[dict[str, object]]:
        if suffix == ".jsonl":
            return [json.loads(line) for line in path.read_text().splitlines()]
        rows: list[dict[str, object]] = parquet.read_table(path).to_pylist()
        return rows

    target, part, rest = (tmp_path / f"{name}{suffix}" for name in ("all", "part", "rest"))
    ran = command("journal", "export", data_dir, "--out", target)
    again = command("journal", "export", data_dir, "--out", target)
    command("journal", "export", data_dir, "--out", part, "--from", "17", "--to", "31")
    trim(data_dir, first_kept_index=4)
    trimmed = command("journal", "export", data_dir, "--out", rest)

    assert ran.code == 0, ran.err
    assert "Sequences 1 to 48" in ran.out
    assert (2, True) == (again.code, "--force" in again.err)
    rows = read(target)
    assert list(range(1, EVENTS + 1)) == [row["sequence"] for row in rows]
    assert rows[16:31] == read(part)
    assert "told as numbers" in trimmed.err
    assert [row["sequence"] for row in rows[39:]] == [row["sequence"] for row in read(rest)]
    assert "rule_1" in str(read(rest))


def test_export_asks_for_a_file_it_can_write(command: Run, data_dir: Path, tmp_path: Path) -> None:
    """Goal: mistakes are told before work. Method: no file, another suffix, an empty range."""
    for arguments in ([], ["--out", tmp_path / "x.csv"], ["--out", tmp_path / "x.jsonl", "--from", "5", "--to", "4"]):
        ran = command("journal", "export", data_dir, *arguments)

        assert ran.code == 2, ran.out
        assert "--" in ran.err


def test_repair_says_what_is_lost_and_changes_nothing_unasked(command: Run, data_dir: Path) -> None:
    """Goal: an operator decides knowingly. Method: damage; look; look again."""
    damage(data_dir, segment=2, offset=200)
    before = {path: path.read_bytes() for path in data_dir.rglob("*") if path.is_file()}
    ran = command("journal", "repair", data_dir)

    assert ran.code == 0, ran.err
    assert "Kept: sequences 1 to 15" in ran.out
    assert "Lost: sequences 16 to 48, 33 events" in ran.out
    assert "Nothing was changed" in ran.out
    assert before == {path: path.read_bytes() for path in data_dir.rglob("*") if path.is_file()}


def test_repair_writes_what_is_valid_and_keeps_the_rest_aside(command: Run, data_dir: Path) -> None:
    """Goal: the engine starts again, nothing is thrown away. Method: damage, repair, verify; snapshots ahead go aside."""
    damage(data_dir, segment=2, offset=200)
    (data_dir / "snapshots").mkdir()
    for sequence in (10, 15, 16, 40):
        (data_dir / "snapshots" / f"{sequence:016d}.snapshot").touch()
    day = data_dir / "decisions" / "day=2023-11-14"
    day.mkdir(parents=True)
    for first, last in ((1, 12), (13, 20), (21, 40)):
        (day / f"{first:016d}-{last:016d}.parquet").touch()
    before = {segment.path.name: segment.path.read_bytes() for segment in segments(data_dir)}
    ran = command("journal", "repair", data_dir, "--write")
    again = command("journal", "repair", data_dir)
    (broken,) = data_dir.glob("journal.broken-*")

    assert ran.code == 0, ran.err
    assert "4 files of snapshots and decisions" in ran.out
    assert [f"{1:016d}-{12:016d}.parquet"] == [path.name for path in day.iterdir()]
    assert "Nothing to repair" in again.out
    assert (1, 15) == (verify(data_dir).first_sequence, verify(data_dir).last_sequence)
    assert before == {path.name: path.read_bytes() for path in broken.glob("*.journal")}
    assert ["0" * 14 + "10", "0" * 14 + "15"] == sorted(path.stem for path in (data_dir / "snapshots").iterdir())
    assert len(list((broken / "snapshots").iterdir())) == 2


def test_repair_waits_for_the_engine_to_stop(command: Run, data_dir: Path) -> None:
    """Goal: never under a running engine or follower. Method: hold each lock; looking is allowed, writing is not."""
    import os

    from riskengine.follower.loop import lock_follower

    damage(data_dir, segment=2, offset=200)
    lock = lock_data_dir(data_dir)
    looked, wrote = command("journal", "repair", data_dir), command("journal", "repair", data_dir, "--write")
    os.close(lock)
    lock = lock_follower(data_dir)
    followed = command("journal", "repair", data_dir, "--write")
    os.close(lock)

    assert (0, 1) == (looked.code, wrote.code)
    assert "in use by the engine" in wrote.err
    assert 1 == followed.code
    assert "has a follower already" in followed.err
    assert [] == list(data_dir.glob("journal.broken-*"))


def test_archive_copies_what_is_finished(command: Run, data_dir: Path, tmp_path: Path) -> None:
    """Goal: copies on another disk. Method: archive twice; the open file is named; without a folder it is asked for."""
    ran = command("journal", "archive", data_dir, "--to", tmp_path / "archive")
    again = command("journal", "archive", data_dir, "--to", tmp_path / "archive", "--check")
    asked = command("journal", "archive", data_dir)

    assert ran.code == 0, ran.err
    assert "4 files copied, 0 there already" in ran.err
    assert "0 files copied, 4 there already" in again.err
    assert "sequences 1 to 39" in ran.out
    assert f"Not included: {segments(data_dir)[-1].path.name}" in ran.out
    assert (2, True) == (asked.code, "--to" in asked.err)
