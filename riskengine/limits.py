"""The bounds that the engine's state depends on.

INVARIANT: a bound is told in server.yaml and never exceeded; what happens at it is told beside it, and counted. Equal journals
under equal limits give equal states, so every activation in the journal holds them.

Used by `settings`, `tables`, `engine`, `lab` and tests.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineLimits:
    """Bounds of the engine's memory and work. Arrays are reserved at start and touched as they fill."""

    entities_max: int = 200_000
    """Entities kept for each entity type; beyond it the coldest leave first, counted."""
    arena_mib: int = 1024
    """Memory for windows and last-seen tables, MiB; at the bound an entity gives up its oldest rows, counted."""
    recent_decisions_max: int = 200_000
    """Decisions kept for idempotency and GetDecision."""
    batch_rows_max: int = 1024
    """Rows applied and journaled as one group."""
    lateness_max_s: int = 3600
    """An event older than the newest received by more than this is scored but not folded, seconds."""
