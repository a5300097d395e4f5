"""`backup` and `restore`: a copy of the data that is proved when it is made, and again when it is needed."""

from pathlib import Path
from typing import Annotated

import typer

from riskengine.cli.console import megabytes, out, step
from riskengine.cli.journal import FOLDER_HELP, data_directory


def backup(
    directory: Annotated[Path | None, typer.Argument(metavar="DIR", help=FOLDER_HELP)] = None,
    to: Annotated[Path | None, typer.Option("--to", metavar="FOLDER", help="A new folder for the backup.")] = None,
) -> None:
    """Copies journal, snapshots, models and decisions, also while the server runs, then reads and folds the copy to prove it.

    What is journaled after the command has read the journal is not in it: the time it prints is how far a restore goes
    back. The tag key is not in it either, so that who has the backup cannot tell who anybody is. Keep it elsewhere:
    without it the data knows nobody.
    """
    from riskengine.cli.workspace import warm_visibly

    data_dir = data_directory(directory)
    target = to if to is not None else Path(f"{data_dir.resolve().name}-backup")
    warm_visibly()
    from riskengine.backup import back_up

    with step(f"Backing up {data_dir} to {target}") as shown:
        made = back_up(data_dir, target, on_progress=lambda title, done, total: shown.update(done, total, title))
        shown.say(megabytes(made.manifest.size_bytes))
    manifest = made.manifest
    out().print(f"Commands {manifest.first_sequence:,} to {manifest.last_sequence:,}; state {manifest.state_digest}.")
    out().print(f"Bring it back with: riskengine restore {target} --to NEW_DATA_FOLDER", markup=False)


def restore(
    source: Annotated[Path, typer.Argument(metavar="FOLDER", help="A backup that riskengine backup made.")],
    to: Annotated[
        Path, typer.Option("--to", metavar="DATA_DIR", help="The data folder to make; data_dir of server.yaml.")
    ],
) -> None:
    """Makes a data folder from a backup: checks every file, copies, folds, and compares the state with the recorded one.

    Start only one server on it. A backup goes on as it was when it was made: two servers on two copies count apart.
    """
    from riskengine.cli.workspace import warm_visibly

    warm_visibly()
    from riskengine.backup import restore as restore_backup

    with step(f"Restoring {source} to {to}") as shown:
        made = restore_backup(source, to, on_progress=lambda title, done, total: shown.update(done, total, title))
        shown.say(f"{made.manifest.last_sequence:,} commands")
    if made.proved:
        out().print(f"The state is the one that was backed up: {made.manifest.state_digest}.")
    else:
        out().print("Every file is as it was; the state was not compared: another version of the program recorded it.")
