"""Features of a history, computed by the very code that serves.

INVARIANTS: events are folded in the order of their event time, and a fraud label enters as an outcome when it became known, never
before; so every row holds what the engine would have known at that moment. A label is never a feature of its own row.

Called by `lab.train` and `cli`.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from riskengine.engine.configuration import Configuration
from riskengine.engine.pipeline import Pipeline
from riskengine.engine.state import State
from riskengine.enums import Kind, OutcomeType, TransactionType
from riskengine.lab.events import EventPacker
from riskengine.lab.history import HistoryReader
from riskengine.lab.labels import Label, with_labels
from riskengine.model import narrow
from riskengine.settings import ServerSettings
from riskengine.types import EVENT, MISSING, TAG_COLUMNS, Array, Flags, Ints, empty_events, words
from riskengine.wire.pseudonyms import TagKey

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, eq=False)
class FeatureTable:
    """Features and labels of a history, one row for each event.

    Attributes:
        features: float32[n, F], NaN for missing, columns as `FeatureSet.names`.
        labels: bool[n], fraud; false where unknown.
        known: bool[n], whether the label is known.
        event_time_us: int64[n].
        transaction_types: int64[n], TransactionType.
        problem_count: Rows of the history that the door would refuse, left out.
    """

    features: npt.NDArray[np.float32]
    labels: Flags
    known: Flags
    event_time_us: Ints
    transaction_types: Ints
    problem_count: int

    def slices(self) -> dict[str, Flags]:
        """Returns the parts by type of transaction that occur."""
        kinds = {kind.name.lower(): self.transaction_types == kind for kind in TransactionType}
        return {name: mask for name, mask in kinds.items() if mask.any()}


def packer_of(settings: ServerSettings, key: TagKey, configuration: Configuration) -> EventPacker:
    """Makes a packer that agrees with the door of the same settings and configuration."""
    inputs = configuration.features.inputs
    rates: dict[str, Decimal | str] = dict(settings.rates)
    return EventPacker(
        key,
        base_currency=settings.base_currency,
        rates=rates,
        number_slots={name: slot for slot, name in enumerate(inputs.numbers)},
        label_slots={name: slot for slot, name in enumerate(inputs.labels)},
        pan_exempt_fields=frozenset(settings.pan_exempt_fields),
    )


@dataclass(frozen=True, slots=True, eq=False)
class Labelled:
    """What a batch of a history says of its events.

    Attributes:
        events: EVENT[n].
        labels: bool[n], fraud; false where unknown.
        known: bool[n], whether the label is known.
        rows: int64[k], the events whose fraud became known at a known time.
        outcomes: EVENT[k], the reports of it.
        problem_count: Rows of the batch that are no event.
    """

    events: Array
    labels: Flags
    known: Flags
    rows: Ints
    outcomes: Array
    problem_count: int


def labelled_outcomes(batch: pa.RecordBatch, rows: Ints, events: Array) -> Labelled:
    """Makes an outcome of each fraud label whose time is known.

    Args:
        batch: Rows of a history.
        rows: int64[n], the row in the batch of each event.
        events: EVENT[n].
    """
    fraud = batch.column("fraud")
    known = fraud.is_valid().to_numpy(zero_copy_only=False)[rows]
    labels = fraud.fill_null(False).to_numpy(zero_copy_only=False)[rows] & known
    times = batch.column("fraud_label_time").cast(pa.int64()).fill_null(MISSING).to_numpy()[rows]
    chosen = np.flatnonzero(labels & (times != MISSING))
    outcomes = empty_events(len(chosen))
    outcomes["kind"] = int(Kind.OUTCOME)
    outcomes["event_time_us"] = outcomes["received_time_us"] = times[chosen]
    outcomes["outcome_type"] = int(OutcomeType.CHARGEBACK_FRAUD)
    for name in (*TAG_COLUMNS, "transaction_tag"):
        outcomes[name] = events[name][chosen]
    # A request of its own, derived from the transaction's: a history that is loaded twice counts once.
    outcomes["request_key"] = events["request_key"][chosen] ^ np.uint64(0x9E3779B97F4A7C15)
    outcomes["request_check"] = events["request_check"][chosen]
    return Labelled(events, labels, known, chosen, outcomes, batch.num_rows - len(rows))


def in_order(
    batches: Iterable[pa.RecordBatch],
    packer: EventPacker,
    *,
    kind: Kind = Kind.SCORE,
    known_until_us: int | None = None,
) -> Iterator[tuple[Array, Flags, Flags, int]]:
    """Yields a history as the engine would have received it: payments, and labels when they became known.

    Args:
        batches: Of the history schema, in order.
        packer: Turns rows into events.
        kind: SCORE or RECORD.
        known_until_us: Of the labels that became known at the last event or later, those until this time come at the end,
            microseconds since the epoch; none of them where it is None.

    Yields:
        EVENT[m] in the order of event time; labels and known bool[m], false for outcomes; rows left out. A batch in which all
        are left out has no events, but its count.
    """
    for part, due in with_labels(_labelled(batches, packer, kind)):
        if part is None:
            due = [label for label in due if known_until_us is not None and label.known_us <= known_until_us]
            if not due:
                return
            part = _NOTHING
        before = [label.row for label in due]
        outcomes = np.frombuffer(b"".join(label.report for label in due), EVENT)
        yield (
            np.insert(part.events, before, outcomes),
            np.insert(part.labels, before, False),
            np.insert(part.known, before, False),
            part.problem_count,
        )


def _labelled(
    batches: Iterable[pa.RecordBatch], packer: EventPacker, kind: Kind
) -> Iterator[tuple[Labelled, Ints, list[Label[bytes]]]]:
    """Yields the batches as events, with their times and their labels."""
    for batch in batches:
        packed = packer.pack(batch, kind=kind)
        part = labelled_outcomes(batch, packed.rows, packed.events)
        labels = [
            Label(int(row), int(outcome["event_time_us"]), outcome.tobytes())
            for row, outcome in zip(part.rows, part.outcomes, strict=True)
        ]
        yield part, np.ascontiguousarray(part.events["event_time_us"]), labels


_NOTHING = Labelled(
    empty_events(0), np.empty(0, np.bool_), np.empty(0, np.bool_), np.empty(0, np.int64), empty_events(0), 0
)


def compute_features(
    reader: HistoryReader,
    configuration: Configuration,
    packer: EventPacker,
    *,
    on_progress: Progress | None = None,
) -> FeatureTable:
    """Folds a history through a new state and keeps the features of every event.

    Args:
        reader: The history.
        configuration: What is measured.
        packer: From `packer_of`.
        on_progress: Called with (rows done, rows).
    """
    state = State(configuration.features, configuration.limits)
    pipeline = Pipeline(configuration, state, configuration.limits)
    width = len(configuration.features.features)
    total = reader.row_count
    parts = [_no_columns(width)]
    done = problem_count = 0
    for events, labels, known, bad in in_order(reader.batches(), packer):
        problem_count += bad
        scored = events["kind"] == Kind.SCORE
        kept = np.empty((int(scored.sum()), width), np.float32)
        written = 0
        for first in range(0, len(events), configuration.limits.batch_rows_max):
            chunk = events[first : first + configuration.limits.batch_rows_max]
            features, valid, _ = pipeline.fold(words(chunk))
            chosen = scored[first : first + len(chunk)]
            rows = narrow(features[chosen, :width], valid[chosen, :width])
            kept[written : written + len(rows)] = rows
            written += len(rows)
        parts.append(
            (kept, labels[scored], known[scored], events["event_time_us"][scored], events["transaction_type"][scored])
        )
        done += len(kept) + bad
        if on_progress:
            on_progress(done, total)
    table, labels_all, known_all, times, kinds = (np.concatenate(column) for column in zip(*parts, strict=True))
    return FeatureTable(table.astype(np.float32, copy=False), labels_all, known_all, times, kinds, problem_count)


def _no_columns(width: int) -> tuple[npt.NDArray[Any], ...]:
    """Returns the columns of a table without rows, so that an empty history has its types."""
    return (
        np.empty((0, width), np.float32),
        np.empty(0, np.bool_),
        np.empty(0, np.bool_),
        np.empty(0, np.int64),
        np.empty(0, np.int64),
    )
