"""Compiles CEL's typed tree into postfix instructions.

INVARIANTS: nothing is folded, so what runs is what was written, in CEL's own order of arithmetic; only a comparison
of a feature with a literal becomes one instruction. A tree that has anything but what `issues.ALLOWED` lists is
refused, whatever CEL thinks of it. A text exists only as the literal side of a comparison: it becomes its number or
packed code here, and the kernel compares words.

Called by `environment` alone.
"""

from collections.abc import Sequence
from itertools import accumulate
from typing import Any, Final, NamedTuple

from cel.expr import checked_pb2

from riskengine.types import pack_code

from . import kernels
from .issues import ALLOWED, Issue, suggestion
from .rewrite import FIELD_PREFIX, Rewritten
from .variables import Variable, VariableKind

NODES_MAX: Final = 200
"""Operators and operands of one condition; elements of lists are not counted (the text's length bounds them)."""
STACK_DEPTH_MAX: Final = 20
"""Values that wait at once."""

Node = Any  # cel.expr.Expr; the generated classes carry no types

_PAIRS: Final = {
    "_&&_": (kernels.OP_AND, 0),
    "_||_": (kernels.OP_OR, 0),
    "_+_": (kernels.OP_ADD, 0),
    "_-_": (kernels.OP_SUBTRACT, 0),
    "_*_": (kernels.OP_MULTIPLY, 0),
    "_/_": (kernels.OP_DIVIDE, 0),
    "_<_": (kernels.OP_COMPARE, kernels.LESS),
    "_<=_": (kernels.OP_COMPARE, kernels.LESS | kernels.EQUAL),
    "_>_": (kernels.OP_COMPARE, kernels.GREATER),
    "_>=_": (kernels.OP_COMPARE, kernels.GREATER | kernels.EQUAL),
    "_==_": (kernels.OP_COMPARE, kernels.EQUAL),
    "_!=_": (kernels.OP_COMPARE, kernels.LESS | kernels.GREATER | kernels.UNORDERED),
}
_SINGLES: Final = {"!_": kernels.OP_NOT, "-_": kernels.OP_NEGATE}
_KINDS: Final = {
    checked_pb2.Type.DOUBLE: VariableKind.NUMBER,
    checked_pb2.Type.BOOL: VariableKind.BOOL,
    checked_pb2.Type.STRING: VariableKind.CODE,
}


class Instruction(NamedTuple):
    """One operation; the operands' meaning is told beside each `kernels.OP_*`.

    Attributes:
        op: Which.
        operand: Column or word.
        extra: Relation mask, or 1 to negate.
        immediate: A double, an integer, or the elements of a list: all doubles or all codes.
    """

    op: int
    operand: int = 0
    extra: int = 0
    immediate: float | int | tuple[float, ...] | tuple[int, ...] = 0


