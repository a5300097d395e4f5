"""`riskengine`: the list of commands, and the one place where an error becomes words and an exit code.

INVARIANTS: exit code 0: done; 2: the configuration or the way of calling is wrong; 1: anything else that failed; 130: Ctrl-C. No
traceback reaches the screen unless RISKENGINE_DEBUG=1 asks for it.

Called by the console script ``riskengine``.
"""

import os
import sys
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Final

import typer

from riskengine.cli import failures
from riskengine.cli.activate import features_activate
from riskengine.cli.backup import backup, restore
from riskengine.cli.computing import features_compute
from riskengine.cli.demo import command as demo
from riskengine.cli.erase import erase
from riskengine.cli.explain import decision_explain
from riskengine.cli.features import features_list
from riskengine.cli.features_check import features_check
from riskengine.cli.features_explain import features_explain
from riskengine.cli.find import decisions_find
from riskengine.cli.history import history_import, history_load
from riskengine.cli.init import init
from riskengine.cli.journal import journal_replay, journal_verify
from riskengine.cli.journal_files import journal_archive, journal_repair
from riskengine.cli.journal_rows import journal_export, journal_inspect
from riskengine.cli.policy import policy_check, policy_test
from riskengine.cli.query import decisions_query
from riskengine.cli.score import score
from riskengine.cli.serve import serve
from riskengine.cli.simulate import simulate
from riskengine.cli.state import state_estimate, state_size
from riskengine.cli.train import train

_OPTIONS: Final[dict[str, Any]] = {
    "no_args_is_help": True,
    "rich_markup_mode": None,  # rich takes 0.3 s to import where help shall take less than 0.5
    "context_settings": {"help_option_names": ["-h", "--help"]},
}
APP: Final = typer.Typer(
    name="riskengine",
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Decides about payments before they are authorised: approve, review or decline, with reasons.",
    epilog="First time? Run: riskengine demo. Your own server: riskengine init starter, then: riskengine serve starter",
    **_OPTIONS,
)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        sys.stdout.write(f"riskengine {version('riskengine')}\n")
        raise typer.Exit


@APP.callback()
def _top(
    _: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Tell the version and exit.")
    ] = False,
) -> None:
    pass


def _add(app: typer.Typer, name: str, function: Callable[..., None], short: str, example: str) -> None:
    """Adds a command: in the list with a few words, its own help ends in an example."""
    app.command(name, short_help=short, epilog=f"Example: {example}")(function)


def _group(name: str, text: str) -> typer.Typer:
    group = typer.Typer(help=text, **_OPTIONS)
    APP.add_typer(group, name=name)
    return group


