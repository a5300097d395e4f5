"""Whether the parts of a policy refer to each other rightly: reasons, obligations, features, conditions, list entries.

Works on the plain data beside the schema, so that a mistake of form in one rule does not hide a wrong reference in
another: whatever has the wrong form is passed over here, since the schema has told it.

INVARIANTS: every finding is a `Problem` with its place; nothing is raised. What cannot be looked up, because the file or the part
that would have it is missing or of another form, is passed over. Called by `compile`.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from fnmatch import fnmatchcase
from string import Formatter
from typing import Any, Final

from riskengine.errors import Problem, RiskEngineError, nearest
from riskengine.expr import Environment, Expression, ExpressionError, VariableKind, is_variable_name
from riskengine.types import ENTITY_INDEX
from riskengine.yamlfile import Document, KeyPath

from .lists import NEVER_US, Entry
from .schema import IDENTIFIER

TagOf = Callable[[str, str], int]
DECIDED_NAMESPACES: Final = ("model.", "list.")
"""Features of these come from the decision itself: a model's reason cannot speak of them."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_DEFAULT_SEGMENT: Final = "default"
_TAG: Final = re.compile("[0-9a-f]{16}")


@dataclass
class Findings:
    """What the checks found, and what they made on the way.

    Attributes:
        problems: Why the policy cannot be used.
        warnings: What is odd but can be used.
        conditions: Compiled, by the path of their text.
        entries: Of all lists, by the path of each.
    """

    problems: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)
    conditions: dict[KeyPath, Expression] = field(default_factory=dict)
    entries: dict[KeyPath, Entry] = field(default_factory=dict)


def check_policy(
    policy: Document,
    reasons: Document | None,
    environment: Environment | None,
    tag: TagOf | None,
    now_us: int | None,
) -> Findings:
    """Checks policy.yaml against the catalogue of reasons and the environment of its conditions.

    Args:
        policy: policy.yaml.
        reasons: reason_codes.yaml; None where it cannot be read.
        environment: Of the conditions; None where the features are not known.
        tag: Makes the tag of a raw value of an entity type; None when values cannot be taken.
        now_us: For warnings about expired entries, microseconds since the epoch; None for no such warnings.
    """
    found = Findings()
    codes = _get(reasons.data, "reasons") if reasons is not None else None
    obligations = _keys(policy.data, "obligations")
    mode = _get(_get(policy.data, "model"), "mode")
    for path, rule in _items(policy.data, "rules"):
        _check_condition(found, policy, path, rule, environment)
        _check_name(found, policy, (*path, "reason"), codes, "reason code")
        for index, _ in enumerate(_list(_get(_get(rule, "then"), "obligations"))):
            _check_name(found, policy, (*path, "then", "obligations", index), obligations, "obligation")
        condition = found.conditions.get((*path, "when"))
        asks_model = condition is not None and any(name.startswith("model.") for name in condition.variables)
        if asks_model and mode != "live" and _get(rule, "mode") not in ("shadow", "off"):
            message = "this rule decides by the model, although the model is not live"
            found.warnings.append(policy.problem((*path, "when"), message))
    for path, segment in _items(policy.data, "thresholds", "segments"):
        _check_condition(found, policy, path, segment, environment)
    for index, _ in enumerate(_list(_get(policy.data, "on_review"))):
        _check_name(found, policy, ("on_review", index), obligations, "obligation")
    for index, (path, listed) in enumerate(_items(policy.data, "lists")):
        name = _get(listed, "id")
        if isinstance(name, str) and re.match(IDENTIFIER, name) and not is_variable_name(f"list.{name}"):
            found.problems.append(policy.problem((*path, "id"), f'"{name}" is a word of CEL; give the list another id'))
        _check_name(found, policy, (*path, "reason"), codes, "reason code")
        _check_entries(found, policy, path, listed, index, tag, now_us)
    _check_distinct(found, policy, _items(policy.data, "rules"), "rule")
    _check_distinct(found, policy, _items(policy.data, "lists"), "list")
    _check_distinct(found, policy, _items(policy.data, "thresholds", "segments"), "segment", {_DEFAULT_SEGMENT})
    return found


