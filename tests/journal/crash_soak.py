"""As many deaths as there is time for: ``python -m tests.journal.crash_soak --crashes 100000 --seed 7``.

Each world (see `simulation`) is drawn from the seed and its number, so a failure is told as the one command that repeats
it. Exit code 0: nothing was lost; 1: a violation.

Called by `make soak` and `test_crash`.
"""

import argparse
import logging
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.journal.simulation import World


@dataclass
class Tally:
    """What was simulated.

    Attributes:
        crashes: Deaths, each followed by a recovery that was checked.
        worlds: Data directories.
        depths: How many deaths were the first, second, third ... in a row before a recovery came to its end.
        done: How often each thing was done.
    """

    crashes: int = 0
    worlds: int = 0
    depths: Counter[int] = field(default_factory=Counter)
    done: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        deep = sum(count for depth, count in self.depths.items() if depth >= 3)
        done = ", ".join(f"{count:,} {what}" for what, count in sorted(self.done.items()))
        return f"{self.crashes:,} deaths in {self.worlds:,} worlds, {deep:,} of them 3 or more deep; {done}"


class Violation(Exception):
    """Something acknowledged was lost, or the journal could not be read: the message repeats it."""


def soak(
    *, crashes: int, seed: int, first_world: int = 0, on_world: Callable[[Tally], None] = lambda tally: None
) -> Tally:
    """Simulates worlds until there were so many deaths.

    Args:
        crashes: Deaths, at least.
        seed: Of everything.
        first_world: Number of the first world.
        on_world: Called after each.

    Raises:
        Violation: In the first world in which something is wrong.
    """
    tally = Tally()
    while tally.crashes < crashes:
        number = first_world + tally.worlds
        world = World(seed, number)
        try:
            world.run()
        except Exception as error:
            command = f"python -m tests.journal.crash_soak --seed {seed} --world {number}"
            raise Violation(f"after {world.crashes} deaths: {error}\nrepeat it: {command}") from error
        tally.worlds += 1
        tally.crashes += world.crashes
        tally.depths.update(world.depths)
        tally.done.update(world.done)
        on_world(tally)
    return tally


def main() -> int:
    """Runs, tells how far it is, returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.journal.crash_soak", description=__doc__)
    parser.add_argument("--crashes", type=int, default=100_000, help="deaths to simulate")
    parser.add_argument("--seed", type=int, default=1, help="what everything is drawn from")
    parser.add_argument("--world", type=int, help="only this world, as a failure tells it")
    options = parser.parse_args()
    logging.disable(logging.WARNING)

    def tell(tally: Tally) -> None:
        if tally.worlds % 200 == 0:
            print(f"{tally.crashes:,} of {options.crashes:,}", file=sys.stderr, flush=True)

    try:
        if options.world is not None:
            logging.disable(logging.NOTSET)
            print(soak(crashes=1, seed=options.seed, first_world=options.world))
        else:
            print(soak(crashes=options.crashes, seed=options.seed, on_world=tell))
    except Violation as violation:
        if options.world is not None:
            raise
        print(violation)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
