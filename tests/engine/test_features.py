"""features.yaml: each mistake with its message, and what a definition's hash stands for."""

from pathlib import Path

import pytest

from riskengine.engine.features import FeatureSet, compile_features
from riskengine.errors import ConfigError
from riskengine.limits import EngineLimits
from riskengine.model.trees import FEATURES_MAX
from riskengine.tables.layout import MEMORY_US
from riskengine.types import ENTITY_INDEX, US_PER_DAY, US_PER_SECOND
from riskengine.yamlfile import load_yaml

LIMITS = EngineLimits()
GOOD = """\
version: 1
inputs: {numbers: [basket, balance], labels: [tier]}
profiles:
  card:
    rows_max: 64
    epsilon_shift: 5
    members_max: 16
    first_seen: true
    measures:
      amount: {of: txn.amount, when: txn.monetary && labels.tier == "gold", sum: [1h, 24h], zscore: [24h]}
      refund: {when: txn.type == "REFUND", count: [24h], since_last: true}
    distinct: {device: [24h]}
    new: [device]
linkage:
  strong: [[card, device], [card, account]]
  degree_max: {device: 8}
  degree_max_default: 64
  component_size: [card]
  over_degree_cap: [account]
derived:
  card.share: card.amount_sum_1h / card.amount_sum_24h
  card.half: card.share / 2
"""
MISTAKES = [
    ("version: 1", "version: 2", "1:10: version must be 1"),
    ("version: 1\n", "", "1:1: version is missing"),
    ("profiles:", "profils:", '3:1: unknown key "profils"; did you mean "profiles"?'),
    ("numbers: [basket", "numbers: [Basket", "2:20: item 1 of numbers must be lower_snake_case, at most 32 characters"),
    ("[basket, balance]", "[basket, basket]", '2:28: "basket" stands here twice'),
    ("[basket, balance]", "[basket, in]", '2:28: "in" is a word of CEL; give the key another name'),
    ("labels: [tier]", "labels: [has]", '2:47: "has" is a word of CEL; give the key another name'),
    ("labels: [tier]", "labels: [tier, tier]", '2:53: "tier" stands here twice'),
    ("  card:\n", "  crad:\n", '4:3: unknown entity "crad"; did you mean "card"?'),
    ("rows_max: 64", "rows_max: 8", "5:15: rows_max must be at least 16"),
    ("rows_max: 64", "rows_max: 4096", "5:15: rows_max must be at most 1024"),
    ("rows_max: 64", "rows_mx: 64", '5:5: unknown key "rows_mx"; did you mean "rows_max"?'),
    ("epsilon_shift: 5", "epsilon_shift: 9", "6:20: epsilon_shift must be at most 8"),
    ("members_max: 16", "members_max: many", "7:18: members_max must be a whole number"),
    ("first_seen: true", "first_seen: yes", "8:17: first_seen must be true or false"),
    ("amount: {", "Amount: {", "10:7: the name Amount must be lower_snake_case, at most 32 characters"),
    ("of: txn.amount", "of: txn.amout", '10:20: "txn.amout" is not a number of the event; did you mean "txn.amount"?'),
    (
        "of: txn.amount",
        "of: txn.monetary",
        '10:20: "txn.monetary" is not a number of the event; did you mean "txn.amount"?',
    ),
    (
        "of: txn.amount, ",
        "",
        "10:7: amount asks for sum, zscore: name what is measured with `of`",
    ),
    ("txn.monetary &&", "txn.monetry &&", '10:42: there is no variable txn.monetry; did you mean "txn.monetary"?'),
    (
        "txn.monetary &&",
        "card.share > 1 &&",
        "10:38: there is no namespace card; the namespaces are labels, numbers, outcome, txn",
    ),
    (
        'labels.tier == "gold"',
        'labels.teir == "gold"',
        '10:61: there is no variable labels.teir; did you mean "labels.tier"?',
    ),
    ("sum: [1h, 24h]", "sum: [1h, 1h]", '10:87: "1h" stands here twice'),
    (
        "sum: [1h, 24h]",
        "sum: [1h, 24]",
        "10:87: item 2 of sum must be text; put it in quotes",
    ),
    (
        "sum: [1h, 24h]",
        "sum: [1h, 1w]",
        "10:87: item 2 of sum: a window is a whole number and one of s, m, h, d, for example 10m, 24h or 7d",
    ),
    ("sum: [1h, 24h]", "sum: [1h, 91d]", "10:87: item 2 of sum: a window is at most 90d"),
    ("zscore: [24h]", "zscroe: [24h]", '10:93: unknown key "zscroe"; did you mean "zscore"?'),
    (
        'txn.type == "REFUND"',
        'txn.type == "REFNUD"',
        "11:34: txn.type is never 'REFNUD'; did you mean \"REFUND\"?",
    ),
    ('txn.type == "REFUND"', "txn.amount", "11:22: this gives a number, but true or false is needed here"),
    (
        "count: [24h], since_last: true",
        "count: []",
        "11:7: refund asks for nothing; add for example count: [24h]",
    ),
    (
        "count: [24h], since_last: true",
        "count: [24h], since_last: true, delay: 1h",
        "11:76: a delay shifts windows, which are not asked of since_last; give those a measure without it",
    ),
    ("distinct: {device", "distinct: {devise", '12:16: unknown entity "devise"; did you mean "device"?'),
    ("distinct: {device: [24h]}", "distinct: {device: [24h, 24h]}", '12:30: "24h" stands here twice'),
    ("new: [device]", "new: [devise]", '13:11: unknown entity "devise"; did you mean "device"?'),
    ("new: [device]", "new: [device, device]", '13:19: "device" stands here twice'),
    ("[card, device]", "[card, devise]", '15:19: unknown entity "devise"; did you mean "device"?'),
    ("[card, device]", "[card]", "15:12: item 1 of strong must have at least 2 item(s)"),
    ("[card, device]", "[card, card]", "15:12: a pair names two different types, once"),
    ("[card, account]", "[device, card]", "15:28: a pair names two different types, once"),
    ("degree_max: {device", "degree_max: {devise", '16:16: unknown entity "devise"; did you mean "device"?'),
    ("{device: 8}", "{device: 1}", "16:24: device must be at least 2"),
    ("degree_max_default: 64", "degree_max_default: 501", "17:23: degree_max_default must be at most 500"),
    ("component_size: [card]", "component_size: [carp]", '18:20: unknown entity "carp"; did you mean "card"?'),
    ("component_size: [card]", "component_size: [card, card]", '18:26: "card" stands here twice'),
    (
        "over_degree_cap: [account]",
        "over_degree_cap: [acount]",
        '19:21: unknown entity "acount"; did you mean "account"?',
    ),
    ("card.half:", "share:", "22:3: a feature is named entity.name, such as card.ratio_24h"),
    ("card.half:", "card.in:", "22:3: a feature is named entity.name, such as card.ratio_24h"),
    ("card.half:", "card.1st:", "22:3: a feature is named entity.name, such as card.ratio_24h"),
    ("card.half:", "card.first_seen_age_s:", "22:3: card.first_seen_age_s is there already; choose another name"),
    ("card.half:", "txn.type:", "22:3: txn.type is there already; choose another name"),
    (
        "card.amount_sum_1h /",
        "card.amount_sum_2h /",
        '21:20: there is no variable card.amount_sum_2h; did you mean "card.amount_sum_24h"?',
    ),
    ("card.share / 2", "card.share > 2", "22:14: this gives true or false, but a number is needed here"),
    ("card.share / 2", "card.shore / 2", '22:19: there is no variable card.shore; did you mean "card.share"?'),
    (
        "card.share / 2",
        "device.half / 2",
        "22:14: there is no namespace device; the namespaces are account, card, labels, numbers, outcome, txn",
    ),
]
# (what stands in GOOD, what else could stand there, features that then are another thing)
CHANGES = [
    ("rows_max: 64", "rows_max: 16", ["card.amount_sum_1h", "card.refund_count_24h", "card.refund_since_last_s"]),
    ("epsilon_shift: 5", "epsilon_shift: 2", ["card.amount_zscore_24h", "card.refund_count_24h"]),
    ("members_max: 16", "members_max: 32", []),  # the linkage keeps 65 in the same table
    ("members_max: 16", "members_max: 128", ["card.device_distinct_24h", "card.new_device"]),
    ("degree_max_default: 64", "degree_max_default: 32", ["card.component_size", "account.over_degree_cap"]),
    ("degree_max_default: 64", "degree_max_default: 80", ["card.device_distinct_24h", "card.new_device"]),
    ("{device: 8}", "{device: 9}", ["card.component_size"]),
    ("{device: 8}", "{account: 8}", ["card.component_size", "account.over_degree_cap"]),
    ("[card, account]", "[device, account]", ["card.component_size", "account.over_degree_cap"]),
    ("[card, account]", "[card, payee]", ["card.component_size", "account.over_degree_cap"]),
    ("of: txn.amount", "of: numbers.basket", ["card.amount_sum_1h", "card.amount_zscore_24h"]),
    ("txn.monetary &&", "txn.night &&", ["card.amount_sum_24h", "card.share", "card.half"]),
    ("count: [24h], since_last: true", "count: [24h], delay: 1h", ["card.refund_count_24h"]),
    ("count: [24h]", "count: [60d]", ["card.first_seen_age_s", "card.new_device", "card.component_size"]),
    ("device: [24h]", "device: [60d]", ["card.first_seen_age_s", "card.new_device", "card.component_size"]),
    ("card.share / 2", "card.share / 3", ["card.half"]),
]
# What does not change what a feature means, but what features there are or how the same is said.
SAME = [
    ("[[card, device], [card, account]]", "[[account, card], [device, card]]"),
    ("degree_max: {device: 8}", "degree_max: {device: 8, account: 64, phone: 3}"),
    ("sum: [1h, 24h]", "sum: [1h, 24h, 7d], mean: [1h]"),
    ("new: [device]", "new: [device, account]"),
    ("component_size: [card]", "component_size: [card, device]"),
    ("[basket, balance]", "[balance, basket, more]"),
]


