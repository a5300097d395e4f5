"""Plain versions of velocity's kernels: what a feature of the event and an increment are, written as one would say them."""

import math

import numpy as np

from riskengine.enums import MONETARY_TYPE_LAST, EntryMode, Initiation, VerificationMethod, VerificationResult
from riskengine.types import MISSING, US_PER_DAY
from riskengine.velocity import layout

HOUR_US = 3_600_000_000


def log2_fixed(value: int) -> int:
    """Returns floor(log2(1 + value) * 4096) by exact integers: the largest r with 2**(r / 4096) <= 1 + value."""
    number = value + 1
    result = number.bit_length() - 1
    mantissa = number << (30 - result) if result <= 30 else number >> (result - 30)
    for _ in range(layout.LOG_FRACTION_BITS):
        mantissa = mantissa * mantissa >> 30
        result = result * 2 + (mantissa >> 31)
        mantissa >>= mantissa >> 31
    return result


def _mismatch(one: int, other: int) -> float | None:
    return None if one == 0 or other == 0 else float(one != other)


def event_features(events: np.ndarray, number_count: int) -> list[dict[str, float]]:
    """Returns the features of each event by name, without the missing ones; the number of slot i is ``numbers.i``."""
    told = []
    for event in events:
        amount = None if event["amount_base_minor"] == MISSING else int(event["amount_base_minor"])
        local = None
        if event["utc_offset_minutes"] != MISSING:
            local = int(event["event_time_us"]) + int(event["utc_offset_minutes"]) * 60_000_000
        opened = int(event["account_open_time_us"])
        results = [int(event[f"verified_{method.name.lower()}"]) for method in VerificationMethod]
        kind, mode, initiation = event["transaction_type"], event["entry_mode"], event["initiation"]
        row: dict[str, float | None] = {
            "txn.amount": None if amount is None else float(amount),
            "txn.amount_log": None if amount is None else log2_fixed(amount) / 4096,
            "txn.monetary": None if kind == 0 else float(kind <= MONETARY_TYPE_LAST),
            "txn.hour_local": None if local is None else local % US_PER_DAY / HOUR_US,
            "txn.night": None if local is None else float(local % US_PER_DAY < 6 * HOUR_US),
            "txn.weekend": None if local is None else float((local // US_PER_DAY + 3) % 7 >= 5),
            "txn.card_present": None if mode == 0 else float(mode <= EntryMode.MAGSTRIPE),
            "txn.merchant_initiated": None if initiation == 0 else float(initiation >= Initiation.MERCHANT_RECURRING),
            "txn.account_age_days": (
                None if opened == MISSING else max(int(event["event_time_us"]) - opened, 0) / US_PER_DAY
            ),
            "txn.ip_card_region_mismatch": _mismatch(event["ip_region"], event["card_region"]),
            "txn.merchant_card_region_mismatch": _mismatch(event["merchant_region"], event["card_region"]),
            "txn.shipping_billing_region_mismatch": _mismatch(event["shipping_region"], event["billing_region"]),
            "txn.verification_failed_count": float(results.count(VerificationResult.FAILED)),
            "txn.verification_passed_count": float(results.count(VerificationResult.PASSED)),
        }
        for slot in range(number_count):
            number = float(event[f"number_{slot}"])
            row[f"numbers.{slot}"] = None if math.isnan(number) else number
        told.append({name: value for name, value in row.items() if value is not None})
    return told


def increments(
    measures: np.ndarray,
    features: np.ndarray,
    valid: np.ndarray,
    conditions: np.ndarray,
    conditions_valid: np.ndarray,
) -> np.ndarray:
    """Returns what each event adds to each measure."""
    out = np.zeros((len(features), len(measures)), np.int64)
    for row in range(len(features)):
        for index, (condition, source, transform, scale) in enumerate(measures.tolist()):
            if condition >= 0 and not (conditions_valid[row, condition] and conditions[row, condition]):
                continue
            if source >= 0 and not valid[row, source]:
                continue
            value = 1
            if transform != layout.TRANSFORM_ONE:
                bound = float(layout.VALUE_MAX)
                value = int(np.rint(min(max(features[row, source] * scale, -bound), bound)))
            if transform in (layout.TRANSFORM_LOG, layout.TRANSFORM_LOG_SQUARE):
                value = log2_fixed(max(value, 0))
            if transform == layout.TRANSFORM_LOG_SQUARE:
                value *= value
            out[row, index] = value
    return out
