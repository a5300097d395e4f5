"""What the operator decides: server.yaml as a checked model.

INVARIANTS: nothing here changes a decision that is journaled: what scoring depends on (limits, base currency, rates)
reaches the engine as an activation. Paths are absolute after `load_settings`; relative ones count from the folder of
server.yaml.

Called by `server`, `engine.loop`, `lab` and `cli`.
"""

import re
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Final, Literal, Self

import pydantic
from pydantic import AfterValidator, BeforeValidator, Field

from riskengine.currencies import AMOUNT_MINOR_MAX, MINOR_UNIT_EXPONENTS, rate_problems
from riskengine.errors import ConfigError, Problem
from riskengine.limits import EngineLimits
from riskengine.yamlfile import Document, check, load_file, pattern

_LIMITS: Final = EngineLimits()

FallbackVerdict = Literal["approve", "review", "decline", "error"]
PanField = Literal["account_id", "card_id", "device_id", "merchant_id", "payee_id"]
"""Identifiers that are refused when they are a bare card number."""
Currency = Annotated[
    str, Field(pattern=pattern(r"^[A-Z]{3}$", "must be an ISO 4217 code of three capital letters, such as EUR"))
]


def listen_address(text: str) -> str:
    """Returns an address as it is, ``HOST:PORT``, IPv6 in brackets; raises ValueError when it is none."""
    host, colon, port = text.rpartition(":")
    if not (colon and host and port.isascii() and port.isdigit() and int(port) <= 65_535):
        raise ValueError("must be HOST:PORT, such as 127.0.0.1:50051 or [::]:50051")
    return text


def _rate(text: str) -> str:
    if not re.fullmatch(r"[0-9]{1,12}(\.[0-9]{1,12})?", text) or Decimal(text) <= 0:
        raise ValueError('must be a decimal greater than 0 in quotes, such as "1.0842"')
    return text


def _path(value: object) -> object:
    if isinstance(value, str) and (not value.strip() or "\0" in value):
        raise ValueError("must be a path")
    return value


SettingsPath = Annotated[Path, BeforeValidator(_path)]


class _Strict(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, strict=True)


class LimitSettings(_Strict):
    """Bounds of the engine's memory and work; `riskengine.limits.EngineLimits` says what happens at each."""

    entities_max: int = Field(default=_LIMITS.entities_max, ge=1_000, le=100_000_000)
    """Entities kept for each entity type."""
    arena_mib: int = Field(default=_LIMITS.arena_mib, ge=16, le=1 << 20)
    """Memory for windows and last-seen tables, MiB."""
    recent_decisions_max: int = Field(default=_LIMITS.recent_decisions_max, ge=4_096, le=100_000_000)
    """Decisions kept for idempotency and GetDecision."""
    batch_rows_max: int = Field(default=_LIMITS.batch_rows_max, ge=64, le=4_096)
    """Rows applied and journaled as one group."""
    lateness_max_s: int = Field(default=_LIMITS.lateness_max_s, ge=0, le=86_400)
    """An event older than the newest by more than this is scored but not folded, seconds."""

    def engine_limits(self) -> EngineLimits:
        """Returns the same as the engine takes them."""
        return EngineLimits(**self.model_dump())


class DeadlineSettings(_Strict):
    """How long an answer may take; what does not fit is skipped and told in `degraded_stages`."""

    default_ms: int = Field(default=200, ge=1, le=60_000)
    """For a call that names no deadline, milliseconds."""
    max_ms: int = Field(default=2_000, ge=1, le=60_000)
    """A longer deadline is taken as this one, milliseconds."""

    @pydantic.model_validator(mode="after")
    def _default_is_allowed(self) -> Self:
        if self.default_ms > self.max_ms:
            raise ValueError("default_ms must not be above max_ms")
        return self


