"""How many bytes does an entity take, and what happens to speed and memory while there are more and more of them?

Prediction: a card with 20 events and 8 measures has a head of 64 B, slots of 30 B, and 21 rows of 72 B in a slab of 1,536 B:
1.6 KB; budget 1.8 KB. Beyond its 1,024 rows it takes no more, whatever it does: 100,000 events cost as many bytes as 1,000 do,
75 to 100 KB. Events a second fall to a half from 10,000 cards to 10 million, for heads, slots and rows leave the caches, and
by a third from a card's first event to its thousandth, for ten steps of a search instead of one.

The claim to test: arrays are reserved at start and touched as they fill, so no growth makes a stall. Every table of the
starter is filled from empty to its cap, event by event; budget: no batch of one above 5 ms, on memory never touched before. The
same on memory that was touched tells what page faults cost. Where other programs run, the processor's time of the slowest
batch says whether a stall was ours.

All is read from the state that real folds left: head, slots, curve, last-seen tables, component. The cards of the first part
pay evenly over 30 days, at 20 merchants of theirs, from 2 devices, for 1 account. No peer: `ratio` is the budget of 1.8 KB
against the bytes of that card.
"""

import argparse
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.memory.cards import SPAN_US, START_US, payments, plain, starter
from benchmarks.memory.growth import EVENTS_EACH, by_entities, by_history, filling
from benchmarks.memory.sizes import card_bytes
from benchmarks.record import record
from benchmarks.velocity.folding import fold, open_pipeline
from riskengine.engine.configuration import Configuration
from riskengine.limits import EngineLimits

BUDGET_BYTES: Final = 1_800
BUDGET_EVENTS: Final = 20
LIMITS: Final = EngineLimits(arena_mib=256)
console = Console()


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much is measured.

    Attributes:
        events: Of a card in 30 days.
        entities: Cards in a table.
        history: Events of a card, to tell the speed at.
        cap: Entities of each type when all tables are filled.
    """

    events: tuple[int, ...]
    entities: tuple[int, ...]
    history: tuple[int, ...]
    cap: int


SMOKE: Final = Size(events=(1, 10, 20, 100, 1_000), entities=(1_000, 10_000), history=(1, 10, 100, 1_000), cap=5_000)
REAL: Final = Size(
    events=(1, 10, 20, 100, 1_000, 100_000),
    entities=(10_000, 100_000, 1_000_000, 10_000_000),
    history=(1, 3, 10, 30, 100, 300, 1_000, 3_000, 10_000, 30_000, 100_000),
    cap=200_000,
)


def bytes_by_events(configuration: Configuration, counts: tuple[int, ...]) -> dict[str, dict[str, float]]:
    """Returns the bytes of a card by part, by the number of its events."""
    told = {}
    for count in counts:
        cards = max(2, min(64, 100_000 // count))
        index = np.arange(count * cards)
        pipeline = open_pipeline(configuration, touched=False)
        fold(pipeline, payments(index % cards, START_US + SPAN_US * index // len(index)), size=1_024)
        told[str(count)] = card_bytes(pipeline)
    return told


def measure(size: Size, advance: Callable[[int], None]) -> dict[str, Any]:
    """Measures all parts, one after the other."""
    told: dict[str, Any] = {
        "plain_card": bytes_by_events(plain(LIMITS), size.events),
        "starter_card": bytes_by_events(starter(LIMITS), size.events),
        "by_entities": by_entities(size.entities, advance=advance),
        "by_history": by_history(size.history, advance=advance),
        "filling": filling(size.cap, advance=advance),
    }
    return told | {"ratio": BUDGET_BYTES / told["plain_card"][str(BUDGET_EVENTS)]["all"]}


def show(results: dict[str, Any]) -> None:
    """Prints what was measured."""
    table = Table("events in 30 days", "plain card", "starter's card", title="bytes")
    for count, parts in results["plain_card"].items():
        table.add_row(f"{int(count):,}", *(_parts(each) for each in (parts, results["starter_card"][count])))
    console.print(table)
    for name, first in (("by_entities", "entities"), ("by_history", "events_of_entity")):
        table = Table(first, "events_per_s", "bytes_per_entity", title=name)
        for point in results[name]:
            table.add_row(*(f"{point[key]:,.0f}" for key in (first, "events_per_s", "bytes_per_entity")))
        console.print(table)
    table = Table("filling", "value")
    for key, value in results["filling"].items():
        table.add_row(key, f"{value:,.2f}" if isinstance(value, float) else str(value))
    console.print(table)


def _parts(parts: dict[str, float]) -> str:
    return f"{parts['all']:,.0f}: " + ", ".join(f"{key} {value:,.0f}" for key, value in parts.items() if key != "all")


def main() -> None:
    """Runs and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="few entities, short histories")
    parser.add_argument("--entities-max", type=int, help="leave out larger tables, for a trial or a small machine")
    parser.add_argument("--out", type=Path, help="append the JSON line to this file")
    options = parser.parse_args()
    size = SMOKE if options.smoke else REAL
    if options.entities_max:
        kept = tuple(count for count in size.entities if count <= options.entities_max)
        size = Size(**(asdict(size) | {"entities": kept}))
    with Progress(console=console, transient=True) as progress:
        events = EVENTS_EACH * sum(count * max(1, min(10, 1_000_000 // count)) for count in size.entities)
        task = progress.add_task("folding", total=events + size.history[-1] * 80 + size.cap * 2)
        results = measure(size, lambda done: progress.advance(task, done))
    show(results)
    if (not options.smoke and not options.entities_max) or options.out:
        record("memory", parameters=asdict(size) | {"events_each": EVENTS_EACH}, results=results, path=options.out)


if __name__ == "__main__":
    main()