def compiled(text: str) -> FeatureSet:
    """Compiles a text."""
    return compile_features(load_yaml(text, name="features.yaml"), LIMITS)


def messages(text: str) -> list[str]:
    """Returns what a text is refused with."""
    with pytest.raises(ConfigError) as refused:
        compiled(text)
    return [str(problem) for problem in refused.value.problems]


def changed(old: str, new: str, text: str = GOOD) -> str:
    """Puts one thing in the place of another."""
    assert text.count(old) == 1, old
    return text.replace(old, new)


def hashes(text: str) -> dict[str, str]:
    """Returns the hash of each feature's definition by name."""
    features = compiled(text)
    return dict(zip(features.names, features.hashes, strict=True))


def test_the_shipped_features_compile() -> None:
    """Goal: the starter's file is good. Method: compile it, and the file that the mistakes are made in."""
    shipped = Path(__file__).resolve().parents[2] / "riskengine" / "defaults" / "features.yaml"

    assert len(compiled(shipped.read_text()).features) > 100
    assert "card.half" in compiled(GOOD).names


@pytest.mark.parametrize(("old", "new", "message"), MISTAKES, ids=[message for _, _, message in MISTAKES])
def test_mistake_is_told_at_its_place(old: str, new: str, message: str) -> None:
    """Goal: whoever declares features finds the mistake. Method: one in a good file, its place and its words."""
    assert old in GOOD

    assert [f"features.yaml:{message}"] == messages(GOOD.replace(old, new, 1))


