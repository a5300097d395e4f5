"""Each row of the fault matrix that this engine answers for has a test that names it."""

import ast
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
ROWS = [*range(1, 13), 14, 15, 16, 17, 21, 25, 26, 28, 29, 30]


def named_rows(path: Path) -> set[int]:
    """Returns the rows that the tests of a file name as their goal."""
    rows: set[int] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            goal = (ast.get_docstring(node) or "").partition("Method:")[0]
            words = goal.replace(",", " ").replace(":", " ").replace(".", " ").split()
            rows |= {int(word[1:]) for word in words if word[0] == "F" and word[1:].isdigit()}
            for first, to, last in zip(words, words[1:], words[2:], strict=False):
                if to == "to" and first[0] == last[0] == "F" and first[1:].isdigit() and last[1:].isdigit():
                    rows |= set(range(int(first[1:]), int(last[1:]) + 1))
    return rows


def test_every_row_has_a_test() -> None:
    """Goal: no promise is left unproved. Method: what the docstrings of all tests name."""
    rows: set[int] = set()
    for path in TESTS.rglob("test_*.py"):
        rows |= named_rows(path)

    assert set(ROWS) <= rows, f"without a test: {sorted(set(ROWS) - rows)}"
