"""Which segments a journal has, and giving up its oldest ones. See `format`, "Trimming".

INVARIANTS: the marker is durable before a segment that it makes needless is removed; segments are removed the oldest
first. Whatever step a crash falls upon, the journal reads the same from the first kept segment on, and trimming again
finishes the work.

Called by `scan` and `writer` (names), the follower (`trim`), `cli`.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from riskengine.errors import JournalCorrupt, StartRefused

from .directory import journal_folder, parse_segment_name, segment_names
from .disk import Disk, OsDisk, Source
from .format import HASH_BYTES, SEGMENT_HEADER_BYTES, SegmentHeader, chain_hash

MARKER_NAME: Final = "kept.json"
MARKER_SPARE_NAME: Final = "kept.tmp"
MARKER_VERSION: Final = 1
_MARKER_BYTES_MAX: Final = 4096


@dataclass(frozen=True, slots=True)
class Kept:
    """The marker: the first segment that is kept.

    Attributes:
        first_index: Its index, at least 1.
        first_sequence: Its first sequence.
        header_hash: `chain_hash` of its header, 8 bytes.
    """

    first_index: int
    first_sequence: int
    header_hash: bytes

    def pack(self) -> bytes:
        """Returns the bytes of the marker."""
        told = {
            "version": MARKER_VERSION,
            "first_index": self.first_index,
            "first_sequence": self.first_sequence,
            "header_hash": self.header_hash.hex(),
        }
        return json.dumps(told, separators=(",", ":")).encode() + b"\n"

    @classmethod
    def unpack(cls, raw: bytes) -> "Kept | None":
        """Returns the marker that these bytes are, or None if they are none, to the last bit."""
        try:
            told = json.loads(raw)
            kept = cls(told["first_index"], told["first_sequence"], bytes.fromhex(told["header_hash"]))
            packed = kept.pack()
        except (ValueError, KeyError, TypeError, AttributeError):
            return None
        numbers = type(kept.first_index) is int and type(kept.first_sequence) is int
        sound = packed == raw and len(kept.header_hash) == HASH_BYTES and numbers
        return kept if sound and kept.first_index > 0 else None


@dataclass(frozen=True, slots=True)
class SegmentInfo:
    """A file of the journal.

    Attributes:
        index: 0, 1, 2 ...
        first_sequence: Of the first event that it may hold.
        path: Where it is.
        size_bytes: Its length, which is reserved in full when it is begun.
    """

    index: int
    first_sequence: int
    path: Path
    size_bytes: int


def read_marker(disk: Source, data_dir: Path) -> Kept | None:
    """Returns the marker of a journal, None if it was never trimmed.

    Raises:
        JournalCorrupt: The marker is damaged.
        StartRefused: A newer version of the engine wrote it.
    """
    raw = _marker_bytes(disk, data_dir)
    return None if raw is None else _parsed(raw)


def kept_names(disk: Source, data_dir: Path) -> tuple[Kept | None, list[str]]:
    """Returns the marker and the names of the files that are kept, in the order of the journal.

    A name that no segment can have is listed, too: it is for the reader to tell.

    Raises:
        JournalCorrupt: The marker is damaged.
    """
    raw = _marker_bytes(disk, data_dir)
    while True:
        names = segment_names(disk, data_dir)
        again = _marker_bytes(disk, data_dir)
        if again == raw:
            break
        raw = again
    if raw is None:
        return None, names
    kept = _parsed(raw)
    return kept, [name for name in names if index_of(name) >= kept.first_index]


def journal_exists(data_dir: Path, *, disk: Disk | None = None) -> bool:
    """Tells whether a data directory has a journal, or what is left of one."""
    disk = disk or OsDisk()
    return bool(segment_names(disk, data_dir)) or MARKER_NAME in disk.names(journal_folder(data_dir))


def segments(data_dir: Path, disk: Disk | None = None) -> list[SegmentInfo]:
    """Returns the segments that are kept, in order; none if there is no journal. Their bytes are not looked at.

    Raises:
        JournalCorrupt: The marker is damaged, or a file is called as no segment is.
    """
    disk = disk or OsDisk()
    found = []
    for name in kept_names(disk, data_dir)[1]:
        parsed = parse_segment_name(name)
        if parsed is None:
            raise JournalCorrupt("no segment has such a name", file=name, offset=0, sequence=1)
        path = journal_folder(data_dir) / name
        found.append(SegmentInfo(parsed[1], parsed[0], path, disk.size(path)))
    return found


def trim(data_dir: Path, *, first_kept_index: int, disk: Disk | None = None) -> int:
    """Gives up all segments before one. May be repeated, and is to be after a crash; one process at a time.

    Args:
        data_dir: The data directory; an engine may be writing.
        first_kept_index: Index of the first segment to keep. One that is before what is kept removes what an
            interrupted trimming left.
        disk: Where to write.

    Returns:
        Bytes freed.

    Raises:
        ValueError: There is no segment of that index; nothing changed.
        JournalCorrupt: The marker or that segment's header is damaged; nothing changed.
        OSError: The disk failed; whatever was done, the journal reads the same.
    """
    disk = disk or OsDisk()
    folder = journal_folder(data_dir)
    kept, names = kept_names(disk, data_dir)
    if first_kept_index > (kept.first_index if kept else 0):
        kept = _marker_for(
            disk, folder, [name for name in names if index_of(name) == first_kept_index], first_kept_index
        )
        write_marker(disk, folder, kept)
    freed_bytes = 0
    for name in segment_names(disk, data_dir):
        if kept and 0 <= index_of(name) < kept.first_index:
            size_bytes = disk.size(folder / name)
            disk.remove(folder / name)
            freed_bytes += size_bytes
    return freed_bytes


def index_of(name: str) -> int:
    """Returns the index of a segment by its name; one beyond all for a name that no segment has."""
    parsed = parse_segment_name(name)
    return parsed[1] if parsed else 10**8


def write_marker(disk: Disk, folder: Path, kept: Kept) -> None:
    """Makes a marker durable in place of the one before."""
    if MARKER_SPARE_NAME in disk.names(folder):
        disk.remove(folder / MARKER_SPARE_NAME)
    packed = kept.pack()
    descriptor = disk.open(folder / MARKER_SPARE_NAME, create=True)
    try:
        disk.allocate(descriptor, len(packed))
        if disk.write(descriptor, packed, 0) != len(packed):
            raise OSError("short write")
        disk.sync_file(descriptor)
    finally:
        disk.close(descriptor)
    disk.replace(folder / MARKER_SPARE_NAME, folder / MARKER_NAME)
    disk.sync_folder(folder)


def _marker_for(disk: Disk, folder: Path, names: list[str], index: int) -> Kept:
    """Returns the marker that names the segment of an index."""
    if not names:
        raise ValueError(f"there is no segment {index} to keep")
    head = disk.read(folder / names[0], 0, SEGMENT_HEADER_BYTES)
    header = SegmentHeader.unpack(head)
    if header is None or header.name != names[0]:
        raise JournalCorrupt("no valid segment header", file=names[0], offset=0, sequence=1)
    return Kept(index, header.first_sequence, chain_hash(head))


def _marker_bytes(disk: Source, data_dir: Path) -> bytes | None:
    """Returns the bytes of the marker, None if there is none."""
    try:
        return disk.read(journal_folder(data_dir) / MARKER_NAME, 0, _MARKER_BYTES_MAX)
    except (FileNotFoundError, NotADirectoryError):
        return None


def _parsed(raw: bytes) -> Kept:
    """Returns the marker that these bytes are."""
    kept = Kept.unpack(raw)
    if kept is None and _version(raw) > MARKER_VERSION:
        raise StartRefused(
            f"{MARKER_NAME} was written by a newer version of the engine; start that version, or a newer one"
        )
    if kept is None:
        raise JournalCorrupt("the marker of what is kept is damaged", file=MARKER_NAME, offset=0, sequence=1)
    return kept


def _version(raw: bytes) -> int:
    """Returns the version that a marker says it has, 0 if it says none."""
    try:
        version = json.loads(raw)["version"]
    except (ValueError, KeyError, TypeError):
        return 0
    return version if type(version) is int else 0
