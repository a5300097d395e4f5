"""The kernel of erasure: tags of persons become tombstones.

INVARIANT: what was counted stays counted, under the tombstone; no array of the store holds the tag any more. Called by
`engine.fold.kernels`, in the order of commands.
"""

from riskengine.jit import kernel
from riskengine.tables.kernels import entity_rename
from riskengine.tables.keys.kernels import keys_rename
from riskengine.tables.layout import TYPE_RETENTION_US
from riskengine.tables.members.kernels import relations_rename
from riskengine.types import ENTITIES, EVENT_WORD, TAG_WORD_FIRST

_TOMBSTONE = EVENT_WORD["original_transaction_tag"]
_ENTITY_COUNT = len(ENTITIES)


@kernel()
def erase_tags(slot_tags, slot_entities, heads, arena, types, relations, keys, event):
    """Turns every tag of an erasure into its tombstone, in the store.

    Returns:
        1 if any of them was known, else 0.
    """
    known = 0
    tombstone = event[_TOMBSTONE]
    for entity_type in range(_ENTITY_COUNT):
        tag = event[TAG_WORD_FIRST + entity_type]
        if tag == 0:
            continue
        if types[entity_type, TYPE_RETENTION_US] != 0:
            known |= entity_rename(slot_tags, slot_entities, heads, types, entity_type, tag, tombstone)
        known |= keys_rename(slot_tags, slot_entities, heads, arena, types, keys, entity_type, tag, tombstone) > 0
        if relations_rename(heads, arena, types, relations, entity_type, tag, tombstone) > 0:
            known = 1
    return known
