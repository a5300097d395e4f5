"""Where features are declared and what uses them: each way once, by the places in three small files."""

from pathlib import Path

import pytest

from riskengine.engine.configuration import Configuration, build_configuration
from riskengine.engine.uses import FEATURES, POLICY, REASONS, declared_at, place_of, unused, uses_of, windows_beyond
from riskengine.limits import EngineLimits
from riskengine.yamlfile import Document, load_file, load_yaml

DEFAULTS = Path(__file__).resolve().parents[2] / "riskengine" / "defaults"
TEXTS = {
    FEATURES: """\
version: 1
inputs: {numbers: [basket, idle]}
profiles:
  card:
    first_seen: true
    measures:
      amount: {of: txn.amount, when: numbers.basket > 1, sum: [1h, 24h], mean: [1h]}
      amount_home: {count: [1h, 60d], delay: 15d, ratio: [1h/40d]}
    distinct: {device: [24h]}
    new: [device]
linkage:
  strong: [[card, device]]
  component_size: [card]
  over_degree_cap: [device]
derived:
  card.share: card.amount_sum_1h / card.amount_sum_24h
""",
    POLICY: """\
version: 1
name: small
thresholds:
  default: {review: 0.5, decline: 0.9}
  segments:
    - {id: fresh, when: card.new_device, review: 0.2, decline: 0.7}
obligations:
  tell: {notify: {audience: payer}}
rules:
  - {id: shared, when: card.share > 0.5, then: {verdict: review, obligations: [tell]}, reason: SHARE, mode: shadow}
""",
    REASONS: """\
version: 1
reasons:
  SHARE: {text: "{observed} beside {norm}", feature: card.share, norm: card.amount_mean_1h}
  OTHER: {text: Other things.}
blocked: OTHER
unevaluated: OTHER
model:
  - {code: OTHER, features: ["*"]}
""",
}
DECLARED = [
    ("numbers.idle", "2:28"),
    ("card.first_seen_age_s", "5:5"),
    ("card.amount_sum_24h", "7:68"),
    ("card.amount_mean_1h", "7:81"),
    ("card.amount_home_count_1h", "8:29"),
    ("card.amount_home_ratio_1h_40d", "8:59"),
    ("card.device_distinct_24h", "9:25"),
    ("card.new_device", "10:11"),
    ("card.component_size", "13:20"),
    ("device.over_degree_cap", "14:21"),
    ("card.share", "16:3"),
]
USED = {
    "card.share": [
        "rule shared (shadow: review, tell) policy.yaml:10:18",
        "reason SHARE (feature) reason_codes.yaml:3:45",
    ],
    "card.amount_mean_1h": ["reason SHARE (norm) reason_codes.yaml:3:66"],
    "card.amount_sum_1h": ["derived feature card.share features.yaml:16:3"],
    "card.new_device": ["threshold fresh (review from 0.2, decline from 0.7) policy.yaml:6:19"],
    "numbers.basket": ["measure card.amount features.yaml:7:7"],
    "txn.amount": ["measure card.amount features.yaml:7:7"],
    "card.component_size": [],
}


@pytest.fixture(scope="module")
def documents() -> dict[str, Document]:
    """The three files."""
    return {name: load_yaml(text, name=name) for name, text in TEXTS.items()}


@pytest.fixture(scope="module")
def configuration(documents: dict[str, Document]) -> Configuration:
    """All of them, compiled."""
    return build_configuration(
        *documents.values(), limits=EngineLimits(), base_currency="EUR", model_path=None, tag=lambda _entity, _value: 1
    )


@pytest.mark.parametrize(("name", "place"), DECLARED)
def test_feature_leads_to_its_declaration(documents: dict[str, Document], name: str, place: str) -> None:
    """Goal: click and be there. Method: each kind of declaration, one whose measure begins as another does among them."""
    path = declared_at(documents[FEATURES], name)

    assert path is not None
    assert f"features.yaml:{place}" == place_of(documents[FEATURES], path)


def test_every_shipped_feature_is_found_but_those_of_the_engine() -> None:
    """Goal: no kind of feature is forgotten. Method: all names of the starter; an answer unknown here leads to its measure."""
    from riskengine.engine.features import compile_features

    document = load_file(DEFAULTS / FEATURES)
    names = compile_features(document, EngineLimits()).names

    assert [] == [name for name in names if (declared_at(document, name) is None) != name.startswith("txn.")]
    assert ("profiles", "card", "measures", "amount") == declared_at(document, "card.amount_median_7d")
    assert declared_at(document, "card.nothing_7d") is None


def test_uses_are_found_in_all_files(configuration: Configuration, documents: dict[str, Document]) -> None:
    """Goal: who deletes a feature knows what breaks. Method: each kind of use once, with its place."""
    uses = uses_of(configuration, documents, None)

    assert USED == {name: [f"{use} {use.place}" for use in uses[name]] for name in USED}


def test_model_is_a_use(with_model: Configuration) -> None:
    """Goal: what the model reads is not called unused. Method: the starter with a model trained on all features."""
    files = {name: load_file(DEFAULTS / name) for name in TEXTS}
    assert with_model.model is not None
    bundle = with_model.model.bundle

    alone, beside = uses_of(with_model, files, None), uses_of(with_model, files, bundle)

    assert unused(files[FEATURES], alone)
    for name in bundle.feature_names:
        assert f"model small (revision {bundle.revision})" == str(beside[name][-1])


def test_unused_features_are_told_with_their_places(
    configuration: Configuration, documents: dict[str, Document]
) -> None:
    """Goal: files stay small. Method: what nothing asks for in the files; what the engine tells by itself is left out."""
    told = [str(problem) for problem in unused(documents[FEATURES], uses_of(configuration, documents, None))]

    assert "features.yaml:2:28: nothing uses numbers.idle: no rule, threshold, feature, reason or model" == told[0]
    places = [line.split(" ")[0] for line in told]
    assert sorted(
        f"features.yaml:{place}:" for place in ("2:28", "5:5", "8:29", "8:33", "8:59", "9:25", "13:20", "14:21")
    ) == (sorted(places))


def test_windows_that_outlive_the_journal_are_told(documents: dict[str, Document]) -> None:
    """Goal: no hole after a change of features. Method: a journal of 74, of 75 and of 1 days; a delay counts."""
    told = windows_beyond(documents[FEATURES], 74)

    assert ["features.yaml:8:33: 60d reaches farther back than the journal is kept (74 days)"] == [
        str(each).partition(": after")[0] for each in told
    ]
    assert [] == windows_beyond(documents[FEATURES], 75)
    assert 3 == len(windows_beyond(documents[FEATURES], 1))
