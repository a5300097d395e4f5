"""Flipped bits and overwritten bytes anywhere in a journal of 64 KiB (F6): told, or harmless as `format` says.

A reader goes through a journal from its beginning and judges each frame by what precedes it, so a flip cannot change
what it says of earlier frames. `Judge` therefore lets the reader begin at the frame, header or end that holds the bit,
which makes all 524,288 flips a matter of seconds; that it says what a reader of the whole journal says is tested for
some flips each time, and for all of them by the test marked slow.
"""

import bisect
import logging
from collections.abc import Iterator

import numpy as np
import pytest

from riskengine.errors import JournalCorrupt
from riskengine.journal.format import SEGMENT_HEADER_BYTES, chain_hash
from riskengine.journal.places import Frame
from riskengine.journal.scan import Scan
from tests.journal.damaged import DATA_DIR, Journal

SEGMENT_BYTES = 16384
JOURNAL_BYTES = 65536
GROUPS = 94
"""Fill four segments of 16 KiB, and leave zeros behind the last frame."""
BITS = 8 * JOURNAL_BYTES
SAMPLE = 1500


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Keeps thousands of expected warnings away."""
    with caplog.at_level(logging.ERROR):
        yield


@pytest.fixture
def journal() -> Journal:
    made = Journal(groups=GROUPS, segment_bytes=SEGMENT_BYTES)
    assert JOURNAL_BYTES == sum(len(made.bytes_of(name)) for name in made.names)
    assert 1000 < SEGMENT_BYTES - made.frames[-1][2] < SEGMENT_BYTES - 3000
    return made


class Judge:
    """Says whether a reader that comes to a byte of a segment tells damage there.

    Args:
        journal: Sound now; damaged while it is asked.
        name: The segment.
    """

    def __init__(self, journal: Journal, name: str) -> None:
        self._journal = journal
        self._name = name
        self._is_last = name == journal.names[-1]
        self._scan = Scan(journal.disk, DATA_DIR)
        frames = list(self._scan.frames())
        mine = [frame for frame in frames if frame.name == name]
        self._before = [None, *mine]
        self._starts = [0, *(frame.offset for frame in mine), mine[-1].offset + mine[-1].size_bytes]
        self._header, head = self._scan._read_header(name)
        content = journal.bytes_of(name)
        self._scan._read = lambda name, offset, size_bytes=None: content[offset:]  # type: ignore[assignment, method-assign, return-value]
        self._at_header = (self._header.first_sequence, chain_hash(head))

    def told(self, position: int) -> bool:
        """Tells whether damage that begins at a byte is told. If not, the journal must end where it did."""
        piece = bisect.bisect_right(self._starts, position) - 1
        if piece == 0:
            return self._journal.tail() is None
        scan = self._scan
        before: Frame | None = self._before[piece - 1]
        scan._header = self._header
        scan._sequence, scan._hash = self._at_header
        if before is not None:
            scan._sequence, scan._hash = before.first_sequence + before.row_count, before.chain_hash
        frames = scan._segment_frames(self._name, self._starts[piece], is_last=self._is_last)
        try:
            passed = list(frames)
        except JournalCorrupt:
            return True
        assert [] == passed, "the damaged frame was taken for sound"
        assert piece == len(self._starts) - 1, "a damaged frame was dropped"
        assert scan.tail is not None
        assert (self._starts[-1], True) == (scan.tail.offset, scan.tail.torn_bytes > 0)
        return False


def flip(content: bytearray, bit: int) -> None:
    content[bit >> 3] ^= 1 << (bit & 7)


def test_f6_every_flipped_bit_is_told_or_harmless(journal: Journal) -> None:
    """Goal: F6, 100 %. Method: flip each of the 524,288 bits; only bits behind the end of the last segment may pass.

    Those that pass are taken for the remains of a torn frame: nothing that was written is dropped.
    """
    passed = asked = 0
    for name in journal.names:
        content, judge = journal.bytes_of(name), Judge(journal, name)
        end = journal.frames_of(name)[-1][1]
        for bit in range(8 * SEGMENT_BYTES):
            flip(content, bit)
            told = judge.told(bit >> 3)
            flip(content, bit)
            asked += 1
            if not told:
                passed += 1
                assert (journal.names[-1], True) == (name, bit >> 3 >= end), f"bit {bit} of {name}"

    assert BITS == asked
    assert passed > 0
    assert journal.items == journal.read()


def test_f6_beginning_at_the_damage_says_what_reading_the_whole_journal_says(journal: Journal) -> None:
    """Goal: the test above proves what it says. Method: flip bits drawn from a seed; compare with `read_tail`."""
    rng = np.random.default_rng(4)
    judges = {name: Judge(journal, name) for name in journal.names}
    answers = set()
    for _ in range(SAMPLE):
        name = journal.names[int(rng.integers(0, 4))]
        bit = int(rng.integers(0, 8 * SEGMENT_BYTES if rng.random() < 0.9 else 8 * SEGMENT_HEADER_BYTES))
        flip(journal.bytes_of(name), bit)
        told = judges[name].told(bit >> 3)
        assert told == (journal.tail() is None)
        answers.add(told)
        flip(journal.bytes_of(name), bit)

    assert {True, False} == answers


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_f6_every_flipped_bit_is_told_or_harmless_to_a_reader_of_the_whole_journal(journal: Journal) -> None:
    """Goal: as above, without any shortcut. Method: read the whole journal after each flip; some ten minutes."""
    for name in journal.names:
        content = journal.bytes_of(name)
        end = journal.frames_of(name)[-1][1]
        for bit in range(8 * SEGMENT_BYTES):
            flip(content, bit)
            tail = journal.tail()
            assert tail is None or (journal.names[-1] == name and bit >> 3 >= end)
            flip(content, bit)


def test_f6_overwritten_bytes_are_told(journal: Journal) -> None:
    """Goal: F6. Method: 8 random bytes anywhere in what was written, 10,000 times."""
    rng = np.random.default_rng(1)
    judges = {name: Judge(journal, name) for name in journal.names}
    for _ in range(10_000):
        name = journal.names[int(rng.integers(0, 4))]
        content = journal.bytes_of(name)
        top = journal.frames[-1][2] if name == journal.names[-1] else SEGMENT_BYTES
        start = int(rng.integers(0, top - 8))
        kept, content[start : start + 8] = content[start : start + 8], rng.bytes(8)
        assert judges[name].told(start)
        content[start : start + 8] = kept
