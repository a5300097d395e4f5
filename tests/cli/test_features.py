"""`features list`, `explain` and `check`: what people read, what programs read, and each mistake with its place."""

import json
import re
from pathlib import Path

import pytest

from tests.cli.running import Run

TWICE = ("features.yaml", "count: [10m, 1h]", "count: [10m, 10m]", r'features\.yaml:42:22: "10m" stands here twice')
FAR = (
    "features.yaml",
    "sum: [1h, 24h, 7d]",
    "sum: [1h, 24h, 91d]",
    r"features\.yaml:36:24: item 3 of sum: a window is at most 90d",
)
CONDITION = (
    "features.yaml",
    'when: txn.type == "CARD_PAYMENT" && txn.amount < 500',
    'when: txn.type == "CARD_PAYMENT" && txn.amount < "many"',
    r"features\.yaml:41:\d+: ",
)
DEVISE = (
    "features.yaml",
    "new: [device, payee]",
    "new: [devise]",
    r'features\.yaml:93:11: unknown entity "devise"; did you mean "device"',
)
MISTAKES = [
    TWICE,
    FAR,
    CONDITION,
    DEVISE,
    (
        "features.yaml",
        "of: txn.amount",
        "of: txn.type",
        r'features\.yaml:34:13: "txn.type" is not a number of the event',
    ),
    (
        "features.yaml",
        "card.burst_ratio_1h:",
        "card.payment_count_1h:",
        r"features\.yaml:\d+:3: card.payment_count_1h is there already; choose another name",
    ),
    (
        "policy.yaml",
        "card.merchant_distinct_1h >= 2",
        "card.merchant_distinct_2h >= 2",
        r"policy\.yaml:\d+:\d+: there is no variable card.merchant_distinct_2h; did you mean ",
    ),
    (
        "reason_codes.yaml",
        "features: [txn.amount, ",
        "features: [txn.amout, ",
        r'reason_codes\.yaml:\d+:\d+: .*did you mean "txn.amount"',
    ),
]
"""File, old and new text, what is told."""


def change(folder: Path, file: str, old: str, new: str) -> None:
    """Puts one thing in the place of another, the first time it stands there."""
    text = (folder / file).read_text()
    assert old in text, old
    (folder / file).write_text(text.replace(old, new, 1))


def test_list_for_programs_holds_everything(command: Run, rules_only: Path) -> None:
    """Goal: a catalogue for other tools. Method: JSON of a part, and the longer lines of a pipe."""
    told = json.loads(command("features", "list", rules_only, "--match", "card.amount_mean", "--json").out)
    long = command("features", "list", rules_only, "--match", "card.amount_mean", "--long").out.splitlines()

    assert ["card.amount_mean_7d", "card.amount_mean_30d"] == [each["name"] for each in told]
    assert {"name", "unit", "description", "boolean", "nulls", "exactness", "definition", "definition_hash"} == told[
        0
    ].keys()
    assert [
        "\t".join(each[key] for key in ("name", "unit", "description", "nulls", "exactness", "definition_hash"))
        for each in told
    ] == long


def test_list_is_filtered_by_meaning_too(command: Run, rules_only: Path) -> None:
    """Goal: an analyst finds what he has no name for. Method: words of a sentence, and of none."""
    found = command("features", "list", rules_only, "--match", "HANG TOGETHER")
    none = command("features", "list", rules_only, "--match", "card.amount_meen_7d")

    assert ["account.component_size", "device.component_size"] == [
        line.split("\t")[0] for line in found.out.splitlines()
    ]
    assert (0, "") == (none.code, none.out)
    assert 'did you mean "card.amount_mean_7d"?' in none.err


def test_feature_is_explained_on_one_page(command: Run, rules_only: Path) -> None:
    """Goal: everything about one name. Method: a feature that rules use; every line of the page, then the same as JSON."""
    ran = command("features", "explain", "card.small_payment_count_10m", rules_only)
    told = json.loads(command("features", "explain", "card.small_payment_count_10m", rules_only, "--json").out)

    assert ran.code == 0, ran.err
    text = " ".join(ran.out.split())
    for part in (
        "exact to 1,023 events, then of a window between w and w(1+1/32)",
        "missing where the event names no card",
        "features.yaml:42:17",
        'when: txn.type == "CARD_PAYMENT" && txn.amount < 500',
        "window: 10m",
        "104 bytes for each row of the card's curve, at most 1,024 rows",
        "rule card_testing_small_payments (enforce: decline, notify_payer)",
        "MODEL_CARD_AMOUNT",
        told["definition_hash"],
    ):
        assert part in text, part
    assert f"{rules_only / 'features.yaml'}:42:17" == told["declared"]
    assert ["rule"] == [use["kind"] for use in told["uses"] if "card_testing" in use["name"]]
    assert re.fullmatch(r".*/policy\.yaml:\d+:\d+", told["uses"][0]["place"])


