"""Mistakes that users of other engines reported, each as a test that this one does not make it.

The names in the docstrings are those of the projects and issues; what each says is the lesson of it.
"""

import numpy as np
import pytest

from riskengine.enums import DecisionFlag
from riskengine.tables import layout
from riskengine.types import MISSING, pack_code, words
from tests.velocity.folding import LIMITS, column, compiled, fold, payments, pipeline_of

COUNT = "{card: {measures: {payment: {count: [1m, 1h]}}}}"


def test_later_event_that_arrived_earlier_is_not_counted() -> None:
    """OpenMLDB 3749: request mode counted future rows. A late event is scored as of its own time."""
    told = fold(pipeline_of(compiled(COUNT)), payments([0, 100, 50]))

    assert [1, 2, 2] == column(told, "card.payment_count_1h")


def test_event_exactly_a_window_old_has_left() -> None:
    """Engines disagree on both ends: here a window is (t - w, t], to the microsecond."""
    told = fold(pipeline_of(compiled(COUNT)), payments([0, 59.999999, 60, 120]))

    assert [1, 2, 2, 1] == column(told, "card.payment_count_1m")


def test_events_of_one_time_are_ordered_by_arrival() -> None:
    """OpenMLDB 1780, 2633: equal timestamps made results unpredictable. Each sees those that arrived before it, no later one."""
    told = fold(pipeline_of(compiled("{card: {measures: {amount: {of: txn.amount, count: [1h], mean: [1h]}}}}")),
                payments([5, 5, 5], amounts=[10, 20, 60]))  # fmt: skip

    assert [1, 2, 3] == column(told, "card.amount_count_1h")
    assert [None, 10, 15] == column(told, "card.amount_mean_1h")


@pytest.mark.parametrize("batch", [1, 3, 64])
def test_chunks_of_any_size_count_alike(batch: int) -> None:
    """OpenMLDB 1629, 3629: results differed with more threads, and offline. The borders of batches change no bit."""
    features = compiled("{card: {measures: {payment: {count: [1m, 1h], rate: [1h]}}, distinct: {merchant: [1h]}}}")
    events = payments(list(range(0, 4000, 20)))
    events["merchant_tag"] = np.arange(len(events)) % 13 + 1
    whole, parts = pipeline_of(features), pipeline_of(features)

    assert fold(whole, events) == fold(parts, events, batch=batch)
    assert whole.state.digest() == parts.state.digest()


def test_no_window_depends_on_when_an_idle_entity_is_swept() -> None:
    """OpenMLDB 2256: expired rows counted in one mode only. An entity is kept beyond the reach of its longest window."""
    features = compiled("{card: {measures: {payment: {count: [40d]}}}}")
    day = 86_400
    others = list(range(1, 61))
    seconds = [0.0, *(39 * day for _ in others), 39.999 * day, 41 * day]
    events = payments(seconds, cards=[7, *(100 + each for each in others), 7, 7])

    told = fold(pipeline_of(features), events)

    assert [1, 2, 2] == [column(told, "card.payment_count_40d")[row] for row in (0, -2, -1)]


def test_two_runs_leave_the_same_state() -> None:
    """OpenMLDB 2618: results were not stable between runs."""
    features = compiled("{card: {measures: {amount: {of: txn.amount, sum: [1h], std: [1h], rate: [1h]}}}}")
    events = payments([each * 7 % 300 for each in range(200)], cards=[each % 9 + 1 for each in range(200)])
    digests = set()
    for _ in range(2):
        pipeline = pipeline_of(features)
        fold(pipeline, events)
        digests.add(pipeline.state.digest())

    assert 1 == len(digests)


def test_late_event_counts_in_windows_read_after_it() -> None:
    """Feast 4133: data that came late was missed. It is inserted where it belongs."""
    told = fold(pipeline_of(compiled(COUNT)), payments([0, 3000, 10, 3599]))

    assert [1, 2, 2, 4] == column(told, "card.payment_count_1h")


