"""Rows to columns and back: the codings of riskengine.journal.v1.GroupCommit, one call a frame or many frames.

INVARIANTS: a stored value is never 0 (see `format`: long runs of zero bytes would hide damage); sums and differences
never leave int64, whatever the rows hold, so the kernels mean the same with and without compilation. Words are compared
as bits: a float is its int64.

A catalogue is int64[3, columns]: row 0 the column's default, row 1 its number in the journal (1 to 255), row 2 where
its value is already known: the position of the event column of the same name, `SOURCE_NONE`, or `SOURCE_SEQUENCE`.

Called by `codec` only.
"""

import numpy as np

from riskengine.jit import kernel

SOURCE_NONE = -1
SOURCE_SEQUENCE = -2
"""The column is the sequence: first sequence plus the row's index, never stored."""
CODING_COPY = 5
ENTRY_BYTES_MAX = 10
"""Bytes of a directory entry: number, coding, a base of up to 8."""
NARROW_SPAN = 2**32
"""Values from 1 to one less than this fit in 4 bytes."""
INT64_MIN = -(2**63)

ERROR_SEQUENCE = -1
"""`pack_frame`: the sequences are not those of the frame."""


@kernel(inline=True)
def base_code(base):  # type: ignore[no-untyped-def]
    """Returns the code 0 to 4 of the least width of 0, 1, 2, 4, 8 bytes whose two's complement holds `base`, int64."""
    if base == 0:
        return 0
    if -128 <= base <= 127:
        return 1
    if -32768 <= base <= 32767:
        return 2
    if -2147483648 <= base <= 2147483647:
        return 3
    return 4


@kernel(inline=True)
def absent_word(rows, column, low, high):  # type: ignore[no-untyped-def]
    """Finds a word that does not occur in a column, 0 if possible.

    Tags and doubles seldom hold a 0, so the search mostly ends before its first row; a column made of 0, 1, 2 ... and
    a large word costs up to rows squared comparisons, 0.5 ms for 1,024 rows. `low` and `high` are its bounds.
    """
    if low > 0 or high < 0:
        return 0
    count = rows.shape[0]
    for candidate in range(count + 1):
        found = False
        for row in range(count):
            if rows[row, column] == candidate:
                found = True
                break
        if not found:
            return candidate
    return -1  # unreachable: n rows cannot hold n + 1 words


@kernel(inline=True)
def put_values(rows, column, width_code, base, out, at):  # type: ignore[no-untyped-def]
    """Writes one column's values from byte `at` of `out` on and returns the byte after them.

    `width_code` is 0 to 4, for 0, 1, 2, 4, 8 bytes a row; 8-byte words are XORed with `base`, others reduced by it.
    """
    count = rows.shape[0]
    if width_code == 1:
        for row in range(count):
            out[at] = (rows[row, column] - base) & 255
            at += 1
    elif width_code == 2:
        for row in range(count):
            value = rows[row, column] - base
            out[at] = value & 255
            out[at + 1] = (value >> 8) & 255
            at += 2
    elif width_code == 3:
        for row in range(count):
            value = rows[row, column] - base
            out[at] = value & 255
            out[at + 1] = (value >> 8) & 255
            out[at + 2] = (value >> 16) & 255
            out[at + 3] = (value >> 24) & 255
            at += 4
    elif width_code == 4:
        for row in range(count):
            value = rows[row, column] ^ base
            out[at] = value & 255
            out[at + 1] = (value >> 8) & 255
            out[at + 2] = (value >> 16) & 255
            out[at + 3] = (value >> 24) & 255
            out[at + 4] = (value >> 32) & 255
            out[at + 5] = (value >> 40) & 255
            out[at + 6] = (value >> 48) & 255
            out[at + 7] = (value >> 56) & 255
            at += 8
    return at


