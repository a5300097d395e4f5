"""What policy.yaml and reason_codes.yaml may say.

INVARIANTS: a model here checks forms, types and ranges; whatever refers to something else (a reason, an obligation, a
feature, a condition) is checked by `check`. The string under a field is what the documentation tells analysts.

Used by `check`, `compile`, `stage` and `cases`.
"""

from typing import Annotated, Final, Literal, Self

import pydantic
from pydantic import Field

from riskengine.types import ENTITIES, LISTS_MAX, OBLIGATIONS_MAX, RULES_MAX, SEGMENTS_MAX
from riskengine.yamlfile import pattern

ENTRIES_MAX: Final = 100_000
"""Entries of one list."""
REASON_CODES_MAX: Final = 1_000
HOLD_S_MAX: Final = 30 * 86_400
AMOUNT_MINOR_MAX: Final = 10**12

IDENTIFIER: Final = r"^[a-z][a-z0-9_]{0,63}$"
Identifier = Annotated[str, Field(pattern=pattern(IDENTIFIER, "must be lower_snake_case, at most 64 characters"))]
CodeName = Annotated[
    str, Field(pattern=pattern(r"^[A-Z][A-Z0-9_]{0,63}$", "must be UPPER_SNAKE_CASE, at most 64 characters"))
]
Tag = Annotated[str, Field(pattern=pattern(r"^[0-9a-f]{16}$", "must be 16 hex digits"))]
Text = Annotated[str, Field(min_length=1, max_length=500)]
Condition = Annotated[str, Field(min_length=1, max_length=4096)]
Share = Annotated[float, Field(gt=0, lt=1)]
Mode = Literal["enforce", "shadow", "off"]
ModelMode = Literal["live", "shadow", "off"]
AskedVerdict = Literal["review", "decline"]
Action = Literal["allow", "block", "watch"]
Method = Literal["three_d_secure", "one_time_code", "biometric", "passcode", "card_code", "address"]


class Strict(pydantic.BaseModel):
    """A mapping that knows all of its keys."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, strict=True)


class ModelSettings(Strict):
    """How the fraud model takes part."""

    mode: ModelMode = "shadow"
    """``live``: its probability meets the thresholds; ``shadow``: it is told and decides nothing; ``off``."""


class Thresholds(Strict):
    """From which probability on the model asks for a review, and from which for a decline."""

    review: Share
    """Probability of fraud from which a review is asked for, above 0, below 1."""
    decline: Share
    """Probability from which a decline is asked for, at least `review`."""

    @pydantic.model_validator(mode="after")
    def _rise(self) -> Self:
        if self.review > self.decline:
            raise ValueError("review must not be above decline")
        return self


class Segment(Thresholds):
    """Thresholds for a part of the traffic."""

    id: Identifier
    """Stable name; told in every decision."""
    when: Condition
    """The first segment whose condition is true applies; one that cannot be evaluated is passed over."""
    description: Text | None = None
    """For people."""


class ThresholdTable(Strict):
    """All thresholds."""

    default: Thresholds
    """For what no segment takes."""
    segments: list[Segment] = Field(default_factory=list, max_length=SEGMENTS_MAX - 1)
    """Tried in this order."""


class ListEntry(Strict):
    """One entity on a list."""

    value: Annotated[str, Field(min_length=1, max_length=256)] | None = None
    """The identifier as the gateway sends it; it does not leave the process that reads this file."""
    tag: Tag | None = None
    """Its keyed tag instead, 16 hex digits, as exported policies have it."""
    expires: Annotated[str, Field(max_length=40)] | None = None
    """Off the list from this moment of event time on: ``2026-12-31`` (its first moment, UTC) or a time with zone."""
    note: Annotated[str, Field(max_length=500)] | None = None
    """For people; is not kept."""

    @pydantic.model_validator(mode="after")
    def _one_of(self) -> Self:
        if (self.value is None) == (self.tag is None):
            raise ValueError("an entry has either a value or a tag")
        return self


class ListDefinition(Strict):
    """A list of entities of one type."""

    id: Identifier
    """Stable name; conditions read ``list.<id>``."""
    entity: Literal[ENTITIES]  # type: ignore[valid-type]
    """What is on it."""
    action: Action
    """``block`` declines; ``allow`` lifts what the model alone asked for; ``watch`` is told and rules can use it."""
    reason: CodeName | None = None
    """Reason of a block; without it the catalogue's `blocked`."""
    description: Text | None = None
    """For people."""
    entries: list[ListEntry] = Field(default_factory=list, max_length=ENTRIES_MAX)
    """Who is on it."""


class StepUp(Strict):
    """Ask the payer for a second factor before going on."""

    methods: list[Method] = Field(min_length=1, max_length=6)
    """Accepted methods in order of preference."""


