"""Strict YAML: what is read, what is refused and where, and that nothing breaks or takes long."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Literal

import pydantic
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import Field

from riskengine.errors import ConfigError
from riskengine.yamlfile import DEPTH_MAX, NODES_MAX, SIZE_MAX, load_file, load_yaml, pattern, validate

READ = [
    ("no", "no"),
    ("off", "off"),
    ("12:30:45", "12:30:45"),
    ("2026-12-31", "2026-12-31"),
    ("1_000", "1_000"),
    ("0b1", "0b1"),
    ("010", 10),
    ("0o10", 8),
    ("0x1F", 31),
    ("-7", -7),
    ("+3", 3),
    ("1.5e3", 1500.0),
    (".5", 0.5),
    ("true", True),
    ("False", False),
    ("yes", "yes"),
    ("~", None),
    ("", None),
    ("'true'", "true"),
    ('"10"', "10"),
    ("\ufeffa", "a"),
    ("[a, {b: 1}]", ["a", {"b": 1}]),
    ("1: x", {"1": "x"}),
    ("<<: x", {"<<": "x"}),
]

REFUSED = [
    ("a: 1\na: 2", '2:1: the key "a" stands here twice'),
    ("a: &x 1", "1:4: an anchor (&name); write the value out where it is needed"),
    ("a: *x", "1:4: an alias (*name); write the value out"),
    ("!!python/object:os.system x", "1:1: a tag (!name); remove it"),
    ("a: !!str 5", "1:4: a tag (!name); remove it"),
    ("%YAML 1.1\n---\na: no", "2:1: a % directive; remove it"),
    ("a: 1\n---\nb: 2", "2:1: a second document; a file holds one"),
    ("? [a]\n: 1", "1:3: a key must be text, not a list or a mapping"),
    ("a: .nan", "1:4: not a finite number"),
    ("a: -.inf", "1:4: not a finite number"),
    ("a: 1e999", "1:4: not a finite number"),
    ("a: 12345678901234567890", "1:4: a whole number of more than 18 digits; put it in quotes if it is text"),
    ('a: "\\ud800"', "1:4: half a surrogate pair (\\ud800 to \\udfff) is not a character"),
    ('"\\ud800": 1', "1:1: half a surrogate pair (\\ud800 to \\udfff) is not a character"),
    ('a: 1\nb: "\\U0011FFFF"', "2:2: behind this stands an escape of no character, above \\U0010ffff; remove it"),
    ("a:\n\t- 1", "2:1: a tab or a reserved character; indent with spaces, put text in quotes"),
    ("a: b: c", "1:5: a colon where none can be; quote the text or mend the indentation above"),
    ("a:\n  b: 1\n c: 2", "3:2: the indentation does not line up with the lines above"),
    ("a: 'x", "1:6: the file ends inside quotes"),
    ("a\nb\x00", "2:1: a control character; remove it"),
    ("[" * (DEPTH_MAX + 1) + "]" * (DEPTH_MAX + 1), f"1:{DEPTH_MAX + 1}: nested deeper than {DEPTH_MAX} levels"),
]


@pytest.mark.parametrize(("text", "data"), READ)
def test_text_is_read_as_it_looks(text: str, data: object) -> None:
    """Goal: YAML 1.2's core schema, and none of 1.1's surprises. Method: a table; the type counts as well."""
    found = load_yaml(text, name="f.yaml").data

    assert (type(data), data) == (type(found), found)


@pytest.mark.parametrize(("text", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_surprises_are_refused(text: str, message: str) -> None:
    """Goal: each mistake has its place and plain words. Method: one bad text each."""
    with pytest.raises(ConfigError) as refused:
        load_yaml(text, name="f.yaml")

    assert f"f.yaml:{message}" in str(refused.value).splitlines()


def test_all_structural_problems_are_told_at_once() -> None:
    """Goal: no second round. Method: three mistakes in one text."""
    with pytest.raises(ConfigError) as refused:
        load_yaml("a: .nan\nb: &x 1\na: 2\n", name="f.yaml")

    assert [1, 2, 3] == [problem.line for problem in refused.value.problems]


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_bounds_hold_exactly(line_end: str) -> None:
    """Goal: what is at the bound passes, one more does not. Method: size, depth and count."""
    load_yaml("[" * DEPTH_MAX + "]" * DEPTH_MAX, name="f")
    fits = "a: |" + line_end + ("  x" + line_end) * 5
    load_yaml(fits + "#" * (SIZE_MAX - len(fits)), name="f")
    with pytest.raises(ConfigError, match="f: the file is larger than 1 MiB"):
        load_yaml(fits + "#" * (SIZE_MAX - len(fits) + 1), name="f")
    with pytest.raises(ConfigError, match="larger than 1 MiB"):
        load_yaml("é" * (SIZE_MAX // 2 + 1), name="f")


@pytest.mark.slow
def test_more_nodes_than_the_bound_are_refused() -> None:
    """Goal: work is bounded, not only bytes. Method: a list of one-letter items, one too many."""
    with pytest.raises(ConfigError, match="more than 100000 keys and values"):
        load_yaml("[" + "a," * NODES_MAX + "a]", name="f")


@pytest.mark.parametrize(
    "bomb", ["[" * 100_000, "{a: " * 50_000, "- " * 100_000, "? " * 50_000, "a: " * 50_000, "!" * 9_999]
)
def test_bombs_are_refused_quickly(bomb: str) -> None:
    """Goal: no recursion and no quadratic time. Method: deep and wide nonsense; the suite's time limit watches."""
    with pytest.raises(ConfigError):
        load_yaml(bomb, name="f")


