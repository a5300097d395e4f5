"""Recent decisions: idempotency, GetDecision, and the entities that an outcome speaks of.

A projection of the journal: a ring of the last decisions, found by request and by transaction. INVARIANTS: the oldest leaves
first, when the ring is full; a request_id is known from the moment its row is screened, so a duplicate in the same batch waits
for the first. Called by `engine.engine`.
"""

from .table import RecentDecisions, Screened

__all__ = ["RecentDecisions", "Screened"]
