"""What happens in the demo: a past to learn from, then a day and a half that is sent live.

    |------------------ the past ------------------|---- at full speed ----|---- shown ----|
    learned from; its newest weeks have no labels yet                     fraud is frequent

INVARIANTS: nothing of the live part is trained on; a label enters the past only if it was known when the past ends; the same
seed tells the same story, on other dates: it ends less than a week before now, so that windows and skew are real.

Called by `command`.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from riskengine.cli.requests import Row, rows_of

if TYPE_CHECKING:
    import pyarrow as pa

MONDAY: Final = datetime(2026, 1, 5, tzinfo=UTC)
LABELS_MATURE: Final = timedelta(days=14)
"""Chargebacks take weeks: by then most have come."""
_US: Final = timedelta(microseconds=1)
_EPISODE_KEY: Final = {
    "stolen_card": "card_id",
    "card_testing": "device_id",
    "account_takeover": "account_id",
    "device_farm": "device_id",
}
"""By what the events of one episode belong together."""

Progress = Callable[[float, str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How large the demo is."""

    people: int
    """People in the simulated world."""
    days: int
    """Days simulated, the live part included; not a multiple of 7, so that it ends on a weekday."""
    rounds: int
    """Trees of the model."""
    fast_hours: float
    """Hours sent at full speed."""
    shown_hours: float
    """Hours shown."""
    shown_s: float
    """Seconds in which they are shown."""


FULL: Final = Size(people=1_800, days=59, rounds=120, fast_hours=20, shown_hours=14, shown_s=12.0)
QUICK: Final = Size(people=900, days=59, rounds=60, fast_hours=10, shown_hours=8, shown_s=4.0)


@dataclass(frozen=True, slots=True)
class Happening:
    """Something that is sent.

    Attributes:
        time_us: When it happened, microseconds since the epoch.
        row: The event, with what the simulator knows of it.
        outcome: Whether it is not the event but the report that it was fraud.
        episode: Ordinal of the fraud episode, 1 and up; 0 for an honest event.
        begins: Whether it is the first event of its episode.
    """

    time_us: int
    row: Row
    outcome: bool = False
    episode: int = 0
    begins: bool = False


@dataclass(frozen=True, slots=True)
class Story:
    """The demo's world.

    Attributes:
        past: Events before the live part, with the labels known by then.
        lessons: The same, with labels as a training sees them: none in the newest weeks.
        fast: What is sent at full speed.
        shown: What is shown.
    """

    past: "pa.Table"
    lessons: "pa.Table"
    fast: list[Happening]
    shown: list[Happening]


def tell_story(size: Size, *, seed: int, now: datetime, progress: Progress) -> Story:
    """Simulates a world.

    Args:
        size: How large.
        seed: Of everything.
        now: The time of day, with a zone.
        progress: Told the share done and what comes next.
    """
    import pyarrow.compute as pc

    from riskengine.lab.simulate import SimulationConfig, simulate

    end = MONDAY + timedelta(days=size.days)
    end += (now - end) // timedelta(days=7) * timedelta(days=7)
    config = SimulationConfig(
        seed=seed,
        people=size.people,
        days=size.days,
        start=end - timedelta(days=size.days),
        fraud_rate_tail=4.0,
        tail_hours=size.shown_hours,
    )
    table = simulate(config, progress=progress)
    shown_from = end - timedelta(hours=size.shown_hours)
    live_from = shown_from - timedelta(hours=size.fast_hours)
    times = table.column("event_time")
    past = table.filter(pc.less(times, live_from))
    live = list(_happenings(table, live_from=live_from, end=end))
    split = next((index for index, each in enumerate(live) if each.time_us >= _us(shown_from)), len(live))
    return Story(
        past=_labelled_by(past, live_from, mature_until=live_from),
        lessons=_labelled_by(past, live_from, mature_until=live_from - LABELS_MATURE),
        fast=live[:split],
        shown=live[split:],
    )


def _labelled_by(table: "pa.Table", when: datetime, *, mature_until: datetime) -> "pa.Table":
    """Takes back labels that were not known yet.

    Args:
        table: Of the history schema.
        when: Frauds that became known later look honest.
        mature_until: Events from here on have no label at all.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    schema = table.schema
    known = pc.fill_null(pc.less_equal(table.column("fraud_label_time"), when), False)
    fraud = pc.and_(table.column("fraud"), known)
    mature = pc.less(table.column("event_time"), mature_until)
    changed = {
        "fraud": pc.if_else(mature, fraud, pa.scalar(None, pa.bool_())),
        "fraud_label_time": pc.if_else(
            pc.and_(mature, fraud),
            table.column("fraud_label_time"),
            pa.scalar(None, schema.field("fraud_label_time").type),
        ),
    }
    for name, column in changed.items():
        index = schema.get_field_index(name)
        table = table.set_column(index, schema.field(name), column)
    return table


def _happenings(table: "pa.Table", *, live_from: datetime, end: datetime) -> Iterator[Happening]:
    """Yields events of the live part, and reports of fraud that fall into it, in the order of time."""
    import pyarrow.compute as pc

    first_us, end_us = _us(live_from), _us(end)
    live = table.filter(pc.greater_equal(table.column("event_time"), live_from))
    reported = pc.and_(
        pc.greater_equal(table.column("fraud_label_time"), live_from), pc.less(table.column("fraud_label_time"), end)
    )
    found: list[Happening] = []
    episodes: dict[tuple[Any, ...], int] = {}
    for row in _rows(live):
        episode, begins = 0, False
        if row["fraud"]:
            key = (row["fraud_scenario"], row[_EPISODE_KEY[row["fraud_scenario"]]])
            begins = key not in episodes
            episode = episodes.setdefault(key, len(episodes) + 1)
        found.append(Happening(row["event_time"], row, episode=episode, begins=begins))
    for row in _rows(table.filter(pc.fill_null(reported, False))):
        assert first_us <= row["fraud_label_time"] < end_us, "filtered by it"
        found.append(Happening(row["fraud_label_time"], row, outcome=True))
    yield from sorted(found, key=lambda each: each.time_us)


def _rows(table: "pa.Table") -> Iterator[Row]:
    for batch in table.to_batches():
        yield from rows_of(batch)


def _us(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // _US
