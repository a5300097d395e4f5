"""Where a feature is declared, and what asks for it: rules, thresholds, other features, reasons, the model.

INVARIANTS: places are those of the files as they were read, which have no mistakes. A declaration is found by the grammar of
names, so an answer that this module knows nothing of still leads to its measure.

Called by the commands `features explain` and `features check`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from riskengine.engine.configuration import Configuration
from riskengine.errors import Problem
from riskengine.expr import Environment, VariableKind
from riskengine.model.bundle import Bundle
from riskengine.types import US_PER_DAY
from riskengine.velocity.operations import OPERATIONS
from riskengine.velocity.schema import window_us
from riskengine.yamlfile import Document, KeyPath

FEATURES, POLICY, REASONS = "features.yaml", "policy.yaml", "reason_codes.yaml"
_ANSWERS: Final = {
    "first_seen_age_s": ("first_seen",),
    "region_changed": ("places", "region"),
    "travel_speed_kmh": ("places", "travel"),
    "home_distance_km": ("places", "home"),
}
"""Keys of a profile by the only answer that each gives."""


@dataclass(frozen=True, slots=True)
class Use:
    """One thing that asks for a feature.

    Attributes:
        kind: ``rule``, ``threshold``, ``reason``, ``derived feature``, ``measure`` or ``model``.
        name: Its id.
        detail: What it does, in a few words; may be empty.
        place: ``file:line:column``; empty where it has none.
    """

    kind: str
    name: str
    detail: str
    place: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}{f' ({self.detail})' if self.detail else ''}"


def place_of(document: Document, path: KeyPath) -> str:
    """Returns ``file:line:column`` of a key, or of an item of a list."""
    found = document.problem(path, "", at_key=True)
    return f"{found.file}:{found.line}:{found.column}" if found.line else found.file


def declared_at(features: Document, name: str) -> KeyPath | None:
    """Returns the path in features.yaml of what declares a feature; None for what the engine tells by itself."""
    data = features.data
    entity, _, rest = name.partition(".")
    if name in data.get("derived", {}):
        return ("derived", name)
    if entity == "numbers" and rest in _listed(data, "inputs", "numbers"):
        return ("inputs", "numbers", data["inputs"]["numbers"].index(rest))
    if rest in ("component_size", "over_degree_cap") and entity in _listed(data, "linkage", rest):
        return ("linkage", rest, data["linkage"][rest].index(entity))
    profile = data.get("profiles", {}).get(entity)
    return _within_profile(("profiles", entity), profile, rest) if isinstance(profile, dict) else None


def _within_profile(path: KeyPath, profile: Mapping[str, Any], rest: str) -> KeyPath | None:
    if rest in _ANSWERS:
        return (*path, *_ANSWERS[rest])
    if rest.removeprefix("new_") in profile.get("new", []):
        return (*path, "new", profile["new"].index(rest.removeprefix("new_")))
    for member, windows in profile.get("distinct", {}).items():
        for index, window in enumerate(windows):
            if rest == f"{member}_distinct_{window}":
                return (*path, "distinct", member, index)
    nearest: KeyPath | None = None
    # The longest name first: `amount_home` also begins as `amount` does.
    for measure in sorted(profile.get("measures", {}), key=len, reverse=True):
        if not rest.startswith(f"{measure}_"):
            continue
        at = (*path, "measures", measure)
        nearest = nearest or at
        answer = rest.removeprefix(f"{measure}_")
        for key, value in profile["measures"][measure].items():
            if (value is True and answer.startswith(key)) or (key == "gaps" and answer.startswith("gap_")):
                return (*at, key)
            suffixes = [operation.suffix for operation in OPERATIONS.get(key, ())] or [key]
            for index, window in enumerate(value if isinstance(value, list) else []):
                if answer in [f"{suffix}_{str(window).replace('/', '_')}" for suffix in suffixes]:
                    return (*at, key, index)
    return nearest


def uses_of(
    configuration: Configuration, documents: Mapping[str, Document], bundle: Bundle | None
) -> dict[str, list[Use]]:
    """Returns what asks for each column of the features matrix, by name; those that nothing asks for have an empty list.

    Args:
        configuration: Compiled from the documents.
        documents: features.yaml, policy.yaml and reason_codes.yaml by name.
        bundle: The active model, if any.
    """
    found: dict[str, list[Use]] = {name: [] for name in configuration.columns}
    for names, use in (*_in_features(configuration, documents[FEATURES]), *_in_policy(configuration, documents)):
        for name in sorted(set(names) & set(found)):
            found[name].append(use)
    for name in bundle.feature_names if bundle else ():
        if bundle and name in found:
            found[name].append(Use("model", bundle.name, f"revision {bundle.revision}", ""))
    return found


def _in_features(configuration: Configuration, document: Document) -> Iterator[tuple[frozenset[str], Use]]:
    """Yields the names that measures and derived features read."""
    environment = Environment(configuration.variables)
    for entity, profile in document.data.get("profiles", {}).items():
        for name, measure in profile.get("measures", {}).items():
            texts = [measure["when"]] if measure.get("when") else []
            names = {each for text in texts for each in environment.compile(text, result=VariableKind.BOOL).variables}
            place = place_of(document, ("profiles", entity, "measures", name))
            yield frozenset(names | {measure.get("of")} - {None}), Use("measure", f"{entity}.{name}", "", place)
    for name, text in document.data.get("derived", {}).items():
        expression = environment.compile(text, result=VariableKind.NUMBER)
        yield expression.variables, Use("derived feature", name, "", place_of(document, ("derived", name)))


def _in_policy(configuration: Configuration, documents: Mapping[str, Document]) -> Iterator[tuple[frozenset[str], Use]]:
    """Yields the names that rules, thresholds and reasons read."""
    compiled = configuration.policy.compiled
    policy, reasons = documents[POLICY], documents[REASONS]
    for index, (rule, condition) in enumerate(zip(compiled.file.rules, compiled.rule_conditions, strict=True)):
        asked = ", ".join([*filter(None, [rule.then.verdict]), *rule.then.obligations])
        detail = f"{rule.mode}: {asked}"
        yield condition.variables, Use("rule", rule.id, detail, place_of(policy, ("rules", index, "when")))
    segments = compiled.file.thresholds.segments
    for index, (segment, condition) in enumerate(zip(segments, compiled.segment_conditions, strict=True)):
        detail = f"review from {segment.review:g}, decline from {segment.decline:g}"
        at = place_of(policy, ("thresholds", "segments", index, "when"))
        yield condition.variables, Use("threshold", segment.id, detail, at)
    for code, reason in compiled.reasons.reasons.items():
        for key in ("feature", "norm"):
            if name := getattr(reason, key):
                yield frozenset({name}), Use("reason", code, key, place_of(reasons, ("reasons", code, key)))


def unused(features: Document, uses: Mapping[str, list[Use]]) -> list[Problem]:
    """Returns a warning, with its place, for each declared feature that nothing asks for."""
    found = [
        (path, name)
        for name, asking in uses.items()
        if not asking and (path := declared_at(features, name)) is not None
    ]
    return [
        features.problem(path, f"nothing uses {name}: no rule, threshold, feature, reason or model", at_key=True)
        for path, name in found
    ]


def windows_beyond(features: Document, days: int) -> list[Problem]:
    """Returns a warning for each window that reaches farther back than the journal is kept.

    Args:
        features: features.yaml, without mistakes.
        days: For how long the journal is kept.
    """
    found = []
    for entity, profile in features.data.get("profiles", {}).items():
        holders: list[tuple[KeyPath, Any]] = [(("profiles", entity, "distinct"), profile.get("distinct", {}))]
        holders += [(("profiles", entity, "measures", name), one) for name, one in profile.get("measures", {}).items()]
        for path, holder in holders:
            delay_us = window_us(holder["delay"]) if "measures" in path and holder.get("delay") else 0
            for key, windows in holder.items():
                for index, window in enumerate(windows if isinstance(windows, list) else []):
                    if _reach_us(window) + delay_us > days * US_PER_DAY:
                        message = (
                            f"{window} reaches farther back than the journal is kept ({days} days): after a change of this file "
                            "it begins with a hole; raise retention.journal_days of server.yaml"
                        )
                        found.append(features.problem((*path, key, index), message, at_key=True))
    return found


def _reach_us(window: Any) -> int:
    """Returns the microseconds of a window, 0 for an item of another kind."""
    try:
        # Of a ratio, the long window.
        return window_us(window.rpartition("/")[2]) if isinstance(window, str) else 0
    except ValueError:
        return 0


def _listed(data: Mapping[str, Any], *keys: str) -> list[Any]:
    found: Any = data
    for key in keys:
        found = found.get(key, {})
    return found if isinstance(found, list) else []
