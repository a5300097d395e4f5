"""Holds every kernels.py to the rules of `tests/kernel_rules.py`, and proves that each rule can fail."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests import kernel_rules

ROOT = Path(__file__).resolve().parent.parent
PACKAGE_PATHS = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "riskengine").rglob("*.py"))
KERNEL_PATHS = [path for path in PACKAGE_PATHS if path.endswith("/kernels.py")]
Rule = Callable[[str, str], Iterator[str]]

RULES: list[Rule] = [
    kernel_rules.imports_of_kernels,
    kernel_rules.documented,
    kernel_rules.returns_int64,
    kernel_rules.allocations,
    kernel_rules.unbounded_loops,
    kernel_rules.twins,
]
GOOD = '''
import numpy as np
from riskengine.jit import kernel
from riskengine.tables.layout import ROWS
from riskengine.types import MISSING
from .layout import WORDS

@kernel()
def _helper(x):
    return x

@kernel("int64(int64[::1])")
def _private(x):
    """Reads one."""
    for i in range(len(x)):
        x[i] = np.int64(0)
    return 0
'''
PUBLIC = '@kernel("int64(int64[::1])")\ndef no_such_kernel(x):\n    """Doc."""\n'
PLANTED: list[tuple[Rule, str, str]] = [
    (kernel_rules.numba_elsewhere, "import numba\n", "imports numba"),
    (kernel_rules.numba_elsewhere, "from riskengine.jit import kernel\n", "riskengine.jit.kernel"),
    (kernel_rules.imports_of_kernels, "from riskengine.velocity.plan import Plan\n", "velocity.plan.Plan"),
    (kernel_rules.imports_of_kernels, "from .plan import Plan\n", "imports .plan"),
    (kernel_rules.imports_of_kernels, "import os\n", "imports os"),
    (kernel_rules.documented, "@kernel()\ndef f(x):\n    return x\n", "f has no docstring"),
    (kernel_rules.returns_int64, '@kernel("float64(int64)")\ndef f(x):\n    return x\n', "f returns no int64"),
    (kernel_rules.returns_int64, 'S = "void(int64)"\n@kernel(S)\ndef f(x):\n    return x\n', "f returns no int64"),
    (kernel_rules.allocations, PUBLIC + "    return np.zeros(3)\n", "calls np.zeros()"),
    (kernel_rules.allocations, PUBLIC + "    return [1]\n", "builds a List"),
    (kernel_rules.unbounded_loops, PUBLIC + "    while True:\n        pass\n", "without a visible bound"),
    (kernel_rules.twins, PUBLIC + "    return 0\n", "no_such_kernel has no twin in tests/naive/velocity.py"),
]


@pytest.mark.parametrize("path", KERNEL_PATHS)
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_kernels_keep_the_rule(rule: Rule, path: str) -> None:
    """Goal: kernels are fast, bounded and checked by a twin. Method: read the syntax tree of each module."""
    found = list(rule(path, (ROOT / path).read_text()))

    assert [] == found, "\n" + "\n".join(found)


def test_numba_is_imported_by_kernels_only() -> None:
    """Goal: fronts and --help start without numba. Method: read the imports of every other module."""
    found = [line for path in PACKAGE_PATHS for line in kernel_rules.numba_elsewhere(path, (ROOT / path).read_text())]

    assert [] == found


@pytest.mark.parametrize(("rule", "text", "finding"), PLANTED)
def test_rule_finds_what_is_planted(rule: Rule, text: str, finding: str) -> None:
    """Goal: no rule is asleep. Method: one bad source for each."""
    path = "riskengine/velocity/plan.py" if rule is kernel_rules.numba_elsewhere else "riskengine/velocity/kernels.py"
    found = list(rule(path, text))

    assert 1 == len(found), found
    assert finding in found[0]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_rule_lets_a_good_kernel_pass(rule: Rule) -> None:
    """Goal: no rule cries wolf. Method: a source that keeps them all."""
    assert [] == list(rule("riskengine/velocity/kernels.py", GOOD))


def test_planted_overrun_is_caught_although_the_unchecked_code_is_cached() -> None:
    """Goal: `make test-kernels` really checks bounds.

    Method: compile a kernel that reads past its array without checks, then run it with checks as the Makefile does.
    """
    program = (
        "import tests.conftest, numpy as np\n"
        "from tests.overrun_kernels import read_at\n"
        "print(read_at(np.arange(8)[:4], 5))\n"
    )

    unchecked = run_python(program)
    assert "5" == unchecked.stdout.strip(), unchecked.stderr
    checked = run_python(program, NUMBA_BOUNDSCHECK="1")

    assert "IndexError" in checked.stderr
    assert "" == checked.stdout


def run_python(program: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs a program from the repository's root in a fresh environment of numba."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("NUMBA_")}
    command = [sys.executable, "-c", program]
    return subprocess.run(
        command, cwd=ROOT, env=inherited | environment, capture_output=True, text=True, check=False, timeout=120
    )
