"""All that the engine remembers, as arrays.

INVARIANTS: a function of the journal, the feature definitions and the limits alone; nothing here depends on a verdict, a score or
the borders of batches. Built by `engine.engine`, changed by `engine.pipeline`.
"""

import hashlib

import numpy as np

from riskengine.engine.features import FeatureSet
from riskengine.engine.recent import RecentDecisions
from riskengine.engine.recent.kernels import PROGRESS_SEQUENCE
from riskengine.limits import EngineLimits
from riskengine.linkage import layout as linkage_layout
from riskengine.tables.store import create_store
from riskengine.types import ENTITIES


class State:
    """The state of one engine.

    Args:
        features: What is measured; decides the layout.
        limits: Bounds.

    Attributes:
        store: Entities with their windows and last-seen tables.
        nodes: int64[N, NODE_WORDS], components.
        recent: Recent decisions.
        progress: int64[2], sequence (0 before the first) and received time (never falls) of the last command applied.
    """

    def __init__(self, features: FeatureSet, limits: EngineLimits) -> None:
        self.store = create_store(
            retentions_us=features.velocity.horizons_us,
            relation_count_max=features.relations.relation_count_max,
            limits=limits,
        )
        node_count = limits.entities_max * len(ENTITIES) if len(features.linkage.links) else 1
        self.nodes = np.zeros((node_count, linkage_layout.NODE_WORDS), np.int64)
        self.recent = RecentDecisions(limits.recent_decisions_max)
        self.progress = np.zeros(2, np.int64)

    @property
    def sequence(self) -> int:
        """Of the last command applied, 0 before the first."""
        return int(self.progress[PROGRESS_SEQUENCE])

    def digest(self) -> str:
        """Returns 32 hex digits over every byte of the state: equal states have equal digests. For tests and tools."""
        digest = hashlib.blake2b(digest_size=16)
        arrays = {"progress": self.progress, **self.store.used(), "nodes": self.nodes, **self.recent.arrays()}
        for name, array in arrays.items():
            digest.update(name.encode())
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()
