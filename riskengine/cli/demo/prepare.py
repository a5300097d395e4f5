"""The demo's folder: the starter configuration with its own model, live, and an engine that knows the past.

INVARIANTS: the folder is like one of `init`, but for what `EDITS` says; the past reaches the engine as journaled commands,
through the very `Engine` that serves, before the server starts.

Called by `command`.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Final

from riskengine.cli.console import plural, step
from riskengine.cli.init import write_folder
from riskengine.cli.train import train_visibly
from riskengine.cli.workspace import load_workspace
from riskengine.errors import RiskEngineError

if TYPE_CHECKING:
    from collections.abc import Callable

    import pyarrow as pa

    from riskengine.engine.engine import Engine
    from riskengine.lab.events import EventPacker

    from .story import Size, Story

MODEL: Final = "demo"
HISTORY: Final = "history.parquet"
EDITS: Final = (
    ("policy.yaml", "\n  mode: shadow\n", "\n  mode: live\n"),
    ("server.yaml", "\nlisten: 127.0.0.1:50051\n", "\nlisten: 127.0.0.1:0\n"),
)
"""File, what is in the starter's, what is in the demo's."""
CALIBRATION_SHARE: Final = 0.2
TEST_SHARE: Final = 0.1


def make_folder(directory: Path) -> None:
    """Writes the demo's configuration.

    Args:
        directory: Has none yet.
    """
    write_folder(directory)
    for name, before, after in EDITS:
        text = (directory / name).read_text(encoding="utf-8")
        if text.count(before) != 1:
            raise RiskEngineError(f"the shipped {name} has no single {before.strip()!r}; this installation is damaged")
        (directory / name).write_text(text.replace(before, after), encoding="utf-8")


def train_own_model(directory: Path, story: "Story", size: "Size", *, created_time_us: int) -> None:
    """Trains the demo's model on its past.

    Args:
        directory: The demo's.
        story: The past is used, never the live part.
        size: Number of trees.
        created_time_us: Of the bundle.
    """
    from riskengine.lab.booster import FitSettings
    from riskengine.lab.history import write_history

    write_history(story.lessons, directory / HISTORY)
    train_visibly(
        directory / HISTORY,
        load_workspace(directory, with_model=False),
        name=MODEL,
        rounds=size.rounds,
        label_delay_days=7,
        created_time_us=created_time_us,
        activate=True,
        settings=FitSettings(
            learning_rate=0.1, max_bin=512, calibration_share=CALIBRATION_SHARE, test_share=TEST_SHARE
        ),
    )


def fold_past(directory: Path, past: "pa.Table") -> None:
    """Folds the past through an engine in this process, into the data directory that the server opens next.

    Args:
        directory: The demo's.
        past: Of the history schema, in order, with the labels known by its end.
    """
    workspace = load_workspace(directory, with_model=True)
    from riskengine.engine.engine import Engine

    settings = workspace.settings
    limits = settings.limits.engine_limits()
    with step("Folding the past into the engine (a warm start)") as shown:
        engine = Engine.open(
            settings.data_dir,
            workspace.configuration,
            limits=limits,
            segment_bytes=settings.journal_segment_mib << 20,
        )
        try:
            _commit(
                engine, past, workspace.packer(), rows_max=limits.batch_rows_max, total=past.num_rows, tell=shown.update
            )
            count = engine.sequence
        finally:
            engine.close()
        shown.say(f"{plural(count, 'event')}, all in the journal")


def _commit(
    engine: "Engine",
    past: "pa.Table",
    packer: "EventPacker",
    *,
    rows_max: int,
    total: int,
    tell: "Callable[[int, int], None]",
) -> None:
    import pyarrow.compute as pc

    from riskengine.enums import Kind
    from riskengine.lab.features import in_order

    # Every label that the past has is known when the server starts, also those that came behind its last event.
    known_until_us = pc.max(past.column("fraud_label_time").cast("int64")).as_py()
    batches = past.to_batches(16_384)
    done = 0
    for events, _, _, _ in in_order(batches, packer, kind=Kind.RECORD, known_until_us=known_until_us):
        for first in range(0, len(events), rows_max):
            engine.commit(events[first : first + rows_max])
        done += len(events)
        tell(min(done, total), total)
