"""Words that all errors share."""

import pytest

from riskengine.errors import Problem, nearest


@pytest.mark.parametrize(
    ("name", "prefix", "hint"),
    [
        ("cuont", "", '; did you mean "count"?'),
        ("COUNT", "", '; did you mean "count"?'),
        ("cuont", "card.", '; did you mean "card.count"?'),
        ("zebra", "card.", ""),
    ],
)
def test_nearest_name(name: str, prefix: str, hint: str) -> None:
    """Goal: a hint helps or is not there. Method: near, of another case, after a prefix, far."""
    assert hint == nearest(name, ["count", "flag"], prefix=prefix)


def test_a_problem_never_breaks_its_line_or_steers_a_terminal() -> None:
    """Goal: what is quoted of a file is text. Method: a name with a line break, an escape sequence and letters of a language."""
    told = str(Problem("features.yaml", 3, 7, "the name a\nb\x1b[31mü is none"))

    assert "features.yaml:3:7: the name a\\nb\\x1b[31mü is none" == told
