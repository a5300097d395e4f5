"""The next segment: zeroed in small steps while the current one fills, then named and used.

A segment of 64 MiB takes 50 to 200 ms to zero and sync at once, which every waiting payment would feel. So `step` does
256 KiB at a time, when the engine's loop has answered and has nothing better to do; `finish` does the rest, and is the
reason why correctness does not depend on anybody calling `step`. The space is reserved in full at the first step: a
full disk is noticed half a segment early.

INVARIANTS: only `spare.tmp` is touched before `activate`; it is always new (an old one may hold anything). No error of
preparing is fatal to the journal except a failed write or sync, and running out of space is only `JournalFull`.

Called by `writer`.
"""

import errno
from pathlib import Path

from riskengine.errors import JournalFull

from .directory import SPARE_NAME
from .disk import Disk
from .format import SegmentHeader

STEP_BYTES = 256 * 1024
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)


def require_space(error: OSError) -> None:
    """Raises `JournalFull` if the error means that there is no space."""
    if error.errno in _NO_SPACE:
        raise JournalFull from error


class Spare:
    """The segment after the current one.

    Args:
        disk: Where to write.
        folder: The journal's folder.
        segment_bytes: Length of the segment.

    Attributes:
        zeroed_bytes: How much of it is real, synced zeros.
    """

    def __init__(self, disk: Disk, folder: Path, *, segment_bytes: int) -> None:
        self._disk = disk
        self._folder = folder
        self._path = folder / SPARE_NAME
        self._segment_bytes = segment_bytes
        self._descriptor = -1
        self.zeroed_bytes = 0

    def discard(self) -> None:
        """Deletes a spare, also one that an earlier process left.

        Raises:
            OSError: The folder cannot be changed.
        """
        if self._descriptor >= 0:
            self._disk.close(self._descriptor)
        self._descriptor = -1
        self.zeroed_bytes = 0
        if SPARE_NAME in self._disk.names(self._folder):
            self._disk.remove(self._path)

    def step(self) -> None:
        """Reserves the space at the first call, and zeroes and syncs the next 256 KiB at each.

        Raises:
            JournalFull: There is no space; what was taken is given back, and the next step begins anew.
            OSError: Anything else went wrong.
        """
        if self.zeroed_bytes >= self._segment_bytes:
            return
        try:
            if self._descriptor < 0:
                self._descriptor = self._disk.open(self._path, create=True)
                self._disk.allocate(self._descriptor, self._segment_bytes)
            size_bytes = min(STEP_BYTES, self._segment_bytes - self.zeroed_bytes)
            written = self._disk.write(self._descriptor, bytes(size_bytes), self.zeroed_bytes)
            if written != size_bytes:
                raise OSError(errno.EIO, "short write")
            last = self.zeroed_bytes + size_bytes == self._segment_bytes
            (self._disk.sync_file if last else self._disk.sync_data)(self._descriptor)
            self.zeroed_bytes += size_bytes
        except OSError as error:
            if error.errno in _NO_SPACE:
                self.discard()
            require_space(error)
            raise

    def finish(self) -> None:
        """Makes all steps that are left. Raises as `step` does."""
        while self.zeroed_bytes < self._segment_bytes:
            self.step()

    def activate(self, header: SegmentHeader) -> int:
        """Turns the finished spare into a segment; the next `step` begins another spare.

        Args:
            header: Of the segment; `segment_bytes` is the spare's.

        Returns:
            The segment's descriptor.

        Raises:
            JournalFull: The folder cannot take another name; may be repeated with the same header.
            OSError: Anything else went wrong.
        """
        assert self.zeroed_bytes == self._segment_bytes == header.segment_bytes, "the spare is finished"
        packed = header.pack()
        if self._disk.write(self._descriptor, packed, 0) != len(packed):
            raise OSError(errno.EIO, "short write")
        self._disk.sync_data(self._descriptor)
        try:
            self._disk.rename(self._path, self._folder / header.name)
        except OSError as error:
            require_space(error)
            raise
        self._disk.sync_folder(self._folder)
        descriptor, self._descriptor, self.zeroed_bytes = self._descriptor, -1, 0
        return descriptor
