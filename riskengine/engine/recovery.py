"""Opening a data directory: lock, find a snapshot, fold what came since, activate.

INVARIANTS: recovery folds every journaled command in order under the features that are to be active, so a new measure has its
whole history at once, and takes decisions as they were given; it decides nothing. A snapshot stands for the commands before it
only if it was folded under the same features, limits and kernels. A configuration that differs from the last one is
journaled, with its model copied into the directory, before any command is applied under it.

An engine that takes over from another has folded ahead of it (`forerunner`): what is left to fold is what came since.

Called by `engine.engine`; `lab` and `cli` use `engine.rebuild` instead.
"""

import logging
import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import repeat
from pathlib import Path
from typing import Any, Final

from riskengine.clock import monotonic_ns
from riskengine.durable import make_folder
from riskengine.engine.activation import SEMANTICS, Activation, keep_model
from riskengine.engine.active import ACTIVE_NAME, keep_active
from riskengine.engine.ahead import read_ahead
from riskengine.engine.candidate import usable_headers
from riskengine.engine.configuration import Configuration
from riskengine.engine.measuring import Increments, Measuring
from riskengine.engine.origin import Ahead, Origin, find_origin
from riskengine.engine.pipeline import Pipeline, Timings
from riskengine.engine.recent.kernels import PROGRESS_RECEIVED_US, PROGRESS_SEQUENCE
from riskengine.engine.snapshot import SnapshotHeader, snapshot_paths
from riskengine.engine.state import State
from riskengine.errors import StartRefused
from riskengine.journal.directory import lock_data_dir
from riskengine.journal.format import ACTIVATION_BYTES_MAX
from riskengine.journal.reader import Activated, Commits, JournalReader, Tail, journal_exists, segments
from riskengine.journal.writer import JournalWriter
from riskengine.limits import EngineLimits
from riskengine.types import WordMatrix, words

logger = logging.getLogger(__name__)

Progress = Callable[[int, int], None]
SHORTER_HISTORY: Final = "riskengine serve --shorter-history"


