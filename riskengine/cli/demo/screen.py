"""What the demo shows: events with their decisions as they come, and the summary.

Everything but approvals is shown, and a sample of those. Within an episode a reason is told once, and what repeats itself is
counted instead of shown. INVARIANTS: fits 80 columns, and 60 without type and amount; without a terminal the same lines appear
plainly, none of them broken.

Called by `command`.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from rich.console import Console
from rich.padding import Padding
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from riskengine.cli.console import hint, plural, table
from riskengine.cli.decisions import probability_words, reason_words, verdict_name, verdict_text
from riskengine.cli.requests import Row
from riskengine.v1.decision_pb2 import Decision

from .story import Happening
from .tally import ASKED, CAUGHT, FALSE_ALARM, FINE, MISSED, Tally

APPROVALS_EVERY_S: Final = 0.7
"""Between two approvals that are shown, seconds."""
REPEATS_SHOWN: Final = 3
"""Equal lines of one episode in a row; further ones are counted."""
QUIET_US: Final = 10 * 60 * 1_000_000
"""When an episode pauses for so long, what was held back of it is told, microseconds of event time."""
INDENT: Final = 7
WIDE_COLUMNS: Final = 77
"""In a narrower terminal, type and amount are left out."""
_TYPES: Final = {
    "ACCOUNT_OPENING": "new account",
    "CARD_APPLICATION": "new card",
    "PROMOTION_REDEMPTION": "promotion",
    "VIRTUAL_CARD_ISSUE": "virtual card",
    "WALLET_TRANSFER": "transfer",
}
_SCENARIOS: Final = {
    "stolen_card": ("Stolen card", "the thief shops with {card}"),
    "card_testing": ("Card testing", "stolen numbers are tried on {device}"),
    "account_takeover": ("Account takeover", "somebody else is in {account}"),
    "device_farm": ("Device farm", "accounts are opened one after another on {device}"),
}
_LOOKS: Final = {
    CAUGHT: ("fraud, caught", "bold green"),
    ASKED: ("fraud, asked", "green"),
    MISSED: ("fraud, missed", "bold red"),
    FALSE_ALARM: ("false alarm", "magenta"),
    FINE: ("", ""),
}


@dataclass(slots=True)
class Episode:
    """What was shown of one episode.

    Attributes:
        about: For people, e.g. ``card testing on device 6fd3``.
        reasons: Codes that were told.
        last: Verdict and look of the last line.
        repeats: Lines like it, in a row.
        held_back: Those of them that were not shown.
        time_us: Event time of the last of them.
    """

    about: str = ""
    reasons: set[str] = field(default_factory=set)
    last: tuple[str, str] = ("", "")
    repeats: int = 0
    held_back: int = 0
    time_us: int = 0


class LiveView:
    """The live part.

    Args:
        console: Where.
        tally: Counts, for the line at the bottom.
        total: Events to come.
    """

    def __init__(self, console: Console, tally: Tally, total: int) -> None:
        self._console = console
        self._tally = tally
        self._total = total
        self._sent = 0
        self._episodes: dict[int | str, Episode] = {}
        self._approval_s = 0.0
        self._progress: Progress | None = None
        self._narrow = console.is_terminal and console.width < WIDE_COLUMNS

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Keeps a line with counts at the bottom of a terminal."""
        self._console.print(_header(narrow=self._narrow))
        if self._console.is_terminal:
            columns = (TextColumn("{task.description}"), BarColumn(bar_width=16), TextColumn("{task.fields[counts]}"))
            with Progress(*columns, console=self._console, transient=True) as self._progress:
                self._task = self._progress.add_task("", total=self._total, counts="")
                yield
            self._progress = None
        else:
            yield
        for episode in self._episodes.values():
            self._tell_held_back(episode)

    def begin(self, happening: Happening) -> None:
        """Takes an event that is about to be sent."""
        self._sent += 1
        for episode in self._episodes.values():
            if episode.held_back and happening.time_us - episode.time_us > QUIET_US:
                self._tell_held_back(episode)
        if happening.begins:
            self._console.print(_beginning(happening))
        if self._progress is not None and self._sent % 8 == 0:
            counts = self._tally.verdicts
            told = f"{counts['APPROVE']:,} approved  {counts['REVIEW']:,} reviewed  {counts['DECLINE']:,} declined"
            clock = _clock(happening.time_us, weekday=True)
            self._progress.update(self._task, completed=self._sent, description=clock, counts=told)

    def decided(self, happening: Happening, decision: Decision, look: str) -> None:
        """Takes a decision."""
        name = verdict_name(decision)
        if look == FINE:
            now_s = time.monotonic()
            if now_s - self._approval_s >= APPROVALS_EVERY_S:
                self._approval_s = now_s
                self._console.print(_line(happening, decision, name, look, narrow=self._narrow))
            return
        episode = self._episodes.setdefault(happening.episode or short_name(happening.row), Episode(_about(happening)))
        reason = decision.reasons[0] if decision.reasons else None
        new = reason is not None and reason.code not in episode.reasons
        episode.repeats = episode.repeats + 1 if (name, look) == episode.last and not new else 1
        if episode.repeats > REPEATS_SHOWN:
            episode.held_back += 1
            episode.time_us = happening.time_us
            return
        self._tell_held_back(episode)
        episode.last = (name, look)
        self._console.print(_line(happening, decision, name, look, narrow=self._narrow))
        if reason is not None and new:
            episode.reasons.add(reason.code)
            self._indented(reason_words(reason), "dim italic")

    def _tell_held_back(self, episode: Episode) -> None:
        if episode.held_back:
            verdict, look = episode.last
            words = f"and {episode.held_back} more like it ({verdict.lower()}, {_LOOKS[look][0]}): {episode.about}"
            self._indented(words, "dim")
        episode.held_back = 0

    def _indented(self, words: str, style: str) -> None:
        """Prints words under a line: broken to fit a terminal, as one line elsewhere."""
        if self._console.is_terminal:
            self._console.print(Padding(Text(words, style=style), (0, 0, 0, INDENT), expand=False))
        else:
            self._console.print(" " * INDENT + words, markup=False)


