"""Where a decision is in the journal: by its name, by its request, by its sequence.

INVARIANTS: the whole journal is read, for a request that comes again after the engine has forgotten it is decided anew under the
same name; then the newest counts and the others are told. Only decisions are found, not what was recorded or reported.

Called by `lab.explain` and `cli`.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from riskengine.enums import Kind
from riskengine.errors import RiskEngineError
from riskengine.journal.reader import Commits
from riskengine.lab.reading import Progress, journal_items
from riskengine.types import Array
from riskengine.wire.pseudonyms import TagKey
from riskengine.wire.reply import parse_decision_name

_HEX: Final = re.compile(r"[0-9a-f]{32}")
_WORDS: Final = {Kind.RECORD: "was recorded without a decision", Kind.OUTCOME: "reports an outcome"}


class DecisionNotJournaled(RiskEngineError):
    """The journal holds no such decision; the message says what it holds instead."""

    reason = "DECISION_NOT_JOURNALED"
    grpc_code = "NOT_FOUND"


@dataclass(frozen=True, slots=True)
class Found:
    """A decision and what it was taken on.

    Attributes:
        event: EVENT[1], as journaled.
        decision: DECISION[1], as journaled.
        earlier: Sequences of older decisions of the same name.
    """

    event: Array
    decision: Array
    earlier: tuple[int, ...] = ()

    @property
    def sequence(self) -> int:
        """Of the event."""
        return int(self.event["sequence"][0])


def decision_keys(name: str) -> tuple[int, int]:
    """Returns request_key and request_check of a decision's name.

    Args:
        name: ``decisions/`` and 32 hex digits, or the digits alone.

    Raises:
        InvalidRequest: It is neither.
    """
    plain = name.strip().lower()
    return parse_decision_name(f"decisions/{plain}" if _HEX.fullmatch(plain) else plain)


def request_keys(key: TagKey, request_id: str) -> tuple[int, int]:
    """Returns request_key and request_check of a request's id, as the door makes them.

    Args:
        key: The secret of all tags.
        request_id: As the caller sent it.
    """
    hasher = key.hasher("request", digest_size=16)
    hasher.update(request_id.encode())
    digest = hasher.digest()
    return int.from_bytes(digest[:8], "little") or 1, int.from_bytes(digest[8:], "little")


def find_by_keys(data_dir: Path, keys: tuple[int, int], *, on_progress: Progress | None = None) -> Found:
    """Finds the newest decision of a request.

    Args:
        data_dir: The data directory; it may be in use.
        keys: From `decision_keys` or `request_keys`.
        on_progress: Called with (bytes read, bytes in all).

    Raises:
        DecisionNotJournaled: There is none.
        JournalCorrupt: The journal is damaged.
    """
    request_key, request_check = np.uint64(keys[0]), np.uint64(keys[1])
    newest: tuple[Array, Array] | None = None
    sequences: list[int] = []
    other_kind = 0
    for commits in _commits(data_dir, on_progress):
        decisions = commits.decisions
        rows = np.flatnonzero(decisions["request_key"] == request_key)
        for row in rows[decisions["request_check"][rows] == request_check].tolist():
            if decisions["verdict"][row] == 0:
                other_kind = int(decisions["kind"][row])
                continue
            newest = _row(commits, row)
            sequences.append(int(decisions["sequence"][row]))
    if newest is not None:
        return Found(*newest, earlier=tuple(sequences[:-1]))
    if other_kind:
        raise DecisionNotJournaled(f"this request {_WORDS[Kind(other_kind)]}; only scored requests can be explained")
    raise DecisionNotJournaled(
        "the journal has no decision of that name; it may be older than what the journal keeps, or of another data folder"
    )


def find_by_sequence(data_dir: Path, sequence: int, *, on_progress: Progress | None = None) -> Found:
    """Finds a decision by its sequence; otherwise as `find_by_keys`."""
    first = last = 0
    for commits in _commits(data_dir, on_progress):
        sequences = commits.events["sequence"]
        first, last = first or int(sequences[0]), int(sequences[-1])
        if sequence > last:
            continue
        row = sequence - int(sequences[0])
        if row < 0:
            break
        if commits.decisions["verdict"][row] == 0:
            kind = Kind(int(commits.events["kind"][row]))
            raise DecisionNotJournaled(f"sequence {sequence} {_WORDS[kind]}; only scored requests can be explained")
        return Found(*_row(commits, row))
    raise DecisionNotJournaled(
        f"the journal has no sequence {sequence}; it holds {first} to {last}"
        if last
        else "the journal holds no event yet"
    )


def _commits(data_dir: Path, on_progress: Progress | None) -> Iterator[Commits]:
    return (item for item in journal_items(data_dir, on_progress=on_progress) if isinstance(item, Commits))


def _row(commits: Commits, row: int) -> tuple[Array, Array]:
    """Returns one event and its decision as arrays of their own."""
    return commits.events[row : row + 1].copy(), commits.decisions[row : row + 1].copy()
