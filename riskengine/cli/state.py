"""`state size` and `state estimate`: what the engine's memory takes, by entity type: now, and before there is any.

INVARIANT: nothing is written; a running server is not disturbed, but `state size` holds a second state while it counts.
"""

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from riskengine.cli.console import err, megabytes, out, plural, safe, step, table
from riskengine.cli.failures import UsageProblem
from riskengine.cli.journal import FOLDER_HELP, data_directory
from riskengine.cli.workspace import find_directory
from riskengine.errors import nearest

if TYPE_CHECKING:
    from riskengine.engine.estimate import Population, StateEstimate, TypeEstimate
    from riskengine.engine.sizes import StateSizes, TypeSizes
    from riskengine.limits import EngineLimits

_DAYS_MAX = 3_650
_COUNT_MAX = 10**10


def state_size(
    directory: Annotated[Path | None, typer.Argument(metavar="DIR", help=FOLDER_HELP)] = None,
    raw: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> None:
    """Counts what the engine remembers, by entity type, and what it takes. Changes nothing; the server may be running.

    The state is made from the newest snapshot and the journal behind it, in the memory of this command: as much as the
    engine's own.
    """
    from riskengine.cli.workspace import warm_visibly

    data_dir = data_directory(directory)
    warm_visibly()
    from riskengine.engine.rebuild import state_now
    from riskengine.engine.sizes import measure_state

    with step(f"Making the state of {data_dir}") as shown:
        rebuilt = state_now(data_dir, on_progress=shown.update)
        shown.say(f"sequence {rebuilt.state.sequence:,}")
    sizes = measure_state(rebuilt.state, rebuilt.configuration.features)
    if raw:
        sys.stdout.write(json.dumps(size_json(sizes, rebuilt.state.sequence), indent=2) + "\n")
    else:
        _show_sizes(sizes)


def size_json(sizes: "StateSizes", sequence: int) -> dict[str, Any]:
    """Returns sizes as plain JSON."""
    return {
        "sequence": sequence,
        **asdict(sizes),
        "types": [{**asdict(each), "total_bytes": each.total_bytes} for each in sizes.types],
        "free_slabs": [{"slab_bytes": each, "count": count} for each, count in sizes.free_slabs],
        "total_bytes": sizes.total_bytes,
    }


def _show_sizes(sizes: "StateSizes") -> None:
    for counts, sums in ((("live",), _BYTES), (_COUNTS, ())):
        heads = ("entity", *(_HEADS[name] for name in (*counts, *sums)))
        rows = [(each.entity, *_cells([each], counts, sums)) for each in sizes.types]
        _table(heads, [*rows, ("all", *_cells(sizes.types, counts, sums))])
        out().print()
    limit = max((each.live_max for each in sizes.types), default=0)
    free = ", ".join(f"{count:,} of {each:,} B" for each, count in sizes.free_slabs)
    untouched = sizes.arena_bytes - sizes.arena_used_bytes - sizes.arena_free_bytes
    for line in (
        f"At most {limit:,} entities of a type. Idle, cold: forgotten for that. Thin, full: have a thinned curve, a full table.",
        f"Arena {megabytes(sizes.arena_bytes)}: {megabytes(sizes.arena_used_bytes)} used, "
        f"{megabytes(sizes.arena_free_bytes)} free in slabs{f' ({free})' if free else ''}, {megabytes(untouched)} untouched.",
        f"Linkage: {plural(sizes.nodes, 'node')}, {megabytes(sizes.node_bytes)}; {plural(sizes.nodes_refused, 'link')} refused.",
        f"Recent decisions, reserved: {megabytes(sizes.recent_bytes)}.",
        f"{plural(sizes.late_dropped, 'event')} came too late to be folded; {plural(sizes.thinnings, 'thinning')}; "
        f"{plural(sizes.arena_refused, 'slab')} refused.",
        f"In all: {megabytes(sizes.total_bytes)}.",
    ):
        out().print(line, markup=False)


def _cells(types: "Sequence[TypeSizes | TypeEstimate]", counts: Sequence[str], sums: Sequence[str]) -> list[Any]:
    """Returns the sums over entity types of attributes: counts as text, bytes as numbers."""
    added = [sum(getattr(each, name) for each in types) for name in (*counts, *sums)]
    return [*(f"{each:,}" for each in added[: len(counts)]), *added[len(counts) :]]


_BYTES = ("head_bytes", "slot_bytes", "curve_bytes", "register_bytes", "table_bytes", "total_bytes")
_COUNTS = ("curve_rows", "members", "evicted_idle", "evicted_cold", "thinned", "tables_full")
_HEADS = {
    "live": "live",
    "head_bytes": "heads",
    "slot_bytes": "slots",
    "curve_bytes": "curves",
    "register_bytes": "registers",
    "table_bytes": "tables",
    "total_bytes": "total",
    "curve_rows": "rows",
    "members": "members",
    "evicted_idle": "idle",
    "evicted_cold": "cold",
    "thinned": "thin",
    "tables_full": "full",
}


def state_estimate(
    directory: Annotated[
        Path | None, typer.Argument(metavar="DIR", help="The configuration folder. (default: starter or .)")
    ] = None,
    events_per_day: Annotated[
        float | None, typer.Option(metavar="N", min=1, max=_COUNT_MAX, help="Calls of all kinds in a day.")
    ] = None,
    entities: Annotated[
        str,
        typer.Option(
            metavar="NAME=COUNT[:SHARE],...",
            help="Different entities within the time for which an idle one is kept (30 days, or the longest window), "
            "and the share of events that name one: card=1e6:0.7,account=4e5. Without a share: all events.",
        ),
    ] = "",
    days: Annotated[
        float, typer.Option(metavar="N", min=1, max=_DAYS_MAX, help="For how long the traffic has lasted, days.")
    ] = 90,
    raw: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> None:
    """Estimates the engine's memory for a configuration from the traffic that is expected, and warns of limits it exceeds.

    The constants behind it are those of the simulator's world; `state size` tells the truth afterwards.
    """
    folder = find_directory(directory)
    from riskengine.cli.workspace import warm_visibly

    warm_visibly()
    from riskengine.engine.estimate import Traffic, estimate, kept_entities
    from riskengine.engine.features import compile_features
    from riskengine.settings import load_settings
    from riskengine.yamlfile import load_file

    limits = load_settings(folder / "server.yaml").limits.engine_limits()
    features = compile_features(load_file(folder / "features.yaml"), limits)
    kept = kept_entities(features)
    if not events_per_day or not entities:
        raise UsageProblem(f"name --events-per-day and --entities; this configuration keeps {', '.join(kept)}")
    traffic = Traffic(events_per_day, days, _populations(entities, kept))
    found = estimate(features, limits, traffic)
    warnings = estimate_warnings(found, limits)
    if raw:
        sys.stdout.write(json.dumps(_estimate_json(found, warnings), indent=2) + "\n")
    else:
        _show_estimate(found)
    for warning in warnings:
        err().print(f"[yellow]warning:[/yellow] {safe(warning)}", soft_wrap=True)


def _populations(text: str, kept: list[str]) -> "dict[str, Population]":
    """Reads ``card=1e6:0.7,account=4e5``.

    Raises:
        UsageProblem: It is not such a list, or names a type that the configuration does not keep.
    """
    from riskengine.engine.estimate import Population

    found: dict[str, Population] = {}
    for part in text.split(","):
        name, _, told = (each.strip() for each in part.partition("="))
        count, _, share = told.partition(":")
        if name not in kept:
            raise UsageProblem(
                f'--entities: "{name[:64]}" is not kept{nearest(name, kept)}; this configuration keeps {", ".join(kept)}'
            )
        try:
            population = Population(round(float(count)), float(share) if share else 1.0)
        except (ValueError, OverflowError):
            population = Population(0)
        if name in found or not 1 <= population.count <= _COUNT_MAX or not 0 < population.share <= 1:
            raise UsageProblem(
                f"--entities: {name} must be told once, as a count from 1 and, if you like, a share above 0 to 1: {name}=1e6:0.7"
            )
        found[name] = population
    return found


def estimate_warnings(found: "StateEstimate", limits: "EngineLimits") -> list[str]:
    """Says which limits of server.yaml an estimate exceeds, and what is not in it."""
    told = []
    crowded = [each for each in found.types if each.count > limits.entities_max]
    if crowded:
        names = ", ".join(f"{each.entity} {each.count:,}" for each in crowded)
        most = max(each.count for each in crowded)
        told.append(
            f"limits.entities_max is {limits.entities_max:,}, fewer than will be there ({names}): the coldest will be forgotten; "
            f"set it to {most} in server.yaml"
        )
    arena_mib = -(-found.arena_bytes // (1 << 20))
    if arena_mib > limits.arena_mib:
        told.append(
            f"limits.arena_mib is {limits.arena_mib:,}, but curves and tables will take {arena_mib:,}: entities will lose their "
            f"oldest rows; set it to {arena_mib + arena_mib // 4} in server.yaml"
        )
    if found.left_out:
        told.append(
            f"not in it, as --entities does not name them: {', '.join(found.left_out)}, and the tables of others on them"
        )
    return told


def _estimate_json(found: "StateEstimate", warnings: list[str]) -> dict[str, Any]:
    return {
        **asdict(found),
        "types": [{**asdict(each), "total_bytes": each.total_bytes} for each in found.types],
        "arena_bytes": found.arena_bytes,
        "total_bytes": found.total_bytes,
        "warnings": warnings,
    }


def _show_estimate(found: "StateEstimate") -> None:
    rows = [(each.entity, f"{each.events_each:,.1f}", *_cells([each], ("count",), _BYTES)) for each in found.types]
    _table(
        ("entity", "events", "entities", *(_HEADS[name] for name in _BYTES)),
        [*rows, ("all", "", *_cells(found.types, ("count",), _BYTES))],
    )
    out().print(
        f"Arena {megabytes(found.arena_bytes)}; linkage {megabytes(found.node_bytes)}; recent decisions "
        f"{megabytes(found.recent_bytes)}. In all: {megabytes(found.total_bytes)}.",
        markup=False,
    )


def _table(heads: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Shows rows to people, tab-separated where nobody looks; whole numbers are bytes, all else is text."""
    if not out().is_terminal:
        for row in (heads, *rows):
            sys.stdout.write("\t".join(str(each) for each in row) + "\n")
        sys.stdout.flush()
        return
    lines = list(rows)
    units = [" MB" if isinstance(each, int) else "" for each in lines[0]]
    shown = table(*(head + unit for head, unit in zip(heads, units, strict=True)), right=len(heads) - 1)
    for row in lines:
        shown.add_row(*(f"{each / 1e6:,.1f}" if isinstance(each, int) else each for each in row))
    out().print(shown)
