"""The decision store: every command of the journal as one row of Parquet, exactly once, after any crash.

The journal is the truth and forgets after its retention; the store is a projection of it that analysts ask. It is fed in
order, keeps rows in memory until `flush`, and says from where to go on after a start (`next_sequence`), so rows lost with the
process are simply fed again, and none twice.

INVARIANTS: rows on disk cover a range of sequences without gap; a file appears whole, under its name, when it is durable; a
merge takes its parts away only when the whole is durable; nothing is changed in place. After an error the next call first
looks at what is there, as a new process would.

Called by the follower, the one writer of a data directory; read through `reading`.
"""

import errno
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from itertools import takewhile
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from riskengine.errors import StoreFault, StoreFull
from riskengine.types import DECISION, ENTITIES, EVENT, US_PER_DAY, Array

from .block import Block
from .files import Files, OsFiles
from .folder import NEXT_NAME, Part, day_folder, day_of, next_content, store_folder, survey
from .merging import PART_ROWS_MAX, mergers
from .parquet import PartReader, write_tables, write_whole
from .rows import TableBuilder

ROWS_MAX: Final = 50_000
"""Rows in memory: 56 MB, and another 28 MB while they are written."""
_NO_SPACE: Final = (errno.ENOSPC, errno.EDQUOT)


