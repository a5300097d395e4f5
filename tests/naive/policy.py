"""The naive twins of `riskengine.policy.kernels`: linear scans, sets and sorted lists instead of bits and loops.

Used by `tests/policy`.
"""

import math
from typing import Any

from riskengine.policy import layout
from riskengine.types import REASON_WORDS, REASONS_MAX, RULE_WORDS

APPROVE, REVIEW, DECLINE = 1, 2, 3
Reason = tuple[int, int, float, float, float]
Members = set[tuple[int, int]]


def find_hits(
    tags: Any,
    masks: Any,
    expiries_us: Any,
    bounds: Any,
    columns: Any,
    events: Any,
    tag_word: int,
    time_word: int,
    features: Any,
    valid: Any,
    hits: Any,
) -> int:
    """Compares every entry with every entity of every event, and asks for each bit on its own."""
    for row in range(len(events)):
        found = 0
        time_us = int(events[row, time_word])
        for entity in range(len(bounds) - 1):
            for entry in range(int(bounds[entity]), int(bounds[entity + 1])):
                same = int(tags[entry]) == int(events[row, tag_word + entity]) % 2**64 != 0
                if same and time_us < int(expiries_us[entry]):
                    found |= int(masks[entry])
        hits[row] = found
        for index, column in enumerate(columns.tolist()):
            features[row, column] = 1.0 if found & (1 << index) else 0.0
            valid[row, column] = 1
    return sum(hit != 0 for hit in hits.tolist())


def combine(
    rules: Any,
    lists: Any,
    reasons: Any,
    thresholds: Any,
    constants: Any,
    truths: Any,
    known: Any,
    features: Any,
    valid: Any,
    list_hits: Any,
    probability: Any,
    words: Any,
    floats: Any,
) -> int:
    """Collects everything that anybody asks for, then takes the strictest."""
    for row in range(len(list_hits)):
        hit_bits = int(list_hits[row])
        fired, shadow, unevaluated = Members(), Members(), Members()
        # What was asked for: strictness, order of telling, reason.
        asked: list[tuple[int, int, int]] = []
        obligations = 0
        for order, listed in enumerate(lists.tolist()):
            if listed[layout.LIST_BLOCKS] and hit_bits & listed[layout.LIST_BIT]:
                asked.append((DECLINE, order, listed[layout.LIST_REASON]))
        for index, rule in enumerate(rules.tolist()):
            where = (rule[layout.RULE_WORD], rule[layout.RULE_BIT])
            order = len(lists) + index
            if not known[row, index]:
                unevaluated.add(where)
                if rule[layout.RULE_ENFORCED] and rule[layout.RULE_ON_ERROR]:
                    asked.append((rule[layout.RULE_ON_ERROR], order, int(constants[layout.CONSTANT_UNEVALUATED])))
            elif truths[row, index] and rule[layout.RULE_ENFORCED]:
                fired.add(where)
                obligations |= rule[layout.RULE_OBLIGATIONS]
                asked.append((rule[layout.RULE_VERDICT], order, rule[layout.RULE_REASON]))
            elif truths[row, index]:
                shadow.add(where)
        verdicts = [APPROVE, *(strictness for strictness, _, _ in asked)]
        holds = [
            index + 1
            for index in range(len(thresholds) - 1)
            if known[row, len(rules) + index] and truths[row, len(rules) + index]
        ]
        segment = holds[0] if holds else 0
        chance = float(probability[row])
        if not math.isnan(chance):
            words[row, layout.WORD_FLAGS] = int(words[row, layout.WORD_FLAGS]) | int(
                constants[layout.CONSTANT_MODEL_FLAG]
            )
            allowed = hit_bits & int(constants[layout.CONSTANT_ALLOWING])
            if constants[layout.CONSTANT_MODEL_LIVE] and not allowed:
                review, decline = thresholds[segment]
                verdicts.append(DECLINE if chance >= decline else REVIEW if chance >= review else APPROVE)
        verdict = max(verdicts)
        if verdict == REVIEW:
            obligations |= int(constants[layout.CONSTANT_ON_REVIEW])
        if verdict == DECLINE:
            obligations &= int(constants[layout.CONSTANT_ON_DECLINE])
        words[row, layout.WORD_VERDICT] = verdict
        words[row, layout.WORD_SEGMENT] = segment
        words[row, layout.WORD_OBLIGATIONS] = obligations
        words[row, layout.WORD_LIST_HITS] = hit_bits
        write_sets(words, row, fired, shadow, unevaluated)
        codes = dict.fromkeys(code for _, _, code in sorted(asked, key=lambda item: (-item[0], item[1])))
        told: list[Reason] = []
        for code in list(codes)[:REASONS_MAX]:
            feature, norm = reasons[code].tolist()
            told.append((code, feature, value(features, valid, row, feature), value(features, valid, row, norm), 0.0))
        write_reasons(words, floats, row, 0, told)
    return sum(verdict != APPROVE for verdict in words[:, layout.WORD_VERDICT].tolist())


def write_sets(words: Any, row: int, fired: Members, shadow: Members, unevaluated: Members) -> None:
    """Writes three sets of rules, each a set of (word, bit)."""
    for first, members in (
        (layout.WORD_FIRED, fired),
        (layout.WORD_SHADOW, shadow),
        (layout.WORD_UNEVALUATED, unevaluated),
    ):
        for word in range(RULE_WORDS):
            words[row, first + word] = sum(bit for at, bit in members if at == word)


def explain(
    groups: Any,
    reasons: Any,
    contributions: Any,
    row: int,
    features: Any,
    valid: Any,
    words: Any,
    floats: Any,
    sums: Any,
    heaviest: Any,
) -> int:
    """Adds up by code in a dict and sorts."""
    members: dict[int, list[int]] = {}
    for column, code in enumerate(groups.tolist()):
        if code >= 0:
            members.setdefault(code, []).append(column)
    count = int(words[row, layout.WORD_REASON_COUNT])
    there = {int(words[row, layout.WORD_REASONS + slot * REASON_WORDS]) for slot in range(count)}
    totals = {}
    for code, columns in members.items():
        total = 0.0
        for column in columns:
            total += float(contributions[column])
        if total > 0 and code not in there:
            totals[code] = total
    told: list[Reason] = []
    for code in sorted(totals, key=lambda code: (-totals[code], code))[: REASONS_MAX - count]:
        feature, norm = reasons[code].tolist()
        if feature < 0:
            feature = max(members[code], key=lambda column: (contributions[column], -column))
        observed, usual = value(features, valid, row, feature), value(features, valid, row, norm)
        told.append((code, feature, observed, usual, totals[code]))
    write_reasons(words, floats, row, count, told)
    return len(told)


def value(features: Any, valid: Any, row: int, column: int) -> float:
    """Returns a feature, NaN when it is missing or none is meant."""
    return float(features[row, column]) if column >= 0 and valid[row, column] else math.nan


def write_reasons(words: Any, floats: Any, row: int, count: int, told: list[Reason]) -> None:
    """Writes reasons behind the `count` that are there."""
    for slot, (code, feature, observed, norm, contribution) in enumerate(told, start=count):
        first = layout.WORD_REASONS + slot * REASON_WORDS
        words[row, first + layout.SLOT_CODE] = code
        words[row, first + layout.SLOT_FEATURE] = feature
        floats[row, first + layout.SLOT_OBSERVED] = observed
        floats[row, first + layout.SLOT_NORM] = norm
        floats[row, first + layout.SLOT_CONTRIBUTION] = contribution
    words[row, layout.WORD_REASON_COUNT] = count + len(told)
