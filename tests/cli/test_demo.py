"""The demo: an honest story, lines that fit, and the whole of it at work."""

import io
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow.compute as pc
import pytest
from rich.console import Console

from riskengine.cli.demo.screen import REPEATS_SHOWN, LiveView, show_next, show_summary
from riskengine.cli.demo.story import QUICK, Happening, Size, Story, tell_story
from riskengine.cli.demo.tally import ASKED, CAUGHT, FALSE_ALARM, FINE, MISSED, Tally
from riskengine.v1.decision_pb2 import VERDICT_DECLINE, Decision, Reason

NOW = datetime(2026, 7, 3, 15, 0, tzinfo=UTC)
SMALL = Size(people=150, days=30, rounds=10, fast_hours=10, shown_hours=10, shown_s=1.0)


@pytest.fixture(scope="module")
def story() -> Story:
    """A small story."""
    return tell_story(SMALL, seed=1, now=NOW, progress=lambda share, what: None)


def test_live_part_follows_the_past_and_ends_before_now(story: Story) -> None:
    """Goal: nothing sent live was learned from; windows and clock skew are real. Method: compare times."""
    last_us = int(pc.max(story.past.column("event_time")).cast("int64").as_py())
    times = [each.time_us for each in (*story.fast, *story.shown)]
    now_us = int(NOW.timestamp()) * 1_000_000

    assert last_us < times[0]
    assert times == sorted(times)
    assert now_us - timedelta(days=8) / timedelta(microseconds=1) < times[-1] <= now_us
    assert story.past.num_rows == story.lessons.num_rows


def test_labels_are_those_known_when_the_past_ends(story: Story) -> None:
    """Goal: no peeking. Method: no label of the past is later than its end; the newest weeks of the lessons have none."""
    end = story.fast[0].time_us
    known = story.past.column("fraud_label_time").cast("int64")
    newest = story.lessons.filter(
        pc.greater(story.lessons.column("event_time").cast("int64"), end - 13 * 86_400 * 10**6)
    )

    assert pc.max(known).as_py() <= end
    assert newest.column("fraud").null_count == newest.num_rows
    assert pc.sum(story.lessons.column("fraud")).as_py() > 0


def test_each_episode_begins_once(story: Story) -> None:
    """Goal: the story can be followed. Method: one beginning for each ordinal, every fraud belongs to one."""
    live = [each for each in (*story.fast, *story.shown) if not each.outcome]
    begun = [each.episode for each in live if each.begins]

    assert len(begun) == len(set(begun)) > 3
    assert all(bool(each.episode) == bool(each.row["fraud"]) for each in live)


def test_tally_counts_what_became_of_fraud_and_of_honest_payers() -> None:
    """Goal: figures that can be trusted. Method: one event of each kind."""
    tally = Tally()
    thief, payer = {"fraud_scenario": "stolen_card"}, {"fraud_scenario": None}
    looks = [
        tally.add(thief, 1, "APPROVE", asked=False, base_minor=100),
        tally.add(thief, 1, "APPROVE", asked=True, base_minor=20),
        tally.add(thief, 2, "DECLINE", asked=False, base_minor=3),
        tally.add(payer, 0, "REVIEW", asked=False, base_minor=5),
        tally.add(payer, 0, "APPROVE", asked=False, base_minor=5),
    ]
    counts = tally.scenarios["stolen_card"]

    assert looks == [MISSED, ASKED, CAUGHT, FALSE_ALARM, FINE]
    assert (counts.missed_minor, counts.caught_minor, counts.noticed) == (100, 23, {1, 2})
    assert (tally.honest, tally.honest_stopped["REVIEW"]) == (2, 1)


def test_latency_is_a_quantile() -> None:
    """Goal: p50 and p99 mean what they say. Method: a hundred known values."""
    tally = Tally(latencies_us=[1000 * value for value in range(100, 0, -1)])

    assert tally.latency_ms(0.5) == 51.0
    assert tally.latency_ms(0.99) == 100.0
    assert Tally().latency_ms(0.5) == 0.0


