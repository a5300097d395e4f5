"""How speed and memory change while the state grows: in entities, in the history of each, and page by page.

INVARIANTS: every figure is of real folds with all answers, in batches of 64, unless it says otherwise; what is folded is made
outside the clock. Used by `benchmarks.memory`.
"""

import resource
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, Final

import numpy as np

from benchmarks.memory.cards import SPAN_US, START_US, payments, plain, starter, strangers
from benchmarks.memory.sizes import card_bytes, used_bytes_per_card
from benchmarks.velocity.folding import Took, batch_times_s, fold, open_pipeline
from riskengine.limits import EngineLimits
from riskengine.tables.layout import TYPE_LIVE
from riskengine.types import ENTITY_INDEX

BATCH: Final = 64
CHUNK_ROWS: Final = BATCH << 10
EVENTS_EACH: Final = 4
"""Events of a card in the mean, where the number of cards grows."""
BYTES_EACH: Final = 1_024
"""Room in the arena for such a card, freed slabs included."""
Advance = Callable[[int], None]


def by_entities(counts: Sequence[int], *, advance: Advance) -> list[dict[str, float]]:
    """Measures tables of more and more cards: events a second of the last quarter of the events, and bytes a card."""
    told = []
    for count in counts:
        limits = EngineLimits(
            entities_max=count, arena_mib=max(64, count * BYTES_EACH >> 20), recent_decisions_max=1_000
        )
        rates = []
        for _ in range(max(1, min(10, 1_000_000 // count))):
            pipeline = open_pipeline(plain(limits))
            random = np.random.default_rng(count)
            events, took, timed = count * EVENTS_EACH, Took(), 0
            for first in range(0, events, CHUNK_ROWS):
                index = np.arange(first, min(first + CHUNK_ROWS, events))
                # Every card once, so that all are there; then whichever comes.
                cards = np.where(index < count, index, random.integers(0, count, len(index)))
                last = fold(pipeline, payments(cards, START_US + SPAN_US * index // events, seed=first), size=BATCH)
                if first + len(index) > events - events // EVENTS_EACH:
                    took, timed = took + last, timed + len(index)
                advance(len(index))
            rates.append(timed / took.wall_s)
        told.append(
            {
                "entities": count,
                "events_per_s": float(np.median(rates)),
                "bytes_per_entity": used_bytes_per_card(pipeline),
            }
        )
    return told


def by_history(counts: Sequence[int], *, advance: Advance) -> list[dict[str, float]]:
    """Follows 64 cards from their first event to the last of `counts`, evenly over 30 days; a batch holds one of each.

    The speed at n is the median over the batches from n to 1.25 n: of the n-th event of a card.
    """
    limits = EngineLimits(entities_max=1_024, arena_mib=64, recent_decisions_max=1_000)
    pipeline = open_pipeline(plain(limits))
    last = counts[-1] + counts[-1] // 4
    times = np.empty(last)
    told: list[dict[str, float]] = []
    cards = np.arange(BATCH)
    fold(open_pipeline(plain(limits)), payments(cards, np.full(BATCH, START_US)), size=BATCH)
    edges = sorted({*counts, *range(0, last, CHUNK_ROWS // BATCH), last})
    for first, end in pairwise(edges):
        index = np.repeat(np.arange(first, end), BATCH)
        rows = payments(np.tile(cards, end - first), START_US + SPAN_US * index // last, seed=first)
        times[first:end] = batch_times_s(pipeline, rows, size=BATCH)[0]
        advance(len(rows))
        if end in counts:
            told.append({"events_of_entity": end, "bytes_per_entity": card_bytes(pipeline)["all"]})
    for point in told:
        n = int(point["events_of_entity"])
        point["events_per_s"] = BATCH / float(np.median(times[n - 1 : n + n // 4]))
    return told


def filling(cap: int, *, advance: Advance) -> dict[str, Any]:
    """Fills every table of the starter from empty to its cap, event by event, on memory touched before and not."""
    limits = EngineLimits(entities_max=cap, arena_mib=max(64, cap * 3 * BYTES_EACH >> 20), recent_decisions_max=1_000)
    told: dict[str, Any] = {}
    totals, faults = {}, {}
    for name, touched in (("touched", True), ("fresh", False)):
        pipeline = open_pipeline(starter(limits), touched=touched)
        wall, used = [], []
        faults[name] = 0
        for first in range(0, cap, CHUNK_ROWS):
            rows = strangers(first, min(CHUNK_ROWS, cap - first))
            # The measurement's own lists fault, too: the same in both passes, so their difference is the state's.
            before = resource.getrusage(resource.RUSAGE_THREAD).ru_minflt
            wall_s, used_s = batch_times_s(pipeline, rows, size=1)
            faults[name] += resource.getrusage(resource.RUSAGE_THREAD).ru_minflt - before
            wall.append(wall_s)
            used.append(used_s)
            advance(len(rows))
        assert pipeline.state.store.types[ENTITY_INDEX["card"], TYPE_LIVE] == cap, "the table is not full"
        wall_s, used_s = np.concatenate(wall), np.concatenate(used)
        totals[name] = float(used_s.sum())
        told |= {
            f"{name}_p50_us": float(np.median(wall_s)) * 1e6,
            f"{name}_p999_us": float(np.quantile(wall_s, 0.999)) * 1e6,
            f"{name}_max_ms": float(wall_s.max()) * 1e3,
            f"{name}_max_cpu_ms": float(used_s.max()) * 1e3,
            f"{name}_faults": faults[name],
        }
    more = faults["fresh"] - faults["touched"]
    told["us_per_fault"] = (totals["fresh"] - totals["touched"]) / more * 1e6 if more > 0 else None
    told["us_per_event_for_faults"] = (totals["fresh"] - totals["touched"]) / cap * 1e6
    return told