class DecisionStore:
    """The store of one data directory, for writing. Not to be shared by threads or processes.

    Args:
        data_dir: The data directory; it exists.
        rows_max: Rows kept in memory at most, at least 1; to take more, `append` flushes.
        part_rows_max: Rows of a merged file at most.
        files: Where; the system's by default.

    Raises:
        StoreFault: Files are missing, or the folder cannot be used.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        rows_max: int = ROWS_MAX,
        part_rows_max: int = PART_ROWS_MAX,
        files: Files | None = None,
    ) -> None:
        self._files: Files = files or OsFiles()
        self._folder = store_folder(data_dir)
        self._part_rows_max = part_rows_max
        self._events = Block(EVENT, rows_max)
        self._decisions = Block(DECISION, rows_max)
        self._builder = TableBuilder()
        self._parts: list[Part] = []
        self._next_sequence = 1
        self._settled = False
        with self._guarded():
            pass

    @property
    def folder(self) -> Path:
        """Where the files are."""
        return self._folder

    @property
    def parts(self) -> tuple[Part, ...]:
        """The files in order."""
        return tuple(self._parts)

    @property
    def next_sequence(self) -> int:
        """Sequence of the first row that is not durable here: from where to feed after a start."""
        return self._next_sequence

    @property
    def waiting_count(self) -> int:
        """Rows that were appended and are not durable yet."""
        return len(self._events)

    def begin(self, sequence: int) -> None:
        """Lets an empty store begin later than it would: behind rows that the journal has forgotten.

        Args:
            sequence: Of the first row to come, not before `next_sequence`.

        Raises:
            StoreFault: It has rows, or its disk fails.
            StoreFull: There is no space.
        """
        with self._guarded():
            if self._parts or len(self._events) or sequence < self._next_sequence:
                raise StoreFault(f"{self._folder} has rows; only an empty store can begin at {sequence}")
            self._keep_next(sequence)

    def append(self, events: Array, decisions: Array, names: Mapping[int, Mapping[str, Any]]) -> None:
        """Takes rows in order. Those that are here already are passed over, so that a repeat changes nothing.

        Args:
            events: EVENT[n], as the journal has them.
            decisions: DECISION[n] on them.
            names: What the revisions of these rows mean, as `engine.configuration.Configuration.names` tells.

        Raises:
            StoreFault: Rows are missing before these, or the disk fails.
            StoreFull: Rows had to be flushed and there is no space. The same call may be repeated.
        """
        assert len(events) == len(decisions), "each event has its decision"
        if not len(events):
            return
        first, last = int(events["sequence"][0]), int(events["sequence"][-1])
        assert last - first == len(events) - 1, "sequences have no gaps"
        expected = self._next_sequence + len(self._events)
        if first > expected:
            raise StoreFault(f"{self._folder}: rows {expected} to {first - 1} were left out; feed them first")
        taken = max(0, expected - first)
        if taken >= len(events):
            return
        self._builder.learn(decisions["revision"][taken:], names)
        while taken < len(events):
            if not self._events.room:
                self.flush()
            until = taken + min(self._events.room, len(events) - taken)
            self._events.add(events[taken:until])
            self._decisions.add(decisions[taken:until])
            taken = until

    def flush(self) -> None:
        """Makes what was appended durable: one file for each day.

        Raises:
            StoreFull: There is no space; nothing is lost, and the same call works when there is space again.
            StoreFault: The disk fails.
        """
        with self._guarded():
            self._flush()

    def compact(self) -> int:
        """Merges small files where `merging.mergers` says so; seconds of work for each million rows.

        Returns:
            Files that became part of another.

        Raises:
            StoreFull: There is no space; everything is as it was.
            StoreFault: A file is damaged, or the disk fails.
        """
        with self._guarded():
            if not self._parts:
                return 0
            newest_us = self._events["received_time_us"][-1:].tolist()
            today = day_of(newest_us[0]) if newest_us else self._parts[-1].day
            groups = mergers(self._parts, today=today, rows_max=self._part_rows_max)
            for group in groups:
                self._merge(group)
            return sum(map(len, groups))

    def erase(self, entity: str, tag: int, tombstone: int, *, before: int | None = None) -> int:
        """Puts a tombstone in the place of a tag: durable when it returns, and a repeat changes nothing.

        Args:
            entity: Whose column, one of `types.ENTITIES`.
            tag: uint64, not 0.
            tombstone: uint64, not 0: the random number that stands for the tag from now on.
            before: Only rows with a smaller sequence; all that were appended by default.

        Returns:
            Rows that were changed.

        Raises:
            StoreFull: There is no space; some files may be done. The same call may be repeated.
            StoreFault: A file is damaged, or the disk fails.
        """
        assert entity in ENTITIES, "an entity has its column"
        assert tag, "absent entities are not erased"
        assert tombstone, "a tombstone is a tag"
        with self._guarded():
            self._flush()
            reached = self._next_sequence if before is None else before
            erasure = _Erasure(f"{entity}_tag", tag=tag, tombstone=tombstone, before=reached)
            return sum(self._rewrite(part, erasure) for part in self._parts if part.first < reached)

    def drop_before(self, day: date) -> int:
        """Forgets all files of earlier days, the oldest first. Rows that were not flushed stay.

        Args:
            day: The first day that is kept.

        Returns:
            Rows that are gone.

        Raises:
            StoreFull: There is no space to note where rows go on after the last file; all others are gone.
            StoreFault: The disk fails.
        """
        with self._guarded():
            gone = list(takewhile(lambda part: part.day < day, self._parts))
            if gone and len(gone) == len(self._parts):
                # The last file is what tells where rows go on. It leaves when that is noted, on a disk that may be full.
                self._remove(gone[:-1])
                self._keep_next(self._next_sequence)
                self._remove(gone[-1:])
            else:
                self._remove(gone)
            return sum(part.row_count for part in gone)

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """Tells errors of the disk in the store's words. After any error, what is there is looked at anew."""
        try:
            if not self._settled:
                self._settle()
            yield
        except BaseException as error:
            self._settled = False
            if not isinstance(error, OSError):
                raise
            if error.errno in _NO_SPACE:
                raise StoreFull(
                    f"the disk of {self._folder} is full; free space, nothing is lost and the store goes on by itself"
                ) from error
            raise StoreFault(
                f"{self._folder} cannot be written: {error.strerror or error}; check the disk and who may write to it"
            ) from error

    def _settle(self) -> None:
        """Takes the folder as it is: what is there becomes durable, what does not count is removed."""
        files = self._files
        files.make_folder(self._folder)
        found = survey(files, self._folder)
        # An earlier process, or this one, may have ended between a name's change and its sync.
        for folder in (*found.days, self._folder):
            files.sync_folder(folder)
        useless = (*found.stale, *found.partial)
        for path in useless:
            files.remove(path)
        for folder in sorted({path.parent for path in useless}):
            files.sync_folder(folder)
        self._parts, self._next_sequence = list(found.parts), found.next_sequence
        waiting = self._events["sequence"]
        if len(waiting):
            known = self._next_sequence - int(waiting[0])
            self._forget(min(max(known, 0), len(waiting)))
            if known < 0:
                self._forget(len(self._events))
                raise StoreFault(f"{self._folder}: files have vanished; feed it again from {self._next_sequence} on")
        self._settled = True

    def _flush(self) -> None:
        while len(self._events):
            days = self._events["received_time_us"] // US_PER_DAY
            others = np.flatnonzero(days != days[0])
            count = int(others[0]) if len(others) else len(days)
            sequences = self._events["sequence"]
            day = day_of(int(self._events["received_time_us"][0]))
            part = Part(int(sequences[0]), int(sequences[count - 1]), day)
            self._files.make_folder(day_folder(self._folder, day))
            table = self._builder.table(self._events.part(0, count), self._decisions.part(0, count))
            write_tables(self._files, part.path(self._folder), iter([table]))
            self._parts.append(part)
            self._next_sequence = part.last + 1
            self._forget(count)

    def _forget(self, count: int) -> None:
        """Drops rows that wait, from the first one on."""
        self._events.drop(count)
        self._decisions.drop(count)

    def _merge(self, group: Sequence[Part]) -> None:
        """Makes one file of neighbours."""
        whole = Part(group[0].first, group[-1].last, group[0].day)
        write_tables(self._files, whole.path(self._folder), (table for part in group for table in self._tables(part)))
        at = self._parts.index(group[0])
        self._parts.insert(at, whole)
        self._remove(group)

    def _remove(self, parts: Sequence[Part]) -> None:
        """Removes files day by day, each durably before the next, so that no crash leaves a gap; empty folders as well."""
        for day in sorted({part.day for part in parts}):
            folder = day_folder(self._folder, day)
            for part in parts:
                if part.day == day:
                    self._files.remove(part.path(self._folder))
                    self._parts.remove(part)
            self._files.sync_folder(folder)
            if not self._files.names(folder):
                self._files.remove_folder(folder)
                self._files.sync_folder(self._folder)

    def _rewrite(self, part: Part, erasure: "_Erasure") -> int:
        """Writes a file anew if it holds the tag; returns the rows that changed."""
        found = sum(erasure.count(table) for table in self._tables(part, erasure.columns))
        if found:
            write_tables(self._files, part.path(self._folder), map(erasure.apply, self._tables(part)))
        return found

    def _tables(self, part: Part, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """Yields a file's row groups.

        Raises:
            StoreFault: It is damaged.
        """
        path = part.path(self._folder)
        try:
            reader = PartReader(self._files.open(path))
            try:
                for index in range(reader.group_count):
                    yield reader.group(index, columns)
            finally:
                reader.close()
        except (pa.ArrowException, OSError) as error:
            raise StoreFault(
                f"{path} cannot be read ({str(error).splitlines()[0]}); restore it from a copy",
                metadata={"file": str(path)},
            ) from error

    def _keep_next(self, sequence: int) -> None:
        """Notes where rows go on when there are no files."""
        write_whole(self._files, self._folder / NEXT_NAME, lambda sink: sink.write(next_content(sequence)))
        self._next_sequence = sequence


class _Erasure:
    """A tag to be replaced in one column."""

    def __init__(self, column: str, *, tag: int, tombstone: int, before: int) -> None:
        self.columns = ("sequence", column)
        self._column = column
        self._tag = pa.scalar(tag, pa.uint64())
        self._tombstone = pa.scalar(tombstone, pa.uint64())
        self._before = before

    def count(self, table: pa.Table) -> int:
        """Returns how many rows hold the tag."""
        return int(pc.sum(self._where(table)).as_py() or 0)

    def apply(self, table: pa.Table) -> pa.Table:
        """Returns the rows with the tombstone in its place."""
        at = table.schema.get_field_index(self._column)
        changed = pc.if_else(self._where(table), self._tombstone, table.column(at))
        return table.set_column(at, table.schema.field(at), changed)

    def _where(self, table: pa.Table) -> pa.ChunkedArray:
        holds = pc.fill_null(pc.equal(table.column(self._column), self._tag), False)
        return pc.and_(holds, pc.less(table.column("sequence"), self._before))
