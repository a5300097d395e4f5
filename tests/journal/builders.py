"""Small journals, and what is in one as a flat list.

Called by tests/journal.
"""

from collections.abc import Iterable
from pathlib import Path

from riskengine.journal.disk import Disk
from riskengine.journal.reader import Activated, Commits, JournalReader
from riskengine.journal.writer import JournalWriter
from riskengine.types import Array, words
from tests.journal import rows

JOURNAL_ID = bytes(range(1, 17))
Item = tuple[int, bytes]
"""An event (its sequence, its words and those of its decision) or an activation (minus its revision, its content)."""


def create(data_dir: Path, *, disk: Disk | None = None, segment_bytes: int = 4096) -> JournalWriter:
    return JournalWriter.create(data_dir, journal_id=JOURNAL_ID, disk=disk, segment_bytes=segment_bytes)


def commit(writer: JournalWriter, count: int, *, seed: int = 0) -> list[Item]:
    """Appends and syncs `count` payments, and returns them."""
    events, decisions = rows.payments(count, seed=seed, first_sequence=writer.next_sequence)
    writer.reserve(count)
    writer.append(words(events), words(decisions))
    writer.sync()
    return items_of(events, decisions)


def activate(writer: JournalWriter, revision: int) -> list[Item]:
    """Appends and syncs an activation, and returns it."""
    content = b'{"revision": %d}' % revision
    writer.append_activation(revision, content)
    writer.sync()
    return [(-revision, content)]


def items_of(events: Array, decisions: Array) -> list[Item]:
    """Returns rows as items."""
    pairs = zip(events, decisions, strict=True)
    return [(int(event["sequence"]), event.tobytes() + decision.tobytes()) for event, decision in pairs]


def items_in(item: Commits | Activated) -> list[Item]:
    """Returns what a reader yielded as items."""
    if isinstance(item, Activated):
        return [(-item.revision, item.content)]
    return items_of(item.events, item.decisions)


def flat(read: Iterable[Commits | Activated]) -> list[Item]:
    """Returns all that a reader yields."""
    return [each for item in read for each in items_in(item)]


def read(data_dir: Path, *, disk: Disk | None = None, chunk_rows_max: int = 4096) -> list[Item]:
    """Returns all that a journal holds."""
    return flat(JournalReader(data_dir, disk=disk, chunk_rows_max=chunk_rows_max))