def check_reasons(reasons: Document, feature_names: Sequence[str] | None) -> Findings:
    """Checks reason_codes.yaml against the features; None where these are not known."""
    found = Findings()
    codes = _get(reasons.data, "reasons")
    known = dict.fromkeys(feature_names) if feature_names is not None else None
    for name in ("blocked", "unevaluated"):
        _check_name(found, reasons, (name,), codes, "reason code")
    of_model = {_get(item, "code") for _, item in _items(reasons.data, "model")}
    for code, reason in _keys(reasons.data, "reasons").items():
        path: KeyPath = ("reasons", code)
        for key in ("feature", "norm"):
            _check_name(found, reasons, (*path, key), known, "feature")
        _check_text(found, reasons, path, reason, may_observe=code in of_model)
    for path, _ in _items(reasons.data, "model"):
        _check_name(found, reasons, (*path, "code"), codes, "reason code")
    if feature_names is not None:
        _check_patterns(found, reasons, feature_names)
    return found


def _check_patterns(found: Findings, reasons: Document, feature_names: Sequence[str]) -> None:
    """Checks which features the model's reasons speak of: each pattern of some, and all of them together of all."""
    taken: set[str] = set()
    for path, item in _items(reasons.data, "model"):
        for index, pattern in enumerate(_list(_get(item, "features"))):
            if not isinstance(pattern, str):
                continue
            matched = {name for name in feature_names if matches(name, [pattern])}
            at = (*path, "features", index)
            if not matched and "*" in pattern:
                found.warnings.append(reasons.problem(at, f'no feature matches "{pattern}"'))
            elif not matched:
                found.problems.append(
                    reasons.problem(at, f'no feature is named "{pattern}"{nearest(pattern, feature_names)}')
                )
            taken |= matched
    left = [name for name in feature_names if name not in taken and not name.startswith(DECIDED_NAMESPACES)]
    if left and isinstance(_get(reasons.data, "model"), list):
        more = f" and {len(left) - 1} more" if len(left) > 1 else ""
        message = f'nothing covers the feature "{left[0]}"{more}; end with the pattern "*"'
        found.problems.append(reasons.problem(("model",), message, at_key=True))


def matches(name: str, patterns: Iterable[str]) -> bool:
    """Whether a feature's name is one of the patterns, in which ``*`` stands for any characters."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def expiry_us(text: str) -> int:
    """Reads the `expires` of an entry.

    Args:
        text: A date, which means its first moment in UTC, or a time with a zone, both as ISO 8601.

    Returns:
        Microseconds since the epoch.

    Raises:
        ValueError: It is neither.
    """
    try:
        moment = datetime.combine(date.fromisoformat(text), datetime.min.time(), UTC)
    except ValueError:
        moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("a time without a zone")
    return (moment - _EPOCH) // timedelta(microseconds=1)


def _check_condition(
    found: Findings, document: Document, path: KeyPath, item: Any, environment: Environment | None
) -> None:
    text = _get(item, "when")
    if environment is None or not isinstance(text, str) or not text:
        return
    at = (*path, "when")
    try:
        expression = environment.compile(text, result=VariableKind.BOOL)
    except ExpressionError as error:
        found.problems += [document.problem(at, issue.message, offset=issue.offset) for issue in error.issues]
        return
    found.conditions[at] = expression
    if expression.is_constant:
        found.warnings.append(document.problem(at, "this condition names no feature: it is always the same"))


def _check_name(found: Findings, document: Document, path: KeyPath, known: Any, what: str) -> None:
    """Reports the text at a path when it is not one of the known names: a mapping, or anything else where there are none."""
    name = _at(document.data, path)
    if isinstance(name, str) and isinstance(known, Mapping) and name not in known:
        found.problems.append(document.problem(path, f'unknown {what} "{name[:64]}"{nearest(name, known)}'))


def _check_distinct(
    found: Findings, document: Document, items: Iterable[tuple[KeyPath, Any]], what: str, taken: Iterable[str] = ()
) -> None:
    seen = set(taken)
    for path, item in items:
        name = _get(item, "id")
        if isinstance(name, str) and name in seen:
            found.problems.append(document.problem((*path, "id"), f'the {what} id "{name[:64]}" is taken already'))
        elif isinstance(name, str):
            seen.add(name)


def _check_text(found: Findings, document: Document, path: KeyPath, reason: Any, *, may_observe: bool) -> None:
    """Checks the placeholders of a reason's sentence."""
    text, at = _get(reason, "text"), (*path, "text")
    if not isinstance(text, str):
        return
    try:
        names = {(name, form, convert) for _, name, form, convert in Formatter().parse(text) if name is not None}
    except ValueError:
        found.problems.append(document.problem(at, "a lone brace; placeholders are {observed} and {norm}"))
        return
    for name, form, convert in sorted(names, key=str):
        if name not in ("observed", "norm") or form or convert:
            found.problems.append(document.problem(at, "an unknown placeholder; there are {observed} and {norm}"))
        elif name == "norm" and not _get(reason, "norm"):
            found.problems.append(document.problem(at, "{norm} needs the key norm: a feature"))
        elif name == "observed" and not _get(reason, "feature") and not may_observe:
            found.problems.append(document.problem(at, "{observed} needs the key feature"))


