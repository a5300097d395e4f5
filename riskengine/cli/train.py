"""`train`: a model from a history, by the features that serve."""

import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from riskengine.cli.console import Step, hint, out, plural, step, table
from riskengine.cli.failures import UsageProblem
from riskengine.cli.workspace import Workspace, find_directory, load_workspace

if TYPE_CHECKING:
    from riskengine.lab.booster import FitSettings
    from riskengine.lab.train import TrainedModel

NAME: Final = "[a-z0-9][a-z0-9._-]{0,62}"
"""Of a model, as `model.bundle` has it; a test holds the two together."""


def train(
    history: Annotated[Path, typer.Argument(metavar="HISTORY", help="A history, .parquet or .csv.")],
    config: Annotated[
        Path | None, typer.Option("--config", metavar="DIR", help="The configuration folder. (default: starter or .)")
    ] = None,
    name: Annotated[str, typer.Option(help="Name of the model: small letters, digits and dashes.")] = "mine",
    activate: Annotated[
        bool, typer.Option("--activate", help="Serve it from the next start. (live or shadow: policy.yaml)")
    ] = False,
    rounds: Annotated[int, typer.Option(min=1, max=2000, help="Trees.")] = 300,
    label_delay_days: Annotated[
        float, typer.Option(min=0, max=365, help="Days until a fraud is usually known; the gap before the test.")
    ] = 7.0,
    replace: Annotated[bool, typer.Option("--replace", help="Replace a model of that name.")] = False,
) -> None:
    """Trains a fraud model on a history, split by time, calibrated, and judged on its newest part."""
    if not history.is_file():
        raise UsageProblem(f"{history}: no such file; make one with: riskengine history import, or riskengine simulate")
    if re.fullmatch(NAME, name) is None:
        raise UsageProblem(f"--name {name}: must have 1 to 63 small letters, digits, dots, dashes or underscores")
    workspace = load_workspace(find_directory(config), with_model=False)
    if (workspace.settings.model_dir / name).exists() and not replace:
        raise UsageProblem(f"there is a model {name} already; choose another --name, or say --replace")
    trained = train_visibly(
        history,
        workspace,
        name=name,
        rounds=rounds,
        label_delay_days=label_delay_days,
        created_time_us=time.time_ns() // 1000,
        activate=activate,
        replace=replace,
    )
    show_report(trained.report)
    if trained.problem_count:
        out().print(f"{plural(trained.problem_count, 'row')} could not be an event and was left out.")
    out().print(f"{trained.path}, revision {trained.revision}", markup=False, soft_wrap=True)
    _tell_next(workspace, name, activated=activate)


def train_visibly(
    history: Path,
    workspace: Workspace,
    *,
    name: str,
    rounds: int,
    label_delay_days: float,
    created_time_us: int,
    activate: bool,
    replace: bool = False,
    settings: "FitSettings | None" = None,
) -> "TrainedModel":
    """Trains with a bar, and makes the model the one to serve if wanted; arguments as of `lab.train.train_model`."""
    from riskengine.lab.train import activate_model, train_model
    from riskengine.types import US_PER_DAY

    with step(f'Training model "{name}"') as shown:
        trained = train_model(
            history,
            workspace.configuration,
            workspace.packer(),
            name=name,
            model_dir=workspace.settings.model_dir,
            created_time_us=created_time_us,
            rounds=rounds,
            label_delay_us=int(label_delay_days * US_PER_DAY),
            settings=settings,
            replace=replace,
            on_progress=lambda what, done, total: _progress(shown, what, done, total),
        )
        if activate:
            activate_model(workspace.settings.model_dir, name)
        quality = trained.report["figures"]["test"].get("average_precision")
        told = f", average precision {quality:.2f} on its newest days" if quality is not None else ""
        shown.say(f"{plural(trained.row_count, 'event')}, {plural(rounds, 'tree')}{told}")
    return trained


def _progress(shown: Step, what: str, done: int, total: int) -> None:
    shown.update(done, total, what)


def show_report(report: dict[str, Any]) -> None:
    """Shows what a training report says, for people."""
    parts = table("part", "events", "frauds", "days", right=3)
    for name in ("train", "gap", "calibration", "test"):
        part = report["parts"][name]
        days = "" if part["first_day"] is None else f"{part['first_day']:.0f} to {part['last_day']:.0f}"
        parts.add_row(name, f"{part['rows']:,}", f"{part['frauds']:,}", days)
    out().print(parts)
    figures = report["figures"]["test"]
    told = [
        (key.replace("_", " "), value) for key, value in figures.items() if key in ("auc", "average_precision", "brier")
    ]
    out().print("On the test part: " + ", ".join(f"{key} {value:.4f}" for key, value in told if value is not None))
    top = report["features"]["top"][:5]
    out().print(
        "It looks most at: " + ", ".join(f"{each['name']} ({each['share']:.0%})" for each in top), soft_wrap=True
    )


def _tell_next(workspace: Workspace, name: str, *, activated: bool) -> None:
    folder = workspace.directory
    mode = workspace.configuration.policy.compiled.model_mode
    if not activated:
        out().print(
            f"Not served yet; write {name} into {workspace.settings.model_dir / 'active'}, or train with --activate.",
            markup=False,
            soft_wrap=True,
        )
        return
    out().print(hint(f"It serves from the next start: riskengine serve {folder}"), markup=False, soft_wrap=True)
    if mode != "live":
        out().print(
            f"Its mode is {mode}: it is told and decides nothing. Set model.mode to live in {folder}/policy.yaml.",
            markup=False,
            soft_wrap=True,
        )