@pytest.mark.parametrize("width", [80, 120])
def test_lines_fit_and_are_plain_without_a_terminal(story: Story, width: int) -> None:
    """Goal: a log file reads well. Method: every event of a story, declined with a long reason, at two widths."""
    file = io.StringIO()
    console = Console(file=file, width=width, highlight=False)
    tally = Tally()
    view = LiveView(console, tally, len(story.shown))
    reason = Reason(code="X", text="The device is shared by more accounts or cards than usual.", feature="device.x_1h")
    reason.observed_value = 12.0
    decision = Decision(verdict=VERDICT_DECLINE, fraud_probability=0.997, reasons=[reason])
    with view.shown():
        for happening in story.shown:
            view.begin(happening)
            if not happening.outcome:
                look = tally.add(happening.row, happening.episode, "DECLINE", asked=False, base_minor=0)
                view.decided(happening, decision, look)
    show_summary(console, tally)
    show_next(console, "demo", kept=True)
    said = file.getvalue()

    assert max(map(len, said.splitlines())) <= width
    assert "\x1b" not in said
    assert "begins:" in said
    assert "device.x_1h = 12" in " ".join(said.split())


def test_repeats_of_an_episode_are_counted_instead_of_shown() -> None:
    """Goal: a burst does not hide the rest. Method: nine equal declines of one episode."""
    file = io.StringIO()
    view = LiveView(Console(file=file, width=80, highlight=False), Tally(), 9)
    row = {
        "type": "CARD_PAYMENT",
        "fraud_scenario": "card_testing",
        "card_id": "card_1",
        "device_id": "dev_abcd",
        "amount_minor": 100,
        "currency_code": "EUR",
    }
    with view.shown():
        for second in range(9):
            view.decided(Happening(second * 10**6, row, episode=1), Decision(verdict=VERDICT_DECLINE), CAUGHT)
    said = file.getvalue()

    assert said.count("card payment") == REPEATS_SHOWN
    assert f"and {9 - REPEATS_SHOWN} more like it" in said
    assert "device abcd" in said


def test_demo_refuses_a_folder_that_is_not_empty(tmp_path: Path) -> None:
    """Goal: nothing is overwritten. Method: --dir on a folder in use; exit code 2."""
    from riskengine.cli.main import run

    (tmp_path / "mine.txt").write_text("precious")

    assert run(["demo", "--dir", str(tmp_path)]) == 2


def test_interrupted_demo_ends_with_130_and_leaves_nothing(tmp_path: Path) -> None:
    """Goal: Ctrl-C is safe. Method: interrupt it as soon as it works; no file of its own stays, no traceback is shown."""
    process = subprocess.Popen(
        [sys.executable, "-m", "riskengine.cli.main", "demo", "--quick"],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 a shell's background job ignores it
    )
    assert process.stderr is not None
    first = process.stderr.readline()
    process.send_signal(signal.SIGINT)
    _, rest = process.communicate(timeout=60)

    assert process.returncode == 130, first + rest
    assert "Traceback" not in rest
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.server
@pytest.mark.timeout(400)
def test_quick_demo_runs_from_end_to_end(tmp_path: Path) -> None:
    """Goal: the first thing a newcomer runs works. Method: run it as he would; its journal replays bit for bit."""
    folder = tmp_path / "demo"
    program = [sys.executable, "-m", "riskengine.cli.main"]

    done = subprocess.run(
        [*program, "demo", "--quick", "--dir", str(folder)], capture_output=True, text=True, check=False
    )
    replayed = subprocess.run([*program, "journal", "replay", str(folder)], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    for expected in ("begins:", "decline", "What came of it", "False alarms", "p99", "riskengine init starter"):
        assert expected in done.stdout
    assert "failed: " not in done.stdout
    assert "\x1b" not in done.stdout
    assert "every bit the same" in replayed.stdout
    assert QUICK.shown_s < 10
