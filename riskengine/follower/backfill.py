"""Back-filling: the state that a new configuration would have, folded beside the engine and written down for it.

It runs in a process of its own, that of `riskengine features activate`, at the follower's priority and with as much memory as
the engine has. A new window of what is measured already, another policy or another model change no state: then there is nothing
to fold, and the engine that takes over begins with a snapshot as it would after a fall.

INVARIANTS: nothing is written but the candidate; what is cut off leaves a partial file at most, which the next one removes.

Called by `cli.activate`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from riskengine.clock import Clock
from riskengine.engine.activation import Activation, state_key_of
from riskengine.engine.candidate import ActivationAborted, Candidate, keep_candidate, usable_headers
from riskengine.engine.forerunner import Forerunner
from riskengine.errors import StartRefused
from riskengine.journal.reader import Commits, JournalReader, segments

from .tail import Tail

NEAR_EVENTS: Final = 2_000_000
"""An engine that stands by folds so many behind a snapshot by itself: twice what the follower leaves by default."""
OnProgress = Callable[[int, int, int, float], None]
"""Told (bytes read, bytes in all, events folded, seconds since the beginning)."""


@dataclass(frozen=True, slots=True)
class Backfilled:
    """What was done.

    Attributes:
        event_count: Events folded.
        anew: Whether from the beginning of the journal.
        size_bytes: Of the snapshot.
    """

    event_count: int
    anew: bool
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Beginning:
    """Where the journal begins.

    Attributes:
        sequence: Of its first event.
        event_time_us: When the earliest of its first events took place, microseconds; None in an empty journal.
    """

    sequence: int
    event_time_us: int | None


def journal_beginning(data_dir: Path) -> Beginning:
    """Reads the first events of a journal; it may be in use."""
    sequence = segments(data_dir)[0].first_sequence
    for item in JournalReader(data_dir, live=True):
        if isinstance(item, Commits):
            return Beginning(sequence, int(item.events["event_time_us"].min()))
    return Beginning(sequence, None)


def is_foldable(data_dir: Path, candidate: Candidate) -> bool:
    """Tells whether the journal, or a snapshot, has all that the state of a candidate needs."""
    return segments(data_dir)[0].first_sequence <= candidate.since or _newest_sequence(data_dir, candidate) is not None


def is_near(data_dir: Path, candidate: Candidate) -> bool:
    """Tells whether a snapshot of the state that a candidate needs is so new that nothing has to be folded for it."""
    newest = _newest_sequence(data_dir, candidate)
    return segments(data_dir)[-1].first_sequence - (newest or 0) <= NEAR_EVENTS


def measures_alike(candidate: Candidate, active: Activation, data_dir: Path) -> bool:
    """Tells whether the state of a candidate is the one that the engine has."""
    key = state_key_of(active.rebuild(data_dir, with_model=False), since=active.since)
    return key == state_key_of(candidate.configuration, since=candidate.since)


def _newest_sequence(data_dir: Path, candidate: Candidate) -> int | None:
    """Returns the last event in the newest snapshot that a candidate can use, None where there is none."""
    key = state_key_of(candidate.configuration, since=candidate.since)
    return max((header.sequence for header in usable_headers(data_dir) if header.key == key), default=None)


def backfill(
    data_dir: Path,
    candidate: Candidate,
    *,
    clock: Clock,
    on_progress: OnProgress,
    pause: Callable[[int], None] = lambda size_bytes: None,
) -> Backfilled:
    """Writes a candidate with the state that it needs; the caller holds it.

    Args:
        data_dir: The data directory of a running engine.
        candidate: What is to decide next.
        clock: For pace and progress.
        on_progress: Told about twice a second.
        pause: As of `write_snapshot`.

    Raises:
        StartRefused: Neither a snapshot nor the journal holds what came before, or the journal was trimmed meanwhile.
        JournalCorrupt: The journal is damaged.
        ActivationAborted: There is no memory, or no space on the disk.
    """
    try:
        return _backfill(data_dir, candidate, clock=clock, on_progress=on_progress, pause=pause)
    except MemoryError:
        raise ActivationAborted(
            "there is no memory for a second state beside the engine's; free some, or stop the server and start it anew, which "
            "folds the journal under the new configuration before it serves"
        ) from None
    except FileNotFoundError as error:
        raise StartRefused(
            f"the journal was trimmed while it was folded ({error.filename} is gone); run the command again"
        ) from None
    except OSError as error:
        raise ActivationAborted(
            f"the state of the new configuration cannot be written to {data_dir}: {error.strerror}; nothing was changed. Free "
            "space, then run the command again"
        ) from error


def _backfill(
    data_dir: Path, candidate: Candidate, *, clock: Clock, on_progress: OnProgress, pause: Callable[[int], None]
) -> Backfilled:
    keep_candidate(data_dir, candidate)
    started_us = clock.monotonic_us()
    forerunner = Forerunner(data_dir, candidate, clock=clock)
    busy = True
    while busy:
        busy = forerunner.turn()
        passed_s = (clock.monotonic_us() - started_us) / 1e6
        on_progress(*forerunner.progress(), forerunner.event_count, passed_s)
    tail = Tail(data_dir)
    try:
        path = forerunner.write(make_durable=tail.make_durable, pause=pause)
    finally:
        tail.close()
    return Backfilled(forerunner.event_count, forerunner.first == 0, path.stat().st_size)
