"""What does a group commit cost, apart from the disk, and how fast is a journal read?

Prediction: one kernel call, one protobuf message, two CRCs, one hash and one write are some 10 us for any frame;
packing adds 0.25 us a row (one pass over 141 words, a strided pass over 30 columns). Reading costs 6 us a frame and 0.4
us a row. A payment takes about 240 bytes, of which 190 are hashes and tags that cannot shrink.

Budget: about 5 us + 0.5 us a row to write on an idle machine, 400,000 events/s to read in groups of 8, 600 bytes an
event. Record size (a payment, a login with few columns, a payment with all of the caller's numbers and labels) times
group size. The figures without sync are medians of single commits and the mean of the processor's time; those with sync
are what a caller waits for on this disk. Compiling and warming up are outside the clock, and what is read must equal
what was written. Run as ``python -m benchmarks.journal``; called by `make bench`.
"""

import argparse
import os
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.record import record
from riskengine.journal.disk import OsDisk
from riskengine.journal.reader import Commits, JournalReader, verify
from riskengine.journal.writer import JournalWriter
from riskengine.types import FLOAT_COLUMNS, LABEL_COLUMNS, Array, empty_events, words
from tests.journal import rows

JOURNAL_ID: Final = bytes(range(16))
KEPT_OF_LOGIN: Final = (
    *("sequence", "kind", "received_time_us", "event_time_us", "transaction_type", "channel", "request_key"),
    *("request_check", "payload_hash", "account_tag", "device_tag", "ip_tag", "ip_network_tag"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """What is measured."""

    group_rows: tuple[int, ...] = (1, 8, 64, 1024)
    events: int
    """Events written and read for each row of the table, at most `frames_max` frames of them."""
    frames_max: int
    synced_frames: int
    """Commits with a real sync."""
    reads: int
    """Times that the journal is read; the best counts, as the first touches fresh memory."""


REAL: Final = Size(events=200_000, frames_max=20_000, synced_frames=300, reads=5)
SMOKE: Final = Size(events=500, frames_max=50, synced_frames=5, reads=2)


class UnsyncedDisk(OsDisk):
    """The system's disk without fdatasync, to see what else there is."""

    def sync_data(self, descriptor: int) -> None:
        """Does nothing."""


def main() -> int:
    """Measures, prints a table and appends a line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.journal", description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="at the smallest size, only to see that it works")
    parser.add_argument("--folder", type=Path, help="where to write the journals; default: where temporary files go")
    parser.add_argument("--out", type=Path, help="file to append the line to; default: in benchmarks/results")
    options = parser.parse_args()
    size = SMOKE if options.smoke else REAL
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # as the engine: one core
    measure_group("payment", 8, SMOKE, options.folder)  # warms up
    results = {
        f"{kind}_{group_rows}": measure_group(kind, group_rows, size, options.folder)
        for kind in ("payment", "login", "wide")
        for group_rows in size.group_rows
    }
    show(results)
    if options.out or not options.smoke:
        record("journal", parameters=asdict(size), results=results, path=options.out)
    return 0


def measure_group(kind: str, group_rows: int, size: Size, folder: Path | None) -> dict[str, float]:
    """Writes and reads one journal without sync, and writes the beginning of another with it."""
    frames = max(2, min(size.frames_max, size.events // group_rows))
    events, decisions = made_up(kind, frames * group_rows)
    groups = [slice(first, first + group_rows) for first in range(0, len(events), group_rows)]
    with tempfile.TemporaryDirectory(dir=folder) as plain, tempfile.TemporaryDirectory(dir=folder) as synced:
        writer = JournalWriter.create(Path(plain), journal_id=JOURNAL_ID, disk=UnsyncedDisk())
        frame_us, cpu_us = commit(writer, events, decisions, groups)
        writer.close()
        events_per_s = read(Path(plain), events, decisions, times=size.reads)
        summary = verify(Path(plain))
        writer = JournalWriter.create(Path(synced), journal_id=JOURNAL_ID)
        synced_us, _ = commit(writer, events, decisions, groups[: size.synced_frames])
        writer.close()
    return {
        "bytes_per_event": round(summary.bytes_per_event, 1),
        "frame_us": round(frame_us, 2),
        "frame_cpu_us": round(cpu_us, 2),
        "frame_synced_us": round(synced_us, 1),
        "write_mb_per_s": round(summary.bytes_per_event * group_rows / frame_us, 1),
        "read_events_per_s": round(events_per_s),
    }


def made_up(kind: str, count: int) -> tuple[Array, Array]:
    """Returns the rows of a kind of record."""
    events, decisions = rows.payments(count)
    if kind == "login":
        logins = empty_events(count)
        for name in KEPT_OF_LOGIN:
            logins[name] = events[name]
        events = logins
    if kind == "wide":
        rng = np.random.default_rng(2)
        for name in FLOAT_COLUMNS:
            events[name] = rng.normal(size=count)
        for name in LABEL_COLUMNS:
            events[name] = rng.integers(1, 2**62, count)
    return events, decisions


def commit(writer: JournalWriter, events: Array, decisions: Array, groups: list[slice]) -> tuple[float, float]:
    """Commits groups as the engine does; returns microseconds a frame: median of the wall, mean of the processor."""
    walls = []
    cpu_s = -time.process_time()
    for group in groups:
        group_events, group_decisions = events[group], decisions[group]
        started = time.perf_counter()
        writer.reserve(len(group_events))
        writer.append(words(group_events), words(group_decisions))
        writer.sync()
        walls.append(time.perf_counter() - started)
        cpu_s += _prepare(writer)
    cpu_s += time.process_time()
    return 1e6 * median(walls), 1e6 * cpu_s / len(groups)


def _prepare(writer: JournalWriter) -> float:
    """Prepares the next segment off the clock; returns minus the processor's seconds that it took."""
    started = time.process_time()
    writer.prepare()
    return started - time.process_time()


def read(data_dir: Path, events: Array, decisions: Array, *, times: int) -> float:
    """Reads a journal several times, compares it once, and returns the best rate, events/s."""
    chunks = [item for item in JournalReader(data_dir) if isinstance(item, Commits)]
    assert b"".join(chunk.events.tobytes() for chunk in chunks) == events.tobytes()
    assert b"".join(chunk.decisions.tobytes() for chunk in chunks) == decisions.tobytes()
    del chunks
    best_s = float("inf")
    for _ in range(times):
        started = time.perf_counter()
        for _chunk in JournalReader(data_dir):
            pass
        best_s = min(best_s, time.perf_counter() - started)
    return len(events) / best_s


def show(results: dict[str, dict[str, Any]]) -> None:
    """Prints the figures."""
    columns = list(next(iter(results.values())))
    table = Table("record x rows in a group", *columns, title="journal")
    for name, figures in results.items():
        table.add_row(name, *(f"{figures[column]:,}" for column in columns))
    Console().print(table)


if __name__ == "__main__":
    raise SystemExit(main())
