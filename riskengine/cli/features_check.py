"""`features check`: what a data scientist runs before a change of features.yaml goes live.

INVARIANT: it refuses what `policy check` and `serve` refuse, in the same words and with the same exit code, and warns of more.
"""

from typing import TYPE_CHECKING

from riskengine.cli.console import err, out, plural, safe
from riskengine.cli.policy import Directory
from riskengine.cli.workspace import Workspace, find_directory, in_folder, load_workspace
from riskengine.errors import BundleError

if TYPE_CHECKING:
    from riskengine.errors import Problem
    from riskengine.model.bundle import Bundle


def features_check(directory: Directory = None) -> None:
    """Checks features.yaml and all that refers to it; tells every mistake and every oddity with its place.

    Mistakes are refused: a window of more than 90 days, a measure of what is no number, a condition that cannot be, a name
    that stands there twice or that nobody knows, also in policy.yaml and reason_codes.yaml, a model that was trained on
    other features. A feature that nothing uses, a pattern of reasons that matches none, and a window that outlives the
    journal are told as warnings.
    """
    workspace = load_workspace(find_directory(directory), with_model=False)
    bundle, refusal = model_of(workspace)
    warnings = _warnings(workspace, bundle)
    for warning in warnings:
        err().print(f"[yellow]warning:[/yellow] {safe(warning)}", soft_wrap=True)
    if refusal is not None:
        raise refusal
    features = workspace.configuration.features
    model = f"model {bundle.name} asks for {len(bundle.feature_names)} of them" if bundle else "no model is active"
    out().print(
        f"[green]ok[/green] {plural(len(features.features), 'feature')}, {plural(len(features.velocity.profiles), 'curve')} and "
        f"{plural(len(features.relations.relations), 'last-seen table')}; {safe(model)}; {plural(len(warnings), 'warning')}."
    )


def model_of(workspace: Workspace) -> "tuple[Bundle | None, BundleError | None]":
    """Returns the active model of a folder, None where there is none; and why it cannot serve, None where it can."""
    from riskengine.engine.configuration import active_model, bind_model
    from riskengine.model.bundle import load_bundle

    bundle = None
    try:
        path = active_model(workspace.settings.model_dir)
        if path is not None:
            bundle = load_bundle(path)
            bind_model(bundle, workspace.configuration.features)
    except BundleError as error:
        return bundle, error
    return bundle, None


def _warnings(workspace: Workspace, bundle: "Bundle | None") -> "list[Problem]":
    from riskengine.engine.uses import FEATURES, REASONS, unused, uses_of, windows_beyond

    document = workspace.documents[FEATURES]
    found = windows_beyond(document, workspace.settings.retention.journal_days)
    idle = unused(document, uses_of(workspace.configuration, workspace.documents, bundle))
    if bundle is None and idle:
        # A model to come is trained on all of them: one line, not a hundred.
        names = f"nothing uses {plural(len(idle), 'feature')} yet; with an active model each of them would be told here"
        idle = [document.problem(("profiles",), names, at_key=True)]
    found += idle
    found += [each for each in workspace.configuration.policy.compiled.warnings if each.file == REASONS]
    return in_folder(found, workspace.directory)
