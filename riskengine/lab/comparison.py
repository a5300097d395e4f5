"""Two sides of the same decisions, counted: how many verdicts change, between which, by which rules, and whether it was fraud.

INVARIANTS: rules and obligations are matched by their ids, since the bits of two policies mean different things. Memory does not
grow with the number of decisions.

Called by `lab.whatif`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from riskengine.enums import Verdict
from riskengine.types import DECISION_WORD, OBLIGATIONS_MAX, RULE_WORDS, RULES_MAX, Array, words
from riskengine.wire.reply import decision_name

VERDICTS: Final = (Verdict.APPROVE, Verdict.REVIEW, Verdict.DECLINE)
"""In the order of all tables here."""
EXAMPLES_MAX: Final = 3
"""Kept for each change of verdict: the first ones."""
Bits = npt.NDArray[np.bool_]
Names = Mapping[str, Any]
"""What a decision's bits mean, as `Configuration.names` and activations have it."""


@dataclass(frozen=True, slots=True)
class Example:
    """A decision whose verdict changes.

    Attributes:
        name: Of the decision.
        sequence: Of its event.
        gained: Ids of rules that fire only on the new side.
        lost: Ids of rules that fire only on the old side.
    """

    name: str
    sequence: int
    gained: tuple[str, ...]
    lost: tuple[str, ...]


@dataclass(slots=True)
class RuleChange:
    """How often an enforced rule fires on both sides.

    Attributes:
        old_count: Decisions in which it fired as journaled.
        new_count: Decisions in which it fires on the new side.
        gained_count: Decisions with another verdict in which it fires only on the new side.
        lost_count: Likewise, only on the old side.
    """

    old_count: int = 0
    new_count: int = 0
    gained_count: int = 0
    lost_count: int = 0


@dataclass(slots=True)
class Compared:
    """One batch, compared.

    Attributes:
        changed: bool[n], where the verdict is another.
        different: bool[n], where verdict or obligations are other: the caller would have been asked for something else.
    """

    changed: Bits
    different: Bits


