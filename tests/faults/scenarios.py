"""The scenarios that CI runs briefly and `make soak` for hours: a server, load, a fault, the oracle; again.

INVARIANTS: a scenario is a function of a folder, a seed and a length; what is random about it comes from the seed (when
processes really die, the machine decides as well). Used by tests and by `tools.soak`.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tests.faults.running import ENGINE, EVERYTHING, FRONT, SUPERVISOR, FaultyServer

from .ledger import Ledger, attempt_batch
from .load import Load
from .oracle import Oracle, Violation, repeat_all
from .power import PowerDisk
from .traffic import Traffic

OnStep = Callable[[str], None]
TARGETS = (ENGINE,) * 4 + (FRONT,) * 2 + (EVERYTHING,) * 3 + (SUPERVISOR,)
LOAD_S = (0.1, 0.8)
NESTED_S_MAX = 4.0
LAST_WORDS_S = 1.0
"""For the front to pass on what the engine acknowledged before it died."""
ROLL_BATCHES, ROLL_ROWS = 4, 250
"""Fill more than a segment."""
POINTS = {"pwrite": 30, "fdatasync": 30, "fsync": 3, "rename": 2, "posix_fallocate": 2, "unlink": 1}
"""Disk calls of a crash point's scenario, at least."""


@dataclass(slots=True)
class Site:
    """A server with its ledger, traffic and judge."""

    server: FaultyServer
    seed: int
    ledger: Ledger = field(default_factory=Ledger)
    traffic: Traffic = field(init=False)
    oracle: Oracle = field(init=False)

    def __post_init__(self) -> None:
        self.traffic = Traffic(self.ledger, seed=self.seed)
        self.oracle = Oracle(self.server.config_dir, self.server.config_dir.parent / "scratch")

    def load(self, *, batches: float = 0.015) -> Load:
        """Returns load on the present life; a context manager."""
        return Load(self.server.channel, self.ledger, self.traffic, batches=batches)

    def hurt(self) -> None:
        """Counts a fault."""
        self.ledger.life += 1

    def check(self, *, steady: bool = True) -> int:
        """Asks the oracle; returns how many requests were journaled."""
        return len(self.oracle.check(self.server, self.ledger, steady=steady).events)


def kill_round(
    folder: Path,
    *,
    seed: int,
    targets: Sequence[str] = TARGETS,
    steady_every: int = 1,
    on_step: OnStep = lambda _: None,
) -> Site:
    """Kills processes of one server under load, in an order of the seed, and asks the oracle after each restart.

    One in four restarts of everything is itself killed at a random time (a crash within recovery).

    Args:
        folder: Empty.
        seed: Of load, order and times.
        targets: What to kill, each once.
        steady_every: The whole oracle is asked after each so many kills and after the last; else its quick part.
        on_step: Told each target when its restart was judged.

    Raises:
        Violation: Something was lost, counted twice or decided otherwise.
    """
    rng = np.random.default_rng(seed)
    with FaultyServer(folder) as server:
        site = Site(server, seed)
        for number, index in enumerate(rng.permutation(len(targets)), start=1):
            target = targets[index]
            with site.load():
                time.sleep(float(rng.uniform(*LOAD_S)))
                site.hurt()
                mark = server.mark()
                _kill(server, target, rng)
                if target in (ENGINE, FRONT):
                    server.wait_restarted(target, after=mark)
            if target in (EVERYTHING, SUPERVISOR):
                if rng.random() < 0.25:
                    server.launch()
                    time.sleep(float(rng.uniform(0, NESTED_S_MAX)))
                    server.kill_all(rng)
                server.start()
            site.check(steady=number % steady_every == 0 or number == len(targets))
            on_step(target)
        assert 0 == server.stop()
    return site


def power_round(
    folder: Path, *, seed: int, losses: Sequence[Sequence[dict[str, Any]]], on_step: OnStep = lambda _: None
) -> Site:
    """Takes the power from the disk of a server under load, kills everything, mounts, restarts, asks the oracle.

    Args:
        folder: Empty.
        seed: Of load and times.
        losses: For each, the faults of the disk from the moment the load begins, see `engine`; without the action
            ``power`` among them, it is lost at a random time.
        on_step: Told when each restart was judged.

    Raises:
        CannotMount: This machine does not let us mount a loop device.
        Violation: As `kill_round`.
    """
    rng = np.random.default_rng(seed)
    with (
        PowerDisk(folder / "disk", folder / "disk.image") as disk,
        FaultyServer(folder, data_dir=disk.folder / "data") as server,
    ):
        site = Site(server, seed)
        for plan in losses:
            lose_power(site, disk, rng, plan)
            site.oracle.check_kept(site.oracle.read(), site.ledger)
            server.start()
            site.check()
            on_step("power loss")
    return site


def lose_power(site: Site, disk: PowerDisk, rng: np.random.Generator, plan: Sequence[dict[str, Any]]) -> None:
    """Loses power once under load, and mounts what is left."""
    server = site.server
    with site.load():
        mark = server.mark()
        if plan:
            server.plan(*plan)
        if any(fault["action"] == "power" for fault in plan):
            server.wait("death", lambda told: told.get("stage") == "restarting", after=mark)
            time.sleep(LAST_WORDS_S)
        else:
            time.sleep(float(rng.uniform(0.3, 1.5)))
            disk.lose_power()
        site.hurt()
        server.kill_all(rng)
    disk.power_up()


def crash_points(
    folder: Path, *, call: str, action: str, first: int = 1, last: int = 1_000, on_step: OnStep = lambda _: None
) -> int:
    """Has the n-th disk call of a kind fail, for each n, until a scenario ends without meeting the fault.

    Args:
        folder: Empty.
        call, action: As `engine` takes them.
        first: Where n begins.
        last: Where it ends at the latest.
        on_step: Told each fault when its restart was judged.

    Returns:
        How many n met their fault.

    Raises:
        Violation: As `kill_round`; the message names n.
    """
    for when in range(first, last + 1):
        try:
            met = crash_point(folder / f"{call}-{when}", {"call": call, "when": when, "action": action})
        except AssertionError as error:
            raise Violation(f"{action} in place of {call} number {when}: {error}") from error
        if not met:
            return when - first
        on_step(f"{action} at {call} {when}")
    return last - first + 1


def crash_point(folder: Path, fault: dict[str, Any]) -> bool:
    """Has one disk call of a new server fail, then the same call of one that recovers; asks the oracle at the end.

    Returns:
        Whether the fault was met at all.
    """
    folder.mkdir(parents=True)
    server = FaultyServer(folder)
    site = Site(server, seed=fault["when"])
    met = False
    try:
        for life in range(2):
            server.plan(fault)
            server.start()
            for _ in range(ROLL_BATCHES):
                entries = [site.traffic.score() for _ in range(ROLL_ROWS)]
                attempt_batch(server.channel, site.ledger, entries, timeout_s=5.0)
            repeat_all(server.channel, site.ledger)
            met = not server.unplan() or met
            site.hurt()
            if life == 0:
                server.kill_all()
        site.check()
    finally:
        server.close()
    return met


def _kill(server: FaultyServer, target: str, rng: np.random.Generator) -> None:
    if target == EVERYTHING:
        server.kill_all(rng)
    elif target == SUPERVISOR:
        server.kill_supervisor()
    else:
        server.kill(target)
