"""Which last-seen tables are kept: one for each pair, whoever asks."""

import numpy as np

from riskengine.tables import layout
from riskengine.tables.relations import RelationRequest, build_relations
from riskengine.types import ENTITY_INDEX

CARD, DEVICE, ACCOUNT = (ENTITY_INDEX[name] for name in ("card", "device", "account"))


def test_requests_for_one_pair_share_a_table() -> None:
    """Goal: velocity and linkage read one table. Method: three requests: the largest bounds, all reads, one column."""
    plan = build_relations(
        [
            RelationRequest("card", "device", 8, 3600, reads=[(60, 3), (3600, 4)]),
            RelationRequest("card", "device", 65, 100),
            RelationRequest("card", "device", 16, 9000, reads=[(7200, 5)], new_column=9, known_us=8000),
        ]
    )

    assert [[CARD, DEVICE, layout.HEAD_WORDS, 65, 9, 0, 3, 9000, 8000]] == plan.relations.tolist()
    assert [[60, 3], [3600, 4], [7200, 5]] == plan.reads.tolist()
    assert {("card", "device"): layout.HEAD_WORDS} == plan.words


def test_each_direction_and_each_pair_has_words_of_its_own() -> None:
    """Goal: no two tables of an entity overlap. Method: three ordered pairs."""
    plan = build_relations(
        [
            RelationRequest("card", "device", 4, 1, reads=[(1, 0)]),
            RelationRequest("device", "card", 4, 1),
            RelationRequest("card", "account", 4, 1, reads=[(2, 1), (3, 2)]),
        ]
    )

    first = layout.HEAD_WORDS
    assert {("card", "device"): first, ("device", "card"): first, ("card", "account"): first + 3} == plan.words
    assert 2 == plan.relation_count_max
    assert [CARD, DEVICE, CARD] == plan.relations[:, layout.RELATION_TYPE].tolist()
    assert [DEVICE, CARD, ACCOUNT] == plan.relations[:, layout.RELATION_MEMBER].tolist()
    assert [(0, 1), (1, 0), (1, 2)] == [
        (int(row[layout.RELATION_READ]), int(row[layout.RELATION_READS])) for row in plan.relations
    ]
    assert [-1, -1, -1] == plan.relations[:, layout.RELATION_NEW_COLUMN].tolist()


def test_requests_are_left_as_they_were() -> None:
    """Goal: who asks may ask again. Method: build twice from the same requests."""
    requests = [
        RelationRequest("card", "device", 4, 1, reads=[(1, 0)]),
        RelationRequest("card", "device", 8, 1, reads=[(2, 1)]),
    ]

    first, second = build_relations(requests), build_relations(requests)

    assert np.array_equal(first.reads, second.reads)
    assert [1, 1] == [len(request.reads) for request in requests]


def test_nothing_asked_is_nothing_kept() -> None:
    """Goal: the kernels' arrays have their shapes even so. Method: no request."""
    plan = build_relations([])

    assert (0, layout.RELATION_WORDS) == plan.relations.shape
    assert (0, layout.READ_WORDS) == plan.reads.shape
    assert 0 == plan.relation_count_max
