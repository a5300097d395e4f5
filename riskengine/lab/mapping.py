"""The mapping file of an import: which column of the history comes from where, checked before a row is read.

INVARIANT: a mapping that loads can be applied to the source it was loaded for: targets, source columns, transforms,
names and zones are known to be right; only values can still be wrong.

Called by `lab.importer`.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from zoneinfo import available_timezones

import pyarrow as pa
import pydantic
from pydantic import Field

from riskengine.errors import ConfigError, Problem, nearest
from riskengine.types import US_PER_DAY, US_PER_SECOND
from riskengine.wire.money import MINOR_UNIT_EXPONENTS
from riskengine.yamlfile import Document, check, load_file, pattern

from .history import HISTORY_SCHEMA, REQUIRED_FIELDS, field_of
from .rows import ENUM_COLUMNS

EPOCH_UNITS_US: Final = {"epoch_s": US_PER_SECOND, "epoch_ms": 1000, "epoch_us": 1}
"""Formats of whole numbers, with the microseconds of one step."""
ORIGINS: Final = "from, join, constant, row_number"
NEVER_MISSING: Final = (*REQUIRED_FIELDS, "amount_minor", "currency_code")
"""An event that has none is no event, or another one."""


def _scalar(value: Any) -> Any:
    if isinstance(value, str | int | float | bool):
        return value
    raise ValueError("must be text, a number, true or false")


def _delimiter(value: str) -> str:
    if len(value) == 1 and value.isascii() and value not in '"\r\n\0':
        return value
    raise ValueError('must be one ASCII character such as "," or ";" or "\\t", and no quote')


def _encoding(value: str) -> str:
    try:
        "".encode(value)  # Unlike `codecs.lookup`, refuses what turns no text into bytes, such as rot13.
    except (LookupError, ValueError):
        raise ValueError("must be a text encoding such as utf-8, latin-1 or cp1252") from None
    return value


Scalar = Annotated[Any, pydantic.AfterValidator(_scalar)]
_DURATION: Final = pattern(r"^[0-9]{1,4}(d|h|m)$", "must be a duration such as 7d, 12h or 30m")
_DURATION_US: Final = {"d": US_PER_DAY, "h": 3600 * US_PER_SECOND, "m": 60 * US_PER_SECOND}


class _Strict(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, strict=True)


class SourceOptions(_Strict):
    """How the source file reads."""

    format: Literal["parquet", "csv"] | None = None
    """Told by the suffix where absent."""
    delimiter: Annotated[str, pydantic.AfterValidator(_delimiter)] = ","
    """Of CSV."""
    encoding: Annotated[str, pydantic.AfterValidator(_encoding)] = "utf-8"
    """Of CSV; a text encoding that Python knows."""


class ColumnRule(_Strict):
    """Where one column of the history comes from: one of `from`, `join`, `constant` and `row_number`."""

    source: str | None = Field(default=None, alias="from")
    """A column of the source."""
    join: Annotated[list[str], Field(min_length=2, max_length=16)] | None = None
    """Columns of the source whose texts are put together in this order; a blank one is passed over."""
    separator: Annotated[str, Field(max_length=16)] | None = None
    """Between joined texts; a comma and a blank where absent."""
    constant: Scalar = None
    """The same value in every row."""
    row_number: bool = False
    """The number of the row, 1 for the first: for sources without ids."""
    values: dict[str, Scalar] | None = None
    """Source value (as text) to target value."""
    otherwise: Scalar = None
    """For source values not in `values`; without it such rows are set aside."""
    default: Scalar = None
    """Target value where the source has none."""
    multiply: Annotated[float, Field(gt=0, le=1_000_000_000)] | None = None
    """For numbers; whole ones are then rounded half to even."""
    minor_units: bool = False
    """For amount_minor: whether the source has units (12.34), to be scaled by what the row's currency divides into."""
    format: str | None = None
    """Of times: `epoch_s`, `epoch_ms`, `epoch_us`, or as strptime; ISO 8601 where absent."""
    zone: str | None = None
    """IANA name of the time zone of times that state none; UTC where absent."""
    prefix: str | None = None
    """Put before text."""
    clean: bool = False
    """Whether to replace what identifiers must not contain by `_`."""
    unreadable: Literal["missing"] | None = None
    """`missing`: a value that cannot stand is left out and counted; where absent, its row is set aside."""

    @property
    def sources(self) -> tuple[str, ...]:
        """The columns of the source that it reads."""
        return tuple(self.join or ()) if self.source is None else (self.source,)

    @property
    def told(self) -> str:
        """These columns in words."""
        return " + ".join(self.sources)


