"""Kernels of sampling: what a last-seen table with more members than its cap keeps, so that it can answer any window.

Beyond its cap C a table is a sample by hash that is dense where it is recent. A member's level is a function of its tag: L with
probability 2**-(L + 1). A member that is given up moves the reach of its level, and of those below, to the time it was last
seen; so of level L and above the table holds every member last seen after reach[L]. A count over a window takes the lowest
level whose reach does not go into the window: the members of that level and above, times 2**L. Level 0 is exact.

The standard error of a count W told by level L is about sqrt(W * (2**L - 1)), up to a quarter more because the level is chosen
by the same tags. All levels in use share the entries evenly, so with K the level that tells the longest window, any window's
relative standard error is at most about sqrt((K + 2) / C), and a window of up to about C / (K + 2) members is still exact;
both from a cap of 64 on. One level for all windows, as plain adaptive sampling has it, would give sqrt(2 / C) for the longest
window and next to nothing for a short one: ten cards in an hour at an address that 5,000 cards use in a month would be told as
0, 32 or 64. `docs/distinct.md` has a table, tests/tables/test_members.py measures it.

Sources: Wegman's adaptive sampling, in Flajolet, On adaptive sampling, Computing 43, 1990; a reach for each level: Gibbons and
Tirthapura, Distributed streams algorithms for sliding windows, SPAA 2002.

INVARIANTS: a member is given up only when all of a table's entries matter; one for one, nothing is moved. Reaches never go back
and never rise with the level. Positions of entries change no answer. With its tombstone an erased member gets another level:
an estimate may then be off by that one. Called by `tables.members.kernels`.
"""

import numpy as np

from riskengine.jit import kernel
from riskengine.tables.layout import (
    ENTRY_LAST,
    ENTRY_TAG,
    RELATION_ENTRY_WORDS,
    SAMPLE_LEVELS,
)

_LOW_32 = 0xFFFFFFFF
_MULTIPLIERS = (0x2C1B3C6D, 0x297A2D39)
"""Of a 32-bit finaliser (Wellons, Hash Prospector). Below 2**31, so that no product leaves int64, compiled or not."""


@kernel(inline=True)
def member_level(member):
    """Returns a member's level, 0 to SAMPLE_LEVELS - 1: the zero bits that its mixed tag ends with.

    The tag's own low bits choose its slot in the entity table, so they are mixed before they choose anything else.
    """
    mixed = (((member >> 32) & _LOW_32) * _MULTIPLIERS[0] + (member & _LOW_32)) & _LOW_32
    mixed = ((mixed ^ (mixed >> 15)) * _MULTIPLIERS[0]) & _LOW_32
    mixed = ((mixed ^ (mixed >> 12)) * _MULTIPLIERS[1]) & _LOW_32
    mixed ^= mixed >> 15
    level = np.int64(0)
    while level < SAMPLE_LEVELS - 1 and (mixed >> level) & 1 == 0:
        level += 1
    return level


@kernel(inline=True)
def entry_matters(arena, entry, sample, since_us):
    """Tells whether an entry was last seen after a time and after the reach of its level: else no count can use it."""
    last = arena[entry + ENTRY_LAST]
    if last <= since_us:
        return False
    return sample == 0 or last > arena[sample + member_level(arena[entry + ENTRY_TAG])]


@kernel()
def sample_choose(arena, offset, count, sample, member, time_us):
    """Chooses the level that gives up a member: the one of which most members are still in its reach, the lowest of several.

    So all levels that gave one up already keep about as many, and every reach is answered equally well. A level of which there
    is no entry yet has none to give, so a member gets in unless it is late.

    Args:
        offset, count: Of the entries, all of which matter.
        sample: Offset of the sample slab; its second half is scratch.
        member, time_us: The one that wants to get in, as if it were an entry; after the reach of its level.
    """
    tally = sample + SAMPLE_LEVELS
    for level in range(SAMPLE_LEVELS):
        arena[tally + level] = 0
    present = np.int64(0)
    for position in range(count + 1):
        tag = member
        last = time_us
        if position < count:
            tag = arena[offset + position * RELATION_ENTRY_WORDS + ENTRY_TAG]
            last = arena[offset + position * RELATION_ENTRY_WORDS + ENTRY_LAST]
        top = member_level(tag)
        if position < count:
            present |= np.int64(1) << top
        # It counts at its own level and at those below, down to the first whose reach is as late as it.
        bottom = top
        while bottom > 0 and arena[sample + bottom - 1] < last:
            bottom -= 1
        arena[tally + bottom] += 1
        if top + 1 < SAMPLE_LEVELS:
            arena[tally + top + 1] -= 1
    inside = np.int64(0)
    most = np.int64(-1)
    chosen = np.int64(0)
    for level in range(SAMPLE_LEVELS):
        inside += arena[tally + level]
        if inside > most and (present >> level) & 1 == 1:
            most = inside
            chosen = np.int64(level)
    return chosen


@kernel()
def sample_give_up(arena, offset, count, sample, member, time_us):
    """Gives up the member unseen for longest of the level that `sample_choose` chose, and moves the reaches to it.

    Two scans of the entries. Of members last seen at once, the one with the smallest tag goes.

    Args: as of `sample_choose`.

    Returns:
        Its position, or -1 where it is `member` itself.
    """
    chosen = sample_choose(arena, offset, count, sample, member, time_us)
    position = np.int64(-1)
    found = member_level(member) == chosen
    oldest = time_us
    smallest = member
    for index in range(count):
        tag = arena[offset + index * RELATION_ENTRY_WORDS + ENTRY_TAG]
        last = arena[offset + index * RELATION_ENTRY_WORDS + ENTRY_LAST]
        if found and (last > oldest or (last == oldest and tag > smallest)):
            continue
        if member_level(tag) == chosen:
            found = True
            oldest = last
            smallest = tag
            position = np.int64(index)
    for level in range(chosen + 1):
        arena[sample + level] = max(arena[sample + level], oldest)
    return position
