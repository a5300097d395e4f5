"""Columns of the arrays between velocity's plan and its kernels: what to compute, and where what is computed stands.

INVARIANT: plain numbers. Filled by `velocity.plan`, read by `velocity.kernels`, `velocity.inputs.kernels` and `engine`.
"""

import math
from typing import Final

from riskengine.types import US_PER_SECOND

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
PROFILE_SUMS: Final = 2  # cumulative columns of a curve's row
PROFILE_EXTREMES: Final = 3  # columns behind them that hold the largest value of the row's own events
PROFILE_ROWS_MAX: Final = 4
PROFILE_HORIZON_US: Final = 5  # longest window + delay + lateness: older rows can no longer be asked for
PROFILE_EPSILON_SHIFT: Final = 6  # epsilon = 2**-shift
PROFILE_WINDOW: Final = 7  # first row of windows
PROFILE_WINDOWS: Final = 8
PROFILE_FEATURE: Final = 9  # first row of the features; those of no window come first, then those of each window
PROFILE_FEATURES: Final = 10
PROFILE_GAPS: Final = 11  # how many features have no window
PROFILE_WORDS: Final = 12

# windows: those of one delay stand together, the shortest first
WINDOW_US: Final = 0
WINDOW_DELAY_US: Final = 1
WINDOW_FEATURE: Final = 2  # first of its features, relative to the profile
WINDOW_SUMS: Final = 3  # how many of them are counts and sums, which come first
WINDOW_MEANS: Final = 4  # how many are means, which come next
WINDOW_FEATURES: Final = 5  # how many there are in all
WINDOW_WORDS: Final = 6

# features; what counts and sums need stands first, and a row is as long as a cache line
FEATURE_COLUMN: Final = 0  # of the features matrix
FEATURE_SUM: Final = 1  # measure summed (COUNT, SUM, MEAN), of the logarithms, of the sines, or the extreme
FEATURE_OWN: Final = 2  # 1: the event itself is a part of the answer
FEATURE_SCALE: Final = 3  # answers about values are divided by this
FEATURE_COUNT: Final = 4  # measure that counts the events, relative to the profile
FEATURE_SQUARE: Final = 5  # measure of squared logarithms, or of the cosines
FEATURE_OTHER: Final = 6  # RATIO: the long window's index; GAP: which gap, 1 is the newest
FEATURE_OPERATION: Final = 7
FEATURE_WORDS: Final = 8

OPERATION_COUNT: Final = 0
OPERATION_SUM: Final = 1
OPERATION_MEAN: Final = 2
OPERATION_STD: Final = 3
OPERATION_ZSCORE: Final = 4
OPERATION_SINCE_LAST: Final = 5
OPERATION_MAX: Final = 6
OPERATION_MIN: Final = 7
OPERATION_RATIO: Final = 8
OPERATION_HOUR_DEVIATION: Final = 9
OPERATION_HOUR_CONCENTRATION: Final = 10
OPERATION_GAP: Final = 11

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
TRANSFORM_SIN: Final = 4  # of the hour of day, in 2**-HOUR_FRACTION_BITS
TRANSFORM_COS: Final = 5
TRANSFORM_MAX: Final = 6  # the value, or MISSING: adding nothing is not adding 0
TRANSFORM_MIN: Final = 7  # the value's opposite, or MISSING: the least value is the largest opposite

# rates: counts and sums that halve with time, one row each
RATE_TYPE: Final = 0  # entity type
RATE_REGISTER: Final = 1  # of the value within the entity's registers; the next one holds its time
RATE_INCREMENT: Final = 2  # column of the increments matrix
RATE_HALF_LIFE_US: Final = 3
RATE_SHIFT: Final = 4  # fraction bits of the value
RATE_COLUMN: Final = 5  # of the features matrix
RATE_SCALE: Final = 6  # the answer is divided by this
RATE_OWN: Final = 7  # 1: the event itself is a part of the answer
RATE_WORDS: Final = 8

RATE_REGISTERS: Final = 2
RATE_VALUE_MAX: Final = 1 << 44
"""A rate holds no more than this, in its fraction bits; beyond it stays there."""
RATE_COUNT_SHIFT: Final = 20
RATE_VALUE_SHIFT: Final = 4

# places: one row for each entity type that remembers where it was
PLACE_TYPE: Final = 0
PLACE_REGISTER: Final = 1  # first of PLACE_REGISTERS
PLACE_REGION: Final = 2  # word of the event that holds the region, -1: none
PLACE_REGION_ELSE: Final = 3  # the one that is taken where that is empty, -1: none
PLACE_HALF_LIFE_US: Final = 4  # of the weight of a position in the home
PLACE_COLUMN_CHANGED: Final = 5  # columns of the features matrix, -1: not asked for
PLACE_COLUMN_SPEED: Final = 6
PLACE_COLUMN_HOME: Final = 7
PLACE_WORDS: Final = 8

# registers of a place
REGISTER_REGION: Final = 0
REGISTER_REGION_TIME: Final = 1
REGISTER_LATITUDE: Final = 2  # of the newest position, in 1e-7 degrees
REGISTER_LONGITUDE: Final = 3
REGISTER_POSITION_TIME: Final = 4  # 0: no position yet
REGISTER_HOME_LATITUDE: Final = 5  # centroid of the positions, by decayed weight
REGISTER_HOME_LONGITUDE: Final = 6
REGISTER_HOME_WEIGHT: Final = 7  # in 2**-RATE_COUNT_SHIFT events; 0: none
REGISTER_HOME_TIME: Final = 8
PLACE_REGISTERS: Final = 9

DECAY_STEPS: Final = 4096
"""A half-life is so many steps: time within one is carried over, so that many small decays are one large one."""
DECAY_BITS: Final = 28
DECAY_FACTORS: Final = tuple([round(2.0 ** (DECAY_BITS - step / DECAY_STEPS)) for step in range(DECAY_STEPS)])
"""2**(-step / DECAY_STEPS) with DECAY_BITS fraction bits: integers, so that every CPU decays alike."""

HOUR_FRACTION_BITS: Final = 20
MINUTES_PER_DAY: Final = 1440
HOUR_SINES: Final = tuple(
    [
        round(math.sin(2 * math.pi * minute / MINUTES_PER_DAY) * 2**HOUR_FRACTION_BITS)
        for minute in range(MINUTES_PER_DAY)
    ]
)
"""Sine of the hour of day by its minute, fixed point; the cosine is that of six hours later."""
HOUR_EVENTS_MIN: Final = 3
"""Fewer earlier events tell no habit."""
CONCENTRATION_MAX: Final = 1000.0
"""Largest concentration told: events all at the same minute have an infinite one."""
SPEED_TIME_US_MIN: Final = 60 * US_PER_SECOND
"""Shortest time a speed is taken over: two readings of one place a second apart are no journey."""

LOG_FRACTION_BITS: Final = 12
"""Logarithms are fixed point with this many fraction bits: squares of those of 2**53 sum for 2**27 events without overflow."""
VALUE_MAX: Final = 2**53
"""Measured values are clamped to this magnitude."""
SUM_MAX: Final = 1 << 61
"""What a curve adds up to at the most, in either direction; beyond it a sum stays there. It takes 256 of the largest values."""
STD_FLOOR: Final = 0.125
"""Smallest spread a z-score divides by, in binary orders of magnitude (about 9 %): equal amounts must not make infinity."""
STD_EVENTS_MIN: Final = 2
