"""`features compute`: what the engine would have known at every event of a history, as a file."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from riskengine.cli.console import megabytes, out, plural, step
from riskengine.cli.failures import UsageProblem
from riskengine.cli.workspace import find_directory, load_workspace

if TYPE_CHECKING:
    from riskengine.lab.compute import Computed

PROCESSES_MAX = 256


def features_compute(
    history: Annotated[Path, typer.Option("--history", metavar="H.parquet", help="A history, .parquet or .csv.")],
    target: Annotated[Path, typer.Option("--out", metavar="F.parquet", help="The file to write.")],
    config: Annotated[
        Path | None, typer.Option("--config", metavar="DIR", help="The configuration folder. (default: starter or .)")
    ] = None,
    processes: Annotated[
        int | None,
        typer.Option(min=1, max=PROCESSES_MAX, help="How many compute at once. (default: one for each core)"),
    ] = None,
    keep: Annotated[
        list[str] | None,
        typer.Option(
            "--keep", metavar="COLUMN", help="A further column of the history to carry over; may be repeated."
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it exists.")] = False,
) -> None:
    """Computes all features of a history, to the bit as the engine serves them, into a Parquet file.

    A row for each event, in order: transaction_id, event_time, type, fraud, fraud_label_time and fraud_scenario of the
    history, what --keep adds, then approximate (whether some answers are estimates) and every feature by its name, null where it
    is missing. A fraud label counts from when it became known, as in serving. Unit, meaning and the hash of the definition are
    in each column's metadata.
    """
    if target.suffix != ".parquet":
        raise UsageProblem(f"{target}: the file of features ends in .parquet, for example --out features.parquet")
    if not target.parent.is_dir():
        raise UsageProblem(f"{target.parent}: no such folder; make it, or name a file elsewhere")
    if target.exists() and not force:
        raise UsageProblem(f"{target} exists; name another file, or say --force to replace it")
    if target.exists() and history.exists() and target.samefile(history):
        raise UsageProblem(f"{target} is the history itself; name another file")
    from riskengine.lab.history import open_history

    reader = open_history(history)
    workspace = load_workspace(find_directory(config), with_model=False)
    from riskengine.lab.compute import compute_file

    count = processes or len(os.sched_getaffinity(0))
    with step(f"Computing features of {history}") as shown:
        computed = compute_file(
            reader,
            target,
            workspace.configuration,
            workspace.settings,
            workspace.key,
            processes=count,
            keep=keep or (),
            on_progress=shown.update,
        )
        shown.say(f"{plural(computed.row_count, 'event')}, {plural(computed.feature_count, 'feature')}")
    show_computed(computed, target)


def show_computed(computed: "Computed", target: Path) -> None:
    """Shows what was computed."""
    if computed.problem_count:
        out().print(f"{plural(computed.problem_count, 'row')} could not be an event and was left out.")
    if computed.repeated_count:
        told = plural(computed.repeated_count, "row")
        out().print(f"{told} repeated a recent transaction_id and was left out: the engine counts such a one once.")
    if computed.together:
        out().print(
            "One process folded everything: limits.arena_mib is too small for this history, in serving as well.",
            soft_wrap=True,
        )
    out().print(
        f"{target}: {plural(computed.row_count, 'row')}, {megabytes(target.stat().st_size)}.",
        markup=False,
        soft_wrap=True,
    )
