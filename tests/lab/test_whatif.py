"""What another policy or model would have decided: exactly what its own engine would, and nothing else."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from riskengine.engine.configuration import Configuration, Replacement
from riskengine.enums import Kind, OutcomeType, Verdict
from riskengine.errors import ConfigError, RiskEngineError
from riskengine.lab.comparison import Compared
from riskengine.lab.differences import DifferenceWriter
from riskengine.lab.survey import Survey, survey
from riskengine.lab.whatif import Batch, WhatIf, WhatIfReport
from riskengine.policy.compile import VERDICTS
from riskengine.types import words
from tests.lab.journals import (
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
def journal(tmp_path_factory: pytest.TempPathFactory, live: Configuration) -> Path:
    """A journal of one configuration; not to be changed."""
    folder = tmp_path_factory.mktemp("replayed") / "data"
    write_journal(folder, live, mixed_events(700, seed=1, entity_count=150))
    return folder


def what_if(folder: Path, instead: Replacement, **options: Any) -> tuple[WhatIfReport, list[Batch]]:
    """Replays; returns the report and all decisions that were compared."""
    batches: list[Batch] = []
    report = WhatIf(folder, instead, sink=batches.append, **options).run()
    return report, [scored_of(batch) for batch in batches]


def scored_of(batch: Batch) -> Batch:
    """Returns the scored commands of a batch."""
    rows = batch.events["kind"] == Kind.SCORE
    assert rows.tolist() == (batch.new["verdict"] != 0).tolist()
    compared = Compared(batch.compared.changed[rows], batch.compared.different[rows])
    columns = (batch.events[rows], batch.old[rows], batch.new[rows])
    return Batch(*columns, batch.old_names, batch.new_names, batch.fraud[rows], compared)


def new_verdicts(batches: list[Batch]) -> list[int]:
    """Returns the verdicts of the new side, in the order of the journal."""
    return np.concatenate([batch.new["verdict"] for batch in batches]).tolist()  # type: ignore[no-any-return]


def probabilities_at(folder: Path, *ranks: float) -> list[float]:
    """Returns probabilities that occur in a journal, by rank from 0, the lowest, to 1."""
    known = np.sort(journaled(folder).decisions["probability"])
    known = known[~np.isnan(known)]
    return [float(known[int(rank * (len(known) - 1))]) for rank in ranks]


def expected_verdicts(folder: Path, policy: Configuration, *, review: float, decline: float) -> list[int]:
    """Works out by hand what one pair of thresholds for all would have decided, from what is journaled of the rules."""
    verdicts = []
    decisions = journaled(folder).decisions
    for row in decisions[decisions["verdict"] != 0]:
        asked = [VERDICTS[rule.then.verdict] for rule in policy.policy.fired(row) if rule.then.verdict]
        asked += [
            VERDICTS[rule.on_error] for rule in policy.policy.fired(row, "unevaluated") if rule.on_error in VERDICTS
        ]
        if row["probability"] >= decline:
            asked.append(Verdict.DECLINE)
        elif row["probability"] >= review:
            asked.append(Verdict.REVIEW)
        verdicts.append(int(max(asked, default=Verdict.APPROVE)))
    return verdicts


def test_same_policy_and_model_change_nothing(journal: Path, live: Configuration) -> None:
    """Goal: what-if starts from what was. Method: nothing else, the same policy, the same model from its own folder."""
    before = bytes_of(journal)
    decisions = journaled(journal).decisions
    scored = int((decisions["verdict"] != 0).sum())

    for instead in (
        Replacement(),
        Replacement(policy=policy_document(thresholds(0.3, 0.6))),
        Replacement(model_path=live.model_path),
    ):
        report, batches = what_if(journal, instead)

        assert (len(decisions), scored) == (report.event_count, report.comparison.decision_count)
        assert (0, 0, 0) == (
            report.comparison.changed_count,
            report.comparison.different_count,
            report.comparison.unruled_count,
        )
        assert [] == report.comparison.top_rules(10)
        assert {} == report.comparison.examples
        assert all(words(batch.old).tolist() == words(batch.new).tolist() for batch in batches)

    assert np.diag(np.diag(report.comparison.verdicts)).tolist() == report.comparison.verdicts.tolist()
    assert before == bytes_of(journal)


@settings(max_examples=8, phases=(Phase.explicit, Phase.reuse, Phase.generate))  # Shrinking would replay for minutes.
@given(ranks=st.tuples(st.floats(0, 1), st.floats(0, 1)))
def test_other_thresholds_change_exactly_the_expected_decisions(
    journal: Path, live: Configuration, ranks: tuple[float, float]
) -> None:
    """Goal: what-if says what that policy's own engine would. Method: thresholds that decisions meet, verdicts by hand."""
    review, decline = probabilities_at(journal, *sorted(ranks))
    expected = expected_verdicts(journal, live, review=review, decline=decline)
    old = [int(verdict) for verdict in journaled(journal).decisions["verdict"] if verdict]

    report, batches = what_if(journal, Replacement(policy=policy_document(thresholds(review, decline))))

    assert expected == new_verdicts(batches)
    changed = [pair for pair in zip(old, expected, strict=True) if pair[0] != pair[1]]
    counted = report.comparison
    assert len(changed) == counted.changed_count == counted.unruled_count
    for row, before in enumerate(Verdict):
        for column, after in enumerate(Verdict):
            cell = sum(pair == (before, after) for pair in zip(old, expected, strict=True))
            assert cell == counted.verdicts[row, column]
    kept = {change: len(examples) for change, examples in counted.examples.items()}
    assert {pair: min(3, changed.count(pair)) for pair in set(changed)} == kept


