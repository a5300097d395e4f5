"""The fold against its plain definition, and what must not change a bit of it."""

from dataclasses import replace
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
from riskengine.types import DECISION, MISSING, US_PER_SECOND, empty_events, pack_code, words
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
    return placed(events, draw(st.integers(0, 2**32 - 1)))


def placed(events: np.ndarray, seed: int) -> np.ndarray:
    """Gives events a place and a clock of their own at times, seeded: few places, so that some are the same."""
    generator = np.random.Generator(np.random.PCG64(seed))
    told = (events["kind"] != Kind.OUTCOME) & (events["kind"] != Kind.ERASE)
    count = len(events)
    events["utc_offset_minutes"] = np.where(told, generator.choice([MISSING, 0, 60, -300, 840], count), MISSING)
    events["merchant_region"] = np.where(told, generator.choice([0, pack_code("DE"), pack_code("FR")], count), 0)
    events["ip_region"] = np.where(told, generator.choice([0, pack_code("DE"), pack_code("BR")], count), 0)
    places = np.array([(np.nan, np.nan), (52.5, 13.4), (52.5001, 13.4), (-33.9, 151.2), (10.0, 179.9), (10.0, -179.9)])
    positions = places[generator.integers(0, len(places), count)]
    events["latitude_degrees"] = np.where(told, positions[:, 0], np.nan)
    events["longitude_degrees"] = np.where(told, positions[:, 1], np.nan)
    return events


def fold_all(pipeline: Pipeline, events: np.ndarray, *, batch: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Folds in batches of a size and returns copies of features, valid and flags."""
    starts = range(0, len(events), batch)
    parts = [[part.copy() for part in pipeline.fold(words(events[first : first + batch]))] for first in starts]
    return tuple(np.concatenate(column) for column in zip(*parts, strict=True))  # type: ignore[return-value]


@given(events=numbered_streams(), ring_rows=st.sampled_from([2, 10, 64]))
@settings(max_examples=150, deadline=None)
def test_fold_agrees_with_its_definition(
    declared: tuple[FeaturesFile, FeatureSet], events: np.ndarray, ring_rows: int
) -> None:
    """Every feature of every scored event equals the O(n^2) definition, and is missing where that says so."""
    file, features = declared
    limits = replace(LIMITS, recent_decisions_max=ring_rows)
    expected, expected_flags = naive.fold_events(
        file, events, CONDITIONS, LIMITS.lateness_max_s * US_PER_SECOND, ring_rows
    )

    values, valid, flags = fold_all(pipeline_of(features, limits), events, batch=7)

    own = own_columns(features)
    for row, answers in enumerate(expected):
        if not expected_flags[row]:
            # Too late to be folded: it may ask for rows that are forgotten, and says so.
            assert flags[row] & DecisionFlag.APPROXIMATE or not is_scored(events[row])
            continue
        told = {features.names[column]: values[row, column] for column in np.flatnonzero(valid[row]) if column >= own}
        about = {name for name in answers if "_hour_" in name or name.endswith(("_kmh", "_km"))}
        assert answers.keys() == told.keys(), f"event {row}"
        assert {name: answers[name] for name in answers.keys() - about} == {
            name: told[name] for name in told.keys() - about
        }
        # Angles and distances are floats of sines: equal but for the last bits. A half turn has two ways round.
        assert [answers[name] for name in sorted(about)] == pytest.approx(
            [told[name] for name in sorted(about)], rel=1e-6, abs=1e-6
        )
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


def test_erased_tag_is_nowhere_and_its_history_stays(declared: tuple[FeaturesFile, FeatureSet]) -> None:
    """After an erasure no word of the state is the tag, and whatever had it has the tombstone."""
    _, features = declared
    events = stream_of(300, seed=8, entity_count=20)
    tag, tombstone = int(events["account_tag"][7]), 0x1234_5678_9ABC_DEF1
    erase = empty_events(1)
    erase["kind"], erase["event_time_us"], erase["account_tag"] = Kind.ERASE, events["event_time_us"][-1], tag
    erase["original_transaction_tag"], erase["request_key"] = tombstone, 9_999
    pipeline = pipeline_of(features)
    fold_all(pipeline, events, batch=64)
    pipeline.state.recent.remember(events, np.zeros(len(events), DECISION))
    known = [int((array.view(np.uint64) == tag).sum()) for array in wide_arrays(pipeline.state)]

    _, _, flags = fold_all(pipeline, erase, batch=1)
    pipeline.state.recent.remember(erase, np.zeros(1, DECISION))

    assert int(DecisionFlag.FOLDED | DecisionFlag.MATCHED) == flags[0]
    left = [int((array.view(np.uint64) == tag).sum()) for array in wide_arrays(pipeline.state)]
    moved = [int((array.view(np.uint64) == tombstone).sum()) for array in wide_arrays(pipeline.state)]
    assert not any(left)
    assert sum(known) > 3
    assert sum(known) + 1 == sum(moved), "what had the tag, and the command itself in the ring"


def wide_arrays(state: State) -> list[np.ndarray]:
    """Returns every array of the state that may hold tags."""
    arrays = {**state.store.used(), **state.recent.arrays()}
    return [np.ascontiguousarray(array) for array in arrays.values() if array.dtype == np.int64]


def test_fold_without_answers_leaves_the_same_state(declared: tuple[FeaturesFile, FeatureSet]) -> None:
    """Recovery wants no features: the state is the same bit for bit as that of scoring."""
    _, features = declared
    events = stream_of(500, seed=9)
    scoring, recovering = pipeline_of(features), pipeline_of(features)

    fold_all(scoring, events, batch=64)
    for first in range(0, len(events), 100):
        recovering.absorb(words(events[first : first + 100]))

    assert scoring.state.digest() == recovering.state.digest()


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