class Compiler:
    """Compiles one tree.

    Args:
        variables: By the index that `rewrite` gave them.
        checked: CEL's tree, with types and positions.
        rewritten: The way back to the analyst's text.

    Attributes:
        instructions: What to run; leaves one value. Meaningless if there are issues.
        names: The variables that are read or asked for.
        issues: What is wrong.
    """

    def __init__(self, variables: Sequence[Variable], checked: Any, rewritten: Rewritten) -> None:
        self.instructions: list[Instruction] = []
        self.names: set[str] = set()
        self.issues: list[Issue] = []
        self._variables = variables
        self._types = checked.type_map
        self._positions = checked.source_info.positions
        self._rewritten = rewritten
        self._node_count = 0
        self.kind = self._kind(checked.expr)
        self._value(checked.expr)
        if self._node_count > NODES_MAX:
            self.issues.append(Issue(0, f"this has {self._node_count} operators and operands, at most {NODES_MAX} fit"))
        elif not self.issues and stack_depth(self.instructions) > STACK_DEPTH_MAX:
            self.issues.append(Issue(0, f"more than {STACK_DEPTH_MAX} values wait at once; nest less to the right"))

    def _value(self, node: Node) -> None:
        """Compiles a number or a bool."""
        self._node_count += 1
        form = node.WhichOneof("expr_kind")
        if self._kind(node) is VariableKind.CODE:
            self._refuse(node, "a text can only be compared, by == or != or in, with a text variable")
        elif form == "const_expr":
            self._push(kernels.OP_NUMBER, immediate=float(_constant(node)))
        elif form == "select_expr":
            self._select(node)
        elif form == "call_expr" and self._kind(node) is not None:
            self._call(node)
        else:
            self._refuse(node, f"this is not allowed; {ALLOWED}")

    def _select(self, node: Node) -> None:
        """Compiles a variable, or `has()` of one."""
        variable = self._variable(node)
        is_code = variable.kind is VariableKind.CODE
        if node.select_expr.test_only:
            self._push(kernels.OP_HAS_CODE if is_code else kernels.OP_HAS_FEATURE, variable.column)
        else:
            self._push(kernels.OP_FEATURE, variable.column)

    def _call(self, node: Node) -> None:
        """Compiles an operator."""
        call = node.call_expr
        if call.function in ("_==_", "_!=_") and self._kind(call.args[0]) is VariableKind.CODE:
            self._compare_texts(node, negated=call.function == "_!=_")
        elif call.function in _PAIRS:
            op, mask = _PAIRS[call.function]
            self._pair(op, mask, call.args[0], call.args[1])
        elif call.function in _SINGLES:
            self._value(call.args[0])
            self._push(_SINGLES[call.function])
        elif call.function == "_?_:_":
            # The else-branch first: a ladder of ternaries then waits with one value, however long it is.
            for argument in reversed(call.args):
                self._value(argument)
            self._push(kernels.OP_SELECT)
        elif call.function == "@in":
            self._membership(node)
        else:
            self._refuse(node, f"this is not allowed; {ALLOWED}")

    def _pair(self, op: int, mask: int, left: Node, right: Node) -> None:
        """Compiles an operator of two values; a feature compared with a literal becomes one instruction."""
        self._value(left)
        last = self.instructions[-1] if self.instructions else None
        is_literal = _is_constant(right) and self._kind(right) is not VariableKind.CODE
        if op == kernels.OP_COMPARE and is_literal and last is not None and last.op == kernels.OP_FEATURE:
            self._node_count += 1
            self.instructions[-1] = last._replace(
                op=kernels.OP_FEATURE_COMPARE, extra=mask, immediate=float(_constant(right))
            )
            return
        self._value(right)
        self._push(op, extra=mask)

    def _compare_texts(self, node: Node, *, negated: bool) -> None:
        """Compiles == or != of texts, at least one of which is a variable."""
        left, right = node.call_expr.args
        self._node_count += 2
        if _is_constant(left):
            left, right = right, left
        variable = self._text_variable(left)
        if variable is None:
            return
        if _is_constant(right):
            code = self._code(right, variable)
            self._push(kernels.OP_CODE_IS, variable.column, extra=int(negated), immediate=code)
            return
        other = self._text_variable(right)
        if other is None:
            return
        if variable.domain != other.domain:
            self._refuse(node, f"{variable.name} and {other.name} do not have the same values: they cannot be compared")
        self._push(kernels.OP_CODES_SAME, variable.column, extra=int(negated), immediate=other.column)

    def _membership(self, node: Node) -> None:
        """Compiles `in`."""
        element, container = node.call_expr.args
        if container.WhichOneof("expr_kind") != "list_expr":
            self._refuse(container, "`in` takes a list of literals, as in txn.currency in ['EUR', 'USD']")
            return
        literals = container.list_expr.elements
        kind = self._kind(element)
        if kind not in (VariableKind.NUMBER, VariableKind.CODE):
            self._refuse(element, "`in` takes a number or a text variable on its left")
            return
        wrong = [each for each in literals if not _is_constant(each) or self._kind(each) is not kind]
        for each in wrong:
            self._refuse(each, f"a list here holds literals, each a {kind.value}")
        if not literals:
            self._refuse(container, "this list is empty: nothing can be in it")
        if kind is VariableKind.NUMBER:
            self._value(element)
            if not wrong:
                self._push(kernels.OP_NUMBER_IN, immediate=tuple(float(_constant(each)) for each in literals))
            return
        self._node_count += 1
        variable = self._text_variable(element)
        if variable is not None and not wrong:
            codes = tuple(self._code(each, variable) for each in literals)
            self._push(kernels.OP_CODE_IN, variable.column, immediate=codes)

    def _text_variable(self, node: Node) -> Variable | None:
        """Returns the variable that a node of kind text is; refuses anything else."""
        if node.WhichOneof("expr_kind") == "select_expr":
            return self._variable(node)
        self._refuse(node, "a text must be compared with a text variable, as in txn.currency == 'EUR'")
        return None

    def _code(self, node: Node, variable: Variable) -> int:
        """Resolves a text literal by the variable that it is compared with."""
        text = str(_constant(node))
        if variable.domain is not None:
            if text not in variable.domain:
                meant = suggestion(text, variable.domain, what="values")
                self._refuse(node, f"{variable.name} is never {text!r}{meant}")
            return variable.domain.get(text, 0)
        if not text or "\0" in text:
            self._refuse(node, f"no code is {text!r}; ask !has({variable.name}) whether it is missing")
        return pack_code(text)

    def _variable(self, node: Node) -> Variable:
        variable = self._variables[int(node.select_expr.field.removeprefix(FIELD_PREFIX))]
        self.names.add(variable.name)
        return variable

    def _kind(self, node: Node) -> VariableKind | None:
        """Returns what CEL found a node to be; None for anything beyond numbers, bools and texts."""
        return _KINDS.get(self._types[node.id].primitive) if node.id in self._types else None

    def _push(self, op: int, operand: int = 0, *, extra: int = 0, immediate: Any = 0) -> None:
        self.instructions.append(Instruction(op, operand, extra, immediate))

    def _refuse(self, node: Node, message: str) -> None:
        """Records an issue at the place where a node begins (of an operator: where its sign stands)."""
        if node.WhichOneof("expr_kind") == "select_expr":
            node = node.select_expr.operand
        self.issues.append(Issue(self._rewritten.original(self._positions[node.id]), message))


def stack_effect(op: int) -> int:
    """Returns by how many values an operation deepens the stack."""
    if op <= kernels.OP_PUSH_LAST:
        return 1
    if op <= kernels.OP_PAIR_LAST:
        return -1
    return 0 if op <= kernels.OP_SINGLE_LAST else -2


def stack_depth(instructions: Sequence[Instruction]) -> int:
    """Returns how many values wait at once when instructions run."""
    return max(accumulate(stack_effect(each.op) for each in instructions), default=0)


def _is_constant(node: Node) -> bool:
    return bool(node.WhichOneof("expr_kind") == "const_expr")


def _constant(node: Node) -> float | str:
    value: float | str = getattr(node.const_expr, node.const_expr.WhichOneof("constant_kind"))
    return value