def test_rule_that_is_gone_is_named_with_what_it_did(journal: Path, live: Configuration) -> None:
    """Goal: an analyst sees which rule a change comes from. Method: remove the one that fires most, add one that never does."""
    decisions = journaled(journal).decisions
    scored = decisions[decisions["verdict"] != 0]
    fired = [rule.id for row in scored for rule in live.policy.fired(row)]
    common = max(set(fired), key=fired.count)

    def edit(policy: dict[str, Any]) -> None:
        thresholds(0.3, 0.6)(policy)
        never = {**policy["rules"][0], "id": "never", "when": "txn.amount < 0"}
        policy["rules"] = [never, *(rule for rule in policy["rules"] if rule["id"] != common)]

    report, batches = what_if(journal, Replacement(policy=policy_document(edit)))

    rules = report.comparison.rules
    changed = sum(int(batch.compared.changed.sum()) for batch in batches)
    assert changed > 0, "the rule decides nothing here"
    assert (fired.count(common), 0, 0, changed) == (
        rules[common].old_count,
        rules[common].new_count,
        rules[common].gained_count,
        rules[common].lost_count,
    )
    assert 0 == rules["never"].new_count == report.comparison.unruled_count
    assert [common] == [name for name, _ in report.comparison.top_rules(5)]
    examples = [example for kept in report.comparison.examples.values() for example in kept]
    assert {(common,)} == {example.lost for example in examples}


def test_obligations_alone_are_a_difference(journal: Path) -> None:
    """Goal: whoever changes what a review asks for sees it. Method: no hold on reviews; ids instead of bits are compared."""

    def edit(policy: dict[str, Any]) -> None:
        thresholds(0.3, 0.6)(policy)
        policy["on_review"] = []
        policy["obligations"] = dict(reversed(policy["obligations"].items()))

    report, batches = what_if(journal, Replacement(policy=policy_document(edit)))

    reviews = int((journaled(journal).decisions["verdict"] == Verdict.REVIEW).sum())
    assert reviews > 0
    assert (0, reviews) == (report.comparison.changed_count, report.comparison.different_count)
    assert reviews == sum(int(batch.compared.different.sum()) for batch in batches)