def _beginning(happening: Happening) -> Text:
    row = happening.row
    title, story = _SCENARIOS[row["fraud_scenario"]]
    names = {kind: short_name(row, kind) for kind in ("card", "device", "account")}
    clock = f"{_clock(happening.time_us)}  "
    return Text.assemble((clock, "dim"), (f"{title} begins: ", "bold cyan"), (story.format(**names), "cyan"))


def _about(happening: Happening) -> str:
    """Says which episode this is, or who it is about."""
    row = happening.row
    if not happening.episode:
        return short_name(row)
    kind = {"stolen_card": "card", "account_takeover": "account"}.get(row["fraud_scenario"], "device")
    return f"{_SCENARIOS[row['fraud_scenario']][0].lower()}, {short_name(row, kind)}"


def short_name(row: Row, kind: str = "") -> str:
    """Returns a short pseudonym of who acts, e.g. ``card 91bc``.

    Args:
        row: The event.
        kind: ``card``, ``account`` or ``device``; by default what the event is mostly about.
    """
    kinds = (kind,) if kind else (("card", "account") if row["type"] == "CARD_PAYMENT" else ("account", "card"))
    for each in (*kinds, "device"):
        if row.get(f"{each}_id"):
            return f"{each} {row[f'{each}_id'][-4:]}"
    return "nobody known"


def type_words(name: str) -> str:
    """Returns a type in at most 13 characters."""
    return _TYPES.get(name, name.lower().replace("_", " "))


def amount_words(row: Row) -> str:
    """Returns an amount with its currency, "" without one."""
    if row["amount_minor"] is None:
        return ""
    return f"{row['currency_code']} {row['amount_minor'] / 100:,.2f}"


def _header(*, narrow: bool) -> Text:
    if narrow:
        return Text(f"{'time':5}  {'who':12}  {'verdict':7} {'risk':>5}  truth", style="dim")
    return Text(f"{'time':5}  {'what':13} {'amount':>13}  {'who':12}  {'verdict':7} {'risk':>5}  truth", style="dim")


