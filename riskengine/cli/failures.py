"""Errors as people read them, and the exit code each has.

INVARIANTS: every problem of a configuration is shown, each as ``file:line:column: message``; an error that nobody expected
shows an incident id and where its traceback is, never the traceback; a message always ends in something to do.

`report` is called by `main` alone; commands raise `UsageProblem`.
"""

import os
import secrets
import tempfile
import traceback
from pathlib import Path
from typing import Final

from riskengine.cli.console import err, hint
from riskengine.errors import ConfigError, RiskEngineError

EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2
EXIT_INTERRUPTED: Final = 130


class UsageProblem(RiskEngineError):
    """The command was called in a way that cannot work; the message says what would."""

    reason = "USAGE"


def debugging() -> bool:
    """Tells whether tracebacks are wanted."""
    return os.environ.get("RISKENGINE_DEBUG", "") not in ("", "0")


def report(error: BaseException) -> int:
    """Shows an error on stderr.

    Args:
        error: What ended the command.

    Returns:
        The exit code.
    """
    if isinstance(error, KeyboardInterrupt):
        _say("stopped", style="yellow")
        return EXIT_INTERRUPTED
    if debugging():
        err().print("".join(traceback.format_exception(error)), markup=False, soft_wrap=True)
    if isinstance(error, ConfigError):
        _report_config(error)
        return EXIT_USAGE
    if isinstance(error, RiskEngineError):
        _say(error.message)
        return EXIT_USAGE if isinstance(error, UsageProblem) else EXIT_FAILED
    if isinstance(error, ModuleNotFoundError) and error.name in ("duckdb", "networkx", "xgboost"):
        _say(f"this command needs {error.name}; install it with: pip install 'riskengine[lab]'")
        return EXIT_FAILED
    if isinstance(error, OSError) and error.filename is not None:
        _say(f"{error.filename}: {error.strerror}; check the path and who may read or write it")
        return EXIT_FAILED
    _report_incident(error)
    return EXIT_FAILED


def _report_config(error: ConfigError) -> None:
    count = len(error.problems)
    noun = "problem" if count == 1 else "problems"
    files = {problem.file for problem in error.problems}
    _say(f"{files.pop() if len(files) == 1 else 'the configuration'} has {count} {noun}; nothing was changed")
    for problem in error.problems:
        err().print(f"  {problem}", markup=False, soft_wrap=True)
    err().print("Correct them and run the command again.")


def _report_incident(error: BaseException) -> None:
    incident_id = secrets.token_hex(4)
    folder = Path(tempfile.mkdtemp(prefix="riskengine-incident-"))
    file = folder / f"{incident_id}.txt"
    file.write_text("".join(traceback.format_exception(error)), encoding="utf-8", errors="replace")
    _say(
        f"something went wrong that should not ({type(error).__name__}, incident {incident_id}); "
        f"the traceback is in {file}, please send it along with a bug report"
    )


def _say(message: str, *, style: str = "bold red") -> None:
    from rich.text import Text

    head = "error: " if style == "bold red" else ""
    message = hint(message)
    err().print(Text.assemble((head or message, style), message if head else ""), soft_wrap=True)
