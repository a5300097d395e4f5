"""What the tests of conditions share: a few variables, rows of values, and CEL's own evaluator as the oracle.

The oracle needs two spellings of a variable at once. CEL has no API for "unknown", and an unset field of a message
reads 0; so a value is a flat variable (``n_a`` for ``n.a``) left out of the activation where it is missing, which is
an error that `&&` and `||` absorb, and ``has(n.a)`` asks a message. A condition is therefore generated as a pair of
texts.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from cel_expr_python import cel
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from hypothesis import strategies as st

from riskengine.enums import TransactionType
from riskengine.expr import Environment, Variable, VariableKind
from riskengine.types import EVENT_WORD, EVENT_WORDS, pack_code

Value = float | str | bool | None
Row = Mapping[str, Value]

NUMBERS: Final = ("n.a", "n.b", "n.c")
BOOLS: Final = ("list.p", "list.q")
TYPES: Final = {member.name: member.value for member in TransactionType}
CODES: Final = {"txn.type": "transaction_type", "txn.currency": "currency", "txn.card_region": "card_region"}
FREE_TEXTS: Final = ("US", "EUR", "€", "a code that is hashed", "A")
FEATURES: Final = (*NUMBERS, *BOOLS)
VARIABLES: Final = (
    *(Variable(name, VariableKind.NUMBER, index) for index, name in enumerate(NUMBERS)),
    *(Variable(name, VariableKind.BOOL, len(NUMBERS) + index) for index, name in enumerate(BOOLS)),
    *(
        Variable(name, VariableKind.CODE, EVENT_WORD[column], TYPES if name == "txn.type" else None)
        for name, column in CODES.items()
    ),
)
ENVIRONMENT: Final = Environment(VARIABLES)


@dataclass(frozen=True)
class Condition:
    """One condition in both spellings: the analyst's, and CEL's own with doubles and flat variables."""

    text: str
    oracle: str


class Oracle:
    """CEL's own evaluator."""

    def __init__(self) -> None:
        file = descriptor_pb2.FileDescriptorProto(name="oracle.proto", package="oracle", syntax="proto2")
        types = {"n": 1, "list": 8, "txn": 9}  # double, bool, string
        for namespace, field_type in types.items():
            message = file.message_type.add(name=f"{namespace}_type")
            names = [name.split(".")[1] for name in (*FEATURES, *CODES) if name.startswith(f"{namespace}.")]
            for number, name in enumerate(names, start=1):
                message.field.add(name=name, number=number, type=field_type, label=1)
        pool = descriptor_pool.DescriptorPool()
        pool.Add(file)
        self._messages = {
            f"m_{namespace}": message_factory.GetMessageClass(pool.FindMessageTypeByName(f"oracle.{namespace}_type"))
            for namespace in types
        }
        variables = {name: cel.Type(f"oracle.{name[2:]}_type") for name in self._messages}
        variables |= {flat(name): cel.Type.DOUBLE for name in NUMBERS}
        variables |= {flat(name): cel.Type.BOOL for name in BOOLS}
        variables |= {flat(name): cel.Type.STRING for name in CODES}
        self._env = cel.NewEnv(pool, variables=variables)

    def evaluate(self, text: str, row: Row) -> float | None:
        """Returns what CEL makes of a condition in the oracle's spelling: a number, 1.0 or 0.0, or None for missing."""
        data: dict[str, Any] = {name: message() for name, message in self._messages.items()}
        for name, value in row.items():
            if value is not None:
                data[flat(name)] = value
                namespace, field = name.split(".")
                setattr(data[f"m_{namespace}"], field, value)
        result = self._env.compile(text).eval(data=data)
        if result.type() == cel.Type.ERROR:
            assert "found in Activation" in str(result.value()), "the only error is a missing variable"
            return None
        return float(result.value())


def flat(name: str) -> str:
    """Returns the flat spelling of a variable."""
    return name.replace(".", "_")


def as_oracle(text: str) -> str:
    """Respells a condition for the oracle: flat variables, messages in `has()`, integers as doubles."""
    text = re.sub(r"has\((\w+)\.(\w+)\)", r"has(m_\1.\2)", text)
    text = re.sub(r"\b([a-z]+)\.([a-z]\w*)", lambda match: flat(match[0]), text)
    return re.sub(r"(?<![\w.])(?:0x)?\d+(?![\w.])", lambda match: repr(float(int(match[0], 0))), text)


def has(name: str) -> Condition:
    """Asks for presence."""
    return Condition(f"has({name})", f"has(m_{name})")


def arrays(rows: list[Row]) -> tuple[Any, Any, Any]:
    """Lays rows out as the kernel takes them: events, features, valid. A missing feature is NaN, not to be seen."""
    events = np.zeros((len(rows), EVENT_WORDS), np.int64)
    features = np.full((len(rows), len(FEATURES)), np.nan)
    valid = np.zeros((len(rows), len(FEATURES)), np.uint8)
    for index, row in enumerate(rows):
        for name, value in row.items():
            if value is None:
                continue
            if name in CODES:
                text = str(value)
                events[index, EVENT_WORD[CODES[name]]] = TYPES[text] if name == "txn.type" else pack_code(text)
            else:
                features[index, FEATURES.index(name)] = float(value)
                valid[index, FEATURES.index(name)] = 1
    return events, features, valid


