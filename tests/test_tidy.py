"""Holds the tree to the rules of `tests/tidy.py`, and proves that each rule can fail."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests import tidy

ROOT = Path(__file__).resolve().parent.parent
Rule = Callable[[str, str], Iterator[str]]

EVERYWHERE: list[Rule] = [tidy.function_lengths, tidy.module_length, tidy.module_docstring, tidy.unsafe_loaders]
IN_PACKAGE: list[Rule] = [tidy.clock_reads, tidy.randomness]

LONG = "def f():\n" + "    pass\n" * tidy.FUNCTION_LINES_MAX
PLANTED: list[tuple[Rule, str, str]] = [
    (tidy.function_lengths, LONG, "f has 71 lines"),
    (tidy.module_length, "#\n" * (tidy.MODULE_LINES_MAX + 1), "401 lines"),
    (tidy.module_docstring, "x = 1\n", "no docstring"),
    (tidy.unsafe_loaders, "import pickle\n", "imports pickle"),
    (tidy.unsafe_loaders, "from joblib import load\n", "imports joblib.load"),
    (tidy.unsafe_loaders, "x = ruamel.yaml.load(f)\n", "yaml.load()"),
    (tidy.unsafe_loaders, "x = eval('1')\n", "eval()"),
    (tidy.clock_reads, "import time\nx = time.time_ns()\n", "reads time.time_ns"),
    (tidy.clock_reads, "from time import monotonic\n", "reads time.monotonic"),
    (tidy.clock_reads, "import datetime as d\nx = datetime.datetime.now()\n", "reads datetime.now"),
    (tidy.randomness, "import secrets\n", "uses secrets"),
    (tidy.randomness, "from random import random\n", "uses random.random"),
    (tidy.randomness, "x = os.urandom(8)\n", "uses os.urandom"),
    (tidy.randomness, "x = np.random.default_rng(1)\n", "uses np.random"),
    (tidy.machine_paths, "see /" + "work/main/x\n", "one machine"),
    (tidy.machine_paths, "x = '/" + "root/.cache'\n", "one machine"),
]
ALLOWED: list[tuple[Rule, str, str]] = [
    (tidy.function_lengths, "riskengine/x.py", 'def f():\n    """' + "a\n" * 90 + '"""\n    pass\n'),
    (tidy.module_docstring, "riskengine/__init__.py", ""),
    (tidy.unsafe_loaders, "riskengine/x.py", "expression.eval(row)\n"),
    (tidy.clock_reads, "riskengine/clock.py", "import time\nx = time.time_ns()\n"),
    (tidy.clock_reads, "riskengine/x.py", "import time\ntime.sleep(1)\nevent.time\n"),
    (tidy.randomness, "riskengine/lab/x.py", "x = np.random.default_rng(1)\n"),
    (tidy.machine_paths, "README.md", "https://example.com/work/x ../work/x a/root/b\n"),
]


@pytest.mark.parametrize("rule", EVERYWHERE, ids=lambda rule: rule.__name__)
def test_python_keeps_the_rule(rule: Rule) -> None:
    """Goal: code a stranger can read, and data that cannot run. Method: every Python file that is not generated."""
    found = findings(rule, python_paths())

    assert [] == found, "\n" + "\n".join(found)


@pytest.mark.parametrize("rule", IN_PACKAGE, ids=lambda rule: rule.__name__)
def test_package_keeps_the_rule(rule: Rule) -> None:
    """Goal: a journal replays to the same bits. Method: every module of the package."""
    found = findings(rule, [path for path in python_paths() if path.startswith("riskengine/")])

    assert [] == found, "\n" + "\n".join(found)


def test_no_file_names_a_path_of_one_machine() -> None:
    """Goal: a clone works anywhere. Method: every text file of the repository."""
    found = findings(tidy.machine_paths, tracked_paths())

    assert [] == found, "\n" + "\n".join(found)


def test_lock_names_no_index() -> None:
    """Goal: the lock works behind any index. Method: pins and hashes are all that it may hold."""
    for name in ("requirements.lock", "requirements-bootstrap.lock"):
        text = (ROOT / name).read_text()

        assert "--hash=sha256:" in text
        assert [] == [line for line in text.splitlines() if "://" in line or "/" in line or line.startswith("-")]


@pytest.mark.parametrize(("rule", "text", "finding"), PLANTED)
def test_rule_finds_what_is_planted(rule: Rule, text: str, finding: str) -> None:
    """Goal: no rule is asleep. Method: one bad source for each."""
    found = list(rule("riskengine/x.py", text))

    assert 1 == len(found), found
    assert finding in found[0]


@pytest.mark.parametrize(("rule", "path", "text"), ALLOWED)
def test_rule_lets_the_allowed_pass(rule: Rule, path: str, text: str) -> None:
    """Goal: no rule cries wolf. Method: a good source close to a bad one."""
    assert [] == list(rule(path, text))


def findings(rule: Rule, paths: list[str]) -> list[str]:
    """Applies a rule to files; binary ones are passed over."""
    assert paths
    found: list[str] = []
    for path in paths:
        try:
            found += rule(path, (ROOT / path).read_text())
        except UnicodeDecodeError:
            continue
    return found


def python_paths() -> list[str]:
    """Returns the Python files that people write."""
    generated = ("_pb2.py", "_pb2_grpc.py")
    return [path for path in tracked_paths() if path.endswith(".py") and not path.endswith(generated)]


def tracked_paths() -> list[str]:
    """Returns the repository's files as git sees them: tracked ones, and new ones that it does not ignore."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [path for path in listed.split("\0") if path and (ROOT / path).is_file()]
