"""Memory is touched before it is needed, and nothing in it changes."""

import time
from pathlib import Path

import numpy as np

from riskengine.limits import EngineLimits
from riskengine.tables import layout
from riskengine.tables.ahead import ARENA_AHEAD_BYTES, HEADS_AHEAD_BYTES, PAGE_BYTES, Ahead
from riskengine.tables.store import create_store


def resident_bytes() -> int:
    """Returns what the process has of real memory."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * 4096


def test_touching_ahead_changes_nothing_and_stays_behind_no_use() -> None:
    """Goal: whatever was used stays as it is. Method: heads and arena full of ones up to where they are used."""
    limits = EngineLimits(entities_max=100_000, arena_mib=64, recent_decisions_max=16)
    store = create_store(retentions_us=[10**12, 10**12], relation_count_max=2, limits=limits)
    ahead = Ahead(store)
    for used in (0, 1, 50_000, 99_999, 100_000):
        for kept in store.types:
            kept[layout.TYPE_USED] = used
            base = int(kept[layout.TYPE_ENTITY_BASE])
            store.heads[base : base + used] = 1
        store.counters[layout.COUNTER_ARENA_NEXT] = min(1 + used * 80, len(store.arena))
        store.arena[: store.counters[layout.COUNTER_ARENA_NEXT]] = 1

        ahead.touch(64)

        assert 2 * used * store.heads.shape[1] == store.heads.sum()
        assert store.counters[layout.COUNTER_ARENA_NEXT] == store.arena.sum()


def test_what_is_next_is_in_memory_and_the_rest_is_not() -> None:
    """Goal: no event meets a page to clear, no memory is taken long before. Method: resident memory around a touch."""
    limits = EngineLimits(entities_max=200_000, arena_mib=512, recent_decisions_max=16)
    store = create_store(retentions_us=[10**12], relation_count_max=0, limits=limits)
    before = resident_bytes()

    ahead = Ahead(store)
    ahead.touch(1)

    taken = resident_bytes() - before
    slots = store.slot_tags.nbytes + store.slot_entities.nbytes
    ready = HEADS_AHEAD_BYTES + ARENA_AHEAD_BYTES
    # What is small may come of memory that the process has already; the arena never does.
    assert ARENA_AHEAD_BYTES - PAGE_BYTES <= taken < slots + ready + 16 * PAGE_BYTES
    assert not np.any(store.heads)


def test_what_comes_next_is_made_ready_while_events_are_folded() -> None:
    """Goal: the pages of the next entities are there before them. Method: as many are used as were ready, then one more look."""
    limits = EngineLimits(entities_max=200_000, arena_mib=512, recent_decisions_max=16)
    store = create_store(retentions_us=[10**12], relation_count_max=0, limits=limits)
    ahead = Ahead(store)
    store.arena[: ARENA_AHEAD_BYTES // 8] = 1
    store.counters[layout.COUNTER_ARENA_NEXT] = ARENA_AHEAD_BYTES // 8
    before = resident_bytes()

    ahead.touch(64)

    deadline_s = time.monotonic() + 30.0
    while resident_bytes() - before < ARENA_AHEAD_BYTES - PAGE_BYTES and time.monotonic() < deadline_s:
        time.sleep(0.01)
    assert resident_bytes() - before >= ARENA_AHEAD_BYTES - PAGE_BYTES
    assert not np.any(store.arena[ARENA_AHEAD_BYTES // 8 :])
