"""Allow, block and watch lists: which of them name an entity of an event.

Entries are keyed tags, so the engine knows who is listed only by pseudonym. An entry ends by event time: from its
moment of expiry on it is off the list, however long the event took to arrive, and a replay finds the same.

INVARIANT: the tables are built once and never change; a new policy brings new ones. Built by `stage`, called by
`engine.pipeline`; `check` and `compile` make its entries.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import numpy as np

from riskengine.types import ENTITIES, EVENT_WORD, EVENT_WORDS, LISTS_MAX, TAG_WORD_FIRST, Floats, Ints, Valid

from . import kernels

NEVER_US: Final = 2**63 - 1
"""The expiry of an entry that does not expire."""
_TIME_WORD: Final = EVENT_WORD["event_time_us"]
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Entry:
    """One entity on one list.

    Attributes:
        entity: Index into ENTITIES.
        tag: Keyed tag, uint64, not 0.
        expires_us: Event time from which it is off the list, microseconds since the epoch.
        list_index: Which list, 0 to LISTS_MAX - 1.
    """

    entity: int
    tag: int
    expires_us: int
    list_index: int

    def as_content(self) -> dict[str, str]:
        """Returns the entry as policy.yaml may have it, without the identifier."""
        told = {"tag": f"{self.tag:016x}"}
        if self.expires_us != NEVER_US:
            told["expires"] = (_EPOCH + timedelta(microseconds=self.expires_us)).isoformat()
        return told


class Lists:
    """The lists of one policy as a stage.

    Args:
        entries: Of all lists, in any order; a tag may be on several lists.
        columns: The feature matrix's column of ``list.<id>`` for each list, in the order of the policy.
    """

    def __init__(self, entries: Sequence[Entry], columns: Sequence[int]) -> None:
        assert len(columns) <= LISTS_MAX, "a hit is one bit of a word"
        ordered = sorted(entries, key=lambda entry: (entry.entity, entry.tag, entry.expires_us, entry.list_index))
        self.entry_count: Final = len(ordered)
        self._tags = np.array([entry.tag for entry in ordered], np.uint64)
        self._masks = np.array([1 << entry.list_index for entry in ordered], np.int64)
        self._expiries_us = np.array([entry.expires_us for entry in ordered], np.int64)
        counts = np.bincount([entry.entity for entry in ordered] or [0], minlength=len(ENTITIES))
        if not ordered:
            counts[:] = 0
        self._bounds = np.concatenate(([0], np.cumsum(counts))).astype(np.int64)
        self._columns = np.array(columns, np.int64)

    def hits(self, events: Ints, features: Floats, valid: Valid) -> Ints:
        """Finds the lists that name an entity of each event, and tells conditions by the columns ``list.<id>``.

        Args:
            events: int64[n, EVENT_WORDS], C-contiguous, rows of EVENT as `riskengine.types.words` shows them.
            features: float64[n, F], C-contiguous, out: 0 or 1 in the columns of the lists.
            valid: uint8[n, F], C-contiguous, out: 1 in the same columns.

        Returns:
            int64[n], bit l for list l of the policy.
        """
        assert events.ndim == 2, "rows of words"
        assert events.shape[1] == EVENT_WORDS, "rows of EVENT"
        assert len(events) == len(features) == len(valid), "one row each"
        found = np.empty(len(events), np.int64)
        kernels.find_hits(
            self._tags,
            self._masks,
            self._expiries_us,
            self._bounds,
            self._columns,
            events,
            TAG_WORD_FIRST,
            _TIME_WORD,
            features,
            valid,
            found,
        )
        return found
