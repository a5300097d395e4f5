"""Event features and increments against their plain versions."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from riskengine.enums import VerificationMethod
from riskengine.types import MISSING, empty_events, words
from riskengine.velocity import layout
from riskengine.velocity.inputs import kernels
from riskengine.velocity.plan import EVENT_FEATURES
from tests.naive import velocity as naive

AMOUNTS = st.one_of(st.just(MISSING), st.integers(0, 10**12))


@st.composite
def events(draw: st.DrawFn) -> np.ndarray:
    """Draws events whose every field is at times missing and at times at its border."""
    rows = empty_events(draw(st.integers(1, 5)))
    for event in rows:
        event["amount_base_minor"] = draw(AMOUNTS)
        event["transaction_type"] = draw(st.integers(0, 11))
        event["event_time_us"] = draw(st.integers(946_684_800_000_000, 4_102_444_800_000_000))
        event["utc_offset_minutes"] = draw(st.one_of(st.just(MISSING), st.integers(-840, 840)))
        event["entry_mode"], event["initiation"] = draw(st.integers(0, 9)), draw(st.integers(0, 4))
        event["account_open_time_us"] = draw(st.one_of(st.just(MISSING), st.integers(0, 2 * 10**15)))
        for region in ("card", "ip", "merchant", "billing", "shipping"):
            event[f"{region}_region"] = draw(st.integers(0, 2))
        for method in VerificationMethod:
            event[f"verified_{method.name.lower()}"] = draw(st.integers(0, 5))
        event["number_0"] = draw(st.one_of(st.just(math.nan), st.floats(allow_nan=False)))
        event["number_1"] = draw(st.floats(-10, 10))
    return rows


@given(rows=events())
def test_event_features_agree_with_their_definition(rows: np.ndarray) -> None:
    """Every value stands under its name, equals the plain one, and is missing where that is."""
    expected = naive.event_features(rows, 2)
    names = [*(feature.name for feature in EVENT_FEATURES), "numbers.0", "numbers.1"]
    features, valid = np.zeros((len(rows), len(names))), np.ones((len(rows), len(names)), np.uint8)

    kernels.event_features(words(rows), np.arange(2), features, valid)

    told = [
        {name: float(value) for name, value, known in zip(names, *row, strict=True) if known}
        for row in zip(features, valid, strict=True)
    ]
    assert expected == told


@given(value=st.one_of(st.integers(0, 2**53), st.sampled_from([0, 1, 2, 3, 2**30 - 1, 2**31, 2**53])))
def test_log2_fixed_is_the_logarithm_to_its_last_bit(value: int) -> None:
    """It never falls short of the true logarithm by more than two units of its last place, and never exceeds it."""
    fixed = kernels.log2_fixed(value)

    assert naive.log2_fixed(value) == fixed
    assert -2 / 4096 <= fixed / 4096 - math.log2(1 + value) <= 1e-12


@given(
    measures=st.lists(
        st.tuples(st.integers(-1, 1), st.integers(-1, 1), st.integers(0, 3), st.sampled_from([1, 1_000_000])),
        min_size=1,
        max_size=6,
    ),
    values=st.lists(st.floats(allow_nan=False), min_size=2, max_size=2),
    flags=st.lists(st.integers(0, 1), min_size=6, max_size=6),
)
def test_increments_agree_with_their_definition(
    measures: list[tuple[int, int, int, int]], values: list[float], flags: list[int]
) -> None:
    """Conditions, missing sources, transforms and clamping give the plain result."""
    measures = [m if m[2] == layout.TRANSFORM_ONE or m[1] >= 0 else (m[0], 0, m[2], m[3]) for m in measures]
    plan = np.array(measures, np.int64)
    features, valid = np.array([values]), np.array([flags[:2]], np.uint8)
    conditions, known = np.array([[float(f) for f in flags[2:4]]]), np.array([flags[4:]], np.uint8)
    expected = naive.increments(plan, features, valid, conditions, known)

    out = np.zeros((1, len(measures)), np.int64)
    kernels.increments(plan, features, valid, conditions, known, out)

    assert expected.tolist() == out.tolist()


@pytest.mark.parametrize("rows", [1, 7])
def test_number_of_rows_is_returned(rows: int) -> None:
    """The kernels tell how many rows they did."""
    features, valid = np.zeros((rows, layout.COLUMN_NUMBERS)), np.zeros((rows, layout.COLUMN_NUMBERS), np.uint8)

    done = kernels.event_features(words(empty_events(rows)), np.zeros(0, np.int64), features, valid)

    assert rows == done