def test_frauds_are_counted_by_what_was_reported_last(tmp_path: Path, live: Configuration) -> None:
    """Goal: both sides are judged by the journal's own labels. Method: reports of both kinds, one taken back."""
    events = mixed_events(300, seed=2)
    payments = {int(row["transaction_tag"]): row for row in events if row["kind"] == Kind.SCORE}
    reports = events[events["kind"] == Kind.OUTCOME]
    taken_back = reports[:1].copy()
    taken_back["outcome_type"], taken_back["request_key"] = OutcomeType.LEGITIMATE, 77_777
    refund = reports[1:2].copy()
    refund["outcome_type"], refund["request_key"] = OutcomeType.REFUNDED, 88_888
    write_journal(tmp_path, live, np.concatenate([events, taken_back, refund]))
    frauds = {
        int(row["transaction_tag"]) for row in reports[1:] if row["outcome_type"] == OutcomeType.FRAUD
    } & payments.keys()

    report, batches = what_if(tmp_path, Replacement(policy=policy_document(thresholds(1e-9, 2e-9))))

    fraud = np.concatenate([batch.fraud for batch in batches])
    tags = np.concatenate([batch.events["transaction_tag"] for batch in batches])
    assert frauds == set(tags[fraud].tolist())
    assert len(frauds) == int(fraud.sum()) == int(report.comparison.fraud_verdicts.sum())
    judged = np.concatenate([batch.new["probability"] for batch in batches])[fraud]
    assert int((~np.isnan(judged)).sum()) <= int(report.comparison.fraud_verdicts[:, 2].sum())


def test_other_model_decides_on_the_same_features(
    tmp_path: Path, live: Configuration, rules_only: Configuration
) -> None:
    """Goal: a new model is tried on the past. Method: a journal without a model, replayed by one, as its own engine decides."""
    events = mixed_events(200, seed=3)
    write_journal(tmp_path / "without", configuration_of(rules_only, thresholds(0.3, 0.6)), events)
    write_journal(tmp_path / "with", live, events)

    report, batches = what_if(tmp_path / "without", Replacement(model_path=live.model_path))

    decisions = journaled(tmp_path / "with").decisions
    expected = decisions[decisions["verdict"] != 0]
    assert words(expected).tolist() == words(np.concatenate([batch.new for batch in batches])).tolist()
    assert report.comparison.changed_count > 0
    assert (True, "live") == (report.has_model, report.model_mode)


def test_configuration_of_the_time_measures_and_the_other_decides(
    tmp_path: Path, live: Configuration, rules_only: Configuration
) -> None:
    """Goal: a policy is tried over changes of configuration. Method: three of them, against an engine that had it then."""

    def more(features: dict[str, Any]) -> None:
        features["profiles"]["account"]["measures"]["night"] = {"when": "txn.night", "count": ["24h"]}

    strict = thresholds(0.05, 0.2)
    events = mixed_events(300, seed=4)[:300]
    for folder, edit in (("old", thresholds(0.3, 0.6)), ("new", strict)):
        first, second = configuration_of(live, edit), configuration_of(live, edit, features=more)
        write_journal(tmp_path / folder, first, events[:100])
        write_journal(tmp_path / folder, second, events[100:180])
        write_journal(tmp_path / folder, configuration_of(rules_only, edit), events[180:])

    _, batches = what_if(tmp_path / "old", Replacement(policy=policy_document(strict)))
    _, later = what_if(tmp_path / "old", Replacement(policy=policy_document(strict)), from_sequence=150)

    decisions = journaled(tmp_path / "new").decisions
    expected = decisions[decisions["verdict"] != 0]
    replayed = np.concatenate([batch.new for batch in batches])
    assert words(expected).tolist() == words(replayed).tolist()
    tail = expected[expected["sequence"] >= 150]
    assert words(tail).tolist() == words(np.concatenate([batch.new for batch in later])).tolist()


def test_policy_that_fits_only_a_part_says_where_to_begin(
    tmp_path: Path, live: Configuration, rules_only: Configuration
) -> None:
    """Goal: a rule over a new feature can be tried on what has it. Method: the feature came at sequence 11; follow the advice."""

    def more(features: dict[str, Any]) -> None:
        features["profiles"]["account"]["measures"]["night"] = {"when": "txn.night", "count": ["24h"]}

    def edit(policy: dict[str, Any]) -> None:
        policy["rules"][0]["when"] = "account.night_count_24h > 3"

    events = mixed_events(30, seed=5)
    write_journal(tmp_path, rules_only, events[:10])
    write_journal(tmp_path, configuration_of(rules_only, features=more), events[10:])
    instead = Replacement(policy=policy_document(edit))

    with pytest.raises(RiskEngineError, match="--from-sequence 11") as caught:
        what_if(tmp_path, instead)
    report, _ = what_if(tmp_path, instead, from_sequence=11)

    assert not isinstance(caught.value, ConfigError)
    assert len(events) - 10 == report.event_count


