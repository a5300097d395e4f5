"""What a journal holds, before anything is taken again: its configurations, its range, which payments turned out to be fraud.

INVARIANT: one pass, nothing is folded. Memory grows with the outcomes that the journal holds (about 100 bytes each), not with its
decisions.

Called by `lab.whatif`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from riskengine.engine.recovery import Activation
from riskengine.journal.reader import Activated, Commits, JournalReader
from riskengine.types import Kind, OutcomeType

Progress = Callable[[int, int], None]
_FRAUD: Final = (int(OutcomeType.FRAUD), int(OutcomeType.CHARGEBACK_FRAUD))
_JUDGED: Final = (*_FRAUD, int(OutcomeType.LEGITIMATE))
"""Outcomes that say whether it was fraud; the last one of a transaction counts."""


@dataclass(slots=True)
class Survey:
    """What a journal holds.

    Attributes:
        activations: Each with the sequence of the first command that it could decide, in order.
        first_sequence: Of the first command, 0 without commands.
        last_sequence: Of the last one.
        frauds: uint64[k], tags of transactions that were reported as fraud, sorted.
    """

    activations: list[tuple[int, Activation]] = field(default_factory=list)
    first_sequence: int = 0
    last_sequence: int = 0
    frauds: npt.NDArray[np.uint64] = field(default_factory=lambda: np.empty(0, np.uint64))

    def deciding_from(self, sequence: int) -> list[tuple[int, Activation]]:
        """Returns the activations that decided commands from a sequence on, the one active at it first."""
        active = [index for index, (first, _) in enumerate(self.activations) if first <= sequence]
        return self.activations[active[-1] if active else 0 :]


def survey(data_dir: Path, *, on_progress: Progress | None = None) -> Survey:
    """Reads a journal.

    Args:
        data_dir: The data directory; it may be in use, then what is durable at the start is read.
        on_progress: Called with (bytes read, bytes in all).

    Raises:
        JournalCorrupt: The journal is damaged.
    """
    total_bytes = sum(file.stat().st_size for file in (data_dir / "journal").glob("*.journal"))
    found, judged = Survey(), dict[int, bool]()
    reader = JournalReader(data_dir)
    for item in reader:
        if isinstance(item, Activated):
            found.activations.append((item.sequence, Activation.read(item)))
            continue
        found.first_sequence = found.first_sequence or int(item.events["sequence"][0])
        found.last_sequence = int(item.events["sequence"][-1])
        _judge(item, judged)
        if on_progress:
            on_progress(min(reader.frame_bytes, total_bytes), total_bytes)
    judged.pop(0, None)
    found.frauds = np.array(sorted(tag for tag, fraud in judged.items() if fraud), np.uint64)
    return found


def _judge(commits: Commits, judged: dict[int, bool]) -> None:
    """Takes in which transactions are said to be fraud, and which not."""
    events = commits.events
    rows = events[(events["kind"] == Kind.OUTCOME) & np.isin(events["outcome_type"], _JUDGED)]
    judged.update(zip(rows["transaction_tag"].tolist(), np.isin(rows["outcome_type"], _FRAUD).tolist(), strict=True))
