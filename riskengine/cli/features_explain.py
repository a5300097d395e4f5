"""`features explain`: one feature on one page: what it means, how true it is, where it comes from, who asks for it."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from riskengine.cli.console import err, out, safe
from riskengine.cli.failures import UsageProblem
from riskengine.cli.features import feature_json
from riskengine.cli.features_check import model_of
from riskengine.cli.workspace import Workspace, find_directory, load_workspace
from riskengine.errors import nearest

if TYPE_CHECKING:
    from riskengine.engine.features import FeatureSet
    from riskengine.engine.uses import Use
    from riskengine.yamlfile import Document, KeyPath

_NEAREST_MAX = 3


def features_explain(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A feature, such as card.amount_sum_24h.")],
    directory: Annotated[
        Path | None, typer.Argument(metavar="DIR", help="The configuration folder. (default: starter or .)")
    ] = None,
    raw: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> None:
    """Explains one feature: meaning, when it is missing, how exact it is, its definition, what uses it, what it costs."""
    workspace = load_workspace(find_directory(directory), with_model=False)
    told = _told(workspace, name)
    if raw:
        sys.stdout.write(json.dumps(told, indent=2, ensure_ascii=False) + "\n")
    else:
        _show(told)


def _told(workspace: Workspace, name: str) -> dict[str, Any]:
    """Returns everything about a feature as plain JSON.

    Raises:
        UsageProblem: No feature has that name.
    """
    from riskengine.engine.configuration import columns_of
    from riskengine.engine.uses import FEATURES, declared_at, place_of, uses_of

    configuration, document = workspace.configuration, workspace.documents[FEATURES]
    features = {feature.name: feature for feature in columns_of(configuration)}
    if name not in features:
        raise UsageProblem(_unknown(name, list(features)))
    bundle, refusal = model_of(workspace)
    if refusal is not None:
        err().print(f"[yellow]warning:[/yellow] {safe(refusal.message)}", soft_wrap=True)
    path = declared_at(document, name)
    asking = uses_of(configuration, workspace.documents, bundle)[name]
    return {
        **feature_json(features[name]),
        "declared": _placed(workspace, place_of(document, path)) if path else None,
        "reads": _reads(document, path),
        "memory": _memory(configuration.features, name, path),
        "uses": [_use_json(workspace, use) for use in asking],
        "model_reason": _model_reason(workspace, name),
    }


def _model_reason(workspace: Workspace, name: str) -> str | None:
    """Returns the code under which the model's reasons tell of a feature; None for what they cannot speak of."""
    compiled = workspace.configuration.policy.compiled
    index = compiled.reason_of_features()[workspace.configuration.columns.index(name)]
    return list(compiled.reasons.reasons)[index] if index >= 0 else None


def _unknown(name: str, names: list[str]) -> str:
    from difflib import get_close_matches

    near = get_close_matches(name.lower(), names, n=_NEAREST_MAX, cutoff=0.5)
    if not near:
        return f'no feature is named "{name[:64]}"{nearest(name, names)}; see: riskengine features list'
    return f'no feature is named "{name[:64]}"; the nearest are {", ".join(near)}'


def _placed(workspace: Workspace, place: str) -> str:
    return str(workspace.directory / place) if place else ""


def _use_json(workspace: Workspace, use: "Use") -> dict[str, str]:
    place = _placed(workspace, use.place)
    return {"kind": use.kind, "name": use.name, "detail": use.detail, "place": place}


def _reads(document: "Document", path: "KeyPath | None") -> dict[str, Any]:
    """Returns what is declared of the measure or the members that a feature reads, and its own window."""
    if path is None or path[0] != "profiles" or len(path) < 4:
        return {}
    holder: Any = document.data
    for part in path[:4]:
        holder = holder[part]
    own = _value(document, path) if isinstance(path[-1], int) else None
    if path[2] == "measures":
        return {"measure": f"{path[1]}.{path[3]}", **holder, **({"window": own} if own else {})}
    if path[2] == "distinct":
        return {"members": path[3], "windows": holder, "window": own}
    return {"members": own}


def _value(document: "Document", path: "KeyPath") -> Any:
    found: Any = document.data
    for part in path:
        found = found[part]
    return found


def _memory(features: "FeatureSet", name: str, path: "KeyPath | None") -> str:
    """Says what is kept for it. Windows of one profile share its rows, and those of one table its members."""
    from riskengine.engine.sizes import HEAD_BYTES, MEMBER_BYTES, NODE_BYTES, curve_layout, table_caps

    entity = name.partition(".")[0]
    if path is not None and path[0] == "linkage":
        return f"{NODE_BYTES} bytes for each linked entity, and the last-seen tables of its links"
    if path is None or path[0] != "profiles":
        return "nothing is kept for it"
    if path[2] == "measures":
        row_bytes, rows_max = curve_layout(features, entity)
        return (
            f"{row_bytes} bytes for each row of the {entity}'s curve, at most {rows_max:,} rows; all measures and windows of the "
            "profile share them"
        )
    if path[2] in ("distinct", "new"):
        member = str(path[3]) if path[2] == "distinct" else name.partition(".new_")[2]
        cap = table_caps(features, entity)[member]
        return f"{MEMBER_BYTES} bytes for each {member} of the {entity}'s last-seen table, at most {cap:,}"
    return f"{HEAD_BYTES} bytes in the {entity}'s head"


def _show(told: dict[str, Any]) -> None:
    out().print(f"[bold]{safe(told['name'])}[/bold]  [dim]{told['definition_hash']}[/dim]")
    out().print(f"  {safe(' '.join(told['description'].split()))}\n")
    reads = [f"{key}: {_in_words(value)}" for key, value in told["reads"].items()]
    rows = [
        ("unit", [told["unit"]]),
        ("null policy", [told["nulls"]]),
        ("exactness", [told["exactness"]]),
        ("declared", [told["declared"] or "by the engine, not in features.yaml"]),
        ("reads", reads),
        ("memory", [told["memory"]]),
        ("definition", [told["definition"]] if told["definition"] else []),
        ("model says", [told["model_reason"]] if told["model_reason"] else []),
        ("used by", [_use_words(use) for use in told["uses"]] or ["nothing"]),
    ]
    from rich.table import Table
    from rich.text import Text

    shown = Table(box=None, pad_edge=False, show_header=False)
    shown.add_column(style="dim", no_wrap=True)
    shown.add_column(overflow="fold")
    for head, lines in rows:
        for index, line in enumerate(lines):
            shown.add_row("" if index else head, Text(" ".join(line.split())))
    out().print(shown)


def _use_words(use: dict[str, str]) -> str:
    detail = f" ({use['detail']})" if use["detail"] else ""
    place = f", {use['place']}" if use["place"] else ""
    return f"{use['kind']} {use['name']}{detail}{place}"


def _in_words(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "yes" if value is True else str(value)