def test_mistakes_do_not_hide_each_other() -> None:
    """Goal: one round of corrections. Method: one wrong thing in each part that can be looked at by itself."""
    text = GOOD
    for old, new in (
        ("txn.monetary &&", "txn.monetry &&"),
        ("distinct: {device", "distinct: {devise"),
        ("new: [device]", "new: [device, device]"),
        ("degree_max: {device", "degree_max: {devise"),
    ):
        text = changed(old, new, text)

    assert [10, 12, 13, 16] == [int(said.split(":")[1]) for said in messages(text)]
    both = changed("card.share / 2", "card.shore / 2", changed("txn.monetary &&", "txn.monetry &&"))
    assert [10, 22] == [int(said.split(":")[1]) for said in messages(both)]


def test_mistake_of_form_hides_only_its_own_measure() -> None:
    """Goal: one round of corrections. Method: a bad window and a bad key beside a name, a reference and a condition."""
    text = GOOD
    for old, new in (
        ("sum: [1h, 24h]", "sum: [1h, 91d]"),
        ('txn.type == "REFUND"', 'txn.type == "REFNUD"'),
        ("distinct: {device", "distinct: {devise"),
        ("members_max: 16", "members_mx: 16"),
        ("over_degree_cap: [account]", "over_degree_cap: [acount]"),
    ):
        text = changed(old, new, text)

    assert [7, 10, 11, 12, 19] == sorted(int(said.split(":")[1]) for said in messages(text))


