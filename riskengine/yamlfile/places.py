"""Where the parts of a YAML file are, down to the character inside a quoted, folded or literal text.

INVARIANT: nothing is parsed twice: a place is what the parser told, a character is found by counting the visible ones.
Called by `reading` only.
"""

import re
from typing import NamedTuple

_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|\n\s*|.)|.", re.DOTALL)
_ONE_QUOTE = re.compile(r"''|.", re.DOTALL)
_ANY = re.compile(r".", re.DOTALL)
_BLANK_ESCAPES = frozenset("ntvfNLP_ \t\n")


class Place(NamedTuple):
    """Where a value is in the text.

    Attributes:
        key_line: 1-based line of its key; of the value itself for an item of a list.
        key_column: 1-based column of the same.
        line: 1-based line of the value.
        column: 1-based column of the value.
        start: Index of the value's first character in the text.
        end: Index past its last one.
        style: ``'``, ``"``, ``|``, ``>`` or empty for anything else.
    """

    key_line: int
    key_column: int
    line: int
    column: int
    start: int
    end: int
    style: str


def scalar_index(text: str, place: Place, value: str, offset: int) -> int:
    """Finds the index in the file's text of the character at `offset` of a scalar's value.

    Folding, chomping and indentation change nothing but blanks, so the k-th visible character of the value is the k-th
    in the source.

    Args:
        text: The file's text.
        place: Where the scalar is.
        value: What it reads.
        offset: Index into `value`, 0 to its length.
    """
    start, end = place.start, place.end
    if place.style in ("|", ">"):
        start = text.find("\n", start, end) + 1 or end
    elif place.style:
        start, end = start + 1, end - 1
    token = {'"': _ESCAPE, "'": _ONE_QUOTE}.get(place.style, _ANY)
    visible = [part for part in token.finditer(text, start, end) if not _is_blank(part)]
    count = sum(not character.isspace() for character in value[:offset])
    if offset < len(value) and not value[offset].isspace() and count < len(visible):
        return visible[count].start()
    return visible[min(count, len(visible)) - 1].end() if count and visible else start


def _is_blank(token: re.Match[str]) -> bool:
    """Whether a character of the source, or an escape, stands for a blank or for nothing."""
    part = token.group()
    if len(part) == 1 or part == "''":
        return part.isspace()
    code = next((group for group in token.groups() if group), None)
    return chr(int(code, 16)).isspace() if code and int(code, 16) < 0x110000 else part[1] in _BLANK_ESCAPES