def test_late_event_does_not_replace_what_is_newest() -> None:
    """Feast 5163: an older value of one batch overwrote the newer one."""
    features = compiled("{card: {places: {region: [merchant_region]}, measures: {payment: {since_last: true}}}}")
    events = payments([0, 100, 40, 160])
    events["merchant_region"] = [pack_code("DE"), pack_code("FR"), pack_code("DE"), pack_code("FR")]

    told = fold(pipeline_of(features), events)

    assert 0 == told[3]["card.region_changed"], "FR was the newest, whatever arrived last"
    assert 60 == told[3]["card.payment_since_last_s"]


def test_late_answers_as_of_the_newest_say_so() -> None:
    """Last-seen answers of a late event cannot be those of its time; silence about it would be the bug."""
    features = compiled("{card: {places: {region: [merchant_region]}}}")
    events = payments([0, 100, 40])
    events["merchant_region"] = pack_code("DE")

    _, _, flags = pipeline_of(features).fold(words(events))

    assert [False, False, True] == [bool(flag & DecisionFlag.APPROXIMATE) for flag in flags.tolist()]


@pytest.mark.parametrize(
    "changed",
    [
        "{card: {measures: {payment: {when: txn.amount > 5, count: [1h]}}}}",
        "{card: {measures: {payment: {count: [1h], delay: 1h}}}}",
        "{card: {measures: {payment: {count: [1h], include_current: false}}}}",
        "{card: {rows_max: 64, measures: {payment: {count: [1h]}}}}",
    ],
)
def test_changed_definition_has_another_hash(changed: str) -> None:
    """Feast 2960, 4479, 6389: two definitions served under one name. A model is bound to the hash, not to the name."""
    hashes = [
        next(each.definition_hash for each in compiled(text).features if each.name == "card.payment_count_1h")
        for text in ("{card: {measures: {payment: {count: [1h]}}}}", changed)
    ]

    assert hashes[0] != hashes[1]


def test_sequences_are_served_and_not_the_last_value_alone() -> None:
    """Feast 1592, 713: users asked for sequences and windows; only last values were supported."""
    told = fold(pipeline_of(compiled("{card: {measures: {payment: {gaps: 3}}}}")), payments([0, 10, 40, 100]))

    assert [60, 30, 10] == [told[3][f"card.payment_gap_{number}_s"] for number in (1, 2, 3)]
    assert "card.payment_gap_3_s" not in told[2]


def test_first_seen_is_the_earliest_event_and_missing_for_it() -> None:
    """Storey 244, 245, 289: sliding answers and `first` were unexpected. A late event moves the first time back."""
    told = fold(pipeline_of(compiled("{card: {first_seen: true}}")), payments([100, 200, 50, 250]))

    assert [None, 100, 0, 200] == column(told, "card.first_seen_age_s")


def test_windows_are_aligned_to_nothing() -> None:
    """Bytewax 413: windows aligned to a time far away dropped data. Any time since the epoch answers alike."""
    features = compiled(COUNT)
    events = payments([0, 30, 59, 61])
    early = events.copy()
    early["event_time_us"] -= events["event_time_us"][0] - 1

    assert fold(pipeline_of(features), events) == fold(pipeline_of(features), early)


def test_too_late_event_changes_no_state() -> None:
    """quix-streams 728: a late message opened a window. One beyond the allowed lateness is scored, counted, and not folded."""
    features = compiled(COUNT)
    pipeline, without = pipeline_of(features), pipeline_of(features)
    events = payments([0, 7200, 100])

    told = fold(pipeline, events)
    fold(without, events[:2])

    assert 2 == told[2]["card.payment_count_1h"], "the event itself, and the one in its window"
    assert 1 == pipeline.state.store.counters[layout.COUNTER_LATE_DROPPED]
    assert np.array_equal(pipeline.state.store.arena, without.state.store.arena)
    assert np.array_equal(pipeline.state.store.heads, without.state.store.heads)


