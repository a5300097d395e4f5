"""The store against a plain list, in any order of appending, flushing, merging, erasing, dropping, faults and crashes."""

import errno
from collections.abc import Callable
from datetime import timedelta

import hypothesis.strategies as st
import numpy as np
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from riskengine.errors import StoreFull
from riskengine.store.folder import day_of
from riskengine.store.store import DecisionStore
from tests.store.builders import DATA_DIR, DAY_US, simulated, stream
from tests.store.disks import PowerLoss, dead_from, failing_at
from tests.store.ledger import Ledger

ROWS = 120
DAYS = 4


class StoreMachine(RuleBasedStateMachine):
    """A store on a simulated disk, and the ledger beside it."""

    @initialize(rows_max=st.integers(1, 30), seed=st.integers(0, 2**32 - 1), flushes=st.integers(0, 6))
    def begin(self, rows_max: int, seed: int, flushes: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.rows_max = rows_max
        self.files = simulated()
        self.ledger = Ledger(stream(ROWS, days=DAYS, cards=3))
        self.store = DecisionStore(DATA_DIR, rows_max=rows_max, files=self.files)
        for _ in range(flushes):
            self.ledger.append(self.store, ROWS // 10)
            self.ledger.flush(self.store)

    @rule(count=st.integers(1, 25))
    def append(self, count: int) -> None:
        self.ledger.append(self.store, count)

    @rule()
    def flush(self) -> None:
        self.ledger.flush(self.store)

    @rule()
    def compact(self) -> None:
        self.store.compact()

    @rule(tag=st.integers(1, 3))
    def erase(self, tag: int) -> None:
        self.ledger.erase(self.store, tag, 1_000 + len(self.ledger.erasures))

    @rule(days=st.integers(0, DAYS))
    def drop(self, days: int) -> None:
        self.ledger.drop(self.store, day_of(DAY_US) + timedelta(days=days))

    @rule(call=st.integers(0, 12), name=st.sampled_from(["flush", "compact", "erase", "drop"]))
    def meet_a_full_disk(self, call: int, name: str) -> None:
        """One call of the disk fails in the middle of something; then there is space, and it is done again."""
        work = self.steps()[name]
        self.files.before = failing_at(call, lambda: OSError(errno.ENOSPC, "told to"))
        try:
            work()
        except StoreFull:
            self.files.before = lambda _: None
            if name == "erase":
                self.ledger.finish_erasure(self.store)
            else:
                work()
        self.files.before = lambda _: None

    @rule(call=st.integers(0, 12), name=st.sampled_from(["flush", "compact", "erase", "drop"]), power=st.booleans())
    def crash(self, call: int, name: str, power: bool) -> None:
        """The process or the power goes in the middle of something, or behind it; the next one goes on."""
        self.files.before = dead_from(call)
        try:
            self.steps()[name]()
        except PowerLoss:
            pass
        self.files.before = lambda _: None
        self.files = self.files.after_power_loss(self.rng) if power else self.files.after_kill()
        self.restart()

    def restart(self) -> None:
        """Goes on as the follower does: feeds again what was not durable, repeats the erasure it does not know to be done."""
        self.store = self.ledger.check(self.files)
        self.ledger.dropping = self.ledger.dropped = max(self.ledger.dropped, self.ledger.first_of(self.files) - 1)
        self.ledger.durable = self.ledger.appended = self.store.next_sequence - 1
        if self.ledger.erasing:
            self.ledger.append(self.store, self.ledger.erasures[-1].before - 1 - self.ledger.appended)
            self.ledger.finish_erasure(self.store)

    def steps(self) -> dict[str, Callable[[], object]]:
        """Returns what can be interrupted."""
        return {
            "flush": self.flush,
            "compact": self.compact,
            "erase": lambda: self.erase(1 + len(self.ledger.erasures) % 3),
            "drop": lambda: self.drop(1 + self.ledger.dropped * DAYS // ROWS),
        }

    @invariant()
    def all_that_was_promised_is_there(self) -> None:
        self.ledger.check(self.files.after_kill())


TestStoreMachine = StoreMachine.TestCase
TestStoreMachine.settings = settings(max_examples=max(20, settings().max_examples // 5), stateful_step_count=12)
