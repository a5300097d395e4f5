"""What compiles, what is refused, and where the refusal points."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from riskengine.expr import (
    NODES_MAX,
    TEXT_BYTES_MAX,
    Environment,
    ExpressionError,
    Issue,
    Variable,
    VariableKind,
    is_variable_name,
)

ENVIRONMENT = Environment(
    [
        *(
            Variable(name, VariableKind.NUMBER, index)
            for index, name in enumerate(["card.payment_count_1h", "card.amount_mean_30d", "txn.amount", "type.map"])
        ),
        Variable("list.vip", VariableKind.BOOL, 4),
        Variable("txn.currency", VariableKind.CODE, 9),
        Variable("card.region", VariableKind.CODE, 22),
        Variable("txn.type", VariableKind.CODE, 6, {"CARD_PAYMENT": 1, "WALLET_TRANSFER": 2}),
        Variable("txn.channel", VariableKind.CODE, 10, {"WEB": 1, "ATM": 4}),
    ]
)

# (condition, fragment of the message, the text that stands at its offset)
REFUSED = [
    ("card.payment_count_1 > 5", 'no variable card.payment_count_1; did you mean "card.payment_count_1h"?', "payment"),
    ("crd.amount_mean_30d > 5", 'no namespace crd; did you mean "card.amount_mean_30d"?', "crd"),
    ("txn.amount > 5 && txn.zzz < 2", "the variables of txn are txn.amount, txn.channel", "zzz"),
    ("zzz.zzz > 1", "no namespace zzz; the variables are card.amount_mean_30d,", "zzz.zzz"),
    ("has(card.regio)", 'did you mean "card.region"?', "regio)"),
    ("amount > 1", 'did you mean "txn.amount"?', "amount"),
    ("zzz > 1", "a variable is written namespace.field", "zzz"),
    ("txn > 1", "txn is a namespace, not a value", "txn"),
    ("list.vip && list", "list is a namespace, not a value", "list"),
    ("txn.amount.x > 1", "unexpected '.'", ".x"),
    ("txn.amount > 100 && txn.amount > 'a'", "'>' cannot be applied to a number and a text", "> 'a'"),
    ("txn.amount + 0x10 > 5 &&\n  txn.amount == 'x'  // é", "'==' cannot be applied to a number and a text", "== 'x'"),
    ("'é€😀' == txn.currency && 12 > 3 && txn.amount", "'&&' cannot be applied to true/false and a number", "&& txn"),
    ("list.vip == 1", "'==' cannot be applied to true/false and a number", "== 1"),
    ("!txn.amount", "'!' cannot be applied to a number", "!"),
    ("-list.vip > 1", "'-' cannot be applied to true/false", "-"),
    ("txn.amount in ['a']", "'in' cannot be applied to a number and a list of texts", "in "),
    ("txn.amount in 5", "'in' cannot be applied to a number and a number", "in "),
    ("txn.amount ? true : false", "what stands before ? must be true/false, not a number", "? true"),
    ("list.vip ? 1 : true", "both branches of ? : must be of one kind, not a number and true/false", "? 1"),
    ("size(txn.currency) > 1", "the function size() is not allowed; a condition may use numbers", "size"),
    ("txn.currency.matches('a.*')", "the function matches() is not allowed", "matches"),
    ("'a'.startsWith(txn.currency)", "the function startsWith() is not allowed", "startsWith"),
    ("timestamp('2020-01-01T00:00:00Z') > 1", "the function timestamp() is not allowed", "timestamp"),
    ("[1, 2].exists(x, x > txn.amount)", "the function exists() is not allowed", "exists"),
    ("[1, 2].exists(x, x > txn.amount)", "a list may only stand after `in`", "["),
    ("txn.amount[0] > 1", "a list may only stand after `in`", "[0]"),
    ("txn.amount in [1] + [2]", "a list may only stand after `in`", "[2]"),
    ("txn.amount % 2 == 1", "'%' is not allowed", "%"),
    ("{'a': 1} == {'a': 1}", "'{' is not allowed", "{"),
    ("null == txn.amount", "null is not allowed; ask has(", "null"),
    ("txn.amount > 1u", "write the number without u", "1u"),
    ("txn.currency == b'a'", "bytes are not allowed", "b'a'"),
    ("txn.amount > 1e400", "too large for a double", "1e400"),
    ("txn.amount > 0x11112222333344445", "too large for a double", "0x1"),
    ("txn.amount > " + "9" * 400, "too large for a double", "999"),
    ("txn.currency + 'a' == 'b'", "a text must be compared with a text variable", "+ 'a'"),
    ("txn.currency < 'a'", "a text can only be compared, by == or != or in", "txn"),
    ("txn.currency", "a text can only be compared", "txn"),
    ("(list.vip ? txn.currency : card.region) == 'US'", "a text must be compared with a text variable", "? txn"),
    ("'a' == 'a'", "a text must be compared with a text variable", "'a'"),
    ("'a' in ['a']", "a text must be compared with a text variable", "'a' in"),
    ("txn.type == 'CARD_PAYMNT'", "txn.type is never 'CARD_PAYMNT'; did you mean \"CARD_PAYMENT\"?", "'CARD_PAYMNT'"),
    ("txn.type == 'card_payment'", 'did you mean "CARD_PAYMENT"?', "'card"),
    ("txn.channel in ['WEB', 'POS']", "txn.channel is never 'POS'; the values are ATM, WEB", "'POS'"),
    ("txn.type == txn.channel", "do not have the same values", "== txn"),
    ("txn.type != txn.currency", "do not have the same values", "!= txn"),
    ("txn.currency == ''", "ask !has(txn.currency) whether it is missing", "''"),
    (r"txn.currency == 'US\x00'", "no code is", "'US"),
    ("txn.currency in ['EUR', 5]", "a list here holds literals, each a text", "5]"),
    ("txn.amount in [1, txn.amount]", "a list here holds literals, each a number", "txn.amount]"),
    ("txn.currency in []", "this list is empty", "[]"),
    ("list.vip in [true]", "`in` takes a number or a text variable", "list"),
    ("txn.amount = 5", "'=' does not compare; write ==", "="),
    ("list.vip & list.vip", "write && for 'and'", "&"),
    ("txn.amount > 5 and list.vip", "write && for 'and'", "and"),
    ("not list.vip", "write ! for 'not'", "not"),
    ("if (txn.amount > 5) true", "write a ? b : c for 'if'", "if"),
    ("txn.amount > “5", "unexpected character '“' (U+201C)", "“"),
    ("txn.currency == 'abc", "this text has no closing quote", "'abc"),
    (r"txn.currency == '\q'", "this text has an escape that CEL does not know", r"'\q'"),
    ("(txn.amount > 1", "')' is missing before the end", ""),
    ("txn.amount > 1)", "unexpected ')'", ")"),
    ("txn.amount > 10 100", "unexpected '100'", "100"),
    ("txn.amount > 5 && && list.vip", "unexpected '&&'", "&& list"),
    ("txn.amount >", "the condition ends too early", ""),
    ("list.vip ? true", "the condition ends too early", ""),
    ("has(txn.amount + 1)", "has() takes one variable", "+ 1"),
    ("has()", "has() takes one variable", "()"),
    ("has(list.vip, 1)", "has() takes one variable", "(list"),
    ("has", "there is no variable has", "has"),
    ("", "the condition is empty", ""),
    ("  // nothing", "the condition is empty", "  //"),
    (" txn.amount", "this gives a number, but true or false is needed here", "txn"),
    ("(" * 60 + "list.vip" + ")" * 60, "nested too deeply", "((("),
    ("+".join(["txn.amount"] * 60) + " > 1", "nested too deeply", "txn"),
    ("&&".join(["list.vip"] * 150), f"at most {NODES_MAX} fit", "list"),
    ("x" * (TEXT_BYTES_MAX + 1), f"at most {TEXT_BYTES_MAX} bytes", "xxx"),
    ("list.vip || '\ud800' == txn.currency", "half a surrogate pair", "\ud800"),
]


def refusal(text: str, kind: VariableKind = VariableKind.BOOL) -> ExpressionError:
    """Compiles what must not compile."""
    with pytest.raises(ExpressionError) as caught:
        ENVIRONMENT.compile(text, result=kind)
    return caught.value


@pytest.mark.parametrize(("text", "message", "there"), REFUSED)
def test_refusal_says_what_and_where(text: str, message: str, there: str) -> None:
    """Goal: every mistake has a plain message at the place the analyst sees. Method: a table."""
    issues = refusal(text).issues

    matching = [issue for issue in issues if message in issue.message]
    assert matching, [issue.message for issue in issues]
    assert any(text[issue.offset :].startswith(there) and (there or issue.offset == len(text)) for issue in matching)


@pytest.mark.parametrize(
    ("text", "offsets"),
    [
        ("txn.amont > 1 && crd.x > 1 && txn.amount > 'a' && list.vip == 2", [4, 17, 41, 59]),
        ("txn.amount = 1 and size(txn.currency) % 2", [11, 15, 19, 38]),
        ("txn.type in ['A', 'CARD_PAYMENT', 'B'] && txn.currency == ''", [13, 34, 58]),
    ],
)
def test_all_mistakes_are_told_at_once(text: str, offsets: list[int]) -> None:
    """Goal: one round of corrections. Method: texts with several mistakes of one pass, ordered by offset."""
    assert offsets == [issue.offset for issue in refusal(text).issues]


def test_a_number_is_not_a_bool() -> None:
    """Goal: the kind asked for is the kind given. Method: both ways round."""
    assert "this gives true or false, but a number is needed here" in str(refusal("list.vip", VariableKind.NUMBER))
    assert "this gives a number, but true or false is needed here" in str(refusal("1 + 1", VariableKind.BOOL))


@pytest.mark.parametrize(
    ("text", "variables"),
    [
        ("list.vip && type.map > 1", {"list.vip", "type.map"}),  # names of types in CEL itself
        ("has(txn.currency) || has(card.amount_mean_30d)", {"txn.currency", "card.amount_mean_30d"}),
        ("txn . amount\n>\t0x1F // comment with 'quotes' and 100\n && .5 < 1e3", {"txn.amount"}),
        ("txn.currency in ['EUR', \"USD\", r'GBP', '''JPY''',]", {"txn.currency"}),
        ("card.region == txn.currency", {"card.region", "txn.currency"}),
        ("1 < 2", set()),
        ("&&".join(["list.vip"] * 100), {"list.vip"}),
        ("txn.amount in [" + ", ".join(map(str, range(700))) + "]", {"txn.amount"}),
        ("".join(f"txn.amount < {band} ? list.vip : " for band in range(20)) + "false", {"txn.amount", "list.vip"}),
    ],
)
def test_compiled_condition_knows_its_variables(text: str, variables: set[str]) -> None:
    """Goal: what is allowed compiles, and tells what it depends on. Method: a table."""
    expression = ENVIRONMENT.compile(text, result=VariableKind.BOOL)

    assert text == expression.text
    assert frozenset(variables) == expression.variables
    assert (not variables) == expression.is_constant


def test_compiling_again_gives_the_same_instructions() -> None:
    """Goal: a program can be rebuilt from texts. Method: two environments of the same variables."""
    text = "txn.amount > 1 && txn.currency in ['EUR', 'a code that is hashed'] || txn.type != 'CARD_PAYMENT'"
    one, other = (
        Environment(
            [
                Variable("txn.amount", VariableKind.NUMBER, 0),
                Variable("txn.currency", VariableKind.CODE, 9),
                Variable("txn.type", VariableKind.CODE, 6, {"CARD_PAYMENT": 1}),
            ]
        ).compile(text, result=VariableKind.BOOL)
        for _ in range(2)
    )

    assert one == other


@pytest.mark.parametrize(
    ("name", "is_valid"),
    [
        *((name, True) for name in ("card.x", "list.list", "numbers.if", "_a._1")),
        *((name, False) for name in ("card", "card.x.y", "card.in", "true.x", "card.1h", "card.é", "card.x ", "has.x")),
    ],
)
def test_names_that_conditions_can_spell(name: str, is_valid: bool) -> None:
    """Goal: `is_variable_name` tells exactly what compiles. Method: declare and use each valid one."""
    assert is_valid == is_variable_name(name)
    if is_valid:
        environment = Environment([Variable(name, VariableKind.NUMBER, 0)])
        assert environment.compile(f"{name} > 1 && has({name})", result=VariableKind.BOOL).variables == {name}


PIECES = st.sampled_from(
    [
        *(
            "txn.amount",
            "txn.currency",
            "txn.type",
            "list.vip",
            "txn",
            ".",
            "x",
            "has(",
            "(",
            ")",
            "[",
            "]",
            ",",
            "?",
            ":",
        ),
        *(
            "&&",
            "||",
            "!",
            "==",
            "!=",
            "<",
            "-",
            "+",
            "*",
            "/",
            "%",
            " in ",
            "1",
            "0x1f",
            "1u",
            "2.5",
            "'EUR'",
            '"',
            "'",
        ),
        *(
            "'CARD_PAYMENT'",
            "r'\\'",
            "'''",
            "//",
            "\n",
            " ",
            "é",
            "😀",
            "\0",
            "\\",
            "true",
            "null",
            "{",
            "}",
            "`",
            "e5",
        ),
    ]
)


@given(st.lists(PIECES, max_size=25).map("".join) | st.text(max_size=40))
@example("0x1f.5 > 1e")
@example("'''")
def test_no_text_does_more_than_be_refused(text: str) -> None:
    """Goal: a condition can only compile or be refused, with offsets inside it. Method: junk made of tokens."""
    issues: tuple[Issue, ...] = ()
    try:
        ENVIRONMENT.compile(text, result=VariableKind.BOOL)
    except ExpressionError as error:
        issues = error.issues

    assert all(0 <= issue.offset <= len(text) and issue.message for issue in issues)