@pytest.mark.parametrize("inputs", ["{numbers: [basket, balance], labels: [Tier]}", "{lables: [tier]}", "7"])
def test_inputs_of_the_wrong_form_are_told_without_their_echo(inputs: str) -> None:
    """Goal: no second mistake is made up. Method: inputs that conditions name, in a form that cannot be read."""
    text = changed("{numbers: [basket, balance], labels: [tier]}", inputs)

    assert [2] == [int(said.split(":")[1]) for said in messages(text)]


def test_the_same_wrong_condition_is_told_wherever_it_stands() -> None:
    """Goal: no second round for the same typo. Method: one text in two measures."""
    text = changed('when: txn.type == "REFUND"', "when: txn.monetry", changed("txn.monetary && ", "txn.monetry && "))
    text = changed('txn.monetry && labels.tier == "gold"', "txn.monetry", text)

    assert [10, 11] == [int(said.split(":")[1]) for said in messages(text)]


def test_more_features_than_a_model_can_have_are_refused() -> None:
    """Goal: a bound, not a crash. Method: every entity type with as many windows as a profile may ask for."""
    windows = ", ".join(f"{minutes}m" for minutes in range(1, 17))
    measure = "{of: txn.amount, " + ", ".join(f"{name}: [{windows}]" for name in ("count", "sum", "mean", "std")) + "}"
    profiles = "".join(
        f"  {entity}: {{measures: {{{', '.join(f'm{index}: {measure}' for index in range(8))}}}}}\n"
        for entity in ENTITY_INDEX
    )

    told = messages(f"version: 1\nprofiles:\n{profiles}")

    assert [f"features.yaml:2:1: these are 6158 features, at most {FEATURES_MAX} fit; ask for fewer windows"] == told


@pytest.mark.parametrize(("old", "new", "names"), CHANGES)
def test_every_parameter_is_in_the_definitions_it_matters_to(old: str, new: str, names: list[str]) -> None:
    """Goal: a model trained on other features is never accepted. Method: one parameter changed, the hashes compared.

    The model binds a feature by the hash of its definition; whatever may change a value has to change it.
    """
    before, after = hashes(GOOD), hashes(changed(old, new))

    for name in names:
        assert before[name] != after[name], name
    if not names:
        assert before == after


@pytest.mark.parametrize(("old", "new"), SAME)
def test_what_changes_no_value_changes_no_definition(old: str, new: str) -> None:
    """Goal: no model is refused for nothing. Method: say the same otherwise, or add a feature."""
    before, after = hashes(GOOD), hashes(changed(old, new))

    assert before == {name: text for name, text in after.items() if name in before}


def test_limits_of_the_server_are_no_part_of_a_definition() -> None:
    """Goal: a server with more memory takes the same model. Method: two sets of limits."""
    document = load_yaml(GOOD, name="features.yaml")

    small = compile_features(document, EngineLimits(entities_max=64, arena_mib=1, lateness_max_s=60))

    assert small.hashes == compile_features(document, LIMITS).hashes


def test_entities_are_remembered_as_far_as_any_window_reaches() -> None:
    """Goal: no window has a hole because its entity was forgotten. Method: distinct and delayed windows beyond 30 days."""
    lateness_us = LIMITS.lateness_max_s * US_PER_SECOND

    def kept_days(text: str, entity: str) -> float:
        kept_us = compiled(text).velocity.horizons_us[ENTITY_INDEX[entity]] - lateness_us
        return kept_us / US_PER_DAY

    assert kept_days(GOOD, "card") == kept_days(GOOD, "device") == MEMORY_US / US_PER_DAY
    assert 60 == kept_days(changed("device: [24h]", "device: [60d]"), "card")
    assert 75 == kept_days(changed("count: [24h], since_last: true", "count: [60d], delay: 15d"), "card")
    assert -lateness_us / US_PER_DAY == kept_days(GOOD, "phone")
