"""Bits of decisions as tables, against bit by bit."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from riskengine.lab.comparison import Comparison, aligned, fired_bits, obligation_bits
from riskengine.types import DECISION, OBLIGATIONS_MAX, RULE_WORDS, RULES_MAX

WORDS = st.integers(0, 2**64 - 1)


@given(
    rows=st.lists(st.tuples(*[WORDS] * RULE_WORDS), min_size=1, max_size=5),
    count=st.integers(0, RULES_MAX),
)
def test_fired_bits_are_those_of_the_words(rows: list[tuple[int, ...]], count: int) -> None:
    """Goal: rule 200 is rule 200. Method: words at random, against shifts in Python."""
    decisions = np.zeros(len(rows), DECISION)
    for word in range(RULE_WORDS):
        decisions[f"fired_{word}"] = [row[word] for row in rows]
    decisions["shadow_0"] = 2**64 - 1

    expected = [[bool(row[rule // 64] >> rule % 64 & 1) for rule in range(count)] for row in rows]

    assert expected == fired_bits(decisions, count).tolist()


@given(masks=st.lists(st.integers(0, 2**OBLIGATIONS_MAX - 1), min_size=1, max_size=5))
def test_obligation_bits_are_those_of_the_word(masks: list[int]) -> None:
    """Goal: likewise. Method: likewise."""
    decisions = np.zeros(len(masks), DECISION)
    decisions["obligations"] = masks

    expected = [[bool(mask >> bit & 1) for bit in range(OBLIGATIONS_MAX)] for mask in masks]

    assert expected == obligation_bits(decisions, OBLIGATIONS_MAX).tolist()


@given(data=st.data(), wanted=st.lists(st.sampled_from("abcdefgh"), unique=True, min_size=1))
def test_columns_go_by_their_names(data: st.DataObject, wanted: list[str]) -> None:
    """Goal: two policies are compared rule by rule. Method: some of the columns in any order, against a dictionary."""
    ids = data.draw(st.permutations(wanted).map(lambda names: names[: data.draw(st.integers(0, len(names)))]))
    row = data.draw(st.lists(st.booleans(), min_size=len(ids), max_size=len(ids)))
    known = dict(zip(ids, row, strict=True))

    moved = aligned(np.array([row], np.bool_).reshape(1, len(ids)), ids, wanted)

    assert [[known.get(name, False) for name in wanted]] == moved.tolist()


def test_batches_add_up() -> None:
    """Goal: counts do not depend on where a batch ends. Method: the same decisions at once and one by one."""
    generator = np.random.default_rng(1)
    old, new = np.zeros(40, DECISION), np.zeros(40, DECISION)
    for side in (old, new):
        side["verdict"] = generator.integers(1, 4, 40)
        side["fired_0"] = generator.integers(0, 4, 40)
        side["sequence"] = np.arange(40)
    old["verdict"][5] = new["verdict"][5] = 0
    fraud = generator.random(40) < 0.3
    names = {"rules": [{"id": "a"}, {"id": "b"}], "obligation_ids": []}
    whole, parts = Comparison(), Comparison()

    whole.add(old, new, old_names=names, new_names=names, fraud=fraud)
    for row in range(40):
        one = slice(row, row + 1)
        parts.add(old[one], new[one], old_names=names, new_names=names, fraud=fraud[one])

    assert 39 == whole.decision_count == int(whole.verdicts.sum())
    assert (whole.rules, whole.examples) == (parts.rules, parts.examples)
    assert (whole.verdicts.tolist(), whole.fraud_verdicts.tolist()) == (
        parts.verdicts.tolist(),
        parts.fraud_verdicts.tolist(),
    )
    assert (whole.changed_count, whole.different_count, whole.unruled_count) == (
        parts.changed_count,
        parts.different_count,
        parts.unruled_count,
    )
