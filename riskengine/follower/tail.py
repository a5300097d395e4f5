"""Making durable what was read: the engine may have written a frame that it has not synced yet.

INVARIANTS: nothing is written. A segment is opened when reading it begins and stays open, so that an error of writing it back
is told here, too. Called by `follower`.
"""

import os
from pathlib import Path

from riskengine.journal.reader import Anchor, segments


class Tail:
    """The segment that the follower reads last.

    Args:
        data_dir: The data directory.
    """

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._index = -1
        self._descriptor = -1

    def enter(self, position: Anchor) -> None:
        """Opens the segment of a place.

        Raises:
            OSError: It cannot be opened.
        """
        if position.segment_index == self._index:
            return
        self.close()
        path = next(each.path for each in segments(self._data_dir) if each.index == position.segment_index)
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        self._index = position.segment_index

    def make_durable(self, position: Anchor) -> None:
        """Returns when all that precedes a place is durable.

        Earlier segments were synced before this one was begun, so one sync is enough.

        Raises:
            OSError: The disk failed.
        """
        self.enter(position)
        os.fdatasync(self._descriptor)

    def close(self) -> None:
        """Closes the segment."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = self._index = -1
