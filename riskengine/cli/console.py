"""What all commands show with: the two consoles, steps that take time, amounts and counts in words.

INVARIANTS: results go to stdout, progress and errors to stderr; where that is no terminal, a step is one plain line when it
begins and one when it is done, without control codes; nothing waits silently for more than two seconds.

Used by every command.
"""

import re
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID
    from rich.table import Table


@cache
def out() -> "Console":
    """Returns the console of results. Made when first asked for: rich takes 0.2 s to import, and help needs none of it."""
    from rich.console import Console

    return Console(highlight=False, emoji=False, soft_wrap=not sys.stdout.isatty())


@cache
def err() -> "Console":
    """Returns the console of progress, warnings and errors."""
    from rich.console import Console

    return Console(highlight=False, emoji=False, stderr=True, soft_wrap=not sys.stderr.isatty())


class Step:
    """A piece of work under way; made by `step`."""

    def __init__(self, title: str, progress: "Progress | None", task: "TaskID | None", *, passing: bool) -> None:
        self.title = title
        self.result = ""
        self.passing = passing
        self._progress = progress
        self._task = task

    def update(self, done: float, total: float | None, what: str = "") -> None:
        """Tells how far it is.

        Args:
            done: Units done.
            total: Units in all; None where nobody knows.
            what: What is being done, in a few words.
        """
        if self._progress is not None and self._task is not None:
            title = f"{self.title}: {what}" if what else self.title
            self._progress.update(self._task, completed=done, total=total, description=title)

    def becomes(self, title: str) -> None:
        """Turns a passing step into one that is told, under another title."""
        self.title, self.passing = title, False
        if self._progress is None:
            err().print(f"{title} ...", markup=False, soft_wrap=True)

    def say(self, result: str) -> None:
        """Sets what is told beside the title when it is done."""
        self.result = result


@contextmanager
def step(title: str, *, passing: bool = False) -> Iterator[Step]:
    """Shows a piece of work: a bar while it runs, one line when it is done.

    Args:
        title: What is done, as a sentence without its end.
        passing: Whether it is seen only while it lasts.
    """
    console = err()
    started_s = time.monotonic()
    if console.is_terminal:
        from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn

        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TaskProgressColumn(),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=console, transient=True) as progress:
            current = Step(title, progress, progress.add_task(title, total=None), passing=passing)
            yield current
    else:
        if not passing:
            console.print(f"{title} ...", markup=False, soft_wrap=True)
        current = Step(title, None, None, passing=passing)
        yield current
    if not current.passing:
        _done(console, current, time.monotonic() - started_s)


def _done(console: "Console", done: Step, elapsed_s: float) -> None:
    from rich.text import Text

    line = Text.assemble(("ok ", "green"), done.title if console.is_terminal else "")
    if done.result:
        line.append(f"{': ' if console.is_terminal else ''}{done.result}")
    line.append(f" ({elapsed_s:.1f} s)" if console.is_terminal or done.result else f"{elapsed_s:.1f} s", "dim")
    console.print(line, soft_wrap=not console.is_terminal)


def safe(text: object) -> str:
    """Returns text in which nothing is taken for markup."""
    from rich.markup import escape

    return escape(str(text))


def table(*columns: str, right: int = 0) -> "Table":
    """Makes a plain table.

    Args:
        columns: Their heads.
        right: So many of the last ones hold numbers.
    """
    from rich.table import Table

    made = Table(*columns, box=None, pad_edge=False)
    for column in made.columns[len(columns) - right :]:
        column.justify = "right"
    return made


_COMMAND: Final = re.compile(
    r"\briskengine (?=(?:demo|init|serve|score|simulate|train|history|policy|features|state|journal)\b)"
)


@cache
def program() -> str:
    """Returns how this program was called, so that a line that is shown can be copied: ``.venv/bin/riskengine``."""
    called = Path(sys.argv[0])
    if called.parts[-2:] == ("riskengine", "__main__.py"):
        return "python -m riskengine"
    on_path = shutil.which("riskengine")
    if called.name != "riskengine" or (on_path and Path(on_path).resolve() == called.resolve()):
        return "riskengine"
    return str(called)


def hint(text: str) -> str:
    """Returns text in which commands begin with the program as it was called."""
    return _COMMAND.sub(lambda _: f"{program()} ", text)


def utc(time_us: int) -> str:
    """Returns a time, microseconds since the epoch, for people; also one that no calendar has."""
    try:
        return datetime.fromtimestamp(time_us / 1e6, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (ValueError, OverflowError, OSError):
        return f"{time_us:,} microseconds after 1970, which is no date"


def plural(count: int, noun: str, plural_noun: str = "") -> str:
    """Returns a count with its noun, e.g. ``1 row``, ``2,000 rows``."""
    return f"{count:,} {noun if count == 1 else plural_noun or noun + 's'}"


def megabytes(count: int) -> str:
    """Returns a number of bytes in words."""
    return f"{count / 1e6:,.1f} MB" if count >= 100_000 else f"{count / 1e3:,.1f} kB"