@kernel(inline=True)
def put_entry(number, coding, base, base_width_code, out, at):  # type: ignore[no-untyped-def]
    """Writes one directory entry from byte `at` of `out` on and returns the byte after it.

    `coding` is a width code or `CODING_COPY`; `base` takes the bytes that `base_width_code` says.
    """
    out[at] = number
    out[at + 1] = coding | (base_width_code << 4)
    at += 2
    width = 0
    if base_width_code > 0:
        width = 1 << (base_width_code - 1)
    for byte in range(width):
        out[at + byte] = (base >> (8 * byte)) & 255
    return at + width


@kernel(inline=True)
def find_bounds(rows, columns, bounds):  # type: ignore[no-untyped-def]
    """Sets bounds[0] and bounds[1] to each column's least and greatest word, in one pass over memory in its order."""
    for column in range(columns):
        bounds[0, column] = rows[0, column]
        bounds[1, column] = rows[0, column]
    for row in range(1, rows.shape[0]):
        for column in range(columns):
            word = rows[row, column]
            bounds[0, column] = min(bounds[0, column], word)
            bounds[1, column] = max(bounds[1, column], word)
    return 0


@kernel(inline=True)
def choose_coding(rows, column, low, high):  # type: ignore[no-untyped-def]
    """Chooses how a column is stored so that no stored value is 0: returns the width's code, 0 to 4, and the base."""
    if low == high:
        return 0, low
    if low == INT64_MIN or (high >> 1) - (low >> 1) >= NARROW_SPAN // 2 - 1:
        return 4, absent_word(rows, column, low, high)
    base = low - 1
    if high - base < 256:
        return 1, base
    if high - base < 65536:
        return 2, base
    return 3, base


@kernel(inline=True)
def pack_table(rows, events, catalogue, bounds, out, directory_at, columns_at):  # type: ignore[no-untyped-def]
    """Packs one table: every column that is not its default in all rows; the arguments are those of `pack_frame`.

    The directory is written from byte `directory_at` of `out` on, the values from `columns_at` on.

    Returns:
        (int64, int64): the bytes after the directory and after the values.
    """
    count = rows.shape[0]
    columns = catalogue.shape[1]
    find_bounds(rows, columns, bounds)
    for column in range(columns):
        low = bounds[0, column]
        high = bounds[1, column]
        number = catalogue[1, column]
        source = catalogue[2, column]
        if (low == high and low == catalogue[0, column]) or source == SOURCE_SEQUENCE:
            continue
        if source >= 0:
            row = 0
            while row < count and rows[row, column] == events[row, source]:
                row += 1
            if row == count:
                directory_at = put_entry(number, CODING_COPY, 0, 0, out, directory_at)
                continue
        width_code, base = choose_coding(rows, column, low, high)
        directory_at = put_entry(number, width_code, base, base_code(base), out, directory_at)
        columns_at = put_values(rows, column, width_code, base, out, columns_at)
    return directory_at, columns_at


@kernel(inline=True)
def put_number(number, message, at):  # type: ignore[no-untyped-def]
    """Writes `number`, from 0 to 2**35 - 1, as protobuf's varint from byte `at` on and returns the byte after it."""
    for _ in range(5):
        if number < 128:
            break
        message[at] = (number & 127) | 128
        number >>= 7
        at += 1
    message[at] = number
    return at + 1


@kernel(inline=True)
def put_field(field, out, start, end, message, at):  # type: ignore[no-untyped-def]
    """Writes out[start:end] as protobuf field `field` of type bytes, if not empty, and returns the byte after it."""
    if end > start:
        message[at] = (field << 3) | 2
        at = put_number(end - start, message, at + 1)
        message[at : at + end - start] = out[start:end]
        at += end - start
    return at


