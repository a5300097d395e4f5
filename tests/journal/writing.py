"""A writer in a process of its own, for tests that read while somebody writes: ``python -m tests.journal.writing``.

INVARIANT: what it writes is a function of its arguments, so the reader knows what has to come.

Called by `test_live`.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

from riskengine.journal.directory import lock_data_dir
from riskengine.journal.disk import OsDisk
from riskengine.journal.writer import JournalWriter
from riskengine.types import words
from tests.journal import builders, rows
from tests.journal.builders import Item

SEGMENT_BYTES = 128 * 1024
ROWS = (1, 1, 2, 1, 7, 1, 40, 1, 1, 100)


class UnsyncedDisk(OsDisk):
    """The system's disk without syncs of frames: ten times the writes in the same time."""

    def sync_data(self, descriptor: int) -> None:
        """Does nothing."""


def groups(*, first: int, last: int) -> Iterator[tuple[int, int]]:
    """Yields the frames of the story: number of rows (0 for an activation) and number of the frame."""
    for frame in range(first, last):
        yield (0 if frame % 53 == 0 else ROWS[frame % len(ROWS)]), frame


def expected(*, last: int) -> Iterator[list[Item]]:
    """Yields the items of each frame."""
    sequence = 1
    for count, frame in groups(first=0, last=last):
        if count == 0:
            yield [(-1 - frame, content(frame))]
            continue
        yield builders.items_of(*rows.payments(count, seed=frame % 20, first_sequence=sequence))
        sequence += count


def content(frame: int) -> bytes:
    """Returns what the activation of a frame holds."""
    return b'{"frame": %d}' % frame * 20


def write(data_dir: Path, *, last: int, lives: int, synced: bool) -> None:
    """Writes the story up to a frame, closing and opening the journal now and then, as engines do that are restarted."""
    disk = OsDisk() if synced else UnsyncedDisk()
    lock_data_dir(data_dir)
    for life in range(lives):
        if life:
            writer = JournalWriter.open(data_dir, disk=disk, segment_bytes=SEGMENT_BYTES)
        else:
            writer = builders.create(data_dir, disk=disk, segment_bytes=SEGMENT_BYTES)
        for count, frame in groups(first=life * last // lives, last=(life + 1) * last // lives):
            if count == 0:
                writer.append_activation(1 + frame, content(frame))
            else:
                events, decisions = rows.payments(count, seed=frame % 20, first_sequence=writer.next_sequence)
                writer.reserve(count)
                writer.append(words(events), words(decisions))
            writer.sync()
            writer.prepare()
        writer.close()


def main() -> None:
    """Writes what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data_dir", type=Path)
    parser.add_argument("--last", type=int, required=True)
    parser.add_argument("--lives", type=int, default=1)
    parser.add_argument("--synced", action="store_true")
    options = parser.parse_args()
    write(options.data_dir, last=options.last, lives=options.lives, synced=options.synced)


if __name__ == "__main__":
    main()