class AmountBand(_Strict):
    """One step of the fallback."""

    amount_minor_max: int = Field(ge=0, le=AMOUNT_MINOR_MAX)
    """Applies to amounts up to this one, in minor units of the base currency, inclusive."""
    verdict: FallbackVerdict
    """The answer; ``error`` answers UNAVAILABLE, so that the gateway's own fallback decides."""


class FallbackSettings(_Strict):
    """What the front answers, unrecorded, while the engine is away. By default: UNAVAILABLE."""

    bands: list[AmountBand] = Field(default_factory=list, max_length=16)
    """By amount, in rising order; the first band that is large enough decides."""
    above: FallbackVerdict = "error"
    """For amounts above the last band."""
    without_amount: FallbackVerdict = "error"
    """For what carries no amount: logins, openings, promotions."""

    @pydantic.model_validator(mode="after")
    def _bands_rise(self) -> Self:
        bounds = [band.amount_minor_max for band in self.bands]
        if any(later <= earlier for earlier, later in pairwise(bounds)):
            raise ValueError("the amount_minor_max of the bands must rise from one to the next")
        return self

    def verdict_of(self, amount_base_minor: int | None) -> FallbackVerdict:
        """Returns the answer for an amount in minor units of the base currency, None for no amount."""
        if amount_base_minor is None:
            return self.without_amount
        return next((band.verdict for band in self.bands if amount_base_minor <= band.amount_minor_max), self.above)


class FrontSettings(_Strict):
    """Bounds and paces of one front."""

    pace_ms: int = Field(default=1, ge=0, le=100)
    """While calls overlap, a frame to the engine waits this long for more, milliseconds; 0: never."""
    pace_max_ms: int = Field(default=8, ge=0, le=100)
    """And again and again, up to this long in all, while the front is busy: its queue is what callers wait for then."""
    group_rows_max: int = Field(default=32, ge=1, le=1_024)
    """A frame of this many rows is sent at once."""
    in_flight_max: int = Field(default=256, ge=1, le=100_000)
    """Single calls and stream items that wait for the engine; beyond it RESOURCE_EXHAUSTED."""
    batch_rows_in_flight_max: int = Field(default=4_000, ge=1_000, le=16_384)
    """Rows of batches that the engine has not answered; beyond it RESOURCE_EXHAUSTED. The engine takes no more than 16,384
    of one front."""
    stream_window: int = Field(default=32, ge=1, le=1_024)
    """Items of one stream that wait for the engine; beyond it the stream is not read."""
    streams_max: int = Field(default=128, ge=1, le=10_000)
    """Streams that are open; beyond it RESOURCE_EXHAUSTED."""
    stream_idle_s: int = Field(default=60, ge=1, le=86_400)
    """A stream on which nothing arrives for this long ends as UNAVAILABLE, reason STREAM_IDLE, seconds."""
    skip_linkage_below_ms: int = Field(default=4, ge=0, le=60_000)
    """With less time left than this, linkage is skipped, milliseconds."""
    skip_model_below_ms: int = Field(default=2, ge=0, le=60_000)
    """With less time left than this, the model is skipped, too, milliseconds."""
    drain_notice_ms: int = Field(default=500, ge=0, le=60_000)
    """How long health says NOT_SERVING before calls are refused, when the server stops, milliseconds."""
    drain_max_ms: int = Field(default=5_000, ge=0, le=60_000)
    """How long calls under way may take when the server stops, milliseconds."""
    plaintext_anywhere: bool = False
    """Whether to listen beyond loopback without TLS. Whoever can reach the port can then read and send payments."""


class SnapshotSettings(_Strict):
    """How often the follower writes the engine's state to disk, so that a restart folds only what came since."""

    every_events: int = Field(default=1_000_000, ge=100, le=4_000_000)
    """Events between two snapshots: what a restart has to fold at most, 100,000 to 150,000 a second."""
    keep: int = Field(default=2, ge=2, le=100)
    """The newest that stay in any case. Older ones stay where replays within the journal's retention need them."""


