"""Positions in the tables that the policy's kernels read; `stage` and `lists` fill them.

- ``rules int64[R, RULE_COLUMNS]``: one row for each rule that is not off, in the order of the file.
- ``lists int64[L, LIST_COLUMNS]``: one row for each list.
- ``reasons int64[C, REASON_COLUMNS]``: one row for each reason code.
- ``constants int64[CONSTANT_WORDS]``: what there is one of.
- ``thresholds float64[S, 2]``: review and decline of each segment, the default first.

INVARIANT: plain numbers, imports types only. Used by `kernels`, `stage` and their tests.
"""

from typing import Final

from riskengine.types import DECISION_WORD, REASON_WORDS

RULE_WORD: Final = 0  # which of the words of a set of rules, 0 .. RULE_WORDS - 1
RULE_BIT: Final = 1  # its bit in that word, as int64 (bit 63 is negative)
RULE_ENFORCED: Final = 2  # 1 when it decides, 0 in shadow
RULE_VERDICT: Final = 3  # Verdict it asks for, 0 for none
RULE_ON_ERROR: Final = 4  # Verdict when it cannot be evaluated, 0 for none
RULE_OBLIGATIONS: Final = 5  # bits
RULE_REASON: Final = 6  # row of the reasons
RULE_COLUMNS: Final = 7

LIST_BIT: Final = 0
LIST_BLOCKS: Final = 1  # 1 when it blocks
LIST_REASON: Final = 2  # row of the reasons
LIST_COLUMNS: Final = 3

REASON_FEATURE: Final = 0  # column of the features, -1 for none
REASON_NORM: Final = 1  # likewise
REASON_COLUMNS: Final = 2

CONSTANT_MODEL_LIVE: Final = 0  # 1 when the thresholds count
CONSTANT_MODEL_FLAG: Final = 1  # DecisionFlag set when there is a probability
CONSTANT_ON_REVIEW: Final = 2  # obligations of every review
CONSTANT_ON_DECLINE: Final = 3  # the obligations that may stand beside a decline
CONSTANT_BLOCKING: Final = 4  # bits of lists that block
CONSTANT_ALLOWING: Final = 5  # bits of lists that allow
CONSTANT_UNEVALUATED: Final = 6  # row of the reasons, for rules that could not be evaluated
CONSTANT_WORDS: Final = 7

# Positions in a row of DECISION.
WORD_VERDICT: Final = DECISION_WORD["verdict"]
WORD_SEGMENT: Final = DECISION_WORD["segment"]
WORD_FLAGS: Final = DECISION_WORD["flags"]
WORD_OBLIGATIONS: Final = DECISION_WORD["obligations"]
WORD_LIST_HITS: Final = DECISION_WORD["list_hits"]
WORD_FIRED: Final = DECISION_WORD["fired_0"]
WORD_SHADOW: Final = DECISION_WORD["shadow_0"]
WORD_UNEVALUATED: Final = DECISION_WORD["unevaluated_0"]
WORD_REASON_COUNT: Final = DECISION_WORD["reason_count"]
WORD_REASONS: Final = DECISION_WORD["reason_0_code"]

# Offsets within one reason of a row of DECISION.
SLOT_CODE: Final = 0
SLOT_FEATURE: Final = 1
SLOT_OBSERVED: Final = 2
SLOT_NORM: Final = 3
SLOT_CONTRIBUTION: Final = 4
assert DECISION_WORD["reason_1_code"] == WORD_REASONS + REASON_WORDS
