"""A change of engines in which something is killed, withdrawn or refused: the old configuration decides, or the new one."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from riskengine.engine.active import read_active
from riskengine.engine.candidate import hold_candidate
from riskengine.engine.origin import activations_from
from riskengine.lab.replay import replay
from riskengine.server.control import Line
from tests.server.activating import QUICK, Callers, activate, ask, change, start_activate, until
from tests.server.running import Server, score_request, serving, write_config

pytestmark = [pytest.mark.server, pytest.mark.timeout(400)]


class Killer:
    """Kills a process the first time that another tells a stage, in the supervisor's own thread: before it does anything else."""

    def __init__(self) -> None:
        self.server: Server | None = None
        self.plan: tuple[str, str, str] | None = None
        self.killed: list[tuple[str, str, str]] = []

    def __call__(self, name: str, stage: dict[str, Any]) -> None:
        if self.plan is None or self.plan[:2] != (name, stage["stage"]):
            return
        self.killed.append(self.plan)
        victim, self.plan = self.plan[2], None
        assert self.server is not None
        os.kill(self.pid_of(victim), signal.SIGKILL)

    def pid_of(self, name: str) -> int:
        """Returns the id of a process, also of the one that stands by."""
        assert self.server is not None
        supervisor = self.server.supervisor
        if name == "next engine":
            assert supervisor._activations._next is not None
            return supervisor._activations._next.pid
        return supervisor.pid_of(name)


@pytest.fixture(scope="module")
def killer() -> Killer:
    """Who kills."""
    return Killer()


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory, killer: Killer) -> Iterator[Server]:
    """A server that each test leaves serving."""
    config_dir = write_config(tmp_path_factory.mktemp("watched") / "config", QUICK)
    with serving(config_dir, on_stage=killer) as running:
        killer.server = running
        yield running


def rename(config_dir: Path, name: str) -> None:
    """Changes a folder: another name of a feature, which changes no state."""
    path = config_dir / "features.yaml"
    text = path.read_text()
    head, _, rest = text.partition("count: [")
    path.write_text(f"{head}count: [{name}, {rest}")


def active_revision(server: Server) -> int:
    """Returns the revision that decides."""
    active = read_active(server.config_dir / "data")
    assert active is not None
    return active.revision


@pytest.mark.parametrize(
    ("plan", "ends", "window"),
    [
        (("next engine", "configuration", "next engine"), {"aborted"}, "3m"),
        (("next engine", "configuration", "engine"), {"activated"}, "4m"),
        (("next engine", "standing_by", "next engine"), {"aborted", "unknown"}, "5m"),
        (("next engine", "standing_by", "engine"), {"activated"}, "6m"),
        (("engine", "taking_over", "engine"), {"unknown", "activated"}, "7m"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_whoever_is_killed_one_configuration_decides(
    watched: Server, killer: Killer, plan: tuple[str, str, str], ends: set[str], window: str
) -> None:
    """Goal: old or new, never a mix, and nobody loses a call. Method: kill -9 at a stage, with calls all the while."""
    data_dir = watched.config_dir / "data"
    before = active_revision(watched)
    rename(watched.config_dir, window)
    with Callers(watched) as callers:
        killer.plan = plan
        stage = ask(watched)
        count = len(callers.decisions)
        until(lambda: len(callers.decisions) > count + 20, "traffic")
    revisions = [each.revision for each in activations_from(data_dir, None)]
    report = replay(data_dir)

    assert plan in killer.killed
    assert stage["stage"] in ends
    assert active_revision(watched) in ({before + 1} if stage["stage"] == "activated" else {before, before + 1})
    assert list(range(1, active_revision(watched) + 1)) == revisions
    assert 0 == report.difference_count
    assert set(callers.reasons) <= {"ENGINE_AWAY", "WARMING"}
    assert watched.calls.ScoreTransaction(score_request(), timeout=5).decision.recorded


def test_who_hangs_up_withdraws(watched: Server, killer: Killer) -> None:
    """Goal: Ctrl-C before the change changes nothing. Method: ask, and hang up while the engine that stands by starts."""
    before = active_revision(watched)
    rename(watched.config_dir, "8m")
    process = start_activate(watched.config_dir)
    until(lambda: watched.supervisor._activations._next is not None, "an engine that stands by")
    pid = killer.pid_of("next engine")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    until(lambda: watched.supervisor._activations._next is None, "its end")

    assert (130, True) == (process.returncode, "stopped" in err)
    assert before == active_revision(watched)
    assert not psutil.pid_exists(pid)


def test_second_activation_is_told_of_the_first(watched: Server) -> None:
    """Goal: no two at once. Method: hold the candidate as a command does."""
    rename(watched.config_dir, "9m")
    lock = hold_candidate(watched.config_dir / "data")
    code, out, err = activate(watched.config_dir)
    os.close(lock)

    assert (1, "") == (code, out)
    assert f"another activation is under way in {watched.config_dir / 'data'} (process {os.getpid()})" in err


def test_server_tells_a_second_asker_to_wait_and_a_stranger_that_it_does_not_understand(watched: Server) -> None:
    """Goal: nothing but what was meant starts an engine. Method: ask twice, and for something else."""
    data_dir = watched.config_dir / "data"
    with Line(data_dir) as first, Line(data_dir) as second, Line(data_dir) as third:
        third.ask("tea")
        assert "does not know what was asked" in next(third.stages(timeout_s=20))["message"]
        first.ask("activate")
        until(lambda: watched.supervisor._activations._next is not None, "an engine that stands by")
        second.ask("activate")
        assert "another activation is under way" in next(second.stages(timeout_s=20))["message"]
    until(lambda: watched.supervisor._activations._next is None, "its end")


def test_refused_candidate_leaves_the_old_engine(watched: Server) -> None:
    """Goal: an engine that cannot take over says why, and the other goes on. Method: no candidate where one is asked for."""
    with Line(watched.config_dir / "data") as line:
        (watched.config_dir / "data" / "candidate" / "configuration.json").unlink(missing_ok=True)
        pid = watched.supervisor.pid_of("engine")
        line.ask("activate")
        stage = next(each for each in line.stages(timeout_s=60) if each["stage"] == "aborted")

    assert "tells of no configuration" in stage["message"]
    assert pid == watched.supervisor.pid_of("engine")
    assert watched.calls.ScoreTransaction(score_request(), timeout=5).decision.recorded


def test_input_in_the_place_of_another_is_refused(watched: Server) -> None:
    """Goal: journaled numbers are never read under another name. Method: swap two."""
    before = (watched.config_dir / "features.yaml").read_text()
    change(watched.config_dir, ("[basket_items, stored_balance]", "[stored_balance, basket_items]"))
    code, _, err = activate(watched.config_dir)
    (watched.config_dir / "features.yaml").write_text(before)

    assert 2 == code
    assert "inputs.numbers of features.yaml: stored_balance stands where basket_items stood" in err


def test_without_a_server_the_way_is_told(tmp_path: Path) -> None:
    """Goal: the person learns what to do. Method: a folder that nobody serves."""
    code, _, err = activate(write_config(tmp_path / "config"))

    assert 1 == code
    assert "no server runs on" in err
    assert "start it with" in err
