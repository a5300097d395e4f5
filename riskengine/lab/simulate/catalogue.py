"""What is sold: merchant categories with their prices and hours, and the clocks of daily life.

INVARIANT: codes are ISO 18245 merchant categories of four digits; prices are medians in euro.

Used by `world` and by the modules that make events.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import numpy as np


class Venue(IntEnum):
    """How a merchant sells."""

    SHOP = 0
    ONLINE = 1
    SUBSCRIPTION = 2


@dataclass(frozen=True, slots=True)
class Category:
    """One kind of merchant.

    Attributes:
        code: ISO 18245.
        venue: How it sells.
        price_eur: Median payment.
        spread: Standard deviation of the logarithm of a payment.
        opens_hour: Local hour, 0 to 23.
        closes_hour: Local hour, 1 to 24.
        weight: Relative share of payments at its venue.
        risky: Whether stolen cards are spent here: goods or value that sell on easily.
    """

    code: str
    venue: Venue
    price_eur: float
    spread: float
    opens_hour: int
    closes_hour: int
    weight: float
    risky: bool = False


CATEGORIES: Final = (
    Category("5411", Venue.SHOP, 28, 0.75, 7, 22, 22),
    Category("5812", Venue.SHOP, 24, 0.60, 11, 24, 10),
    Category("5814", Venue.SHOP, 9.5, 0.45, 7, 24, 10),
    Category("5541", Venue.SHOP, 48, 0.40, 5, 24, 6, True),
    Category("5912", Venue.SHOP, 14, 0.60, 8, 20, 5),
    Category("5651", Venue.SHOP, 55, 0.75, 9, 20, 5),
    Category("5732", Venue.SHOP, 140, 1.00, 10, 20, 2, True),
    Category("4111", Venue.SHOP, 3.2, 0.40, 4, 24, 8),
    Category("4121", Venue.SHOP, 14, 0.50, 0, 24, 3),
    Category("7011", Venue.SHOP, 150, 0.60, 0, 24, 1),
    Category("5944", Venue.SHOP, 190, 0.90, 10, 19, 0.6, True),
    Category("8062", Venue.SHOP, 60, 0.80, 8, 18, 1),
    Category("5499", Venue.SHOP, 4, 0.55, 6, 23, 7),
    Category("5942", Venue.ONLINE, 18, 0.55, 0, 24, 5),
    Category("5732", Venue.ONLINE, 120, 1.00, 0, 24, 5, True),
    Category("5651", Venue.ONLINE, 60, 0.75, 0, 24, 8, True),
    Category("5815", Venue.ONLINE, 7, 0.60, 0, 24, 7),
    Category("5816", Venue.ONLINE, 12, 0.80, 0, 24, 6, True),
    Category("5817", Venue.ONLINE, 22, 0.80, 0, 24, 3, True),
    Category("4511", Venue.ONLINE, 210, 0.70, 0, 24, 2.5, True),
    Category("4722", Venue.ONLINE, 240, 0.80, 0, 24, 1.5, True),
    Category("7995", Venue.ONLINE, 28, 0.95, 0, 24, 2, True),
    Category("5999", Venue.ONLINE, 35, 0.85, 0, 24, 9),
    Category("5812", Venue.ONLINE, 27, 0.45, 10, 24, 8),
    Category("8398", Venue.ONLINE, 12, 0.90, 0, 24, 1.5),
    Category("6051", Venue.ONLINE, 90, 1.00, 0, 24, 1, True),
    Category("4899", Venue.SUBSCRIPTION, 11, 0.30, 0, 24, 6),
    Category("4814", Venue.SUBSCRIPTION, 24, 0.40, 0, 24, 5),
    Category("7997", Venue.SUBSCRIPTION, 30, 0.35, 0, 24, 2),
    Category("6300", Venue.SUBSCRIPTION, 45, 0.50, 0, 24, 2),
    Category("5968", Venue.SUBSCRIPTION, 10, 0.40, 0, 24, 4),
)

CATEGORY_VENUE: Final = np.array([category.venue for category in CATEGORIES])
CATEGORY_WEIGHT: Final = np.array([category.weight for category in CATEGORIES])
CATEGORY_PRICE_LOG: Final = np.log(np.array([category.price_eur for category in CATEGORIES]))
CATEGORY_SPREAD: Final = np.array([category.spread for category in CATEGORIES])
CATEGORY_OPENS_HOUR: Final = np.array([category.opens_hour for category in CATEGORIES])
CATEGORY_CLOSES_HOUR: Final = np.array([category.closes_hour for category in CATEGORIES])
CATEGORY_RISKY: Final = np.array([category.risky for category in CATEGORIES])

# Relative activity in each local hour.
SHOP_HOURS: Final = (1, 0.5, 0.3, 0.2, 0.3, 1, 3, 6, 7, 7, 8, 9, 11, 10, 8, 8, 10, 12, 12, 9, 6, 4, 3, 2)
ONLINE_HOURS: Final = (3, 1.5, 0.8, 0.5, 0.5, 0.8, 2, 4, 5, 6, 6, 6, 7, 7, 6, 6, 6, 7, 8, 10, 12, 12, 9, 6)
WEEKDAY_WEIGHT: Final = (0.92, 0.92, 0.95, 0.98, 1.15, 1.22, 0.86)
"""Monday first."""

ISSUER_CODES: Final = ("00", "51", "05", "54", "61", "14", "82", "59")
"""ISO 8583 answers: approved, insufficient funds, do not honour, expired, limit, no such card, card code, suspected."""
CODE_APPROVED: Final = 0
CODE_FUNDS: Final = 1
CODE_DO_NOT_HONOUR: Final = 2
CODE_NO_CARD: Final = 5
CODE_CARD_CODE: Final = 6
CODE_SUSPECTED: Final = 7
