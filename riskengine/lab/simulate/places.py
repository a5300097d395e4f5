"""Where the simulated world is: regions, their currencies, and cities.

INVARIANTS: `CURRENCY_CODES` are all the currencies that occur, each with two decimals, so a server needs rates for
these and no others. Offsets from UTC are fixed (no summer time): what matters is that each place has its own.

Used by `world`, `moments` and `assemble`.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

CURRENCY_CODES: Final = ("EUR", "GBP", "USD", "TRY", "PLN", "CHF")
"""The currencies of a simulated history; most events are in the first."""
UNITS_PER_EUR: Final = np.array([1.0, 0.85, 1.09, 36.0, 4.3, 0.95])


@dataclass(frozen=True, slots=True)
class Region:
    """A country.

    Attributes:
        code: CLDR region code.
        currency: Index into CURRENCY_CODES.
        calling_code: Digits before a telephone number.
    """

    code: str
    currency: int
    calling_code: str


@dataclass(frozen=True, slots=True)
class City:
    """A place where people live, shop and travel to.

    Attributes:
        name: Used in shipping addresses.
        region: Code of its region.
        latitude_degrees: Of the centre.
        longitude_degrees: Of the centre.
        offset_minutes: From UTC.
        weight: Relative number of residents.
    """

    name: str
    region: str
    latitude_degrees: float
    longitude_degrees: float
    offset_minutes: int
    weight: float


REGIONS: Final = (
    Region("DE", 0, "49"),
    Region("FR", 0, "33"),
    Region("ES", 0, "34"),
    Region("IT", 0, "39"),
    Region("NL", 0, "31"),
    Region("BE", 0, "32"),
    Region("AT", 0, "43"),
    Region("PT", 0, "351"),
    Region("IE", 0, "353"),
    Region("FI", 0, "358"),
    Region("GR", 0, "30"),
    Region("GB", 1, "44"),
    Region("US", 2, "1"),
    Region("TR", 3, "90"),
    Region("PL", 4, "48"),
    Region("CH", 5, "41"),
)
REGION_INDEX: Final = {region.code: index for index, region in enumerate(REGIONS)}

CITIES: Final = (
    City("Berlin", "DE", 52.52, 13.40, 60, 10),
    City("Hamburg", "DE", 53.55, 9.99, 60, 6),
    City("Munich", "DE", 48.14, 11.58, 60, 6),
    City("Cologne", "DE", 50.94, 6.96, 60, 5),
    City("Paris", "FR", 48.86, 2.35, 60, 10),
    City("Lyon", "FR", 45.76, 4.84, 60, 4),
    City("Madrid", "ES", 40.42, -3.70, 60, 7),
    City("Barcelona", "ES", 41.39, 2.17, 60, 5),
    City("Rome", "IT", 41.90, 12.50, 60, 6),
    City("Milan", "IT", 45.46, 9.19, 60, 5),
    City("Amsterdam", "NL", 52.37, 4.90, 60, 5),
    City("Brussels", "BE", 50.85, 4.35, 60, 3),
    City("Vienna", "AT", 48.21, 16.37, 60, 4),
    City("Lisbon", "PT", 38.72, -9.14, 0, 3),
    City("Dublin", "IE", 53.35, -6.26, 0, 2),
    City("Helsinki", "FI", 60.17, 24.94, 120, 2),
    City("Athens", "GR", 37.98, 23.73, 120, 3),
    City("London", "GB", 51.51, -0.13, 0, 6),
    City("Manchester", "GB", 53.48, -2.24, 0, 2),
    City("New York", "US", 40.71, -74.01, -300, 2),
    City("Los Angeles", "US", 34.05, -118.24, -480, 1),
    City("Istanbul", "TR", 41.01, 28.98, 180, 3),
    City("Warsaw", "PL", 52.23, 21.01, 60, 3),
    City("Zurich", "CH", 47.38, 8.54, 60, 2),
)

CITY_REGION: Final = np.array([REGION_INDEX[city.region] for city in CITIES])
CITY_OFFSET_MINUTES: Final = np.array([city.offset_minutes for city in CITIES])
CITY_LATITUDE: Final = np.array([city.latitude_degrees for city in CITIES])
CITY_LONGITUDE: Final = np.array([city.longitude_degrees for city in CITIES])
CITY_SHARE: Final = np.array([city.weight for city in CITIES]) / sum(city.weight for city in CITIES)
REGION_CURRENCY: Final = np.array([region.currency for region in REGIONS])
