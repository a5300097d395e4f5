"""The rules of house that no linter knows, as functions from a source text to its findings.

INVARIANT: each takes the path below the repository and the text, touches no file, and returns findings as
``path:line: what``, in order. Called by `tests/test_tidy.py` alone.
"""

import ast
import re
from collections.abc import Iterator
from typing import Final

FUNCTION_LINES_MAX: Final = 70
MODULE_LINES_MAX: Final = 400

FORBIDDEN_IMPORTS: Final = frozenset({"pickle", "cPickle", "dill", "joblib", "marshal", "shelve", "yaml"})
"""Formats that run what they load, or guess its types."""
FORBIDDEN_CALLS: Final = frozenset({"eval", "exec"})

CLOCK_READERS: Final = ("riskengine/clock.py", "riskengine/cli/", "riskengine/lab/")
"""Time reaches everything else as data. lab reads it for progress bars, never for what it computes."""
CLOCKS: Final = frozenset(
    f"time.{name}{unit}"
    for name in ("time", "monotonic", "perf_counter", "process_time", "thread_time")
    for unit in ("", "_ns")
) | {"datetime.now", "datetime.utcnow", "datetime.today", "date.today"}

RANDOM_READERS: Final = (
    "riskengine/wire/",
    "riskengine/server/",
    "riskengine/cli/",
    "riskengine/lab/",
    "riskengine/journal/directory.py",
)
"""The edge. Behind it a journal replays to the same bits. lab draws from a seed only; a journal is named at random, once."""
RANDOM_SOURCES: Final = frozenset({"random", "secrets", "uuid", "os.urandom", "np.random", "numpy.random"})

MACHINE_PATH: Final = re.compile(r"(?<![\w.*~/-])/(?:work|root|home|Users|tmp/rk)(?![\w-])|[A-Z]:\\Users")


def function_lengths(path: str, text: str) -> Iterator[str]:
    """Finds functions whose lines, without the docstring, are more than the house allows."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            first = node.body[0]
            if ast.get_docstring(node, clean=False) is not None:
                length -= (first.end_lineno or first.lineno) - first.lineno + 1
            if length > FUNCTION_LINES_MAX:
                yield f"{path}:{node.lineno}: {node.name} has {length} lines, more than {FUNCTION_LINES_MAX}"


def module_length(path: str, text: str) -> Iterator[str]:
    """Finds modules that grew past reading."""
    length = len(text.splitlines())
    if length > MODULE_LINES_MAX:
        yield f"{path}:1: {length} lines, more than {MODULE_LINES_MAX}; split it"


def module_docstring(path: str, text: str) -> Iterator[str]:
    """Finds modules that do not say what they are; an empty ``__init__.py`` need not."""
    if text.strip() and ast.get_docstring(ast.parse(text)) is None:
        yield f"{path}:1: no docstring: what it is, its invariants, who calls it"


def unsafe_loaders(path: str, text: str) -> Iterator[str]:
    """Finds imports and calls that may run what they read."""
    for line, name in imports(text):
        if name.split(".")[0] in FORBIDDEN_IMPORTS:
            yield f"{path}:{line}: imports {name}"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call):
            called = dotted(node.func)
            if called in FORBIDDEN_CALLS or called.endswith("yaml.load"):
                yield f"{path}:{node.lineno}: calls {called}()"


def clock_reads(path: str, text: str) -> Iterator[str]:
    """Finds code that asks the system for the time where time has to be an argument."""
    if path.startswith(CLOCK_READERS):
        return
    yield from (f"{path}:{line}: reads {name}; take the time as an argument" for line, name in uses(text, CLOCKS))


def randomness(path: str, text: str) -> Iterator[str]:
    """Finds randomness behind the edge."""
    if path.startswith(RANDOM_READERS):
        return
    found = [(line, name) for line, name in imports(text) if name.split(".")[0] in RANDOM_SOURCES]
    yield from (f"{path}:{line}: uses {name}" for line, name in sorted({*found, *uses(text, RANDOM_SOURCES)}))


def machine_paths(path: str, text: str) -> Iterator[str]:
    """Finds absolute paths of somebody's machine."""
    for number, line in enumerate(text.splitlines(), start=1):
        match = MACHINE_PATH.search(line)
        if match:
            yield f"{path}:{number}: names a path of one machine, {match.group()}..."


def imports(text: str) -> Iterator[tuple[int, str]]:
    """Yields line and full dotted name of everything imported absolutely: ``from a import b`` is ``a.b``."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def uses(text: str, names: frozenset[str]) -> Iterator[tuple[int, str]]:
    """Yields line and name wherever one of `names` is imported or read as an attribute, under any prefix."""
    for line, name in imports(text):
        if name in names:
            yield line, name
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Attribute):
            last_two = ".".join(dotted(node).split(".")[-2:])
            if last_two in names:
                yield node.lineno, last_two


def dotted(node: ast.expr) -> str:
    """Returns ``a.b.c`` of a name or an attribute; a part that is neither is ``?``."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else "?"
