"""Columns of the arrays of linkage.

Nodes are kept apart from the entities, because a component outlives the eviction of one of its members.

INVARIANT: plain numbers. Filled by `linkage.plan` and `engine.state`, read by `linkage.kernels`.
"""

from typing import Final

# nodes: one row for each entity that was ever linked; row 0 is never used
NODE_PARENT: Final = 0
NODE_SIZE: Final = 1
NODE_WORDS: Final = 2

# links: one row for each strong pair of entity types
LINK_ONE: Final = 0  # entity type
LINK_OTHER: Final = 1
LINK_ONE_WORD: Final = 2  # head word of the table one -> other
LINK_OTHER_WORD: Final = 3  # head word of the table other -> one
LINK_WORDS: Final = 4

# columns: one row for each entity type
COLUMN_COMPONENT_SIZE: Final = 0  # of the features matrix, -1: none
COLUMN_OVER_CAP: Final = 1
COLUMN_DEGREE_MAX: Final = 2
COLUMN_WORDS: Final = 3
