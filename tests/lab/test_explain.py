"""A decision explained is the decision that was taken, and says what it was made of."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from riskengine.engine.activation import MODELS_FOLDER
from riskengine.engine.configuration import Configuration, Replacement
from riskengine.engine.engine import Engine
from riskengine.enums import Kind, Verdict
from riskengine.errors import BundleError, ConfigError
from riskengine.lab.explain import explain
from riskengine.lab.find import DecisionNotJournaled, decision_keys, find_by_keys, find_by_sequence, request_keys
from riskengine.types import DECISION_WORD
from riskengine.wire.pseudonyms import TagKey
from riskengine.wire.reply import decision_name
from tests.engine.conftest import LIMITS
from tests.lab.builders import KEY, simulated
from tests.lab.builders import packer as packer_of_tests
from tests.lab.journals import (
    Edit,
    bytes_of,
    configuration_of,
    journaled,
    mixed_events,
    policy_document,
    thresholds,
    write_journal,
)


@pytest.fixture(scope="module")
def live(with_model: Configuration) -> Configuration:
    """The starter with its model live."""
    return configuration_of(with_model, thresholds(0.3, 0.6))


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory, rules_only: Configuration, live: Configuration) -> Path:
    """A journal of two configurations; not to be changed."""
    folder = tmp_path_factory.mktemp("explained") / "data"
    events = mixed_events(60, seed=1)
    write_journal(folder, rules_only, events[:30], batch=7)
    write_journal(folder, live, events[30:], batch=20)
    return folder


def test_every_decision_comes_out_again_to_the_bit(journal: Path) -> None:
    """Goal: an explanation speaks of the decision that was taken. Method: explain all of a journal of two configurations."""
    before = bytes_of(journal)
    commits = journaled(journal)
    verdicts = set()

    for decision in commits.decisions[commits.decisions["verdict"] != 0]:
        name = decision_name(request_key=int(decision["request_key"]), request_check=int(decision["request_check"]))
        found = find_by_keys(journal, decision_keys(name))
        explanation = explain(journal, found)
        verdicts.add(int(decision["verdict"]))

        assert (name, ()) == (explanation.name, explanation.different)
        assert explanation.native
        assert explanation.given == explanation.answer.told
        assert int(decision["sequence"]) == explanation.sequence

    assert {Verdict.APPROVE, Verdict.REVIEW, Verdict.DECLINE} == verdicts, "the stream decides too little"
    assert before == bytes_of(journal)


def test_the_configuration_of_the_time_explains(tmp_path: Path, rules_only: Configuration, live: Configuration) -> None:
    """Goal: a later policy does not rewrite the past. Method: explain the last decision of the first of two configurations."""
    events = mixed_events(40, seed=2)
    write_journal(tmp_path, live, events[:20])
    write_journal(tmp_path, rules_only, events[20:])

    old = explain(tmp_path, find_by_sequence(tmp_path, 20))
    new = explain(tmp_path, find_by_sequence(tmp_path, 21))

    assert (1, 2) == (old.revision, new.revision)
    assert ("live", "shadow") == (old.answer.thresholds.mode, new.answer.thresholds.mode)
    assert old.answer.probability is not None
    assert new.answer.probability is None
    assert ((), ()) == (old.different, new.different)


def test_another_set_of_features_explains_its_own_decisions(tmp_path: Path, live: Configuration) -> None:
    """Goal: the state of the time, in the measures of the time. Method: drop a profile, as an analyst may."""
    events = mixed_events(40, seed=3)

    def fewer(features: dict[str, Any]) -> None:
        features["profiles"]["account"]["measures"]["night"] = {"when": "txn.night", "count": ["24h"]}

    other = configuration_of(live, thresholds(0.3, 0.6), features=fewer)
    write_journal(tmp_path, live, events[:20])
    write_journal(tmp_path, other, events[20:])

    old, new = (explain(tmp_path, find_by_sequence(tmp_path, sequence)) for sequence in (20, 30))

    assert ((), ()) == (old.different, new.different)
    assert "account.night_count_24h" not in {each.name for each in old.answer.features}
    assert "account.night_count_24h" in {each.name for each in new.answer.features}


def test_contributions_add_up_to_the_margin(journal: Path) -> None:
    """Goal: the table of features is the whole of the model's answer. Method: bias and contributions, against the margin."""
    decisions = journaled(journal).decisions
    scored = decisions["sequence"][~np.isnan(decisions["margin"])][:5]

    for sequence in scored.tolist():
        answer = explain(journal, find_by_sequence(journal, sequence)).answer
        contributions = [each.contribution for each in answer.features if each.contribution is not None]

        assert answer.bias is not None
        assert answer.margin == pytest.approx(answer.bias + sum(contributions), abs=1e-4)
        assert sorted(contributions, key=abs, reverse=True) == contributions


