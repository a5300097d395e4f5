"""Conditions: CEL, checked by Google's own CEL, compiled to bytecode, run by one kernel.

A condition goes `lexer` -> `rewrite` -> `checker` -> `compiler`, composed by `environment`; `program` joins many for
`kernels.evaluate`. Missing values follow CEL's errors: they spread, and `&&` and `||` absorb them.

INVARIANT: conditions are compiled at load and only run while a payment waits. Used by `policy` and `engine`.
"""

from .compiler import NODES_MAX, STACK_DEPTH_MAX
from .environment import TEXT_BYTES_MAX, Environment, Expression
from .issues import ExpressionError, Issue
from .program import Program
from .variables import Variable, VariableKind, is_variable_name

__all__ = [
    "NODES_MAX",
    "STACK_DEPTH_MAX",
    "TEXT_BYTES_MAX",
    "Environment",
    "Expression",
    "ExpressionError",
    "Issue",
    "Program",
    "Variable",
    "VariableKind",
    "is_variable_name",
]
