"""How far a reader is, in bytes: for progress bars and for a follower's lag.

INVARIANTS: approximate in a damaged journal, exact in a sound one; a few small reads, whatever the journal's length.

Called by `reader`.
"""

from pathlib import Path

from .directory import parse_segment_name
from .disk import Disk
from .format import SECTOR_BYTES, SEGMENT_HEADER_BYTES
from .places import Anchor, Frame


class Extent:
    """The part of a journal that a pass reads, as it was when this was made.

    Args:
        disk: Where to read.
        folder: The journal's folder.
        names: Its segments, in order.
        start: Where the pass begins; None for the first segment.

    Raises:
        OSError: The folder cannot be read, or a segment was trimmed meanwhile.
    """

    def __init__(self, disk: Disk, folder: Path, names: list[str], start: Anchor | None) -> None:
        self._before: dict[str, int] = {}
        reached = -(start.offset if start else SEGMENT_HEADER_BYTES)
        for name in names:
            parsed = parse_segment_name(name)
            if start and parsed and parsed[1] < start.segment_index:
                continue
            self._before[name] = reached
            reached += _used_end(disk, folder / name) if name == names[-1] else disk.size(folder / name)
        self._total_bytes = max(0, reached)

    def read_of(self, behind: Frame | None) -> tuple[int, int]:
        """Returns the bytes from the start of the pass to the end of a frame, and those in all."""
        if behind is None:
            return 0, self._total_bytes
        read_bytes = self._before.get(behind.name, 0) + behind.offset + behind.size_bytes
        return read_bytes, max(read_bytes, self._total_bytes)


def _used_end(disk: Disk, path: Path) -> int:
    """Returns where the zeros at the end of a segment begin: no frame holds a sector of zeros, so they can be searched."""
    low, high = 1, disk.size(path) // SECTOR_BYTES
    while low < high:
        middle = (low + high) // 2
        if any(disk.read(path, middle * SECTOR_BYTES, SECTOR_BYTES)):
            low = middle + 1
        else:
            high = middle
    sector = disk.read(path, (low - 1) * SECTOR_BYTES, SECTOR_BYTES)
    return max(SEGMENT_HEADER_BYTES, (low - 1) * SECTOR_BYTES + len(sector.rstrip(b"\0")))
