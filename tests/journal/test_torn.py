"""Torn frames (F5): what a write left that power loss or a death cut short is dropped and logged, and only that."""

import itertools
import logging
from collections.abc import Iterator

import pytest

from riskengine.errors import JournalCorrupt
from riskengine.journal.reader import verify
from riskengine.journal.writer import read_tail
from tests.journal.damaged import DATA_DIR, Journal

ACTIVATION = 0
"""Instead of a number of rows: the last frame is an activation."""


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Keeps thousands of expected warnings away."""
    with caplog.at_level(logging.ERROR):
        yield


@pytest.mark.parametrize("last_rows", [ACTIVATION, 1, 2])
def test_f5_last_frame_cut_at_any_byte_is_dropped(last_rows: int) -> None:
    """Goal: F5. Method: zero the last frame from each of its bytes on; all earlier frames are there."""
    journal = Journal(last_rows=last_rows)
    name, start, end = journal.frames[-1]
    content = journal.bytes_of(name)
    whole = bytes(content)
    for cut in range(start, end):
        content[cut:end] = bytes(end - cut)
        tail = read_tail(DATA_DIR, disk=journal.disk)
        assert start == tail.offset
        assert len(content[start:cut].rstrip(b"\0")) <= tail.torn_bytes <= end - start
        if cut % 29 == 0:
            assert journal.items[: -journal.last_items] == journal.read()
        content[start:end] = whole[start:end]


@pytest.mark.parametrize("groups", range(3, 9))
def test_f5_any_sectors_of_the_last_frame_may_be_missing(groups: int) -> None:
    """Goal: F5. Method: zero each subset of the frame's chunks, for frames at several places within their sectors."""
    journal = Journal(groups=groups, last_rows=5, segment_bytes=16384)
    name, start, end = journal.frames[-1]
    content = journal.bytes_of(name)
    whole = bytes(content)
    borders = [start, *range((start // 512 + 1) * 512, end, 512), end]
    chunks = list(itertools.pairwise(borders))
    for subset in range(1, 2 ** len(chunks)):
        for index, (first, last) in enumerate(chunks):
            if subset >> index & 1:
                content[first:last] = bytes(last - first)
        assert start == read_tail(DATA_DIR, disk=journal.disk).offset, f"chunks {subset:b} of {chunks}"
        assert journal.items[:-5] == journal.read()
        content[start:end] = whole[start:end]


@pytest.mark.parametrize("groups", range(3, 9))
def test_f5_remains_that_are_being_zeroed_stay_torn(groups: int) -> None:
    """Goal: F5 in F4: a death while a torn frame is overwritten. Method: every subset of chunks, zeroed up to any sector."""
    journal = Journal(groups=groups, last_rows=3, segment_bytes=16384)
    name, start, end = journal.frames[-1]
    content = journal.bytes_of(name)
    whole = bytes(content)
    borders = [start, *range((start // 512 + 1) * 512, end, 512), end]
    chunks = list(itertools.pairwise(borders))
    for subset, zeroed in itertools.product(range(1, 2 ** len(chunks)), range(1, len(chunks))):
        for index, (first, last) in enumerate(chunks):
            if subset >> index & 1 or index < zeroed:
                content[first:last] = bytes(last - first)
        assert start == read_tail(DATA_DIR, disk=journal.disk).offset
        content[start:end] = whole[start:end]


def test_f5_a_file_that_is_cut_at_any_byte_is_corrupt() -> None:
    """Goal: F5: a segment is whole before it has its name. Method: shorten the file to each length within the last frame.

    Elsewhere to each 7th; and a first segment, of which there is a later one, to each 31st.
    """
    journal = Journal()
    _, start, end = journal.frames[-1]
    first, last = journal.names
    for name, lengths in (
        (last, itertools.chain(range(start, end + 1), range(0, 5632, 7))),
        (first, range(0, 5632, 31)),
    ):
        content = journal.bytes_of(name)
        whole = bytes(content)
        for length in lengths:
            content[:] = whole[:length]
            with pytest.raises(JournalCorrupt, match=r"no valid segment header|bytes instead of"):
                read_tail(DATA_DIR, disk=journal.disk)
        content[:] = whole


def test_f5_torn_tail_is_logged_with_file_and_offset(caplog: pytest.LogCaptureFixture) -> None:
    """Goal: nothing is dropped in silence. Method: tear the last frame and read."""
    journal = Journal()
    name, start, end = journal.frames[-1]
    journal.bytes_of(name)[start + 100 : end] = bytes(end - start - 100)
    with caplog.at_level(logging.WARNING):
        summary = verify(DATA_DIR, disk=journal.disk)

    assert [(name, start)] == [record.args[:2] for record in caplog.records if isinstance(record.args, tuple)]
    assert end - start == summary.torn_bytes
    assert len(journal.frames) - 1 == summary.frame_count


def test_f5_damage_before_a_later_segment_is_never_torn() -> None:
    """Goal: only the very last frame may be torn. Method: cut the last frame of the first of two segments, at any byte."""
    journal = Journal()
    name = journal.names[0]
    start, end = journal.frames_of(name)[-1]
    content = journal.bytes_of(name)
    whole = bytes(content)
    for cut in range(start, end):
        content[cut:end] = bytes(end - cut)
        with pytest.raises(JournalCorrupt, match=r"successor|does not follow"):
            journal.read()
        content[start:end] = whole[start:end]
