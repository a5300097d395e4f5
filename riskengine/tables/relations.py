"""Which last-seen tables are kept, gathered from those who ask: velocity for distincts, linkage for links.

INVARIANT: one table for each ordered pair of entity types, whoever asks; the order of the answers follows from the requests.
Called by `engine.features`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from riskengine.tables import layout
from riskengine.types import ENTITY_INDEX, Ints


@dataclass(slots=True)
class RelationRequest:
    """What is asked of the members of one entity type seen with another.

    Attributes:
        owner: Entity type whose table it is.
        member: Entity type that is counted.
        entries_max: Members kept.
        retention_us: How long a member matters after it was last seen, the allowed lateness included, microseconds.
        reads: (window in microseconds, column of the features matrix) of each distinct count.
        new_column: Column told whether the pair is new, -1 for none.
        known_us: How long a pair counts as known after it was last seen, microseconds.
    """

    owner: str
    member: str
    entries_max: int
    retention_us: int
    reads: list[tuple[int, int]] = field(default_factory=list)
    new_column: int = -1
    known_us: int = 0


@dataclass(frozen=True, slots=True)
class RelationPlan:
    """Arrays for the kernels.

    Attributes:
        relations: int64[R, RELATION_WORDS].
        reads: int64[_, READ_WORDS].
        relation_count_max: Most relations that one entity type owns.
        words: Head word by (owner, member).
    """

    relations: Ints
    reads: Ints
    relation_count_max: int
    words: dict[tuple[str, str], int]


def build_relations(requests: Iterable[RelationRequest], types: Mapping[str, int] = ENTITY_INDEX) -> RelationPlan:
    """Merges the requests into one plan.

    Args:
        types: Index of each entity type by name.
        requests: In any number for the same pair; the largest cap and the longest retention win.
    """
    merged: dict[tuple[str, str], RelationRequest] = {}
    for request in requests:
        known = merged.get((request.owner, request.member))
        if known is None:
            merged[request.owner, request.member] = replace(request, reads=list(request.reads))
            continue
        known.entries_max = max(known.entries_max, request.entries_max)
        known.reads += request.reads
        known.new_column = max(known.new_column, request.new_column)
        known.retention_us = max(known.retention_us, request.retention_us)
        known.known_us = max(known.known_us, request.known_us)
    rows: list[list[int]] = []
    reads: list[tuple[int, int]] = []
    words: dict[tuple[str, str], int] = {}
    owned = dict.fromkeys(types, 0)
    for (owner, member), request in merged.items():
        word = layout.HEAD_WORDS + layout.RELATION_HEAD_WORDS * owned[owner]
        owned[owner] += 1
        words[owner, member] = word
        rows.append(
            [
                types[owner],
                types[member],
                word,
                request.entries_max,
                request.new_column,
                len(reads),
                len(request.reads),
                request.retention_us,
                request.known_us,
            ]
        )
        reads += request.reads
    return RelationPlan(
        relations=np.array(rows, np.int64).reshape(len(rows), layout.RELATION_WORDS),
        reads=np.array(reads, np.int64).reshape(len(reads), layout.READ_WORDS),
        relation_count_max=max(owned.values()),
        words=words,
    )
