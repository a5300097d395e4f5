"""Last-seen tables against their plain version, below the cap and far beyond it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from riskengine.limits import EngineLimits
from riskengine.tables import layout
from riskengine.tables.members import kernels
from riskengine.tables.sampling import kernels as sampling
from riskengine.tables.store import Store, create_store
from tests.naive import tables_members as naive

WORD = layout.HEAD_WORDS
RETENTION_US = 60
KNOWN_US = 50
LATENESS_US = 10
# Steps that make ties, late events and expiry likely.
STEPS_US = st.sampled_from([0, 0, 1, 1, 2, 5, -1, -3, -LATENESS_US, 30, RETENTION_US - 1, RETENTION_US])
STREAMS = st.lists(st.tuples(st.integers(1, 40), STEPS_US), min_size=1, max_size=120)


class Table:
    """One table of one entity, touched as the fold does."""

    def __init__(self, cap: int) -> None:
        limits = EngineLimits(entities_max=4, arena_mib=1, recent_decisions_max=16)
        self.store: Store = create_store(retentions_us=[RETENTION_US], relation_count_max=1, limits=limits)
        self.relation = np.zeros(layout.RELATION_WORDS, np.int64)
        self.relation[layout.RELATION_WORD], self.relation[layout.RELATION_ENTRIES_MAX] = WORD, cap
        self.relation[layout.RELATION_RETENTION_US] = RETENTION_US
        self.relation[layout.RELATION_KNOWN_US] = KNOWN_US

    @property
    def newest(self) -> int:
        """The newest time so far."""
        return int(self.store.counters[layout.COUNTER_NEWEST_US])

    def touch(self, member: int, time_us: int) -> int:
        """Notes a member."""
        store = self.store
        store.counters[layout.COUNTER_NEWEST_US] = max(self.newest, time_us)
        return int(
            kernels.relation_touch(
                store.heads, store.arena, store.free, store.counters, 0, self.relation, member, time_us
            )
        )

    def count(self, since_us: int) -> tuple[int, int]:
        """Returns an estimate and its level."""
        seen, level = kernels.relation_count(self.store.heads, self.store.arena, 0, WORD, since_us)
        return int(seen), int(level)

    def exceeds(self, since_us: int, members_max: int) -> bool:
        """Tells whether there were more than so many."""
        return bool(kernels.relation_exceeds(self.store.heads, self.store.arena, 0, WORD, since_us, members_max))

    def entries(self) -> int:
        """Returns how many entries are in use."""
        return int(self.store.heads[0, WORD + layout.RELATION_META]) & layout.META_COUNT_MASK


def times_of(stream: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Turns steps into times, none later than is allowed."""
    newest = time = 1000
    touches = []
    for member, step in stream:
        time = max(time + step, newest - LATENESS_US)
        newest = max(newest, time)
        # The bits of a tag are spread over the word, half of all tags are negative.
        touches.append((member * 0x1E3779B97F4A7C15 % 2**64 - 2**63, time))
    return touches


@given(stream=STREAMS, cap=st.integers(4, 8))
def test_table_agrees_with_its_plain_version(stream: list[tuple[int, int]], cap: int) -> None:
    """Goal: sampling is what it is said to be. Method: small caps, ties, late events, expiry; all answers after every touch."""
    table, plain = Table(cap), naive.Members(cap=cap, retention=RETENTION_US, known=KNOWN_US)
    for member, time in times_of(stream):
        assert plain.touch(member, time) == table.touch(member, time)

        for since in range(plain.newest - RETENTION_US, plain.newest + 1, 4):
            assert plain.count(since) == table.count(since)
            assert plain.exceeds(since, cap - 1) == table.exceeds(since, cap - 1)
        assert table.entries() <= cap


@given(stream=STREAMS, cap=st.integers(4, 40))
def test_counts_are_exact_while_the_retention_fits_the_cap(stream: list[tuple[int, int]], cap: int) -> None:
    """Goal: the contract. Method: compare with the truth for as long as it fits, and again once a retention has passed."""
    table = Table(cap)
    last: dict[int, int] = {}
    overfull_until = 0
    for member, time in times_of(stream):
        told = table.touch(member, time)
        known = last.get(member, 0) > time - KNOWN_US
        last[member] = max(last.get(member, 0), time)
        floor = table.newest - RETENTION_US
        if sum(seen > floor for seen in last.values()) > cap:
            overfull_until = table.newest + RETENTION_US

        if table.newest >= overfull_until:
            assert told == (not known)
            for since in range(floor, table.newest + 1, 3):
                assert (sum(seen > since for seen in last.values()), 0) == table.count(since)
        assert told in (not known, -1), "a guess"


@given(stream=STREAMS, cap=st.integers(4, 16))
def test_most_recent_members_are_counted_exactly(stream: list[tuple[int, int]], cap: int) -> None:
    """Goal: a flood in the past blurs no short window. Method: after any stream, one new member at a time of its own."""
    table = Table(cap)
    touches = times_of(stream)
    for member, time in touches:
        table.touch(member, time)
    newest = max(time for _, time in touches)

    table.touch(77, newest + 1)

    assert (1, 0) == table.count(newest)


@pytest.mark.parametrize("member", [1, -1, 2**63 - 1, -(2**63), 0x0123_4567_89AB_CDEF, 1 << 32])
def test_level_of_a_member_is_that_of_its_plain_version(member: int) -> None:
    """Goal: no overflow or float on the way. Method: tags at the ends of what a word holds."""
    assert naive.member_level(member) == sampling.member_level(np.int64(member))


def test_levels_halve() -> None:
    """Goal: a member has level L with probability 2**-(L + 1), however alike tags are. Method: tags in a row, four sigma."""
    levels = np.array([sampling.member_level(np.int64(tag)) for tag in range(1, 4001)])

    for level in range(6):
        expected = 4000 / 2 ** (level + 1)
        assert abs((levels == level).sum() - expected) < 4 * expected**0.5


def test_flood_changes_one_entry_at_a_time_and_takes_no_memory() -> None:
    """Goal: a flood costs the same for each event. Method: 300 new members of a full table, the arena compared around each."""
    table = Table(8)
    table.relation[layout.RELATION_RETENTION_US] = 10_000
    for time in range(1, 10):
        table.touch(1000 + time, time)
    offset = int(table.store.heads[0, WORD])
    heads, counters = table.store.heads.copy(), table.store.counters[1:].copy()
    changed = []
    for time in range(10, 310):
        before = table.store.arena[offset : offset + 32].reshape(8, 4).copy()
        table.touch(1000 + time, time)
        changed.append(int((before != table.store.arena[offset : offset + 32].reshape(8, 4)).any(axis=1).sum()))

    assert {1} == set(changed)
    assert np.array_equal(heads, table.store.heads)
    assert np.array_equal(counters, table.store.counters[1:])


def test_table_forgets_what_no_window_reaches_before_it_grows() -> None:
    """Goal: memory follows what matters. Method: one member at a time, each unseen for the retention when the next one comes."""
    table = Table(256)
    for index in range(1, 100):
        table.touch(index, index * RETENTION_US)

    assert table.entries() <= 2
    assert (1, 0) == table.count(98 * RETENTION_US)