class _File(_Strict):
    source: SourceOptions = SourceOptions()
    columns: dict[str, ColumnRule]
    label_delay: Annotated[str, Field(pattern=_DURATION)] | None = None
    ignore: list[str] = Field(default_factory=list)
    pan_exempt_fields: list[Literal["account_id", "card_id", "device_id", "merchant_id", "payee_id"]] = Field(
        default_factory=list
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnMapping:
    """A mapping that was checked against its source.

    Attributes:
        source: How the source file reads.
        rules: By column of the history.
        label_delay_us: From the event to its label, None where labels have a time of their own.
        ignored: Source columns left out on purpose.
        pan_exempt_fields: Identifiers in which a card number is not looked for.
    """

    source: SourceOptions
    rules: Mapping[str, ColumnRule]
    label_delay_us: int | None
    ignored: tuple[str, ...]
    pan_exempt_fields: tuple[str, ...]

    @property
    def minor_units(self) -> bool:
        """Whether amounts are scaled by each row's currency."""
        amount = self.rules.get("amount_minor")
        return amount is not None and amount.minor_units


def read_mapping(path: Path) -> Document:
    """Reads a mapping file; ``column: SOURCE`` stands for ``column: {from: SOURCE}``."""
    document = load_file(path)
    data = document.data
    if isinstance(data, dict) and isinstance(data.get("columns"), dict):
        columns = {name: {"from": rule} if isinstance(rule, str) else rule for name, rule in data["columns"].items()}
        data = {**data, "columns": columns}
    return Document(document.name, data, document.text, document.places)


def source_options(document: Document) -> SourceOptions:
    """Returns how the source reads, before anything else of the mapping is looked at.

    Raises:
        ConfigError: That part is wrong.
    """
    data = document.data if isinstance(document.data, dict) else {}
    model, problems = check(Document(document.name, {"source": data.get("source", {})}, "", document.places), _Head)
    if model is None:
        raise ConfigError(problems)
    return model.source


class _Head(_Strict):
    source: SourceOptions = SourceOptions()


def check_mapping(document: Document, source_schema: pa.Schema) -> ColumnMapping:
    """Checks a mapping against the columns of its source.

    Raises:
        ConfigError: With everything that is wrong.
    """
    model, problems = check(document, _File)
    if model is None:
        # The columns' names can be judged even so: one round for the analyst, not two.
        data = document.data.get("columns") if isinstance(document.data, dict) else None
        if isinstance(data, dict):
            rules = {name: rule for name, rule in data.items() if isinstance(rule, dict)}
            problems += _check_targets(document, list(data))
            problems += _check_sources(document, rules, source_schema)
        raise ConfigError(problems)
    problems = _check_targets(document, list(model.columns))
    wanted = {name: {"from": rule.source, "join": rule.join} for name, rule in model.columns.items()}
    problems += _check_sources(document, wanted, source_schema)
    for name, rule in model.columns.items():
        if field_of(name):
            problems += _check_rule(document, name, rule)
            problems += _check_kind(document, name, rule, source_schema)
    problems += _check_whole(document, model, source_schema.names)
    if problems:
        raise ConfigError(problems)
    delay = model.label_delay
    return ColumnMapping(
        source=model.source,
        rules=model.columns,
        label_delay_us=int(delay[:-1]) * _DURATION_US[delay[-1]] if delay else None,
        ignored=tuple(model.ignore),
        pan_exempt_fields=tuple(model.pan_exempt_fields),
    )


def _check_targets(document: Document, names: Sequence[str]) -> list[Problem]:
    """Finds columns that no history has."""
    return [
        document.problem(
            ("columns", name),
            f'no history has a column "{name[:64]}"{nearest(name, HISTORY_SCHEMA.names)}',
            at_key=True,
        )
        for name in names
        if field_of(name) is None
    ]


def _check_sources(document: Document, rules: Mapping[str, Mapping[str, Any]], schema: pa.Schema) -> list[Problem]:
    """Finds source columns that are not there or cannot be read as one value; rules are as they were written."""
    problems = []
    for name, rule in rules.items():
        joined = rule.get("join")
        parts = joined if isinstance(joined, list) else []
        wanted = [(_path(document, name, "from"), rule.get("from"))]
        wanted += [(("columns", name, "join", index), part) for index, part in enumerate(parts)]
        for path, source in wanted:
            if not isinstance(source, str):
                continue
            if source not in schema.names:
                fault = f'the source has no column "{source[:64]}"{nearest(source, schema.names)}'
                problems.append(document.problem(path, fault))
            elif pa.types.is_nested(schema.field(source).type):
                fault = f'the source column "{source}" holds more than one value a row'
                problems.append(document.problem(path, fault))
    return problems


def _check_kind(document: Document, name: str, rule: ColumnRule, schema: pa.Schema) -> list[Problem]:
    """Finds a source column whose values can never be numbers."""
    field = field_of(name)
    if field is None or rule.source is None or rule.source not in schema.names or rule.values is not None:
        return []
    found = schema.field(rule.source).type
    numeric = pa.types.is_integer(field.type) or pa.types.is_floating(field.type)
    if not numeric or not (pa.types.is_boolean(found) or pa.types.is_temporal(found)):
        return []
    holds = "true and false" if pa.types.is_boolean(found) else "times"
    fault = (
        f'the source column "{rule.source[:64]}" holds {holds} and {name} is a number; name another, or give `values`'
    )
    return [document.problem(_path(document, name, "from"), fault)]


def _path(document: Document, name: str, option: str) -> tuple[str | int, ...]:
    """Returns the path of an option, of the column itself where the short form was used."""
    path: tuple[str | int, ...] = ("columns", name, option)
    return path if path in document.places else path[:2]


def _check_rule(document: Document, name: str, rule: ColumnRule) -> list[Problem]:
    """Finds what does not fit together in one rule."""
    field = field_of(name)
    assert field is not None, "only columns of histories get here"
    problems = []
    origins = [rule.source is not None, rule.join is not None, rule.constant is not None, rule.row_number]
    if sum(origins) != 1:
        problems.append(document.problem(("columns", name), f"{name} needs exactly one of {ORIGINS}"))
    for option, fault in _option_faults(name, field, rule):
        problems.append(document.problem(_path(document, name, option), fault, at_key=True))
    for option in ("constant", "default", "otherwise"):
        fault = _value_fault(name, field, getattr(rule, option))
        if fault:
            problems.append(document.problem(_path(document, name, option), fault))
    for key, value in (rule.values or {}).items():
        fault = _value_fault(name, field, value)
        if fault:
            problems.append(document.problem(("columns", name, "values", key), fault))
    return problems


def _option_faults(name: str, field: pa.Field, rule: ColumnRule) -> Iterator[tuple[str, str]]:
    """Finds options that do not go with the column or with each other; yields each with what is wrong."""
    numeric = pa.types.is_integer(field.type) or pa.types.is_floating(field.type)
    text = pa.types.is_string(field.type)
    for option, fits, kind in (
        ("multiply", numeric, "numbers"),
        ("minor_units", name == "amount_minor", "amount_minor"),
        ("format", pa.types.is_timestamp(field.type), "times"),
        ("zone", pa.types.is_timestamp(field.type), "times"),
        ("prefix", text and name not in ENUM_COLUMNS, "text"),
        ("clean", text and name not in ENUM_COLUMNS, "text"),
        ("row_number", text and name not in ENUM_COLUMNS, "text"),
        ("join", text and name not in ENUM_COLUMNS, "text"),
        ("unreadable", name not in NEVER_MISSING, "what an event can lack"),
    ):
        if getattr(rule, option) and not fits:
            yield option, f"{option} is for {kind}; {name} is not"
    if rule.separator is not None and rule.join is None:
        yield "separator", "separator goes with join"
    if rule.otherwise is not None and rule.values is None:
        yield "otherwise", "otherwise goes with values"
    if rule.zone is not None and rule.zone not in available_timezones():
        yield "zone", f"not a time zone of the IANA database{nearest(rule.zone, available_timezones())}"


def _value_fault(name: str, field: pa.Field, value: Any) -> str:
    """Says why a value that the mapping states cannot stand in a column; empty when it can."""
    if value is None:
        return ""
    if name in ENUM_COLUMNS:
        names = [member.name for member in ENUM_COLUMNS[name][1]]
        return "" if value in names else f"must be one of {', '.join(names)}{nearest(str(value), names)}"
    if name == "currency_code":
        return (
            ""
            if value in MINOR_UNIT_EXPONENTS
            else f"must be an ISO 4217 code{nearest(str(value), MINOR_UNIT_EXPONENTS)}"
        )
    if pa.types.is_boolean(field.type):
        return "" if isinstance(value, bool) else "must be true or false"
    if pa.types.is_integer(field.type):
        return "" if isinstance(value, int) and not isinstance(value, bool) else "must be a whole number"
    if pa.types.is_floating(field.type):
        return "" if isinstance(value, int | float) and not isinstance(value, bool) else "must be a number"
    if pa.types.is_timestamp(field.type):
        return (
            "" if isinstance(value, str) and re.fullmatch(r"\d{4}-\d\d-\d\d.*", value) else "must be a time in quotes"
        )
    return "" if isinstance(value, str) and value else "must be text in quotes"


def _check_whole(document: Document, model: _File, source_names: Sequence[str]) -> list[Problem]:
    """Finds what is missing, and what contradicts each other."""
    columns = ("columns",)
    problems = [
        document.problem(columns, f'"{name}" is missing; every event has one', at_key=True)
        for name in REQUIRED_FIELDS
        if name not in model.columns
    ]
    if "amount_minor" in model.columns and "currency_code" not in model.columns:
        problems.append(document.problem(columns, '"currency_code" is missing; amounts have a currency', at_key=True))
    if model.label_delay is not None and "fraud" not in model.columns:
        problems.append(document.problem(("label_delay",), "label_delay goes with fraud", at_key=True))
    if model.label_delay is not None and "fraud_label_time" in model.columns:
        problems.append(document.problem(("label_delay",), "labels have a delay or a time, not both", at_key=True))
    for index, name in enumerate(model.ignore):
        if name not in source_names:
            near = nearest(name, source_names)
            problems.append(document.problem(("ignore", index), f'the source has no column "{name[:64]}"{near}'))
    return problems


def decimal_factor(rule: ColumnRule) -> Decimal:
    """Returns what numbers are multiplied with, as it was written."""
    return Decimal(1) if rule.multiply is None else Decimal(str(rule.multiply))