def test_configuration_that_decided_nothing_is_not_asked(
    tmp_path: Path, live: Configuration, rules_only: Configuration
) -> None:
    """Goal: only what decided has to fit. Method: a model's features are missing in two configurations without commands."""

    def fewer(features: dict[str, Any]) -> None:
        del features["profiles"]["account"]["measures"]["login"]

    empty, events = configuration_of(rules_only, features=fewer), mixed_events(30, seed=6)
    for configuration, part in ((empty, events[:0]), (rules_only, events), (empty, events[:0])):
        write_journal(tmp_path, configuration, part)

    report, _ = what_if(tmp_path, Replacement(model_path=live.model_path))

    assert len(events) == report.event_count


def test_configuration_that_is_older_than_the_journal_is_found_with_the_state(
    journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Goal: a trimmed journal can be asked as well. Method: the survey sees no activation, as if its file were gone."""

    def without(folder: Path, **options: Any) -> Survey:
        found = survey(folder, **options)
        found.activations.clear()
        return found

    instead = Replacement(policy=policy_document(thresholds(*probabilities_at(journal, 0.5, 0.8))))
    expected, _ = what_if(journal, instead)
    monkeypatch.setattr("riskengine.lab.whatif.survey", without)

    report, _ = what_if(journal, instead)

    assert expected.comparison.changed_count == report.comparison.changed_count > 0
    assert expected.comparison.decision_count == report.comparison.decision_count


def test_policy_that_fits_nothing_is_a_mistake_in_it(journal: Path) -> None:
    """Goal: mistakes look as they do in `policy check`. Method: a name that nothing measures."""

    def edit(policy: dict[str, Any]) -> None:
        policy["rules"][0]["when"] = "card.paymnt_count_1h > 3"

    with pytest.raises(ConfigError, match="payment_count_1h"):
        what_if(journal, Replacement(policy=policy_document(edit)))


def test_sequence_beyond_the_journal_is_refused(journal: Path) -> None:
    """Goal: an empty answer is no answer. Method: one more than there is."""
    last = survey(journal).last_sequence

    with pytest.raises(RiskEngineError, match=f"1 to {last}"):
        what_if(journal, Replacement(), from_sequence=last + 1)


def test_journal_without_events_has_no_differences(tmp_path: Path, rules_only: Configuration) -> None:
    """Goal: nothing to do is no error. Method: an engine that was opened and closed."""
    write_journal(tmp_path, rules_only, mixed_events(0, seed=1))

    report, batches = what_if(tmp_path, Replacement())

    assert (0, 0, []) == (report.event_count, report.comparison.decision_count, batches)


def test_differences_are_written_with_both_sides(journal: Path, tmp_path: Path) -> None:
    """Goal: the numbers can be looked into. Method: the file against what was compared, row by row."""
    batches: list[Batch] = []
    target = tmp_path / "differences.parquet"
    policy = policy_document(thresholds(*probabilities_at(journal, 0.5, 0.8)))

    with DifferenceWriter(target) as writer:

        def take(batch: Batch) -> None:
            batches.append(batch)
            writer.take(batch)

        report = WhatIf(journal, Replacement(policy=policy), sink=take).run()

    rows = pyarrow.parquet.read_table(target).to_pylist()
    expected = [int(row["sequence"]) for batch in batches for row in batch.old[batch.compared.different]]
    assert len(expected) == writer.row_count == report.comparison.different_count > 0
    assert expected == [row["sequence"] for row in rows]
    assert report.comparison.changed_count == sum(row["verdict_changed"] for row in rows)
    for row in rows:
        assert row["verdict_changed"] == (row["old_verdict"] != row["new_verdict"])
        assert row["old_probability"] == row["new_probability"]
        assert row["decision"].startswith("decisions/")
        assert ("hold_two_hours" in row["new_obligations"]) == (row["new_verdict"] == "REVIEW")
    assert [] == [path.name for path in tmp_path.iterdir() if path != target]


def test_file_of_differences_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    """Goal: half a file is not taken for a whole one. Method: fail while it is being written."""
    with pytest.raises(ZeroDivisionError), DifferenceWriter(tmp_path / "d.parquet"):
        raise ZeroDivisionError

    assert [] == list(tmp_path.iterdir())
