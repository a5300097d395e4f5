"""A history through the lanes: batches are packed, labels come where they became known, chunks are folded, rows are written.

    batches ─► pack (any lane) ─► labels, repetitions (here) ─► fold (each lane its columns) ─► derived, file (here)

INVARIANTS: rows stand in the order of the history, and each holds what the engine would have known at that moment, to the last
bit: an event comes once, as idempotency has it, a label when it became known, and where the arena would have been too small for
all types together, one lane folds all of them. Neither the number of processes nor the size of chunks changes a value. Memory is
bounded: by the slots, a row group, and the state of an engine in each process, which they share out.

Called by `cli.features`.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa

from riskengine.engine.configuration import Configuration
from riskengine.engine.recent import RecentDecisions
from riskengine.engine.split import (
    Part,
    check_whole,
    columns_of,
    event_columns,
    fits,
    parts_of,
    restricted,
    units_of,
)
from riskengine.enums import Kind
from riskengine.lab.compute.lane import Recipe
from riskengine.lab.compute.output import FeatureFile, carried_columns, schema_of, table_of
from riskengine.lab.compute.slots import FoldSlot, Layout, PackSlot
from riskengine.lab.compute.team import BUSY_COST, Team
from riskengine.lab.features import labelled_outcomes
from riskengine.lab.history import HistoryReader
from riskengine.lab.labels import Label, with_labels
from riskengine.settings import ServerSettings
from riskengine.types import EVENT_WORDS, Array, Floats, Ints, Valid, words
from riskengine.wire.pseudonyms import TagKey

CHUNK_ROWS: Final = 16_384
"""Rows that are packed, and events that are folded, at once: 28 MB in a slot with the starter's features."""
_FOLDS: Final = 3
"""Chunks that are being folded: one that lanes work on, one that waits for those ahead, one that is being written."""
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Computed:
    """What was computed.

    Attributes:
        row_count: Rows of the file.
        problem_count: Rows of the history that the door would refuse, left out.
        repeated_count: Rows that repeat a recent transaction_id, left out: the engine answers them as before and counts nothing.
        feature_count: Features of a row.
        together: Whether all columns were folded by one process, since the arena was too small for all types.
    """

    row_count: int
    problem_count: int
    repeated_count: int
    feature_count: int
    together: bool


class _Crowded(Exception):
    """The parts have had more memory than the whole may have."""


def compute_file(
    reader: HistoryReader,
    target: Path,
    configuration: Configuration,
    settings: ServerSettings,
    key: TagKey,
    *,
    processes: int = 1,
    keep: Sequence[str] = (),
    chunk_rows: int = CHUNK_ROWS,
    on_progress: Progress = lambda done, total: None,
) -> Computed:
    """Computes the features of every event of a history and writes them to a Parquet file.

    Args:
        reader: The history.
        target: The file, replaced if it is there; `output` says what is in it.
        configuration: What is measured; its model is not asked.
        settings, key: What identifiers and amounts are read with.
        processes: How many compute, at least 1; this one is among them.
        keep: Columns of the history to carry over beside `output.CARRIED`.
        chunk_rows: Rows in work at once, at least 1.
        on_progress: Called with (rows done, rows), and from 0 again where one lane has to fold all.

    Raises:
        HistoryError: The history has mistakes, or the file cannot be written.
        RiskEngineError: A process ended.
    """
    assert processes >= 1, "somebody computes"
    carried = carried_columns(reader, keep)
    base = replace(configuration, model=None, model_path=None)
    total = reader.row_count
    units = units_of(base.features)
    apart = parts_of(units, processes, first_busy=BUSY_COST if processes > 1 else 0.0)
    together = [frozenset(units), *(frozenset() for _ in range(processes - 1))]
    for parts in (apart, together):
        work = _Work(base, parts, carried, total, on_progress)
        recipes, shares = _recipes(base, parts, units, settings, key, reader.schema)
        layout = Layout(chunk_rows, len(base.features.features), processes, packs=processes + 2, folds=_FOLDS)
        schema = schema_of(reader, carried, base.features)
        try:
            with FeatureFile(target, schema, rows=total) as file, Team(recipes, shares, layout) as team:
                work.run(team, file, reader.batches(chunk_rows), schema)
        except _Crowded:
            assert parts is not together, "a whole has no more than its own arena"
            continue
        return work.computed(together=processes > 1 and parts is together)
    raise AssertionError("the whole is folded where the parts cannot be")


