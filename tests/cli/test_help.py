"""Help answers at once and teaches by an example."""

import subprocess
import sys

import pytest

COMMANDS = [
    "demo",
    "init",
    "serve",
    "score",
    "simulate",
    "train",
    "erase",
    "backup",
    "restore",
    "history import",
    "history load",
    "policy check",
    "policy test",
    "features activate",
    "features list",
    "features compute",
    "features explain",
    "features check",
    "state size",
    "state estimate",
    "decision explain",
    "decisions query",
    "decisions find",
    "journal verify",
    "journal replay",
    "journal inspect",
    "journal export",
    "journal repair",
    "journal archive",
]
HEAVY = (
    "numba",
    "llvmlite",
    "xgboost",
    "pyarrow",
    "duckdb",
    "grpc",
    "pydantic",
    "numpy",
    "google.protobuf",
    "rich.console",
)
PROBE = f"""
import sys
from riskengine.cli.main import run
for command in sys.argv[1:]:
    print("HELP", command, run([*command.split(), "--help"]), flush=True)
print("LOADED", [name for name in {HEAVY!r} if name in sys.modules])
"""


@pytest.fixture(scope="module")
def said() -> str:
    """What a process says that shows the help of everything, with blanks for line ends."""
    everything = ["", "history", "policy", "features", "state", "decision", "decisions", "journal", *COMMANDS]
    done = subprocess.run([sys.executable, "-c", PROBE, *everything], capture_output=True, text=True, check=True)
    return " ".join(done.stdout.split())


def test_help_imports_nothing_heavy(said: str) -> None:
    """Goal: help within half a second. Method: what takes long to import is not in sys.modules afterwards."""
    assert said.endswith("LOADED []"), said[-200:]


def test_help_of_every_command_ends_in_an_example_of_it(said: str) -> None:
    """Goal: a newcomer can copy a line. Method: look for it in each help, and for exit code 0."""
    missing = [command for command in COMMANDS if f"Example: riskengine {command} " not in said]
    failed = [command for command in COMMANDS if f"HELP {command} 0" not in said]

    assert ([], []) == (missing, failed)


def test_usage_names_its_arguments(said: str) -> None:
    """Goal: usage lines speak to people. Method: no code slipped into one; the one into which it once did."""
    assert "()" not in said
    assert "riskengine simulate [OPTIONS] {OUT} " in said


def test_every_command_is_in_the_list_of_this_test() -> None:
    """Goal: a new command is not forgotten here. Method: walk the tree of commands."""
    import typer

    from riskengine.cli.main import APP

    found = []
    tree = typer.main.get_command(APP)
    for name, each in tree.commands.items():  # type: ignore[attr-defined]
        found += [f"{name} {inner}" for inner in each.commands] if hasattr(each, "commands") else [name]

    assert sorted(COMMANDS) == sorted(found)
