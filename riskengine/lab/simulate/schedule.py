"""How many episodes of fraud there are, when they begin, and when they become known.

INVARIANT: starts are spread evenly with jitter, so a stretch of the history holds its share of every scenario.

Called by `card_fraud` and `account_fraud`.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from riskengine.types import US_PER_DAY

from .config import US_PER_HOUR, US_PER_MINUTE, Generator, SimulationConfig
from .draft import Array, Ints


@dataclass(frozen=True, slots=True)
class Scenario:
    """One kind of fraud.

    Attributes:
        number: 1 + its index in SCENARIOS.
        share: Of all fraud events.
        size_mean: Events of an episode, about.
        length_us: What an episode needs, so that one in the tail ends in time.
        known_days_median: From the event to its report.
        known_days_min: The shortest delay.
        known_days_max: The longest delay.
    """

    number: int
    share: float
    size_mean: float
    length_us: int
    known_days_median: float
    known_days_min: float
    known_days_max: float


STOLEN_CARD: Final = Scenario(1, 0.36, 4.4, 2 * US_PER_HOUR, 10.0, 3.0, 45.0)
CARD_TESTING: Final = Scenario(2, 0.24, 17.0, 30 * US_PER_MINUTE, 7.0, 3.0, 45.0)
ACCOUNT_TAKEOVER: Final = Scenario(3, 0.22, 5.5, 40 * US_PER_MINUTE, 0.8, 0.08, 6.0)
DEVICE_FARM: Final = Scenario(4, 0.18, 13.0, 90 * US_PER_MINUTE, 9.0, 3.0, 45.0)

EPISODES_MIN: Final = 2
"""Of each scenario, however short the history."""
TAIL_EPISODES_MIN: Final = 3
"""More of each scenario in a tail that is asked for."""


def starts(rng: Generator, config: SimulationConfig, scenario: Scenario, *, ordinary_count: int) -> Ints:
    """Draws when the episodes of a scenario begin, ascending.

    Args:
        ordinary_count: Honest events of the history, which the fraud share is measured against.

    Returns:
        Microseconds since the epoch, shape (episodes,).
    """
    if config.fraud_share == 0.0:
        return np.empty(0, np.int64)
    wanted = ordinary_count * config.fraud_share / (1.0 - config.fraud_share) * scenario.share / scenario.size_mean
    last = config.end_us - scenario.length_us
    made = [_spread(rng, max(EPISODES_MIN, round(wanted)), config.start_us, last)]
    if config.fraud_rate_tail > 1.0:
        tail_us = min(int(config.tail_hours * US_PER_HOUR), config.days * US_PER_DAY)
        more = wanted * tail_us / (config.days * US_PER_DAY) * (config.fraud_rate_tail - 1.0)
        first = min(config.end_us - tail_us, last - US_PER_HOUR)
        made.append(_spread(rng, max(TAIL_EPISODES_MIN, round(more)), first, last))
    return np.sort(np.concatenate(made))


def _spread(rng: Generator, count: int, first_us: int, last_us: int) -> Ints:
    """Draws one moment in each of `count` equal parts of a span."""
    return first_us + ((np.arange(count) + rng.random(count)) / count * (last_us - first_us)).astype(np.int64)


def label(rng: Generator, rows: Array, scenario: Scenario, episode: Ints) -> Array:
    """Marks rows as fraud of a scenario and draws when each became known.

    Reports of one episode come together: the delay is the episode's, and each event's own within a fifth of it.

    Args:
        rows: Drafts, changed in place.
        episode: The episode of each row, shape of `rows`.

    Returns:
        The rows.
    """
    episodes = int(episode.max()) + 1 if len(episode) else 0
    common = scenario.known_days_median * np.exp(0.7 * rng.standard_normal(episodes))
    days = common[episode] * (0.9 + 0.2 * rng.random(len(rows)))
    days = np.clip(days, scenario.known_days_min, scenario.known_days_max)
    rows["scenario"] = scenario.number
    rows["label_time_us"] = rows["time_us"] + (days * US_PER_DAY).astype(np.int64)
    return rows
