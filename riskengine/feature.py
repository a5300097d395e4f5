"""One feature of the catalogue: what a column of the features matrix means.

INVARIANTS: a model is bound to features by name and by the hash of their definition, so that it never scores another thing under
the same name. What is told to people beside the definition changes no hash.

Used by `velocity`, `linkage`, `engine` and the commands `features`.
"""

import hashlib
from dataclasses import dataclass
from typing import TypedDict


class Words(TypedDict):
    """What people are told of a feature beside its meaning; see `Feature`."""

    nulls: str
    exactness: str


@dataclass(frozen=True, slots=True)
class Feature:
    """One column of the features matrix, in words.

    Attributes:
        name: `{entity}.{input}_{operation}_{window}`; how conditions, models and reasons call it.
        unit: What a value of 1 means.
        description: One sentence.
        boolean: Whether it is 0 or 1 and a bool in conditions.
        definition: Canonical text of how it is computed, with every parameter of features.yaml that may change a value;
            equal definitions give equal values under equal limits.
        nulls: When it is missing, in words: ``missing without an amount``.
        exactness: How true it is, in words: ``exact``.
    """

    name: str
    unit: str
    description: str
    boolean: bool = False
    definition: str = ""
    nulls: str = ""
    exactness: str = ""

    @property
    def definition_hash(self) -> str:
        """16 hex digits: equal ones are equal names and equal definitions."""
        text = f"1|{self.name}|{self.definition}"
        return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