class RetentionSettings(_Strict):
    """For how long things are kept, days."""

    journal_days: int = Field(default=30, ge=1, le=3_650)
    """Every byte of what was asked and decided, for replays, explanations and changes of features.yaml: these fold the
    journal anew, so keep at least as long as the longest window. Without the follower nothing is given up."""
    decisions_days: int = Field(default=400, ge=1, le=36_500)
    """One row for each decision, for `riskengine decisions`."""


class ServerSettings(_Strict):
    """server.yaml."""

    listen: Annotated[str, AfterValidator(listen_address)] = "127.0.0.1:50051"
    """Where the front listens, HOST:PORT; port 0 takes a free one and says which."""
    data_dir: SettingsPath = Path("data")
    """The folder of the journal; one engine at a time owns it."""
    model_dir: SettingsPath = Path("models")
    """The folder of model bundles; the one that its file `active` names serves."""
    tag_key_file: SettingsPath = Path("tag.key")
    """The secret that turns identifiers into tags, 32 random bytes. Losing it loses every link to the past."""
    base_currency: Currency = "EUR"
    """Amounts are compared in this currency; every rule and feature speaks of its minor units."""
    rates: dict[Currency, Annotated[str, AfterValidator(_rate)]] = Field(default_factory=dict, max_length=200)
    """What one unit of a currency is worth in units of the base currency, decimals in quotes. Currencies without a rate
    are refused at the door."""
    fronts: int = Field(default=1, ge=1, le=64)
    """Processes that speak gRPC; one serves most machines."""
    front: FrontSettings = FrontSettings()
    """Bounds and paces of each of them."""
    clock_skew_s: int = Field(default=60, ge=0, le=3_600)
    """How far ahead of the server's clock an event time may be, seconds."""
    deadline: DeadlineSettings = DeadlineSettings()
    """How long an answer may take."""
    limits: LimitSettings = LimitSettings()
    """Bounds of memory and work."""
    journal_segment_mib: int = Field(default=64, ge=1, le=4_096)
    """Size of one preallocated file of the journal, MiB."""
    snapshots: SnapshotSettings = SnapshotSettings()
    """What makes restarts quick."""
    retention: RetentionSettings = RetentionSettings()
    """For how long things are kept."""
    pan_exempt_fields: list[PanField] = Field(default_factory=list)
    """Identifier fields that may hold what looks like a card number: one in ten ids of 19 digits does."""
    fallback: FallbackSettings = FallbackSettings()
    """What to answer while the engine is away."""


def load_settings(path: Path) -> ServerSettings:
    """Reads server.yaml.

    Args:
        path: The file; relative paths in it count from its folder.

    Raises:
        ConfigError: With every problem.
    """
    document = load_file(path)
    settings, problems = check(document, ServerSettings)
    if settings is not None:
        problems += _rate_problems(document, settings)
    if problems or settings is None:
        raise ConfigError(problems)
    folder = path.resolve().parent
    return settings.model_copy(
        update={name: folder / getattr(settings, name) for name in ("data_dir", "model_dir", "tag_key_file")}
    )


def settings_for(config_dir: Path, told: str | None = None) -> ServerSettings:
    """Returns what a process runs by.

    Args:
        config_dir: The folder of server.yaml.
        told: `ServerSettings` as JSON from the process that started this one, so that all of a server agree on what was
            read once; None to read the file.

    Raises:
        ConfigError: As `load_settings`.
    """
    return load_settings(config_dir / "server.yaml") if told is None else ServerSettings.model_validate_json(told)


def _rate_problems(document: Document, settings: ServerSettings) -> list[Problem]:
    """Places what `rate_problems` says: an unknown currency at its name, a bad rate at the rate."""
    told = []
    for currency, sentence in rate_problems(base_currency=settings.base_currency, rates=settings.rates).items():
        if currency in settings.rates:
            told.append(document.problem(("rates", currency), sentence, at_key=currency not in MINOR_UNIT_EXPONENTS))
        else:
            told.append(document.problem(("base_currency",), sentence))
    return told
