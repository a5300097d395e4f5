"""The parts of features.yaml that velocity understands.

INVARIANT: a model here checks the shape only; `engine.declaration` checks names and what refers to something else.
Called by `velocity.plan`, `velocity.distinct` and `engine.features`.
"""

import re
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from riskengine.types import US_PER_DAY, US_PER_SECOND
from riskengine.yamlfile import pattern

_UNITS_US: Final = {"s": US_PER_SECOND, "m": 60 * US_PER_SECOND, "h": 3600 * US_PER_SECOND, "d": US_PER_DAY}
_WINDOW: Final = re.compile(r"([1-9][0-9]{0,4})([smhd])")
WINDOW_US_MAX: Final = 90 * US_PER_DAY


def window_us(text: str) -> int:
    """Turns a window such as ``10m``, ``24h`` or ``7d`` into microseconds.

    Raises:
        ValueError: It is not a number and a unit, or longer than 90 days.
    """
    match = _WINDOW.fullmatch(text)
    if match is None:
        raise ValueError("a window is a whole number and one of s, m, h, d, for example 10m, 24h or 7d")
    window = int(match[1]) * _UNITS_US[match[2]]
    if window > WINDOW_US_MAX:
        raise ValueError("a window is at most 90d")
    return window


def _checked(text: str) -> str:
    window_us(text)
    return text


Window = Annotated[str, AfterValidator(_checked)]
Windows = Annotated[list[Window], Field(max_length=16)]


def ratio_windows(text: str) -> tuple[str, str]:
    """Splits a ratio such as ``1h/30d`` into its short and its long window.

    Raises:
        ValueError: They are not two windows, the first one shorter.
    """
    short, slash, long = text.partition("/")
    if not slash or window_us(short) >= window_us(long):
        raise ValueError("a ratio is a short and a long window, for example 1h/30d")
    return short, long


def _checked_ratio(text: str) -> str:
    ratio_windows(text)
    return text


Ratios = Annotated[list[Annotated[str, AfterValidator(_checked_ratio)]], Field(max_length=16)]
Name = Annotated[
    str, Field(pattern=pattern(r"^[a-z][a-z0-9_]{0,31}$", "must be lower_snake_case, at most 32 characters"))
]


Region = Literal["card_region", "ip_region", "merchant_region", "payee_region", "billing_region", "shipping_region"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Measure(_Strict):
    """What a profile adds up, and which answers are asked of it."""

    of: str | None = None
    """Feature of the event that is measured, e.g. txn.amount. None: the events themselves are counted."""
    when: str | None = None
    """CEL condition over the event; the event counts only where it is true. None: always."""
    delay: Window | None = None
    """Shifts every window of this measure back, for labels that come late: (t-delay-w, t-delay]."""
    count: Windows = []
    """Windows in which events are counted, the current one included."""
    sum: Windows = []
    """Windows over which `of` is summed, the current event included."""
    mean: Windows = []
    """Windows over which `of` is averaged, the current event excluded; missing without an earlier event."""
    std: Windows = []
    """Spread of log2(1 + of), the current event excluded; missing with fewer than 2 earlier events."""
    zscore: Windows = []
    """Deviation of the current log2(1 + of) from its mean, in spreads of at least 0.125; missing as std."""
    max: Windows = []
    """Largest `of`, the current event excluded; missing without an earlier event."""
    min: Windows = []
    """Smallest `of`, likewise."""
    hour: Windows = []
    """Habit of the hour of day where the payer is: how far this event is from it, in hours, and its von Mises
    concentration; the current event excluded, missing with fewer than 3 earlier ones."""
    rate: Windows = []
    """Half-lives: events, or what `of` adds up to, halved every so often, the current event included. Exempt from the
    independence of order."""
    ratio: Ratios = []
    """Pairs such as 1h/30d: the rate of events in the short window over that in the long one, the current event included."""
    since_last: bool = False
    """Seconds since the last counted event before this one; missing without one within 30 days."""
    gaps: Annotated[int, Field(ge=0, le=8)] = 0
    """The last so many times between counted events, this one's first, in seconds; missing as since_last."""
    include_current: bool | None = None
    """Whether the current event is a part of this measure's answers. None: of count, sum, rate and ratio it is, of mean,
    std, max, min and hour it is not. A zscore, since_last and gaps never include it."""


class Places(_Strict):
    """Where an entity was."""

    region: Annotated[list[Region], Field(max_length=2)] = []
    """Regions of the event, the first that is told counts: whether it is another one than last time."""
    travel: bool = False
    """Speed from the last position to this one, km/h; missing without two positions."""
    home: Window | None = None
    """Distance from the centroid of earlier positions, km, each of which weighs half after so long."""


class Profile(_Strict):
    """What is kept for one entity type."""

    rows_max: Annotated[int, Field(ge=16, le=1024)] = 1024
    """Rows of the curve; beyond it old rows are thinned."""
    epsilon_shift: Annotated[int, Field(ge=2, le=8)] = 5
    """Thinning keeps every answer within the windows w and w * (1 + 2**-epsilon_shift)."""
    measures: Annotated[dict[Name, Measure], Field(max_length=24)] = {}
    """Measures by name."""
    first_seen: bool = False
    """Seconds since the entity's first event; missing for the first."""
    places: Places = Places()
    """Where the entity was."""
    distinct: dict[str, Windows] = {}
    """Other entity types that are counted, by window, the current event included."""
    new: list[str] = []
    """Other entity types for which it is told whether the pair is new within the retention."""
    members_max: Annotated[int, Field(ge=4, le=512)] = 256
    """Members kept in each last-seen table; counts of more are estimates, and told. docs/distinct.md says how far off."""


class Inputs(_Strict):
    """The caller's own maps: only what is declared here is kept."""

    numbers: Annotated[list[Name], Field(max_length=16)] = []
    """Keys of Transaction.numbers; feature numbers.<key>."""
    labels: Annotated[list[Name], Field(max_length=16)] = []
    """Keys of Transaction.labels; CEL variable labels.<key>."""
