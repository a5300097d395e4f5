"""Breaks the code on purpose, one way at a time, and expects a named check to turn red.

The ways are rows of `tools/sabotage.toml`: a text to replace once in a file, the check that has to notice, and what it
has to say, so that it is red for the right reason. A check that stays green is a gap in the tests.

INVARIANTS: the working tree is never touched, all happens in a copy; a check that is red before the sabotage proves
nothing and counts as a failure. Called by `make sabotage`.
"""

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
WAYS: Final = ROOT / "tools" / "sabotage.toml"
CHECK_S_MAX: Final = 600


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One way to break the code."""

    what: str
    """What is broken, in words."""
    file: str
    """The file to spoil, below the repository."""
    old: str
    """Text that stands in it exactly once; empty: `new` is appended."""
    new: str
    """What to put in its place."""
    check: str
    """The command that has to notice; its first word is a program of the environment."""
    says: str
    """A regular expression that its output has to match."""


def main() -> int:
    """Tries all ways, or those whose description matches; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.sabotage", description=__doc__)
    parser.add_argument("pattern", nargs="?", default="", help="only ways whose description contains this")
    pattern = parser.parse_args().pattern
    ways = [Way(**row) for row in tomllib.loads(WAYS.read_text())["way"] if pattern in row["what"]]
    unnoticed = 0
    with tempfile.TemporaryDirectory() as folder:
        copy = copy_tree(Path(folder))
        red = {check: run(check, copy) for check in sorted({way.check for way in ways})}
        for way in ways:
            code, output = red[way.check]
            verdict = f"red before: {last_line(output)}" if code else try_way(way, copy)
            unnoticed += verdict != "noticed"
            print(f"{verdict:<10} {way.what} ({way.check})", flush=True)
    print(f"sabotage: {len(ways) - unnoticed} noticed, {unnoticed} not")
    return 1 if unnoticed or not ways else 0


def try_way(way: Way, copy: Path) -> str:
    """Spoils one file of the copy, runs the check, restores the file; returns ``noticed`` or what went wrong."""
    path = copy / way.file
    text = path.read_text()
    if way.old and text.count(way.old) != 1:
        return f"stale: the text stands {text.count(way.old)} times in {way.file}"
    path.write_text(text.replace(way.old, way.new) if way.old else text + way.new)
    code, output = run(way.check, copy)
    path.write_text(text)
    if code == 0:
        return "NOT NOTICED"
    return "noticed" if re.search(way.says, output) else f"red for another reason: {last_line(output)}"


def run(check: str, copy: Path) -> tuple[int, str]:
    """Runs a check in the copy with the code of the copy; returns its exit code and output."""
    program, *arguments = shlex.split(check)
    environment = os.environ | {"PYTHONPATH": str(copy), "NUMBA_CACHE_DIR": str(copy / ".build" / "numba")}
    command = [str(Path(sys.executable).parent / program), *arguments]
    done = subprocess.run(
        command, cwd=copy, env=environment, capture_output=True, text=True, check=False, timeout=CHECK_S_MAX
    )
    return done.returncode, done.stdout + done.stderr


def copy_tree(folder: Path) -> Path:
    """Copies what git sees of the working tree, committed or not, into a repository of its own."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    copy = folder / "tree"
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, copy / name)
    subprocess.run(["git", "init", "--quiet"], cwd=copy, check=True)
    return copy


def last_line(output: str) -> str:
    """Returns the last line that says something."""
    return next((line for line in reversed(output.splitlines()) if line.strip()), "no output")[:100]


if __name__ == "__main__":
    sys.exit(main())
