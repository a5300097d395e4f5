"""What people are told of each answer: no feature without words, and words that follow the declared bounds."""

from pathlib import Path

import pytest

from riskengine.engine.configuration import DECISION_TIME_FEATURES
from riskengine.engine.features import compile_features
from riskengine.feature import Feature
from riskengine.limits import EngineLimits
from riskengine.velocity import plan, words
from riskengine.velocity.operations import OPERATIONS
from riskengine.yamlfile import load_file, load_yaml

ROOT = Path(__file__).resolve().parents[2]
DECLARED = """\
version: 1
profiles:
  card:
    rows_max: 64
    epsilon_shift: 4
    members_max: 16
    first_seen: true
    measures: {amount: {of: txn.amount, count: [1h], std: [1h], since_last: true}}
    distinct: {device: [60d]}
    new: [device]
derived:
  card.share: card.amount_count_1h / card.device_distinct_60d
"""


def declared(text: str) -> dict[str, Feature]:
    """Returns the features of a text by name."""
    compiled = compile_features(load_yaml(text, name="features.yaml"), EngineLimits())
    return {feature.name: feature for feature in compiled.features}


@pytest.mark.parametrize("file", ["riskengine/defaults/features.yaml", "tests/engine/features_small.yaml"])
def test_every_feature_says_when_it_is_missing_and_how_exact_it_is(file: str) -> None:
    """Goal: nobody has to read kernels. Method: the features of two files and those of the decision."""
    features = [*compile_features(load_file(ROOT / file), EngineLimits()).features, *DECISION_TIME_FEATURES]

    assert [] == [feature.name for feature in features if not (feature.nulls and feature.exactness)]


def test_every_operation_has_its_words() -> None:
    """Goal: who adds an operation is reminded. Method: the tables of words beside that of operations."""
    operations = {each.suffix for asked in OPERATIONS.values() for each in asked}
    operations |= {"since_last", "gap", "ratio", "rate"}

    assert operations == set(words.CURVE_NULLS) == set(words.CURVE_EXACTNESS)
    assert {feature.name for feature in plan.EVENT_FEATURES} == set(words.EVENT_NULLS)


def test_words_follow_the_bounds_of_the_profile() -> None:
    """Goal: the error that is told is the one that is kept. Method: other bounds than the usual ones, each word of them."""
    features = declared(DECLARED)

    assert "exact to 63 events, then of a window between w and w(1+1/16)" == features["card.amount_count_1h"].exactness
    assert features["card.amount_std_1h"].exactness.endswith("logarithms to 1/4,096")
    assert features["card.amount_std_1h"].nulls.endswith("and without 2 earlier events in the window")
    assert features["card.amount_since_last_s"].exactness.endswith("short by at most 1/16 of itself")
    assert "idle for 60 days" in features["card.first_seen_age_s"].exactness
    assert features["card.device_distinct_60d"].exactness.startswith("exact to 16 devices, ")
    assert features["card.new_device"].nulls.startswith("missing where the event names no card or no device")
    assert "as exact as card.amount_count_1h, card.device_distinct_60d" == features["card.share"].exactness


def test_words_are_no_part_of_the_definition() -> None:
    """Goal: a word that is mended costs no model. Method: the hash of two features that differ in words alone."""
    one = Feature("card.x", "events", "One.", definition="d", nulls="never missing", exactness="exact")

    assert Feature("card.x", "euros", "Other.", definition="d").definition_hash == one.definition_hash
    assert Feature("card.x", "events", "One.", definition="e").definition_hash != one.definition_hash