def test_longer_windows_take_no_more_memory() -> None:
    """Flink 26321: a day's window that slides by a second ran out of memory. A window has no state of its own."""
    short, long = (
        compiled(f"{{card: {{measures: {{payment: {{count: {windows}}}}}}}}}")
        for windows in ("[1m]", "[1m, 1h, 24h, 30d]")
    )
    events = payments(list(range(0, 2000, 10)))
    used = []
    for features in (short, long):
        pipeline = pipeline_of(features)
        fold(pipeline, events)
        used.append(int(pipeline.state.store.counters[layout.COUNTER_ARENA_NEXT]))

    assert used[0] == used[1]


def test_events_of_others_change_no_answer() -> None:
    """RisingWave 17471, 18972, 22001: one window over all keys. What a card is told depends on that card's events alone."""
    features = compiled(COUNT)
    mine = payments([0, 20, 40])
    crowd = payments([0, 5, 10, 20, 25, 30, 40], cards=[7, 1, 2, 7, 3, 4, 7])

    alone, among = fold(pipeline_of(features), mine), fold(pipeline_of(features), crowd)

    assert alone == [among[row] for row in (0, 3, 6)]


def test_derived_feature_reads_the_same_event() -> None:
    """Chronon 566, 591: a chained feature was read before its parent was written."""
    features = compiled(COUNT, "derived: {card.share: card.payment_count_1m / card.payment_count_1h}")

    told = fold(pipeline_of(features), payments([0, 100, 110]))

    assert [1, 0.5, 2 / 3] == column(told, "card.share")


def test_flood_of_new_keys_does_not_wipe_a_victims_history() -> None:
    """Singletons leave first: ten times more new cards than fit push out each other, not a card that was used before.

    The victims stand side by side, as many as two samples of the search for the coldest.
    """
    features = compiled("{card: {measures: {payment: {count: [30d]}}}}")
    victims = list(range(1, 2 * layout.EVICTION_SAMPLE + 1))
    history = payments([each / 16 for each in range(3 * len(victims))], cards=3 * victims)
    flood = payments(
        [10 + each * 0.001 for each in range(10 * LIMITS.entities_max)],
        cards=list(range(1000, 1000 + 10 * LIMITS.entities_max)),
    )
    pipeline = pipeline_of(features)
    fold(pipeline, history)
    fold(pipeline, flood)

    told = fold(pipeline, payments([100] * len(victims), cards=victims))

    assert [4] * len(victims) == column(told, "card.payment_count_30d")
    assert pipeline.state.store.types[1, layout.TYPE_EVICTED_COLD] > 8 * LIMITS.entities_max


def test_amount_that_is_missing_is_not_zero() -> None:
    """No history is missing, never zero; and an event without the value counts in no mean."""
    features = compiled("{card: {measures: {amount: {of: txn.amount, count: [1h], mean: [1h], max: [1h]}}}}")
    events = payments([0, 10, 20], amounts=[50, MISSING, 70])

    told = fold(pipeline_of(features), events)

    assert [None, 50, 50] == column(told, "card.amount_mean_1h")
    assert [1, 1, 2] == column(told, "card.amount_count_1h")


def test_a_profile_may_have_more_windows_than_there_are_entity_types() -> None:
    """Goal: no kernel takes the place of a window for an entity. Method: 64 windows, by bounds checks and by counting."""
    measures = ", ".join(
        f"m{index}: {{count: [{', '.join(f'{16 * index + number + 1}s' for number in range(16))}]}}"
        for index in range(4)
    )
    features = compiled(f"{{card: {{first_seen: true, measures: {{{measures}}}}}}}")
    events = payments([0, 1, 5, 20, 63.5, 64, 200], cards=[7, 7, 7, 8, 7, 7, 7])

    told = fold(pipeline_of(features), events)

    assert told == fold(pipeline_of(features), events, batch=1)
    ages = [0.0, 1.0, 5.0, None, 63.5, 64.0, 200.0]
    for at, age in enumerate(ages):
        for window in range(1, 65):
            earlier = [ages[k] for k in range(at + 1) if ages[k] is not None] if age is not None else [20.0]
            newest = age if age is not None else 20.0
            expected = sum(newest - window < each <= newest for each in earlier if each is not None)
            assert told[at][f"card.m{(window - 1) // 16}_count_{window}s"] == expected
