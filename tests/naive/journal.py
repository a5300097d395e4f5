"""Twins of `riskengine.journal.kernels`: Python integers and bytes, one column at a time.

INVARIANT: written from the proto's comment; nothing of riskengine.journal is used. Called by tests/journal.
"""

from collections.abc import Sequence

Rows = Sequence[Sequence[int]]
Catalogue = Sequence[tuple[int, int, int]]
"""Of each column: default, number, source (an event column, -1 for none, -2 for the sequence)."""

WIDTHS = (0, 1, 2, 4, 8)


def pack_frame(
    events: Rows, decisions: Rows, event_catalogue: Catalogue, decision_catalogue: Catalogue
) -> tuple[bytes, bytes, bytes, bytes]:
    """Returns event directory, event columns, decision directory and decision columns."""
    return *pack_table(events, events, event_catalogue), *pack_table(decisions, events, decision_catalogue)


def unpack_frames(
    frames: Sequence[tuple[int, int, bytes, bytes, bytes, bytes]],
    event_catalogue: Catalogue,
    decision_catalogue: Catalogue,
) -> tuple[list[list[int]], list[list[int]]]:
    """Returns the rows of frames (first sequence, row count and what `pack_frame` returns)."""
    all_events: list[list[int]] = []
    all_decisions: list[list[int]] = []
    for first_sequence, count, event_directory, event_columns, decision_directory, decision_columns in frames:
        events = unpack_table(event_directory, event_columns, [], event_catalogue, count)
        for index, row in enumerate(events):
            row[0] = first_sequence + index
        all_events += events
        all_decisions += unpack_table(decision_directory, decision_columns, events, decision_catalogue, count)
    return all_events, all_decisions


def pack_table(rows: Rows, events: Rows, catalogue: Catalogue) -> tuple[bytes, bytes]:
    """Returns directory and columns of one table."""
    directory, columns = b"", b""
    for position, (default, number, source) in enumerate(catalogue):
        values = [int(row[position]) for row in rows]
        if source == -2 or all(value == default for value in values):
            continue
        if source >= 0 and values == [int(row[source]) for row in events]:
            directory += bytes([number, 5])
            continue
        span = max(values) - min(values)
        if span == 0:
            code, base = 0, values[0]
        elif min(values) == -(2**63) or halves_apart(values):
            code, base = 4, next(word for word in range(len(values) + 1) if word not in values)
        else:
            base = min(values) - 1
            code = next(code for code in (1, 2, 3) if span + 1 < 256 ** WIDTHS[code])
        width = WIDTHS[code]
        base_code = next(c for c in range(5) if base == signed(base, bits=8 * WIDTHS[c]))
        directory += bytes([number, code | base_code << 4]) + base.to_bytes(WIDTHS[base_code], "little", signed=True)
        for value in values if width else ():
            stored = (value ^ base) % 2**64 if width == 8 else value - base
            columns += stored.to_bytes(width, "little")
    return directory, columns


def halves_apart(values: Sequence[int]) -> bool:
    """Tells whether the halves of the extremes are too far apart for 4 bytes, as the kernel compares them."""
    return (max(values) >> 1) - (min(values) >> 1) >= 2**31 - 1


def unpack_table(directory: bytes, columns: bytes, events: Rows, catalogue: Catalogue, count: int) -> list[list[int]]:
    """Returns the rows of one table."""
    rows = [[default for default, _, _ in catalogue] for _ in range(count)]
    position_of = {number: position for position, (_, number, _) in enumerate(catalogue)}
    while directory:
        position = position_of[directory[0]]
        code, base_width = directory[1] & 15, WIDTHS[directory[1] >> 4]
        base = int.from_bytes(directory[2 : 2 + base_width], "little", signed=True)
        directory = directory[2 + base_width :]
        if code == 5:
            for row, event in zip(rows, events, strict=True):
                row[position] = int(event[catalogue[position][2]])
            continue
        for row in rows:
            stored, columns = int.from_bytes(columns[: WIDTHS[code]], "little"), columns[WIDTHS[code] :]
            row[position] = signed(stored ^ base) if code == 4 else base + stored
    assert not columns
    return rows


def signed(number: int, *, bits: int = 64) -> int:
    """Returns the two's complement number that the low bits of a number are."""
    number %= 2**bits
    return number - 2**bits if 2 * number >= 2**bits and bits else number
