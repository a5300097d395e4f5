"""Kernels of the policy: who is on a list, what all rules together say, and why.

INVARIANTS: a verdict only ever gets stricter; an allow list keeps the model's thresholds from asking, no more. Shadow
rules write their own bits and nothing else. Sums run in column order, so the same inputs give the same bits.

Called by `lists` and `stage`.
"""

from typing import Any, Final

import numpy as np

from riskengine.enums import Verdict
from riskengine.jit import kernel
from riskengine.types import REASON_WORDS, REASONS_MAX, RULE_WORDS

from .layout import (
    CONSTANT_ALLOWING,
    CONSTANT_BLOCKING,
    CONSTANT_MODEL_FLAG,
    CONSTANT_MODEL_LIVE,
    CONSTANT_ON_DECLINE,
    CONSTANT_ON_REVIEW,
    CONSTANT_UNEVALUATED,
    LIST_BIT,
    LIST_BLOCKS,
    LIST_REASON,
    REASON_FEATURE,
    REASON_NORM,
    RULE_BIT,
    RULE_ENFORCED,
    RULE_OBLIGATIONS,
    RULE_ON_ERROR,
    RULE_REASON,
    RULE_VERDICT,
    RULE_WORD,
    SLOT_CODE,
    SLOT_CONTRIBUTION,
    SLOT_FEATURE,
    SLOT_NORM,
    SLOT_OBSERVED,
    WORD_FIRED,
    WORD_FLAGS,
    WORD_LIST_HITS,
    WORD_OBLIGATIONS,
    WORD_REASON_COUNT,
    WORD_REASONS,
    WORD_SEGMENT,
    WORD_SHADOW,
    WORD_UNEVALUATED,
    WORD_VERDICT,
)

APPROVE: Final = int(Verdict.APPROVE)
REVIEW: Final = int(Verdict.REVIEW)
DECLINE: Final = int(Verdict.DECLINE)


@kernel("i8(u8[::1],i8[::1],i8[::1],i8[::1],i8[::1],i8[:,::1],i8,i8,f8[:,::1],u1[:,::1],i8[::1])")
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
    """Looks every entity of every event up in the lists, and tells conditions, which read ``list.<id>``.

    Args:
        tags: uint64[E], listed tags: one block for each entity type, ascending within it, equal ones side by side.
        masks: int64[E], bits of the list.
        expiries_us: int64[E], event time from which the entry is off the list.
        bounds: int64[T + 1], where each entity type's block begins.
        columns: int64[L], the matrix column of each list.
        events: int64[n, words], rows of EVENT.
        tag_word: Index of the first entity's tag in a row.
        time_word: Index of the event time, microseconds.
        features: float64[n, F], out: 0 or 1 in the columns of the lists.
        valid: uint8[n, F], out: 1 in the same columns.
        hits: int64[n], out: bits of the lists hit.

    Returns:
        Number of events with a hit. One binary search for each entity type that any list speaks of; a type without
        entries costs two reads.
    """
    count = 0
    for row in range(len(events)):
        time_us = events[row, time_word]
        found = np.int64(0)
        for entity in range(len(bounds) - 1):
            low = bounds[entity]
            end = bounds[entity + 1]
            tag = np.uint64(events[row, tag_word + entity])
            if low == end or not tag:
                continue
            high = end
            while low < high:
                middle = (low + high) >> 1
                if tags[middle] < tag:
                    low = middle + 1
                else:
                    high = middle
            while low < end and tags[low] == tag:
                if time_us < expiries_us[low]:
                    found |= masks[low]
                low += 1
        hits[row] = found
        if found:
            count += 1
        for index in range(len(columns)):
            features[row, columns[index]] = found & 1
            valid[row, columns[index]] = 1
            found >>= 1
    return count


@kernel(inline=True)
def add_reason(
    words: Any, floats: Any, row: int, code: int, feature: int, observed: float, norm: float, contribution: float
) -> int:
    """Appends a reason to a decision unless its code is there already or all `REASONS_MAX` places are taken.

    Returns:
        1 when it was added, 0 otherwise.
    """
    count = words[row, WORD_REASON_COUNT]
    for place in range(count):
        if words[row, WORD_REASONS + place * REASON_WORDS + SLOT_CODE] == code:
            return 0
    if count >= REASONS_MAX:
        return 0
    slot = WORD_REASONS + count * REASON_WORDS
    words[row, slot + SLOT_CODE] = code
    words[row, slot + SLOT_FEATURE] = feature
    floats[row, slot + SLOT_OBSERVED] = observed
    floats[row, slot + SLOT_NORM] = norm
    floats[row, slot + SLOT_CONTRIBUTION] = contribution
    words[row, WORD_REASON_COUNT] = count + 1
    return 1


