"""Where an engine begins when it opens a directory: with which snapshot, with none, or not at all; and that it never matters."""

import logging
import shutil
from pathlib import Path

import numpy as np
import pytest

from riskengine.engine.activation import Activation, state_key_of
from riskengine.engine.configuration import Configuration
from riskengine.engine.engine import Engine
from riskengine.engine.snapshot import read_snapshot_header, snapshot_paths
from riskengine.enums import Kind
from riskengine.errors import StartRefused
from riskengine.journal.reader import Activated, JournalReader, segments, trim
from riskengine.lab.replay import replay
from tests.engine.conftest import LIMITS
from tests.engine.journals import (
    FEWER_ROWS,
    MORE_WINDOWS,
    SEGMENT_BYTES,
    bits,
    commit_all,
    edited,
    fill,
    open_engine,
    requests,
    take_snapshot,
)

logger_name = "riskengine.engine"


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Returns the warnings of the engine."""
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def begun_at(caplog: pytest.LogCaptureFixture) -> int:
    """Returns the sequence that the last recovery folded from."""
    told = [r.getMessage() for r in caplog.records if "folds the journal from sequence" in r.getMessage()]
    return int(told[-1].split("sequence ")[1].split(" ")[0])


@pytest.fixture(autouse=True)
def _listen(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger=logger_name)


@pytest.mark.parametrize("seed", range(8))
def test_snapshot_and_the_rest_are_the_whole(
    tmp_path: Path, with_model: Configuration, caplog: pytest.LogCaptureFixture, seed: int
) -> None:
    """Goal: a snapshot changes no bit, wherever it is taken. Method: random cuts and batch sizes against an engine that went on.

    The stream fills the tables beyond their bounds, so slots, free lists, sweeps and evictions are half done at the cut.
    """
    generator = np.random.Generator(np.random.PCG64(seed))
    count = 700
    events = requests(count, seed=50 + seed, entity_count=int(generator.choice([8, 40, 300])))
    events["kind"][:: int(generator.integers(3, 9))] = Kind.RECORD
    outcomes = generator.random(count) < 0.05
    events["kind"][outcomes] = Kind.OUTCOME
    events["outcome_type"][outcomes] = 1
    steady = open_engine(tmp_path / "steady", with_model)
    expected = commit_all(steady, events, batch=int(generator.integers(1, 80)))
    stop = int(generator.integers(100, count - 50))
    folder = tmp_path / "cut"
    decisions = [fill(folder, with_model, events[:stop], batch=int(generator.integers(1, 60)))]
    cut = read_snapshot_header(
        take_snapshot(folder, with_model, sequence=int(generator.integers(1, stop + 1)))
    ).sequence

    engine = open_engine(folder, with_model)
    decisions.append(commit_all(engine, events[stop:], batch=int(generator.integers(1, 80))))

    assert cut + 1 == begun_at(caplog)
    assert bits(expected) == bits(np.concatenate(decisions))
    assert steady.state.digest() == engine.state.digest()
    steady.close()
    engine.close()


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory, rules_only: Configuration) -> tuple[Path, str]:
    """A directory of 1,600 events with snapshots at 400, 800 and 1,200, and the digest of its state."""
    folder = tmp_path_factory.mktemp("filled") / "data"
    fill(folder, rules_only, requests(1600, seed=1), batch=10)
    engine = open_engine(folder, rules_only)
    digest = engine.state.digest()
    engine.close()
    for sequence in (400, 800, 1200):
        take_snapshot(folder, rules_only, sequence=sequence)
    return folder, digest


@pytest.fixture
def data(filled: tuple[Path, str], tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(filled[0], tmp_path / "data"))


def reopen(folder: Path, configuration: Configuration) -> str:
    """Opens, returns the digest, closes."""
    engine = open_engine(folder, configuration)
    digest = engine.state.digest()
    engine.close()
    return digest


def test_newest_snapshot_is_used(
    data: Path, filled: tuple[Path, str], rules_only: Configuration, caplog: pytest.LogCaptureFixture
) -> None:
    """Goal: a restart folds what came since. Method: three snapshots; the log says from where."""
    assert filled[1] == reopen(data, rules_only)
    assert 1201 == begun_at(caplog)
    assert [] == warnings_of(caplog)


@pytest.mark.parametrize("damaged", [1, 2, 3])
def test_damaged_snapshots_are_passed_over(
    data: Path, filled: tuple[Path, str], rules_only: Configuration, caplog: pytest.LogCaptureFixture, damaged: int
) -> None:
    """Goal: F7. Method: a bit in the blocks, a header, a length; the log names each file, the state is the same."""
    paths = snapshot_paths(data)[:damaged]
    for path, place in zip(paths, (-1, 20, None), strict=False):
        content = bytearray(path.read_bytes())
        if place is None:
            content = content[: len(content) // 2]
        else:
            content[place] ^= 1
        path.write_bytes(content)

    assert filled[1] == reopen(data, rules_only)
    assert [1201, 801, 401, 1][damaged] == begun_at(caplog)
    assert damaged == len(warnings_of(caplog))
    assert {path.name for path in paths} == {told.split(" ")[1] for told in warnings_of(caplog)}


def test_snapshot_of_another_journal_is_passed_over(
    data: Path, filled: tuple[Path, str], rules_only: Configuration, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """Goal: F7, another node's file. Method: one of a journal with the same events and another id."""
    fill(tmp_path / "other", rules_only, requests(100, seed=1), batch=10)
    for path in snapshot_paths(data):
        path.unlink()
    shutil.copy(take_snapshot(tmp_path / "other", rules_only), data / "snapshots")

    assert filled[1] == reopen(data, rules_only)
    assert 1 == begun_at(caplog)
    assert "belongs to another journal" in warnings_of(caplog)[0]


