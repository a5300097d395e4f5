"""Words that all errors share."""

import pytest

from riskengine.errors import nearest


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
