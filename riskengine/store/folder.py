"""The folder of the store: what its files are called, and which of them count.

    DATA/decisions/day=2026-03-01/0000000000000001-0000000000004711.parquet   rows of one day (received, UTC), first to last
    DATA/decisions/next.json                                                  where rows go on when there are no files

Times of receiving never fall, so the rows of a day are one range of sequences, and a file's name says all that is in it.

INVARIANTS: a file gets its name when its bytes are durable, and then never changes (erasure puts another in its place). Files
that count cover a range of sequences without gap or overlap; where it begins is free, so old days may be deleted by hand.
A file whose range lies within another's is what a merge left behind: it is stale and does not count; nor does any other name.

Called by `store`, `reading` and tests.
"""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Final

from riskengine.errors import StoreFault
from riskengine.types import US_PER_DAY, US_PER_SECOND

from .files import Files

FOLDER: Final = "decisions"
NEXT_NAME: Final = "next.json"
PARTIAL_SUFFIX: Final = ".partial"
"""Of a file that is being written."""
_DAY: Final = re.compile(r"day=([0-9]{4}-[0-9]{2}-[0-9]{2})").fullmatch
_NAME: Final = re.compile(r"([0-9]{16})-([0-9]{16})\.parquet").fullmatch


@dataclass(frozen=True, slots=True, order=True)
class Part:
    """One file.

    Attributes:
        first: Sequence of its first row.
        last: Of its last.
        day: Of all its rows: day of receiving, UTC.
    """

    first: int
    last: int
    day: date

    @property
    def row_count(self) -> int:
        """Rows in it."""
        return self.last - self.first + 1

    def path(self, folder: Path) -> Path:
        """Returns where it is.

        Args:
            folder: Of the store.
        """
        return day_folder(folder, self.day) / f"{self.first:016d}-{self.last:016d}.parquet"


@dataclass(frozen=True, slots=True)
class Survey:
    """What is in the folder.

    Attributes:
        parts: Files that count, in order.
        stale: Files that do not count any more.
        partial: Files that were being written.
        days: Folders of days, also empty ones.
        next_sequence: Sequence behind the last row; 1 where there never was one.
    """

    parts: tuple[Part, ...]
    stale: tuple[Path, ...]
    partial: tuple[Path, ...]
    days: tuple[Path, ...]
    next_sequence: int


def store_folder(data_dir: Path) -> Path:
    """Returns the store's folder within a data directory."""
    return data_dir / FOLDER


def day_folder(folder: Path, day: date) -> Path:
    """Returns the folder of one day's files."""
    return folder / f"day={day.isoformat()}"


def day_of(time_us: int) -> date:
    """Returns the day of a time, UTC.

    Args:
        time_us: Microseconds since the epoch.
    """
    return datetime.fromtimestamp(time_us // US_PER_DAY * US_PER_DAY // US_PER_SECOND, UTC).date()


def next_content(next_sequence: int) -> bytes:
    """Returns the bytes of `NEXT_NAME`."""
    return json.dumps({"next_sequence": next_sequence}).encode() + b"\n"


def survey(files: Files, folder: Path) -> Survey:
    """Looks what is there.

    Args:
        files: Where.
        folder: Of the store; need not be there.

    Raises:
        StoreFault: Rows are missing between files or stored twice, or `NEXT_NAME` cannot be understood.
        OSError: The folder cannot be read.
    """
    partial: list[Path] = []
    found: list[Part] = []
    days: list[Path] = []
    for name in sorted(files.names(folder)):
        if name.endswith(PARTIAL_SUFFIX):
            partial.append(folder / name)
        if (day := _parse_day(name)) is None:
            continue
        days.append(folder / name)
        for inner in sorted(files.names(folder / name)):
            if inner.endswith(PARTIAL_SUFFIX):
                partial.append(folder / name / inner)
            elif match := _NAME(inner):
                found.append(Part(int(match[1]), int(match[2]), day))
    parts, stale = _counting(found)
    next_sequence = _next_sequence(files, folder)
    _require_whole(parts, next_sequence, folder)
    if parts:
        next_sequence = parts[-1].last + 1
    return Survey(tuple(parts), tuple(part.path(folder) for part in stale), tuple(partial), tuple(days), next_sequence)


def _next_sequence(files: Files, folder: Path) -> int:
    """Returns what `NEXT_NAME` says, 1 without it."""
    if NEXT_NAME not in files.names(folder):
        return 1
    try:
        sequence = json.loads(files.read(folder / NEXT_NAME))["next_sequence"]
        if isinstance(sequence, int) and sequence >= 1:
            return sequence
    except (ValueError, KeyError, TypeError):
        pass
    raise StoreFault(
        f'{folder / NEXT_NAME} cannot be understood; it holds {{"next_sequence": N}}, the sequence of the first row to come: '
        "restore it from a copy; where there are files of rows it may be deleted"
    )


def _parse_day(name: str) -> date | None:
    match = _DAY(name)
    try:
        return date.fromisoformat(match[1]) if match else None
    except ValueError:
        return None


def _counting(found: Iterable[Part]) -> tuple[list[Part], list[Part]]:
    """Parts the files that count from the stale ones."""
    parts: list[Part] = []
    stale: list[Part] = []
    for part in sorted(found, key=lambda part: (part.first, -part.last)):
        within = bool(parts) and part.last <= parts[-1].last
        (stale if within else parts).append(part)
    return parts, stale


def _require_whole(parts: Sequence[Part], next_sequence: int, folder: Path) -> None:
    """Raises unless the files follow each other and reach as far as rows were known to."""
    bounds = [(part.first, part.path(folder).name) for part in parts] + [(next_sequence, NEXT_NAME)]
    for before, (first, name) in zip(parts, bounds[1:], strict=True):
        expected = before.last + 1
        if first == expected or (name == NEXT_NAME and first < expected):
            continue
        what = f"decisions {expected} to {first - 1} are missing" if first > expected else f"{first} is there twice"
        raise StoreFault(
            f"{folder}: {what}, before {name}; restore the files from a copy, "
            f"or move {folder} away: it is made anew from what the journal still holds",
            metadata={"folder": str(folder), "sequence": str(expected)},
        )
