"""Memory is made ready a little before it is needed, by another thread.

The first touch of a page that the system must find and clear takes half a millisecond, and now and then a hundred where it has to
make room for a large page first. One event of new entities would meet such a page in every table at once. Slots are looked up
at random, so all of them are made ready at the beginning; heads and slabs are taken in order, so only the next few pages are.

INVARIANTS: no word is written by the other thread: the system is asked to make the pages ready as they are, so no state changes
and nothing has to be locked. Where it cannot be asked, a page is met when it is needed, as ever. Called by `engine.pipeline`.
"""

import ctypes
import functools
import mmap
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final

import numpy.typing as npt

from riskengine.tables import layout
from riskengine.tables.store import Store

PAGE_BYTES: Final = 2 << 20
"""Of the largest pages that a system gives by itself; what is asked for at once, for the system lets nobody else in meanwhile."""
_POPULATE_WRITE: Final = 23
"""MADV_POPULATE_WRITE of Linux 5.14 and later."""
HEADS_AHEAD_BYTES: Final = 4 << 20
ARENA_AHEAD_BYTES: Final = 32 << 20
LOOK_ROWS: Final = 64
"""Events between two looks: they take a small part of what is ready."""


@functools.cache
def _thread() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix="pages")


@functools.cache
def _madvise() -> Any:
    """Returns the system's call, which lets other threads run meanwhile, or None."""
    call = getattr(ctypes.CDLL(None, use_errno=True), "madvise", None)
    if call is not None:
        call.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    return call


def make_ready(array: npt.NDArray[Any], first: int, end: int) -> None:
    """Asks the system for the memory of a part of an array, a page of PAGE_BYTES after the other.

    Args:
        array: C-contiguous.
        first, end: Bytes of it.
    """
    call = _madvise()
    if call is None or end <= first:
        return
    start = array.ctypes.data
    here = (start + first) & -mmap.PAGESIZE
    stop = start + min(end, array.nbytes)
    while here < stop:
        after = min((here + PAGE_BYTES) & -PAGE_BYTES, stop)
        if call(here, after - here, _POPULATE_WRITE) != 0:
            return
        here = after


class Ahead:
    """Sees to it that the next entities of a store find their memory ready.

    Args:
        store: New, or as it was read from a snapshot.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._row_bytes = store.heads.shape[1] * store.heads.itemsize
        self._types = [index for index, row in enumerate(store.types) if row[layout.TYPE_RETENTION_US]]
        self._ready = dict.fromkeys(self._types, 0)
        self._arena_ready = 0
        self._left = 0
        self._asked: Future[None] | None = None
        for slots in (store.slot_tags, store.slot_entities):
            make_ready(slots, 0, slots.nbytes)
        for array, first, end in self._wanted():
            make_ready(array, first, end)

    def touch(self, rows: int) -> None:
        """Asks for what the next events may need; to be called before each batch.

        Args:
            rows: Of the batch.
        """
        self._left -= rows
        if self._left > 0 or (self._asked is not None and not self._asked.done()):
            return
        self._left = LOOK_ROWS
        wanted = self._wanted()
        if wanted:
            self._asked = _thread().submit(_make_all_ready, wanted)

    def _wanted(self) -> list[tuple[npt.NDArray[Any], int, int]]:
        """Returns the parts of arrays, in bytes, to be asked for now; each at least a page, or the rest."""
        heads, arena = self._store.heads, self._store.arena
        wanted: list[tuple[npt.NDArray[Any], int, int]] = []
        for index in self._types:
            row = self._store.types[index]
            base = int(row[layout.TYPE_ENTITY_BASE])
            used = (base + int(row[layout.TYPE_USED])) * self._row_bytes
            last = (base + int(row[layout.TYPE_ENTITIES_MAX])) * self._row_bytes
            first, end = max(self._ready[index], used), min(used + HEADS_AHEAD_BYTES, last)
            if end - first >= min(PAGE_BYTES, last - first) > 0:
                wanted.append((heads, first, end))
                self._ready[index] = end
        used = int(self._store.counters[layout.COUNTER_ARENA_NEXT]) * arena.itemsize
        first, end = max(self._arena_ready, used), min(used + ARENA_AHEAD_BYTES, arena.nbytes)
        if end - first >= min(PAGE_BYTES, arena.nbytes - first) > 0:
            wanted.append((arena, first, end))
            self._arena_ready = end
        return wanted


def _make_all_ready(wanted: list[tuple[npt.NDArray[Any], int, int]]) -> None:
    for array, first, end in wanted:
        make_ready(array, first, end)
