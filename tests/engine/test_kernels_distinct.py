"""Distinct counts, new pairs and degrees of the fold where last-seen tables are fuller than their caps."""

import numpy as np
import pytest

from riskengine.engine.features import FeatureSet, compile_features
from riskengine.enums import DecisionFlag
from riskengine.tables.layout import RELATION_RETENTION_US
from riskengine.types import US_PER_DAY, US_PER_SECOND, words
from riskengine.yamlfile import load_yaml
from tests.engine.test_kernels_fold import LIMITS, fold_all, pipeline_of
from tests.strategies import MINUTE_US, stream_of

TEXT = """
version: 1
profiles:
  card: {distinct: {device: [1h, 24h], merchant: [1h]}, new: [device], members_max: 4}
  device: {distinct: {card: [30d]}, members_max: 4}
linkage:
  strong: [[account, device]]
  degree_max_default: 3
  component_size: [account]
  over_degree_cap: [device]
"""
RETENTION_US = 30 * US_PER_DAY + LIMITS.lateness_max_s * US_PER_SECOND


@pytest.fixture(scope="module")
def features() -> FeatureSet:
    """What is asked."""
    return compile_features(load_yaml(TEXT, name="features.yaml"), LIMITS)


def one_card(devices: int, *, step_us: int) -> np.ndarray:
    """Returns events of one card with a device each, in even steps."""
    events = stream_of(devices, seed=3, entity_count=1)
    events["event_time_us"] = events["event_time_us"][0] + step_us * np.arange(devices)
    events["device_tag"] = 7 + np.arange(devices, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    return events


def test_tables_keep_a_member_no_longer_than_somebody_asks(features: FeatureSet) -> None:
    """Goal: exact for more members. Method: a window of an hour, one with a new-pair feature, one with a strong link."""
    hour_us = (3600 + LIMITS.lateness_max_s) * US_PER_SECOND

    kept = {
        pair: int(row[RELATION_RETENTION_US])
        for pair, row in zip(features.relations.words, features.relations.relations, strict=True)
    }

    assert {
        ("card", "device"): RETENTION_US,
        ("card", "merchant"): hour_us,
        ("device", "card"): RETENTION_US,
        ("account", "device"): RETENTION_US,
        ("device", "account"): RETENTION_US,
    } == kept


def test_estimate_is_told_and_forgotten_with_its_window(features: FeatureSet) -> None:
    """Goal: approximate is true of this answer, not of this card for ever.

    Method: ten devices in ten minutes, one two days later, one a retention after that.
    """
    events = one_card(12, step_us=MINUTE_US)
    events["event_time_us"][10] += 2 * US_PER_DAY
    events["event_time_us"][11] = events["event_time_us"][10] + RETENTION_US

    values, valid, flags = fold_all(pipeline_of(features), events, batch=5)

    hour, day, new = (
        features.names.index(f"card.{name}") for name in ("device_distinct_1h", "device_distinct_24h", "new_device")
    )
    told = (flags & int(DecisionFlag.APPROXIMATE)) != 0
    assert [1, 2, 3, 4] == values[:4, hour].tolist() == values[:4, day].tolist()
    assert [1, 1] == values[10:, hour].tolist() == values[10:, day].tolist()
    assert [1, 1, 1, 1] == values[:4, new].tolist()
    assert not told[:4].any()
    assert told[5:10].all()
    assert not told[11]
    assert valid[11, new]
    assert 1 == values[11, new]


def test_new_pair_is_missing_where_it_may_have_been_forgotten(features: FeatureSet) -> None:
    """Goal: no guess. Method: two hundred devices of one card, twice: whatever is told is true, and something is not told."""
    events = np.concatenate([one_card(200, step_us=1000)] * 2)
    events["event_time_us"][200:] += US_PER_SECOND
    events["sequence"] = events["request_key"] = np.arange(1, 401)

    values, valid, flags = fold_all(pipeline_of(features), events, batch=64)

    new = features.names.index("card.new_device")
    truth = np.repeat([1.0, 0.0], 200)
    told = valid[:, new] == 1
    assert (values[told, new] == truth[told]).all()
    assert 0 < told.sum() < 400
    assert (flags[~told] & int(DecisionFlag.APPROXIMATE)).all()


def test_device_over_its_cap_stays_over_it_in_a_flood(features: FeatureSet) -> None:
    """Goal: an estimate never joins what is crowded. Method: 300 accounts on one device, more than the cap by 1 to 296."""
    events = stream_of(300, seed=3, entity_count=1)
    events["event_time_us"] = events["event_time_us"][0] + MINUTE_US * np.arange(300)
    events["account_tag"] = 7 + np.arange(300, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)

    values, _, _ = fold_all(pipeline_of(features), events, batch=64)

    over, size = (features.names.index(name) for name in ("device.over_degree_cap", "account.component_size"))
    assert [0, 0, 0] + [1] * 297 == values[:, over].tolist()
    assert [2, 3, 4] + [1] * 297 == values[:, size].tolist()


def test_batch_size_changes_no_bit_of_overfull_tables(features: FeatureSet) -> None:
    """Goal: sampling is a function of the journal.

    Method: a stream of crowded cards and devices, in batches of two sizes, and folded without answers.
    """
    events = stream_of(3000, seed=5, entity_count=40)
    one, other, silent = pipeline_of(features), pipeline_of(features), pipeline_of(features)
    values, valid, flags = fold_all(one, events, batch=256)

    other_values, other_valid, other_flags = fold_all(other, events, batch=3)
    for first in range(0, len(events), 100):
        silent.absorb(words(events[first : first + 100]))

    assert (flags & int(DecisionFlag.APPROXIMATE)).any()
    assert one.state.digest() == other.state.digest() == silent.state.digest()
    assert np.array_equal(valid, other_valid)
    assert np.array_equal(flags, other_flags)
    assert np.array_equal(np.where(valid, values, 0), np.where(valid, other_values, 0))