def _recipes(
    base: Configuration,
    parts: Sequence[Part],
    units: dict[int, float],
    settings: ServerSettings,
    key: TagKey,
    schema: pa.Schema,
) -> tuple[list[Recipe], list[float]]:
    """Returns the recipes of the lanes, and what share of the cost of folding each has."""
    check_whole(base.features, parts)
    cost = sum(units.values()) or 1.0
    shares = [sum(units[unit] for unit in part) / cost for part in parts]
    recipes = []
    # The event's own columns, which every lane fills, are written by the first that folds anything.
    event_lane = next((lane for lane, part in enumerate(parts) if part), 0)
    for lane, part in enumerate(parts):
        columns = columns_of(base.features, part)
        if lane == event_lane:
            columns = np.concatenate([event_columns(base.features), columns])
        configuration = replace(base, features=restricted(base.features, part))
        recipes.append(Recipe(lane, configuration, columns, settings, key, schema))
    return recipes, shares


@dataclass(slots=True)
class _Batch:
    """A batch of the history that was packed."""

    rows: pa.RecordBatch
    slot: PackSlot
    count: int


@dataclass(slots=True)
class _Chunk:
    """A chunk that is being folded: its slot, its events, what the file says of its rows, the lanes' tasks."""

    slot: int
    count: int
    carried: pa.RecordBatch
    tasks: list[int]


class _Work:
    """One run over a history."""

    def __init__(
        self, base: Configuration, parts: Sequence[Part], carried: tuple[str, ...], total: int, on_progress: Progress
    ) -> None:
        self._configuration = base
        self._parts_folding = sum(1 for part in parts if part)
        self._carried = carried
        self._total = total
        self._on_progress = on_progress
        self._recent = RecentDecisions(base.limits.recent_decisions_max)
        self._progress = np.zeros(2, np.int64)
        self._chunks: deque[_Chunk] = deque()
        self._rows = self._problems = self._repeated = 0
        self._scratch: tuple[Floats, Valid] | None = None

    def computed(self, *, together: bool) -> Computed:
        """Returns what was done."""
        width = len(self._configuration.features.features)
        return Computed(self._rows, self._problems, self._repeated, width, together)

    def run(self, team: Team, file: FeatureFile, batches: Iterator[pa.RecordBatch], schema: pa.Schema) -> None:
        """Takes a history through the lanes into the file."""
        free = deque(range(len(team.slots.folds)))
        for part, due in with_labels(self._packed(team, batches)):
            if part is None:
                break  # What became known at the last event or later is in no row.
            for order in _pieces(part, due, len(team.slots.folds[0].events)):
                if not free:
                    free.append(self._finish(team, file, schema))
                slot = free.popleft()
                rows = self._screen(*_fill(team.slots.folds[slot].events, part, due, order))
                carried = part.rows.select(list(self._carried)).take(pa.array(rows[rows >= 0]))
                self._chunks.append(_Chunk(slot, len(rows), carried, team.fold(slot, len(rows))))
            self._problems += part.rows.num_rows - part.count
        while self._chunks:
            self._finish(team, file, schema)

    def _packed(
        self, team: Team, batches: Iterator[pa.RecordBatch]
    ) -> Iterator[tuple[_Batch, Ints, list[Label[bytes]]]]:
        """Yields the batches as events in their order, several being packed ahead, with their times and labels."""
        waiting: deque[tuple[pa.RecordBatch, int, int]] = deque()
        free = deque(range(len(team.slots.packs)))
        ended = False
        while not ended or waiting:
            while free and not ended:
                batch = next(batches, None)
                ended = batch is None
                if batch is not None:
                    slot = free.popleft()
                    waiting.append((batch, slot, team.pack(slot, batch)))
            if not waiting:
                return
            batch, slot, task = waiting.popleft()
            count = team.packed(task)
            held = team.slots.packs[slot]
            made = labelled_outcomes(batch, held.rows[:count], held.events[:count])
            labels = [
                Label(int(row), int(outcome["event_time_us"]), outcome.tobytes())
                for row, outcome in zip(made.rows, made.outcomes, strict=True)
            ]
            yield _Batch(batch, held, count), np.ascontiguousarray(held.events["event_time_us"][:count]), labels
            free.append(slot)  # Whoever asks for the next batch has done with this one.

    def _screen(self, events: Array, rows: Ints) -> Ints:
        """Leaves out repetitions, as the engine does, and moves the other events together.

        Args:
            events: EVENT[m], changed.
            rows: int64[m], the row of the batch of each, -1 of a report.

        Returns:
            `rows` of the events that are left.
        """
        limits = self._configuration.limits
        at_once = min(limits.batch_rows_max, limits.recent_decisions_max)
        new = np.concatenate(
            [
                self._recent.screen(words(events[first : first + at_once]), self._progress).new
                for first in range(0, len(events), at_once)
            ]
        )
        self._repeated += int((rows[~new] >= 0).sum())
        if not new.all():
            words(events)[: new.sum()] = words(events)[new]
        left: Ints = rows[new]
        return left

    def _finish(self, team: Team, file: FeatureFile, schema: pa.Schema) -> int:
        """Writes the oldest chunk when all lanes have folded it; returns its slot, which is free then."""
        chunk = self._chunks.popleft()
        folded = team.folded(chunk.tasks)
        count = chunk.carried.num_rows
        assert all(each.row_count == count for each in folded), "all lanes score the same rows"
        arena_words = self._configuration.limits.arena_mib * (1 << 20) // 8
        if self._parts_folding > 1 and not fits([each.arena for each in folded], arena_words):
            raise _Crowded
        slot = team.slots.folds[chunk.slot]
        self._derive(slot, chunk.count, count)
        if count:
            file.add(table_of(schema, chunk.carried, slot, count))
        self._rows += count
        self._on_progress(self._rows + self._problems + self._repeated, self._total)
        return chunk.slot

    def _derive(self, slot: FoldSlot, event_count: int, count: int) -> None:
        """Computes what is derived from columns of whichever lanes."""
        derived = self._configuration.features.derived
        if not derived.targets or not count:
            return
        events = words(slot.events[:event_count])
        scored = slot.events["kind"][:event_count] == Kind.SCORE
        if self._scratch is None:
            shape = (slot.columns.shape[1], slot.columns.shape[0])
            self._scratch = np.zeros(shape), np.zeros(shape, np.uint8)
        features, valid = self._scratch[0][:count], self._scratch[1][:count]
        for column in derived.columns:
            features[:, column], valid[:, column] = slot.columns[column, :count], slot.valid[column, :count]
        derived.run(events if scored.all() else events[scored], features, valid, features, valid)
        for column in derived.targets:
            slot.columns[column, :count], slot.valid[column, :count] = features[:, column], valid[:, column]


