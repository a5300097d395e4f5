"""The engine as it was just before an event, or is now: what replay, explanations, backups and counts begin with.

INVARIANTS: nothing is written; the directory may be in use. The state is folded under the configuration that decided the event,
from the newest snapshot before it that fits, or from the beginning of the journal: the very state that the event met.

Called by `lab` and `cli`.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from riskengine.engine.activation import Activation, state_key_of
from riskengine.engine.configuration import Configuration
from riskengine.engine.origin import activation_at, activations_from, find_origin, sound_headers, stands_on_journal
from riskengine.engine.pipeline import Pipeline
from riskengine.engine.recovery import fold_commits
from riskengine.engine.state import State
from riskengine.errors import StartRefused
from riskengine.journal.reader import Anchor, Commits, JournalReader, segments

Progress = Callable[[int, int], None]
_NO_SEQUENCE: Final = 1 << 62
"""Behind every event."""


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """An engine without a journal.

    Attributes:
        configuration: That decides the next event.
        state: As the next event meets it.
        pipeline: Of both; the next batch begins with the next event.
        activation: That of the configuration.
        anchor: A place in the journal at or before the next event, to read on from; None for its beginning.
    """

    configuration: Configuration
    state: State
    pipeline: Pipeline
    activation: Activation
    anchor: Anchor | None


def state_before(data_dir: Path, sequence: int, *, on_progress: Progress | None = None) -> Rebuilt:
    """Rebuilds the state just before an event.

    Args:
        data_dir: The data directory.
        sequence: Of the event, or one more than that of the last event.
        on_progress: Called with (bytes read, bytes in all) while the journal is folded.

    Returns:
        The state and what decides on it.

    Raises:
        StartRefused: The journal ends before the event; or neither a snapshot nor the journal holds all before it.
        JournalCorrupt: The journal is damaged.
        BundleError: The model that decided is gone.
    """
    rebuilt = _rebuild(data_dir, sequence, on_progress)
    if rebuilt.state.sequence != sequence - 1:
        raise StartRefused(
            f"the journal in {data_dir} ends with sequence {rebuilt.state.sequence}, before {sequence}; ask for an earlier one"
        )
    return rebuilt


def state_now(data_dir: Path, *, on_progress: Progress | None = None) -> Rebuilt:
    """As `state_before`, behind the last event that the journal holds when it is read."""
    return _rebuild(data_dir, None, on_progress)


def _rebuild(data_dir: Path, sequence: int | None, on_progress: Progress | None) -> Rebuilt:
    headers = sound_headers(data_dir)
    activation = activation_at(data_dir, headers, sequence)
    configuration = activation.rebuild(data_dir)
    features, limits = configuration.features, configuration.limits
    origin = find_origin(data_dir, headers, features, limits, since=activation.since, below=sequence)
    pipeline = Pipeline(configuration, origin.state, limits)
    anchor = _fold_to(data_dir, sequence or _NO_SEQUENCE, pipeline, origin.anchor, on_progress)
    return Rebuilt(configuration, origin.state, pipeline, activation, anchor)


def first_rebuildable(data_dir: Path) -> int:
    """Returns the first sequence that `state_before` can be asked for.

    Raises:
        StartRefused: There is none: the journal was trimmed, and no snapshot is of use to this program.
    """
    first = segments(data_dir)[0].first_sequence
    if first == 1:
        return 1
    found = [
        max(header.anchor.next_sequence, header.activation.sequence)  # Folded ahead of it, it is of use from there on.
        for header in sound_headers(data_dir)
        if header.key == _key_of(data_dir, header.activation) and stands_on_journal(data_dir, header)
    ]
    found += [each.sequence for each in activations_from(data_dir, None) if each.since >= first]
    if found:
        return min(found)
    raise StartRefused(
        f"the journal in {data_dir} begins with sequence {first}, and no snapshot can be used; restore its earlier files, or "
        "a snapshot, from a copy"
    )


def _key_of(data_dir: Path, activation: Activation) -> bytes:
    return state_key_of(activation.rebuild(data_dir, with_model=False), since=activation.since)


def _fold_to(
    data_dir: Path, sequence: int, pipeline: Pipeline, start: Anchor | None, on_progress: Progress | None
) -> Anchor | None:
    """Folds the events from a place up to a sequence; returns a place at or before it, to read on from."""
    reader = JournalReader(data_dir, start=start, live=True)
    anchor = start
    for item in reader:
        if isinstance(item, Commits):
            commits = _before(item, sequence)
            if commits is not None:
                fold_commits(pipeline, commits)
            if item.events["sequence"][-1] >= sequence:
                break
        anchor = reader.position
        if on_progress:
            on_progress(*reader.progress())
    return anchor


def _before(commits: Commits, sequence: int) -> Commits | None:
    """Returns the commands before a sequence, None if there are none."""
    count = max(0, min(len(commits.events), sequence - int(commits.events["sequence"][0])))
    return replace(commits, events=commits.events[:count], decisions=commits.decisions[:count]) if count else None