def same(expected: float, actual: float) -> bool:
    """Tells whether two doubles are the same, NaN and the sign of zero included."""
    if math.isnan(expected) or math.isnan(actual):
        return math.isnan(expected) and math.isnan(actual)
    return expected == actual and math.copysign(1.0, expected) == math.copysign(1.0, actual)


DOUBLES: Final = st.sampled_from(
    [0.0, -0.0, 1.0, 2.0, 3.0, -1.0, 0.5, math.inf, -math.inf, math.nan, 1e308, -1e308, 5e-324, 2.0**53]
) | st.floats(width=64)


def rows() -> st.SearchStrategy[Row]:
    """Rows of values, each of which may be missing."""
    fields: dict[str, st.SearchStrategy[Value]] = {name: st.none() | DOUBLES for name in NUMBERS}
    fields |= {name: st.none() | st.booleans() for name in BOOLS}
    fields |= {name: st.none() | st.sampled_from(FREE_TEXTS) for name in CODES}
    fields["txn.type"] = st.none() | st.sampled_from(sorted(TYPES))
    return st.fixed_dictionaries(fields)


@st.composite
def number_literals(draw: st.DrawFn) -> Condition:
    """Literals: integers in decimal and hexadecimal, doubles in several spellings."""
    if draw(st.booleans()):
        integer = draw(st.integers(0, 9) | st.integers(0, 2**70))
        text = hex(integer) if integer < 2**63 and draw(st.booleans()) else str(integer)
        return Condition(text, repr(float(integer)))
    text = repr(draw(st.floats(0.0, allow_infinity=False, allow_nan=False)))
    return Condition(text, text)


@st.composite
def numbers(draw: st.DrawFn, depth: int) -> Condition:
    """Conditions that give a number."""
    choice = draw(st.integers(0, 9)) if depth else draw(st.integers(0, 2))
    if choice == 0:
        return draw(number_literals())
    if choice <= 2:
        name = draw(st.sampled_from(NUMBERS))
        return Condition(name, flat(name))
    left = draw(numbers(depth - 1))
    if choice == 3:
        return Condition(f"-({left.text})", f"-({left.oracle})")
    right = draw(numbers(depth - 1))
    if choice == 4:
        asked = draw(bools(depth - 1))
        return Condition(
            f"({asked.text} ? {left.text} : {right.text})", f"({asked.oracle} ? {left.oracle} : {right.oracle})"
        )
    sign = draw(st.sampled_from("+-*/"))
    return Condition(f"({left.text} {sign} {right.text})", f"({left.oracle} {sign} {right.oracle})")


@st.composite
def bools(draw: st.DrawFn, depth: int) -> Condition:
    """Conditions that are true, false or missing."""
    choice = draw(st.integers(0, 11)) if depth else draw(st.integers(0, 4))
    if choice == 0:
        literal = draw(st.sampled_from(["true", "false"]))
        return Condition(literal, literal)
    if choice == 1:
        name = draw(st.sampled_from(BOOLS))
        return Condition(name, flat(name))
    if choice == 2:
        return has(draw(st.sampled_from((*FEATURES, *CODES))))
    if choice <= 4:
        return draw(text_comparisons())
    if choice <= 6:
        left, right = draw(numbers(depth - 1)), draw(numbers(depth - 1))
        sign = draw(st.sampled_from(["<", "<=", ">", ">=", "==", "!="]))
        return Condition(f"({left.text} {sign} {right.text})", f"({left.oracle} {sign} {right.oracle})")
    if choice == 7:
        left, elements = draw(numbers(depth - 1)), draw(st.lists(number_literals(), min_size=1, max_size=9))
        texts, oracles = (", ".join(getattr(each, name) for each in elements) for name in ("text", "oracle"))
        return Condition(f"({left.text} in [{texts}])", f"({left.oracle} in [{oracles}])")
    left = draw(bools(depth - 1))
    if choice == 8:
        return Condition(f"!({left.text})", f"!({left.oracle})")
    right = draw(bools(depth - 1))
    if choice == 9:
        asked = draw(bools(depth - 1))
        return Condition(
            f"({asked.text} ? {left.text} : {right.text})", f"({asked.oracle} ? {left.oracle} : {right.oracle})"
        )
    sign = draw(st.sampled_from(["&&", "||", "&&", "||", "==", "!=", "<", ">="]))
    return Condition(f"({left.text} {sign} {right.text})", f"({left.oracle} {sign} {right.oracle})")


@st.composite
def text_comparisons(draw: st.DrawFn) -> Condition:
    """Comparisons of a text variable."""
    name = draw(st.sampled_from(sorted(CODES)))
    literals = st.sampled_from(sorted(TYPES) if name == "txn.type" else FREE_TEXTS).map(lambda text: f"'{text}'")
    sign = draw(st.sampled_from(["==", "!=", "in"]))
    if sign == "in":
        listed = ", ".join(draw(st.lists(literals, min_size=1, max_size=8)))
        return Condition(f"({name} in [{listed}])", f"({flat(name)} in [{listed}])")
    if name != "txn.type" and draw(st.booleans()):
        other = draw(st.sampled_from(["txn.currency", "txn.card_region"]))
        return Condition(f"({name} {sign} {other})", f"({flat(name)} {sign} {flat(other)})")
    literal = draw(literals)
    if draw(st.booleans()):
        return Condition(f"({literal} {sign} {name})", f"({literal} {sign} {flat(name)})")
    return Condition(f"({name} {sign} {literal})", f"({flat(name)} {sign} {literal})")
