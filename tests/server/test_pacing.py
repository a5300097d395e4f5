"""When gathered rows are sent: at once, after a pace, or later where the front is busy."""

import asyncio
from collections.abc import Callable
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from riskengine.server.pacing import Pacer

PACE_S = 0.001
PACE_MAX_S = 0.008
FAR_S = 1e9


class Hand:
    """An event loop whose clock and whose thread's use of the processor are moved by hand."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.used_s = 0.0
        self.turns: list[Callable[[], None]] = []
        self.timers: list[tuple[float, Callable[[], None]]] = []

    def time(self) -> float:
        """As of an event loop."""
        return self.now_s

    def call_soon(self, action: Callable[[], None]) -> None:
        """As of an event loop."""
        self.turns.append(action)

    def call_later(self, delay_s: float, action: Callable[[], None]) -> None:
        """As of an event loop."""
        self.timers.append((self.now_s + delay_s, action))

    def turn(self, *, late_s: float = 0.0, busy: float = 0.0) -> None:
        """Lets the one thing that waits happen, after a wait of which the thread worked a share."""
        assert 1 == len(self.turns) + len(self.timers)
        if self.turns:
            self.turns.pop()()
            return
        at_s, action = self.timers.pop()
        self.used_s += busy * (at_s + late_s - self.now_s)
        self.now_s = at_s + late_s
        action()


def pacer(hand: Hand, *, pace_s: float = PACE_S) -> tuple[Pacer, list[float]]:
    """Returns a pacer and the times at which it sent."""
    sent: list[float] = []
    loop = cast("asyncio.AbstractEventLoop", hand)
    return (
        Pacer(
            loop,
            pace_s=pace_s,
            pace_max_s=PACE_MAX_S,
            flush=lambda: sent.append(hand.now_s),
            used_s=lambda: hand.used_s,
        ),
        sent,
    )


@pytest.mark.parametrize(("lone", "pace_s"), [(True, PACE_S), (False, 0.0)], ids=["lone", "no pace"])
def test_nothing_to_wait_for_is_sent_in_the_next_turn(lone: bool, pace_s: float) -> None:
    """Goal: without load nobody waits. Method: the two cases; no timer is set."""
    hand = Hand()
    paced, sent = pacer(hand, pace_s=pace_s)

    paced.row_came(lone=lone, deadline_s=FAR_S)
    paced.row_came(lone=False, deadline_s=FAR_S)
    assert not hand.timers
    hand.turn()

    assert [0.0] == sent


@pytest.mark.parametrize(
    ("busy", "after_s"), [(0.0, PACE_S), (0.7, PACE_S), (0.8, PACE_MAX_S), (1.0, PACE_MAX_S)], ids=str
)
def test_wait_grows_with_the_work_of_the_thread(busy: float, after_s: float) -> None:
    """Goal: one pace where there is time to spare, the longest wait where there is none. Method: four shares."""
    hand = Hand()
    paced, sent = pacer(hand)

    for _ in range(2):
        paced.row_came(lone=False, deadline_s=FAR_S)
        began_s = hand.now_s
        while hand.timers:
            hand.turn(busy=busy)

        assert after_s == pytest.approx(sent[-1] - began_s, abs=PACE_S)  # The last look before the bound.
    assert 2 == len(sent)


def test_row_with_little_time_is_sent_at_the_next_look() -> None:
    """Goal: a short deadline is not lost to the wait. Method: a busy thread, a row without haste, one in haste, one more."""
    hand = Hand()
    paced, sent = pacer(hand)

    paced.row_came(lone=False, deadline_s=FAR_S)
    paced.row_came(lone=False, deadline_s=PACE_MAX_S)
    hand.turn(busy=1.0)
    paced.row_came(lone=False, deadline_s=FAR_S)
    while hand.timers:
        hand.turn(busy=1.0)

    assert [PACE_S, PACE_S + PACE_MAX_S] == pytest.approx(sent, abs=PACE_S)
    assert sent[0] == PACE_S


@given(looks=st.lists(st.tuples(st.floats(0, 0.02), st.floats(0, 1)), min_size=8, max_size=8))
def test_no_row_waits_longer_than_the_timers_lateness_and_the_longest_wait(looks: list[tuple[float, float]]) -> None:
    """Goal: a bound whatever the load. Method: timers that come late, any share of work; exactly one flush."""
    hand = Hand()
    paced, sent = pacer(hand)
    paced.row_came(lone=False, deadline_s=FAR_S)
    late_s = 0.0

    for late_now_s, busy in looks:
        if hand.timers:
            paced.row_came(lone=False, deadline_s=FAR_S)
            hand.turn(late_s=late_now_s, busy=busy)
            late_s += late_now_s

    assert 1 == len(sent)
    assert sent[0] <= PACE_MAX_S + late_s + 1e-9