def _line(happening: Happening, decision: Decision, name: str, look: str, *, narrow: bool) -> Text:
    row = happening.row
    words, style = _LOOKS[look]
    what = "" if narrow else f"{type_words(row['type']):13} {amount_words(row):>13}  "
    return Text.assemble(
        (f"{_clock(happening.time_us)}  ", "dim"),
        f"{what}{short_name(row):12}  ",
        verdict_text(name.lower(), 7),
        f" {probability_words(decision):>5}  ",
        (words, style),
    )


def _clock(time_us: int, *, weekday: bool = False) -> str:
    return datetime.fromtimestamp(time_us / 1e6, UTC).strftime("%a %H:%M" if weekday else "%H:%M")


def show_summary(console: Console, tally: Tally) -> None:
    """Shows what came of it all."""
    total = sum(tally.verdicts.values())
    frauds = sum(each.events for each in tally.scenarios.values())
    stopped = sum(tally.honest_stopped.values())
    console.print()
    console.rule("[bold]What came of it[/bold]", align="left")
    console.print(
        f"{total:,} decisions: {tally.verdicts['APPROVE']:,} approve, {tally.verdicts['REVIEW']:,} review, "
        f"{tally.verdicts['DECLINE']:,} decline. {frauds:,} of the events were fraud."
    )
    console.print()
    console.print(_scenarios(tally))
    console.print("[dim]caught: declined or sent to review; asked: approved if the payer passes a second factor.[/dim]")
    console.print()
    rate = stopped / tally.honest if tally.honest else 0.0
    console.print(
        f"False alarms: {plural(stopped, 'honest event')} of {tally.honest:,} ({rate:.2%}): "
        f"{tally.honest_stopped['REVIEW']:,} to review, {tally.honest_stopped['DECLINE']:,} declined; "
        f"{tally.honest_asked:,} more were asked for a second factor."
    )
    console.print(
        f"Latency, as the client saw it: p50 {tally.latency_ms(0.5):.1f} ms, p99 {tally.latency_ms(0.99):.1f} ms, "
        "each decision on disk before its answer."
    )
    if tally.fast_s:
        console.print(
            f"At full speed: {tally.fast_count / tally.fast_s:,.0f} calls/s over {plural(tally.fast_count, 'call')}, "
            "with this one Python client on the same machine."
        )
    if tally.degraded:
        console.print(f"{plural(tally.degraded, 'decision')} skipped a stage to answer in time.")
    for reason, count in tally.failed.most_common():
        console.print(f"[red]{plural(count, 'call')} failed: {reason}[/red]")


def _scenarios(tally: Tally) -> Table:
    shown = table("fraud", "episodes", "events", "caught", "asked", "missed", "saved EUR", "lost EUR", right=7)
    for name in _SCENARIOS:
        counts = tally.scenarios.get(name)
        if counts is not None:
            shown.add_row(
                _SCENARIOS[name][0].lower(),
                f"{len(counts.noticed)} of {len(counts.episodes)}",
                f"{counts.events:,}",
                f"[green]{counts.caught:,}[/green]",
                f"{counts.asked:,}",
                f"[red]{counts.missed:,}[/red]" if counts.missed else "0",
                f"{counts.caught_minor / 100:,.0f}",
                f"{counts.missed_minor / 100:,.0f}",
            )
    return shown


def show_next(console: Console, directory: str, *, kept: bool) -> None:
    """Says what to try next."""
    console.print()
    console.rule("[bold]What to try next[/bold]", align="left")
    steps = []
    if kept:
        steps.append(
            (f"riskengine journal replay {directory}", "takes every decision again and compares it bit for bit")
        )
        steps.append(
            (f"riskengine policy test {directory}", "what its rules are meant to do; change policy.yaml and see")
        )
    steps += [
        ("riskengine init starter", "a folder of your own: rules decide, the model watches"),
        ("riskengine serve starter", "serve it, and in another terminal"),
        ("riskengine score starter/example_payment.json", "a first decision"),
        ("riskengine history import --help", "learn from your own past payments"),
    ]
    for command, what in steps:
        console.print(Text.assemble("  ", (hint(command), "bold")), soft_wrap=True)
        console.print(Text(f"      {what}", style="dim"))
    if not kept:
        console.print("To look into the demo's files afterwards: riskengine demo --dir demo-folder", style="dim")