def _pieces(part: _Batch, due: Sequence[Label[bytes]], size: int) -> Iterator[Ints]:
    """Yields the order of a batch's events and of the labels among them, in pieces that fit into a slot.

    Args:
        part: The batch.
        due: Labels, each before an event.
        size: Most events of a piece.

    Yields:
        int64[m], the index of an event; ``-1 - i`` for label i.
    """
    order = np.insert(np.arange(part.count), [label.row for label in due], -1 - np.arange(len(due)))
    for first in range(0, len(order), size):
        yield order[first : first + size]


def _fill(target: Array, part: _Batch, due: Sequence[Label[bytes]], order: Ints) -> tuple[Array, Ints]:
    """Writes events and labels to where they are folded.

    Args:
        target: EVENT[m or more], written.
        part: The batch.
        due: Its labels.
        order: From `_pieces`.

    Returns:
        The events written, EVENT[m], and int64[m], the row of the batch of each, -1 for a label.
    """
    events = target[: len(order)]
    of_batch = order >= 0
    if of_batch.all():
        first = int(order[0])
        words(events)[:] = words(part.slot.events)[first : first + len(order)]
        return events, part.slot.rows[first : first + len(order)]
    # Rows of words are copied several times as fast as rows of named fields.
    words(events)[of_batch] = words(part.slot.events)[order[of_batch]]
    reports = b"".join(due[-1 - index].report for index in order[~of_batch].tolist())
    words(events)[~of_batch] = np.frombuffer(reports, np.int64).reshape(-1, EVENT_WORDS)
    rows = np.full(len(order), -1)
    rows[of_batch] = part.slot.rows[order[of_batch]]
    return events, rows