class Hold(Strict):
    """Hold the payment uncaptured."""

    duration_s: int = Field(ge=1, le=HOLD_S_MAX)
    """For how long, seconds."""
    default_verdict: Literal["approve", "decline"]
    """What follows if nobody decides in that time."""


class Limit(Strict):
    """Let only a smaller amount through."""

    amount_minor_max: int = Field(ge=0, le=AMOUNT_MINOR_MAX)
    """The largest amount to let through, minor units of the base currency."""


class Notify(Strict):
    """Tell somebody."""

    audience: Identifier
    """Whom, such as ``payer`` or ``risk_team``."""


class Obligation(Strict):
    """What the gateway has to do besides the verdict: exactly one of these."""

    step_up: StepUp | None = None
    """Ask for a second factor."""
    hold: Hold | None = None
    """Hold the payment."""
    limit: Limit | None = None
    """Let only a smaller amount through."""
    notify: Notify | None = None
    """Tell somebody; the only one that still makes sense beside a decline."""

    @pydantic.model_validator(mode="after")
    def _one_of(self) -> Self:
        if len(self.model_dump(exclude_none=True)) != 1:
            raise ValueError("an obligation is exactly one of step_up, hold, limit, notify")
        return self


class Consequence(Strict):
    """What a rule asks for."""

    verdict: AskedVerdict | None = None
    """The strictest of all that fire wins; to approve, use an allow list."""
    obligations: list[Identifier] = Field(default_factory=list, max_length=8)
    """Ids of obligations to add."""

    @pydantic.model_validator(mode="after")
    def _something(self) -> Self:
        if self.verdict is None and not self.obligations:
            raise ValueError("a rule asks for a verdict, for obligations, or for both")
        return self


class Rule(Strict):
    """One rule."""

    id: Identifier
    """Stable name; told in every decision in which the rule fires."""
    description: Text | None = None
    """For people: what it is meant to catch."""
    when: Condition
    """A CEL condition over features, fields of the transaction and lists."""
    then: Consequence
    """What it asks for."""
    reason: CodeName
    """Why, from reason_codes.yaml."""
    mode: Mode = "enforce"
    """``enforce`` decides, ``shadow`` is told and decides nothing, ``off`` is only checked."""
    on_error: Literal["skip", "review", "decline"] = "skip"
    """What follows when a feature it needs is missing: nothing, or this verdict."""


class PolicyFile(Strict):
    """policy.yaml."""

    version: Literal[1]
    """Of this file's format."""
    name: Identifier
    """The policy's name."""
    description: Text | None = None
    """For people."""
    model: ModelSettings = ModelSettings()
    """How the model takes part."""
    thresholds: ThresholdTable
    """By segment."""
    lists: list[ListDefinition] = Field(default_factory=list, max_length=LISTS_MAX)
    """Allow, block and watch lists."""
    obligations: dict[Identifier, Obligation] = Field(default_factory=dict, max_length=OBLIGATIONS_MAX)
    """By id, for rules to name."""
    on_review: list[Identifier] = Field(default_factory=list, max_length=8)
    """Ids of obligations that go with every review, such as a hold."""
    rules: list[Rule] = Field(default_factory=list, max_length=RULES_MAX)
    """Every rule is evaluated; the strictest verdict wins."""


class ReasonDefinition(Strict):
    """One reason."""

    text: Text
    """A sentence for people; ``{observed}`` and ``{norm}`` stand for the two values."""
    feature: str | None = None
    """The feature it speaks of. Without one, a reason of the model speaks of the heaviest feature behind it."""
    norm: str | None = None
    """The feature that is the entity's own norm beside it."""
    unit: Literal["count", "money", "seconds", "days", "ratio", "hour"] | None = None
    """How to show the values; ``money`` is minor units of the base currency."""


class ModelReason(Strict):
    """Features whose contributions are told under one reason."""

    features: list[Annotated[str, Field(min_length=1, max_length=128)]] = Field(min_length=1, max_length=200)
    """Names; ``*`` stands for any characters."""
    code: CodeName
    """The reason."""


class ReasonFile(Strict):
    """reason_codes.yaml."""

    version: Literal[1]
    """Of this file's format."""
    reasons: dict[CodeName, ReasonDefinition] = Field(min_length=1, max_length=REASON_CODES_MAX)
    """By stable code."""
    blocked: CodeName
    """The reason for a hit on a block list that names none of its own."""
    unevaluated: CodeName
    """The reason when a rule that must be evaluated could not be."""
    model: list[ModelReason] = Field(min_length=1, max_length=REASON_CODES_MAX)
    """The first entry with a matching pattern takes a feature; the last one should be ``*``."""
