"""Declared entity types: any tuple of an event's fields as an entity of its own, such as card and merchant.

INVARIANTS: a declared type comes behind the built-in ones, in the order of its declaration. An event without one of the fields
has no such entity. Called by `engine.features`, `velocity.plan` and `tables.relations`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from riskengine.tables import layout
from riskengine.types import ENTITIES, ENTITY_INDEX, EVENT_WORD, TAG_COLUMNS, Ints


@dataclass(frozen=True, slots=True)
class KeyPlan:
    """The entity types of a configuration.

    Attributes:
        keys: int64[K, KEY_WORDS], for the kernels.
        types: Index of each entity type by name, the built-in ones first.
    """

    keys: Ints
    types: dict[str, int]

    def registers(self) -> list[int]:
        """Returns for each entity type how many registers its key takes: one for each field, that erasure finds it by."""
        counts = [0] * len(self.types)
        for row in self.keys.tolist():
            counts[row[layout.KEY_TYPE]] = row[layout.KEY_FIELDS]
        return counts


def matrix(rows: Sequence[Sequence[int]], words: int) -> Ints:
    """Returns rows as int64[len(rows), words], also where there are none."""
    return np.array(rows, np.int64).reshape(len(rows), words)


def build_keys(declared: Mapping[str, Sequence[str]], code_words: Mapping[str, int]) -> KeyPlan:
    """Builds the plan.

    Args:
        declared: Fields by name of the type, 1 to KEY_FIELDS_MAX; names were checked.
        code_words: Word of the event by name, of the codes that may be a field.
    """
    rows: list[list[int]] = []
    types: dict[str, Any] = dict(ENTITY_INDEX)
    for name, fields in declared.items():
        row = [0] * layout.KEY_WORDS
        row[layout.KEY_TYPE] = types[name] = len(ENTITIES) + len(rows)
        row[layout.KEY_FIELDS] = len(fields)
        for index, field in enumerate(fields):
            entity = ENTITY_INDEX.get(field, -1)
            row[layout.KEY_WORD + index] = EVENT_WORD[TAG_COLUMNS[entity]] if entity >= 0 else code_words[field]
            row[layout.KEY_ENTITY + index] = entity
        rows.append(row)
    return KeyPlan(keys=matrix(rows, layout.KEY_WORDS), types=types)
