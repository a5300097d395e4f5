"""The long version of the fault tests: kills by the thousand, power losses, every disk call failing once.

    kills     kill -9 of processes of a real server under load, the oracle after each restart
    power     power loss of a disk of its own, at random times and at exact calls (root)
    points    the n-th disk call of each kind kills the engine or fails, for every n, in creation, service and recovery
    full      a full disk, filled and freed (root)
    callers   a storm of 100,000 repeats across a kill; 100,000 calls with deadlines of 1 to 20 ms
    journal   the journal on a simulated disk that loses power at 100,000 points

INVARIANTS: everything random comes from the seed, which is printed; when processes really die is the machine's affair, too.
A failure ends the soak, keeps its folder, and prints the one command that repeats the round it happened in. Called by
`make soak`.
"""

import argparse
import importlib.util
import os
import shutil
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tests.faults import scenarios
from tests.faults.power import CannotMount

ROOT: Final = Path(__file__).resolve().parent.parent
SCRATCH: Final = ROOT / ".build" / "soak"
KILLS_A_ROUND: Final = 20
LOSSES_A_ROUND: Final = 5
STEADY_EVERY: Final = 5
TELL_S: Final = 60
"""How often to say how far it is where there is no terminal for a bar."""
JOURNAL_SOAK: Final = "tests.journal.crash_soak"
PYTEST: Final = (sys.executable, "-m", "pytest", "--no-header", "-q", "-x", "--timeout=7200", "-p", "no:cacheprovider")
POWER_POINTS: Final = (("posix_fallocate", 2), ("fdatasync", 40), ("pwrite", 40), ("rename", 30), ("fsync", 3))
"""Kinds of calls at which power is lost, and up to which of them."""


class Skipped(Exception):
    """A task that this machine cannot do; says why."""


@dataclass(frozen=True, slots=True)
class Round:
    """One piece of a task.

    Attributes:
        repeat: The arguments that run it alone.
        steps: How many steps it reports.
        run: Takes a folder and whom to tell each step.
    """

    repeat: str
    steps: int
    run: Callable[[Path, scenarios.OnStep], None]


def kills(options: argparse.Namespace) -> Iterator[Round]:
    """Yields rounds of kills."""
    for first in range(0, options.kills, KILLS_A_ROUND):
        seed, count = options.seed + first // KILLS_A_ROUND, min(KILLS_A_ROUND, options.kills - first)
        targets = [scenarios.TARGETS[index % len(scenarios.TARGETS)] for index in range(count)]

        def run(folder: Path, on_step: scenarios.OnStep, seed: int = seed, targets: list[str] = targets) -> None:
            scenarios.kill_round(folder, seed=seed, targets=targets, steady_every=STEADY_EVERY, on_step=on_step)

        yield Round(f"kills --seed {seed} --kills {count}", count, run)


def power(options: argparse.Namespace) -> Iterator[Round]:
    """Yields rounds of power losses, every other one at an exact call."""
    for first in range(0, options.power, LOSSES_A_ROUND):
        seed, count = options.seed + first // LOSSES_A_ROUND, min(LOSSES_A_ROUND, options.power - first)

        def run(folder: Path, on_step: scenarios.OnStep, seed: int = seed, count: int = count) -> None:
            rng = np.random.default_rng(seed)
            losses = [[] if number % 2 else [_power_point(rng)] for number in range(count)]
            try:
                scenarios.power_round(folder, seed=seed, losses=losses, on_step=on_step)
            except CannotMount as why:
                raise Skipped(str(why)) from None

        yield Round(f"power --seed {seed} --power {count}", count, run)


def points(options: argparse.Namespace) -> Iterator[Round]:
    """Yields a round for each kind of disk call and fault; those that nobody has asked for in parts."""
    for call in options.calls.split(",") if options.calls else sorted(scenarios.POINTS):
        for action in ("kill", "EIO", "short") if call == "pwrite" else ("kill", "EIO"):

            def run(folder: Path, on_step: scenarios.OnStep, call: str = call, action: str = action) -> None:
                met = scenarios.crash_points(folder, call=call, action=action, on_step=on_step)
                assert met >= scenarios.POINTS[call], f"{call} failed only {met} times"

            yield Round(f"points --calls {call}", scenarios.POINTS[call], run)


def full(options: argparse.Namespace) -> Iterator[Round]:
    """Yields the full disk."""
    yield _pytest("full", "tests/faults/test_f11_disk_full.py", RISKENGINE_CYCLES=options.cycles)


def callers(options: argparse.Namespace) -> Iterator[Round]:
    """Yields the storm and the short deadlines."""
    del options
    yield _pytest("callers", "tests/faults/test_f14_retry_storm.py", RISKENGINE_CALLERS=50, RISKENGINE_COPIES=50)
    yield _pytest("callers", "tests/faults/test_f16_f17_callers_leave.py", RISKENGINE_CALLS=25_000)