def test_rules_are_told_with_what_was_in_them(journal: Path) -> None:
    """Goal: an analyst sees why a rule fired. Method: its variables, against the features and the event of the same answer."""
    commits = journaled(journal)
    fired = commits.decisions["sequence"][(commits.decisions["fired_0"] != 0)]
    explanation = explain(journal, find_by_sequence(journal, int(fired[0])))

    rules = [rule for rule in explanation.answer.rules if rule.outcome == "fired"]
    values = {each.name: each.value for each in explanation.answer.features}

    assert [hit.rule_id for hit in explanation.given.rule_hits] == [rule.id for rule in rules]
    for rule in rules:
        assert rule.variables
        for name, value in rule.variables.items():
            assert name in rule.when
            if name in values:
                assert values[name] == value
            elif name == "txn.type":
                assert explanation.event["transaction_type"] == value


def test_model_that_had_no_time_is_told_as_absent(journal: Path) -> None:
    """Goal: a degraded decision explains itself. Method: an event that skipped the model."""
    commits = journaled(journal)
    degraded = commits.decisions["sequence"][
        (commits.decisions["degraded_stages"] != 0) & (commits.decisions["revision"] == 2)
    ]

    explanation = explain(journal, find_by_sequence(journal, int(degraded[0])))

    assert (None, None, None) == (
        explanation.answer.margin,
        explanation.answer.probability,
        explanation.answer.bias,
    )
    assert "MODEL" == explanation.event["skip_stages"]
    assert {None} == {each.contribution for each in explanation.answer.features}
    assert () == explanation.different


def test_same_policy_would_have_said_the_same(journal: Path, live: Configuration) -> None:
    """Goal: what-if starts from what was. Method: ask the policy and the model that decided, and nothing at all."""
    found = find_by_sequence(journal, 55)

    same = explain(journal, found, instead=Replacement()).instead
    again = explain(
        journal,
        found,
        instead=Replacement(policy=policy_document(thresholds(0.3, 0.6)), model_path=live.model_path),
    )

    assert same is not None
    assert again.instead is not None
    assert (again.given, again.given) == (same.told, again.instead.told)
    assert again.answer.features == again.instead.features


def test_other_thresholds_would_have_said_otherwise(journal: Path) -> None:
    """Goal: what would X have said. Method: thresholds that decline everything the model has seen, on the same features."""
    found = find_by_sequence(journal, 55)
    strict = Replacement(policy=policy_document(thresholds(1e-9, 2e-9)))

    explanation = explain(journal, found, instead=strict)

    assert explanation.instead is not None
    assert Verdict.DECLINE == explanation.instead.decision["verdict"][0]
    assert explanation.answer.probability == explanation.instead.probability
    assert (1e-9, 2e-9) == (explanation.instead.thresholds.review, explanation.instead.thresholds.decline)
    assert () == explanation.different


def lacking_logins(features: dict[str, Any]) -> None:
    """Measures no logins of accounts."""
    del features["profiles"]["account"]["measures"]["login"]


def nightly_logins(features: dict[str, Any]) -> None:
    """Measures logins otherwise under the same names."""
    features["profiles"]["account"]["measures"]["login"]["when"] = 'txn.type == "LOGIN" && txn.night'


@pytest.mark.parametrize(
    ("edit", "told"), [(lacking_logins, "needs features"), (nightly_logins, "trained on other definitions")]
)
def test_model_that_needs_other_features_is_refused_by_name(
    tmp_path: Path, live: Configuration, rules_only: Configuration, edit: Edit, told: str
) -> None:
    """Goal: no answer from numbers that mean something else. Method: a journal that lacks a feature, or defines it otherwise."""
    write_journal(tmp_path, configuration_of(rules_only, features=edit), mixed_events(20, seed=7)[:10])

    with pytest.raises(BundleError, match=f"{told}.*login_count_1h"):
        explain(tmp_path, find_by_sequence(tmp_path, 3), instead=Replacement(model_path=live.model_path))