@kernel(inline=True)
def value_at(features: Any, valid: Any, row: int, column: int) -> float:
    """Returns a feature's value, NaN when it is missing or `column` is -1."""
    if column < 0 or valid[row, column] == 0:
        return np.nan
    return features[row, column]


@kernel(inline=True)
def add_catalogue_reason(reasons: Any, features: Any, valid: Any, words: Any, floats: Any, row: int, code: int) -> int:
    """Appends a reason with the feature and the norm that the catalogue names for it."""
    feature = reasons[code, REASON_FEATURE]
    observed = value_at(features, valid, row, feature)
    norm = value_at(features, valid, row, reasons[code, REASON_NORM])
    return add_reason(words, floats, row, code, feature, observed, norm, 0.0)


@kernel(inline=True)
def segment_of(truths: Any, known: Any, row: int, first: int, count: int) -> int:
    """Returns the first segment whose condition is true, counted from 1; 0 for the default."""
    for index in range(count):
        if known[row, first + index] and truths[row, first + index] != 0.0:
            return index + 1
    return 0


@kernel(inline=True)
def apply_rules(rules: Any, truths: Any, known: Any, words: Any, row: int) -> int:
    """Sets the bits of every rule and the obligations of those that fired.

    Returns:
        The strictest verdict that enforced rules ask for, at least APPROVE.
    """
    verdict: Any = np.int64(APPROVE)
    for index in range(len(rules)):
        word = rules[index, RULE_WORD]
        bit = rules[index, RULE_BIT]
        if not known[row, index]:
            words[row, WORD_UNEVALUATED + word] |= bit
            if rules[index, RULE_ENFORCED]:
                verdict = max(verdict, rules[index, RULE_ON_ERROR])
        elif truths[row, index] != 0.0:
            if rules[index, RULE_ENFORCED]:
                words[row, WORD_FIRED + word] |= bit
                words[row, WORD_OBLIGATIONS] |= rules[index, RULE_OBLIGATIONS]
                verdict = max(verdict, rules[index, RULE_VERDICT])
            else:
                words[row, WORD_SHADOW + word] |= bit
    return verdict


@kernel(inline=True)
def add_rule_reasons(
    rules: Any,
    lists: Any,
    reasons: Any,
    unevaluated_code: int,
    truths: Any,
    known: Any,
    features: Any,
    valid: Any,
    words: Any,
    floats: Any,
    row: int,
) -> int:
    """Appends the reasons of block lists and enforced rules, the strictest first, each code once; returns how many."""
    added = 0
    for level in (DECLINE, REVIEW, 0):
        if level == DECLINE:
            for index in range(len(lists)):
                if lists[index, LIST_BLOCKS] and words[row, WORD_LIST_HITS] & lists[index, LIST_BIT]:
                    added += add_catalogue_reason(
                        reasons, features, valid, words, floats, row, lists[index, LIST_REASON]
                    )
        for index in range(len(rules)):
            if not rules[index, RULE_ENFORCED]:
                continue
            if known[row, index]:
                if truths[row, index] != 0.0 and rules[index, RULE_VERDICT] == level:
                    added += add_catalogue_reason(
                        reasons, features, valid, words, floats, row, rules[index, RULE_REASON]
                    )
            elif level > 0 and rules[index, RULE_ON_ERROR] == level:
                added += add_catalogue_reason(reasons, features, valid, words, floats, row, unevaluated_code)
    return added


