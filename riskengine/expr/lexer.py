"""Cuts a condition into the tokens of CEL.

CEL's own parser does the real work later; tokens are needed before it, to turn integer literals into doubles, to
spell variables in a way that no name of CEL's can clash with, and to say early and plainly what is not allowed.

INVARIANTS: tokens and the gaps between them (space and comments) make up the whole text, in order; the cuts are CEL's
own (its longest match), so nothing is read differently afterwards. Called by `environment` alone.
"""

import re
from dataclasses import dataclass
from enum import Enum
from typing import Final

from .issues import Issue


class TokenKind(Enum):
    """What a token is. SIGN is everything that is neither word nor literal."""

    WORD = "word"
    INTEGER = "integer"
    UNSIGNED = "unsigned"
    FLOAT = "float"
    TEXT = "text"
    SIGN = "sign"


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of the text.

    Attributes:
        kind: What it is.
        text: The characters.
        offset: Index of the first one.
    """

    kind: TokenKind
    text: str
    offset: int


_QUOTED: Final = r"""
    [bB]?[rR](?:'''.*?'''|\"\"\".*?\"\"\"|'[^'\n\r]*'|"[^"\n\r]*")
    |[bB]?(?:'''(?:\\.|[^\\])*?'''|\"\"\"(?:\\.|[^\\])*?\"\"\"|'(?:\\.|[^\\'\n\r])*'|"(?:\\.|[^\\"\n\r])*")
"""
_TOKEN: Final = re.compile(
    rf"""
    (?P<gap>[\ \t\n\f\r]+|//[^\n]*)
    |(?P<text>{_QUOTED})
    |(?P<word>[A-Za-z_][A-Za-z0-9_]*)
    |(?P<unsigned>(?:0x[0-9a-fA-F]+|[0-9]+)[uU])
    |(?P<float>[0-9]*\.[0-9]+(?:[eE][+-]?[0-9]+)?|[0-9]+[eE][+-]?[0-9]+)
    |(?P<integer>0x[0-9a-fA-F]+|[0-9]+)
    |(?P<sign>==|!=|<=|>=|&&|\|\||[()\[\]{{}},.?:+\-*/%!<>])
    """,
    re.VERBOSE | re.DOTALL,
)
_ADVICE: Final = {
    "=": "'=' does not compare; write ==",
    "&": "write && for 'and'",
    "|": "write || for 'or'",
    "'": "this text has no closing quote",
    '"': "this text has no closing quote",
}


def tokenize(text: str) -> tuple[list[Token], list[Issue]]:
    """Cuts a text into tokens.

    Args:
        text: The condition.

    Returns:
        The tokens without the gaps, and what could not be read. After a missing closing quote nothing more is read.
    """
    tokens: list[Token] = []
    issues: list[Issue] = []
    offset = 0
    while offset < len(text):
        match = _TOKEN.match(text, offset)
        if match is None:
            wrong = text[offset]
            issues.append(Issue(offset, _ADVICE.get(wrong, f"unexpected character {wrong!r} (U+{ord(wrong):04X})")))
            if wrong in "'\"":
                break
            offset += 1
            continue
        if match.lastgroup != "gap":
            assert match.lastgroup is not None
            tokens.append(Token(TokenKind(match.lastgroup), match.group(), offset))
        offset = match.end()
    return tokens, issues
