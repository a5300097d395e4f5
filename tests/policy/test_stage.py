"""How rules, lists, thresholds and reasons combine, through the stage that serves."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from riskengine.enums import DecisionFlag, TransactionType, Verdict
from riskengine.policy.stage import ROWS_AT_ONCE, Policy
from riskengine.types import DECISION, empty_events, words
from tests.policy.builders import POLICY, compiled, decide, obligations, rule_ids, told

SMALL = Policy(compiled())
WITHOUT_SHADOW = Policy(compiled(POLICY.replace("mode: shadow", 'mode: "off"')))
CALM = {"card.count": 1.0, "txn.amount": 10.0, "device.cards": 0.0}

VERDICTS = [
    ("nothing speaks against it", {}, None, (), Verdict.APPROVE),
    ("a rule asks for a review", {"card.count": 3}, None, (), Verdict.REVIEW),
    ("the strictest rule wins", {"card.count": 5}, None, (), Verdict.DECLINE),
    ("an obligation is no verdict", {"txn.amount": 6000}, None, (), Verdict.APPROVE),
    ("a shadow rule decides nothing", {"device.cards": 9}, None, (), Verdict.APPROVE),
    ("the model below review", {}, 0.3999, (), Verdict.APPROVE),
    ("the model at review", {}, 0.4, (), Verdict.REVIEW),
    ("the model at decline", {}, 0.8, (), Verdict.DECLINE),
    ("the segment's threshold", {"txn.amount": 1000}, 0.6, (), Verdict.DECLINE),
    ("the model is stricter than a rule", {"card.count": 3}, 0.9, (), Verdict.DECLINE),
    ("a rule is stricter than the model", {"card.count": 5}, 0.5, (), Verdict.DECLINE),
    ("a block list declines", {}, None, ("bad",), Verdict.DECLINE),
    ("an allow list takes the model's decline back", {}, 0.99, ("good",), Verdict.APPROVE),
    ("an allow list takes the model's review back", {}, 0.5, ("good",), Verdict.APPROVE),
    ("an allow list leaves an enforced decline", {"card.count": 5}, 0.1, ("good",), Verdict.DECLINE),
    ("an allow list leaves an enforced review", {"card.count": 3}, 0.99, ("good",), Verdict.REVIEW),
    ("an allow list leaves a block list", {}, 0.1, ("good", "bad"), Verdict.DECLINE),
    ("a watch list decides nothing", {}, None, ("seen",), Verdict.APPROVE),
]


@pytest.mark.parametrize(
    ("what", "given", "probability", "lists", "verdict"), VERDICTS, ids=[row[0] for row in VERDICTS]
)
def test_verdict(
    what: str, given: dict[str, float], probability: float | None, lists: tuple[str, ...], verdict: Verdict
) -> None:
    """Goal: the precedence that the documentation states. Method: one row for each sentence of it."""
    decisions = decide(SMALL, CALM | given, probability=probability, lists=lists)

    assert verdict == decisions["verdict"][0], what


def test_first_segment_that_holds_applies() -> None:
    """Goal: segments in their order, the default last. Method: an event for each, and one that two would take."""
    for amount, kind, segment in (
        (10, 0, 0),
        (1000, 0, 1),
        (10, TransactionType.REFUND, 2),
        (1000, TransactionType.REFUND, 1),
    ):
        decisions = decide(SMALL, {"card.count": 1, "txn.amount": amount}, kind=kind)

        assert segment == decisions["segment"][0]


def test_segment_that_cannot_be_evaluated_is_passed_over() -> None:
    """Goal: no threshold by guess. Method: the amount is missing, so the second segment decides."""
    assert 2 == decide(SMALL, {"card.count": 1}, kind=TransactionType.REFUND)["segment"][0]


def test_missing_feature_leaves_rules_unevaluated_and_on_error_follows() -> None:
    """Goal: missing is told, and each on_error does what it says. Method: nothing at all is given."""
    decisions = decide(SMALL, {})

    assert ["many", "busy", "large", "cards"] == rule_ids(SMALL, decisions, "unevaluated")
    assert [] == rule_ids(SMALL, decisions)
    assert Verdict.REVIEW == decisions["verdict"][0]
    assert ["MISSING"] == told(SMALL, decisions)


def test_on_error_of_a_shadow_rule_decides_nothing() -> None:
    """Goal: shadow is shadow. Method: only the feature of the shadow rule is missing; its on_error is decline."""
    decisions = decide(SMALL, {"card.count": 1, "txn.amount": 1})

    assert ["cards"] == rule_ids(SMALL, decisions, "unevaluated")
    assert Verdict.APPROVE == decisions["verdict"][0]
    assert [] == told(SMALL, decisions)


def test_rule_that_is_off_is_nowhere() -> None:
    """Goal: off is off. Method: its condition always holds."""
    decisions = decide(SMALL, CALM)

    assert not any(decisions[f"{kind}_0"][0] for kind in ("fired", "shadow", "unevaluated"))


@pytest.mark.parametrize("index", [0, 62, 63, 64, 127, 128, 191, 255])
def test_every_rule_has_its_own_bit(index: int) -> None:
    """Goal: 256 rules in 4 words. Method: of 256 rules one fires, at each border of a word."""
    one = "  - {{id: r{0}, when: card.count == {0}, then: {{verdict: review}}, reason: MANY}}\n"
    policy = Policy(
        compiled(POLICY[: POLICY.index("  - {id: many")] + "".join(one.format(each) for each in range(256)))
    )
    decisions = decide(policy, {"card.count": index})

    assert [f"r{index}"] == rule_ids(policy, decisions)
    assert 1 << index % 64 == decisions[f"fired_{index // 64}"][0]
    assert Verdict.REVIEW == decisions["verdict"][0]


def test_obligations_fit_the_verdict() -> None:
    """Goal: a review holds, a decline only tells. Method: the same obligations beside each verdict."""
    assert ["hold"] == obligations(SMALL, decide(SMALL, CALM | {"card.count": 3}))
    assert ["tell"] == obligations(SMALL, decide(SMALL, CALM | {"card.count": 5}))
    assert ["step"] == obligations(SMALL, decide(SMALL, CALM | {"txn.amount": 6000}))
    assert ["hold"] == obligations(SMALL, decide(SMALL, CALM, probability=0.5))


def test_reasons_come_strictest_first_and_once() -> None:
    """Goal: a person reads the heaviest first. Method: a block list, two rules with one code, an obligation."""
    decisions = decide(SMALL, CALM | {"card.count": 5, "card.mean": 2.5, "txn.amount": 6000}, lists=("bad",))

    assert ["LISTED", "MANY", "LARGE"] == told(SMALL, decisions)
    assert (5.0, 2.5) == (decisions["reason_1_observed"][0], decisions["reason_1_norm"][0])
    assert SMALL.compiled.feature_names.index("card.count") == decisions["reason_1_feature"][0]
    assert -1 == decisions["reason_0_feature"][0]
    assert np.isnan(decisions["reason_0_observed"][0])


@pytest.mark.parametrize(
    ("mode", "flag", "verdict"),
    [("live", DecisionFlag.MODEL_LIVE, 3), ("shadow", DecisionFlag.MODEL_SHADOW, 1), ("off", DecisionFlag(0), 1)],
)
def test_model_mode(mode: str, flag: DecisionFlag, verdict: int) -> None:
    """Goal: shadow and off decide nothing and say so. Method: the same certainty in each mode, and no model."""
    policy = Policy(compiled(POLICY.replace("mode: live", f'mode: "{mode}"')))
    decisions = decide(policy, CALM, probability=0.99)

    assert (verdict, flag) == (decisions["verdict"][0], decisions["flags"][0])
    assert 0 == decide(policy, CALM)["flags"][0]


def test_model_reasons_follow_those_of_rules() -> None:
    """Goal: contributions are grouped by code and told by weight. Method: one code is told by a rule already."""
    decisions = decide(SMALL, CALM, probability=0.9, lists=("bad",))
    names = SMALL.compiled.feature_names
    contributions = np.zeros(len(names))
    for name, value in (("txn.amount", 0.5), ("card.count", 0.2), ("card.mean", 0.4), ("device.cards", -1.0)):
        contributions[names.index(name)] = value
    contributions[names.index("model.probability")] = 9.0
    features = np.array([[10.0, 1.0, 7.0, 0.0, 0.9, 1.0, 0.0, 0.0]])
    valid = np.ones(features.shape, np.uint8)
    added = SMALL.add_model_reasons(0, contributions, features=features, valid=valid, decisions=words(decisions))

    assert 2 == added
    assert ["LISTED", "MANY", "MODEL"] == told(SMALL, decisions)
    assert pytest.approx(0.6) == decisions["reason_1_contribution"][0]
    # The catalogue names the feature of MANY; MODEL names none and tells the heaviest.
    assert (1.0, 7.0) == (decisions["reason_1_observed"][0], decisions["reason_1_norm"][0])
    assert names.index("txn.amount") == decisions["reason_2_feature"][0]


@given(seed=st.integers(0, 2**32 - 1), count=st.integers(1, 2 * ROWS_AT_ONCE + 3), cut=st.integers(0, 2 * ROWS_AT_ONCE))
def test_borders_of_a_batch_change_nothing(seed: int, count: int, cut: int) -> None:
    """Goal: a replay in other batches gives the same bits. Method: random rows at once and in two parts."""
    generator = np.random.default_rng(seed)
    names = SMALL.compiled.feature_names
    events = words(empty_events(count))
    features = generator.integers(0, 8, (count, len(names))).astype(np.float64)
    valid = generator.integers(0, 2, features.shape).astype(np.uint8)
    hits = generator.integers(0, 8, count)
    probability = np.where(generator.random(count) < 0.5, np.nan, generator.random(count))
    whole, parts = np.zeros(count, DECISION), np.zeros(count, DECISION)
    for first, last, decisions in ((0, count, whole), (0, min(cut, count), parts), (min(cut, count), count, parts)):
        SMALL.decide(
            events=events[first:last],
            features=features[first:last],
            valid=valid[first:last],
            list_hits=hits[first:last],
            probability=probability[first:last],
            decisions=words(decisions[first:last]),
        )

    assert whole.tobytes() == parts.tobytes()


@given(seed=st.integers(0, 2**32 - 1))
def test_shadow_rules_never_change_a_decision(seed: int) -> None:
    """Goal: trying a rule is safe. Method: the same rows with and without the shadow rule, its own bits aside."""
    generator = np.random.default_rng(seed)
    given = {
        name: float(generator.integers(0, 7))
        for name in ("card.count", "txn.amount", "device.cards")
        if generator.random() < 0.7
    }
    chance = float(generator.random()) or 0.5
    loud, quiet = decide(SMALL, given, probability=chance), decide(WITHOUT_SHADOW, given, probability=chance)
    for decisions in (loud, quiet):
        decisions["shadow_0"] = 0
        decisions["unevaluated_0"] &= np.uint64(~(1 << 3) & (2**64 - 1))

    assert quiet.tobytes() == loud.tobytes()
