"""What is wrong with a condition, and where.

INVARIANTS: an offset counts characters of the analyst's own text from 0, whatever was rewritten before checking; a
name that is not known comes with the nearest one that is. Raised by `Environment.compile`; `policy` and `engine`
turn the offsets into lines and columns of the file.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from riskengine.errors import RiskEngineError, nearest

ALLOWED: Final = (
    "a condition may use numbers, true, false, variables, has(), + - * /, == != < <= > >=, && || !, a ? b : c, "
    "`in` a list of literals, and == != `in` between a text variable and texts"
)
_LISTED_MAX: Final = 12


@dataclass(frozen=True, slots=True, order=True)
class Issue:
    """One thing wrong with a condition.

    Attributes:
        offset: Index of the character it is about, from 0 to the text's length.
        message: What is wrong and what to write instead.
    """

    offset: int
    message: str


class ExpressionError(RiskEngineError):
    """A condition that cannot be used.

    Args:
        text: The condition as it was written.
        issues: All that is known to be wrong, at least one.

    Attributes:
        text: As given.
        issues: As given, ordered by offset.
    """

    reason = "EXPRESSION_INVALID"
    grpc_code = "FAILED_PRECONDITION"

    def __init__(self, text: str, issues: Sequence[Issue]) -> None:
        assert issues, "an invalid condition has an issue"
        self.text = text
        self.issues = tuple(sorted(set(issues)))
        super().__init__("\n".join(f"character {issue.offset + 1}: {issue.message}" for issue in self.issues))


def suggestion(wrong: str, names: Iterable[str], *, what: str, prefix: str = "") -> str:
    """Says what could have been meant, as the tail of a message.

    Args:
        wrong: The name as written.
        names: The valid ones.
        what: What they are, in the plural; for listing them when none is near and they are few.
        prefix: What a valid name is written after.

    Returns:
        What `nearest` says, else ``"; the … are a, b, c"``, else the empty string.
    """
    valid = list(names)
    near = nearest(wrong, valid, prefix=prefix)
    if near:
        return near
    if 0 < len(valid) <= _LISTED_MAX:
        return f"; the {what} are {', '.join(prefix + name for name in sorted(valid))}"
    return ""