@kernel(
    "i8(i8[:,::1],i8[:,::1],i8[:,::1],f8[:,::1],i8[::1],f8[:,::1],u1[:,::1],f8[:,::1],u1[:,::1],i8[::1],f8[::1],"
    "i8[:,::1],f8[:,::1])"
)
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
    """Turns what conditions, lists and the model say into decisions.

    Args:
        rules: int64[R, RULE_COLUMNS].
        lists: int64[L, LIST_COLUMNS].
        reasons: int64[C, REASON_COLUMNS].
        thresholds: float64[S, 2], review and decline of each segment, the default first.
        constants: int64[CONSTANT_WORDS].
        truths: float64[n, R + S - 1], conditions of the rules, then of the segments: 0 or 1.
        known: uint8[n, R + S - 1], 1 where a condition could be evaluated.
        features: float64[n, F].
        valid: uint8[n, F], 1 where a feature is present.
        list_hits: int64[n], bits.
        probability: float64[n], NaN without a model.
        words: int64[n, DECISION_WORDS], out: verdict, segment, obligations, list hits, bits of rules, reasons; flags
            are added to.
        floats: float64[n, DECISION_WORDS], the same memory.

    Returns:
        Number of rows that are not approved. Touches the conditions once, and a second time for reasons when anything
        asked for something.
    """
    stopped = 0
    for row in range(len(list_hits)):
        for word in range(3 * RULE_WORDS):
            words[row, WORD_FIRED + word] = 0
        words[row, WORD_OBLIGATIONS] = 0
        words[row, WORD_REASON_COUNT] = 0
        words[row, WORD_LIST_HITS] = list_hits[row]
        verdict = apply_rules(rules, truths, known, words, row)
        if list_hits[row] & constants[CONSTANT_BLOCKING]:
            verdict = np.int64(DECLINE)
        if verdict > APPROVE or words[row, WORD_OBLIGATIONS]:
            add_rule_reasons(
                rules,
                lists,
                reasons,
                constants[CONSTANT_UNEVALUATED],
                truths,
                known,
                features,
                valid,
                words,
                floats,
                row,
            )
        segment = segment_of(truths, known, row, len(rules), len(thresholds) - 1)
        words[row, WORD_SEGMENT] = segment
        if not np.isnan(probability[row]):
            words[row, WORD_FLAGS] |= constants[CONSTANT_MODEL_FLAG]
            # An allow list speaks against the model alone: never against an enforced rule or a block list.
            if constants[CONSTANT_MODEL_LIVE] and not list_hits[row] & constants[CONSTANT_ALLOWING]:
                if probability[row] >= thresholds[segment, 1]:
                    verdict = np.int64(DECLINE)
                elif probability[row] >= thresholds[segment, 0]:
                    verdict = max(verdict, np.int64(REVIEW))
        words[row, WORD_VERDICT] = verdict
        if verdict == REVIEW:
            words[row, WORD_OBLIGATIONS] |= constants[CONSTANT_ON_REVIEW]
            stopped += 1
        elif verdict == DECLINE:
            words[row, WORD_OBLIGATIONS] &= constants[CONSTANT_ON_DECLINE]
            stopped += 1
    return stopped


@kernel("i8(i8[::1],i8[:,::1],f8[::1],i8,f8[:,::1],u1[:,::1],i8[:,::1],f8[:,::1],f8[::1],i8[::1])")
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
    """Appends the model's reasons to a decision: the groups of features that pushed hardest towards fraud.

    Args:
        groups: int64[F], the reason of each feature, -1 for none.
        reasons: int64[C, REASON_COLUMNS].
        contributions: float64[F], log-odds, positive towards fraud.
        row: Index of the decision.
        features: float64[n, F].
        valid: uint8[n, F].
        words: int64[n, DECISION_WORDS], out: reasons behind those that are there.
        floats: float64[n, DECISION_WORDS], the same memory.
        sums: float64[C], scratch.
        heaviest: int64[C], scratch.

    Returns:
        Number of reasons added. At most REASONS_MAX passes over C; of equal sums the earlier code comes first.
    """
    for code in range(len(reasons)):
        sums[code] = 0.0
        heaviest[code] = -1
    for column in range(len(groups)):
        code = groups[column]
        if code < 0:
            continue
        sums[code] += contributions[column]
        if heaviest[code] < 0 or contributions[column] > contributions[heaviest[code]]:
            heaviest[code] = column
    # A code that a rule has given already is told once, in the rule's words.
    for place in range(words[row, WORD_REASON_COUNT]):
        sums[words[row, WORD_REASONS + place * REASON_WORDS + SLOT_CODE]] = 0.0
    added = 0
    for _ in range(words[row, WORD_REASON_COUNT], REASONS_MAX):
        best = 0
        for code in range(1, len(reasons)):
            if sums[code] > sums[best]:
                best = code
        if not sums[best] > 0.0:
            break
        feature = reasons[best, REASON_FEATURE]
        if feature < 0:
            feature = heaviest[best]
        observed = value_at(features, valid, row, feature)
        norm = value_at(features, valid, row, reasons[best, REASON_NORM])
        added += add_reason(words, floats, row, best, feature, observed, norm, sums[best])
        sums[best] = 0.0
    return added