_add(APP, "demo", demo.demo, "See everything at work, in about two minutes.", "riskengine demo --quick")
_add(APP, "init", init, "Make a folder to serve from.", "riskengine init starter")
_add(APP, "serve", serve, "Start the server.", "riskengine serve starter")
_add(APP, "score", score, "Send one payment, see the decision.", "riskengine score starter/example_payment.json")
_add(
    APP,
    "simulate",
    simulate,
    "Simulate a labelled history.",
    "riskengine simulate history.parquet --people 5000 --days 60",
)
_HISTORY = _group("history", "Bring your own past payments: import, load.")
_add(
    _HISTORY,
    "import",
    history_import,
    "Turn a CSV or Parquet file into a history.",
    "riskengine history import payments.csv --mapping m.yaml --out history.parquet",
)
_add(
    _HISTORY,
    "load",
    history_load,
    "Fold a history into a running engine.",
    "riskengine history load history.parquet --address 127.0.0.1:50051",
)
_add(
    APP,
    "train",
    train,
    "Train a model on a history.",
    "riskengine train history.parquet --config starter --name mine --activate",
)
_add(APP, "erase", erase, "Erase a person from the engine.", "riskengine erase starter --card card-4711")
_POLICY = _group("policy", "Check rules before they go live: check, test.")
_add(_POLICY, "check", policy_check, "Tell every mistake, with its place.", "riskengine policy check starter")
_add(_POLICY, "test", policy_test, "Run the cases of policy_cases/.", "riskengine policy test starter")
_FEATURES = _group("features", "What the engine measures: list, explain, check, compute, activate.")
_add(_FEATURES, "list", features_list, "List all features.", "riskengine features list starter --match card --long")
_add(
    _FEATURES,
    "explain",
    features_explain,
    "One feature on one page.",
    "riskengine features explain card.amount_sum_24h starter",
)
_add(_FEATURES, "check", features_check, "Tell every mistake, what nothing uses.", "riskengine features check starter")
_add(
    _FEATURES,
    "compute",
    features_compute,
    "Compute all of a history, as served.",
    "riskengine features compute --history history.parquet --out features.parquet --config starter",
)
_add(
    _FEATURES,
    "activate",
    features_activate,
    "Let changed files decide in a running server.",
    "riskengine features activate starter",
)
_STATE = _group("state", "What the engine's memory takes: size, estimate.")
_add(_STATE, "size", state_size, "Count it, by entity type.", "riskengine state size starter")
_add(
    _STATE,
    "estimate",
    state_estimate,
    "Expect it, from traffic.",
    "riskengine state estimate starter --events-per-day 2e6 --entities card=1e6:0.7,account=4e5,merchant=2e4",
)
_DECISION = _group("decision", "Ask about one decision: explain.")
_add(
    _DECISION,
    "explain",
    decision_explain,
    "What it was made of; what another policy would say.",
    "riskengine decision explain decisions/63a23edf890c5e8419c7e39db0693689 starter",
)
_add(APP, "backup", backup, "Copy the data and prove the copy.", "riskengine backup starter --to backup-1")
_add(APP, "restore", restore, "Make a data folder from a backup.", "riskengine restore backup-1 --to starter/data")
_DECISIONS = _group("decisions", "Look up what was decided: query, find.")
_add(
    _DECISIONS,
    "query",
    decisions_query,
    "Ask by SQL.",
    'riskengine decisions query "SELECT verdict, count(*) FROM decisions GROUP BY verdict" --config starter',
)
_add(
    _DECISIONS,
    "find",
    decisions_find,
    "Find by card, account, device ...",
    "riskengine decisions find --card card-token-4f0c2a --config starter",
)
_JOURNAL = _group("journal", "Prove what was decided, look into it, keep it.")
_add(_JOURNAL, "verify", journal_verify, "Check every byte of the journal.", "riskengine journal verify starter")
_add(
    _JOURNAL,
    "replay",
    journal_replay,
    "Take every decision again, compare; or ask what if.",
    "riskengine journal replay starter",
)
_add(
    _JOURNAL,
    "inspect",
    journal_inspect,
    "Show what is in it, in clear words.",
    "riskengine journal inspect starter --from 1000 --rows",
)
_add(
    _JOURNAL,
    "export",
    journal_export,
    "Write it to a Parquet or JSON file.",
    "riskengine journal export starter --out decisions.parquet",
)
_add(_JOURNAL, "repair", journal_repair, "Go on after damage, see what is lost.", "riskengine journal repair starter")
_add(
    _JOURNAL,
    "archive",
    journal_archive,
    "Copy its finished files elsewhere.",
    "riskengine journal archive starter --to archive",
)


def _asks_for_help(arguments: Sequence[str]) -> bool:
    before_end = arguments[: arguments.index("--")] if "--" in arguments else arguments
    return any(argument in ("-h", "--help") for argument in before_end)


def _show_help(arguments: Sequence[str]) -> None:
    """Shows the help of the command that is named, without reading options: typer reads them by pydantic, which takes 0.3 s."""
    command: Any = typer.main.get_command(APP)
    context: Any = command.context_class(command, info_name="riskengine", **command.context_settings)
    for argument in arguments:
        found = getattr(command, "commands", {}).get(argument)
        if found is None:
            break
        command, context = found, found.context_class(found, info_name=argument, parent=context)
    sys.stdout.write(command.get_help(context) + "\n")


def run(arguments: Sequence[str]) -> int:
    """Runs one command.

    Args:
        arguments: Without the program's name.

    Returns:
        The exit code.
    """
    # Read by OpenMP when xgboost is loaded. Threads that spin while they wait took 19 s for 120 trees where another process used
    # the machine's two cores; threads that sleep took 2.3 s.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        if _asks_for_help(arguments):
            _show_help(arguments)
            return 0
        APP(list(arguments), prog_name="riskengine")
    except SystemExit as end:
        if end.code == failures.EXIT_INTERRUPTED:  # What typer makes of Ctrl-C, without a word.
            return failures.report(KeyboardInterrupt())
        return end.code if isinstance(end.code, int) else failures.EXIT_FAILED
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 the last line of defence
        return failures.report(error)
    return 0


def main() -> None:
    """The console script."""
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
