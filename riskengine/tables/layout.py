"""Positions in the arrays of the entity store, shared by the Python side and the kernels.

The store is a handful of flat arrays, position-independent (indices, never pointers), so that a snapshot is a copy:

- ``slot_tags int64[S]``, ``slot_entities int32[S]``: open addressing, one region of a power of two for each entity type;
  0 in ``slot_entities`` is an empty slot, otherwise the entity's index plus one.
- ``heads int64[E, HEAD_WORDS + RELATION_HEAD_WORDS * relations]``: one row for each entity, one region for each entity type.
- ``arena int64[A]``: slabs of `kernels.slab_words` words; word 0 is never used, so that offset 0 means none. A free slab's first
  word is the offset of the next free slab of its class and the rest is zero.
- ``types int64[T, TYPE_WORDS]``: bases, masks and cursors of each entity type.
- ``free int64[CLASSES]``: first free slab of each class.
- ``counters int64[COUNTER_WORDS]``.

INVARIANT: all of it is a function of the folded events, in their order. Used by `tables`, `velocity`, `linkage` and `engine`.
"""

from typing import Final

from riskengine.types import US_PER_DAY

# heads
HEAD_TAG: Final = 0
HEAD_LAST_TIME: Final = 1
HEAD_FIRST_TIME: Final = 2
HEAD_TOUCHES: Final = 3
HEAD_CURVE: Final = 4
HEAD_CURVE_META: Final = 5
HEAD_NODE: Final = 6
HEAD_FLAGS: Final = 7
HEAD_REGISTERS: Final = 8
HEAD_REGISTERS_META: Final = 9
HEAD_WORDS: Final = 10
"""Words before the relations."""
RELATION_HEAD_WORDS: Final = 3
"""Words of each relation: slab offset, meta, and the offset of its sample slab, 0 where no member was ever given up."""
RELATION_META: Final = 1
RELATION_SAMPLE: Final = 2
META_CLASS_SHIFT: Final = 32
"""A slab's meta word is its size class shifted by this, plus the number of rows or entries in use."""
META_COUNT_MASK: Final = (1 << 32) - 1

FLAG_THINNED: Final = 1
FLAG_RELATION_FULL: Final = 2
"""The arena had no room for a member: counts are lower bounds until the entity leaves. A full table alone does not set it."""

# types
TYPE_SLOT_BASE: Final = 0
TYPE_SLOT_MASK: Final = 1
TYPE_ENTITY_BASE: Final = 2
TYPE_ENTITIES_MAX: Final = 3
TYPE_USED: Final = 4
TYPE_FREE: Final = 5
TYPE_HAND: Final = 6
TYPE_LIVE: Final = 7
TYPE_EVICTED_COLD: Final = 8
TYPE_EVICTED_IDLE: Final = 9
TYPE_RETENTION_US: Final = 10
TYPE_REGISTERS: Final = 11  # words beside the head
TYPE_CROWDED: Final = 12  # entities not kept, for their home and PROBE_MAX slots behind it were taken
TYPE_WORDS: Final = 13

# counters
COUNTER_NEWEST_US: Final = 0
COUNTER_ARENA_NEXT: Final = 1
COUNTER_ARENA_REFUSED: Final = 2
COUNTER_LATE_DROPPED: Final = 3
COUNTER_NODES: Final = 4
COUNTER_NODES_REFUSED: Final = 5
COUNTER_THINNED: Final = 6
COUNTER_COMMANDS: Final = 7
COUNTER_HORIZON_US: Final = 8  # newest event time among the commands that idempotency has forgotten
COUNTER_WORDS: Final = 10

CLASSES: Final = 26
"""Size classes 8, 12, 16, 24, 32, 48 … words: at most half of a slab is unused, a quarter on average."""
PROBE_MAX: Final = 128
"""How many slots a search looks at. In a region that is half full, one of random tags in 10**11 needs more."""
EVICTION_SAMPLE: Final = 8
"""How many entities are looked at to find the coldest when a type is full."""
EVICTION_LOOK_MAX: Final = 64
"""How many are looked at in all, until one of them was seen once, where all of the sample were seen often."""
SWEEP_PER_INSERT: Final = 2
"""How many entities are checked for idleness whenever one is added."""

# keys: one row for each declared entity type
KEY_FIELDS_MAX: Final = 4
KEY_TYPE: Final = 0
KEY_FIELDS: Final = 1  # how many
KEY_WORD: Final = 2  # word of the event for each field
KEY_ENTITY: Final = KEY_WORD + KEY_FIELDS_MAX  # entity type of each field, -1: a code
KEY_WORDS: Final = KEY_ENTITY + KEY_FIELDS_MAX

RELATION_ENTRY_WORDS: Final = 4
ENTRY_TAG: Final = 0
ENTRY_LAST: Final = 1
ENTRY_FIRST: Final = 2
ENTRY_COUNT: Final = 3

# sample slab: how far back each level of an overfull last-seen table is complete, then scratch of as many words
SAMPLE_LEVELS: Final = 24
"""A member has level L with probability 2**-(L + 1). 24 levels carry a table of 256 entries past 100 million members."""
SAMPLE_CLASS: Final = 5
SAMPLE_WORDS: Final = 2 * SAMPLE_LEVELS
"""Words of the size class SAMPLE_CLASS."""
NEVER_US: Final = -(1 << 62)
"""Before every event time, microseconds."""

MEMORY_US: Final = 30 * US_PER_DAY
"""How long an idle entity is remembered at the least, and how far back its last event is looked for, microseconds."""

# relations: one row for each last-seen table of an entity type
RELATION_TYPE: Final = 0  # owning entity type
RELATION_MEMBER: Final = 1  # member entity type
RELATION_WORD: Final = 2  # head word of the slab offset
RELATION_ENTRIES_MAX: Final = 3
RELATION_NEW_COLUMN: Final = 4  # features column told whether the pair is new, -1: none
RELATION_READ: Final = 5  # first row of the reads
RELATION_READS: Final = 6
RELATION_RETENTION_US: Final = 7  # a member last seen longer before the newest event is as good as never seen
RELATION_KNOWN_US: Final = 8  # a pair last seen longer before an event is new to it
RELATION_WORDS: Final = 9

# reads: distinct members over a window
READ_WINDOW_US: Final = 0
READ_COLUMN: Final = 1  # of the features matrix
READ_WORDS: Final = 2
