"""Distinct counts and new-pair features: what velocity asks of the last-seen tables.

INVARIANTS: names follow the grammar, `{entity}.{member}_distinct_{window}` and `{entity}.new_{member}`. A definition holds the
members kept and for how long, for an estimate beyond them depends on both. Called by `engine.features`, after `velocity.plan`.
"""

from collections.abc import Mapping

from riskengine.feature import Feature
from riskengine.tables.relations import RelationRequest
from riskengine.velocity.plan import kept_us
from riskengine.velocity.schema import Profile, window_us
from riskengine.velocity.words import distinct_words, new_words


def relation_requests(
    profiles: Mapping[str, Profile],
    *,
    column_first: int,
    shared: Mapping[tuple[str, str], int],
    lateness_us: int,
) -> tuple[list[Feature], list[RelationRequest]]:
    """Lists the distinct features and the tables they need.

    Args:
        profiles: By entity name; names were checked.
        column_first: Column of the first feature.
        shared: By (owner, member), the members that others ask to be kept in the same table, for as long as an idle
            entity is: the largest cap wins.
        lateness_us: How late an event may be and still ask of a window, microseconds.

    Returns:
        The features in the order of their columns, and the requests.
    """
    features: list[Feature] = []
    requests: list[RelationRequest] = []
    for entity, profile in profiles.items():
        for member, windows in profile.distinct.items():
            cap = max(profile.members_max, shared.get((entity, member), 0))
            reach_us = _reach_us(profile, member, linked=(entity, member) in shared)
            request = RelationRequest(entity, member, cap, reach_us + lateness_us)
            for window in windows:
                request.reads.append((window_us(window), column_first + len(features)))
                name = f"{entity}.{member}_distinct_{window}"
                words = (
                    f"How many different {member}s this {entity} was seen with in {window}, this one included; an estimate "
                    f"for one with more than {cap}."
                )
                definition = f"{entity}|{member}|distinct|{window}|members_max={cap}|reach_us={reach_us}"
                told = distinct_words(entity, member, cap)
                features.append(Feature(name, f"{member}s", words, definition=definition, **told))
            requests.append(request)
        for member in profile.new:
            cap = max(profile.members_max, shared.get((entity, member), 0))
            known_us = kept_us(profile)
            column = column_first + len(features)
            request = RelationRequest(entity, member, cap, known_us + lateness_us, new_column=column, known_us=known_us)
            words = f"Whether this {entity} is seen with this {member} for the first time; missing where that was forgotten."
            definition = f"{entity}|{member}|new|members_max={cap}|kept_us={known_us}"
            name, told = f"{entity}.new_{member}", new_words(entity, member, cap)
            features.append(Feature(name, "yes or no", words, boolean=True, definition=definition, **told))
            requests.append(request)
    return features, requests


def _reach_us(profile: Profile, member: str, *, linked: bool) -> int:
    """Returns how long a member matters after it was last seen, microseconds, without the lateness that is allowed.

    No longer than somebody asks: a table that forgets what no window reaches is exact for more members.
    """
    if linked or member in profile.new:
        return kept_us(profile)
    return max((window_us(window) for window in profile.distinct[member]), default=0)
