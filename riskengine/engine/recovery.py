"""Opening a data directory: lock, read, fold, activate.

INVARIANTS: recovery folds every journaled command in order under the features that are to be active, so a new measure has its
whole history at once, and takes decisions as they were given; it decides nothing. A configuration that differs from the
last one is journaled, with its model copied into the directory, before any command is applied under it.

Called by `engine.engine`; `lab` and `cli` use `replay` instead.
"""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from riskengine.engine.configuration import Configuration
from riskengine.engine.pipeline import Pipeline, Timings
from riskengine.engine.recent.kernels import PROGRESS_RECEIVED_US, PROGRESS_SEQUENCE
from riskengine.engine.state import State
from riskengine.errors import StartRefused
from riskengine.jit import semantics_id
from riskengine.journal.directory import lock_data_dir
from riskengine.journal.reader import Activated, Commits, JournalReader, journal_exists
from riskengine.journal.writer import JournalWriter
from riskengine.limits import EngineLimits
from riskengine.types import WordMatrix, words

MODELS_FOLDER: Final = "models"
SEMANTICS: Final = semantics_id()
"""Of this program: the same decisions, bit for bit, are promised within one."""
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Activation:
    """What an activation frame holds.

    Attributes:
        revision: Its ordinal, 1, 2, 3 ...
        configuration: Content that rebuilds the configuration.
        names: What the decisions under it refer to.
        semantics: Of the program that decided, see `jit.semantics_id`.
    """

    revision: int
    configuration: str
    names: dict[str, Any]
    semantics: str

    @classmethod
    def read(cls, activated: Activated) -> "Activation":
        """Reads an activation frame."""
        data = json.loads(activated.content)
        return cls(activated.revision, data["configuration"], data["names"], data["semantics"])

    def content(self) -> bytes:
        """Returns the bytes of the frame."""
        told = {"configuration": self.configuration, "names": self.names, "semantics": self.semantics}
        return json.dumps(told, separators=(",", ":")).encode()


@dataclass(slots=True)
class Journaled:
    """A data directory in use.

    Attributes:
        writer: The journal.
        lock: Descriptor that holds the directory.
        catalog: Names of every revision, oldest first.
    """

    writer: JournalWriter
    lock: int
    catalog: list[dict[str, Any]] = field(default_factory=list)

    def commit(self, events: WordMatrix, decisions: WordMatrix, timings: Timings) -> None:
        """Writes one frame and waits until it is durable; as `JournalWriter.append`.

        Raises:
            JournalFault: The process must end.
        """
        started_ns = timings.clock_ns()
        self.writer.append(events, decisions)
        appended_ns = timings.clock_ns()
        self.writer.sync()
        timings.frame_ns += appended_ns - started_ns
        timings.sync_ns += timings.clock_ns() - appended_ns

    def close(self) -> None:
        """Closes the journal and releases the directory."""
        self.writer.close()
        os.close(self.lock)


def fold_commits(pipeline: Pipeline, state: State, commits: Commits, *, rows_max: int) -> None:
    """Folds journaled commands and remembers their decisions as they were given."""
    for first in range(0, len(commits.events), rows_max):
        events = commits.events[first : first + rows_max]
        pipeline.fold(words(events))
        state.recent.remember(events, commits.decisions[first : first + rows_max])
    state.progress[PROGRESS_SEQUENCE] = commits.events["sequence"][-1]
    state.progress[PROGRESS_RECEIVED_US] = commits.events["received_time_us"][-1]


def _recover(
    data_dir: Path,
    configuration: Configuration,
    state: State,
    *,
    limits: EngineLimits,
    segment_bytes: int,
    on_progress: Progress | None,
) -> tuple[JournalWriter, list[Activation]]:
    """Folds the journal into the state and returns its end."""
    reader = JournalReader(data_dir)
    pipeline = Pipeline(configuration, state, limits)
    activations: list[Activation] = []
    total_bytes = sum(file.stat().st_size for file in (data_dir / "journal").glob("*.journal"))
    for item in reader:
        if isinstance(item, Activated):
            activations.append(Activation.read(item))
            continue
        fold_commits(pipeline, state, item, rows_max=limits.batch_rows_max)
        if on_progress:
            on_progress(min(reader.frame_bytes, total_bytes), total_bytes)
    return JournalWriter.open(data_dir, tail=reader.tail, segment_bytes=segment_bytes), activations


def keep_model(data_dir: Path, configuration: Configuration) -> None:
    """Copies the bundle into the data directory by its revision, so that a replay finds it."""
    if configuration.model is None or configuration.model_path is None:
        return
    folder = data_dir / MODELS_FOLDER
    target = folder / configuration.model.bundle.revision
    if target.is_dir():
        return
    folder.mkdir(mode=0o700, exist_ok=True)
    partial = folder / f".{target.name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(configuration.model_path, partial)
    for file in (*partial.iterdir(), partial):
        descriptor = os.open(file, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)
    partial.rename(target)
    descriptor = os.open(folder, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


def open_journal(
    data_dir: Path,
    configuration: Configuration,
    *,
    limits: EngineLimits,
    segment_bytes: int,
    new_journal_id: bytes,
    on_progress: Progress | None,
) -> tuple[Journaled, Configuration, State]:
    """Opens a data directory; see `Engine.open`."""
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StartRefused(f"data directory {data_dir} cannot be made: {error.strerror}") from error
    lock = lock_data_dir(data_dir)
    try:
        state = State(configuration.features, limits)
        activations: list[Activation] = []
        if journal_exists(data_dir):
            writer, activations = _recover(
                data_dir, configuration, state, limits=limits, segment_bytes=segment_bytes, on_progress=on_progress
            )
        else:
            writer = JournalWriter.create(data_dir, journal_id=new_journal_id, segment_bytes=segment_bytes)
        journaled = Journaled(writer, lock, [activation.names for activation in activations])
        return journaled, _activate(data_dir, configuration, journaled, activations), state
    except BaseException:
        os.close(lock)
        raise


def _activate(
    data_dir: Path, configuration: Configuration, journaled: Journaled, activations: list[Activation]
) -> Configuration:
    """Journals the configuration unless it is the one that decided last."""
    last = activations[-1] if activations else None
    if last is not None and (last.configuration, last.semantics) == (configuration.content, SEMANTICS):
        return configuration.with_revision(last.revision)
    revision = last.revision + 1 if last else 1
    active = configuration.with_revision(revision)
    keep_model(data_dir, active)
    activation = Activation(revision, active.content, active.names(), SEMANTICS)
    journaled.writer.append_activation(revision, activation.content())
    journaled.writer.sync()
    journaled.catalog.append(activation.names)
    return active