@given(st.text(alphabet="ab:-?[]{},#&*!|>'\"%@` \n\t0.\\é", max_size=60))
@example("- - a: |2\n     b")
def test_any_text_is_read_or_refused(text: str) -> None:
    """Goal: no other exception leaves the reader. Method: text made of YAML's own characters."""
    with suppress(ConfigError):
        load_yaml(text, name="f")


STYLES: dict[str, Callable[[str], str]] = {
    "plain": lambda text: "  a: " + text,
    "single": lambda text: "  a: '" + text.replace("'", "''") + "'",
    "double": lambda text: '  a: "' + text.replace("\\", "\\\\").replace('"', '\\"').replace("=", "\\x3d") + '"',
    "literal": lambda text: "  a: |\n" + "\n".join("     " + line for line in text.split(" ")),
    "folded": lambda text: "  a: >-   # why\n" + "\n".join("    " + line for line in text.split(" ")),
    "plain folded": lambda text: "  a: " + "\n      ".join(text.split(" ")),
    "double folded": lambda text: (
        '  a: "' + text.replace("\\", "\\\\").replace('"', '\\"').replace(" ", "\n\n   ") + '"'
    ),
}


@pytest.mark.parametrize("style", STYLES)
@given(
    words=st.lists(
        st.sampled_from(["card.x", "==", ">=", "'a''b'", '"c"', "&&", "5", "\\d", "é"]), min_size=1, max_size=6
    )
)
def test_offset_in_a_scalar_is_found_in_the_file(style: str, words: list[str]) -> None:
    """Goal: a mistake is shown where the analyst wrote it. Method: every visible character, in every style."""
    value = "x " + " ".join(words)
    text = "top:\n" + STYLES[style](value) + "\n  z: 1\n"
    document = load_yaml(text, name="f")
    read = document.data["top"]["a"]
    lines = text.split("\n")
    for offset, character in enumerate(read):
        if character.isspace():
            continue
        problem = document.problem(("top", "a"), "here", offset=offset)
        there = lines[problem.line - 1][problem.column - 1 :]

        assert there.startswith((character, "\\" + character, "\\x3d" if character == "=" else character))
    end = document.problem(("top", "a"), "end", offset=len(read))
    last = document.problem(("top", "a"), "last", offset=len(read.rstrip()) - 1)

    assert (last.line, last.column) < (end.line, end.column)


def test_place_of_what_is_missing_is_the_nearest_thing_around_it() -> None:
    """Goal: a missing key is told where it belongs. Method: in a list, in a mapping, at the root."""
    document = load_yaml("a:\n  - b: 1\n  - c: 2\n", name="f")

    assert "f:2:5: x" == str(document.problem(("a", 0, "d"), "x"))
    assert "f:1:1: x" == str(document.problem(("q", "r"), "x"))
    assert "f:3:8: x" == str(document.problem(("a", 1, "c"), "x"))
    assert "f:3:5: x" == str(document.problem(("a", 1, "c"), "x", at_key=True))


