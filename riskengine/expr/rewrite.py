"""Turns an analyst's condition into the text that CEL checks, and remembers where everything came from.

Three things change. Integer literals become doubles, for CEL refuses ``amount > 100``. Each variable becomes a field
``v.x<index>`` of one message, so that ``has()`` works and no name can clash with CEL's own (``list`` is a type
there). What the language does not allow is refused here, in plain words, before CEL could answer in its own.

INVARIANT: the rewritten text has the same tokens in the same order, but for variables, so each position leads back to
one character of the original. Called by `environment` alone.
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import Final

from riskengine.errors import nearest

from .issues import ALLOWED, Issue, suggestion
from .lexer import Token, TokenKind

MESSAGE_VARIABLE: Final = "v"
FIELD_PREFIX: Final = "x"
_UNKNOWN: Final = f"{MESSAGE_VARIABLE}.unknown"

Namespaces = Mapping[str, Mapping[str, int]]
"""Of each namespace, its fields and the index of their variable."""

_ADVICE_ON_WORDS: Final = {
    "and": "write && for 'and'",
    "or": "write || for 'or'",
    "not": "write ! for 'not'",
    "null": "null is not allowed; ask has(namespace.field) whether a value is there",
    "True": "write true",
    "False": "write false",
    "if": "write a ? b : c for 'if'",
}


@dataclass(slots=True)
class Rewritten:
    """The text for CEL, with the way back.

    Attributes:
        source: The analyst's text.
        text: What CEL shall check.
        refused: What the language does not allow; CEL need not be asked.
        unknown: Names that are not variables; the rest can still be checked.
    """

    source: str
    text: str = ""
    refused: list[Issue] = field(default_factory=list)
    unknown: list[Issue] = field(default_factory=list)
    _pieces: list[tuple[int, int, int, int]] = field(default_factory=list)  # (start, length) here, then there
    _copied: int = 0

    def replace(self, first: Token, last: Token, text: str) -> None:
        """Appends the gap before `first`, then `text` in place of the tokens from `first` to `last`."""
        end = last.offset + len(last.text)
        self.text += self.source[self._copied : first.offset]
        self._pieces.append((len(self.text), len(text), first.offset, end - first.offset))
        self.text += text
        self._copied = end

    def finish(self) -> None:
        """Appends what follows the last token."""
        self.text += self.source[self._copied :]

    def original(self, offset: int) -> int:
        """Leads a position in `text` back to one in `source`; from within a replaced token, to its beginning."""
        index = bisect_right(self._pieces, offset, key=lambda piece: piece[0]) - 1
        if index < 0:
            return min(offset, len(self.source))
        start, length, origin, origin_length = self._pieces[index]
        if offset < start + length:
            same = self.text[start : start + length] == self.source[origin : origin + origin_length]
            return origin + (offset - start if same else 0)
        return min(origin + origin_length + offset - start - length, len(self.source))


def rewrite(source: str, tokens: Sequence[Token], namespaces: Namespaces) -> Rewritten:
    """Rewrites a condition.

    Args:
        source: The analyst's text.
        tokens: Its tokens.
        namespaces: The variables.

    Returns:
        The rewritten text; it is fit for CEL if nothing in it is refused.
    """
    result = Rewritten(source)
    index = 0
    while index < len(tokens):
        token = tokens[index]
        count, text = 1, token.text
        if token.kind is TokenKind.WORD:
            count, text = _word(result, tokens, index, namespaces)
        elif token.kind is TokenKind.SIGN:
            count = _sign(result, tokens, index)
        else:
            text = _literal(result, token)
        result.replace(token, tokens[index + count - 1], text)
        index += count
    result.finish()
    return result


def _literal(result: Rewritten, token: Token) -> str:
    """Checks a literal and returns how CEL shall read it."""
    if token.kind is TokenKind.TEXT:
        if token.text[0] in "bB":
            result.refused.append(Issue(token.offset, "bytes are not allowed; write the text without b"))
        return token.text
    if token.kind is TokenKind.UNSIGNED:
        result.refused.append(Issue(token.offset, "write the number without u; every number is a double"))
        return token.text
    hexadecimal = token.text.startswith("0x")
    if not (len(token.text) <= 18 if hexadecimal else isfinite(float(token.text))):
        result.refused.append(Issue(token.offset, "this number is too large for a double"))
        return token.text
    if token.kind is TokenKind.FLOAT:
        return token.text
    return repr(float(int(token.text, 16))) if hexadecimal else f"{token.text}.0"


def _sign(result: Rewritten, tokens: Sequence[Token], index: int) -> int:
    """Refuses signs that the language does not have; returns the number of tokens that were looked at."""
    token = tokens[index]
    if token.text in "%{}":
        result.refused.append(Issue(token.offset, f"'{token.text}' is not allowed; {ALLOWED}"))
    elif token.text == "[" and (index == 0 or tokens[index - 1].text != "in"):
        result.refused.append(Issue(token.offset, "a list may only stand after `in`, as in txn.amount in [1, 2]"))
    elif token.text == ".":
        named = _text(tokens, index + 1) if _is_word(tokens, index + 1) else ""
        if named and _text(tokens, index + 2) == "(":
            result.refused.append(_function(tokens[index + 1]))
        else:
            result.refused.append(Issue(token.offset, "unexpected '.'; a variable is written namespace.field"))
        return 2 if named else 1
    return 1


def _word(result: Rewritten, tokens: Sequence[Token], index: int, namespaces: Namespaces) -> tuple[int, str]:
    """Resolves a word that starts an operand; returns the number of tokens that it takes, and their text for CEL."""
    token = tokens[index]
    follower = _text(tokens, index + 1)
    if token.text in ("true", "false", "in") or (token.text == "has" and follower == "("):
        return 1, token.text
    if token.text in _ADVICE_ON_WORDS and token.text not in namespaces:
        result.refused.append(Issue(token.offset, _ADVICE_ON_WORDS[token.text]))
        return 1, token.text
    if follower == "(":
        result.refused.append(_function(token))
        return 1, token.text
    if follower != "." or not _is_word(tokens, index + 2):
        result.unknown.append(Issue(token.offset, _bare(token.text, namespaces)))
        return 1, _UNKNOWN
    name = tokens[index + 2]
    if _text(tokens, index + 3) == "(":
        result.refused.append(_function(name))
    variable = namespaces.get(token.text, {}).get(name.text)
    if variable is not None:
        return 3, f"{MESSAGE_VARIABLE}.{FIELD_PREFIX}{variable}"
    result.unknown.append(_unknown(token, name, namespaces))
    return 3, _UNKNOWN


def _unknown(namespace: Token, name: Token, namespaces: Namespaces) -> Issue:
    """Describes a dotted name that is no variable."""
    full = f"{namespace.text}.{name.text}"
    every = [f"{space}.{each}" for space, fields in namespaces.items() for each in fields]
    if namespace.text not in namespaces:
        meant = suggestion(full, every, what="variables") or suggestion(namespace.text, namespaces, what="namespaces")
        return Issue(namespace.offset, f"there is no namespace {namespace.text}{meant}")
    fields = namespaces[namespace.text]
    meant = suggestion(name.text, fields, what=f"variables of {namespace.text}", prefix=f"{namespace.text}.")
    return Issue(name.offset, f"there is no variable {full}{meant}")


def _bare(word: str, namespaces: Namespaces) -> str:
    """Describes a name without a dot."""
    if word in namespaces:
        example = next(iter(namespaces[word]))
        return f"{word} is a namespace, not a value; name one of its variables, as in {word}.{example}"
    home = next((space for space, fields in namespaces.items() if word in fields), None)
    meant = nearest(word, [word], prefix=f"{home}.") if home else ""
    return f"there is no variable {word}; a variable is written namespace.field{meant}"


def _function(name: Token) -> Issue:
    return Issue(name.offset, f"the function {name.text}() is not allowed; {ALLOWED}")


def _text(tokens: Sequence[Token], index: int) -> str:
    return tokens[index].text if index < len(tokens) else ""


def _is_word(tokens: Sequence[Token], index: int) -> bool:
    return index < len(tokens) and tokens[index].kind is TokenKind.WORD
