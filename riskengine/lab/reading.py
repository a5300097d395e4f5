"""One pass over a journal that tells how far it is.

INVARIANT: nothing is written, and the engine may be running: what is durable at the start is read.

Called by `lab.find`, `lab.survey` and `lab.whatif`.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

from riskengine.journal.reader import Activated, Commits, JournalReader

Progress = Callable[[int, int], None]


def journal_items(data_dir: Path, *, on_progress: Progress | None = None) -> Iterator[Commits | Activated]:
    """Yields configurations and commands in the order of the journal.

    Args:
        data_dir: The data directory.
        on_progress: Called with (bytes read, bytes in all) after each of them.

    Raises:
        JournalCorrupt: The journal is damaged; what was yielded before is right.
    """
    reader = JournalReader(data_dir, live=True)
    for item in reader:
        yield item
        if on_progress:
            on_progress(*reader.progress())
