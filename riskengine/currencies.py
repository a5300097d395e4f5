"""Currencies and their rates as a configuration may name them.

INVARIANT: rates that `rate_problems` lets pass can be used: an amount within `AMOUNT_MINOR_MAX`, converted, fits int64.

Called by `settings`, which tells the place of a bad rate, and by `wire`, which converts (`wire.money`) and checks requests.
"""

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Final

from riskengine.errors import nearest

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


def rate_fraction(*, currency: str, base_currency: str, units: Decimal) -> Fraction:
    """Returns what one minor unit of a currency is worth in minor units of the base currency, exactly.

    Args:
        currency: A code of MINOR_UNIT_EXPONENTS.
        base_currency: Likewise.
        units: Units of the base currency that one unit of `currency` buys, > 0.
    """
    shift = MINOR_UNIT_EXPONENTS[base_currency] - MINOR_UNIT_EXPONENTS[currency]
    return Fraction(units) * Fraction(10) ** shift


def rate_problems(*, base_currency: str, rates: Mapping[str, Decimal | str]) -> dict[str, str]:
    """Says what is wrong with configured rates.

    Args:
        base_currency: ISO 4217 code of the base currency.
        rates: Units of the base currency for one unit of each currency; the base itself may be left out.

    Returns:
        A sentence for each currency that cannot be used, by its code; the base currency's stands under its own. Empty
        when all can.
    """
    problems = {
        currency: f"{currency} is not an ISO 4217 code with a minor unit{nearest(currency, MINOR_UNIT_EXPONENTS)}"
        for currency in (base_currency, *rates)
        if currency not in MINOR_UNIT_EXPONENTS
    }
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
        return f"the rate of {currency}, the base currency, is 1; remove it"
    if len(units.as_tuple().digits) > RATE_DIGITS_MAX or not -RATE_DIGITS_MAX <= units.adjusted() <= RATE_DIGITS_MAX:
        return f"the rate of {currency} must have at most {RATE_DIGITS_MAX} digits"
    fraction = rate_fraction(currency=currency, base_currency=base_currency, units=units)
    if round(AMOUNT_MINOR_MAX * fraction) > INT64_MAX:
        return f"the rate of {currency} is so high that an allowed amount would not fit into 64 bits"
    return ""