@dataclass(slots=True)
class Comparison:
    """Counts over all batches.

    Attributes:
        decision_count: Decisions compared.
        changed_count: Of them with another verdict.
        different_count: Of them with another verdict or other obligations.
        unruled_count: Changed ones in which the same rules fire: thresholds, model or lists made the change.
        verdicts: int64[3, 3], decisions by old and new verdict, in the order of VERDICTS.
        fraud_verdicts: int64[3, 3], those of them that were reported as fraud.
        rules: By id, both policies'.
        examples: By old and new verdict.
    """

    decision_count: int = 0
    changed_count: int = 0
    different_count: int = 0
    unruled_count: int = 0
    verdicts: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros((3, 3), np.int64))
    fraud_verdicts: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros((3, 3), np.int64))
    rules: dict[str, RuleChange] = field(default_factory=dict)
    examples: dict[tuple[Verdict, Verdict], list[Example]] = field(default_factory=dict)

    def add(self, old: Array, new: Array, *, old_names: Names, new_names: Names, fraud: Bits) -> Compared:
        """Compares a batch. Commands that are not scored have no verdict on either side and are passed over.

        Args:
            old: DECISION[n], as journaled.
            new: DECISION[n], of the same commands.
            old_names: What the bits of `old` mean.
            new_names: What those of `new` mean.
            fraud: bool[n], whether its transaction was reported as fraud.
        """
        changed = old["verdict"] != new["verdict"]
        compared = Compared(changed, changed | _other_obligations(old, new, old_names, new_names))
        scored = old["verdict"] != 0
        self.decision_count += int(scored.sum())
        self.changed_count += int(changed.sum())
        self.different_count += int(compared.different.sum())
        cells = _cells(old, new)
        self.verdicts += np.bincount(cells[scored], minlength=9).reshape(3, 3)
        self.fraud_verdicts += np.bincount(cells[scored & fraud], minlength=9).reshape(3, 3)
        self._add_rules(old, new, changed, _ids(old_names), _ids(new_names))
        return compared

    def top_rules(self, count: int) -> list[tuple[str, RuleChange]]:
        """Returns the rules behind the most changed verdicts, then those whose firing changes most; none without a change."""
        moved = [
            (name, rule) for name, rule in self.rules.items() if rule.gained_count or rule.lost_count or _moves(rule)
        ]
        moved.sort(key=lambda item: (-(item[1].gained_count + item[1].lost_count), -_moves(item[1]), item[0]))
        return moved[:count]

    def _add_rules(self, old: Array, new: Array, changed: Bits, old_ids: Sequence[str], new_ids: Sequence[str]) -> None:
        ids = list(dict.fromkeys([*old_ids, *new_ids]))
        old_fired = aligned(fired_bits(old, len(old_ids)), old_ids, ids)
        new_fired = aligned(fired_bits(new, len(new_ids)), new_ids, ids)
        gained = new_fired[changed] & ~old_fired[changed]
        lost = old_fired[changed] & ~new_fired[changed]
        self.unruled_count += int((~(gained | lost).any(axis=1)).sum())
        counts = np.stack([each.sum(axis=0) for each in (old_fired, new_fired, gained, lost)], axis=1)
        for name, (old_count, new_count, gained_count, lost_count) in zip(ids, counts.tolist(), strict=True):
            rule = self.rules.setdefault(name, RuleChange())
            rule.old_count += old_count
            rule.new_count += new_count
            rule.gained_count += gained_count
            rule.lost_count += lost_count
        self._keep_examples(old[changed], new[changed], gained, lost, ids)

    def _keep_examples(self, old: Array, new: Array, gained: Bits, lost: Bits, ids: Sequence[str]) -> None:
        """Keeps the first decisions of each change."""
        cells = _cells(old, new)
        for cell in np.unique(cells).tolist():
            kept = self.examples.setdefault((VERDICTS[cell // 3], VERDICTS[cell % 3]), [])
            for row in np.flatnonzero(cells == cell)[: EXAMPLES_MAX - len(kept)].tolist():
                kept.append(
                    Example(
                        name=name_of(old[row]),
                        sequence=int(old["sequence"][row]),
                        gained=tuple(ids[at] for at in np.flatnonzero(gained[row]).tolist()),
                        lost=tuple(ids[at] for at in np.flatnonzero(lost[row]).tolist()),
                    )
                )


def name_of(decision: Any) -> str:
    """Returns the name of a row of DECISION."""
    return decision_name(request_key=int(decision["request_key"]), request_check=int(decision["request_check"]))


def _cells(old: Array, new: Array) -> npt.NDArray[np.int64]:
    """Returns the place of each scored decision in a table of old by new verdicts, row by row."""
    cells: npt.NDArray[np.int64] = 3 * (old["verdict"] - 1) + new["verdict"] - 1
    return cells


def fired_bits(decisions: Array, count: int) -> Bits:
    """Returns which enforced rules fired, bool[n, count], count at most RULES_MAX."""
    assert count <= RULES_MAX, "a rule is a bit"
    first = DECISION_WORD["fired_0"]
    return _bits(words(decisions)[:, first : first + RULE_WORDS], count)


def obligation_bits(decisions: Array, count: int) -> Bits:
    """Returns which obligations a decision brings, bool[n, count], count at most OBLIGATIONS_MAX."""
    assert count <= OBLIGATIONS_MAX, "an obligation is a bit"
    first = DECISION_WORD["obligations"]
    return _bits(words(decisions)[:, first : first + 1], count)


def aligned(bits: Bits, ids: Sequence[str], wanted: Sequence[str]) -> Bits:
    """Puts columns into another order.

    Args:
        bits: bool[n, len(ids)].
        ids: Of its columns.
        wanted: Of the columns of the result; holds all of `ids`.

    Returns:
        bool[n, len(wanted)], false in columns that `bits` does not have.
    """
    place = {name: at for at, name in enumerate(wanted)}
    out = np.zeros((len(bits), len(wanted)), np.bool_)
    out[:, [place[name] for name in ids]] = bits
    return out


def _bits(matrix: npt.NDArray[np.int64], count: int) -> Bits:
    """Returns the first `count` bits of each row of words, the lowest of the first word first."""
    octets = np.ascontiguousarray(matrix).astype("<i8", copy=False).view(np.uint8).reshape(len(matrix), -1)
    unpacked: Bits = np.unpackbits(octets, axis=1, bitorder="little", count=count).view(np.bool_)
    return unpacked


def _other_obligations(old: Array, new: Array, old_names: Names, new_names: Names) -> Bits:
    old_ids, new_ids = old_names["obligation_ids"], new_names["obligation_ids"]
    other: Bits
    if old_ids == new_ids:
        other = old["obligations"] != new["obligations"]
        return other
    ids = list(dict.fromkeys([*old_ids, *new_ids]))
    before = aligned(obligation_bits(old, len(old_ids)), old_ids, ids)
    after = aligned(obligation_bits(new, len(new_ids)), new_ids, ids)
    other = (before != after).any(axis=1)
    return other


def _ids(names: Names) -> list[str]:
    return [rule["id"] for rule in names["rules"]]


def _moves(rule: RuleChange) -> int:
    return abs(rule.new_count - rule.old_count)
