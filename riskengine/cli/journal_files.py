"""`journal repair` and `journal archive`: the journal's files themselves."""

import os
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from riskengine.cli.console import megabytes, out, plural, step
from riskengine.cli.failures import UsageProblem
from riskengine.cli.journal import Directory, data_directory

if TYPE_CHECKING:
    from riskengine.journal.repair import Plan

PROJECTIONS: Final = (("snapshots", "*.snapshot"), ("decisions", "day=*/*.parquet"))
"""Folders made from the journal, with files whose names end in the last sequence that they know of."""


def journal_repair(
    directory: Directory = None,
    write: Annotated[bool, typer.Option("--write", help="Do it. Without it nothing is changed.")] = False,
) -> None:
    """Says what a damaged journal would keep and what it would lose; with --write, does it.

    What is valid up to the damage goes on as the journal. All files as they are stay in a folder of their own beside it.
    Before that, try to restore the file that is damaged from a backup or an archive: nothing is lost then.
    """
    from riskengine.follower.loop import lock_follower
    from riskengine.journal.directory import lock_data_dir
    from riskengine.journal.repair import examine, repair

    data_dir = data_directory(directory)
    with ExitStack() as held:
        for lock in (lock_data_dir, lock_follower) if write else ():  # Neither may read what is moved meanwhile.
            held.callback(os.close, lock(data_dir))
        with step(f"Examining {data_dir}") as shown:
            plan = examine(data_dir)
            shown.say("damaged" if plan else "no damage")
        if plan is None:
            out().print("Nothing to repair.")
            return
        _tell_plan(plan)
        if not write:
            out().print("Nothing was changed. To do it, stop the server, then: riskengine journal repair --write")
            return
        broken = data_dir / f"journal.broken-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
        with step(f"Repairing {data_dir}") as shown:
            repair(data_dir, plan, broken=broken)
            ahead = _move_projections(data_dir, broken, plan.end.next_sequence)
            shown.say("read and proved")
    out().print(f"The files as they were are in {broken}. Keep them.", markup=False, soft_wrap=True)
    if ahead:
        out().print(
            f"{plural(ahead, 'file')} of snapshots and decisions that knew of what is lost went there, too; what the journal "
            "still holds of them is made again when the server runs.",
            soft_wrap=True,
        )


def _tell_plan(plan: "Plan") -> None:
    """Says what a repair keeps and loses."""
    damage, end = plan.damage, plan.end
    out().print(damage.message.split("; nothing was changed")[0].capitalize() + ".", markup=False, soft_wrap=True)
    if end.next_sequence > plan.first_sequence:
        kept = f"sequences {plan.first_sequence:,} to {end.next_sequence - 1:,}"
    else:
        kept = "no event"
    out().print(f"Kept: {kept}; the journal ends in {plan.last_name} at byte {end.offset:,}.", soft_wrap=True)
    if plan.lost_sequence >= end.next_sequence:
        count = plan.lost_sequence - end.next_sequence + 1
        out().print(
            f"[bold red]Lost: sequences {end.next_sequence:,} to {plan.lost_sequence:,}[/bold red], "
            f"{plural(count, 'event')} that had been answered, as far as headers behind the damage tell.",
            soft_wrap=True,
        )
    elif plan.lost_frames:
        out().print(f"[bold red]Lost: {plural(plan.lost_frames, 'frame')}[/bold red], configurations.")
    elif plan.marker is None and not plan.resized:
        out().print(
            f"[bold red]Lost: whatever came from sequence {end.next_sequence:,} on[/bold red]; nothing readable tells how much.",
            soft_wrap=True,
        )
    else:
        out().print("Lost: nothing that can be seen; files of a wrong length, or the marker, are put right.")
    for name in plan.removed:
        out().print(f"  {name} is taken away", markup=False, soft_wrap=True)


def _move_projections(data_dir: Path, broken: Path, next_sequence: int) -> int:
    """Moves what was made from events that are lost aside: the next events take their sequences anew.

    Args:
        data_dir: The data directory.
        broken: Where to.
        next_sequence: Of the journal as it is now.

    Returns:
        Files moved.
    """
    moved = 0
    for name, pattern in PROJECTIONS:
        for path in sorted((data_dir / name).glob(pattern)):
            last = path.stem.rpartition("-")[2]
            if last.isdigit() and int(last) >= next_sequence:
                target = broken / path.relative_to(data_dir)
                target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                path.rename(target)
                moved += 1
    return moved


def journal_archive(
    directory: Directory = None,
    target: Annotated[Path | None, typer.Option("--to", metavar="FOLDER", help="Where to copy them.")] = None,
    check: Annotated[bool, typer.Option("--check", help="Also read back what was copied before.")] = False,
) -> None:
    """Copies finished journal files that the folder does not have yet, each proved and read back. The server may be running."""
    from riskengine.journal.archive import archive

    if target is None:
        raise UsageProblem("name a folder, best on another disk: --to /backup/journal")
    data_dir = data_directory(directory)
    with step(f"Archiving {data_dir}") as shown:
        done = archive(data_dir, target, check=check, on_progress=shown.update)
        shown.say(f"{plural(done.copied, 'file')} copied, {done.present:,} there already")
    if done.first_sequence:
        out().print(
            f"{target} holds sequences {done.first_sequence:,} to {done.next_sequence - 1:,}"
            f"{f', {megabytes(done.copied_bytes)} of them new' if done.copied else ''}; SHA256SUMS proves it.",
            markup=False,
            soft_wrap=True,
        )
    out().print(
        f"Not included: {done.open_name}, from sequence {done.next_sequence:,} on, which is still being written.",
        markup=False,
        soft_wrap=True,
    )
