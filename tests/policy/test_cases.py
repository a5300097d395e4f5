"""Cases beside a policy: what they compare, and the mistakes in them."""

import pytest

from riskengine.errors import ConfigError
from riskengine.policy.cases import run_cases
from riskengine.yamlfile import load_yaml
from tests.policy.builders import POLICY, compiled, variables_of

VARIABLES = variables_of(load_yaml(POLICY, name="policy.yaml"))
GOOD = """\
cases:
  - name: A busy card of a trusted account
    given:
      features: {card.count: 3, device.cards: 4}
      txn: {amount: 6000, type: REFUND}
      probability: 0.9
      lists: [good]
    expect:
      verdict: review
      rules: [large, busy]
      shadow: [cards]
      unevaluated: []
      obligations: [step, hold]
      segment: large
      reasons: [MANY, LARGE]
"""

MISTAKES = [
    ("card.count: 3", "card.cuont: 3", '4:18: there is no feature "card.cuont"; did you mean "card.count"?'),
    ("amount: 6000", "amuont: 6000", '5:13: there is no feature "amuont"; did you mean "amount"?'),
    ("amount: 6000", "amount: much", "5:21: amount must be a number or true or false"),
    ("type: REFUND", "type: 5", "5:33: type must be text"),
    ("type: REFUND", "type: REFNUD", '5:33: type has no such value; did you mean "REFUND"?'),
    ("lists: [good]", "lists: [godo]", '7:15: unknown list "godo"; did you mean "good"?'),
    ("[large, busy]", "[large, buzy]", '10:22: unknown rule "buzy"; did you mean "busy"?'),
    ("segment: large", "segment: lagre", '14:16: unknown segment "lagre"; did you mean "large"?'),
    ("[MANY, LARGE]", "[MANY, LAREG]", '15:23: unknown reason code "LAREG"; did you mean "LARGE"?'),
    (
        "verdict: review",
        "verdict: decide",
        '9:16: verdict must be one of approve, review, decline; did you mean "decline"?',
    ),
    ("probability: 0.9", "probability: 1", "6:20: probability must be less than 1"),
    ("expect:", "expects:", '8:5: unknown key "expects"; did you mean "expect"?'),
]

DIFFERENCES = [
    ("verdict: review", "verdict: approve", "9:16", "expected verdict approve, but it is review"),
    ("rules: [large, busy]", "rules: []", "10:14", "expected rules none, but it is busy, large"),
    ("shadow: [cards]", "shadow: []", "11:15", "expected shadow none, but it is cards"),
    ("unevaluated: []", "unevaluated: [many]", "12:20", "expected unevaluated many, but it is none"),
    ("[step, hold]", "[step]", "13:20", "expected obligations step, but it is hold, step"),
    ("segment: large", "segment: refund", "14:16", "expected segment refund, but it is large"),
    ("[MANY, LARGE]", "[LARGE, MANY]", "15:16", "expected reasons LARGE, MANY, but it is MANY, LARGE"),
]


def test_case_that_holds_has_no_differences() -> None:
    """Goal: every key is compared with what the stage answers. Method: one case that uses them all."""
    (result,) = run_cases(compiled(), load_yaml(GOOD, name="cases.yaml"), VARIABLES)

    assert ("A busy card of a trusted account", ()) == (result.name, result.differences)


@pytest.mark.parametrize(("old", "new", "place", "message"), DIFFERENCES)
def test_difference_is_told_at_its_place(old: str, new: str, place: str, message: str) -> None:
    """Goal: an analyst sees what came instead. Method: one wrong expectation each."""
    (result,) = run_cases(compiled(), load_yaml(GOOD.replace(old, new), name="cases.yaml"), VARIABLES)

    assert [f"cases.yaml:{place}: A busy card of a trusted account: {message}"] == [
        str(one) for one in result.differences
    ]


@pytest.mark.parametrize(("old", "new", "message"), MISTAKES)
def test_mistake_in_a_case_is_told(old: str, new: str, message: str) -> None:
    """Goal: a case with a typing error does not pass by missing features. Method: one mistake each."""
    with pytest.raises(ConfigError) as refused:
        run_cases(compiled(), load_yaml(GOOD.replace(old, new), name="cases.yaml"), VARIABLES)

    assert f"cases.yaml:{message}" in [str(problem) for problem in refused.value.problems]


def test_case_asks_what_if_the_model_were_live() -> None:
    """Goal: thresholds can be tried before the model decides. Method: the same case in both modes."""
    text = (
        "cases:\n  - name: a\n    given: {probability: 0.9, features: {card.count: 1}, model_mode: %s}\n"
        "    expect: {verdict: %s}\n"
    )
    policy = compiled(POLICY.replace("mode: live", "mode: shadow"))
    for mode, verdict in (("live", "decline"), ("shadow", "approve")):
        (result,) = run_cases(policy, load_yaml(text % (mode, verdict), name="cases.yaml"), VARIABLES)

        assert () == result.differences