@kernel(
    "int64(int64[:, ::1], int64[:, ::1], int64[:, ::1], int64[:, ::1], int64, int64[:, ::1], uint8[::1], uint8[::1])"
)
def pack_frame(events, decisions, event_catalogue, decision_catalogue, first_sequence, bounds, out, message):  # type: ignore[no-untyped-def]
    """Packs the rows of one group commit into a serialized `GroupCommit`.

    Memory: one pass over all words, one strided pass over each column that is not constant, one copy of what was packed.
    The message is written here because protobuf's own way there takes longer than all the rest for small groups.

    Args:
        events: int64[n, EVENT_WORDS], n >= 1.
        decisions: int64[n, DECISION_WORDS].
        event_catalogue: int64[3, EVENT_WORDS], see the module.
        decision_catalogue: int64[3, DECISION_WORDS].
        first_sequence: Sequence that the first event must have.
        bounds: int64[2, >= EVENT_WORDS and DECISION_WORDS], overwritten.
        out: uint8[>= format.columns_bytes_max(n)], overwritten.
        message: uint8[>= format.body_bytes_max(n)], written.

    Returns:
        Bytes of the message, or `ERROR_SEQUENCE`.
    """
    count = events.shape[0]
    for row in range(count):
        if events[row, 0] != first_sequence + row:
            return ERROR_SEQUENCE
    second = ENTRY_BYTES_MAX * event_catalogue.shape[1]
    third = second + ENTRY_BYTES_MAX * decision_catalogue.shape[1]
    first_end, third_end = pack_table(events, events, event_catalogue, bounds, out, 0, third)
    second_end, end = pack_table(decisions, events, decision_catalogue, bounds, out, second, third_end)
    message[0] = 1 << 3
    at = put_number(count, message, 1)
    at = put_field(2, out, 0, first_end, message, at)
    at = put_field(3, out, third, third_end, message, at)
    at = put_field(4, out, second, second_end, message, at)
    return put_field(5, out, third_end, end, message, at)


@kernel(inline=True)
def get_base(data, at, width):  # type: ignore[no-untyped-def]
    """Reads `width` bytes (0, 1, 2, 4 or 8) of `data` from `at` on as a little-endian two's complement number."""
    if width == 0:
        return np.int64(0)
    value = (np.int64(data[at + width - 1]) ^ 128) - 128
    for byte in range(1, width):
        value = (value << 8) | np.int64(data[at + width - 1 - byte])
    return value


@kernel(inline=True)
def get_half(data, at):  # type: ignore[no-untyped-def]
    """Reads 4 bytes of uint8[:] `data` from `at` on as an unsigned little-endian number; returns int64."""
    return (
        np.int64(data[at])
        | (np.int64(data[at + 1]) << 8)
        | (np.int64(data[at + 2]) << 16)
        | (np.int64(data[at + 3]) << 24)
    )


@kernel(inline=True)
def get_values(data, at, width, base, first_row, count, column, rows):  # type: ignore[no-untyped-def]
    """Reads one column of one frame, the inverse of `put_values`, and returns the byte after its values.

    `width` is 0, 1, 2, 4 or 8 bytes a row; rows[first_row : first_row + count, column] are written.
    """
    rows_end = first_row + count
    if width == 0:
        for row in range(first_row, rows_end):
            rows[row, column] = base
    elif width == 1:
        for row in range(first_row, rows_end):
            rows[row, column] = base + np.int64(data[at])
            at += 1
    elif width == 2:
        for row in range(first_row, rows_end):
            rows[row, column] = base + (np.int64(data[at]) | (np.int64(data[at + 1]) << 8))
            at += 2
    elif width == 4:
        for row in range(first_row, rows_end):
            rows[row, column] = base + get_half(data, at)
            at += 4
    else:
        for row in range(first_row, rows_end):
            rows[row, column] = base ^ (get_half(data, at) | (get_half(data, at + 4) << 32))
            at += 8
    return at


