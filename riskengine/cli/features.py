"""`features list`: every name that rules, the model and reasons may use."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from riskengine.cli.console import err, out, plural, safe, table
from riskengine.cli.workspace import find_directory
from riskengine.errors import nearest

if TYPE_CHECKING:
    from rich.table import Table

    from riskengine.feature import Feature


def features_list(
    directory: Annotated[
        Path | None, typer.Argument(metavar="DIR", help="The configuration folder. (default: starter or .)")
    ] = None,
    match: Annotated[
        str, typer.Option(metavar="TEXT", help="Only features whose name or meaning contains this text.")
    ] = "",
    long: Annotated[
        bool,
        typer.Option("--long", help="Tell as well when each is missing, how exact it is, and its definition's hash."),
    ] = False,
    raw: Annotated[bool, typer.Option("--json", help="Print everything as JSON, one object for each feature.")] = False,
) -> None:
    """Lists the features that features.yaml declares, with unit and meaning; for one of them see features explain."""
    folder = find_directory(directory)
    from riskengine.cli.workspace import warm_visibly

    warm_visibly()
    from riskengine.engine.features import compile_features
    from riskengine.settings import load_settings
    from riskengine.yamlfile import load_file

    limits = load_settings(folder / "server.yaml").limits.engine_limits()
    features = compile_features(load_file(folder / "features.yaml"), limits).features
    chosen = [feature for feature in features if match in feature.name or match.lower() in feature.description.lower()]
    if raw:
        sys.stdout.write(json.dumps([feature_json(feature) for feature in chosen], indent=2, ensure_ascii=False) + "\n")
    elif not out().is_terminal:
        for feature in chosen:
            sys.stdout.write("\t".join(_fields(feature, long=long)) + "\n")  # rich would expand the tabs
    elif long:
        for feature in chosen:
            _show_long(feature)
    else:
        out().print(_table(chosen))
    if not chosen:
        near = nearest(match, [feature.name for feature in features])
        err().print(f'no name or meaning contains "{match}"{near}; leave --match out to see all', markup=False)
    err().print(f"{len(chosen):,} of {plural(len(features), 'feature')}")  # Not among lines that a program reads.


def feature_json(feature: "Feature") -> dict[str, Any]:
    """Returns a feature as plain JSON."""
    return {
        "name": feature.name,
        "unit": feature.unit,
        "description": feature.description,
        "boolean": feature.boolean,
        "nulls": feature.nulls,
        "exactness": feature.exactness,
        "definition": feature.definition,
        "definition_hash": feature.definition_hash,
    }


def _fields(feature: "Feature", *, long: bool) -> list[str]:
    """Returns the columns that a program reads; more of them are added behind, never before."""
    more = [feature.nulls, feature.exactness, feature.definition_hash] if long else []
    return [" ".join(text.split()) for text in (feature.name, feature.unit, feature.description, *more)]


def _show_long(feature: "Feature") -> None:
    out().print(f"[bold]{safe(feature.name)}[/bold]  {safe(feature.unit)}  [dim]{feature.definition_hash}[/dim]")
    for text in (feature.description, feature.nulls, feature.exactness):
        out().print(f"  {safe(' '.join(text.split()))}")


def _table(features: "list[Feature]") -> "Table":
    shown = table("name", "unit", "meaning")
    shown.columns[0].no_wrap = True
    for feature in features:
        shown.add_row(feature.name, feature.unit, safe(feature.description))
    return shown
