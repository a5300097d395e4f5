"""The ring of recent decisions as an object.

INVARIANTS: as of the package. Arrays are reserved at start. Called by `engine.engine`.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from riskengine.enums import ReplyStatus
from riskengine.types import DECISION, DECISION_WORD, DECISION_WORDS, ENTITIES, Array, WordMatrix, rows_of, words

from . import kernels

Int64Array = npt.NDArray[np.int64]
_REVISION = DECISION_WORD["revision"]


@dataclass(frozen=True, slots=True)
class Screened:
    """A batch told apart.

    Attributes:
        statuses: int64[n], ReplyStatus of each row.
        positions: int64[n], place of the decision in the ring; -1 where the reply is known already.
        replies: int64[n, DECISION_WORDS], filled where it is known.
        new_count: Rows that are new.
    """

    statuses: Int64Array
    positions: Int64Array
    replies: Int64Array
    new_count: int

    @property
    def new(self) -> npt.NDArray[np.bool_]:
        """bool[n]: the rows to apply."""
        new: npt.NDArray[np.bool_] = self.statuses == int(ReplyStatus.DECIDED)
        return new


class RecentDecisions:
    """The last `count_max` decisions.

    Args:
        count_max: Rows of the ring; more than a batch has.
    """

    def __init__(self, count_max: int) -> None:
        slots = 1 << (2 * count_max - 1).bit_length()
        self._decisions = np.zeros((count_max, DECISION_WORDS), np.int64)
        self._tags = np.zeros((count_max, len(ENTITIES)), np.int64)
        self._transactions = np.zeros(count_max, np.int64)
        self._keys = np.zeros(count_max, np.int64)
        self._by_request = np.zeros(slots, np.int32)
        self._by_transaction = np.zeros(slots, np.int32)
        self._cursor = np.zeros(2, np.int64)

    def screen(self, events: WordMatrix, progress: Int64Array) -> Screened:
        """Tells new commands from repeated ones, numbers the new ones and gives them a place.

        Args:
            events: int64[n, EVENT_WORDS], at most `count_max` rows; see `kernels.screen` for what is filled in.
            progress: int64[2], sequence and received time of the last command; moved on.
        """
        count = len(events)
        assert count <= len(self._decisions), "a batch fits into the ring"
        statuses, positions = np.empty(count, np.int64), np.empty(count, np.int64)
        replies = np.empty((count, DECISION_WORDS), np.int64)
        new_count = kernels.screen(
            events,
            progress,
            self._decisions,
            self._tags,
            self._transactions,
            self._keys,
            self._by_request,
            self._by_transaction,
            self._cursor,
            statuses,
            positions,
            replies,
        )
        return Screened(statuses, positions, replies, int(new_count))

    def settle(self, screened: Screened, decided: WordMatrix) -> None:
        """Stores the decisions of the new rows and completes the replies.

        Args:
            screened: From `screen`.
            decided: int64[m, DECISION_WORDS] of the new commands, in order.
        """
        assert len(decided) == screened.new_count, "each new command has its decision"
        kernels.settle(self._decisions, screened.statuses, screened.positions, decided, screened.replies)

    def remember(self, events: Array, decided: Array) -> None:
        """Takes commands and their decisions as journaled."""
        kernels.remember(
            words(events),
            words(decided),
            self._decisions,
            self._tags,
            self._transactions,
            self._keys,
            self._by_request,
            self._by_transaction,
            self._cursor,
        )

    def lookup(self, keys: npt.NDArray[np.uint64]) -> tuple[Int64Array, Array]:
        """Finds decisions.

        Args:
            keys: uint64[n, 2], request_key and request_check.

        Returns:
            ReplyStatus int64[n], REPEATED or NOT_FOUND, and rows of DECISION.
        """
        statuses = np.full(len(keys), int(ReplyStatus.NOT_FOUND), np.int64)
        replies = np.zeros((len(keys), DECISION_WORDS), np.int64)
        wanted = np.ascontiguousarray(keys).view(np.int64)
        kernels.lookup(wanted, self._decisions, self._keys, self._by_request, statuses, replies)
        return statuses, rows_of(replies, DECISION)

    def revisions(self) -> set[int]:
        """Returns the ordinals of the activations that its rows refer to."""
        live = self._decisions[: self._cursor[kernels.CURSOR_LIVE], _REVISION]
        return set(np.unique(live).tolist())

    def arrays(self) -> dict[str, npt.NDArray[np.int64] | npt.NDArray[np.int32]]:
        """Returns the state, for hashing."""
        return {
            "recent_decisions": self._decisions,
            "recent_tags": self._tags,
            "recent_transactions": self._transactions,
            "recent_keys": self._keys,
            "recent_by_request": self._by_request,
            "recent_by_transaction": self._by_transaction,
            "recent_cursor": self._cursor,
        }
