"""What a simulation is asked for.

INVARIANT: two equal configurations give equal tables (with the same versions of numpy and pyarrow).

Used by every module of the simulator and by its callers.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import numpy as np

from riskengine.types import US_PER_DAY, US_PER_SECOND

US_PER_MINUTE: Final = 60 * US_PER_SECOND
US_PER_HOUR: Final = 3600 * US_PER_SECOND

SCENARIOS: Final = ("stolen_card", "card_testing", "account_takeover", "device_farm")
"""Names of the fraud scenarios, as in the column ``fraud_scenario``; 1 + index is their number in drafts."""

PEOPLE_MAX: Final = 200_000
DAYS_MAX: Final = 730

Generator = np.random.Generator


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulationConfig:
    """Everything a simulation depends on."""

    seed: int = 1
    """Any integer >= 0; another seed gives another world."""
    people: int = 2_000
    """People with an account, 50 to 200,000. Each makes about 1.25 events a day."""
    days: int = 35
    """Length, days, 1 to 730."""
    start: datetime = datetime(2026, 1, 5, tzinfo=UTC)
    """First instant, with a time zone."""
    fraud_share: float = 0.008
    """Share of fraud events aimed at, 0 to 0.2. Unless it is 0, each scenario has at least two episodes."""
    fraud_rate_tail: float = 1.0
    """How much more often episodes begin in the last `tail_hours`, >= 1; above 1, at least 3 more of each scenario."""
    tail_hours: float = 18.0
    """Length of the tail, hours, > 0: what a demo plays as the live stream."""

    def __post_init__(self) -> None:
        checks = (
            (self.seed >= 0, "seed must be 0 or more"),
            (50 <= self.people <= PEOPLE_MAX, f"people must be between 50 and {PEOPLE_MAX}"),
            (1 <= self.days <= DAYS_MAX, f"days must be between 1 and {DAYS_MAX}"),
            (self.start.tzinfo is not None, "start must have a time zone"),
            (0.0 <= self.fraud_share <= 0.2, "fraud_share must be between 0 and 0.2"),
            (self.fraud_rate_tail >= 1.0, "fraud_rate_tail must be 1 or more"),
            (self.tail_hours > 0.0, "tail_hours must be above 0"),
        )
        wrong = [message for holds, message in checks if not holds]
        if wrong:
            raise ValueError("; ".join(wrong))

    @property
    def start_us(self) -> int:
        """First instant, microseconds since the epoch."""
        whole = self.start - datetime(1970, 1, 1, tzinfo=UTC)
        return whole.days * US_PER_DAY + whole.seconds * US_PER_SECOND + whole.microseconds

    @property
    def end_us(self) -> int:
        """The instant after the last, microseconds since the epoch."""
        return self.start_us + self.days * US_PER_DAY

    def stream(self, part: int) -> Generator:
        """Returns the random stream of one part of the simulation, so that a change in one leaves the others alone."""
        return np.random.Generator(np.random.PCG64(np.random.SeedSequence([self.seed, part])))
