"""Distinct counts and new-pair features: what velocity asks of the last-seen tables.

INVARIANT: names follow the grammar, `{entity}.{member}_distinct_{window}` and `{entity}.new_{member}`. Called by
`engine.features`, after `velocity.plan`.
"""

from collections.abc import Mapping

from riskengine.feature import Feature
from riskengine.tables.relations import RelationRequest
from riskengine.velocity.plan import kept_us
from riskengine.velocity.schema import Profile, window_us
from riskengine.velocity.words import distinct_words, new_words


def relation_requests(
    profiles: Mapping[str, Profile], *, column_first: int, shared: Mapping[tuple[str, str], int]
) -> tuple[list[Feature], list[RelationRequest]]:
    """Lists the distinct features and the tables they need.

    Args:
        profiles: By entity name; names were checked.
        column_first: Column of the first feature.
        shared: By (owner, member), the members that others ask to be kept in the same table: the largest cap wins.

    Returns:
        The features in the order of their columns, and the requests.
    """
    features: list[Feature] = []
    requests: list[RelationRequest] = []
    for entity, profile in profiles.items():
        for member, windows in profile.distinct.items():
            cap = max(profile.members_max, shared.get((entity, member), 0))
            request = RelationRequest(entity, member, cap)
            for window in windows:
                request.reads.append((window_us(window), column_first + len(features)))
                name = f"{entity}.{member}_distinct_{window}"
                words = f"How many different {member}s this {entity} was seen with in {window}, this one included."
                definition = f"{entity}|{member}|distinct|{window}|members_max={cap}"
                told = distinct_words(entity, member, cap)
                features.append(Feature(name, f"{member}s", words, definition=definition, **told))
            requests.append(request)
        for member in profile.new:
            cap = max(profile.members_max, shared.get((entity, member), 0))
            request = RelationRequest(entity, member, cap, new_column=column_first + len(features))
            words = f"Whether this {entity} is seen with this {member} for the first time."
            definition = f"{entity}|{member}|new|members_max={cap}|kept_us={kept_us(profile)}"
            name, told = f"{entity}.new_{member}", new_words(entity, member, cap)
            features.append(Feature(name, "yes or no", words, boolean=True, definition=definition, **told))
            requests.append(request)
    return features, requests
