"""Amounts are converted exactly, one at a time and by column alike."""

from decimal import ROUND_HALF_EVEN, Decimal, localcontext

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from riskengine.currencies import AMOUNT_MINOR_MAX, MINOR_UNIT_EXPONENTS, rate_problems
from riskengine.types import MISSING
from riskengine.wire.money import load_rates, rate_between

RATES = st.decimals(min_value=Decimal("0.000001"), max_value=Decimal(9000), places=6)
LONG_RATES = st.decimals(min_value=Decimal("0.000000000001"), max_value=Decimal("0.1"), places=17)
CURRENCIES = st.sampled_from(["EUR", "JPY", "KWD", "CLF", "USD"])


@given(CURRENCIES, CURRENCIES, st.one_of(RATES, LONG_RATES), st.integers(0, AMOUNT_MINOR_MAX))
def test_conversion_is_the_exact_product_rounded_half_to_even(
    currency: str, base: str, units: Decimal, amount: int
) -> None:
    """Goal: no float, no drift. Method: Decimal with enough digits as the oracle."""
    rate = rate_between(currency=currency, base_currency=base, units=units)
    with localcontext() as context:
        context.prec = 80
        exact = Decimal(amount).scaleb(-MINOR_UNIT_EXPONENTS[currency]) * units
        expected = int(exact.scaleb(MINOR_UNIT_EXPONENTS[base]).to_integral_value(ROUND_HALF_EVEN))

    assert expected == rate.convert(amount)


@given(
    CURRENCIES,
    st.one_of(RATES, LONG_RATES),
    st.lists(st.one_of(st.integers(0, AMOUNT_MINOR_MAX), st.just(MISSING), st.integers(-1000, 1000)), max_size=20),
)
def test_column_equals_single_conversions(currency: str, units: Decimal, amounts: list[int]) -> None:
    """Goal: history and live agree to the last unit. Method: the same amounts both ways, MISSING among them."""
    rate = rate_between(currency=currency, base_currency="EUR", units=units)
    expected = [MISSING if amount == MISSING else rate.convert(amount) for amount in amounts]

    assert expected == rate.convert_column(np.array(amounts, np.int64)).tolist()


@pytest.mark.parametrize(("amount", "expected"), [(1, 0), (3, 2), (5, 2), (7, 4), (-1, 0), (-3, -2)])
def test_halves_go_to_the_even_neighbour(amount: int, expected: int) -> None:
    """Goal: no bias. Method: a rate of one half."""
    rate = rate_between(currency="USD", base_currency="EUR", units=Decimal("0.5"))

    assert expected == rate.convert(amount)


def test_minor_units_differ_by_currency() -> None:
    """Goal: 1,000 yen are not 10. Method: currencies of 0, 2, 3 and 4 decimals at rate 1."""
    assert {"JPY": 0, "EUR": 2, "KWD": 3, "CLF": 4} == {
        code: MINOR_UNIT_EXPONENTS[code] for code in ("JPY", "EUR", "KWD", "CLF")
    }
    rates = load_rates(base_currency="EUR", rates={"JPY": "1", "KWD": "1", "CLF": "1"})

    assert [100000, 100, 10] == [rates[code].convert(1000) for code in ("JPY", "KWD", "CLF")]


@pytest.mark.parametrize(
    ("rates", "currency", "words"),
    [
        ({"USD": "abc"}, "USD", "not a decimal"),
        ({"USD": "0"}, "USD", "above 0"),
        ({"USD": "-1"}, "USD", "above 0"),
        ({"USD": "NaN"}, "USD", "above 0"),
        ({"USD": "Infinity"}, "USD", "above 0"),
        ({"EURO": "1"}, "EURO", 'did you mean "EUR"?'),
        ({"EUR": "1.1"}, "EUR", "is 1; remove it"),
        ({"USD": "1" + "1" * 20}, "USD", "digits"),
        ({"USD": "1e12"}, "USD", "64 bits"),
        ({"XAU": "1"}, "XAU", "ISO 4217"),
    ],
)
def test_bad_rate_is_named(rates: dict[str, str], currency: str, words: str) -> None:
    """Goal: a configuration that could overflow or lie is refused. Method: one bad rate each."""
    problems = rate_problems(base_currency="EUR", rates={**rates, "GBP": "1.2"})

    assert [currency] == list(problems)
    assert words in problems[currency]
    with pytest.raises(ValueError, match=currency):
        load_rates(base_currency="EUR", rates=rates)


def test_base_currency_needs_no_rate() -> None:
    """Goal: the shortest configuration works. Method: no rates at all."""
    rates = load_rates(base_currency="SEK", rates={})

    assert 1999 == rates["SEK"].convert(1999)


def test_largest_amount_stays_within_64_bits() -> None:
    """Goal: int64 everywhere. Method: the largest amount at the largest rate that is accepted."""
    rate = load_rates(base_currency="EUR", rates={"USD": "9223372"})["USD"]

    assert rate.convert(AMOUNT_MINOR_MAX) < 2**63
    assert "USD" in rate_problems(base_currency="EUR", rates={"USD": "9223373"})
