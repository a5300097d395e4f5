"""The state just before any command, made again from the journal.

INVARIANTS: nothing is written; the state is that of an engine that had applied all commands before, under the features of the
configuration that decided next.

Used by `lab` (explanations, what-if).
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from riskengine.engine.activation import MODELS_FOLDER, Activation
from riskengine.engine.configuration import Configuration, configuration_from_content
from riskengine.engine.pipeline import Pipeline
from riskengine.engine.recovery import fold_commits
from riskengine.engine.state import State
from riskengine.journal.reader import Activated, Commits, JournalReader

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """A state, ready to decide the next command.

    Attributes:
        configuration: That decided it, with its revision.
        state: Just before it.
        pipeline: Over both.
        activation: That brought the configuration.
    """

    configuration: Configuration
    state: State
    pipeline: Pipeline
    activation: Activation


def state_before(data_dir: Path, sequence: int, *, on_progress: Progress | None = None) -> Rebuilt:
    """Makes the state just before a command.

    Args:
        data_dir: The data directory; it may be in use.
        sequence: Of the command, at least 1; commands behind the journal's end are not waited for.
        on_progress: Called with (bytes read, bytes in all).

    Raises:
        JournalCorrupt: The journal is damaged.
        BundleError: The model that decided is gone.
    """
    activation = _activation_at(data_dir, sequence)
    configuration = configuration_from_content(
        activation.configuration, models_dir=data_dir / MODELS_FOLDER
    ).with_revision(activation.revision)
    state = State(configuration.features, configuration.limits)
    pipeline = Pipeline(configuration, state, configuration.limits)
    total_bytes = sum(file.stat().st_size for file in (data_dir / "journal").glob("*.journal"))
    reader = JournalReader(data_dir)
    for item in reader:
        if isinstance(item, Activated):
            continue
        count = int(np.searchsorted(item.events["sequence"], sequence))
        if count:
            before = Commits(item.events[:count], item.decisions[:count])
            fold_commits(pipeline, state, before, rows_max=configuration.limits.batch_rows_max)
        if count < len(item.events):
            break
        if on_progress:
            on_progress(min(reader.frame_bytes, total_bytes), total_bytes)
    return Rebuilt(configuration, state, pipeline, activation)


def _activation_at(data_dir: Path, sequence: int) -> Activation:
    """Returns the activation under which a command is decided."""
    last: Activated | None = None
    for item in JournalReader(data_dir):
        if isinstance(item, Activated):
            if item.sequence > sequence:
                break
            last = item
        elif item.events["sequence"][-1] >= sequence:
            break
    assert last is not None, "a journal begins with an activation"
    return Activation.read(last)
