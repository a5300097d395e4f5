"""`features list`: every name that rules, the model and reasons may use."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from riskengine.cli.console import err, out, plural, table
from riskengine.cli.workspace import find_directory
from riskengine.errors import nearest

if TYPE_CHECKING:
    from rich.table import Table

    from riskengine.feature import Feature


def features_list(
    directory: Annotated[
        Path | None, typer.Argument(metavar="DIR", help="The configuration folder. (default: starter or .)")
    ] = None,
    match: Annotated[str, typer.Option(help="Only names that contain this text.")] = "",
) -> None:
    """Lists the features that features.yaml declares, with unit and meaning."""
    folder = find_directory(directory)
    from riskengine.cli.workspace import warm_visibly

    warm_visibly()
    from riskengine.engine.features import compile_features
    from riskengine.settings import load_settings
    from riskengine.yamlfile import load_file

    limits = load_settings(folder / "server.yaml").limits.engine_limits()
    features = compile_features(load_file(folder / "features.yaml"), limits).features
    chosen = [feature for feature in features if match in feature.name]
    if out().is_terminal:
        out().print(_table(chosen))
    else:
        for feature in chosen:
            sys.stdout.write(f"{feature.name}\t{feature.unit}\t{feature.description}\n")  # rich would expand the tabs
    if not chosen:
        near = nearest(match, [feature.name for feature in features])
        err().print(f'no name contains "{match}"{near}; leave --match out to see all', markup=False)
    err().print(f"{len(chosen):,} of {plural(len(features), 'feature')}")  # Not among lines that a program reads.


def _table(features: "list[Feature]") -> "Table":
    shown = table("name", "unit", "meaning")
    shown.columns[0].no_wrap = True
    for feature in features:
        shown.add_row(feature.name, feature.unit, feature.description)
    return shown
