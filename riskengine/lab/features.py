"""Features of a history, computed by the very code that serves.

INVARIANTS: events are folded in the order of their event time, and a fraud label enters as an outcome when it became known, never
before; so every row holds what the engine would have known at that moment. A label is never a feature of its own row.

Called by `lab.train` and `cli`.
"""

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from riskengine.engine.configuration import Configuration
from riskengine.engine.pipeline import Pipeline
from riskengine.engine.state import State
from riskengine.lab.events import EventPacker
from riskengine.lab.history import HistoryReader
from riskengine.model import narrow
from riskengine.settings import ServerSettings
from riskengine.types import EVENT, TAG_COLUMNS, Array, Kind, OutcomeType, TransactionType, empty_events, words
from riskengine.wire.pseudonyms import TagKey

Progress = Callable[[int, int], None]
_NO_TIME: Final = np.int64(-(2**63))


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
    labels: npt.NDArray[np.bool_]
    known: npt.NDArray[np.bool_]
    event_time_us: npt.NDArray[np.int64]
    transaction_types: npt.NDArray[np.int64]
    problem_count: int

    def slices(self) -> dict[str, npt.NDArray[np.bool_]]:
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


def labelled_outcomes(batch: pa.RecordBatch, rows: npt.NDArray[np.int64], events: Array) -> tuple[Any, Any, Array]:
    """Makes an outcome of each fraud label whose time is known.

    Args:
        batch: Rows of a history.
        rows: int64[n], the row in the batch of each event.
        events: EVENT[n].

    Returns:
        labels bool[n], known bool[n] and the outcomes as rows of EVENT.
    """
    fraud = batch.column("fraud")
    known = fraud.is_valid().to_numpy(zero_copy_only=False)[rows]
    labels = fraud.fill_null(False).to_numpy(zero_copy_only=False)[rows] & known
    times = batch.column("fraud_label_time").cast(pa.int64()).fill_null(int(_NO_TIME)).to_numpy()[rows]
    chosen = np.flatnonzero(labels & (times != _NO_TIME))
    outcomes = empty_events(len(chosen))
    outcomes["kind"] = int(Kind.OUTCOME)
    outcomes["event_time_us"] = outcomes["received_time_us"] = times[chosen]
    outcomes["outcome_type"] = int(OutcomeType.CHARGEBACK_FRAUD)
    for name in (*TAG_COLUMNS, "transaction_tag"):
        outcomes[name] = events[name][chosen]
    # A request of its own, derived from the transaction's: a history that is loaded twice counts once.
    outcomes["request_key"] = events["request_key"][chosen] ^ np.uint64(0x9E3779B97F4A7C15)
    outcomes["request_check"] = events["request_check"][chosen]
    return labels, known, outcomes


def in_order(
    batches: Iterator[pa.RecordBatch], packer: EventPacker, *, kind: Kind = Kind.SCORE
) -> Iterator[tuple[Array, npt.NDArray[np.bool_], npt.NDArray[np.bool_], int]]:
    """Yields a history as the engine would have received it: payments, and labels when they became known.

    Args:
        batches: Of the history schema, in order.
        packer: Turns rows into events.
        kind: SCORE or RECORD.

    Yields:
        EVENT[m] in the order of event time; labels and known bool[m], false for outcomes; rows left out.
    """
    waiting: list[tuple[int, int, bytes]] = []
    arrival = 0
    for batch in batches:
        packed = packer.pack(batch, kind=kind)
        labels, known, outcomes = labelled_outcomes(batch, packed.rows, packed.events)
        for outcome in outcomes:
            arrival += 1
            heapq.heappush(waiting, (int(outcome["event_time_us"]), arrival, outcome.tobytes()))
        if not len(packed.events):
            continue
        last_us = int(packed.events["event_time_us"][-1])
        due = []
        while waiting and waiting[0][0] <= last_us:
            due.append(heapq.heappop(waiting)[2])
        extra = np.frombuffer(b"".join(due), EVENT)
        events = np.concatenate([packed.events, extra])
        order = np.argsort(events["event_time_us"], kind="stable")
        nothing = np.zeros(len(extra), np.bool_)
        bad = batch.num_rows - len(packed.rows)
        yield events[order], np.concatenate([labels, nothing])[order], np.concatenate([known, nothing])[order], bad


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
    parts = [_nothing(width)]
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


def _nothing(width: int) -> tuple[npt.NDArray[Any], ...]:
    """Returns the columns of a table without rows, so that an empty history has its types."""
    return (
        np.empty((0, width), np.float32),
        np.empty(0, np.bool_),
        np.empty(0, np.bool_),
        np.empty(0, np.int64),
        np.empty(0, np.int64),
    )
