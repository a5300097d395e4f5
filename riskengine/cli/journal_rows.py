"""`journal inspect` and `journal export`: what is in the journal, frame by frame or row by row in clear words."""

import json
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from riskengine.cli.console import err, out, plural, step, table
from riskengine.cli.failures import UsageProblem
from riskengine.cli.journal import Directory, data_directory

if TYPE_CHECKING:
    from riskengine.cli.exporting import Exported
    from riskengine.journal.places import Frame

From = Annotated[int, typer.Option("--from", metavar="SEQ", min=1, help="First sequence.")]
KINDS: Final = {1: "events", 2: "activation"}
SHOWN: Final = ("sequence", "received_time", "kind", "type", "amount_minor", "currency_code", "verdict", "probability")


def journal_inspect(
    directory: Directory = None,
    first: From = 1,
    limit: Annotated[int, typer.Option(metavar="N", min=1, help="Frames or rows shown at most.")] = 20,
    rows: Annotated[
        bool, typer.Option("--rows", help="Events and decisions in clear words, instead of frames.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="A JSON object a line; with --rows every column.")] = False,
) -> None:
    """Shows what is in the journal, up to the damage if there is any. Changes nothing; the server may be running."""
    data_dir = data_directory(directory)
    if rows:
        _inspect_rows(data_dir, first=first, limit=limit, as_json=as_json)
    else:
        _inspect_frames(data_dir, first=first, limit=limit, as_json=as_json)


def _inspect_frames(data_dir: Path, *, first: int, limit: int, as_json: bool) -> None:
    """Shows frames as they come, so that those before damage are seen."""
    found = _frames(data_dir, first)
    if as_json:
        for told in map(_told, islice(found, limit)):
            sys.stdout.write(json.dumps(told) + "\n")
        return
    shown = table("segment", "kind", "first sequence", "rows", "offset", "bytes", right=4)
    count = 0
    try:
        for told in map(_told, islice(found, limit)):
            numbers = (told[name] for name in ("first_sequence", "rows", "offset", "bytes"))
            shown.add_row(str(told["segment"]), told["kind"], *(f"{number:,}" for number in numbers))
            count += 1
    finally:
        if count:
            out().print(shown)
    _tell_more(count, limit, more=next(found, None) is not None, noun="frame")


def _frames(data_dir: Path, first: int) -> Iterator["Frame"]:
    """Yields the frames from the one on that holds a sequence, or would."""
    from riskengine.journal.disk import OsDisk
    from riskengine.journal.scan import Scan

    start = Scan(OsDisk(), data_dir).segment_start(first)
    for frame in Scan(OsDisk(), data_dir, start=start).frames():
        if frame.first_sequence + max(1, frame.row_count) > first:
            yield frame


def _told(frame: "Frame") -> dict[str, Any]:
    return {
        "segment": frame.end.segment_index,
        "file": frame.name,
        "offset": frame.offset,
        "kind": KINDS[frame.kind],
        "first_sequence": frame.first_sequence,
        "rows": frame.row_count,
        "bytes": frame.size_bytes,
    }


def _inspect_rows(data_dir: Path, *, first: int, limit: int, as_json: bool) -> None:
    """Shows events with their decisions."""
    from riskengine.cli.workspace import warm_visibly

    warm_visibly()
    from riskengine.cli.exporting import Exported, json_row, rows_of, tables
    from riskengine.cli.stored import show_table

    exported = Exported()
    read = tables(data_dir, first=first, last=first + limit - 1, exported=exported)
    if as_json:
        for each in read:
            sys.stdout.writelines(json_row(row) + "\n" for row in rows_of(each))
        return
    names = (*SHOWN, "reasons")
    found = [{name: row[name] for name in names} for each in read for row in rows_of(each)]
    for row in found:
        row["reasons"] = " ".join(reason["code"] for reason in row["reasons"])
    show_table(names, found)
    _tell_more(len(found), limit, more=len(found) == limit, noun="row")
    tell_unknown(exported)


def _tell_more(count: int, limit: int, *, more: bool, noun: str) -> None:
    if not count:
        err().print(f"No {noun} from there on.")
    elif more:
        err().print(
            f"The first {plural(limit, noun)}; --from and --limit show others, --json all of each.", soft_wrap=True
        )


def journal_export(
    directory: Directory = None,
    target: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="The file to write, .parquet or .jsonl.")
    ] = None,
    first: From = 1,
    last: Annotated[
        int | None, typer.Option("--to", metavar="SEQ", min=1, help="Last sequence. (default: all)")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it is there.")] = False,
) -> None:
    """Writes events with what was decided on them, in clear words, to a file; columns as in the decision store."""
    if target is None or target.suffix not in (".parquet", ".jsonl"):
        raise UsageProblem("name a file that ends in .parquet or .jsonl: --out decisions.parquet")
    if target.exists() and not force:
        raise UsageProblem(f"{target} exists; write to another file, or replace it with --force")
    if last is not None and last < first:
        raise UsageProblem(f"--to {last} is before --from {first}")
    from riskengine.cli.workspace import warm_visibly

    data_dir = data_directory(directory)
    warm_visibly()
    from riskengine.cli.exporting import export

    with step(f"Exporting {data_dir}") as shown:
        exported = export(data_dir, target, first=first, last=last, on_progress=shown.update)
        shown.say(plural(exported.row_count, "event"))
    if exported.row_count:
        out().print(
            f"Sequences {exported.first_sequence:,} to {exported.last_sequence:,} are in {target}.",
            markup=False,
            soft_wrap=True,
        )
    else:
        out().print(f"No event has such a sequence; {target} has columns and no rows.", markup=False, soft_wrap=True)
    tell_unknown(exported)


def tell_unknown(exported: "Exported") -> None:
    """Says that names are missing."""
    if exported.unknown_revisions:
        told = plural(exported.unknown_revisions, "configuration")
        err().print(
            f"[yellow]{told} came before what the journal keeps[/yellow]: rules and features are told as numbers.",
            soft_wrap=True,
        )