@pytest.mark.parametrize(
    ("name", "memory"),
    [
        ("account.new_device", "32 bytes for each device of the account's last-seen table, at most 256"),
        ("merchant.card_distinct_1h", "32 bytes for each card of the merchant's last-seen table, at most 256"),
        ("account.component_size", "16 bytes for each linked entity, and the last-seen tables of its links"),
        ("card.first_seen_age_s", "80 bytes in the card's head"),
        ("card.burst_ratio_1h", "nothing is kept for it"),
        ("list.blocked_cards", "nothing is kept for it"),
        ("model.probability", "nothing is kept for it"),
    ],
)
def test_memory_of_each_kind_of_feature_is_told(command: Run, rules_only: Path, name: str, memory: str) -> None:
    """Goal: a price tag on every kind. Method: one of each."""
    assert memory == json.loads(command("features", "explain", name, rules_only, "--json").out)["memory"]


def test_unknown_name_is_answered_by_the_nearest(command: Run, rules_only: Path) -> None:
    """Goal: a typo costs nothing. Method: a letter missing, and a name near to none."""
    near = command("features", "explain", "card.amont_sum_24h", rules_only)
    far = command("features", "explain", "zzzzzz", rules_only)

    assert (2, 2) == (near.code, far.code)
    assert "the nearest are card.amount_sum_24h, " in near.err
    assert "riskengine features list" in far.err


@pytest.mark.parametrize(("file", "old", "new", "told"), MISTAKES, ids=[each[3] for each in MISTAKES])
def test_check_tells_each_mistake_at_its_place(
    command: Run, rules_only: Path, file: str, old: str, new: str, told: str
) -> None:
    """Goal: whoever breaks something finds it. Method: one mistake in a good folder; exit code and words as `policy check`."""
    change(rules_only, file, old, new)

    ran = command("features", "check", rules_only)

    assert (2, command("policy", "check", rules_only).err) == (ran.code, ran.err)
    assert re.search(told, ran.err)
    assert "has 1 problem;" in ran.err


def test_check_tells_all_mistakes_at_once(command: Run, rules_only: Path) -> None:
    """Goal: one round of corrections. Method: a mistake of form beside a name, a window and a condition."""
    chosen = (TWICE, FAR, CONDITION, DEVISE)
    for file, old, new, _ in chosen:
        change(rules_only, file, old, new)

    ran = command("features", "check", rules_only)

    assert 2 == ran.code
    assert "has 4 problems" in ran.err
    assert [] == [told for _, _, _, told in chosen if not re.search(told, ran.err)]


def test_check_of_the_shipped_folder_is_good(command: Run, rules_only: Path, starter: Path) -> None:
    """Goal: a good folder is called so. Method: without a model in one line, with one each feature that it leaves out."""
    without, beside = command("features", "check", rules_only), command("features", "check", starter)

    assert (0, 0) == (without.code, beside.code), without.err + beside.err
    assert "ok 140 features" in without.out
    assert re.search(r"features\.yaml:\d+:1: nothing uses \d+ features yet", without.err)
    assert "model starter asks for" in beside.out
    assert "features.yaml:10:13: nothing uses numbers.basket_items" in beside.err


def test_check_warns_of_what_is_odd(command: Run, rules_only: Path) -> None:
    """Goal: what is no mistake is told as well. Method: a pattern that matches nothing, a journal shorter than the windows."""
    change(rules_only, "reason_codes.yaml", '"*.fraud_outcome_count_*"', '"*.fraud_outcome_count_*", "card.nothing_*"')
    change(rules_only, "server.yaml", "journal_days: 30", "journal_days: 7")

    ran = command("features", "check", rules_only)

    assert 0 == ran.code, ran.err
    assert re.search(r'reason_codes\.yaml:\d+:\d+: no feature matches "card.nothing_\*"', ran.err)
    assert re.search(r"features\.yaml:53:21: 30d reaches farther back than the journal is kept \(7 days\)", ran.err)


def test_check_refuses_features_that_the_model_was_not_trained_on(command: Run, starter: Path, tmp_path: Path) -> None:
    """Goal: no surprise at the next start. Method: another condition of a measure, under the starter's model."""
    import shutil

    folder = tmp_path / "changed"
    shutil.copytree(starter, folder)
    change(folder, "features.yaml", "txn.amount < 500", "txn.amount < 700")

    ran = command("features", "check", folder)

    assert 1 == ran.code
    assert "card.small_payment_count_10m" in ran.err
