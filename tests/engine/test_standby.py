"""Taking over from an engine that decides: what was folded ahead, the order, the directory; and what never becomes a mix."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from riskengine.clock import SystemClock
from riskengine.engine.activation import SEMANTICS, state_key_of
from riskengine.engine.active import read_active
from riskengine.engine.candidate import (
    ActivationAborted,
    Candidate,
    discard_candidate,
    give_up_candidate,
    hold_candidate,
    keep_candidate,
    read_candidate,
    usable_headers,
)
from riskengine.engine.configuration import Configuration
from riskengine.engine.engine import Engine
from riskengine.engine.forerunner import Forerunner
from riskengine.engine.origin import Ahead, activations_from
from riskengine.engine.process import EXIT_DONE, GO
from riskengine.engine.standby import stand_by
from riskengine.errors import StartRefused
from tests.engine.conftest import LIMITS
from tests.engine.journals import FEWER_ROWS, SEGMENT_BYTES, bits, commit_all, edited, fill, open_engine, requests
from tests.server.activating import until


@pytest.fixture
def orders() -> Iterator[tuple[int, int]]:
    """A pipe: where the process reads its order, where the supervisor writes it."""
    reader, writer = os.pipe()
    yield reader, writer
    for descriptor in (reader, writer):
        try:
            os.close(descriptor)
        except OSError:
            continue


class Aside(threading.Thread):
    """A process that stands by, as a thread."""

    def __init__(self, folder: Path, candidate: Candidate, orders: int) -> None:
        super().__init__()
        self.stages: list[str] = []
        self.ahead: Ahead | None = None
        self.exit: object = None
        self._arguments: tuple[Any, ...] = (folder, candidate)
        self._orders = orders
        self.start()

    def run(self) -> None:
        try:
            self.ahead = stand_by(
                *self._arguments,
                report=lambda stage, **_: self.stages.append(stage),
                clock=SystemClock(),
                orders=self._orders,
                wakeups=(),
            )
        except SystemExit as end:
            self.exit = end.code


def take_over(folder: Path, configuration: Configuration, ahead: Ahead) -> Engine:
    """Opens the engine that stood by."""
    return Engine.open(folder, configuration, limits=LIMITS, segment_bytes=SEGMENT_BYTES, ahead=ahead)


def test_engine_that_takes_over_is_the_one_that_would_have_been_there(
    tmp_path: Path, rules_only: Configuration, orders: tuple[int, int]
) -> None:
    """Goal: an activation changes no bit of the state.

    Method: two engines of one stream: one changed while it went on, by an engine that stood by and waited for the directory;
    one that folded everything under the new features.
    """
    changed = edited(tmp_path / "changed", *FEWER_ROWS)
    events = requests(600, seed=3)
    engine = open_engine(tmp_path / "data", rules_only)
    commit_all(engine, events[:300], batch=16)
    aside = Aside(tmp_path / "data", Candidate(changed, 1), orders[0])
    until(lambda: "standing_by" in aside.stages, "an engine that stands by")
    commit_all(engine, events[300:350], batch=16)
    os.write(orders[1], GO)
    commit_all(engine, events[350:400], batch=16)
    assert "taking_over" not in aside.stages
    engine.close()
    aside.join(20)
    assert aside.ahead is not None
    engine = take_over(tmp_path / "data", changed, aside.ahead)
    decisions = commit_all(engine, events[400:], batch=16)
    fill(tmp_path / "other", rules_only, events[:400])
    fresh = open_engine(tmp_path / "other", changed)

    assert bits(decisions) == bits(commit_all(fresh, events[400:], batch=16))
    assert engine.state.digest() == fresh.state.digest()
    assert [(1, 1), (2, 401)] == [(each.revision, each.sequence) for each in activations_from(tmp_path / "data", None)]
    active = read_active(tmp_path / "data")
    assert active is not None
    assert (2, changed.content, SEMANTICS) == (active.revision, active.configuration, active.semantics)


def test_nothing_happens_without_the_order(tmp_path: Path, rules_only: Configuration, orders: tuple[int, int]) -> None:
    """Goal: a supervisor that is killed takes the one that stands by along. Method: close the pipe instead of the order."""
    fill(tmp_path / "data", rules_only, requests(50, seed=3))
    aside = Aside(tmp_path / "data", Candidate(edited(tmp_path / "changed", *FEWER_ROWS), 1), orders[0])
    until(lambda: "standing_by" in aside.stages, "an engine that stands by")
    os.close(orders[1])
    aside.join(20)

    assert (EXIT_DONE, None) == (aside.exit, aside.ahead)
    assert 1 == len(list(activations_from(tmp_path / "data", None)))


def test_candidate_survives_the_way_through_its_folder(tmp_path: Path, with_model: Configuration) -> None:
    """Goal: what was checked goes live, without key or files. Method: write one with a model, read it."""
    fill(tmp_path, with_model, requests(20, seed=3))
    keep_candidate(tmp_path, Candidate(with_model, 7))

    found = read_candidate(tmp_path)
    assert (with_model.content, 7) == (found.configuration.content, found.since)
    discard_candidate(tmp_path)
    with pytest.raises(StartRefused, match="tells of no configuration"):
        read_candidate(tmp_path)


def test_snapshot_of_a_candidate_is_no_activation(tmp_path: Path, rules_only: Configuration) -> None:
    """Goal: a crash between back-fill and change leaves the old configuration deciding, and what was folded is reused.

    Method: write a candidate's snapshot; open under the old configuration, then under the new one.
    """
    changed = edited(tmp_path / "changed", *FEWER_ROWS)
    data_dir = tmp_path / "data"
    fill(data_dir, rules_only, requests(300, seed=3))
    candidate = Candidate(changed, 1)
    keep_candidate(data_dir, candidate)
    forerunner = Forerunner(data_dir, candidate, clock=SystemClock())
    while forerunner.turn():
        pass
    forerunner.write(make_durable=lambda _: None, pause=lambda _: None)
    engine = open_engine(data_dir, rules_only)
    engine.close()

    assert [1] == [each.revision for each in activations_from(data_dir, None)]
    (header,) = usable_headers(data_dir)
    assert (state_key_of(changed), 300, 1) == (header.key, header.sequence, header.activation.revision)
    assert 300 == Forerunner(data_dir, candidate, clock=SystemClock()).first
    engine = open_engine(data_dir, changed)
    assert 2 == engine.configuration.revision
    engine.close()


def test_one_activation_at_a_time(tmp_path: Path) -> None:
    """Goal: two commands never prepare one folder. Method: hold it, try again, let go."""
    (tmp_path / "candidate").mkdir()
    lock = hold_candidate(tmp_path)

    with pytest.raises(ActivationAborted, match=f"another activation is under way .*process {os.getpid()}"):
        hold_candidate(tmp_path)
    assert not give_up_candidate(tmp_path, pause=lambda _: None)
    os.close(lock)
    assert give_up_candidate(tmp_path, pause=lambda _: None)
