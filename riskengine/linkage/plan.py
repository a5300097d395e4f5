"""The linkage part of features.yaml, and the arrays the kernels run.

INVARIANTS: a strong link keeps a last-seen table in both directions, so both degrees are known. A definition holds every
parameter that its feature's values depend on. Called by `engine.features`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from riskengine.feature import Feature
from riskengine.linkage import layout
from riskengine.tables.relations import RelationPlan, RelationRequest
from riskengine.types import ENTITIES, ENTITY_INDEX, Ints

Cap = Annotated[int, Field(ge=2, le=500)]
Pair = Annotated[list[str], Field(min_length=2, max_length=2)]


class Linkage(BaseModel):
    """Which entities are linked, and what is asked of the links."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    strong: list[Pair] = []
    """Pairs of entity types whose meeting in one event joins their components."""
    degree_max: dict[str, Cap] = {}
    """Members of another type beyond which an entity stops joining components, by entity type."""
    degree_max_default: Cap = 64
    """The same for the types not named."""
    component_size: list[str] = []
    """Entity types that are told how many entities their component has."""
    over_degree_cap: list[str] = []
    """Entity types that are told whether they are over their cap."""

    def cap(self, entity: str) -> int:
        """Returns the cap of an entity type."""
        return self.degree_max.get(entity, self.degree_max_default)


@dataclass(frozen=True, slots=True)
class LinkagePlan:
    """Arrays for the kernels: `links` int64[L, LINK_WORDS] and `columns` int64[entity types, COLUMN_WORDS]."""

    links: Ints
    columns: Ints


def linkage_features(linkage: Linkage, *, kept_us: Mapping[str, int]) -> list[Feature]:
    """Returns the features of linkage in the order of their columns.

    Args:
        linkage: The declaration; names were checked.
        kept_us: By entity type of the strong links, how long an idle entity is remembered, microseconds.
    """
    # Neither the order of the pairs nor that within a pair changes an answer.
    pairs = sorted("-".join(sorted(pair)) for pair in linkage.strong)
    linked = sorted({entity for pair in linkage.strong for entity in pair})
    bounds = [f"{entity}:degree_max={linkage.cap(entity)}:kept_us={kept_us[entity]}" for entity in linked]
    features = []
    for entity in linkage.component_size:
        words = f"How many accounts, devices, cards and the like hang together with this {entity}, itself included."
        definition = f"{entity}|component_size|{','.join(pairs)}|{','.join(bounds)}"
        features.append(
            Feature(
                f"{entity}.component_size",
                "entities",
                words,
                definition=definition,
                nulls=_nulls(entity),
                exactness="exact within degree_max: an entity beyond it joins no more; a link is never forgotten",
            )
        )
    for entity in linkage.over_degree_cap:
        words = f"Whether this {entity} is shared by more entities than it may join."
        members = sorted(name for pair in linkage.strong if entity in pair for name in pair if name != entity)
        bound = f"degree_max={linkage.cap(entity)}|kept_us={kept_us.get(entity, 0)}"
        definition = f"{entity}|over_degree_cap|{','.join(members)}|{bound}"
        features.append(
            Feature(
                f"{entity}.over_degree_cap",
                "yes or no",
                words,
                boolean=True,
                definition=definition,
                nulls=_nulls(entity),
                exactness="exact; whoever was seen with it counts for as long as it is remembered",
            )
        )
    return features


def _nulls(entity: str) -> str:
    return f"missing where the event names no {entity}, and for a new one in an event too late to be folded"


def linkage_requests(linkage: Linkage, *, retention_us: Mapping[str, int]) -> list[RelationRequest]:
    """Returns the last-seen tables that the strong links need.

    Args:
        linkage: The declaration; names were checked.
        retention_us: By entity type of the strong links, how long an idle entity is kept, microseconds.
    """
    requests = []
    for one, other in linkage.strong:
        for owner, member in ((one, other), (other, one)):
            requests.append(RelationRequest(owner, member, linkage.cap(owner) + 1, retention_us[owner]))
    return requests


def build_linkage(linkage: Linkage, relations: RelationPlan, *, column_first: int) -> LinkagePlan:
    """Builds the arrays.

    Args:
        linkage: The declaration; names were checked.
        relations: The plan that holds the tables of `linkage_requests`.
        column_first: Column of the first feature of `linkage_features`.
    """
    links = [
        [ENTITY_INDEX[one], ENTITY_INDEX[other], relations.words[one, other], relations.words[other, one]]
        for one, other in linkage.strong
    ]
    columns = np.full((len(ENTITIES), layout.COLUMN_WORDS), -1, np.int64)
    for name, index in ENTITY_INDEX.items():
        columns[index, layout.COLUMN_DEGREE_MAX] = linkage.cap(name)
    for offset, entity in enumerate(linkage.component_size):
        columns[ENTITY_INDEX[entity], layout.COLUMN_COMPONENT_SIZE] = column_first + offset
    for offset, entity in enumerate(linkage.over_degree_cap, start=len(linkage.component_size)):
        columns[ENTITY_INDEX[entity], layout.COLUMN_OVER_CAP] = column_first + offset
    return LinkagePlan(links=np.array(links, np.int64).reshape(len(links), layout.LINK_WORDS), columns=columns)
