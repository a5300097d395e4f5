"""Lists as a stage: who is on them, and until when."""

import numpy as np
import pytest

from riskengine.policy.check import expiry_us
from riskengine.policy.lists import NEVER_US, Entry, Lists
from riskengine.policy.stage import Policy
from riskengine.types import ENTITY_INDEX, empty_events, words
from tests.policy.builders import compiled, tag

NEW_YEAR_2024_US = 1_704_067_200_000_000


@pytest.mark.parametrize(
    ("time_us", "hit"),
    [(0, 1), (NEW_YEAR_2024_US - 1, 1), (NEW_YEAR_2024_US, 0), (NEW_YEAR_2024_US + 1, 0), (2**62, 0)],
)
def test_entry_ends_at_its_moment_of_event_time(time_us: int, hit: int) -> None:
    """Goal: an expiry is exact and a matter of event time. Method: the microsecond before, the moment, and after."""
    policy = Policy(compiled())
    events = empty_events(2)
    events["event_time_us"] = time_us
    events["card_tag"] = [tag("card", "c2"), tag("card", "c1")]
    features, valid = np.full((2, 8), 7.0), np.zeros((2, 8), np.uint8)
    hits = policy.lists.hits(words(events), features, valid)
    column = policy.compiled.feature_names.index("list.bad")

    assert [hit, 1] == hits.tolist()
    assert [float(hit), 1.0] == features[:, column].tolist()
    assert [[0] * 5 + [1] * 3] * 2 == valid.tolist()


def test_entity_types_are_kept_apart() -> None:
    """Goal: a device with a card's tag is no card. Method: one tag, listed for cards, in every column in turn."""
    lists = Lists([Entry(ENTITY_INDEX["card"], 77, NEVER_US, 3)], [0, 1, 2, 3])
    events = empty_events(len(ENTITY_INDEX))
    for row, entity in enumerate(ENTITY_INDEX):
        events[row][f"{entity}_tag"] = 77
    features, valid = np.zeros((len(events), 4)), np.zeros((len(events), 4), np.uint8)
    hits = lists.hits(words(events), features, valid)

    assert {"card": 8} == {entity: hits[row] for row, entity in enumerate(ENTITY_INDEX) if hits[row]}


def test_empty_lists_hit_nobody_and_say_so() -> None:
    """Goal: a list without entries reads false, not missing. Method: no entries, one list."""
    features, valid = np.full((1, 1), 7.0), np.zeros((1, 1), np.uint8)
    hits = Lists([], [0]).hits(words(empty_events(1)), features, valid)

    assert ([0], 0.0, 1) == (hits.tolist(), features[0, 0], valid[0, 0])


@pytest.mark.parametrize(
    ("text", "moment_us"),
    [
        ("2024-01-01", NEW_YEAR_2024_US),
        ("2024-01-01T00:00:00Z", NEW_YEAR_2024_US),
        ("2024-01-01T01:00:00+01:00", NEW_YEAR_2024_US),
        ("2024-01-01T00:00:00.000001Z", NEW_YEAR_2024_US + 1),
    ],
)
def test_expiry_is_read_exactly(text: str, moment_us: int) -> None:
    """Goal: no zone by guess, no lost microsecond. Method: the same moment in several spellings."""
    assert moment_us == expiry_us(text)
