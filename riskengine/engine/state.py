"""All that the engine remembers, as arrays.

INVARIANTS: a function of the journal, the feature definitions and the limits alone; nothing here depends on a verdict, a score or
the borders of batches. Built by `engine.engine`, changed by `engine.pipeline`.
"""

import hashlib

import numpy as np
import numpy.typing as npt

from riskengine.engine.blocks import block, bytes_of, used_blocks
from riskengine.engine.features import FeatureSet
from riskengine.engine.recent import RecentDecisions
from riskengine.engine.recent.kernels import PROGRESS_SEQUENCE
from riskengine.limits import EngineLimits
from riskengine.linkage import layout as linkage_layout
from riskengine.tables.store import create_store
from riskengine.types import ENTITIES

Words = npt.NDArray[np.int64] | npt.NDArray[np.int32]


class State:
    """The state of one engine.

    Args:
        features: What is measured; decides the layout.
        limits: Bounds.

    Attributes:
        store: Entities with their windows and last-seen tables.
        nodes: int64[N, NODE_WORDS], components.
        recent: Recent decisions.
        seen_times: int64[N], event times of as many commands as `recent` holds, microseconds.
        progress: int64[2], sequence (0 before the first) and received time (never falls) of the last command applied.
    """

    def __init__(self, features: FeatureSet, limits: EngineLimits) -> None:
        self.store = create_store(
            retentions_us=features.velocity.horizons_us,
            relation_count_max=features.relations.relation_count_max,
            limits=limits,
            registers=features.velocity.registers,
        )
        node_count = limits.entities_max * len(ENTITIES) if len(features.linkage.links) else 1
        self.nodes = np.zeros((node_count, linkage_layout.NODE_WORDS), np.int64)
        self.recent = RecentDecisions(limits.recent_decisions_max)
        self.seen_times = np.zeros(limits.recent_decisions_max, np.int64)
        self.progress = np.zeros(2, np.int64)

    @property
    def sequence(self) -> int:
        """Of the last command applied, 0 before the first."""
        return int(self.progress[PROGRESS_SEQUENCE])

    def arrays(self) -> dict[str, Words]:
        """Returns every array whole, by name: what a snapshot is read into."""
        return {
            "progress": self.progress,
            **{name: getattr(self.store, name) for name in self.store.used()},
            "nodes": self.nodes,
            "seen_times": self.seen_times,
            **self.recent.arrays(),
        }

    def used(self) -> dict[str, Words]:
        """Returns of every array the part, from its beginning on, behind which it was never written."""
        return {**self.arrays(), **self.store.used()}

    def digest(self) -> str:
        """Returns 32 hex digits over every byte of the state: equal states have equal digests. For tests and tools.

        Blocks of zeros count by their absence, so it costs what is used, not what is reserved: 1.5 s for 1 GB.
        """
        digest = hashlib.blake2b(digest_size=16)
        for name, array in self.used().items():
            data = bytes_of(array)
            digest.update(f"{name} {len(data)}".encode())
            for index in used_blocks(data).tolist():
                digest.update(index.to_bytes(8, "little"))
                digest.update(block(data, index).data)
        return digest.hexdigest()
