"""What a journal holds, before anything is taken again: its configurations, its range, which payments turned out to be fraud.

INVARIANT: one pass, nothing is folded. Memory grows with the outcomes that the journal holds (about 100 bytes each), not with its
decisions.

Called by `lab.whatif`.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from riskengine.engine.activation import Activation
from riskengine.enums import Kind, OutcomeType
from riskengine.journal.reader import Activated, Commits
from riskengine.lab.reading import Progress, journal_items

_FRAUD: Final = (int(OutcomeType.FRAUD), int(OutcomeType.CHARGEBACK_FRAUD))
_JUDGED: Final = (*_FRAUD, int(OutcomeType.LEGITIMATE))
"""Outcomes that say whether it was fraud; the last one of a transaction counts."""


@dataclass(frozen=True, slots=True)
class Deciding:
    """A configuration and where it begins.

    Attributes:
        sequence: Of the first command that it could decide.
        activation: The configuration.
    """

    sequence: int
    activation: Activation

    def measures_as(self, other: "Deciding") -> bool:
        """Tells whether the state under both is the same, so that it goes on from one to the other."""
        return _measured(self.activation) == _measured(other.activation)


@dataclass(slots=True)
class Survey:
    """What a journal holds.

    Attributes:
        activations: All configurations, in order.
        first_sequence: Of the first command, 0 without commands.
        last_sequence: Of the last one.
        frauds: uint64[k], tags of transactions that were reported as fraud, sorted.
    """

    activations: list[Deciding] = field(default_factory=list)
    first_sequence: int = 0
    last_sequence: int = 0
    frauds: npt.NDArray[np.uint64] = field(default_factory=lambda: np.empty(0, np.uint64))

    def deciding_from(self, sequence: int) -> list[Deciding]:
        """Returns the configurations that decided commands from a sequence on, in order, as far as the journal still has them."""
        borders = [*(each.sequence for each in self.activations), self.last_sequence + 1]
        return [
            each for each, end in zip(self.activations, borders[1:], strict=True) if end > max(each.sequence, sequence)
        ]

    def reports_fraud(self, tags: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
        """Tells which transactions were reported as fraud.

        Args:
            tags: uint64[n], of the transactions.

        Returns:
            bool[n].
        """
        if not len(self.frauds):
            return np.zeros(len(tags), np.bool_)
        found: npt.NDArray[np.bool_] = self.frauds[np.searchsorted(self.frauds[:-1], tags)] == tags
        return found


def survey(data_dir: Path, *, on_progress: Progress | None = None) -> Survey:
    """Reads a journal.

    Args:
        data_dir: The data directory; it may be in use, then what is durable at the start is read.
        on_progress: Called with (bytes read, bytes in all).

    Raises:
        JournalCorrupt: The journal is damaged.
    """
    found, judged = Survey(), dict[int, bool]()
    for item in journal_items(data_dir, on_progress=on_progress):
        if isinstance(item, Activated):
            found.activations.append(Deciding(item.sequence, Activation.read(item)))
            continue
        found.first_sequence = found.first_sequence or int(item.events["sequence"][0])
        found.last_sequence = int(item.events["sequence"][-1])
        _judge(item, judged)
    judged.pop(0, None)
    found.frauds = np.array(sorted(tag for tag, fraud in judged.items() if fraud), np.uint64)
    return found


def _measured(activation: Activation) -> tuple[Any, ...]:
    """Returns what the state under an activation depends on."""
    content = json.loads(activation.configuration)
    return content["features"], content["limits"], json.loads(activation.content()).get("since", 1)


def _judge(commits: Commits, judged: dict[int, bool]) -> None:
    """Takes in which transactions are said to be fraud, and which not."""
    events = commits.events
    rows = events[(events["kind"] == Kind.OUTCOME) & np.isin(events["outcome_type"], _JUDGED)]
    judged.update(zip(rows["transaction_tag"].tolist(), np.isin(rows["outcome_type"], _FRAUD).tolist(), strict=True))
