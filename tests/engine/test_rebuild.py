"""The engine just before any event, and replay from anywhere: the very state, whatever snapshots and segments are there."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from riskengine.engine.configuration import Configuration
from riskengine.engine.rebuild import first_rebuildable, state_before, state_now
from riskengine.engine.snapshot import read_snapshot_header, snapshot_paths
from riskengine.errors import StartRefused
from riskengine.journal.reader import segments, trim
from riskengine.lab.replay import Replay, replay
from riskengine.types import DECISION, rows_of, words
from tests.engine.journals import (
    FEWER_ROWS,
    MORE_WINDOWS,
    bits,
    commit_all,
    edited,
    fill,
    open_engine,
    requests,
    take_snapshot,
)

EVENTS = 1500
CHANGES = (500, 900)
"""Where another configuration begins: one with other rows of a curve, then one with the starter's and another window."""


class Story:
    """A directory that was written under three configurations.

    Attributes:
        folder: The data directory.
        configurations: In the order in which they were active.
        decisions: Of all events.
    """

    def __init__(self, folder: Path, configurations: list[Configuration]) -> None:
        self.folder = folder
        self.configurations = configurations
        events = requests(EVENTS, seed=3, entity_count=12)
        bounds = [0, *CHANGES, EVENTS]
        parts = [
            fill(folder, configuration, events[first:last], batch=7)
            for configuration, first, last in zip(configurations, bounds[:-1], bounds[1:], strict=True)
        ]
        self.decisions = np.concatenate(parts)
        self.events = events


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory, rules_only: Configuration) -> Story:
    """The story without snapshots."""
    folder = tmp_path_factory.mktemp("story")
    changed = [edited(folder / "rows", *FEWER_ROWS), edited(folder / "windows", *MORE_WINDOWS)]
    return Story(folder / "data", [rules_only, *changed])


def with_snapshots(story: Story, folder: Path) -> Path:
    """Returns a copy with snapshots of the states that a follower would have had."""
    shutil.copytree(story.folder, folder)
    first, second, third = story.configurations
    for sequence, configuration in ((200, first), (400, first), (700, second), (1000, third), (1300, third)):
        take_snapshot(folder, configuration, sequence=sequence)
    take_snapshot(folder, third, sequence=850, revision=3)
    return folder


def retaken(folder: Path, story: Story, sequence: int, count: int) -> bytes:
    """Returns the bits of decisions taken again on the state before a sequence."""
    rebuilt = state_before(folder, sequence)
    assert sequence - 1 == rebuilt.state.sequence
    events = story.events[sequence - 1 : sequence - 1 + count].copy()
    return bits(rows_of(rebuilt.pipeline.apply(words(events)), DECISION))


@pytest.mark.parametrize("snapshots", [False, True])
@pytest.mark.parametrize("sequence", [1, 2, 200, 201, 350, 500, 501, 650, 900, 901, 1299, 1450])
def test_state_before_an_event_decides_it_again(story: Story, tmp_path: Path, sequence: int, snapshots: bool) -> None:
    """Goal: any decision can be taken again alone. Method: at borders of snapshots and configurations, against the journal."""
    folder = with_snapshots(story, tmp_path / "data") if snapshots else story.folder
    border = next((change for change in (*CHANGES, EVENTS) if change >= sequence), EVENTS)
    count = min(40, border - sequence + 1)

    expected = bits(story.decisions[sequence - 1 : sequence - 1 + count])

    assert expected == retaken(folder, story, sequence, count)


def test_state_behind_the_last_event_is_the_engines(story: Story, tmp_path: Path) -> None:
    """Goal: a backup's digest. Method: compare with an engine that opens the directory."""
    folder = with_snapshots(story, tmp_path / "data")
    engine = open_engine(folder, story.configurations[-1])
    digest = engine.state.digest()
    engine.close()

    assert digest == state_before(folder, EVENTS + 1).state.digest()
    assert digest == state_now(folder).state.digest()
    with pytest.raises(StartRefused, match=f"ends with sequence {EVENTS}, before {EVENTS + 2}"):
        state_before(folder, EVENTS + 2)


@pytest.mark.parametrize("from_sequence", [None, 1, 450, 501, 1200])
def test_replay_from_anywhere_finds_no_difference(story: Story, tmp_path: Path, from_sequence: int | None) -> None:
    """Goal: states are told apart by what they are, not by the names of features.

    Method: three configurations, of which the second differs from the first only in how many rows a curve keeps.
    """
    report = replay(with_snapshots(story, tmp_path / "data"), from_sequence=from_sequence)
    first = from_sequence or 1

    assert (first, EVENTS + 1 - first, 0) == (report.first_sequence, report.event_count, report.difference_count)
    assert [number for number, last in enumerate((*CHANGES, EVENTS), start=1) if last >= first] == report.revisions


def test_the_change_that_no_name_tells_matters(story: Story) -> None:
    """Goal: the test before this one is awake. Method: decide the second configuration's events on the first one's state."""
    other = state_before(story.folder, CHANGES[0])
    other.pipeline.absorb(words(story.events[CHANGES[0] - 1 : CHANGES[0]]))

    assert state_before(story.folder, CHANGES[0] + 1).state.digest() != other.state.digest()


def test_trimmed_journal_is_replayed_from_its_oldest_snapshot(story: Story, tmp_path: Path) -> None:
    """Goal: what is within retention can be replayed. Method: trim before a snapshot; what came earlier is refused."""
    folder = with_snapshots(story, tmp_path / "data")
    header = read_snapshot_header(snapshot_paths(folder)[3])
    assert 700 <= header.sequence < 710
    trim(folder, first_kept_index=header.anchor.segment_index)
    assert segments(folder)[0].first_sequence > 1

    report = Replay(folder).run()

    assert header.anchor.next_sequence == first_rebuildable(folder)
    assert header.anchor.next_sequence == report.first_sequence
    assert (EVENTS - header.sequence, 0) == (report.event_count, report.difference_count)
    with pytest.raises(StartRefused, match=r"restore its earlier files, or a snapshot, from a copy"):
        state_before(folder, 300)


def test_replay_beside_a_running_engine(story: Story, tmp_path: Path, rules_only: Configuration) -> None:
    """Goal: nobody has to stop. Method: replay while an engine holds the directory and its last segment."""
    engine = open_engine(tmp_path / "data", rules_only)
    commit_all(engine, story.events[:100], batch=9)

    report = replay(tmp_path / "data")

    assert (100, 0) == (report.event_count, report.difference_count)
    engine.close()