def test_policy_that_names_an_unknown_feature_is_refused_with_its_place(journal: Path) -> None:
    """Goal: mistakes look as they do in `policy check`. Method: a rule over a feature that was not measured."""

    def edit(policy: dict[str, Any]) -> None:
        policy["rules"][0]["when"] = "card.paymnt_count_1h > 3"

    with pytest.raises(ConfigError, match=r"card\.payment_count_1h"):
        explain(journal, find_by_sequence(journal, 20), instead=Replacement(policy=policy_document(edit)))


def test_other_program_is_told_apart_from_a_fault(
    tmp_path: Path, live: Configuration, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Goal: the same bits are promised within one semantics id. Method: a journal of another one with a wrong verdict."""
    engine = Engine.open(tmp_path, live, limits=LIMITS)
    honest = engine.pipeline.apply

    def lenient(events: np.ndarray) -> np.ndarray:
        decisions = honest(events)
        decisions[4, DECISION_WORD["verdict"]] = 1 + decisions[4, DECISION_WORD["verdict"]] % 3
        return decisions

    engine.pipeline.apply = lenient  # type: ignore[method-assign]
    engine.commit(mixed_events(40, seed=4)[:20].copy())
    engine.close()

    wrong, right = (explain(tmp_path, find_by_sequence(tmp_path, sequence)) for sequence in (5, 6))
    monkeypatch.setattr("riskengine.lab.explain.SEMANTICS", "of tomorrow")
    foreign = explain(tmp_path, find_by_sequence(tmp_path, 5))

    assert (("verdict",), True) == (wrong.different, wrong.native)
    assert wrong.given != wrong.answer.told
    assert ((), True) == (right.different, right.native)
    assert (("verdict",), False) == (foreign.different, foreign.native)


def test_newest_of_a_name_is_found_and_the_others_told(tmp_path: Path, rules_only: Configuration) -> None:
    """Goal: a forgotten request that came again is not a riddle. Method: an engine that remembers few, one request twice."""
    from dataclasses import replace

    short = replace(LIMITS, recent_decisions_max=64)
    events = mixed_events(200, seed=5)[:200]
    events["kind"] = Kind.SCORE
    events["request_key"][180], events["request_check"][180] = events["request_key"][0], events["request_check"][0]
    engine = Engine.open(tmp_path, rules_only, limits=short)
    for first in range(0, 200, 20):
        engine.commit(events[first : first + 20].copy())
    engine.close()

    found = find_by_keys(tmp_path, (int(events["request_key"][0]), int(events["request_check"][0])))

    assert (181, (1,)) == (found.sequence, found.earlier)


def test_what_is_no_decision_is_named(journal: Path) -> None:
    """Goal: errors say what is there instead. Method: a recorded payment, a report, and nobody."""
    events = journaled(journal).events
    recorded = events[events["kind"] == Kind.RECORD][0]
    reported = int(events["sequence"][events["kind"] == Kind.OUTCOME][0])

    with pytest.raises(DecisionNotJournaled, match="recorded without a decision"):
        find_by_keys(journal, (int(recorded["request_key"]), int(recorded["request_check"])))
    with pytest.raises(DecisionNotJournaled, match="reports an outcome"):
        find_by_sequence(journal, reported)
    with pytest.raises(DecisionNotJournaled, match="no decision of that name"):
        find_by_keys(journal, (1, 1))
    with pytest.raises(DecisionNotJournaled, match=f"holds 1 to {len(events)}"):
        find_by_sequence(journal, len(events) + 1)


def test_request_id_leads_to_the_keys_of_the_door() -> None:
    """Goal: a support desk has request ids only. Method: the keys of packed rows, whose request ids are known."""
    table = simulated().slice(0, 50)
    packed = packer_of_tests().pack(table.to_batches()[0], kind=Kind.SCORE)
    ids = [table.column("transaction_id")[row].as_py() for row in packed.rows.tolist()]

    expected = list(zip(packed.events["request_key"].tolist(), packed.events["request_check"].tolist(), strict=True))

    assert expected == [request_keys(KEY, text) for text in ids]
    assert request_keys(KEY, "request-1") != request_keys(TagKey(bytes(32)), "request-1")


def test_model_that_is_gone_is_missed_by_name(tmp_path: Path, live: Configuration) -> None:
    """Goal: whoever lost a bundle knows which. Method: remove the engine's copy."""
    write_journal(tmp_path, live, mixed_events(20, seed=6)[:10])
    shutil.rmtree(tmp_path / MODELS_FOLDER)

    with pytest.raises(BundleError, match="small is missing"):
        explain(tmp_path, find_by_sequence(tmp_path, 3))
