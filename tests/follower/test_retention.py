"""What may be given up: pure choices over made-up snapshots and segments."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from riskengine.engine.activation import Activation
from riskengine.engine.snapshot import SnapshotHeader
from riskengine.follower.retention import REPLAY_EVENTS_MAX, decides, first_segment_kept, needed_snapshots
from riskengine.journal.reader import Anchor, SegmentInfo

MILLION = 1_000_000
NOW, OTHER = b"n" * 16, b"o" * 16
DAY_US = 86_400_000_000
EVENTS_PER_DAY = MILLION
SEGMENT_EVENTS = MILLION // 4


def snapshot(sequence: int, *, key: bytes = NOW, activated: int = 1) -> SnapshotHeader:
    """Returns the header of a snapshot; a million events a day, four segments a day."""
    return SnapshotHeader(
        journal_id=bytes(16),
        key=key,
        digest="00" * 16,
        anchor=Anchor(sequence // SEGMENT_EVENTS, 72, bytes(8), sequence + 1),
        received_time_us=sequence * DAY_US // EVENTS_PER_DAY,
        activation=Activation(activated, 1, "", {}, ""),
        names={},
        arrays=(),
        block_count=0,
        blocks_bytes=0,
        table_crc=0,
        path=Path(f"{sequence:016d}.snapshot"),
    )


def segments(first: int, last: int) -> list[SegmentInfo]:
    """Returns segments by index, of equal length."""
    return [SegmentInfo(index, index * SEGMENT_EVENTS + 1, Path(str(index)), 64) for index in range(first, last + 1)]


def needed(
    headers: list[SnapshotHeader],
    *,
    cutoff_day: float = -1,
    first_index: int = 0,
    keep: int = 2,
    retention_days: int = 100,
) -> list[int]:
    """Returns the sequences, in millions, of the snapshots that stay."""
    kept = needed_snapshots(
        headers,
        key=NOW,
        keep=keep,
        cutoff_us=int(cutoff_day * DAY_US),
        retention_us=retention_days * DAY_US,
        first_index=first_index,
    )
    return [each.sequence // MILLION for each in kept]


def thinned(headers: list[SnapshotHeader]) -> list[SnapshotHeader]:
    """Returns those that stay when nothing is old yet."""
    return needed_snapshots(headers, key=NOW, keep=2, cutoff_us=-1, retention_us=100 * DAY_US, first_index=0)


def every_million(first: int, last: int, **more: object) -> list[SnapshotHeader]:
    """Returns one snapshot a million events."""
    return [snapshot(number * MILLION, **more) for number in range(first, last + 1)]  # type: ignore[arg-type]


def test_ladder_leaves_no_decision_far_from_a_snapshot() -> None:
    """Goal: any decision is within 4,000,000 events behind a snapshot. Method: 20 of them; every fourth and the newest stay."""
    assert [1, 5, 9, 13, 17, 19, 20] == needed(every_million(1, 20))
    assert [1, 5, 9, 13, 17, 18, 19, 20] == needed(every_million(1, 20), keep=3)
    assert [1, 3, 5, 7, 9, 10] == needed(every_million(1, 10), retention_days=20), "a tenth of it apart at most"


def test_ladder_is_the_same_however_often_it_is_thinned() -> None:
    """Goal: pruning after each snapshot leaves what pruning at once does. Method: one by one; random gaps keep the bound."""
    kept: list[SnapshotHeader] = []
    for each in every_million(1, 40):
        kept = thinned([*kept, each])
    assert needed(every_million(1, 40)) == [each.sequence // MILLION for each in kept]

    generator = np.random.Generator(np.random.PCG64(1))
    kept, sequence = [], 0
    for _ in range(400):
        sequence += int(generator.integers(1, REPLAY_EVENTS_MAX))
        kept = needed_snapshots(
            [*kept, snapshot(sequence)], key=NOW, keep=2, cutoff_us=-1, retention_us=100 * DAY_US, first_index=0
        )
        assert all(np.diff([each.sequence for each in kept]) <= REPLAY_EVENTS_MAX)
    assert len(kept) < 300


def test_snapshots_before_the_retention_go_but_the_last_of_them() -> None:
    """Goal: the oldest decision to be replayed has one before it. Method: a cutoff between 10 and 11."""
    assert [10, 14, 18, 19, 20] == needed(every_million(1, 20), cutoff_day=10.5)
    assert [12, 16, 19, 20] == needed(every_million(1, 20), first_index=48)


def test_another_state_is_folded_ahead_of_its_activation() -> None:
    """Goal: decisions right behind a change of features are near a snapshot of their kind, and so are those before it.

    Method: features changed behind 10 million; the new state was folded from the beginning, with snapshots on its way.
    """
    old = every_million(1, 10, key=OTHER)
    ahead = every_million(1, 10, activated=10 * MILLION + MILLION // 2)
    after = every_million(11, 14, activated=10 * MILLION + MILLION // 2)

    assert [False, True] == [decides(ahead[0]), decides(after[0])]
    assert [1, 5, 9, 10] == needed(old)
    assert [1, 5, 9, 10, 10, 13, 14] == needed(old + ahead + after)
    assert [1, 5, 9, 10, 10, 13, 14] == needed(old + ahead + after, cutoff_day=0.5)
    assert [10, 10, 13, 14] == needed(old + ahead + after, cutoff_day=10.7)
    assert [11, 13, 14] == needed(old + ahead + after, cutoff_day=11.5)
    assert [13, 14] == needed(old + ahead + after, cutoff_day=13.5)


def kept_index(headers: list[SnapshotHeader], *, cutoff_day: float, stored: int | None = None, first: int = 0) -> int:
    """Returns the first segment that is kept, of the segments 0 to 80."""
    cutoff_us = int(cutoff_day * DAY_US)
    staying = needed_snapshots(
        headers, key=NOW, keep=2, cutoff_us=cutoff_us, retention_us=100 * DAY_US, first_index=first
    )
    return first_segment_kept(staying, key=NOW, cutoff_us=cutoff_us, segments=segments(first, 80), stored_before=stored)


def test_segments_go_when_a_snapshot_from_before_the_retention_stands_behind_them() -> None:
    """Goal: only what is old, with all that is younger replayable. Method: cutoffs; snapshots stand at 4 segments a million."""
    headers = every_million(1, 20)

    assert 0 == kept_index(headers, cutoff_day=-10)
    assert 0 == kept_index(headers, cutoff_day=0.5), "no snapshot is old enough"
    assert 40 == kept_index(headers, cutoff_day=10.5)
    assert 76 == kept_index(headers, cutoff_day=99), "the older of the two newest"
    assert 50 == kept_index(headers, cutoff_day=10.5, first=50)


def test_segments_stay_for_the_store_and_until_there_are_two_snapshots() -> None:
    """Goal: nobody's only copy is given up. Method: a store that is behind, one snapshot, two of another kind of state."""
    headers = every_million(1, 20)

    assert 8 == kept_index(headers, cutoff_day=10.5, stored=8 * SEGMENT_EVENTS + 1)
    assert 7 == kept_index(headers, cutoff_day=10.5, stored=8 * SEGMENT_EVENTS)
    assert 0 == kept_index(headers, cutoff_day=10.5, stored=1)
    assert 40 == kept_index(headers, cutoff_day=10.5, stored=21 * MILLION)
    assert 0 == kept_index(headers[-1:], cutoff_day=99)
    assert 0 == kept_index([replace(each, key=OTHER) for each in headers], cutoff_day=99)