class Inner(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid")
    kind: Literal["red", "green"] = "red"
    share: Annotated[float, Field(gt=0, le=0.5)] = 0.1
    code: Annotated[str, Field(pattern=pattern(r"^[A-Z]+$", "must be capital letters"), max_length=3)] | None = None
    origin: Literal["here", "there"] | None = Field(default=None, alias="from")


class Outer(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid")
    count: int
    inner: dict[str, list[Inner]] = {}
    pair: tuple[str, str] | None = None
    flag: bool = False


WRONG = [
    ("flag: yes\ncount: 1", "1:7: flag must be true or false"),
    ("flag: true", "1:1: count is missing"),
    ("count: '1'", "1:8: count must be a whole number"),
    ("count: 1.5", "1:8: count must be a whole number"),
    ("count: 1\ncuont: 2", '2:1: unknown key "cuont"; did you mean "count"?'),
    ("count: 1\nzebra: 2", '2:1: unknown key "zebra"'),
    ("count: 1\ninner: {a: [{kind: grene}]}", '2:20: kind must be one of red, green; did you mean "green"?'),
    ("count: 1\ninner: {a: [{knid: red}]}", '2:14: unknown key "knid"; did you mean "kind"?'),
    ("count: 1\ninner: {a: [{form: here}]}", '2:14: unknown key "form"; did you mean "from"?'),
    ("count: 1\ninner: {a: [{origin: here}]}", '2:14: unknown key "origin"'),
    ("count: 1\ninner: {a: [{from: her}]}", '2:20: from must be one of here, there; did you mean "here"?'),
    ("count: 1\ninner: {a: [{share: 0}]}", "2:21: share must be greater than 0"),
    ("count: 1\ninner: {a: [{share: 1}]}", "2:21: share must be at most 0.5"),
    ("count: 1\ninner: {a: [{share: x}]}", "2:21: share must be a number"),
    ("count: 1\ninner: {a: [{code: abc}]}", "2:20: code must be capital letters"),
    ("count: 1\ninner: {a: [{code: ABCD}]}", "2:20: code must have at most 3 characters"),
    ("count: 1\ninner: {a: [{}, 5]}", "2:17: item 2 of a must be a mapping of keys to values"),
    ("count: 1\ninner: {a: {b: 1}}", "2:12: a must be a list"),
    ("count: 1\ninner: []", "2:8: inner must be a mapping of keys to values"),
    ("- 1", "1:1: the file must be a mapping of keys to values"),
    ("", " the file must be a mapping of keys to values"),
]


@pytest.mark.parametrize(("text", "message"), WRONG)
def test_mistake_against_a_schema_is_told_in_plain_words(text: str, message: str) -> None:
    """Goal: no jargon, the right place, the nearest name. Method: one mistake each."""
    with pytest.raises(ConfigError) as refused:
        validate(load_yaml(text, name="f.yaml"), Outer)

    assert f"f.yaml:{message}" in str(refused.value).splitlines()


def test_valid_document_becomes_a_model() -> None:
    """Goal: strict, but lists may be tuples and whole numbers may be fractions. Method: one good file."""
    model = validate(load_yaml("count: 1\npair: [a, b]\ninner: {a: [{kind: green, code: AB}]}", name="f"), Outer)

    assert Outer(count=1, pair=("a", "b"), inner={"a": [Inner(kind="green", code="AB")]}) == model


def test_messages_show_no_values() -> None:
    """Goal: a list of people does not end in a log. Method: a secret as every kind of wrong value."""
    for text in ("count: SECRET", "count: 1\nflag: SECRET", "count: 1\ninner: {a: [{kind: SECRET, share: SECRET}]}"):
        with pytest.raises(ConfigError) as refused:
            validate(load_yaml(text, name="f"), Outer)

        assert "SECRET" not in str(refused.value)


def test_file_that_cannot_be_read_is_a_problem_too(tmp_path: Path) -> None:
    """Goal: no traceback for a missing file. Method: missing, a folder, not UTF-8."""
    (tmp_path / "latin.yaml").write_bytes(b"a: \xe9")
    for name, message in (("none.yaml", "No such file"), ("", "Is a directory"), ("latin.yaml", "not UTF-8")):
        with pytest.raises(ConfigError, match=message):
            load_file(tmp_path / name)
