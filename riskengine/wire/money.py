"""Amounts of many currencies in minor units of one, exactly.

A rate from the configuration is a decimal number; together with the minor units of both currencies (ISO 4217) it
becomes one fraction of integers, and a conversion is one integer multiplication and division, rounded half to even. No
float.

INVARIANTS: the same amount and rate give the same integer everywhere, one at a time (`Rate.convert`) or by column
(`Rate.convert_column`); an amount within `AMOUNT_MINOR_MAX` never leaves int64, since rates that could are
refused (`currencies.rate_problems`).

Called by `wire.door` for each payment and by `lab` for histories.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
import numpy.typing as npt

from riskengine.currencies import AMOUNT_MINOR_MAX, INT64_MAX, MINOR_UNIT_EXPONENTS, rate_fraction, rate_problems
from riskengine.types import MISSING

__all__ = ["AMOUNT_MINOR_MAX", "MINOR_UNIT_EXPONENTS", "Rate", "load_rates", "rate_between"]


@dataclass(frozen=True, slots=True)
class Rate:
    """A currency's rate as a fraction: amount in base minor units = amount_minor * numerator / denominator.

    Attributes:
        numerator: At least 1.
        denominator: At least 1, without a common factor.
    """

    numerator: int
    denominator: int

    def convert(self, amount_minor: int) -> int:
        """Converts one amount, rounding half to even.

        Args:
            amount_minor: In the currency's minor units, -AMOUNT_MINOR_MAX to AMOUNT_MINOR_MAX.

        Returns:
            The amount in base minor units, within int64.
        """
        quotient, remainder = divmod(amount_minor * self.numerator, self.denominator)
        twice = remainder + remainder
        if twice > self.denominator or (twice == self.denominator and quotient & 1):
            return quotient + 1
        return quotient

    def convert_column(self, amounts_minor: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Converts a column with the very results of `convert`; MISSING stays MISSING.

        Args:
            amounts_minor: int64 of shape (rows,), each MISSING or within AMOUNT_MINOR_MAX either side of 0.

        Returns:
            int64 of the same shape.
        """
        missing = amounts_minor == MISSING
        known = np.where(missing, 0, amounts_minor)
        largest = int(np.abs(known).max(initial=0))
        if largest * self.numerator <= INT64_MAX and self.denominator <= INT64_MAX // 2:
            quotients, remainders = np.divmod(known * self.numerator, self.denominator)
            twice = remainders + remainders
            up = (twice > self.denominator) | ((twice == self.denominator) & (quotients & 1 == 1))
            converted = quotients + up
        else:  # Rates of many digits leave int64 on the way: each distinct amount once, in Python's integers.
            distinct, inverse = np.unique(known, return_inverse=True)
            converted = np.array([self.convert(int(amount)) for amount in distinct], np.int64)[inverse]
        return np.where(missing, MISSING, converted)


def rate_between(*, currency: str, base_currency: str, units: Decimal) -> Rate:
    """Builds the fraction for one currency.

    Args:
        currency: A code of MINOR_UNIT_EXPONENTS.
        base_currency: Likewise.
        units: Units of the base currency that one unit of `currency` buys, > 0.

    Returns:
        The rate in lowest terms.
    """
    fraction = rate_fraction(currency=currency, base_currency=base_currency, units=units)
    return Rate(fraction.numerator, fraction.denominator)


def load_rates(*, base_currency: str, rates: Mapping[str, Decimal | str]) -> dict[str, Rate]:
    """Turns configured rates into fractions, the base currency's among them.

    Args:
        base_currency: ISO 4217 code of the base currency.
        rates: Units of the base currency for one unit of each currency.

    Returns:
        Rates by currency code.

    Raises:
        ValueError: Some cannot be used; the message has a line for each. `load_settings` has asked `rate_problems`, so rates
            of server.yaml always can.
    """
    problems = rate_problems(base_currency=base_currency, rates=rates)
    if problems:
        raise ValueError("\n".join(problems.values()))
    units = {base_currency: Decimal(1)} | {currency: Decimal(rate) for currency, rate in rates.items()}
    return {
        currency: rate_between(currency=currency, base_currency=base_currency, units=rate)
        for currency, rate in units.items()
    }