@pytest.mark.parametrize("seed", range(20))
def test_whatever_goes_every_decision_within_the_retention_is_near_a_snapshot(seed: int) -> None:
    """Goal: the promise itself. Method: random changes of features, prunings and cutoffs; look at every million of events."""
    generator = np.random.Generator(np.random.PCG64(seed))
    changes = [0, *sorted(generator.choice(np.arange(3, 40), 2, replace=False).tolist()), 60]
    kept: list[SnapshotHeader] = []
    index = 0
    for run, (begun, ended) in enumerate(pairwise(changes)):
        key, activated = bytes([run]) * 16, begun * MILLION + 1
        first_folded = index * SEGMENT_EVENTS // MILLION if run else 0
        for number in range(max(1, first_folded), ended + 1):
            kept = [*kept, snapshot(number * MILLION, key=key, activated=activated)]
            now_day = max(number, begun)
            cutoff_us = int((now_day - 12.5) * DAY_US)
            kept = needed_snapshots(
                kept, key=key, keep=2, cutoff_us=cutoff_us, retention_us=100 * DAY_US, first_index=index
            )
            # The state of a run is folded from the beginning, so the journal must be whole when it begins.
            if run == len(changes) - 2 and number >= begun:
                index = first_segment_kept(
                    kept, key=key, cutoff_us=cutoff_us, segments=segments(index, 300), stored_before=None
                )
    for decided in range(60 - 12, 60):
        run = max(run for run, begun in enumerate(changes[:-1]) if begun <= decided)
        own = [
            each
            for each in kept
            if each.key == bytes([run]) * 16
            and each.sequence <= decided * MILLION
            and each.anchor.segment_index >= index
        ]

        assert own, f"nothing before {decided} million"
        assert decided * MILLION - own[-1].sequence <= REPLAY_EVENTS_MAX
