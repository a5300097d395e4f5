"""Reading a journal a step ahead of whoever folds it: unpacking and remembering in one thread, folding in the other.

Both spend their time in kernels that hold no lock, so a second processor, idle while a server starts, takes a quarter off a
recovery. The ring of recent decisions and what is folded have no array in common, and each is filled in the order of the
journal, so the state is the same as in one thread. INVARIANTS: what is yielded is what the reader yields, in its order, with
its errors at their place; reader and ring belong to the thread until the last item was taken; no thread is left behind,
however the consumer ends.

Called by `engine.recovery`.
"""

import queue
import sys
import threading
from collections.abc import Generator
from typing import Final

from riskengine.engine.recent import RecentDecisions
from riskengine.journal.reader import Activated, Commits, JournalReader

DEPTH: Final = 2
"""Chunks that wait: 4.6 MB each at most."""
SWITCH_S: Final = 0.000_1
"""How long one thread may hold up the other that comes back from a kernel, instead of 5 ms: chunks take about 20 ms."""
_LOOK_S: Final = 0.05

Item = tuple[Commits | Activated, tuple[int, int]]


def read_ahead(reader: JournalReader, recent: RecentDecisions) -> Generator[Item, None, None]:
    """Yields what a reader yields, and remembers its decisions.

    Args:
        reader: New; not to be used before this has ended.
        recent: Of the state that is folded; ahead of it, and not to be used, before this has ended.

    Yields:
        An item and `JournalReader.progress` behind it.

    Raises:
        JournalCorrupt, StartRefused: As the reader, after all that precedes the damage.
    """
    waiting: queue.Queue[Item | BaseException | None] = queue.Queue(DEPTH)
    given_up = threading.Event()
    thread = threading.Thread(target=_read, args=(reader, recent, waiting, given_up), name="journal")
    interval_s = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_S)
    thread.start()
    try:
        while (told := waiting.get()) is not None:
            if isinstance(told, BaseException):
                raise told
            yield told
    finally:
        given_up.set()
        thread.join()
        sys.setswitchinterval(interval_s)


def _read(
    reader: JournalReader,
    recent: RecentDecisions,
    waiting: "queue.Queue[Item | BaseException | None]",
    given_up: threading.Event,
) -> None:
    """Reads until the end, an error, or until nobody wants any more."""
    try:
        for item in reader:
            if isinstance(item, Commits):
                recent.remember(item.events, item.decisions)
            if not _put(waiting, (item, reader.progress()), given_up):
                return
        _put(waiting, None, given_up)
    except BaseException as error:  # noqa: BLE001 it is raised where the items are taken
        _put(waiting, error, given_up)


def _put(
    waiting: "queue.Queue[Item | BaseException | None]", told: Item | BaseException | None, given_up: threading.Event
) -> bool:
    """Hands something over; returns False if nobody wants it any more."""
    while not given_up.is_set():
        try:
            waiting.put(told, timeout=_LOOK_S)
        except queue.Full:
            continue
        return True
    return False
