"""A command as a test sees it.

Made by the fixture `command`.
"""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Ran:
    """A command that was run: its exit code, what it said on stdout and on stderr."""

    code: int
    out: str
    err: str


Run = Callable[..., Ran]
"""Takes the arguments of a command line, runs it."""
