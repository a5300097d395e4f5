"""`journal verify` and `journal replay`: proof that nothing was lost, and that every decision comes out the same again."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from riskengine.cli.console import megabytes, out, plural, step, utc
from riskengine.cli.failures import UsageProblem
from riskengine.cli.instead import ModelFolder, Policy, ReasonCodes, replacement_of
from riskengine.cli.whatif import FromSequence, Out, whatif
from riskengine.errors import RiskEngineError

if TYPE_CHECKING:
    from riskengine.lab.replay import ReplayReport

FOLDER_HELP: Final = "The configuration folder, or the data folder itself. (default: starter or .)"
Directory = Annotated[Path | None, typer.Argument(metavar="DIR", help=FOLDER_HELP)]


def data_directory(directory: Path | None) -> Path:
    """Returns the folder of data: the one named if it holds a journal, else that of its server.yaml.

    Raises:
        UsageProblem: There is no journal.
    """
    from riskengine.journal.kept import journal_exists
    from riskengine.settings import load_settings

    candidates = [directory] if directory is not None else [Path("starter"), Path()]
    for candidate in candidates:
        if (candidate / "journal").is_dir() and journal_exists(candidate):
            return candidate
        if (candidate / "server.yaml").is_file():
            data_dir = load_settings(candidate / "server.yaml").data_dir
            if data_dir.is_dir() and journal_exists(data_dir):
                return data_dir
    if directory is not None and not directory.is_dir():
        raise UsageProblem(
            f"{directory}: no such folder; name the one that riskengine serve was given, or its data folder"
        )
    named = directory if directory is not None else "starter or here"
    raise UsageProblem(f"no journal in {named}; it begins when a server first starts: riskengine serve")


def journal_verify(directory: Directory = None) -> None:
    """Reads the whole journal and checks every byte of it. Changes nothing; the server may be running."""
    from riskengine.cli.workspace import warm_visibly

    data_dir = data_directory(directory)
    warm_visibly()
    from riskengine.journal.reader import verify

    with step(f"Verifying {data_dir}") as shown:
        found = verify(data_dir)
        shown.say("no damage")
    out().print(
        f"{plural(found.event_count, 'event')} in {plural(found.frame_count, 'frame')}, "
        f"{plural(found.segment_count, 'file')}, {megabytes(found.frame_bytes)}; "
        f"{plural(found.activation_count, 'configuration')}."
    )
    if found.event_count:
        first, last = utc(found.first_received_time_us), utc(found.last_received_time_us)
        out().print(f"Sequences {found.first_sequence:,} to {found.last_sequence:,}, received {first} to {last}.")
    if found.torn_bytes:
        out().print(f"{megabytes(found.torn_bytes)} of an unfinished write at the end: never acknowledged, ignored.")


def journal_replay(
    directory: Directory = None,
    policy: Policy = None,
    reason_codes: ReasonCodes = None,
    model: ModelFolder = None,
    from_sequence: FromSequence = None,
    target: Out = None,
) -> None:
    """Takes every journaled decision again and compares it, bit for bit; or, with --policy or --model, tells what would change.

    Changes nothing.
    """
    from riskengine.cli.workspace import warm_visibly

    data_dir = data_directory(directory)
    warm_visibly()
    instead = replacement_of(directory, policy=policy, reason_codes=reason_codes, model=model)
    if instead is not None:
        whatif(data_dir, instead, from_sequence=from_sequence, target=target)
        return
    if from_sequence is not None or target is not None:
        raise UsageProblem(
            "--from-sequence and --out go with --policy or --model: they ask what would have been decided"
        )
    from riskengine.lab.replay import replay

    with step(f"Replaying {data_dir}") as shown:
        found = replay(data_dir, on_progress=shown.update)
        shown.say(plural(found.event_count, "event"))
    tell_replay(found)


def tell_replay(found: "ReplayReport") -> None:
    """Shows what a replay found.

    Raises:
        RiskEngineError: A decision came out otherwise.
    """
    decisions = plural(found.decision_count, "decision")
    if found.difference_count:
        first = found.first_difference
        where = f"; the first is sequence {first.sequence}: {', '.join(first.columns)}" if first else ""
        raise RiskEngineError(
            f"{found.difference_count:,} of {decisions} came out otherwise{where}. "
            "Keep a copy of the data folder and report it: this must not happen"
        )
    out().print(
        f"[green]{decisions} taken again, every bit the same[/green] (under {plural(len(found.revisions), 'configuration')})."
    )
    if found.foreign_count:
        out().print(
            f"{plural(found.foreign_count, 'event')} came from another version of the program or another CPU; "
            f"{found.foreign_difference_count:,} of them came out otherwise, which that may explain."
        )
