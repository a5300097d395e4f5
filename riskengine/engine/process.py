"""What a process of ours says to the supervisor that started it: its stages, why it refuses, how it ended.

A child tells its stages as lines of JSON on stdout, one object each with the key ``stage`` (`engine.loop` and `server.app`
list theirs), its log on stderr. The last words of one that must not start are

    {"stage": "refused", "error": class, "reason": text, "message": text, "problems": [[file, line, column, message], ..]}

and its exit status says of what kind its end was: EXIT_DONE, or

    EXIT_FAULT     a fault on the way: starting it again may help
    EXIT_CONFIG    the configuration cannot be used: `refused` has every problem
    EXIT_REFUSED   anything else that stands in the way of a start: `refused` says what

Two lines may come from two processes at once on one terminal, so every line of a log names its process.

INVARIANTS: a child that writes to nobody goes on; SIGTERM, SIGINT and, supervised, the end of stdin stop it.

Called by `engine.loop`, `server.app`, `server.supervisor` and `cli`.
"""

import argparse
import json
import logging
import os
import resource
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from riskengine.errors import ConfigError, InternalFault, JournalFault, Problem, RiskEngineError, StartRefused

logger = logging.getLogger(__name__)

EXIT_DONE: Final = 0
EXIT_FAULT: Final = 1
EXIT_CONFIG: Final = 2
EXIT_REFUSED: Final = 3
GO: Final = b"go\n"
"""What an engine that stands by is told on stdin, see `engine.standby`: to take over."""

Report = Callable[..., None]
"""Told the name of a stage and, by keyword, its details."""


def configure_logging(name: str, level: int = logging.INFO) -> None:
    """Sends the log of this process to stderr.

    Args:
        name: Of the process, told in every line, e.g. ``engine``.
        level: What is less than this is not told.
    """
    logging.basicConfig(level=level, format=f"%(asctime)s {name} %(levelname)s %(name)s: %(message)s")


def child_parser(module: str, description: str) -> argparse.ArgumentParser:
    """Returns a parser of what every child is given: ``CONFIG_DIR [--settings JSON] [--supervised]``.

    Args:
        module: What ``python -m`` runs.
        description: For its help.
    """
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=description)
    parser.add_argument("config_dir", type=Path, help="the folder of server.yaml")
    parser.add_argument("--settings", metavar="JSON", help="in place of server.yaml, see `riskengine.settings`")
    parser.add_argument("--supervised", action="store_true", help="stop when stdin ends")
    return parser


def run_child(name: str, body: Callable[[], object]) -> int:
    """Runs the work of a child process, logs and tells how it ends.

    Args:
        name: Of the process, for its log.
        body: Returns when it was asked to stop.

    Returns:
        The exit status.
    """
    configure_logging(name)
    raise_descriptor_limit()
    try:
        body()
    except (JournalFault, InternalFault) as fault:
        logger.critical("the %s ends: %s", name, fault.message)
        return EXIT_FAULT
    except RiskEngineError as error:
        report_line("refused", **refusal(error))
        return EXIT_CONFIG if isinstance(error, ConfigError) else EXIT_REFUSED
    return EXIT_DONE


def raise_descriptor_limit() -> int:
    """Lets this process open as many files and connections as the system allows it, and returns that number.

    Shells and service managers start programs with 1,024, which connections from outside could use up; the link to the
    engine and the journal's files need some, too.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (OSError, ValueError):  # A system may refuse what it names as the limit.
            return soft
    return hard


def report_line(stage: str, **details: Any) -> None:
    """Writes one line of JSON to stdout; nobody may be listening any more."""
    try:
        sys.stdout.write(json.dumps({"stage": stage, **details}) + "\n")
        sys.stdout.flush()
    except OSError:
        pass


def refusal(error: RiskEngineError) -> dict[str, Any]:
    """Describes why a process cannot start: the details of the stage ``refused``."""
    problems = [[p.file, p.line, p.column, p.message] for p in error.problems] if isinstance(error, ConfigError) else []
    return {"error": type(error).__name__, "reason": error.reason, "message": error.message, "problems": problems}


def refused(stage: dict[str, Any]) -> ConfigError | StartRefused:
    """Turns the stage ``refused`` of a child into an error of this process.

    Args:
        stage: What `refusal` described.

    Returns:
        A ConfigError with its problems; for every other class a StartRefused with its message and reason.
    """
    if stage["error"] == ConfigError.__name__:
        return ConfigError([Problem(*problem) for problem in stage["problems"]])
    return StartRefused(stage["message"], reason=stage["reason"])


@contextmanager
def stop_signals() -> Iterator[int]:
    """Turns SIGTERM and SIGINT into a descriptor that becomes readable."""
    reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    try:
        yield reader
    finally:
        signal.set_wakeup_fd(-1)
        os.close(reader)
        os.close(writer)
