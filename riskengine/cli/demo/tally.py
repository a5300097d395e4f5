"""What the demo counts: verdicts, fraud caught and missed, false alarms, time.

INVARIANT: pure: fed with outcomes of calls, asks nobody. Called by `traffic`, read by `screen`.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from riskengine.cli.requests import Row

CAUGHT: Final = "caught"
ASKED: Final = "asked"
MISSED: Final = "missed"
FALSE_ALARM: Final = "false alarm"
FINE: Final = ""


@dataclass(slots=True)
class ScenarioCount:
    """One kind of fraud.

    Attributes:
        episodes: Ordinals of the episodes seen.
        noticed: Those of them of which something was caught or asked.
        caught: Events declined or sent to review.
        asked: Events approved on condition of a second factor.
        missed: Events approved.
        caught_minor: Money not lost, minor units of the base currency.
        missed_minor: Money lost.
    """

    episodes: set[int] = field(default_factory=set)
    noticed: set[int] = field(default_factory=set)
    caught: int = 0
    asked: int = 0
    missed: int = 0
    caught_minor: int = 0
    missed_minor: int = 0

    @property
    def events(self) -> int:
        """Events in all."""
        return self.caught + self.asked + self.missed


@dataclass(slots=True)
class Tally:
    """Counts of the whole live stream.

    Attributes:
        verdicts: By name.
        scenarios: By name.
        honest: Honest events.
        honest_stopped: Verdicts other than approve among them.
        honest_asked: Approved ones with a second factor among them.
        degraded: Decisions that skipped a stage.
        outcomes: Frauds reported.
        failed: Calls that failed, by reason.
        latencies_us: Of the shown part, as the client saw them, microseconds.
        fast_count: Calls of the part at full speed.
        fast_s: Seconds it took.
    """

    verdicts: Counter[str] = field(default_factory=Counter)
    scenarios: dict[str, ScenarioCount] = field(default_factory=dict)
    honest: int = 0
    honest_stopped: Counter[str] = field(default_factory=Counter)
    honest_asked: int = 0
    degraded: int = 0
    outcomes: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    latencies_us: list[int] = field(default_factory=list)
    fast_count: int = 0
    fast_s: float = 0.0

    def add(self, row: Row, episode: int, verdict: str, *, asked: bool, base_minor: int) -> str:
        """Counts a decision.

        Args:
            row: The event.
            episode: 0 for an honest one.
            verdict: APPROVE, REVIEW or DECLINE.
            asked: Whether a second factor is asked for.
            base_minor: Amount in minor units of the base currency, 0 for none.

        Returns:
            How the decision looks to somebody who knows the truth.
        """
        self.verdicts[verdict] += 1
        if not episode:
            return self._add_honest(verdict, asked=asked)
        counts = self.scenarios.setdefault(row["fraud_scenario"], ScenarioCount())
        counts.episodes.add(episode)
        if verdict == "APPROVE" and not asked:
            counts.missed += 1
            counts.missed_minor += base_minor
            return MISSED
        counts.noticed.add(episode)
        counts.caught_minor += base_minor
        if verdict == "APPROVE":
            counts.asked += 1
            return ASKED
        counts.caught += 1
        return CAUGHT

    def _add_honest(self, verdict: str, *, asked: bool) -> str:
        self.honest += 1
        if verdict != "APPROVE":
            self.honest_stopped[verdict] += 1
            return FALSE_ALARM
        self.honest_asked += asked
        return FINE

    def latency_ms(self, share: float) -> float:
        """Returns a quantile of the latencies, milliseconds; 0 without any."""
        if not self.latencies_us:
            return 0.0
        ordered = sorted(self.latencies_us)
        return ordered[min(int(share * len(ordered)), len(ordered) - 1)] / 1000
