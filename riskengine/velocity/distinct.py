"""Distinct counts and new-pair features: what velocity asks of the last-seen tables.

INVARIANT: names follow the grammar, `{entity}.{member}_distinct_{window}` and `{entity}.new_{member}`. Called by
`engine.configuration`, after `velocity.plan`.
"""

from collections.abc import Mapping

from riskengine.tables.relations import RelationRequest
from riskengine.types import Feature
from riskengine.velocity.schema import Profile, window_us


def relation_requests(
    profiles: Mapping[str, Profile], *, column_first: int
) -> tuple[list[Feature], list[RelationRequest]]:
    """Lists the distinct features and the tables they need.

    Args:
        profiles: By entity name; names were checked.
        column_first: Column of the first feature.

    Returns:
        The features in the order of their columns, and the requests.
    """
    features: list[Feature] = []
    requests: list[RelationRequest] = []
    for entity, profile in profiles.items():
        for member, windows in profile.distinct.items():
            request = RelationRequest(entity, member, profile.members_max)
            for window in windows:
                request.reads.append((window_us(window), column_first + len(features)))
                name = f"{entity}.{member}_distinct_{window}"
                words = f"How many different {member}s this {entity} was seen with in {window}, this one included."
                definition = f"{entity}|{member}|distinct|{window}|{profile.members_max}"
                features.append(Feature(name, f"{member}s", words, definition=definition))
            requests.append(request)
        for member in profile.new:
            request = RelationRequest(entity, member, profile.members_max, new_column=column_first + len(features))
            words = f"Whether this {entity} is seen with this {member} for the first time."
            definition = f"{entity}|{member}|new|{profile.members_max}"
            features.append(Feature(f"{entity}.new_{member}", "yes or no", words, boolean=True, definition=definition))
            requests.append(request)
    return features, requests
