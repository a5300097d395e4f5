"""The fold against its plain definition, and what must not change a bit of it."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from riskengine.engine.features import FeatureSet, FeaturesFile, compile_features
from riskengine.engine.pipeline import Pipeline
from riskengine.engine.state import State
from riskengine.enums import DecisionFlag, IssuerOutcome, Kind, OutcomeType, Stage, TransactionType
from riskengine.limits import EngineLimits
from riskengine.tables import layout
from riskengine.tables.layout import MEMORY_US
from riskengine.types import US_PER_SECOND, words
from riskengine.velocity.plan import EVENT_FEATURES
from riskengine.yamlfile import load_yaml, validate
from tests.naive import engine as naive
from tests.strategies import event_streams, stream_of

LIMITS = EngineLimits(entities_max=64, arena_mib=1, recent_decisions_max=64, batch_rows_max=256, lateness_max_s=3600)
CONDITIONS = {
    "txn.monetary": lambda e: 1 <= e["transaction_type"] <= TransactionType.REVERSAL,
    'txn.type != "REFUND"': lambda e: e["transaction_type"] not in (0, TransactionType.REFUND),
    'outcome.type == "FRAUD"': lambda e: e["outcome_type"] == OutcomeType.FRAUD,
    'txn.issuer_outcome == "DECLINED"': lambda e: e["issuer_outcome"] == IssuerOutcome.DECLINED,
}


@pytest.fixture(scope="module")
def declared() -> tuple[FeaturesFile, FeatureSet]:
    """A small declaration with every operation, and what it compiles to."""
    text = (Path(__file__).parent / "features_small.yaml").read_text()
    document = load_yaml(text, name="features.yaml")
    return validate(document, FeaturesFile), compile_features(document, LIMITS)


def is_scored(event: np.void) -> bool:
    """Tells whether an event asks for features."""
    return bool(event["kind"] == Kind.SCORE)


def pipeline_of(features: FeatureSet, limits: EngineLimits = LIMITS) -> Pipeline:
    """Returns a pipeline over a new state that can fold and never decides."""
    configuration = SimpleNamespace(features=features, column_count=len(features.features), revision=1, model=None)
    return Pipeline(configuration, State(features, limits), limits)  # type: ignore[arg-type]


def own_columns(features: FeatureSet) -> int:
    """Returns how many columns an event fills by itself."""
    return len(EVENT_FEATURES) + len(features.inputs.numbers)


@st.composite
def numbered_streams(draw: st.DrawFn, *, events_max: int = 40) -> np.ndarray:
    """Draws a stream whose events have a number at times: negative, with more digits than are kept, far out of range."""
    events: np.ndarray = draw(event_streams(events_max=events_max))
    numbers = st.one_of(st.just(np.nan), st.sampled_from([0.0, -3.5, 2.5, 1e-7, 0.1, 1e12, -1e300]), st.integers(0, 9))
    events["number_1"] = draw(st.lists(numbers, min_size=len(events), max_size=len(events)))
    return events


def fold_all(pipeline: Pipeline, events: np.ndarray, *, batch: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Folds in batches of a size and returns copies of features, valid and flags."""
    starts = range(0, len(events), batch)
    parts = [[part.copy() for part in pipeline.fold(words(events[first : first + batch]))] for first in starts]
    return tuple(np.concatenate(column) for column in zip(*parts, strict=True))  # type: ignore[return-value]


@given(events=numbered_streams())
@settings(max_examples=150, deadline=None)
def test_fold_agrees_with_its_definition(declared: tuple[FeaturesFile, FeatureSet], events: np.ndarray) -> None:
    """Every feature of every scored event equals the O(n^2) definition, and is missing where that says so."""
    file, features = declared
    expected, expected_flags = naive.fold_events(file, events, CONDITIONS, LIMITS.lateness_max_s * US_PER_SECOND)

    values, valid, flags = fold_all(pipeline_of(features), events, batch=7)

    own = own_columns(features)
    for row, answers in enumerate(expected):
        if not expected_flags[row]:
            # Too late to be folded: it may ask for rows that are forgotten, and says so.
            assert flags[row] & DecisionFlag.APPROXIMATE or not is_scored(events[row])
            continue
        told = {features.names[column]: values[row, column] for column in np.flatnonzero(valid[row]) if column >= own}
        assert answers == told, f"event {row}"
    assert expected_flags == [flag & 1 for flag in flags.tolist()]