@kernel(inline=True)
def unpack_column(data, entry_at, values_at, ends, positions, catalogue, frame, events, rows):  # type: ignore[no-untyped-def]
    """Unpacks one column of one frame.

    Args:
        data: uint8[:].
        entry_at: First byte of the column's directory entry.
        values_at: First byte of its values.
        ends: (int64, int64): the bytes after the directory and after the values.
        positions: int64[256], from a column's number to its position in `rows`, -1 for numbers unknown here.
        catalogue: int64[3, columns], see the module.
        frame: (int64, int64): first row to write, number of rows.
        events: int64[:, event columns], the rows that copies come from; position as in `rows`.
        rows: int64[:, columns], written.

    Returns:
        (int64, int64): the bytes after the entry and after the values; (-1, -1) when the bytes mean nothing.
    """
    directory_end, columns_end = ends
    first_row, count = frame
    if entry_at + 2 > directory_end:
        return -1, -1
    column = positions[data[entry_at]]
    coding = np.int64(data[entry_at + 1]) & 15
    base_width_code = np.int64(data[entry_at + 1]) >> 4
    if column < 0 or coding > CODING_COPY or base_width_code > 4:
        return -1, -1
    base_width = 0
    if base_width_code > 0:
        base_width = 1 << (base_width_code - 1)
    width = 0
    if 0 < coding < CODING_COPY:
        width = 1 << (coding - 1)
    base_at = entry_at + 2
    if base_at + base_width > directory_end or values_at + width * count > columns_end:
        return -1, -1
    if coding == CODING_COPY:
        source = catalogue[2, column]
        if source < 0:
            return -1, -1
        for row in range(first_row, first_row + count):
            rows[row, column] = events[row, source]
        return base_at + base_width, values_at
    base = get_base(data, base_at, base_width)
    values_end = get_values(data, values_at, width, base, first_row, count, column, rows)
    return base_at + base_width, values_end


@kernel(inline=True)
def unpack_table(data, at, ends, positions, catalogue, frame, events, rows):  # type: ignore[no-untyped-def]
    """Unpacks one table of one frame as `unpack_column` does; returns 0, or -1 when the bytes mean nothing."""
    directory_end, columns_end = ends
    first_row, count = frame
    for row in range(first_row, first_row + count):
        for column in range(catalogue.shape[1]):
            rows[row, column] = catalogue[0, column]
    values_at = directory_end
    while 0 <= at < directory_end:
        at, values_at = unpack_column(data, at, values_at, ends, positions, catalogue, frame, events, rows)
    if at != directory_end or values_at != columns_end:
        return -1
    return 0


@kernel(
    "int64(int64[:, ::1], Array(uint8, 1, 'C', readonly=True), int64[:, ::1], int64[:, ::1], int64[:, ::1],"
    " int64[:, ::1], int64[:, ::1])"
)
def unpack_frames(frames, data, positions, event_catalogue, decision_catalogue, events, decisions):  # type: ignore[no-untyped-def]
    """Unpacks the rows of many group commits into one array.

    Args:
        frames: int64[f, 6]: first sequence, row count, then the bytes of the event directory, event columns, decision
            directory and decision columns.
        data: uint8[:]: those four of every frame, one after the other.
        positions: int64[2, 256]: from a number to the position in `events` and in `decisions`, -1 for none.
        event_catalogue: int64[3, EVENT_WORDS], see the module.
        decision_catalogue: int64[3, DECISION_WORDS].
        events: int64[>= sum of row counts, EVENT_WORDS], written.
        decisions: int64[>= sum of row counts, DECISION_WORDS], written.

    Returns:
        Rows written, or -1 - the index of the first frame that means nothing.
    """
    at = 0
    row = 0
    for index in range(frames.shape[0]):
        frame = (row, frames[index, 1])
        ends = (at + frames[index, 2], at + frames[index, 2] + frames[index, 3])
        status = unpack_table(data, at, ends, positions[0], event_catalogue, frame, events, events)
        for offset in range(frames[index, 1]):
            events[row + offset, 0] = frames[index, 0] + offset
        at = ends[1]
        ends = (at + frames[index, 4], at + frames[index, 4] + frames[index, 5])
        status += unpack_table(data, at, ends, positions[1], decision_catalogue, frame, events, decisions)
        if status != 0:
            return -1 - index
        at = ends[1]
        row += frames[index, 1]
    return row
