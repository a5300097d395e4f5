"""Payments for the load: one realistic request, and as many different ones as wanted at the price of a format call.

INVARIANT: bodies differ in event time, ids, card and what belongs to it, and merchant; all
have the same length. Called by the modules of `benchmarks.load`.
"""

import itertools
import re
from collections.abc import Callable, Iterator
from typing import Final

from riskengine.clock import SystemClock
from riskengine.v1 import risk_service_pb2 as service
from riskengine.v1 import transaction_pb2 as messages

CARDS: Final = 150_000
MERCHANTS: Final = 499
REFRESH_EVERY: Final = 512
"""Bodies between two looks at the clock."""
# What stands for a number while a payment is serialised, and what becomes of it.
_MARKS: Final[dict[bytes, Callable[[int], bytes]]] = {
    b"999999999999": lambda number: b"%012d" % number,
    b"888888888888": lambda number: b"%012d" % (number % CARDS),
    b"777777777777": lambda number: b"%012d" % (number % MERCHANTS),
    b"8888:8888:8888": lambda number: b"%04d:%04d:0001" % divmod(number % CARDS, 10_000),
}
_NUMBER, _CARD, _MERCHANT, _NETWORK = (mark.decode() for mark in _MARKS)


def payment(number: int) -> service.ScoreTransactionRequest:
    """Builds the payment with this number, now."""
    return service.ScoreTransactionRequest.FromString(next(payments(first=number)))


def payments(first: int = 1) -> Iterator[bytes]:
    """Yields serialised payments without end.

    Args:
        first: Number of the first.
    """
    clock = SystemClock()
    fill: Callable[[int], bytes] = _template(clock.now_us())
    for number in itertools.count(first):
        if number % REFRESH_EVERY == 0:
            fill = _template(clock.now_us())
        yield fill(number)


def _template(now_us: int) -> Callable[[int], bytes]:
    """Serialises a payment whose ids are marks, and returns what puts numbers in their place."""
    raw = _sample(now_us).SerializeToString()
    order = [found.group() for found in re.finditer(b"|".join(_MARKS), raw)]
    form = re.sub(b"|".join(_MARKS), b"%b", raw.replace(b"%", b"%%"))

    def fill(number: int) -> bytes:
        texts = {mark: text(number) for mark, text in _MARKS.items()}
        return form % tuple([texts[mark] for mark in order])

    return fill


def _sample(now_us: int) -> service.ScoreTransactionRequest:
    request = service.ScoreTransactionRequest(request_id=f"3f2b8c1e-5d47-4a9b-8f10-{_NUMBER}")
    transaction = request.transaction
    transaction.transaction_id = f"payment-{_NUMBER}"
    transaction.type = messages.TRANSACTION_TYPE_CARD_PAYMENT
    transaction.event_time.FromMicroseconds(now_us)
    transaction.utc_offset_minutes = 60
    transaction.amount_minor = 4_999
    transaction.currency_code = "EUR"
    transaction.channel = messages.CHANNEL_WEB
    transaction.entry_mode = messages.ENTRY_MODE_ONLINE
    transaction.initiation = messages.INITIATION_PAYER
    transaction.verifications.add(
        method=messages.VERIFICATION_METHOD_THREE_D_SECURE, result=messages.VERIFICATION_RESULT_PASSED
    )
    entities = transaction.entities
    entities.account_id = f"account-{_CARD}"
    entities.card_id = f"card-{_CARD}"
    entities.card_bin = "411111"
    entities.device_id = f"device-{_CARD}"
    entities.ip_address = f"2001:db8:{_NETWORK}::1"
    entities.email_address = f"someone-{_CARD}@example.com"
    entities.phone_number = f"+49{_CARD}"
    entities.merchant_id = f"merchant-{_MERCHANT}"
    transaction.merchant_category_code = "5732"
    transaction.regions.card_region_code = "DE"
    transaction.regions.ip_region_code = "DE"
    transaction.regions.merchant_region_code = "FR"
    return request