@given(events=numbered_streams(), batch=st.integers(1, 40))
@settings(max_examples=50, deadline=None)
def test_batch_size_changes_no_bit(declared: tuple[FeaturesFile, FeatureSet], events: np.ndarray, batch: int) -> None:
    """The same events in batches of another size leave the same state and the same answers."""
    _, features = declared
    whole, parts = pipeline_of(features), pipeline_of(features)
    values, valid, flags = fold_all(whole, events, batch=len(events))

    other_values, other_valid, other_flags = fold_all(parts, events, batch=batch)

    assert whole.state.digest() == parts.state.digest()
    assert np.array_equal(valid, other_valid)
    assert np.array_equal(flags, other_flags)
    assert np.array_equal(np.where(valid, values, 0), np.where(valid, other_values, 0))


@given(events=numbered_streams(events_max=25), more=numbered_streams(events_max=10))
@settings(max_examples=40, deadline=None)
def test_longer_stream_changes_no_earlier_answer(
    declared: tuple[FeaturesFile, FeatureSet], events: np.ndarray, more: np.ndarray
) -> None:
    """What follows an event, early or late, cannot change what was answered for it."""
    _, features = declared
    values, valid, _ = fold_all(pipeline_of(features), events, batch=5)

    longer, longer_valid, _ = fold_all(pipeline_of(features), np.concatenate([events, more]), batch=5)

    count = len(events)
    assert np.array_equal(valid, longer_valid[:count])
    assert np.array_equal(np.where(valid, values, 0), np.where(valid, longer[:count], 0))


@pytest.mark.parametrize(("gap_us", "told"), [(MEMORY_US - 1, True), (MEMORY_US, False), (2 * MEMORY_US, False)])
def test_last_event_is_told_for_thirty_days_whether_its_row_is_kept_or_not(
    declared: tuple[FeaturesFile, FeatureSet], gap_us: int, told: bool
) -> None:
    """A row older than any window may still lie in the curve; how long is a matter of slabs, which no answer may depend on."""
    _, features = declared
    events = stream_of(2, seed=1, entity_count=1)
    events["transaction_type"] = TransactionType.CARD_PAYMENT
    events["event_time_us"] = events["event_time_us"][0] + np.array([0, gap_us])

    values, valid, _ = fold_all(pipeline_of(features), events, batch=1)

    column = features.names.index("card.payment_since_last_s")
    assert [0, int(told)] == valid[:, column].tolist()
    assert not told or values[1, column] == gap_us / 1e6


def test_full_tables_evict_and_stay_within_bounds(declared: tuple[FeaturesFile, FeatureSet]) -> None:
    """Ten times more entities than fit, in a small arena: no table grows past its bound, and batches still change nothing."""
    _, features = declared
    events = stream_of(4000, seed=5, entity_count=640)
    one, other = pipeline_of(features), pipeline_of(features)

    fold_all(one, events, batch=256)
    fold_all(other, events, batch=3)

    types = one.state.store.types
    assert types[:, layout.TYPE_LIVE].max() <= LIMITS.entities_max
    assert types[:, layout.TYPE_EVICTED_COLD].sum() > 0, "nothing was evicted, so the test shows nothing"
    assert one.state.digest() == other.state.digest()


def test_skipped_stages_change_no_state(declared: tuple[FeaturesFile, FeatureSet]) -> None:
    """A stage mask skips answers, never folds: the state is the same bit for bit."""
    _, features = declared
    events = stream_of(500, seed=6)
    masked = events.copy()
    masked["skip_stages"] = Stage.VELOCITY | Stage.LINKAGE | Stage.MODEL
    full, reduced = pipeline_of(features), pipeline_of(features)

    fold_all(full, events, batch=64)
    _, valid, _ = fold_all(reduced, masked, batch=64)

    assert full.state.digest() == reduced.state.digest()
    assert not valid[:, own_columns(features) :].any()
