"""The kernels of decisions: how their rows begin, and what the model says in them.

INVARIANT: nothing here depends on the length of the batch. Called by `engine.pipeline`.
"""

import numpy as np

from riskengine.enums import DecisionFlag, Kind, Stage
from riskengine.jit import kernel
from riskengine.types import DECISION_WORD, ENTITIES, EVENT_WORD, TAG_WORD_FIRST

_KIND = EVENT_WORD["kind"]
_SKIP = EVENT_WORD["skip_stages"]
_OUTCOME = int(Kind.OUTCOME)
_SCORE = int(Kind.SCORE)
_MATCHED = int(DecisionFlag.MATCHED)
_MODEL = int(Stage.MODEL)
_ENTITY_COUNT = len(ENTITIES)

_COPIED_NAMES = ("sequence", "kind", "received_time_us", "request_key", "request_check", "payload_hash")
_COPIED = tuple([EVENT_WORD[name] for name in _COPIED_NAMES])
_COPIED_TO = tuple([DECISION_WORD[name] for name in _COPIED_NAMES])
_OUT_FLAGS = DECISION_WORD["flags"]
_OUT_REVISION = DECISION_WORD["revision"]
_OUT_DEGRADED = DECISION_WORD["degraded_stages"]
_OUT_PROBABILITY = DECISION_WORD["probability"]
_OUT_MARGIN = DECISION_WORD["margin"]

SUMMARY_SCORED = 1
SUMMARY_FOLDED_ONLY = 2
SUMMARY_MODEL_SKIPPED = 4


@kernel("int64(int64[:,::1], int64[::1], int64, int64[:,::1], float64[:,::1])")
def begin_decisions(events, flags, revision, decisions, decision_floats):
    """Begins the decision of each command: whom it answers, under which revision, and nothing decided yet.

    Args:
        events: int64[n, EVENT_WORDS].
        flags: int64[n], from the fold.
        revision: Ordinal of the activation.
        decisions: int64[n, DECISION_WORDS], all of it written.
        decision_floats: float64[n, DECISION_WORDS], the same memory.

    Returns:
        SUMMARY bits: whether rows are to be scored, whether others are not, whether the model is skipped by some that are.
    """
    summary = 0
    for row in range(len(events)):
        for word in range(decisions.shape[1]):
            decisions[row, word] = 0
        for index in range(len(_COPIED)):
            decisions[row, _COPIED_TO[index]] = events[row, _COPIED[index]]
        decisions[row, _OUT_REVISION] = revision
        decisions[row, _OUT_FLAGS] = flags[row]
        decision_floats[row, _OUT_PROBABILITY] = np.nan
        decision_floats[row, _OUT_MARGIN] = np.nan
        if events[row, _KIND] == _SCORE:
            decisions[row, _OUT_DEGRADED] = events[row, _SKIP]
            summary |= SUMMARY_SCORED
            if events[row, _SKIP] & _MODEL:
                summary |= SUMMARY_MODEL_SKIPPED
            continue
        summary |= SUMMARY_FOLDED_ONLY
        if events[row, _KIND] == _OUTCOME:
            for tag in range(_ENTITY_COUNT):
                if events[row, TAG_WORD_FIRST + tag] != 0:
                    decisions[row, _OUT_FLAGS] |= _MATCHED
    return summary


@kernel("int64(int64[:,::1], float64[::1], float64[::1], int64, int64, float64[:,::1], uint8[:,::1], float64[:,::1])")
def tell_model(events, margin, probability, probability_column, margin_column, features, valid, decision_floats):
    """Writes what the model says into the decisions, and into the columns that conditions read.

    Args:
        events: int64[n, EVENT_WORDS]; rows that skip the model get none of it.
        margin: float64[n], log-odds; NaN is written where the model is skipped.
        probability: float64[n], likewise.
        probability_column, margin_column: Of the matrix.
        features: float64[n, C], out.
        valid: uint8[n, C], out: 1 in both columns where the model is not skipped.
        decision_floats: float64[n, DECISION_WORDS], out.

    Returns:
        The number of rows that the model speaks of.
    """
    told = 0
    for row in range(len(events)):
        if events[row, _SKIP] & _MODEL:
            margin[row] = np.nan
            probability[row] = np.nan
            continue
        told += 1
        features[row, probability_column] = probability[row]
        features[row, margin_column] = margin[row]
        valid[row, probability_column] = 1
        valid[row, margin_column] = 1
        decision_floats[row, _OUT_PROBABILITY] = probability[row]
        decision_floats[row, _OUT_MARGIN] = margin[row]
    return told