@dataclass(slots=True)
class Journaled:
    """A data directory in use.

    Attributes:
        writer: The journal.
        lock: Descriptor that holds the directory.
        catalog: Names of the revisions that a decision may refer to, oldest first.
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


@dataclass(slots=True)
class _Recovered:
    """What a journal holds.

    Attributes:
        state: Of all its events.
        tail: Where it ends.
        last: The last activation, None in an empty journal.
        names: What decisions refer to, by revision.
        since: Sequence at which the history of the state begins.
    """

    state: State
    tail: Tail
    last: Activation | None
    names: dict[int, dict[str, Any]]
    since: int


def open_journal(
    data_dir: Path,
    configuration: Configuration,
    *,
    limits: EngineLimits,
    segment_bytes: int,
    new_journal_id: bytes,
    on_progress: Progress | None,
    shorter_history: bool = False,
    ahead: Ahead | None = None,
) -> tuple[Journaled, Configuration, State]:
    """Opens a data directory; see `Engine.open`."""
    try:
        make_folder(data_dir)
    except OSError as error:
        raise StartRefused(f"data directory {data_dir} cannot be made: {error.strerror}") from error
    lock = lock_data_dir(data_dir)
    try:
        if not journal_exists(data_dir):
            _require_new(data_dir)
            writer = JournalWriter.create(data_dir, journal_id=new_journal_id, segment_bytes=segment_bytes)
            journaled = Journaled(writer, lock)
            state = State(configuration.features, limits)
            return journaled, _activate(data_dir, configuration, journaled, None, since=1), state
        headers = usable_headers(data_dir)
        if ahead is not None:
            rest = _fold(data_dir, Pipeline(configuration, ahead.origin.state, limits), ahead.origin, on_progress)
            found = replace(rest, since=ahead.since)
        else:
            found = _recover(
                data_dir,
                configuration,
                headers,
                limits=limits,
                on_progress=on_progress,
                shorter_history=shorter_history,
            )
        _require_nothing_ahead(headers, found.tail)
        writer = JournalWriter.open(data_dir, tail=found.tail, segment_bytes=segment_bytes)
        journaled = Journaled(writer, lock, [found.names[revision] for revision in sorted(found.names)])
        active = _activate(data_dir, configuration, journaled, found.last, since=found.since)
        return journaled, active, found.state
    except BaseException:
        os.close(lock)
        raise


def fold_commits(pipeline: Pipeline, commits: Commits) -> None:
    """Folds journaled commands and remembers their decisions as they were given.

    Args:
        pipeline: Its state is as of the command before.
        commits: The commands.
    """
    pipeline.state.recent.remember(commits.events, commits.decisions)
    _absorb(pipeline, commits, repeat(None))


def _absorb(pipeline: Pipeline, commits: Commits, prepared: Iterable[Increments | None]) -> None:
    """Folds journaled commands whose decisions are remembered; the two touch nothing in common."""
    state = pipeline.state
    for events, increments in zip(_batches(commits, pipeline.rows_max), prepared, strict=False):
        pipeline.absorb(events, increments)
    state.progress[PROGRESS_SEQUENCE] = commits.events["sequence"][-1]
    state.progress[PROGRESS_RECEIVED_US] = commits.events["received_time_us"][-1]


def _batches(commits: Commits, rows_max: int) -> list[WordMatrix]:
    """Cuts commands into batches."""
    return [words(commits.events[first : first + rows_max]) for first in range(0, len(commits.events), rows_max)]


def _recover(
    data_dir: Path,
    configuration: Configuration,
    headers: Sequence[SnapshotHeader],
    *,
    limits: EngineLimits,
    on_progress: Progress | None,
    shorter_history: bool,
) -> _Recovered:
    """Folds what no snapshot holds, and reads to the end of the journal."""
    newest = next(iter(headers), None)
    since = newest.activation.since if newest else 1
    while True:
        try:
            origin = find_origin(data_dir, headers, configuration.features, limits, since=since)
        except StartRefused as error:
            told = _since_told(data_dir)
            if told <= since and not shorter_history:
                message = f"{error.message}; or go on with what the journal holds, windows shortened: {SHORTER_HISTORY}"
                raise StartRefused(message, metadata=error.metadata) from None
            since = told if told > since else segments(data_dir)[0].first_sequence
            logger.warning("the history that windows and links know begins with sequence %d", since)
            continue
        if origin.activation is None and newest is not None:
            # What a trimmed journal does not tell any more, the snapshot does, whatever its state is worth.
            origin = replace(origin, activation=newest.activation, names=newest.names)
        found = _fold(data_dir, Pipeline(configuration, origin.state, limits), origin, on_progress)
        if found.last is None and not found.state.sequence:
            return found  # Its engine ended before it had journaled what decides.
        if found.last is None:
            raise StartRefused(
                f"the journal in {data_dir} tells of no activation; restore its earlier files from a copy"
            )
        if found.last.since <= since:
            return replace(found, since=since)
        since = found.last.since


def _since_told(data_dir: Path) -> int:
    """Returns where the history begins by the last activation that the journal holds, 1 where it holds none."""
    since = 1
    for item in JournalReader(data_dir, live=True):
        if isinstance(item, Activated):
            since = Activation.read(item).since
    return since


def _fold(data_dir: Path, pipeline: Pipeline, origin: Origin, on_progress: Progress | None) -> _Recovered:
    """Folds the journal from an origin on."""
    started_ns, first = monotonic_ns(), origin.state.sequence
    logger.info("recovery folds the journal from sequence %d on", first + 1)
    reader = JournalReader(data_dir, start=origin.anchor)
    last, names = origin.activation, dict(origin.names)
    rows_max, configuration = pipeline.rows_max, pipeline.configuration
    measuring = Measuring(configuration.features, rows_max=rows_max, column_count=configuration.column_count)

    def prepare(commits: Commits) -> list[Increments]:
        origin.state.recent.remember(commits.events, commits.decisions)
        return [measuring.run(events).copy() for events in _batches(commits, rows_max)]

    with closing(read_ahead(reader, prepare)) as items:
        for item, prepared, progress in items:
            if isinstance(item, Activated):
                last = Activation.read(item)
                names[last.revision] = last.names
                continue
            _absorb(pipeline, item, prepared)
            if on_progress:
                on_progress(*progress)
    took_s, count = (monotonic_ns() - started_ns) / 1e9, origin.state.sequence - first
    logger.info("recovered sequence %d: %d events folded in %.1f s", origin.state.sequence, count, took_s)
    return _Recovered(origin.state, reader.tail, last, names, 1)


def _require_new(data_dir: Path) -> None:
    """Raises StartRefused where a snapshot or an activation tells of a journal that is gone."""
    witnesses = [path for path in (*snapshot_paths(data_dir), data_dir / ACTIVE_NAME) if path.exists()]
    if witnesses:
        raise StartRefused(
            f"there is no journal in {data_dir}, but {witnesses[0]} tells of one; restore the journal from a copy, or, to "
            f"begin anew without what was there, move all of {data_dir} away",
            metadata={"file": str(witnesses[0])},
        )


def _require_nothing_ahead(headers: Sequence[SnapshotHeader], tail: Tail) -> None:
    """Raises StartRefused where a snapshot knows of more than the journal holds: something that was answered is lost."""
    for header in headers:
        anchor = header.anchor
        if (anchor.segment_index, anchor.offset) > (tail.segment.index, tail.offset):
            raise StartRefused(
                f"{header.path} was made when the journal reached sequence {header.sequence}, but it ends with "
                f"{tail.segment.name} at byte {tail.offset}, before sequence {tail.next_sequence}: events that were answered "
                "are missing; restore the journal from a copy, or, to go on without them, move that snapshot away",
                metadata={"file": str(header.path), "sequence": str(tail.next_sequence)},
            )


def _activate(
    data_dir: Path, configuration: Configuration, journaled: Journaled, last: Activation | None, *, since: int
) -> Configuration:
    """Journals the configuration unless it is the one that decided last."""
    wanted = (configuration.content, SEMANTICS, since)
    if last is not None and (last.configuration, last.semantics, last.since) == wanted:
        keep_active(data_dir, last)
        return configuration.with_revision(last.revision)
    revision = last.revision + 1 if last else 1
    active = configuration.with_revision(revision)
    keep_model(data_dir, active)
    activation = Activation(journaled.writer.next_sequence, revision, active.content, active.names(), SEMANTICS, since)
    _append(journaled.writer, activation)
    journaled.catalog.append(activation.names)
    keep_active(data_dir, activation)
    return active


def _append(writer: JournalWriter, activation: Activation) -> None:
    """Journals an activation; raises StartRefused for one that is larger than a segment."""
    content = activation.content()
    try:
        writer.append_activation(activation.revision, content)
    except ValueError:
        raise StartRefused(
            f"the configuration takes {len(content)} bytes, lists included, which is more than one file of the journal holds "
            f"or than {ACTIVATION_BYTES_MAX}; set journal_segment_mib in server.yaml higher, or shorten the lists"
        ) from None
    writer.sync()
