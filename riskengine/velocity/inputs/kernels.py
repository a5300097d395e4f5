"""Kernels of what velocity takes in: features of the event alone, and what each event adds to each measure.

INVARIANTS: stateless, row by row; increments are int64, and the logarithm among them is integer arithmetic, so they are the same
on any CPU. Columns are named by `velocity.layout`, as in the plan. Called by `engine.pipeline`.
"""

import numpy as np

from riskengine.enums import MONETARY_TYPE_LAST, EntryMode, Initiation, VerificationResult
from riskengine.jit import kernel
from riskengine.types import EVENT_WORD, MISSING, US_PER_DAY
from riskengine.velocity.layout import (
    COLUMN_ACCOUNT_AGE,
    COLUMN_AMOUNT,
    COLUMN_AMOUNT_LOG,
    COLUMN_CARD_PRESENT,
    COLUMN_HOUR_LOCAL,
    COLUMN_IP_CARD_MISMATCH,
    COLUMN_MERCHANT_CARD_MISMATCH,
    COLUMN_MERCHANT_INITIATED,
    COLUMN_MONETARY,
    COLUMN_NIGHT,
    COLUMN_NUMBERS,
    COLUMN_SHIPPING_BILLING_MISMATCH,
    COLUMN_VERIFICATIONS_FAILED,
    COLUMN_VERIFICATIONS_PASSED,
    COLUMN_WEEKEND,
    HOUR_SINES,
    LOG_FRACTION_BITS,
    MEASURE_CONDITION,
    MEASURE_SCALE,
    MEASURE_SOURCE,
    MEASURE_TRANSFORM,
    MINUTES_PER_DAY,
    TRANSFORM_COS,
    TRANSFORM_LOG,
    TRANSFORM_LOG_SQUARE,
    TRANSFORM_MAX,
    TRANSFORM_MIN,
    TRANSFORM_ONE,
    TRANSFORM_SIN,
    VALUE_MAX,
)

_SINES = np.array(HOUR_SINES, np.int64)
_AMOUNT = EVENT_WORD["amount_base_minor"]
_TYPE = EVENT_WORD["transaction_type"]
_TIME = EVENT_WORD["event_time_us"]
_OFFSET = EVENT_WORD["utc_offset_minutes"]
_ENTRY_MODE = EVENT_WORD["entry_mode"]
_INITIATION = EVENT_WORD["initiation"]
_OPENED = EVENT_WORD["account_open_time_us"]
_VERIFIED = EVENT_WORD["verified_address"]
_CARD_REGION = EVENT_WORD["card_region"]
_IP_REGION = EVENT_WORD["ip_region"]
_MERCHANT_REGION = EVENT_WORD["merchant_region"]
_BILLING_REGION = EVENT_WORD["billing_region"]
_SHIPPING_REGION = EVENT_WORD["shipping_region"]
_NUMBER = EVENT_WORD["number_0"]
_VERIFICATIONS = 6
_MAGSTRIPE = int(EntryMode.MAGSTRIPE)
_MERCHANT_STARTED = int(Initiation.MERCHANT_RECURRING)
_PASSED = int(VerificationResult.PASSED)
_FAILED = int(VerificationResult.FAILED)
_MONETARY_LAST = int(MONETARY_TYPE_LAST)
_US_PER_HOUR = 3_600_000_000
_EPOCH_WEEKDAY = 3  # 1970-01-01 was a Thursday; Monday is 0
_SATURDAY = 5


@kernel(inline=True)
def _put(features, valid, row, column, value):
    features[row, column] = value
    valid[row, column] = 1


@kernel(inline=True)
def _put_mismatch(events, features, valid, row, column, one, other):
    if events[row, one] != 0 and events[row, other] != 0:
        _put(features, valid, row, column, 1.0 if events[row, one] != events[row, other] else 0.0)


@kernel()
def log2_fixed(value):
    """Returns floor(log2(1 + value) * 2**LOG_FRACTION_BITS) for value >= 0, by integer squaring: the same on any CPU.

    Source: the digit-by-digit binary logarithm (Clay S. Turner, IEEE Signal Processing Magazine, 2010), on a 30-bit mantissa.
    """
    number = value + np.int64(1)
    exponent = np.int64(0)
    while (number >> (exponent + 1)) > 0:
        exponent += 1
    mantissa = number << (30 - exponent) if exponent <= 30 else number >> (exponent - 30)
    result = exponent << LOG_FRACTION_BITS
    for bit in range(LOG_FRACTION_BITS - 1, -1, -1):
        mantissa = (mantissa * mantissa) >> 30
        if mantissa >= (np.int64(1) << 31):
            mantissa >>= 1
            result |= np.int64(1) << bit
    return result


