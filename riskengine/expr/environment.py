"""Compiles conditions over a fixed set of variables.

INVARIANTS: what compiles can run on every row; a refusal names all that is known to be wrong, in the analyst's own
positions; the same text over the same variables gives the same instructions, so a program is rebuilt from texts and
never stored. No I/O, no clock.

Called by `engine.features` (derived and filtered features) and `policy` (rules), at load; never while a payment waits.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from .checker import Checker
from .compiler import Compiler, Instruction
from .issues import ExpressionError, Issue
from .lexer import tokenize
from .rewrite import rewrite
from .variables import Variable, VariableKind

TEXT_BYTES_MAX: Final = 4096
"""Length of one condition, bytes of UTF-8."""


@dataclass(frozen=True, slots=True)
class Expression:
    """A condition that compiled.

    Attributes:
        text: As the analyst wrote it.
        variables: The names it reads or asks `has()` of.
        instructions: For `Program`.
    """

    text: str
    variables: frozenset[str]
    instructions: tuple[Instruction, ...]

    @property
    def is_constant(self) -> bool:
        """Whether it names no variable, so that every row gives the same."""
        return not self.variables


class Environment:
    """A set of variables that conditions may use.

    Args:
        variables: With distinct names; about 500 are usual, fewer than 19,000 fit.
    """

    def __init__(self, variables: Sequence[Variable]) -> None:
        self._variables = tuple(variables)
        self._namespaces: dict[str, dict[str, int]] = {}
        for index, variable in enumerate(self._variables):
            namespace, _, name = variable.name.partition(".")
            fields = self._namespaces.setdefault(namespace, {})
            assert name not in fields, f"{variable.name} is declared twice"
            fields[name] = index
        self._checker = Checker([variable.kind for variable in self._variables])

    def compile(self, text: str, *, result: VariableKind) -> Expression:
        """Checks and compiles a condition. Takes about a millisecond.

        Args:
            text: CEL, within the bounds that `issues.ALLOWED` states; at most TEXT_BYTES_MAX bytes.
            result: What it shall give: NUMBER or BOOL.

        Returns:
            The compiled condition.

        Raises:
            ExpressionError: It cannot be used; holds every issue that was found.
        """
        assert result is not VariableKind.CODE, "a condition gives a number or a bool"
        _check_size(text)
        tokens, issues = tokenize(text)
        rewritten = rewrite(text, tokens, self._namespaces)
        issues += rewritten.refused
        if not tokens and not issues:
            issues.append(Issue(0, "the condition is empty"))
        if issues:  # unknown names are often the echo of something refused, such as the variable of a macro
            raise ExpressionError(text, issues)
        checked, issues = self._checker.check(rewritten)
        issues += rewritten.unknown
        if issues:
            raise ExpressionError(text, issues)
        compiler = Compiler(self._variables, checked, rewritten)
        if not compiler.issues and compiler.kind is not result:
            found = "a number" if compiler.kind is VariableKind.NUMBER else "true or false"
            wanted = "a number" if result is VariableKind.NUMBER else "true or false"
            compiler.issues.append(Issue(tokens[0].offset, f"this gives {found}, but {wanted} is needed here"))
        if compiler.issues:
            raise ExpressionError(text, compiler.issues)
        return Expression(text, frozenset(compiler.names), tuple(compiler.instructions))


def _check_size(text: str) -> None:
    """Refuses what is too long or no text at all, before anything reads it."""
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        raise ExpressionError(text, [Issue(error.start, "half a surrogate pair is not a character")]) from None
    if size > TEXT_BYTES_MAX:
        raise ExpressionError(text, [Issue(0, f"a condition has at most {TEXT_BYTES_MAX} bytes, this has {size}")])
