"""Columns of the arrays between velocity's plan and its kernels: what to compute, and where what is computed stands.

INVARIANT: plain numbers. Filled by `velocity.plan`, read by `velocity.kernels`, `velocity.inputs.kernels` and `engine`.
"""

from typing import Final

# columns of the features matrix: what an event tells of itself comes first; `plan` gives each its name
COLUMN_AMOUNT: Final = 0
COLUMN_AMOUNT_LOG: Final = 1
COLUMN_MONETARY: Final = 2
COLUMN_HOUR_LOCAL: Final = 3
COLUMN_NIGHT: Final = 4
COLUMN_WEEKEND: Final = 5
COLUMN_CARD_PRESENT: Final = 6
COLUMN_MERCHANT_INITIATED: Final = 7
COLUMN_ACCOUNT_AGE: Final = 8
COLUMN_IP_CARD_MISMATCH: Final = 9
COLUMN_MERCHANT_CARD_MISMATCH: Final = 10
COLUMN_SHIPPING_BILLING_MISMATCH: Final = 11
COLUMN_VERIFICATIONS_FAILED: Final = 12
COLUMN_VERIFICATIONS_PASSED: Final = 13
COLUMN_NUMBERS: Final = 14  # the caller's own numbers, in the order of their declaration

# profiles: one row for each entity type with windows
PROFILE_TYPE: Final = 0  # entity type
PROFILE_INCREMENT: Final = 1  # first column of the increments matrix
PROFILE_MEASURES: Final = 2  # cumulative columns
PROFILE_ROWS_MAX: Final = 3
PROFILE_HORIZON_US: Final = 4  # longest window + delay + lateness: older rows can no longer be asked for
PROFILE_EPSILON_SHIFT: Final = 5  # epsilon = 2**-shift
PROFILE_WINDOW: Final = 6  # first row of windows
PROFILE_WINDOWS: Final = 7
PROFILE_FEATURE: Final = 8  # first row of the features
PROFILE_FEATURES: Final = 9
PROFILE_WORDS: Final = 10

# windows
WINDOW_US: Final = 0
WINDOW_DELAY_US: Final = 1
WINDOW_WORDS: Final = 2

# features
FEATURE_OPERATION: Final = 0
FEATURE_COLUMN: Final = 1  # of the features matrix
FEATURE_WINDOW: Final = 2  # index within the profile's windows
FEATURE_COUNT: Final = 3  # measure that counts the events, relative to the profile
FEATURE_SUM: Final = 4  # measure summed (SUM, MEAN), or of the logarithms
FEATURE_SQUARE: Final = 5  # measure of squared logarithms
FEATURE_SCALE: Final = 6  # answers of SUM and MEAN are divided by this
FEATURE_WORDS: Final = 7

OPERATION_COUNT: Final = 0
OPERATION_SUM: Final = 1
OPERATION_MEAN: Final = 2
OPERATION_STD: Final = 3
OPERATION_ZSCORE: Final = 4
OPERATION_SINCE_LAST: Final = 5

# measures: one row for each column of the increments matrix
MEASURE_CONDITION: Final = 0  # column of the conditions, -1: always
MEASURE_SOURCE: Final = 1  # column of the features matrix, -1: the event itself
MEASURE_TRANSFORM: Final = 2
MEASURE_SCALE: Final = 3  # the source is multiplied by this and rounded
MEASURE_WORDS: Final = 4

TRANSFORM_ONE: Final = 0
TRANSFORM_VALUE: Final = 1
TRANSFORM_LOG: Final = 2
TRANSFORM_LOG_SQUARE: Final = 3

LOG_FRACTION_BITS: Final = 12
"""Logarithms are fixed point with this many fraction bits: squares of those of 2**53 sum for 2**27 events without overflow."""
VALUE_MAX: Final = 2**53
"""Measured values are clamped to this magnitude, so that 1,000 rows of the largest cannot overflow int64."""
STD_FLOOR: Final = 0.125
"""Smallest spread a z-score divides by, in binary orders of magnitude (about 9 %): equal amounts must not make infinity."""
STD_EVENTS_MIN: Final = 2
