"""`features activate`: a changed folder goes live in a running server.

    check      all files, all mistakes; what would not serve touches nothing
    back-fill  the state that it would have had, folded beside the engine, where it measures something new
    change     an engine that stands by takes over, see `server.activations`; this command watches

INVARIANTS: what was checked is what goes live, under the limits, the base currency and the models' folder that the server was
started with; until the engine takes over, Ctrl-C leaves everything as it was.
"""

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from riskengine.cli.console import err, megabytes, out, plural, step, utc
from riskengine.cli.failures import UsageProblem

if TYPE_CHECKING:
    from riskengine.cli.workspace import Workspace
    from riskengine.engine.activation import Activation
    from riskengine.engine.candidate import Candidate
    from riskengine.engine.configuration import Configuration
    from riskengine.server.control import Line
    from riskengine.settings import ServerSettings

SILENCE_S_MAX: Final = 300.0
"""How long the server may say nothing: kernels that a new version has to compile take a minute."""
SHORTER: Final = "--shorter-history"


def features_activate(
    directory: Annotated[
        Path | None, typer.Argument(metavar="DIR", help="The configuration folder. (default: starter or .)")
    ] = None,
    shorter_history: Annotated[
        bool,
        typer.Option(
            SHORTER,
            help="Go on with what a trimmed journal still holds, windows and links shortened until they are full.",
        ),
    ] = False,
) -> None:
    """Makes a running server decide by the files as they are now: features, policy, lists, reasons and model.

    A new window of what is measured already is complete at once. Something new is measured from the journal, beside the
    engine and at a low priority; that needs as much memory as the engine has. Calls go on meanwhile. Then another engine takes
    over; for a moment callers are told to retry, or get the declared fallback.
    """
    from riskengine.cli.workspace import find_directory, load_workspace
    from riskengine.engine.activation import SEMANTICS
    from riskengine.engine.active import read_active
    from riskengine.engine.candidate import Candidate, hold_candidate
    from riskengine.server.control import Line

    folder = find_directory(directory)
    workspace = load_workspace(folder, with_model=True)
    with Line(workspace.settings.data_dir) as line:
        settings = _settings_of(line, folder)
        data_dir = settings.data_dir
        configuration = _configuration(workspace, settings)
        lock = hold_candidate(data_dir)
        try:
            active = read_active(data_dir)
            if active is None:
                raise UsageProblem(f"nothing in {data_dir} tells what decides now; restart the server instead")
            if (active.configuration, active.semantics) == (configuration.content, SEMANTICS):
                out().print(f"Nothing to do: the files say what decides already, as revision {active.revision}.")
                return
            _check_inputs(configuration, active)
            candidate = _with_history(data_dir, Candidate(configuration, active.since), shorter_history=shorter_history)
            _tell_completeness(data_dir, candidate, active)
            _prepare(data_dir, candidate, active)
            _change(line, data_dir)
        finally:
            os.close(lock)


def _settings_of(line: "Line", folder: Path) -> "ServerSettings":
    """Returns the settings that the server runs by; raises UsageProblem where it was started from another folder."""
    from riskengine.settings import settings_for

    config_dir = Path(line.greeting["config_dir"])
    if config_dir != folder.resolve():
        raise UsageProblem(
            f"the server was started from {config_dir}, not from {folder}; name that folder, or its next start undoes the change"
        )
    return settings_for(config_dir, line.greeting["settings"])


def _configuration(workspace: "Workspace", settings: "ServerSettings") -> "Configuration":
    """Returns the files as the running server would take them."""
    from riskengine.engine.configuration import load_configuration
    from riskengine.wire.pseudonyms import Pseudonyms

    told = workspace.settings.model_copy(update={"listen": settings.listen, "front": settings.front})
    if told == settings:
        return workspace.configuration
    err().print(
        "[yellow]warning:[/yellow] server.yaml has changed, too; what it says takes effect when serve is started anew"
    )
    return load_configuration(
        workspace.directory,
        limits=settings.limits.engine_limits(),
        base_currency=settings.base_currency,
        model_dir=settings.model_dir,
        tag=Pseudonyms(workspace.key).tag,
        now_us=time.time_ns() // 1000,
    )


def _check_inputs(configuration: "Configuration", active: "Activation") -> None:
    """Raises UsageProblem where a number or label would take the place of another: journaled events have places, not names."""
    inputs = configuration.features.inputs
    for kind, names in (("numbers", inputs.numbers), ("labels", inputs.labels)):
        for before, now in zip(active.names["inputs"][kind], names, strict=False):
            if before != now:
                raise UsageProblem(
                    f"inputs.{kind} of features.yaml: {now} stands where {before} stood, whose values the journal holds in that "
                    "place; leave those that are there in their order, and add new ones at the end"
                )


