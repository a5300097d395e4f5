"""`riskengine`: the list of commands, and the one place where an error becomes words and an exit code.

INVARIANTS: exit code 0: done; 2: the configuration or the way of calling is wrong; 1: anything else that failed; 130: Ctrl-C. No
traceback reaches the screen unless RISKENGINE_DEBUG=1 asks for it.

Called by the console script ``riskengine``.
"""

import sys
from collections.abc import Callable, Sequence
from typing import Any, Final

import typer

from riskengine.cli import failures
from riskengine.cli.demo import command as demo
from riskengine.cli.features import features_list
from riskengine.cli.history import history_import, history_load
from riskengine.cli.init import init
from riskengine.cli.journal import journal_replay, journal_verify
from riskengine.cli.policy import policy_check, policy_test
from riskengine.cli.score import score
from riskengine.cli.serve import serve
from riskengine.cli.simulate import simulate
from riskengine.cli.train import train

_OPTIONS: Final[dict[str, Any]] = {
    "no_args_is_help": True,
    "rich_markup_mode": "rich",
    "context_settings": {"help_option_names": ["-h", "--help"]},
}
_START: Final = "Start here"
_MODELS: Final = "Histories and models"
_PROVE: Final = "Check and prove"
APP: Final = typer.Typer(
    name="riskengine",
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Decides about payments before they are authorised: approve, review or decline, with reasons.",
    epilog="First time? Run: riskengine demo. Your own server: riskengine init starter, then: riskengine serve starter",
    **_OPTIONS,
)


def _add(app: typer.Typer, name: str, function: Callable[..., None], example: str, panel: str | None = None) -> None:
    """Adds a command whose help ends in an example."""
    app.command(name, epilog=f"Example: {example}", rich_help_panel=panel)(function)


def _group(name: str, text: str, panel: str) -> typer.Typer:
    group = typer.Typer(help=text, **_OPTIONS)
    APP.add_typer(group, name=name, rich_help_panel=panel)
    return group


_add(APP, "demo", demo.demo, "riskengine demo --quick", _START)
_add(APP, "init", init, "riskengine init starter", _START)
_add(APP, "serve", serve, "riskengine serve starter", _START)
_add(APP, "score", score, "riskengine score starter/example_payment.json", _START)

_add(APP, "simulate", simulate, "riskengine simulate history.parquet --people 5000 --days 60", _MODELS)
_HISTORY = _group("history", "Bring your own past payments.", _MODELS)
_add(_HISTORY, "import", history_import, "riskengine history import payments.csv --mapping m.yaml --out history.parquet")
_add(_HISTORY, "load", history_load, "riskengine history load history.parquet --address 127.0.0.1:50051")
_add(APP, "train", train, "riskengine train history.parquet --config starter --name mine --activate", _MODELS)

_POLICY = _group("policy", "Check the analysts' rules before they go live.", _PROVE)
_add(_POLICY, "check", policy_check, "riskengine policy check starter")
_add(_POLICY, "test", policy_test, "riskengine policy test starter")
_FEATURES = _group("features", "What the engine measures.", _PROVE)
_add(_FEATURES, "list", features_list, "riskengine features list starter --match card")
_JOURNAL = _group("journal", "Prove what was decided.", _PROVE)
_add(_JOURNAL, "verify", journal_verify, "riskengine journal verify starter")
_add(_JOURNAL, "replay", journal_replay, "riskengine journal replay starter")


def run(arguments: Sequence[str]) -> int:
    """Runs one command.

    Args:
        arguments: Without the program's name.

    Returns:
        The exit code.
    """
    try:
        APP(list(arguments), prog_name="riskengine")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else failures.EXIT_FAILED
    except (Exception, KeyboardInterrupt) as error:
        return failures.report(error)
    return 0


def main() -> None:
    """The console script."""
    sys.exit(run(sys.argv[1:]))
