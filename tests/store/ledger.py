"""What the store has promised so far, and what may be found after a crash.

A plain list of rows stands beside the store. Calls are noted before they are made and acknowledged when they return; a call
under way may have had any part of its effect, one that returned has it all.

Called by tests/store.
"""

from dataclasses import dataclass, field
from datetime import date

from riskengine.store.folder import day_of, store_folder, survey
from riskengine.store.store import DecisionStore
from tests.store.builders import CATALOG, DATA_DIR, Rows, pairs, pairs_of, part_of
from tests.store.disks import SimulatedFiles


@dataclass(frozen=True)
class Erasure:
    """A tag that was or is being replaced in rows before a sequence."""

    tag: int
    tombstone: int
    before: int


@dataclass
class Ledger:
    """The list beside the store.

    Attributes:
        rows: All rows that are ever fed, sequences from 1.
        appended: How many were appended.
        durable: How many were flushed.
        dropped: How many were dropped.
        dropping: How many a drop that is under way would leave dropped.
        erasures: Those done; the last may be under way.
        erasing: Whether it is.
    """

    rows: Rows
    appended: int = 0
    durable: int = 0
    dropped: int = 0
    dropping: int = 0
    erasures: list[Erasure] = field(default_factory=list)
    erasing: bool = False

    def __post_init__(self) -> None:
        self._pairs = pairs(self.rows[0])
        self._days = [day_of(int(time)) for time in self.rows[0]["received_time_us"]]

    def append(self, store: DecisionStore, count: int) -> None:
        """Feeds the next rows."""
        first, self.appended = self.appended, min(self.appended + count, len(self._pairs))
        store.append(*part_of(self.rows, first, self.appended), CATALOG)

    def flush(self, store: DecisionStore) -> None:
        """Makes them durable."""
        store.flush()
        self.durable = self.appended

    def erase(self, store: DecisionStore, tag: int, tombstone: int) -> None:
        """Replaces a card's tag in all rows so far."""
        self.erasures.append(Erasure(tag, tombstone, self.appended + 1))
        self.erasing = True
        self.finish_erasure(store)

    def finish_erasure(self, store: DecisionStore) -> None:
        """Repeats the last erasure, as whoever was not told that it is done will."""
        last = self.erasures[-1]
        store.erase("card", last.tag, last.tombstone, before=last.before)
        self.durable, self.erasing = max(self.durable, last.before - 1), False

    def drop(self, store: DecisionStore, day: date) -> None:
        """Drops what is durable of earlier days."""
        self.dropping = sum(each < day for each in self._days[: store.next_sequence - 1])
        store.drop_before(day)
        self.dropped = max(self.dropped, self.dropping)

    def expected(self, *, done: int) -> dict[int, int]:
        """Returns the card tag of each row by sequence, with so many of the erasures done."""
        tags = dict(self._pairs)
        for erasure in self.erasures[:done]:
            for sequence, tag in tags.items():
                if tag == erasure.tag and sequence < erasure.before:
                    tags[sequence] = erasure.tombstone
        return tags

    def first_of(self, files: SimulatedFiles) -> int:
        """Returns the sequence of the first row that is stored, else of the next."""
        look = survey(files, store_folder(DATA_DIR))
        return look.parts[0].first if look.parts else look.next_sequence

    def check(self, files: SimulatedFiles) -> DecisionStore:
        """Opens what is left and asserts that it is all that was promised, each row once; returns the open store."""
        store = DecisionStore(DATA_DIR, rows_max=40, files=files)
        found = pairs_of(DATA_DIR, files=files)
        sequences = [sequence for sequence, _ in found]
        ended = store.next_sequence
        began = sequences[0] if sequences else ended
        done = self.expected(done=len(self.erasures))
        before = self.expected(done=len(self.erasures) - self.erasing)

        assert self.durable < ended <= self.appended + 1, "what was flushed is there, and nothing else"
        assert list(range(began, ended)) == sequences, "each row once, without a gap"
        assert self.dropped < began <= max(self.dropped, self.dropping) + 1, "dropped rows are gone, others are not"
        assert all(tag in (before[sequence], done[sequence]) for sequence, tag in found), "an erased tag is back"
        look = survey(files, store_folder(DATA_DIR))
        assert ((), ()) == (look.stale, look.partial), "nothing useless is left after opening"
        return store

    def finish(self, store: DecisionStore, files: SimulatedFiles) -> None:
        """Goes on as the follower would after a restart, to the end, and asserts that all is as if nothing had happened."""
        if self.erasing:
            store.append(*part_of(self.rows, 0, self.erasures[-1].before - 1), CATALOG)
            self.finish_erasure(store)
        self.appended = len(self._pairs)
        store.append(*self.rows, CATALOG)
        self.flush(store)
        store.compact()
        tags = self.expected(done=len(self.erasures))
        found = pairs_of(DATA_DIR, files=files)

        assert found, "the last row is never dropped here"
        assert self.dropped < found[0][0] <= max(self.dropped, self.dropping) + 1
        assert [(sequence, tags[sequence]) for sequence in range(found[0][0], len(self._pairs) + 1)] == found
