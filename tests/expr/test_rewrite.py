"""The text that CEL gets, and the way back from it."""

from hypothesis import given

from riskengine.expr.lexer import tokenize
from riskengine.expr.rewrite import rewrite
from tests.expr.builders import Condition, bools

NAMESPACES = {"txn": {"amount": 0, "at": 12}, "list": {"vip": 7}}


def test_rewritten_text_has_doubles_and_fields() -> None:
    """Goal: integers become doubles, variables fields, all else stays. Method: one text with every kind of token."""
    source = "txn . amount>=0x10+ 5 // 5\n && list.vip || 2.5 in [.5, '5 txn.at']"
    rewritten = rewrite(source, tokenize(source)[0], NAMESPACES)

    assert "v.x0>=16.0+ 5.0 // 5\n && v.x7 || 2.5 in [.5, '5 txn.at']" == rewritten.text


def test_each_position_leads_back() -> None:
    """Goal: exact in kept tokens and gaps, the first character of replaced ones. Method: each position of two texts."""
    for source, expected in (
        (" 7 + txn.at  ", [0, 1, 1, 1, 2, 3, 4, 5, 5, 5, 5, 5, 11, 12, 13, 13]),
        ("(txn.amount", [0, 1, 1, 1, 1, 11, 11]),
    ):
        rewritten = rewrite(source, tokenize(source)[0], NAMESPACES)

        assert expected == [rewritten.original(offset) for offset in range(len(expected))]


@given(bools(3))
def test_tokens_begin_where_their_originals_begin(condition: Condition) -> None:
    """Goal: no position drifts, however much was replaced. Method: cut the new text again and compare the signs."""
    namespaces: dict[str, dict[str, int]] = {}
    for index, name in enumerate(sorted({*_names(condition.text)})):
        namespace, field = name.split(".")
        namespaces.setdefault(namespace, {})[field] = index
    rewritten = rewrite(condition.text, tokenize(condition.text)[0], namespaces)
    signs = [
        token for token in tokenize(rewritten.text)[0] if token.text in ("&&", "||", "<", "in", "?", ":", "(", "]")
    ]

    assert not rewritten.unknown
    assert all(condition.text.startswith(sign.text, rewritten.original(sign.offset)) for sign in signs)


def _names(text: str) -> list[str]:
    tokens = tokenize(text)[0]
    dots = [index for index, token in enumerate(tokens) if token.text == "."]
    return [f"{tokens[index - 1].text}.{tokens[index + 1].text}" for index in dots]