def journal(options: argparse.Namespace) -> Iterator[Round]:
    """Yields the simulated disk."""

    def run(_folder: Path, _on_step: scenarios.OnStep) -> None:
        if importlib.util.find_spec(JOURNAL_SOAK) is None:
            raise Skipped(f"there is no {JOURNAL_SOAK}")
        _call([sys.executable, "-m", JOURNAL_SOAK, "--crashes", str(options.crashes)], {})

    yield Round(f"journal --crashes {options.crashes}", 1, run)


TASKS: Final[dict[str, Callable[[argparse.Namespace], Iterator[Round]]]] = {
    task.__name__: task for task in (kills, power, points, full, callers, journal)
}


def main() -> int:
    """Runs all tasks, or those named; returns the exit code."""
    options = arguments()
    console = Console(stderr=True, highlight=False)
    console.print(f"seed {options.seed}; at most {options.minutes} minutes begin a round")
    deadline_s = time.monotonic() + 60 * options.minutes
    for name in options.tasks or TASKS:
        rounds = list(TASKS[name](options))
        if not run_task(name, rounds, deadline_s, console):
            return 1
    return 0


def arguments() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(prog="python -m tools.soak", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("tasks", nargs="*", choices=[*TASKS, []], help="what to run; all when none is named")
    parser.add_argument("--seed", type=int, default=int(time.time()) % 1_000_000, help="of everything random")
    parser.add_argument("--minutes", type=float, default=240, help="no round begins after so many")
    parser.add_argument("--kills", type=int, default=1_000)
    parser.add_argument("--power", type=int, default=20, help="power losses")
    parser.add_argument("--cycles", type=int, default=20, help="of the full disk")
    parser.add_argument("--calls", default="", help="points: only these kinds of disk calls, with commas between them")
    parser.add_argument("--crashes", type=int, default=100_000, help="of the simulated disk")
    return parser.parse_args()


def run_task(name: str, rounds: list[Round], deadline_s: float, console: Console) -> bool:
    """Runs the rounds of one task under a bar; tells what came of it and returns whether all is well."""
    done = 0
    started_s = told_s = time.monotonic()
    columns: tuple[Any, ...] = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    hidden = not console.is_terminal
    with Progress(*columns, TimeElapsedColumn(), console=console, transient=True, disable=hidden) as progress:
        task = progress.add_task(name, total=sum(one.steps for one in rounds))

        def on_step(what: str) -> None:
            nonlocal done, told_s
            done += 1
            progress.update(task, completed=done, description=f"{name}: {what}")
            if not console.is_terminal and time.monotonic() > told_s + TELL_S:
                told_s = time.monotonic()
                console.print(f"{name}: {done} steps in {told_s - started_s:.0f} s")

        for one in rounds:
            if time.monotonic() > deadline_s:
                console.print(f"{name}: out of time")
                break
            folder = SCRATCH / f"{name}-{os.getpid()}"
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            try:
                one.run(folder, on_step)
            except Skipped as why:
                console.print(f"{name}: skipped, {why}")
                break
            except Exception:  # noqa: BLE001 whatever it is, say how to see it again
                console.print(traceback.format_exc(), markup=False)
                console.print(f"{name} FAILED; its folder is {folder.relative_to(ROOT)}. To repeat it:", style="red")
                console.print(f'  make soak SOAK="{one.repeat}"', markup=False)
                return False
            shutil.rmtree(folder)
    console.print(f"{name}: {done} steps in {time.monotonic() - started_s:.0f} s, nothing lost, nothing counted twice")
    return True


def _power_point(rng: np.random.Generator) -> dict[str, Any]:
    call, last = POWER_POINTS[int(rng.integers(0, len(POWER_POINTS)))]
    return {"call": call, "when": int(rng.integers(1, last + 1)), "action": "power"}


def _pytest(name: str, path: str, **environment: int) -> Round:
    """Returns a round that is a test of CI with larger numbers."""

    def run(_folder: Path, on_step: scenarios.OnStep) -> None:
        _call([*PYTEST, path], {key: str(value) for key, value in environment.items()})
        on_step(path)

    return Round(name, 1, run)


def _call(command: list[str], environment: dict[str, str]) -> None:
    done = subprocess.run(command, cwd=ROOT, env=os.environ | environment, check=False, capture_output=True, text=True)
    if done.returncode:
        raise AssertionError(f"{' '.join(command)} ended with status {done.returncode}\n{done.stdout}\n{done.stderr}")


if __name__ == "__main__":
    sys.exit(main())
