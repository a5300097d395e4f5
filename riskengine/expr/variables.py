"""What a condition may name: typed variables of the form ``namespace.field``.

INVARIANT: a variable says where its value lies and nothing else: a column of the feature matrix, or a word of the
event's row. The order and the columns are the engine's; here they are taken as given.

Used by `engine.features`, which declares them, and by the rest of this package.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\.[A-Za-z_][A-Za-z0-9_]*")
_WORDS_OF_CEL: Final = frozenset({"true", "false", "null", "in", "has"})


class VariableKind(Enum):
    """What a variable or an expression is."""

    NUMBER = "number"
    BOOL = "bool"
    CODE = "text"


@dataclass(frozen=True, slots=True)
class Variable:
    """One name that conditions may use.

    Attributes:
        name: ``namespace.field``, e.g. ``card.payment_count_1h``; see `is_variable_name`.
        kind: NUMBER and BOOL are read from the feature matrix (a BOOL as 0.0 or 1.0), CODE from the event's row.
        column: Column of the feature matrix, or index of the word in the event's row; at least 0.
        domain: Of a CODE, its closed set of texts and their numbers (none of them 0); None for any text, packed by
            `riskengine.types.pack_code`.
    """

    name: str
    kind: VariableKind
    column: int
    domain: Mapping[str, int] | None = None

    def __post_init__(self) -> None:
        assert is_variable_name(self.name), f"{self.name!r} is not a name that a condition can spell"
        assert self.column >= 0, "a column is an index"
        assert self.domain is None or (self.kind is VariableKind.CODE and 0 not in self.domain.values())


def is_variable_name(name: str) -> bool:
    """Tells whether a condition can spell a name: two ASCII identifiers joined by a dot, neither a word of CEL's."""
    return _NAME.fullmatch(name) is not None and _WORDS_OF_CEL.isdisjoint(name.split("."))
