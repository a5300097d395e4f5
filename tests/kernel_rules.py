"""The rules for kernels, as functions from a source text to its findings.

INVARIANT: each takes the path below the repository and the text, and returns findings as ``path:line: what``. Only
`twins` reads another file: the naive one. Called by `tests/test_kernel_rules.py` alone.
"""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.tidy import dotted, imports

ROOT: Final = Path(__file__).resolve().parent.parent

FOREIGN: Final = frozenset({"__future__", "collections", "math", "numba", "numpy", "typing"})
OURS: Final = frozenset({"riskengine.jit", "riskengine.types"})
BESIDE_KERNELS: Final = frozenset({"riskengine/jit.py", "riskengine/engine/activation.py", "riskengine/engine/warm.py"})
"""jit itself, where the semantics of kernels are journaled, and what warms them; none is imported by a front."""
ALLOCATORS: Final = frozenset(
    f"np.{name}"
    for name in (
        *("append", "arange", "array", "concatenate", "copy", "diff", "empty", "empty_like", "full", "full_like"),
        *("hstack", "linspace", "ones", "ones_like", "repeat", "sort", "stack", "tile", "unique", "vstack", "where"),
        *("zeros", "zeros_like"),
    )
) | {"list", "dict", "set", "bytearray"}
DISPLAYS: Final = (
    ast.List,
    ast.Dict,
    ast.Set,
    ast.ListComp,
    ast.DictComp,
    ast.SetComp,
    ast.GeneratorExp,
    ast.JoinedStr,
)


def numba_elsewhere(path: str, text: str) -> Iterator[str]:
    """Finds numba outside `riskengine.jit` and kernels modules."""
    if path in BESIDE_KERNELS or path.endswith("/kernels.py"):
        return
    for line, name in imports(text):
        if name.split(".")[0] in ("numba", "llvmlite") or name.startswith("riskengine.jit."):
            yield f"{path}:{line}: imports {name}; only kernels.py may"


def imports_of_kernels(path: str, text: str) -> Iterator[str]:
    """Finds imports that the digest of compiled code does not cover, or that drag the engine into a kernel."""
    for line, name in imports(text):
        module = name.rpartition(".")[0] or name
        covered = (
            {module, name} & OURS or module.endswith((".kernels", ".layout")) or name.endswith((".kernels", ".layout"))
        )
        if name.split(".")[0] not in FOREIGN and not covered:
            yield f"{path}:{line}: imports {name}; a kernel may import kernels, layout, types and jit"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and node.level and node.module not in ("kernels", "layout"):
            yield f"{path}:{node.lineno}: imports .{node.module}; a kernel may import kernels and layout"


def documented(path: str, text: str) -> Iterator[str]:
    """Finds public kernels without a docstring."""
    for function, _ in kernels(text):
        if not function.name.startswith("_") and ast.get_docstring(function) is None:
            yield f"{path}:{function.lineno}: {function.name} has no docstring: layout, cost, edge cases"


def returns_int64(path: str, text: str) -> Iterator[str]:
    """Finds signatures that do not return an int64 status or count."""
    for function, signature in kernels(text):
        if signature is not None and not signature.startswith(("int64(", "i8(")):
            yield f"{path}:{function.lineno}: {function.name} returns no int64: {signature[:30]}"


def allocations(path: str, text: str) -> Iterator[str]:
    """Finds what reserves memory while a payment waits."""
    for function, _ in kernels(text):
        for node in (inner for statement in function.body for inner in ast.walk(statement)):
            if isinstance(node, ast.Call) and dotted(node.func) in ALLOCATORS:
                yield f"{path}:{node.lineno}: {function.name} calls {dotted(node.func)}()"
            elif isinstance(node, DISPLAYS):
                yield f"{path}:{node.lineno}: {function.name} builds a {type(node).__name__}"


def unbounded_loops(path: str, text: str) -> Iterator[str]:
    """Finds loops without a visible bound."""
    for function, _ in kernels(text):
        for node in ast.walk(function):
            if isinstance(node, ast.While) and isinstance(node.test, ast.Constant):
                yield f"{path}:{node.lineno}: {function.name} loops without a visible bound"


def twins(path: str, text: str) -> Iterator[str]:
    """Finds public kernels with a signature that have no naive function of the same name."""
    homes = naive_homes(path)
    known = {
        node.name
        for home in homes
        if home.exists()
        for node in ast.parse(home.read_text()).body
        if isinstance(node, ast.FunctionDef)
    }
    where = " or ".join(home.relative_to(ROOT).as_posix() for home in homes)
    for function, signature in kernels(text):
        if signature is not None and not function.name.startswith("_") and function.name not in known:
            yield f"{path}:{function.lineno}: {function.name} has no twin in {where}"


def naive_homes(path: str) -> list[Path]:
    """Returns where the twins of ``riskengine/a/b/kernels.py`` may live: ``tests/naive/a_b.py`` or ``a.py``."""
    parts = Path(path).parts[1:-1]
    return [ROOT / "tests" / "naive" / f"{'_'.join(parts[:depth])}.py" for depth in range(len(parts), 0, -1)]


def kernels(text: str) -> Iterator[tuple[ast.FunctionDef, str | None]]:
    """Yields every function bound by ``@kernel(...)``, with its signature; None for a helper without one."""
    constants = {}
    for node in ast.parse(text).body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Constant):
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            constants[dotted(target)] = str(node.value.value)
        if not isinstance(node, ast.FunctionDef):
            continue
        for decorator in node.decorator_list:
            if isinstance(decorator, ast.Call) and dotted(decorator.func).split(".")[-1] == "kernel":
                yield node, signature_of(decorator, constants)


def signature_of(decorator: ast.Call, constants: dict[str, str]) -> str | None:
    """Returns the text of a decorator's signature, a constant's name resolved; None where it has none."""
    given = [*decorator.args, *(keyword.value for keyword in decorator.keywords if keyword.arg == "signature")]
    if not given or (isinstance(given[0], ast.Constant) and given[0].value is None):
        return None
    if isinstance(given[0], ast.Constant):
        return str(given[0].value)
    name = dotted(given[0])
    return constants.get(name, name)
