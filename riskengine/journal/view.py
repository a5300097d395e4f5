"""A journal as it would be: with files hidden, in another's place, or of the length that their header tells.

INVARIANTS: nothing is written. Used by `repair`, to read a damaged journal as far as it goes and to prove the repaired one
before anything is taken away.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from .disk import Source
from .format import SEGMENT_HEADER_BYTES, SegmentHeader
from .kept import MARKER_NAME


class View:
    """A file system with some differences.

    Args:
        source: The real one.
        marker: Bytes of the marker of trimming; None for those that are there.
        hidden: Names that are not there.
        moved: For a name, the name of the file whose bytes it has.
        padded: Whether each segment has the length that its header tells: cut, or with zeros behind it.
    """

    def __init__(
        self,
        source: Source,
        *,
        marker: bytes | None = None,
        hidden: frozenset[str] = frozenset(),
        moved: Mapping[str, str] | None = None,
        padded: bool = False,
    ) -> None:
        self._source: Final = source
        self._marker: Final = marker
        self._hidden: Final = hidden
        self._moved: Final = dict(moved or {})
        self._padded: Final = padded

    def names(self, folder: Path) -> list[str]:
        """Returns the names in a folder."""
        return [name for name in self._source.names(folder) if name not in self._hidden]

    def read(self, path: Path, offset: int = 0, size_bytes: int | None = None) -> bytes:
        """Returns a file's bytes from `offset` on."""
        if path.name == MARKER_NAME and self._marker is not None:
            return self._marker
        data = self._source.read(self._real(path), offset, size_bytes)
        told = self._told_bytes(path)
        if told is None:
            return data
        end = told if size_bytes is None else min(told, offset + size_bytes)
        return data[: end - offset].ljust(end - offset, b"\0")

    def size(self, path: Path) -> int:
        """Returns a file's length, bytes."""
        told = self._told_bytes(path)
        return self._source.size(self._real(path)) if told is None else told

    def _real(self, path: Path) -> Path:
        return path.with_name(self._moved.get(path.name, path.name))

    def _told_bytes(self, path: Path) -> int | None:
        """Returns the length that a segment's header tells, None where none is to be told."""
        if not self._padded or path.name == MARKER_NAME:
            return None
        header = SegmentHeader.unpack(self._source.read(self._real(path), 0, SEGMENT_HEADER_BYTES))
        return header.segment_bytes if header else None
