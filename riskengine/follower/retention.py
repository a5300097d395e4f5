"""What may be given up: snapshots that nobody needs, and segments of the journal behind its retention.

A snapshot stays if it is one of the newest of the current state, or if without it a decision within the retention would be more
than REPLAY_EVENTS_MAX events, or a tenth of the retention, behind the nearest snapshot of its kind before it. A segment stays
if a snapshot that stays stands in it or before it, if the decision store has not all of it, or if nothing says that what is
behind it is old enough. So any decision is replayed in a minute, and the journal is kept a tenth longer than told at most.

A state may be folded ahead: under a configuration that decides only from a later event on (`decides` tells). Such a snapshot
is of use from that event on, and the last of them before it is what decisions right behind it are replayed from.

INVARIANTS: pure functions of what is there; a journal is never given up on the word of a single snapshot of the current state.
Called by `follower`.
"""

from collections.abc import Iterable, Sequence
from itertools import groupby, pairwise
from typing import Final

from riskengine.engine.snapshot import SnapshotHeader
from riskengine.journal.reader import SegmentInfo

REPLAY_EVENTS_MAX: Final = 4_000_000
"""Folded in less than a minute: so far behind a snapshot may a decision be that is to be replayed."""
GAPS: Final = 10
"""The retention is at least so many gaps between snapshots, whatever the traffic."""
SOUND_MIN: Final = 2
"""Snapshots of the current state that must stand behind what is given up."""


def decides(header: SnapshotHeader) -> bool:
    """Tells whether the event behind a snapshot is decided on its state: it was not folded ahead of its activation."""
    return header.anchor.next_sequence >= header.activation.sequence


def needed_snapshots(
    headers: Iterable[SnapshotHeader], *, key: bytes, keep: int, cutoff_us: int, retention_us: int, first_index: int
) -> list[SnapshotHeader]:
    """Chooses the snapshots that stay.

    Args:
        headers: Of all sound snapshots of this journal.
        key: Of the current state.
        keep: So many of the newest of the current state stay in any case.
        cutoff_us: Decisions received before this time need not be replayed, microseconds.
        retention_us: How long the journal is kept, microseconds.
        first_index: Of the first segment that the journal keeps; who stands before it is of no use.

    Returns:
        Those that stay, the oldest first.
    """
    standing = [each for each in headers if each.anchor.segment_index >= first_index]
    ordered = sorted(standing, key=lambda each: (each.key, each.sequence))
    needed: list[SnapshotHeader] = []
    for own_key, group in groupby(ordered, key=lambda each: each.key):
        of_key = list(group)
        before: SnapshotHeader | None = None
        for each, following in pairwise(of_key):
            passed = not decides(following) or following.received_time_us < cutoff_us
            if not passed and (before is None or _are_far(before, following, retention_us)):
                needed.append(each)
                before = each
        if own_key == key:
            needed += [each for each in of_key[-keep:] if each not in needed]
        elif not _is_over(of_key[-1], standing, cutoff_us):
            needed.append(of_key[-1])
    return sorted(needed, key=lambda each: each.sequence)


def _are_far(one: SnapshotHeader, other: SnapshotHeader, retention_us: int) -> bool:
    """Tells whether there has to be another snapshot between two."""
    events = other.sequence - one.sequence
    return events > REPLAY_EVENTS_MAX or (other.received_time_us - one.received_time_us) * GAPS > retention_us


def _is_over(last: SnapshotHeader, headers: Sequence[SnapshotHeader], cutoff_us: int) -> bool:
    """Tells whether what was decided on the states of an earlier kind, of which `last` is the last, is old enough."""
    begun = [each.activation.sequence for each in headers if each.key != last.key]
    ended = min((sequence for sequence in begun if sequence > last.sequence), default=None)
    if ended is None:
        return False
    old = (each for each in headers if decides(each) and each.received_time_us < cutoff_us)
    return any(each.anchor.next_sequence >= ended for each in old)


def first_segment_kept(
    needed: Sequence[SnapshotHeader],
    *,
    key: bytes,
    cutoff_us: int,
    segments: Sequence[SegmentInfo],
    stored_before: int | None,
) -> int:
    """Finds how much of the journal may go.

    Args:
        needed: The snapshots that stay.
        key: Of the current state.
        cutoff_us: What was received before this time may go, microseconds.
        segments: Of the journal, in order.
        stored_before: First sequence that the decision store does not have; None without a store.

    Returns:
        Index of the first segment to keep.
    """
    first = segments[0].index
    current = [each for each in needed if each.key == key]
    old_enough = any(decides(each) and each.received_time_us < cutoff_us for each in needed)
    if len(current) < SOUND_MIN or not old_enough:
        return first
    bounds = [each.anchor.segment_index for each in needed]
    if stored_before is not None:
        bounds.append(max((each.index for each in segments if each.first_sequence <= stored_before), default=first))
    return max(first, min(bounds))