def _with_history(data_dir: Path, candidate: "Candidate", *, shorter_history: bool) -> "Candidate":
    """Returns the candidate with a beginning that can be folded from."""
    from dataclasses import replace

    from riskengine.engine.candidate import ActivationAborted
    from riskengine.follower.backfill import is_foldable, journal_beginning

    if is_foldable(data_dir, candidate):
        return candidate
    beginning = journal_beginning(data_dir)
    since = utc(beginning.event_time_us) if beginning.event_time_us is not None else "now"
    told = f"the journal was trimmed, and begins with sequence {beginning.sequence:,} of {since}"
    if shorter_history:
        err().print(f"[yellow]warning:[/yellow] {told}: all windows and links know what came since", soft_wrap=True)
        return replace(candidate, since=beginning.sequence)
    raise ActivationAborted(
        f"{told}; what is measured anew would know nothing before that, nor would ages, links and windows that are measured "
        f"already. Nothing was changed. To go on with that: riskengine features activate {SHORTER}"
    )


def _tell_completeness(data_dir: Path, candidate: "Candidate", active: "Activation") -> None:
    """Says which features are new, and from when on the longest window of them is full."""
    from riskengine.follower.backfill import journal_beginning

    before = set(active.names["features"])
    new = [name for name in candidate.configuration.features.names if name not in before]
    if not new:
        return
    shown = ", ".join(new[:5]) + (f" and {len(new) - 5:,} more" if len(new) > 5 else "")
    err().print(f"{plural(len(new), 'new feature')}: {shown}", markup=False)
    reach_us = max(window_of(name) for name in new)
    begin_us = journal_beginning(data_dir).event_time_us
    if begin_us is not None and reach_us and begin_us + reach_us > time.time_ns() // 1000:
        err().print(
            f"The journal begins at {utc(begin_us)}, so the longest new window is full from {utc(begin_us + reach_us)} on; until "
            "then it covers what there is.",
            markup=False,
        )


def window_of(name: str) -> int:
    """Returns the window that a feature's name ends in, microseconds; 0 for one that has none."""
    from riskengine.velocity.schema import window_us

    try:
        return window_us(name.rpartition("_")[2])
    except ValueError:
        return 0


def _prepare(data_dir: Path, candidate: "Candidate", active: "Activation") -> None:
    """Writes the candidate, with its state where it needs another one."""
    from riskengine.clock import SystemClock
    from riskengine.engine.candidate import keep_candidate
    from riskengine.follower.backfill import backfill, is_near, measures_alike
    from riskengine.follower.loop import SNAPSHOT_BYTES_PER_S, step_back

    if measures_alike(candidate, active, data_dir) and is_near(data_dir, candidate):
        keep_candidate(data_dir, candidate)
        err().print("No back-fill is needed: the engine keeps all that this configuration reads.")
        return
    step_back()
    with step("Back-filling from the journal, beside the engine") as shown:
        done = backfill(
            data_dir,
            candidate,
            clock=SystemClock(),
            on_progress=lambda done, total, count, passed_s: shown.update(
                done, total, progress_words(done=done, total=total, count=count, passed_s=passed_s)
            ),
            pause=lambda size_bytes: time.sleep(size_bytes / SNAPSHOT_BYTES_PER_S),
        )
        begun = "from the beginning" if done.anew else "since the last snapshot"
        shown.say(f"{plural(done.event_count, 'event')} {begun}, a snapshot of {megabytes(done.size_bytes)}")


def progress_words(*, done: int, total: int, count: int, passed_s: float) -> str:
    """Says how far a fold is, how fast, and how long it still takes.

    Args:
        done: Bytes read.
        total: Bytes in all.
        count: Events folded.
        passed_s: Seconds since the beginning.
    """
    if not done or passed_s <= 0:
        return ""
    left_s = round((total - done) * passed_s / done)
    minutes, seconds = divmod(left_s, 60)
    return f"{count:,} events, {count / passed_s:,.0f}/s, {minutes}:{seconds:02d} left"


def _change(line: "Line", data_dir: Path) -> None:
    """Asks for the change of engines and watches it."""
    from riskengine.engine.active import read_active
    from riskengine.engine.candidate import ActivationAborted, discard_candidate

    with step("Changing engines") as shown:
        line.ask("activate")
        for stage in line.stages(timeout_s=SILENCE_S_MAX):
            if stage["stage"] == "activated":
                break
            if stage["stage"] == "aborted":
                discard_candidate(data_dir)
                raise ActivationAborted(f"{stage['message']}; what decided before goes on deciding")
            if stage["stage"] == "unknown":
                raise ActivationAborted(f"{stage['message']}; run the command again: it says whether the files decide")
            shown.update(stage.get("done", 0), stage.get("total"), stage["stage"].replace("_", " "))
        shown.say(f"{stage['gap_s']:.3f} s without an engine")
    active = read_active(data_dir)
    assert active is not None, "an engine that serves has written it"
    names = active.names
    out().print(
        f"Revision {active.revision} decides, from sequence {active.sequence:,} on: {names['policy']} "
        f"{names['policy_revision']}, {names['model'] or 'no model'}, {plural(len(names['features']), 'feature')}.",
        markup=False,
    )
