"""Reading a journal a step ahead of whoever folds it: unpacking and preparing in one thread, folding in the other.

Both spend their time in kernels that hold no lock, so a second processor, idle while a server starts, takes a quarter off a
recovery. INVARIANTS: what is yielded is what the reader yields, in its order, with its errors at their place; reader, and what
prepares, belong to the thread until the last item was taken; no thread is left behind, however the consumer ends.

Called by `engine.recovery`.
"""

import queue
import sys
import threading
from collections.abc import Callable, Generator
from typing import Final

from riskengine.engine.measuring import Increments
from riskengine.journal.reader import Activated, Commits, JournalReader

DEPTH: Final = 2
"""Chunks that wait: 6 MB each at most."""
SWITCH_S: Final = 0.000_1
"""How long one thread may hold up the other that comes back from a kernel, instead of 5 ms: chunks take about 20 ms."""
_LOOK_S: Final = 0.05

Item = tuple[Commits | Activated, list[Increments], tuple[int, int]]
Prepare = Callable[[Commits], list[Increments]]


def read_ahead(reader: JournalReader, prepare: Prepare) -> Generator[Item, None, None]:
    """Yields what a reader yields, with what was made of it in the meantime.

    Args:
        reader: New; not to be used before this has ended.
        prepare: Called in the thread for commands, in their order; may change what nobody else uses before this has ended.

    Yields:
        An item, what `prepare` returned for it (nothing for an activation), and `JournalReader.progress` behind it.

    Raises:
        JournalCorrupt, StartRefused: As the reader, after all that precedes the damage.
    """
    waiting: queue.Queue[Item | BaseException | None] = queue.Queue(DEPTH)
    given_up = threading.Event()
    thread = threading.Thread(target=_read, args=(reader, prepare, waiting, given_up), name="journal")
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
    prepare: Prepare,
    waiting: "queue.Queue[Item | BaseException | None]",
    given_up: threading.Event,
) -> None:
    """Reads until the end, an error, or until nobody wants any more."""
    try:
        for item in reader:
            prepared = prepare(item) if isinstance(item, Commits) else []
            if not _put(waiting, (item, prepared, reader.progress()), given_up):
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