def _check_entries(
    found: Findings, document: Document, path: KeyPath, listed: Any, index: int, tag: TagOf | None, now_us: int | None
) -> None:
    entity = _get(listed, "entity")
    if entity not in ENTITY_INDEX:
        return
    seen: set[int] = set()
    expired = 0
    for at, item in _items(listed, "entries", prefix=path):
        expires_us = NEVER_US
        expires = _get(item, "expires")
        if isinstance(expires, str):
            try:
                expires_us = expiry_us(expires)
            except (ValueError, OverflowError):
                message = "expires must be a date such as 2026-12-31 or a time with zone such as 2026-12-31T08:00:00Z"
                found.problems.append(document.problem((*at, "expires"), message))
        number = _tag_of(found, document, at, item, entity, tag)
        if number is None:
            continue
        if number in seen:
            found.problems.append(document.problem(at, f"this {entity} is on the list already"))
        seen.add(number)
        expired += now_us is not None and expires_us <= now_us
        found.entries[at] = Entry(ENTITY_INDEX[entity], number, expires_us, index)
    if expired:
        found.warnings.append(document.problem((*path, "entries"), f"expired entries: {expired}", at_key=True))


def _tag_of(
    found: Findings, document: Document, path: KeyPath, item: Any, entity: str, tag: TagOf | None
) -> int | None:
    """Returns the tag of one entry; None when there is none, which is told here or by the schema."""
    given, value = _get(item, "tag"), _get(item, "value")
    if isinstance(given, str) and value is None:
        if given.strip("0") == "":
            found.problems.append(document.problem((*path, "tag"), "a tag of zeros stands for nobody"))
            return None
        return int(given, 16) if _TAG.fullmatch(given) else None
    if not isinstance(value, str) or not value or given is not None:
        return None
    if tag is None:
        found.problems.append(document.problem((*path, "value"), "without the key of tags only tags can be read"))
        return None
    try:
        number = tag(entity, value)
    except (ValueError, RiskEngineError):
        number = 0
    if not number:
        found.problems.append(document.problem((*path, "value"), f"this is not a valid {entity}"))
    return number or None


def _get(data: Any, key: str) -> Any:
    return data.get(key) if isinstance(data, dict) else None


def _list(data: Any) -> list[Any]:
    return data if isinstance(data, list) else []


def _keys(data: Any, key: str) -> dict[str, Any]:
    found = _get(data, key)
    return found if isinstance(found, dict) else {}


def _at(data: Any, path: KeyPath) -> Any:
    for part in path:
        inside = part in data if isinstance(data, dict) else isinstance(data, list) and part in range(len(data))
        if not inside:
            return None
        data = data[part]
    return data


def _items(data: Any, *keys: str, prefix: KeyPath = ()) -> Iterator[tuple[KeyPath, Any]]:
    """Yields path and item of the list at `keys`, nothing when there is no list."""
    for key in keys:
        data = _get(data, key)
    for index, item in enumerate(_list(data)):
        yield (*prefix, *keys, index), item
