"""Copying closed segments to a folder, to be kept longer or elsewhere.

A segment that has a successor never changes, so it is copied once. Each is proved before it is copied (checksums, chain,
its place before the next one), read back afterwards, and listed with its SHA-256 in ``SHA256SUMS``, as `sha256sum -c`
reads it. Segments of one journal only share a folder. The open segment is never copied.

INVARIANTS: a file in the folder has its name only when it is whole and durable; what stands in ``SHA256SUMS`` was read
back and is durable. An interrupted run is finished by the next one.

Called by `cli`.
"""

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from riskengine.durable import make_folder, replace_file
from riskengine.errors import JournalCorrupt, RiskEngineError

from .disk import OsDisk
from .format import SEGMENT_HEADER_BYTES, SegmentHeader
from .kept import SegmentInfo, segments
from .scan import Scan

SUMS_NAME: Final = "SHA256SUMS"
_PIECE_BYTES: Final = 4 * 1024 * 1024
Progress = Callable[[int, int], None]


class ArchiveRefused(RiskEngineError):
    """The folder holds something else, or what was copied to it does not come back; the message says what to do."""

    reason = "ARCHIVE_REFUSED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Archived:
    """What a run did.

    Attributes:
        copied: Segments copied now.
        present: Segments that were there.
        copied_bytes: Length of the former.
        first_sequence: First sequence of all these segments, 0 without any.
        next_sequence: Sequence that the open segment begins with: all before it is in the folder.
        open_name: The open segment, which is not.
    """

    copied: int
    present: int
    copied_bytes: int
    first_sequence: int
    next_sequence: int
    open_name: str


def archive(
    data_dir: Path, folder: Path, *, check: bool = False, on_progress: Progress = lambda done, total: None
) -> Archived:
    """Copies the closed segments that the folder does not have.

    Args:
        data_dir: The data directory; the engine may be running.
        folder: Where to; made if it is not there.
        check: Whether to read back those that are there, too.
        on_progress: Called with (bytes done, bytes in all).

    Raises:
        JournalCorrupt: A segment is damaged; those before it were copied.
        ArchiveRefused: The folder is another journal's, or holds a file that is not what was copied.
        StartRefused: There is no journal, or a segment was trimmed before it was copied.
        OSError: A disk failed.
    """
    scan = Scan(OsDisk(), data_dir)
    journal_id = scan.first_header()[0].journal_id
    found = segments(data_dir)
    make_folder(folder)
    _require_own_folder(folder, journal_id)
    sums = _read_sums(folder)
    closed, opened = found[:-1], found[-1]
    total_bytes = sum(segment.size_bytes for segment in closed)
    done_bytes = copied = copied_bytes = 0
    for segment, following in zip(closed, found[1:], strict=True):
        name = segment.path.name
        if not _is_there(folder, segment, sums.get(name), check=check):
            _prove(scan, segment, following)
            sums[name] = _copy(segment, folder)
            _write_sums(folder, sums)
            copied += 1
            copied_bytes += segment.size_bytes
        done_bytes += segment.size_bytes
        on_progress(done_bytes, total_bytes)
    return Archived(
        copied=copied,
        present=len(closed) - copied,
        copied_bytes=copied_bytes,
        first_sequence=closed[0].first_sequence if closed else 0,
        next_sequence=opened.first_sequence,
        open_name=opened.path.name,
    )


def _require_own_folder(folder: Path, journal_id: bytes) -> None:
    """Refuses a folder that holds segments of another journal."""
    for path in sorted(folder.glob("*.journal"))[:1]:
        with open(path, "rb") as file:
            header = SegmentHeader.unpack(file.read(SEGMENT_HEADER_BYTES))
        if header is None or header.journal_id != journal_id:
            raise ArchiveRefused(f"{path} is not a segment of this journal; archive to a folder of its own")


def _is_there(folder: Path, segment: SegmentInfo, listed: str | None, *, check: bool) -> bool:
    """Tells whether a segment is in the folder, whole, and listed; a whole one that is not listed is copied again."""
    path = folder / segment.path.name
    if listed is None or not path.is_file():
        return False
    if path.stat().st_size == segment.size_bytes and (not check or _sum_of(path) == listed):
        return True
    raise ArchiveRefused(
        f"{path} is not what was copied: its length or checksum is another; look into that disk, move the file away, "
        "and run the command again"
    )


def _prove(scan: Scan, segment: SegmentInfo, following: SegmentInfo) -> None:
    """Proves a closed segment and that the next one follows it."""
    for _ in scan.closed_frames(segment.path.name):
        pass
    header = SegmentHeader.unpack(OsDisk().read(following.path, 0, SEGMENT_HEADER_BYTES))
    if header is None or header.previous_hash != scan.chain_hash:
        raise JournalCorrupt(
            "the segment does not follow the one before it",
            file=following.path.name,
            offset=0,
            sequence=following.first_sequence,
        )


def _copy(segment: SegmentInfo, folder: Path) -> str:
    """Copies a segment, makes it durable, reads it back, and returns its SHA-256 in hex."""
    path = folder / segment.path.name
    partial = folder / f".{segment.path.name}.partial"
    digest = hashlib.sha256()
    with open(segment.path, "rb") as source, open(partial, "wb") as target:
        while piece := source.read(_PIECE_BYTES):
            target.write(piece)
            digest.update(piece)
        target.flush()
        os.fsync(target.fileno())
        # Read back from the disk, not from what the kernel still holds of the write.
        os.posix_fadvise(target.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    if _sum_of(partial) != digest.hexdigest():
        raise ArchiveRefused(f"{partial} does not come back as it was written; look into that disk")
    os.replace(partial, path)
    OsDisk().sync_folder(folder)
    return digest.hexdigest()


def _sum_of(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_sums(folder: Path) -> dict[str, str]:
    """Returns the listed files with their SHA-256."""
    path = folder / SUMS_NAME
    lines = path.read_text("ascii").splitlines() if path.is_file() else []
    return {name: digest for digest, _, name in (line.partition("  ") for line in lines)}


def _write_sums(folder: Path, sums: dict[str, str]) -> None:
    """Writes the list, durably, in place of the one before."""
    lines = "".join(f"{digest}  {name}\n" for name, digest in sorted(sums.items()))
    replace_file(folder / SUMS_NAME, lines.encode("ascii"))
