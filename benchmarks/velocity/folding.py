"""Folds events through the product's own pipeline under any features.yaml, on memory that was touched before.

INVARIANTS: what is timed is `Pipeline.fold` and nothing else; rows of events are written outside the clock, a chunk at a time,
because five million of them would take more memory than the state under test. Used by `benchmarks.velocity` and
`benchmarks.memory`.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from riskengine.engine.configuration import Configuration, build_configuration
from riskengine.engine.pipeline import Pipeline
from riskengine.engine.state import State
from riskengine.limits import EngineLimits
from riskengine.types import Array, words
from riskengine.yamlfile import Document, load_yaml

_POLICY: Final = """\
version: 1
name: benchmark
model: {mode: "off"}
thresholds: {default: {review: 0.5, decline: 0.9}}
"""
_REASONS: Final = """\
version: 1
reasons: {ANY: {text: Any.}}
blocked: ANY
unevaluated: ANY
model: [{features: ["*"], code: ANY}]
"""


@dataclass(frozen=True, slots=True)
class Took:
    """What something took, seconds: by the clock, and of the processor.

    The second leaves out the time in which another program had the core. On a machine with nothing else to do they are the same.
    """

    wall_s: float = 0.0
    used_s: float = 0.0

    def __add__(self, other: "Took") -> "Took":
        return Took(self.wall_s + other.wall_s, self.used_s + other.used_s)

    def us(self, count: int) -> "Took":
        """Returns microseconds for each of `count`."""
        return Took(self.wall_s / count * 1e6, self.used_s / count * 1e6)


def timed(function: Callable[[], object]) -> Took:
    """Runs something within this process, and returns what it took."""
    used, wall = time.process_time(), time.perf_counter()
    function()
    return Took(time.perf_counter() - wall, time.process_time() - used)


def configure(features: Document, limits: EngineLimits) -> Configuration:
    """Compiles a features.yaml, with the smallest policy there is beside it; nothing of that is ever run."""
    return build_configuration(
        features,
        load_yaml(_POLICY, name="policy.yaml"),
        load_yaml(_REASONS, name="reason_codes.yaml"),
        limits=limits,
        base_currency="EUR",
        model_path=None,
        tag=None,
    )


def open_pipeline(configuration: Configuration, *, touched: bool = True) -> Pipeline:
    """Returns a pipeline on an empty state.

    Args:
        configuration: Its limits decide what is reserved.
        touched: Whether every page of the state is written before, with the zeros that are there. Where a page is written for
            the first time the system has to find and clear it, which is none of the fold's work; `benchmarks.memory` has it.
    """
    limits = configuration.limits
    state = State(configuration.features, limits)
    if touched:
        for array in (
            state.store.slot_tags,
            state.store.slot_entities,
            state.store.heads,
            state.store.arena,
            state.nodes,
        ):
            array.fill(0)
        state.seen_times.fill(0)
    return Pipeline(configuration, state, limits)


def batches(rows: Array, size: int) -> Iterator[npt.NDArray[np.int64]]:
    """Cuts rows of events into matrices of words."""
    matrix = words(rows)
    for first in range(0, len(matrix), size):
        yield matrix[first : first + size]


def fold(pipeline: Pipeline, rows: Array, *, size: int) -> Took:
    """Folds events in batches and computes their features; returns what that took.

    Args:
        rows: Of EVENT, ready.
        size: Rows of a batch.
    """
    cut = list(batches(rows, size))

    def run() -> None:
        for batch in cut:
            pipeline.fold(batch)

    return timed(run)


def batch_times_s(
    pipeline: Pipeline, rows: Array, *, size: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Folds as `fold`; returns the seconds of every batch by the clock, and by the processor's time of this thread.

    A stall that is in the first alone is not ours: another program had the core.
    """
    cut = list(batches(rows, size))
    wall, used = np.empty(len(cut)), np.empty(len(cut))
    for index, batch in enumerate(cut):
        used_before, before = time.thread_time(), time.perf_counter()
        pipeline.fold(batch)
        wall[index], used[index] = time.perf_counter() - before, time.thread_time() - used_before
    return wall, used


def answers(pipeline: Pipeline, rows: Array, columns: list[int], *, size: int) -> npt.NDArray[np.float64]:
    """Folds events and returns what is answered: float64[n, columns], NaN where there is no answer. Not timed."""
    found = np.empty((len(rows), len(columns)))
    first = 0
    for batch in batches(rows, size):
        features, valid, _ = pipeline.fold(batch)
        found[first : first + len(batch)] = np.where(valid[:, columns] != 0, features[:, columns], np.nan)
        first += len(batch)
    return found
