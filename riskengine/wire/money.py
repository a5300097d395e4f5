"""Amounts of many currencies in minor units of one, exactly.

A rate from the configuration is a decimal number; together with the minor units of both currencies (ISO 4217) it
becomes one fraction of integers, and a conversion is one integer multiplication and division, rounded half to even. No
float.

INVARIANTS: the same amount and rate give the same integer everywhere, one at a time (`Rate.convert`) or by column
(`Rate.convert_column`); an amount within `AMOUNT_MINOR_MAX` never leaves int64, since rates that could are refused.

Called by `wire.door` for each payment and by `lab` for histories.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from difflib import get_close_matches
from fractions import Fraction
from typing import Final

import numpy as np
import numpy.typing as npt

from riskengine.types import MISSING

AMOUNT_MINOR_MAX: Final = 1_000_000_000_000
"""The largest amount a request may carry, minor units of its own currency."""
INT64_MAX: Final = 2**63 - 1
RATE_DIGITS_MAX: Final = 18
"""Significant digits of a rate."""

_TWO: Final = """
AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF CHE CHF CHW CNY
COP COU CRC CUC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HRK HTG HUF IDR ILS
INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD
NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SLL SOS SRD SSP STN SVC SYP
SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD USN UYU UZS VED VES WST XCD XCG YER ZAR ZMW ZWG ZWL
"""
_EXPONENTS: Final = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
    2: _TWO,
    3: "BHD IQD JOD KWD LYD OMR TND",
    4: "CLF UYW",
}
MINOR_UNIT_EXPONENTS: Final[Mapping[str, int]] = {
    code: exponent for exponent, codes in _EXPONENTS.items() for code in codes.split()
}
"""Decimal places of the minor unit by ISO 4217 code. Codes withdrawn since 2022 stay, for histories; metals, testing
codes and units of account have no minor unit and are left out."""


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
    shift = MINOR_UNIT_EXPONENTS[base_currency] - MINOR_UNIT_EXPONENTS[currency]
    fraction = Fraction(units) * Fraction(10) ** shift
    return Rate(fraction.numerator, fraction.denominator)


def rate_problems(*, base_currency: str, rates: Mapping[str, Decimal | str]) -> dict[str, str]:
    """Says what is wrong with configured rates.

    Args:
        base_currency: ISO 4217 code of the base currency.
        rates: Units of the base currency for one unit of each currency; the base itself may be left out.

    Returns:
        A sentence for each currency that cannot be used, by its code; the base currency's stands under its own. Empty
        when all can.
    """
    problems: dict[str, str] = {}
    for currency in (base_currency, *rates):
        if currency not in MINOR_UNIT_EXPONENTS:
            near = get_close_matches(currency, MINOR_UNIT_EXPONENTS, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            problems[currency] = f"{currency} is not an ISO 4217 code with a minor unit{hint}"
    if base_currency in problems:
        return problems
    for currency, rate in rates.items():
        if currency not in problems and (problem := _rate_problem(currency, base_currency, rate)):
            problems[currency] = problem
    return problems


def _rate_problem(currency: str, base_currency: str, rate: Decimal | str) -> str:
    """Says what is wrong with one rate of known currencies; empty when nothing is."""
    try:
        units = Decimal(rate)
    except InvalidOperation:
        return f"the rate of {currency} is not a decimal number"
    if not units.is_finite() or units <= 0:
        return f"the rate of {currency} must be a finite number above 0"
    if currency == base_currency and units != 1:
        return f"the rate of the base currency {currency} must be 1"
    if len(units.as_tuple().digits) > RATE_DIGITS_MAX or not -RATE_DIGITS_MAX <= units.adjusted() <= RATE_DIGITS_MAX:
        return f"the rate of {currency} must have at most {RATE_DIGITS_MAX} digits"
    if rate_between(currency=currency, base_currency=base_currency, units=units).convert(AMOUNT_MINOR_MAX) > INT64_MAX:
        return f"the rate of {currency} is so high that an allowed amount would not fit into 64 bits"
    return ""


def load_rates(*, base_currency: str, rates: Mapping[str, Decimal | str]) -> dict[str, Rate]:
    """Turns configured rates into fractions, the base currency's among them.

    Args:
        base_currency: ISO 4217 code of the base currency.
        rates: Units of the base currency for one unit of each currency.

    Returns:
        Rates by currency code.

    Raises:
        ValueError: Some cannot be used; the message has a line for each. A caller that knows the file asks
            `rate_problems` first.
    """
    problems = rate_problems(base_currency=base_currency, rates=rates)
    if problems:
        raise ValueError("\n".join(problems.values()))
    units = {base_currency: Decimal(1)} | {currency: Decimal(rate) for currency, rate in rates.items()}
    return {
        currency: rate_between(currency=currency, base_currency=base_currency, units=rate)
        for currency, rate in units.items()
    }
