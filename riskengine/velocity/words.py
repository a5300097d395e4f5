"""What people are told of velocity's answers beside their meaning: when one is missing, and how exact it is.

INVARIANTS: nothing here enters a definition, so words can be mended without a new model. Every operation of `plan` and every
feature of the event has its words: a test says which one has not.

Called by `velocity.plan`, `velocity.columns` and `velocity.distinct`.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from riskengine.feature import Feature, Words
from riskengine.types import US_PER_DAY
from riskengine.velocity import layout
from riskengine.velocity.schema import Profile

EXACT: Final = "exact"
NEVER: Final = "never missing"

EVENT_NULLS: Final = {
    "txn.amount": "missing without an amount",
    "txn.amount_log": "missing without an amount",
    "txn.monetary": "missing for a report of an outcome",
    "txn.hour_local": "missing without utc_offset_minutes",
    "txn.night": "missing without utc_offset_minutes",
    "txn.weekend": "missing without utc_offset_minutes",
    "txn.card_present": "missing without an entry mode",
    "txn.merchant_initiated": "missing without an initiation",
    "txn.account_age_days": "missing without the time at which the account was opened",
    "txn.ip_card_region_mismatch": "missing without the country of the IP address or of the card",
    "txn.merchant_card_region_mismatch": "missing without the country of the merchant or of the card",
    "txn.shipping_billing_region_mismatch": "missing without the country of shipping or of billing",
    "txn.verification_failed_count": NEVER,
    "txn.verification_passed_count": NEVER,
}
"""Of what an event tells of itself, which is exact, by feature."""

_ONE_LEVEL: Final = 3**0.5
"""The standard error of an estimate by level K of a table of C members is sqrt((K + 2) / C), see `tables.sampling.kernels`."""

_COUNTED: Final = "missing where the event names no {entity}"
_OWN: Final = "missing where the event names no {entity}, and without {least} in the window"
CURVE_NULLS: Final = {
    "count": _COUNTED,
    "sum": _COUNTED,
    "mean": _OWN.format(entity="{entity}", least="an earlier event"),
    "std": _OWN.format(entity="{entity}", least=f"{layout.STD_EVENTS_MIN} earlier events"),
    "zscore": _OWN.format(entity="{entity}", least=f"{layout.STD_EVENTS_MIN} earlier events")
    + ", and where the event itself is not measured",
    "max": _OWN.format(entity="{entity}", least="an earlier event"),
    "min": _OWN.format(entity="{entity}", least="an earlier event"),
    "hour_deviation": _OWN.format(entity="{entity}", least=f"{layout.HOUR_EVENTS_MIN} earlier events")
    + ", and where the event itself is not counted; only events with utc_offset_minutes are",
    "hour_concentration": _OWN.format(entity="{entity}", least=f"{layout.HOUR_EVENTS_MIN} earlier events")
    + "; only events with utc_offset_minutes count",
    "ratio": _OWN.format(entity="{entity}", least="an event"),
    "rate": _COUNTED,
    "since_last": "missing where the event names no {entity}, and without an earlier event of the last 30 days",
    "gap": "missing where the event names no {entity}, and without so many earlier events of the last 30 days",
}
"""Of what is read from a curve, by operation of a measure."""

_THINNED: Final = "exact to {rows:,} events, then of a window between w and w(1+1/{one_part})"
_FIXED_POINT: Final = f"; logarithms to 1/{1 << layout.LOG_FRACTION_BITS:,}"
CURVE_EXACTNESS: Final = {
    "count": _THINNED,
    "sum": _THINNED,
    "mean": _THINNED,
    "std": _THINNED + _FIXED_POINT,
    "zscore": _THINNED + _FIXED_POINT,
    "max": _THINNED,
    "min": _THINNED,
    "hour_deviation": _THINNED + "; the hour to a minute",
    "hour_concentration": _THINNED + "; the hour to a minute",
    "ratio": _THINNED,
    "rate": f"to 1/{layout.DECAY_STEPS:,} of a half-life; exempt from the independence of order, and a late event is answered as "
    "of the newest",
    "since_last": "exact to {rows:,} events, then short by at most 1/{one_part} of itself",
    "gap": "exact to {rows:,} events, then of events that may stand for several",
}
"""Likewise; an entity that the arena has no room for is thinned earlier, and told to be approximate as well."""


def with_event_words(features: Iterable[Feature]) -> tuple[Feature, ...]:
    """Returns features of the event alone with their words."""
    return tuple(
        replace(
            feature, nulls=EVENT_NULLS.get(feature.name, ""), exactness=EXACT if feature.name in EVENT_NULLS else ""
        )
        for feature in features
    )


def curve_words(operation: str, entity: str, profile: Profile) -> Words:
    """Returns `nulls` and `exactness` of an answer that is read from a curve.

    Args:
        operation: Of a measure, as features.yaml spells it.
        entity: Type whose profile it is.
        profile: Its bounds.
    """
    # The first row of a curve is its base, which is no event.
    bounds = {"entity": entity, "rows": profile.rows_max - 1, "one_part": 1 << profile.epsilon_shift}
    return {
        "nulls": CURVE_NULLS.get(operation, "").format(**bounds),
        "exactness": CURVE_EXACTNESS.get(operation, "").format(**bounds),
    }


_PLACE_NULLS: Final = {
    "region_changed": "missing where the event names no {entity} or no region, and without an earlier one",
    "travel_speed": "missing where the event names no {entity} or no position, and without an earlier one",
    "home_distance": "missing where the event names no {entity} or no position, and without an earlier one",
}


def place_words(asked: str, entity: str) -> Words:
    """Returns `nulls` and `exactness` of what is told of an entity's places."""
    return {
        "nulls": _PLACE_NULLS[asked].format(entity=entity),
        "exactness": f"exact, on a sphere; a late event is answered as of the {entity}'s newest",
    }


def first_seen_words(entity: str, *, kept_us: int) -> Words:
    """Returns `nulls` and `exactness` of an entity's age; `kept_us` is how long an idle one is remembered, microseconds."""
    return {
        "nulls": f"missing where the event names no {entity}, for its first event, and for one too late to be folded",
        "exactness": f"exact; begins anew for one that was idle for {kept_us / US_PER_DAY:g} days or gave way to others",
    }


def distinct_words(entity: str, member: str, cap: int) -> Words:
    """Returns `nulls` and `exactness` of a distinct count over a table of at most `cap` members."""
    return {
        "nulls": f"missing where the event names no {entity}, and for a new one in an event too late to be folded",
        "exactness": f"exact to {cap:,} {member}s, then an estimate of standard error {_ONE_LEVEL / cap**0.5:.0%} and more, see "
        f"docs/distinct.md; a late event is answered as of the {entity}'s newest",
    }


def new_words(entity: str, member: str, cap: int) -> Words:
    """Returns `nulls` and `exactness` of whether a pair is new, in a table of at most `cap` members."""
    return {
        "nulls": f"missing where the event names no {entity} or no {member}, where it is too late to be folded, and where the "
        "pair may have been forgotten",
        "exactness": f"exact; of more than {cap:,} {member}s, some are not told; a late event is answered as of the {entity}'s "
        "newest",
    }
