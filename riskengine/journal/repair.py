"""Repairing a damaged journal: what is valid up to the damage goes on as the journal, everything is kept aside as it was.

Only an operator decides on this, for what lies behind the damage was acknowledged once and is lost by it. `examine` says
what would be lost, `repair` does it.

INVARIANTS: no file of the journal is changed: the last segment that stays is a fresh copy with zeros behind what is
valid, so is one of a wrong length; the others are the same files under a second name, and closed segments are never
written. The result is read and proved before anything is taken away. Files are taken away from the last one back, so
that after a crash at any step the journal is as damaged as before, or repaired; repairing again finishes the work.

Called by `cli`, while it holds the lock on the data directory.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from riskengine.errors import JournalCorrupt, RiskEngineError, StartRefused

from .directory import SPARE_NAME, journal_folder, parse_segment_name, segment_name, segment_names
from .disk import Disk, OsDisk, Source
from .ending import frame_headers
from .format import FRAME_HEADER, SEGMENT_HEADER_BYTES, SegmentHeader, chain_hash, crc_seed
from .kept import MARKER_SPARE_NAME, Kept, index_of, read_marker, write_marker
from .places import Anchor, Frame
from .scan import Scan
from .view import View

COPY_SUFFIX: Final = ".repaired.tmp"
"""Of the fresh copy of a segment, which means nothing until it has the segment's name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a repair would do.

    Attributes:
        damage: What is wrong, as a reader tells it.
        end: Where the journal will end.
        last_name: The segment that is in.
        first_sequence: Of the first event kept, or to come.
        removed: Segments that go altogether, in order.
        resized: Segments before that one that lack zeros at their end, or have too many.
        marker: The marker of trimming to be written, None to leave what is there.
        lost_frames: Frames behind the end whose headers are still valid; nothing else of them is proved.
        lost_sequence: The largest sequence among them, 0 if there is none.
    """

    damage: JournalCorrupt
    end: Anchor
    last_name: str
    first_sequence: int
    removed: tuple[str, ...]
    resized: tuple[str, ...]
    marker: Kept | None
    lost_frames: int
    lost_sequence: int


def examine(data_dir: Path, *, disk: Disk | None = None) -> Plan | None:
    """Says what a repair would do. Changes nothing.

    Args:
        data_dir: The data directory.
        disk: Where to read.

    Returns:
        The plan, or None if there is no damage.

    Raises:
        StartRefused: There is no journal, or a newer version of the engine wrote it.
        RiskEngineError: Nothing valid would remain.
    """
    disk = disk or OsDisk()
    _, _, damage = _read_on(disk, data_dir)
    if damage is None:
        return None
    marker = _marker_for(disk, data_dir)
    view = View(disk, marker=marker.pack() if marker else None, padded=True)
    end, last_name, _ = _read_on(view, data_dir)
    if end is None:
        raise RiskEngineError(
            f"{damage.message.split(';')[0]}: nothing before it is valid, so nothing can be kept; "
            "restore the journal from a backup or an archive"
        )
    folder = journal_folder(data_dir)
    scan = Scan(view, data_dir)
    names = [name for name in segment_names(disk, data_dir) if index_of(name) >= end.segment_index]
    earlier = [name for name in scan.names if index_of(name) < end.segment_index]
    lost = list(_lost(view, folder, end, last_name, names))
    return Plan(
        damage=damage,
        end=end,
        last_name=last_name,
        first_sequence=scan.first_header()[1].next_sequence,
        removed=tuple(name for name in names if name != last_name),
        resized=tuple(name for name in earlier if disk.size(folder / name) != view.size(folder / name)),
        marker=marker,
        lost_frames=len(lost),
        lost_sequence=max((first + rows - 1 for first, rows in lost), default=0),
    )


def repair(data_dir: Path, plan: Plan, *, broken: Path, disk: Disk | None = None) -> None:
    """Does what a plan says.

    Args:
        data_dir: The data directory, locked by this process.
        plan: From `examine`, of the journal as it is.
        broken: A new folder in the data directory, for the files as they are.
        disk: Where to write.

    Raises:
        StartRefused: The folder exists already.
        RiskEngineError: What would remain cannot be read; nothing was taken away.
        OSError: The disk failed; the journal is as it was, or repaired.
    """
    disk = disk or OsDisk()
    folder = journal_folder(data_dir)
    _keep_aside(disk, folder, broken)
    fresh = (*plan.resized, plan.last_name)
    for name in fresh:
        _write_copy(disk, folder, name, plan.end.offset if name == plan.last_name else None)
    view = View(
        disk,
        marker=plan.marker.pack() if plan.marker else None,
        hidden=frozenset(plan.removed),
        moved={name: name + COPY_SUFFIX for name in fresh},
    )
    end, _, damage = _read_on(view, data_dir)
    if damage is not None or end != plan.end:
        raise RiskEngineError(
            f"what would remain of the journal cannot be read; nothing was taken away; {broken} holds a copy"
        ) from damage
    for name in reversed(plan.removed):
        disk.remove(folder / name)
        disk.sync_folder(folder)
    for name in reversed(fresh):
        disk.replace(folder / (name + COPY_SUFFIX), folder / name)
        disk.sync_folder(folder)
    if plan.marker:
        write_marker(disk, folder, plan.marker)


def _read_on(source: Source, data_dir: Path) -> tuple[Anchor | None, str, JournalCorrupt | None]:
    """Reads a journal until its end or the damage.

    Returns:
        Where that is and in which segment, None and "" if not even a header is valid; and the damage, if any.
    """
    last: Frame | None = None
    damage: JournalCorrupt | None = None
    try:
        scan = Scan(source, data_dir)
    except JournalCorrupt as error:
        return None, "", error
    try:
        for frame in scan.frames():
            last = frame
    except JournalCorrupt as error:
        damage = error
    entered = scan.entered
    if entered is None:
        return None, "", damage
    name = segment_name(first_sequence=entered.next_sequence, index=entered.segment_index)
    return last.end if last and last.name == name else entered, name, damage


def _marker_for(disk: Disk, data_dir: Path) -> Kept | None:
    """Returns a marker to write where one is needed and there is none, or a damaged one.

    It names the first of the segments that follow each other up to the last: older ones are what a trimming left. Where
    segment 0 is there and no marker, nothing was trimmed: a gap is damage.
    """
    first_min = 0
    try:
        if read_marker(disk, data_dir) is not None:
            return None
    except JournalCorrupt:
        first_min = 1
    parsed = {name: parse_segment_name(name) for name in segment_names(disk, data_dir)}
    by_index = {found[1]: name for name, found in parsed.items() if found}
    first = max(by_index, default=0) if first_min or 0 not in by_index else 0
    while first > first_min and first - 1 in by_index:
        first -= 1
    if first == 0 or first not in by_index:
        return None
    head = disk.read(journal_folder(data_dir) / by_index[first], 0, SEGMENT_HEADER_BYTES)
    header = SegmentHeader.unpack(head)
    return Kept(first, header.first_sequence, chain_hash(head)) if header else None


def _lost(view: View, folder: Path, end: Anchor, last_name: str, names: list[str]) -> Iterator[tuple[int, int]]:
    """Yields first sequence and number of rows of the frames behind the end whose headers are valid."""
    header = SegmentHeader.unpack(view.read(folder / last_name, 0, SEGMENT_HEADER_BYTES))
    assert header is not None, "the segment was read"
    for name in names:
        data = view.read(folder / name, end.offset if name == last_name else 0)
        for at in frame_headers(data, 0, seed=crc_seed(header.journal_id)):
            _, _, _, _, row_count, _, first_sequence, _, _ = FRAME_HEADER.unpack_from(data, at)
            yield first_sequence, row_count


def _keep_aside(disk: Disk, folder: Path, broken: Path) -> None:
    """Gives all files of the journal a second name in a new folder."""
    if disk.names(broken):
        raise StartRefused(f"{broken} exists already; move it away and try again")
    disk.make_folder(broken)
    for name in disk.names(folder):
        if name not in (SPARE_NAME, MARKER_SPARE_NAME) and not name.endswith(COPY_SUFFIX):
            disk.link(folder / name, broken / name)
    disk.sync_folder(broken)


def _write_copy(disk: Disk, folder: Path, name: str, end: int | None) -> None:
    """Writes a segment anew, of the length that its header tells, with zeros from `end` on, and makes it durable."""
    path = folder / (name + COPY_SUFFIX)
    if path.name in disk.names(folder):
        disk.remove(path)
    kept = disk.read(folder / name, 0, end)
    header = SegmentHeader.unpack(kept)
    assert header is not None, "the segment was read"
    data = kept[: header.segment_bytes].ljust(header.segment_bytes, b"\0")
    descriptor = disk.open(path, create=True)
    try:
        disk.allocate(descriptor, len(data))
        if disk.write(descriptor, data, 0) != len(data):
            raise OSError("short write")
        disk.sync_file(descriptor)
    finally:
        disk.close(descriptor)
