"""Source columns to columns of the history, by rule; a value that cannot be read costs its row, never the column.

INVARIANTS: nothing is guessed: text that is not a number, a time or a known name is bad. Amounts go through exact
decimals and are rounded half to even.

Called by `lab.importer`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from riskengine.wire.money import MINOR_UNIT_EXPONENTS

from .history import TIME_TYPE
from .mapping import EPOCH_UNITS_US, ColumnRule, decimal_factor

Flags = npt.NDArray[np.bool_]
_NOT_IN_IDENTIFIERS = r"[^A-Za-z0-9._:@+/=-]"
MILLIONTHS = Decimal(1_000_000)
_AMOUNT = pa.decimal128(19, 9)
"""Ten digits before the point: 1e12 minor units."""


@dataclass(frozen=True, slots=True)
class Converted:
    """A column on its way.

    Attributes:
        values: Of the target's type, null where absent or bad.
        faults: What is wrong, each with bool of shape (rows,) that says where.
    """

    values: pa.Array
    faults: tuple[tuple[str, Flags], ...] = ()


def convert(
    rule: ColumnRule, field: pa.Field, sources: Sequence[pa.Array], row_numbers: npt.NDArray[np.int64]
) -> Converted:
    """Converts one column.

    Args:
        rule: Where it comes from.
        field: Of the history.
        sources: The rule's source columns.
        row_numbers: 1-based numbers of the rows in the source.

    Returns:
        The column. An amount with `minor_units` comes in millionths of a unit, for `to_minor_units`.
    """
    count = len(row_numbers)
    if rule.constant is not None:
        return Converted(_repeat(rule.constant, field.type, count))
    if rule.row_number:
        return Converted(_dressed(rule, pa.array(row_numbers).cast(pa.string())))
    source, unread = _joined(rule, sources) if rule.join else _trimmed(sources[0])
    present = np.asarray(source.is_valid())
    if rule.values is not None:
        values, bad, reason = _from_values(rule, field, source)
    else:
        values, bad, reason = _READERS[_kind(field.type)](rule, field, source)
    if rule.default is not None:
        values = pc.if_else(pa.array(present), values, _repeat(rule.default, field.type, count))
    return Converted(values, (("is not UTF-8 text", unread), (reason, bad & present)))


def to_minor_units(millionths: pa.Array, currencies: pa.Array) -> pa.Array:
    """Scales amounts in millionths of a unit to minor units of each row's currency, rounding half to even.

    Args:
        millionths: int64.
        currencies: ISO 4217 codes; a row without a known one keeps its number, and is refused for its currency.
    """
    values = np.asarray(millionths.fill_null(0))
    exponents = np.array([MINOR_UNIT_EXPONENTS.get(code, 6) for code in currencies.to_pylist()], np.int64)
    step = 10 ** (6 - exponents)
    quotients, remainders = np.divmod(values, step)
    twice = 2 * remainders
    quotients += (twice > step) | ((twice == step) & (quotients & 1 == 1))
    return pa.array(quotients, mask=np.asarray(millionths.is_null()))


def as_text(values: pa.Array) -> tuple[pa.Array, Flags]:
    """Reads any flat column as text; returns it and where it is not (bytes that are not UTF-8)."""
    return cast_each(values, lambda part: part.cast(pa.string()), pa.string())


def cast_each(values: pa.Array, cast: Callable[[pa.Array], pa.Array], type_: pa.DataType) -> tuple[pa.Array, Flags]:
    """Applies a cast that fails as a whole, row by row where it has to: halves until the bad rows are alone.

    Args:
        values: Any array.
        cast: Raises ArrowInvalid when one value is bad.
        type_: Of the result.

    Returns:
        The cast values, null where bad, and where that is.
    """
    bad = np.zeros(len(values), np.bool_)
    parts: list[pa.Array] = []
    stack = [(0, len(values))]
    while stack:
        first, last = stack.pop()
        try:
            parts.append(cast(values.slice(first, last - first)))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, UnicodeDecodeError):
            if last - first == 1:
                bad[first] = True
                parts.append(pa.nulls(1, type_))
            else:
                middle = (first + last) // 2
                stack += [(middle, last), (first, middle)]
    merged = pa.concat_arrays(parts) if parts else pa.nulls(0, type_)
    return merged, bad


def _trimmed(source: pa.Array) -> tuple[pa.Array, Flags]:
    """Reads bytes as text and text without the blanks around it, null where nothing is left; and where bytes are no text."""
    unread = np.zeros(len(source), np.bool_)
    if pa.types.is_binary(source.type):
        source, unread = as_text(source)
    if pa.types.is_string(source.type) or pa.types.is_large_string(source.type):
        source = pc.utf8_trim_whitespace(source)
        source = pc.if_else(pc.equal(source, ""), pa.scalar(None, source.type), source)
    return source, unread


def _joined(rule: ColumnRule, sources: Sequence[pa.Array]) -> tuple[pa.Array, Flags]:
    """Puts the texts of several columns together, passing blank ones over; null where all are blank or one is no text."""
    separator = ", " if rule.separator is None else rule.separator
    unread = np.zeros(len(sources[0]), np.bool_)
    joined = pa.nulls(len(sources[0]), pa.string())
    for source in sources:
        text, bad = as_text(source)
        unread |= bad
        part, _ = _trimmed(text)
        # Two at a time: with null_handling="skip", pyarrow 26 forgets rows in which all are null.
        both = pc.binary_join_element_wise(joined, part, separator)
        joined = pc.coalesce(both, joined, part)
    return pc.if_else(pa.array(unread), pa.scalar(None, pa.string()), joined), unread


def _kind(type_: pa.DataType) -> str:
    if pa.types.is_integer(type_):
        return "integer"
    if pa.types.is_floating(type_):
        return "float"
    if pa.types.is_boolean(type_):
        return "bool"
    return "time" if pa.types.is_timestamp(type_) else "text"


def _repeat(value: Any, type_: pa.DataType, count: int) -> pa.Array:
    """Makes a column of one value."""
    if pa.types.is_timestamp(type_):
        return pa.repeat(_iso(pa.array([value]))[0][0], count)
    return pa.repeat(pa.scalar(value, type_), count)


def _from_values(rule: ColumnRule, field: pa.Field, source: pa.Array) -> tuple[pa.Array, Flags, str]:
    """Looks source values up, as text."""
    assert rule.values is not None, "called for rules with values"
    text, unread = as_text(source)
    found = np.asarray(pc.index_in(text, value_set=pa.array(list(rule.values), pa.string())).fill_null(-1))
    targets = list(rule.values.values())
    if rule.otherwise is not None:
        found = np.where(found < 0, len(targets), found)
        targets.append(rule.otherwise)
    known = found >= 0
    vocabulary = pa.array(targets, field.type)
    values = vocabulary.take(pa.array(np.maximum(found, 0), mask=~known))
    return values, ~known | unread, "is not among the values of the mapping"


def _dressed(rule: ColumnRule, text: pa.Array) -> pa.Array:
    """Cleans and prefixes text."""
    if rule.clean:
        text = pc.replace_substring_regex(text, _NOT_IN_IDENTIFIERS, "_")
    return pc.binary_join_element_wise(rule.prefix, text, "") if rule.prefix else text


def _to_text(rule: ColumnRule, field: pa.Field, source: pa.Array) -> tuple[pa.Array, Flags, str]:
    text, bad = as_text(source)
    return _dressed(rule, text), bad, "is not UTF-8 text"


def _to_integer(rule: ColumnRule, field: pa.Field, source: pa.Array) -> tuple[pa.Array, Flags, str]:
    factor = pa.scalar(MILLIONTHS if rule.minor_units else decimal_factor(rule), pa.decimal128(18, 6))

    def scaled(part: pa.Array) -> pa.Array:
        product = pc.multiply(_decimal(part).cast(_AMOUNT), factor)
        rounded = pc.round(product, ndigits=0, round_mode="half_to_even")
        return rounded.cast(pa.decimal128(38, 0)).cast(field.type)

    if pa.types.is_integer(source.type) and rule.multiply is None and not rule.minor_units:
        values, bad = cast_each(source, lambda part: part.cast(field.type), field.type)
        return values, bad, "is out of range"
    values, bad = cast_each(source, scaled, field.type)
    return values, bad, "is not a number in range"


def _to_float(rule: ColumnRule, field: pa.Field, source: pa.Array) -> tuple[pa.Array, Flags, str]:
    values, bad = cast_each(source, lambda part: part.cast(pa.float64()), pa.float64())
    if rule.multiply is not None:
        values = pc.multiply(values, float(decimal_factor(rule)))
    finite = np.asarray(pc.is_finite(values).fill_null(True))
    return pc.if_else(pa.array(finite), values, pa.scalar(None, pa.float64())), bad | ~finite, "is not a finite number"


def _to_bool(rule: ColumnRule, field: pa.Field, source: pa.Array) -> tuple[pa.Array, Flags, str]:
    if pa.types.is_boolean(source.type):
        return source, np.zeros(len(source), np.bool_), ""
    text, unread = as_text(source)
    lower = pc.utf8_lower(text)
    yes = pc.is_in(lower, value_set=pa.array(["true", "1"]))
    no = pc.is_in(lower, value_set=pa.array(["false", "0"]))
    known = np.asarray(pc.or_(yes, no))
    values = pc.if_else(pa.array(known), yes, pa.scalar(None, pa.bool_()))
    return values, ~known | unread, "is neither true/1 nor false/0; give `values` in the mapping"


def _to_time(rule: ColumnRule, field: pa.Field, source: pa.Array) -> tuple[pa.Array, Flags, str]:
    if pa.types.is_timestamp(source.type) or pa.types.is_date(source.type):
        if pa.types.is_date(source.type) or source.type.tz is None:
            return _zoned(rule, source.cast(pa.timestamp("us"), safe=False)), np.zeros(len(source), np.bool_), ""
        return source.cast(TIME_TYPE, safe=False), np.zeros(len(source), np.bool_), ""
    if rule.format in EPOCH_UNITS_US:
        step = EPOCH_UNITS_US[rule.format]
        whole, bad = cast_each(source, lambda part: _epoch(part, step), pa.int64())
        return whole.cast(TIME_TYPE), bad, f"is not a number of {rule.format}"
    text, unread = as_text(source)
    if rule.format is not None:
        naive = pc.strptime(text, format=rule.format, unit="us", error_is_null=True)
        return _zoned(rule, naive), np.asarray(naive.is_null()) | unread, "is not a time of the format"
    values, bad = _iso(text, rule)
    return values, bad | unread, "is not an ISO 8601 time"


def _decimal(part: pa.Array) -> pa.Array:
    """Reads numbers as decimals of nine places; text may have eighteen, as floats print."""
    if pa.types.is_string(part.type):
        part = pc.round(part.cast(pa.decimal128(38, 18)), ndigits=9, round_mode="half_to_even")
    return part.cast(pa.decimal128(38, 9))


def _epoch(part: pa.Array, step_us: int) -> pa.Array:
    """Reads whole or decimal numbers of seconds, milliseconds or microseconds as microseconds."""
    scaled = pc.multiply(_decimal(part).cast(pa.decimal128(28, 9)), pa.scalar(step_us, pa.decimal128(8, 0)))
    return pc.round(scaled, ndigits=0).cast(pa.decimal128(38, 0)).cast(pa.int64())


def _iso(text: pa.Array, rule: ColumnRule | None = None) -> tuple[pa.Array, Flags]:
    """Reads ISO 8601 times with or without a zone."""
    zoned = np.asarray(pc.match_substring_regex(text, r"[T ].*(Z|[+-]\d\d(:?\d\d)?)$").fill_null(False))
    none = pa.scalar(None, pa.string())
    with_zone, bad_with = cast_each(
        pc.if_else(pa.array(zoned), text, none),
        lambda part: part.cast(pa.timestamp("ns", "UTC")),
        pa.timestamp("ns", "UTC"),
    )
    without, bad_without = cast_each(
        pc.if_else(pa.array(~zoned), text, none), lambda part: part.cast(pa.timestamp("ns")), pa.timestamp("ns")
    )
    naive = without.cast(pa.timestamp("us"), safe=False)
    local = _zoned(rule, naive) if rule else pc.assume_timezone(naive, "UTC")
    merged = pc.if_else(pa.array(zoned), with_zone.cast(TIME_TYPE, safe=False), local.cast(TIME_TYPE))
    return merged, bad_with | bad_without


def _zoned(rule: ColumnRule, naive: pa.Array) -> pa.Array:
    """Gives times without a zone the rule's; of two instants when clocks go back, the earlier."""
    zone = rule.zone or "UTC"
    return pc.assume_timezone(naive, zone, ambiguous="earliest", nonexistent="earliest").cast(TIME_TYPE)


_READERS: dict[str, Callable[[ColumnRule, pa.Field, pa.Array], tuple[pa.Array, Flags, str]]] = {
    "integer": _to_integer,
    "float": _to_float,
    "bool": _to_bool,
    "time": _to_time,
    "text": _to_text,
}