def test_snapshot_of_another_past_is_passed_over(
    data: Path, filled: tuple[Path, str], rules_only: Configuration, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """Goal: a hash stands for all that precedes. Method: a copy of the journal goes another way, and gets a snapshot there."""
    other = tmp_path / "other"
    first = fill(other, rules_only, requests(10, seed=1), batch=10)
    assert len(first) == 10
    for folder in (data, other):
        shutil.rmtree(folder / "snapshots", ignore_errors=True)
    shutil.copytree(other, tmp_path / "data2")
    fill(tmp_path / "data2", rules_only, requests(60, seed=2)[10:], batch=10)
    fill(other, rules_only, requests(100, seed=3)[10:], batch=10)
    taken = take_snapshot(tmp_path / "data2", rules_only)
    (other / "snapshots").mkdir()
    shutil.copy(taken, other / "snapshots")

    reopen(other, rules_only)

    assert 1 == begun_at(caplog)
    assert "the journal is not the one that it was made from" in warnings_of(caplog)[0]


def test_snapshot_ahead_of_the_journal_refuses_the_start(data: Path, rules_only: Configuration, tmp_path: Path) -> None:
    """Goal: events that were answered and are gone are never passed over in silence. Method: an older copy of the journal.

    The message names what is missing; without the snapshot the engine starts, as the operator then wants.
    """
    older = tmp_path / "older"
    shutil.copytree(data, older)
    fill(data, rules_only, requests(1650, seed=4)[1600:], batch=10)
    ahead = take_snapshot(data, rules_only)
    shutil.copy(ahead, older / "snapshots")

    with pytest.raises(StartRefused, match=rf"{ahead.name}.* sequence 1650, .* before sequence 1601") as refused:
        open_engine(older, rules_only)
    (older / "snapshots" / ahead.name).unlink()
    open_engine(older, rules_only).close()

    assert "1601" == refused.value.metadata["sequence"]


def test_configuration_larger_than_a_segment_is_told(tmp_path: Path, rules_only: Configuration) -> None:
    """Goal: an operator knows what to raise. Method: segments of 16 KiB; nothing but an empty journal is left."""
    with pytest.raises(StartRefused, match=r"the configuration takes \d+ bytes.* set journal_segment_mib"):
        Engine.open(tmp_path, rules_only, limits=LIMITS, segment_bytes=16 << 10)
    Engine.open(tmp_path, rules_only, limits=LIMITS, segment_bytes=1 << 20).close()


def test_lost_journal_is_not_begun_anew(data: Path, rules_only: Configuration) -> None:
    """Goal: F30, a disk that is gone is told. Method: remove the journal, keep the snapshots, then the activation alone."""
    shutil.rmtree(data / "journal")

    with pytest.raises(StartRefused, match=r"there is no journal in .* but .*0000000000001200.snapshot tells of one"):
        open_engine(data, rules_only)
    shutil.rmtree(data / "snapshots")
    with pytest.raises(StartRefused, match=r"there is no journal in .* but .*active.json tells of one"):
        open_engine(data, rules_only)
    assert not (data / "journal").exists()


@pytest.mark.parametrize(("change", "begun"), [(MORE_WINDOWS, 1201), (FEWER_ROWS, 1)], ids=["windows", "rows"])
def test_snapshot_is_used_by_who_makes_the_same_state(
    data: Path,
    rules_only: Configuration,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
    change: tuple[str, str],
    begun: int,
) -> None:
    """Goal: another window is free, another measure has its whole history. Method: change each, fold whole, compare."""
    other = edited(tmp_path / "edited", *change)
    digest = reopen(data, other)
    shutil.rmtree(data / "snapshots")

    assert begun == begun_at(caplog)
    assert [] == warnings_of(caplog)
    assert (begun == 1) == any("of other features" in record.getMessage() for record in caplog.records)
    assert (begun == 1) == (state_key_of(other) != state_key_of(rules_only))
    assert digest == reopen(data, other)


def trimmed(folder: Path) -> int:
    """Gives up all segments before that of the newest snapshot; returns the first sequence kept."""
    newest = read_snapshot_header(snapshot_paths(folder)[0])
    trim(folder, first_kept_index=newest.anchor.segment_index)
    return segments(folder)[0].first_sequence


def test_trimmed_journal_opens_from_its_snapshot(
    data: Path, filled: tuple[Path, str], rules_only: Configuration, caplog: pytest.LogCaptureFixture
) -> None:
    """Goal: F4, F7: the journal may be short. Method: trim; state, catalogue and later decisions are as ever."""
    assert trimmed(data) > 1
    engine = open_engine(data, rules_only)
    again = engine.commit(requests(1600, seed=1)[1590:])[0]

    assert filled[1] != ""
    assert 1201 == begun_at(caplog)
    assert [1] == [names["revision"] for names in engine.catalog()]
    assert {1} == set(again.tolist()), "known requests are repeated"
    engine.close()
    assert filled[1] == reopen(data, rules_only)


def test_trimmed_journal_without_a_snapshot_is_refused(data: Path, rules_only: Configuration) -> None:
    """Goal: no state is made of half a history in silence. Method: trim, damage; the message names file and sequence."""
    first = trimmed(data)
    name = segments(data)[0].path.name
    for path in snapshot_paths(data):
        path.write_bytes(b"")

    with pytest.raises(StartRefused, match=rf"begins with {name} at byte 0, sequence {first}, not 1") as refused:
        open_engine(data, rules_only)

    assert {"file": name, "offset": "0", "sequence": str(first)} == refused.value.metadata
    assert "--shorter-history" in refused.value.message


def test_shorter_history_is_accepted_once_and_remembered(
    data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Goal: an operator may go on with what there is, and replay still comes out the same. Method: trim, new features, go on.

    The activation tells where the history begins; later starts need no word, with or without a snapshot of the new state.
    """
    first = trimmed(data)
    other = edited(tmp_path / "edited", *FEWER_ROWS)
    with pytest.raises(StartRefused):
        open_engine(data, other)
    engine = open_engine(data, other, shorter_history=True)
    commit_all(engine, requests(1700, seed=1)[1600:], batch=10)
    digest = engine.state.digest()
    engine.close()

    told = [Activation.read(item) for item in JournalReader(data) if isinstance(item, Activated)]
    assert [(2, first, 1601)] == [(each.revision, each.since, each.sequence) for each in told]
    assert digest == reopen(data, other)
    report = replay(data, from_sequence=1601)
    assert (1601, 100, 0) == (report.first_sequence, report.event_count, report.difference_count)
    assert [2] == report.revisions
    assert any("begins with sequence" in told for told in warnings_of(caplog))


def test_progress_counts_bytes_that_are_there(data: Path, rules_only: Configuration) -> None:
    """Goal: a bar that reaches its end, and not before. Method: the journal's segments are mostly zeros still."""
    for path in snapshot_paths(data):
        path.unlink()
    told: list[tuple[int, int]] = []

    Engine.open(
        data,
        rules_only,
        limits=LIMITS,
        segment_bytes=SEGMENT_BYTES,
        on_progress=lambda done, total: told.append((done, total)),
    ).close()

    assert told[-1][0] == told[-1][1]
    assert sorted(told) == told
