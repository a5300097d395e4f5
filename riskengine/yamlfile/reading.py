"""Strict YAML 1.2: text in, plain data with the place of every key and value out.

A configuration is read the way it looks: ``no`` is text, ``12:30:45`` is text, ``010`` is ten. What makes YAML
surprising is refused: anchors, aliases, tags, directives, duplicate keys, several documents, NaN and infinity.

INVARIANTS: reading is bounded by `SIZE_MAX` bytes, `DEPTH_MAX` levels, `NODES_MAX` keys and values; ruamel's recursive
composer is not used, only its stream of events. A message names keys, never values: a list may hold identifiers of
people. ruamel's pure parser takes about 5 microseconds a byte (a list of 200 KB: 1 s), so a server parses outside the
process that scores.

Called by `settings`, `policy`, the feature catalogue and the command line.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.reader import ReaderError

from riskengine.errors import ConfigError, Problem

from .places import Place, scalar_index

SIZE_MAX: Final = 1 << 20
"""Bytes of UTF-8 in one file."""
DEPTH_MAX: Final = 20
NODES_MAX: Final = 100_000
"""Keys and values in one file."""

KeyPath = tuple[str | int, ...]

_NULL = frozenset(("", "~", "null", "Null", "NULL"))
_TRUE = frozenset(("true", "True", "TRUE"))
_FALSE = frozenset(("false", "False", "FALSE"))
_INTEGER = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_INTEGER_DIGITS_MAX = 18
_PLAIN_WORDS = {
    "cannot start any token": "a tab or a reserved character; indent with spaces, put text in quotes",
    "mapping values are not allowed here": "a colon where none can be; quote the text or mend the indentation above",
    "could not find expected ':'": "a key without a colon; write `key: value`",
    "expected <block end>": "the indentation does not line up with the lines above",
    "found unexpected end of stream": "the file ends inside quotes",
    "while scanning a quoted scalar": "the quotes are not closed",
}


@dataclass(frozen=True)
class Document:
    """A file's data and the place of each part.

    Attributes:
        name: The file's name as the user knows it.
        data: Mappings, lists, text, int, float, bool and None.
        text: What it was read from; empty when it was not read from text.
        places: Place by path; the root has the empty path.
    """

    name: str
    data: Any
    text: str = ""
    places: Mapping[KeyPath, Place] = field(default_factory=dict)

    def problem(self, path: KeyPath, message: str, *, at_key: bool = False, offset: int | None = None) -> Problem:
        """Makes a problem that points at the value at `path`, or at the nearest enclosing thing that exists.

        Args:
            path: Keys and indexes from the root.
            message: What is wrong.
            at_key: Whether to point at the key instead of the value.
            offset: Index into the text at `path`, 0 to its length: points inside of it, however it is quoted or folded.
        """
        missing = path not in self.places
        while path and path not in self.places:
            path = path[:-1]
        place = self.places.get(path)
        if place is None:
            return Problem(self.name, 0, 0, message)
        if offset is not None and not missing:
            index = scalar_index(self.text, place, str(value_at(self.data, path)), offset)
            line = self.text.count("\n", 0, index) + 1
            return Problem(self.name, line, index - (self.text.rfind("\n", 0, index) + 1) + 1, message)
        if at_key or missing:
            return Problem(self.name, place.key_line, place.key_column, message)
        return Problem(self.name, place.line, place.column, message)


def load_yaml(text: str, *, name: str) -> Document:
    """Reads YAML text.

    Args:
        text: At most `SIZE_MAX` bytes of UTF-8.
        name: The file's name for messages.

    Raises:
        ConfigError: With every structural problem; after a syntax error there is nothing more to tell.
    """
    if len(text) > SIZE_MAX or len(text.encode(errors="replace")) > SIZE_MAX:
        raise ConfigError([Problem(name, 0, 0, f"the file is larger than {SIZE_MAX >> 20} MiB")])
    text = text.removeprefix("\ufeff").replace("\r\n", "\n")
    builder = _Builder(name)
    try:
        for event in YAML(typ="safe", pure=True).parse(text):
            builder.take(event)
    except _Stop:
        pass
    except MarkedYAMLError as error:
        builder.report(error.problem_mark or error.context_mark, _plain(error))
    except ReaderError as error:
        builder.problems.append(
            Problem(name, text.count("\n", 0, error.position) + 1, 1, "a control character; remove it")
        )
    except ValueError:
        # ruamel makes a character of any number that an escape names.
        builder.report(builder.mark, "behind this stands an escape of no character, above \\U0010ffff; remove it")
    if builder.problems:
        raise ConfigError(builder.problems)
    return Document(name, builder.root, text, builder.places)


def load_file(path: Path) -> Document:
    """Reads a YAML file; `load_yaml` says what is refused.

    Raises:
        ConfigError: Also when the file cannot be read or is not UTF-8.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(SIZE_MAX + 1)
        return load_yaml(raw.decode(), name=path.name)
    except UnicodeDecodeError:
        raise ConfigError([Problem(path.name, 0, 0, "the file is not UTF-8 text")]) from None
    except OSError as error:
        raise ConfigError([Problem(str(path), 0, 0, f"cannot be read: {error.strerror or error}")]) from None