@kernel("int64(int64[:,::1], int64[::1], float64[:,::1], uint8[:,::1])")
def event_features(events, numbers, features, valid):
    """Writes the features of the event alone into the first columns; all others are missing from here on.

    Args:
        events: int64[n, EVENT_WORDS], rows of EVENT as words.
        numbers: int64[k], slots of the caller's declared numbers.
        features: float64[n, F], written where present.
        valid: uint8[n, F], all of it written: 1 where present.

    Returns:
        The number of rows.
    """
    floats = events.view(np.float64)
    for row in range(len(events)):
        for column in range(valid.shape[1]):
            valid[row, column] = 0
        amount = events[row, _AMOUNT]
        if amount != MISSING:
            _put(features, valid, row, COLUMN_AMOUNT, float(amount))
            _put(features, valid, row, COLUMN_AMOUNT_LOG, log2_fixed(amount) / float(1 << LOG_FRACTION_BITS))
        if events[row, _TYPE] != 0:
            _put(features, valid, row, COLUMN_MONETARY, 1.0 if events[row, _TYPE] <= _MONETARY_LAST else 0.0)
        if events[row, _OFFSET] != MISSING:
            local = events[row, _TIME] + events[row, _OFFSET] * 60_000_000
            in_day = local % US_PER_DAY
            _put(features, valid, row, COLUMN_HOUR_LOCAL, in_day / float(_US_PER_HOUR))
            _put(features, valid, row, COLUMN_NIGHT, 1.0 if in_day < 6 * _US_PER_HOUR else 0.0)
            weekday = (local // US_PER_DAY + _EPOCH_WEEKDAY) % 7
            _put(features, valid, row, COLUMN_WEEKEND, 1.0 if weekday >= _SATURDAY else 0.0)
        if events[row, _ENTRY_MODE] != 0:
            _put(features, valid, row, COLUMN_CARD_PRESENT, 1.0 if events[row, _ENTRY_MODE] <= _MAGSTRIPE else 0.0)
        if events[row, _INITIATION] != 0:
            merchant_initiated = 1.0 if events[row, _INITIATION] >= _MERCHANT_STARTED else 0.0
            _put(features, valid, row, COLUMN_MERCHANT_INITIATED, merchant_initiated)
        if events[row, _OPENED] != MISSING:
            age_us = max(events[row, _TIME] - events[row, _OPENED], 0)
            _put(features, valid, row, COLUMN_ACCOUNT_AGE, age_us / float(US_PER_DAY))
        _put_mismatch(events, features, valid, row, COLUMN_IP_CARD_MISMATCH, _IP_REGION, _CARD_REGION)
        _put_mismatch(events, features, valid, row, COLUMN_MERCHANT_CARD_MISMATCH, _MERCHANT_REGION, _CARD_REGION)
        _put_mismatch(events, features, valid, row, COLUMN_SHIPPING_BILLING_MISMATCH, _SHIPPING_REGION, _BILLING_REGION)
        failed = 0.0
        passed = 0.0
        for method in range(_VERIFICATIONS):
            failed += 1.0 if events[row, _VERIFIED + method] == _FAILED else 0.0
            passed += 1.0 if events[row, _VERIFIED + method] == _PASSED else 0.0
        _put(features, valid, row, COLUMN_VERIFICATIONS_FAILED, failed)
        _put(features, valid, row, COLUMN_VERIFICATIONS_PASSED, passed)
        for index in range(len(numbers)):
            number = floats[row, _NUMBER + numbers[index]]
            if not np.isnan(number):
                _put(features, valid, row, COLUMN_NUMBERS + index, number)
    return len(events)


@kernel("int64(int64[:,::1], float64[:,::1], uint8[:,::1], float64[:,::1], uint8[:,::1], int64[:,::1])")
def increments(measures, features, valid, conditions, conditions_valid, out):
    """Computes what each event adds to each measure: 0 where its condition is false or missing, MISSING to an extreme.

    Args:
        measures: int64[M, MEASURE_WORDS], see `layout`.
        features: float64[n, F], with event features filled.
        valid: uint8[n, F].
        conditions: float64[n, K], 1.0 where a condition holds.
        conditions_valid: uint8[n, K].
        out: int64[n, M], written.

    Returns:
        The number of rows.
    """
    for row in range(len(features)):
        for measure in range(len(measures)):
            transform = measures[measure, MEASURE_TRANSFORM]
            extreme = transform == TRANSFORM_MAX or transform == TRANSFORM_MIN
            out[row, measure] = MISSING if extreme else 0
            condition = measures[measure, MEASURE_CONDITION]
            if condition >= 0 and (conditions_valid[row, condition] == 0 or conditions[row, condition] == 0.0):
                continue
            source = measures[measure, MEASURE_SOURCE]
            if source >= 0 and valid[row, source] == 0:
                continue
            if transform == TRANSFORM_ONE:
                out[row, measure] = 1
                continue
            if transform == TRANSFORM_SIN or transform == TRANSFORM_COS:
                quarter = MINUTES_PER_DAY // 4 if transform == TRANSFORM_COS else 0
                out[row, measure] = _SINES[(np.int64(features[row, source] * 60.0) + quarter) % MINUTES_PER_DAY]
                continue
            scaled = np.rint(features[row, source] * measures[measure, MEASURE_SCALE])
            value = np.int64(min(max(scaled, -float(VALUE_MAX)), float(VALUE_MAX)))
            if transform == TRANSFORM_LOG or transform == TRANSFORM_LOG_SQUARE:
                value = log2_fixed(max(value, np.int64(0)))
                if transform == TRANSFORM_LOG_SQUARE:
                    value = value * value
            out[row, measure] = -value if transform == TRANSFORM_MIN else value
    return len(features)
