"""`serve`: the server, in the foreground, saying what it does."""

import time
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from riskengine.cli.console import err, hint, megabytes, out
from riskengine.cli.workspace import COMPILING, find_directory, load_workspace
from riskengine.errors import ConfigError

TOLD_EVERY_S: Final = 2.0
"""Between two lines about the same stage of the same process."""


def serve(
    directory: Annotated[
        Path | None, typer.Argument(metavar="DIR", help="The configuration folder. (default: starter or .)")
    ] = None,
    listen: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Where to listen, in place of server.yaml.")
    ] = None,
    follower: Annotated[
        bool,
        typer.Option(
            help="Whether a second process keeps snapshots and decisions. It needs as much memory as the engine; without "
            "it restarts fold the whole journal, which is kept for ever."
        ),
    ] = True,
    shorter_history: Annotated[
        bool,
        typer.Option(
            "--shorter-history",
            help="Begin with what the journal still holds, where neither it nor a snapshot holds all that windows need.",
        ),
    ] = False,
) -> None:
    """Serves until Ctrl-C or SIGTERM: one engine and its fronts, watched, started again if they fall."""
    folder = find_directory(directory)
    from riskengine.engine.process import configure_logging
    from riskengine.server.supervisor import serve as run

    configure_logging("supervisor")
    stages = Stages()
    try:
        run(
            folder,
            listen=listen,
            on_stage=stages.told,
            on_ready=lambda address, s: _ready(folder, address, s),
            follower=follower,
            shorter_history=shorter_history,
        )
    except ConfigError:
        load_workspace(folder, with_model=False)  # The process told its own file's mistakes; this tells those of all.
        raise
    out().print("stopped; everything acknowledged is in the journal")


class Stages:
    """Turns what the processes tell of themselves into lines, few of each kind."""

    def __init__(self) -> None:
        self._last: dict[tuple[str, str], float] = {}

    def told(self, name: str, stage: dict[str, Any]) -> None:
        """Takes one stage; see `engine.loop` and `server.app` for what there is."""
        words = describe_stage(name, stage)
        now_s = time.monotonic()
        if words and now_s - self._last.get((name, stage["stage"]), -TOLD_EVERY_S) >= TOLD_EVERY_S:
            self._last[name, stage["stage"]] = now_s
            err().print(words, markup=False, soft_wrap=True)


def describe_stage(name: str, stage: dict[str, Any]) -> str:
    """Says a stage in words; "" for one that nobody needs to see."""
    kind, done, total = stage["stage"], stage.get("done"), stage.get("total")
    if kind == "kernels":
        if stage.get("waiting"):
            return f"{name}: another process is compiling kernels; waiting for it"
        return f"{name}: {COMPILING.lower()} ({done} of {total} modules)" if stage.get("compiling") else ""
    if kind == "recovery" and total:
        return f"{name}: folding the journal, {megabytes(done or 0)} of {megabytes(total)}"
    if kind == "restarting":
        return f"{name}: ended with status {stage['status']}, starting again"
    return {
        "configuration": f"{name}: reading the configuration",
        "listening": f"{name}: listening on {stage.get('address')}",
        "serving": f"{name}: serving",
    }.get(kind, "")


def _ready(folder: Path, address: str, after_s: float) -> None:
    out().print(f"[bold green]ready[/bold green] at [bold]{address}[/bold] after {after_s:.1f} s; Ctrl-C stops it")
    out().print(
        hint(
            f"A first decision, from another terminal: riskengine score {folder}/example_payment.json --address {address}"
        ),
        markup=False,
        soft_wrap=True,
    )