def value_at(data: Any, path: Sequence[str | int]) -> Any:
    """Returns what stands at a path."""
    for part in path:
        data = data[part]
    return data


class _Stop(Exception):
    """Reading further makes no sense; the problem is noted."""


@dataclass
class _Open:
    """A list or mapping being read: for a mapping, `key` is the key that waits for its value."""

    path: KeyPath
    data: Any
    key: str | int | None = None
    key_event: Any = None


class _Builder:
    """Builds plain data from ruamel's events with a stack of its own, at most `DEPTH_MAX` deep."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.root: Any = None
        self.places: dict[KeyPath, Place] = {}
        self.problems: list[Problem] = []
        self.mark: Any = None
        """Where the last event ended."""
        self._stack: list[_Open] = []
        self._nodes = 0
        self._documents = 0

    def report(self, mark: Any, message: str) -> None:
        """Notes a problem at a mark of ruamel."""
        self.problems.append(Problem(self.name, mark.line + 1 if mark else 0, mark.column + 1 if mark else 0, message))

    def take(self, event: Any) -> None:
        """Takes one event."""
        kind = type(event).__name__
        self.mark = event.end_mark
        if kind == "DocumentStartEvent":
            self._documents += 1
            if self._documents > 1:
                self._stop(event, "a second document; a file holds one")
            if event.version or event.tags:
                self.report(event.start_mark, "a % directive; remove it")
        elif kind in ("MappingEndEvent", "SequenceEndEvent"):
            done = self._stack.pop()
            self.places[done.path] = self.places[done.path]._replace(end=event.end_mark.index)
        elif kind == "AliasEvent":
            self._stop(event, "an alias (*name); write the value out")
        elif kind in ("MappingStartEvent", "SequenceStartEvent", "ScalarEvent"):
            self._node(event, kind)

    def _stop(self, event: Any, message: str) -> None:
        self.report(event.start_mark, message)
        raise _Stop

    def _node(self, event: Any, kind: str) -> None:
        self._nodes += 1
        if self._nodes > NODES_MAX:
            self._stop(event, f"more than {NODES_MAX} keys and values in one file")
        if event.anchor:
            self.report(event.start_mark, "an anchor (&name); write the value out where it is needed")
        if event.tag:
            self.report(event.start_mark, "a tag (!name); remove it")
        parent = self._stack[-1] if self._stack else None
        if parent is not None and isinstance(parent.data, dict) and parent.key is None:
            self._key(parent, event, kind)
            return
        scalar = kind == "ScalarEvent"
        data: Any = self._scalar(event) if scalar else {} if kind == "MappingStartEvent" else []
        path: KeyPath = ()
        key_mark = event.start_mark
        if parent is None:
            self.root = data
        elif isinstance(parent.data, dict):
            assert parent.key is not None
            path, key_mark = (*parent.path, parent.key), parent.key_event.start_mark
            parent.data[parent.key] = data
            parent.key = None
        else:
            path = (*parent.path, len(parent.data))
            parent.data.append(data)
        mark, end = event.start_mark, event.end_mark
        style = (event.style or "") if scalar else ""
        self.places[path] = Place(
            key_mark.line + 1, key_mark.column + 1, mark.line + 1, mark.column + 1, mark.index, end.index, style
        )
        if not scalar:
            if len(self._stack) >= DEPTH_MAX:
                self._stop(event, f"nested deeper than {DEPTH_MAX} levels")
            self._stack.append(_Open(path, data))

    def _key(self, parent: _Open, event: Any, kind: str) -> None:
        if kind != "ScalarEvent":
            self._stop(event, "a key must be text, not a list or a mapping")
        self._check_characters(event)
        parent.key, parent.key_event = str(event.value), event
        if parent.key in parent.data:
            self.report(event.start_mark, f'the key "{parent.key[:64]}" stands here twice')

    def _check_characters(self, event: Any) -> None:
        value: str = event.value
        if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
            self.report(event.start_mark, "half a surrogate pair (\\ud800 to \\udfff) is not a character")

    def _scalar(self, event: Any) -> Any:
        value: str = event.value
        self._check_characters(event)
        if event.style:
            return value
        if value in _NULL:
            return None
        if value in _TRUE or value in _FALSE:
            return value in _TRUE
        if _INTEGER.fullmatch(value):
            if len(value.lstrip("+-0")) <= _INTEGER_DIGITS_MAX:
                return int(value, 10 if value[:2] not in ("0o", "0x") else 0)
            self.report(
                event.start_mark,
                f"a whole number of more than {_INTEGER_DIGITS_MAX} digits; put it in quotes if it is text",
            )
        elif _NOT_FINITE.fullmatch(value) or (_FLOAT.fullmatch(value) and not math.isfinite(float(value))):
            self.report(event.start_mark, "not a finite number")
        elif _FLOAT.fullmatch(value):
            return float(value)
        return value


def _plain(error: MarkedYAMLError) -> str:
    """Says a syntax error of ruamel in plain words."""
    told = f"{error.context or ''} {error.problem or ''}"
    return next((words for part, words in _PLAIN_WORDS.items() if part in told), f"not valid YAML: {error.problem}")
