"""`demo`: the whole engine in about two minutes, for somebody who has never seen it."""

import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from riskengine.cli.console import out, plural, step
from riskengine.cli.failures import UsageProblem

if TYPE_CHECKING:
    from .story import Size, Story

SERVER_LINE_CHARS: Final = 40
"""Of what the server says while it starts, so much fits beside the bar."""


def demo(
    directory: Annotated[
        Path | None,
        typer.Option("--dir", metavar="DIR", help="Keep everything in this new folder. (default: a temporary one)"),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Another seed tells another story.")] = 1,
    quick: Annotated[bool, typer.Option("--quick", help="A smaller world, a shorter show.")] = False,
) -> None:
    """Simulates a past, learns from it, starts the real server, and lets fraud unfold before your eyes."""
    if directory is not None and directory.exists() and any(directory.iterdir()):
        raise UsageProblem(f"{directory} is not empty; name a new folder with --dir")
    started_s = time.monotonic()
    with _folder(directory) as folder, _stoppable():
        _run(folder, seed=seed, quick=quick, kept=directory is not None)
    out().print(f"\nThe demo took {time.monotonic() - started_s:.0f} s.", style="dim")


def _run(folder: Path, *, seed: int, quick: bool, kept: bool) -> None:
    """Runs the demo in a folder."""
    out().print(
        "[bold]riskengine demo[/bold]: a small world is simulated, the engine learns from its past,\n"
        "and then decides about payments as they arrive, with thieves among the payers.\n"
        "Everything is real but the people: the model, the server, the journal on disk.\n"
    )
    from riskengine.cli.workspace import warm_visibly

    warm_visibly()
    from .prepare import fold_past, make_folder, train_own_model
    from .story import FULL, QUICK

    size = QUICK if quick else FULL
    make_folder(folder)
    story = _tell(size, seed)
    train_own_model(folder, story, size, created_time_us=time.time_ns() // 1000)
    fold_past(folder, story.past)
    _play(folder, story, size, kept=kept)


def _tell(size: "Size", seed: int) -> "Story":
    from .story import tell_story

    with step(f"Simulating {size.days} days of {size.people:,} people, with episodes of fraud among them") as shown:
        story = tell_story(
            size, seed=seed, now=datetime.now(UTC), progress=lambda share, what: shown.update(share, 1.0, what)
        )
        live = len(story.fast) + len(story.shown)
        shown.say(f"{plural(story.past.num_rows, 'event')} to learn from, {live:,} to come")
    return story


def _play(folder: Path, story: "Story", size: "Size", *, kept: bool) -> None:
    """Starts the server, sends the live part, sums up."""
    from riskengine.settings import load_settings

    from .running import running_server
    from .screen import LiveView, show_next, show_summary
    from .tally import Tally
    from .traffic import Traffic

    settings = load_settings(folder / "server.yaml")
    tally = Tally()
    with ExitStack() as stack:
        with step("Starting the server: riskengine serve") as shown:
            address = stack.enter_context(
                running_server(folder, on_line=lambda line: shown.update(0, None, line[:SERVER_LINE_CHARS]))
            )
            shown.say(f"it listens on {address} and has folded its journal again")
        traffic = Traffic(address, tally, {code: Decimal(rate) for code, rate in settings.rates.items()})
        with step(f"Sending {size.fast_hours:.0f} hours of payments at full speed") as shown:
            traffic.send_fast(story.fast, shown.update)
            shown.say(f"{plural(tally.fast_count, 'call')}, {tally.fast_count / tally.fast_s:,.0f} a second")
        out().print(
            f"\nNow the next {size.shown_hours:.0f} hours in {size.shown_s:.0f} seconds. Shown: every review and decline, "
            "every fraud, and a few of the approvals.\n"
        )
        view = LiveView(out(), tally, len(story.shown))
        with view.shown():
            traffic.send_paced(story.shown, seconds=size.shown_s, on_start=view.begin, on_decision=view.decided)
    show_summary(out(), tally)
    show_next(out(), str(folder), kept=kept)


@contextmanager
def _folder(directory: Path | None) -> Iterator[Path]:
    """Yields the folder to work in, and removes a temporary one."""
    if directory is not None:
        yield directory
        return
    made = Path(tempfile.mkdtemp(prefix="riskengine-demo-"))
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


@contextmanager
def _stoppable() -> Iterator[None]:
    """Lets SIGTERM and the end of the terminal stop the demo as Ctrl-C does, with its server."""

    def stop(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
