"""features.yaml, compiled: the catalogue of features, the variables of conditions, and the plans of velocity and linkage.

INVARIANTS: the columns of the features matrix are, in order: the event's own features, velocity, distincts, linkage, derived,
then what is known only when the model and the lists have spoken. A problem is reported with the place of the text that has it.
Called by `engine.configuration`.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from riskengine.errors import ConfigError, Problem
from riskengine.expr import Environment, Expression, ExpressionError, Program, Variable, VariableKind
from riskengine.linkage.plan import Linkage, LinkagePlan, build_linkage, linkage_features, linkage_requests
from riskengine.tables.relations import RelationPlan, build_relations
from riskengine.types import (
    ENTITIES,
    ENTITY_INDEX,
    EVENT_WORD,
    LABEL_COLUMNS,
    US_PER_SECOND,
    Channel,
    EngineLimits,
    EntryMode,
    Feature,
    Initiation,
    IssuerOutcome,
    OutcomeType,
    TransactionType,
    VerificationResult,
)
from riskengine.velocity.distinct import relation_requests
from riskengine.velocity.plan import VelocityPlan, build_plan
from riskengine.velocity.schema import Inputs, Name, Profile
from riskengine.yamlfile import Document, KeyPath, nearest, validate

LINK_RETENTION_US = 30 * 86_400 * US_PER_SECOND
_ENUMS = {
    "txn.type": ("transaction_type", TransactionType),
    "txn.channel": ("channel", Channel),
    "txn.entry_mode": ("entry_mode", EntryMode),
    "txn.initiation": ("initiation", Initiation),
    "txn.issuer_outcome": ("issuer_outcome", IssuerOutcome),
    "txn.verified_address": ("verified_address", VerificationResult),
    "txn.verified_card_code": ("verified_card_code", VerificationResult),
    "txn.verified_three_d_secure": ("verified_three_d_secure", VerificationResult),
    "txn.verified_one_time_code": ("verified_one_time_code", VerificationResult),
    "txn.verified_biometric": ("verified_biometric", VerificationResult),
    "txn.verified_passcode": ("verified_passcode", VerificationResult),
    "outcome.type": ("outcome_type", OutcomeType),
}
_CODES = (
    "currency",
    "issuer_code",
    "merchant_category",
    "card_region",
    "ip_region",
    "merchant_region",
    "payee_region",
    "billing_region",
    "shipping_region",
    "card_bin",
)


class FeaturesFile(BaseModel):
    """features.yaml."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Literal[1]
    """Version of this format."""
    inputs: Inputs = Inputs()
    """The caller's own numbers and labels."""
    profiles: dict[str, Profile] = {}
    """What is measured for each entity type."""
    linkage: Linkage = Linkage()
    """Who shares what with whom."""
    derived: Annotated[dict[str, str], Field(max_length=64)] = {}
    """Features computed from others, by name, as CEL."""


@dataclass(frozen=True, slots=True)
class FeatureSet:
    """What the engine measures, ready to run.

    Attributes:
        features: In the order of the columns of the features matrix; the decision-time ones are not among them.
        inputs: Declared numbers and labels.
        velocity, relations, linkage: Plans for the kernels.
        conditions: Program over event features that fills the conditions matrix of the measures.
        derived: Program that fills the derived columns from earlier ones.
        hashes: 16 hex digits for each feature: equal hashes are equal definitions.
    """

    features: tuple[Feature, ...]
    inputs: Inputs
    velocity: VelocityPlan
    relations: RelationPlan
    linkage: LinkagePlan
    conditions: Program
    derived: Program
    hashes: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the features, by column."""
        return tuple(feature.name for feature in self.features)


def code_variables(inputs: Inputs) -> list[Variable]:
    """Lists the text variables: words of the event's row."""
    enums = [
        Variable(name, VariableKind.CODE, EVENT_WORD[column], {member.name: member.value for member in domain})
        for name, (column, domain) in _ENUMS.items()
    ]
    codes = [Variable(f"txn.{name}", VariableKind.CODE, EVENT_WORD[name]) for name in _CODES]
    labels = [
        Variable(f"labels.{key}", VariableKind.CODE, EVENT_WORD[LABEL_COLUMNS[slot]])
        for slot, key in enumerate(inputs.labels)
    ]
    return enums + codes + labels


def feature_variables(features: tuple[Feature, ...] | list[Feature]) -> list[Variable]:
    """Lists features as variables, by column."""
    return [
        Variable(feature.name, VariableKind.BOOL if feature.boolean else VariableKind.NUMBER, column)
        for column, feature in enumerate(features)
    ]


def _unknown_entities(document: Document, file: FeaturesFile) -> Iterator[Problem]:
    """Yields a problem for each entity type that does not exist."""
    named: list[tuple[KeyPath, str, bool]] = []
    for entity, profile in file.profiles.items():
        named.append((("profiles", entity), entity, True))
        named += [(("profiles", entity, "distinct", member), member, True) for member in profile.distinct]
        named += [(("profiles", entity, "new", index), member, False) for index, member in enumerate(profile.new)]
    for index, pair in enumerate(file.linkage.strong):
        named += [(("linkage", "strong", index, side), entity, False) for side, entity in enumerate(pair)]
        if pair[0] == pair[1] or pair in file.linkage.strong[:index] or pair[::-1] in file.linkage.strong[:index]:
            yield document.problem(("linkage", "strong", index), "a pair names two different types, once")
    named += [(("linkage", "degree_max", entity), entity, True) for entity in file.linkage.degree_max]
    for key in ("component_size", "over_degree_cap"):
        named += [(("linkage", key, index), name, False) for index, name in enumerate(getattr(file.linkage, key))]
    for path, entity, at_key in named:
        if entity not in ENTITY_INDEX:
            yield document.problem(path, f'unknown entity "{entity[:64]}"{nearest(entity, ENTITIES)}', at_key=at_key)


def _bad_measures(document: Document, file: FeaturesFile, event_names: frozenset[str]) -> Iterator[Problem]:
    """Yields a problem for each measure that measures nothing, or something that is not a feature of the event."""
    for entity, profile in file.profiles.items():
        for name, measure in profile.measures.items():
            path = ("profiles", entity, "measures", name)
            if measure.of is not None and measure.of not in event_names:
                known = nearest(measure.of, event_names)
                yield document.problem((*path, "of"), f'"{measure.of[:64]}" is not a number of the event{known}')
            needs = [operation for operation in ("sum", "mean", "std", "zscore") if getattr(measure, operation)]
            if needs and measure.of is None:
                yield document.problem(
                    path, f"{name} asks for {', '.join(needs)}: name what is measured with `of`", at_key=True
                )
            if not (needs or measure.count or measure.since_last):
                yield document.problem(path, f"{name} asks for nothing; add for example count: [24h]", at_key=True)


def _compile(
    environment: Environment,
    document: Document,
    path: KeyPath,
    text: str,
    result: VariableKind,
    problems: list[Problem],
) -> Expression | None:
    try:
        return environment.compile(text, result=result)
    except ExpressionError as error:
        problems += [document.problem(path, issue.message, offset=issue.offset) for issue in error.issues]
        return None


def _compile_conditions(
    document: Document, file: FeaturesFile, plan: VelocityPlan, event_features: list[Feature], problems: list[Problem]
) -> Program:
    """Compiles the measures' conditions, which may use the event alone."""
    environment = Environment([*feature_variables(event_features), *code_variables(file.inputs)])
    compiled: dict[str, Expression | None] = {}
    for entity, profile in file.profiles.items():
        for name, measure in profile.measures.items():
            if measure.when is not None and measure.when not in compiled:
                path = ("profiles", entity, "measures", name, "when")
                compiled[measure.when] = _compile(
                    environment, document, path, measure.when, VariableKind.BOOL, problems
                )
    ready = [expression for text in plan.conditions if (expression := compiled.get(text)) is not None]
    return Program(ready, list(range(len(ready))))


def _compile_derived(
    document: Document, file: FeaturesFile, features: list[Feature], problems: list[Problem]
) -> Program:
    """Compiles the derived features, each of which may use those before it, and appends them to `features`."""
    expressions, targets = [], []
    for name, text in file.derived.items():
        path: KeyPath = ("derived", name)
        entity, _, rest = name.partition(".")
        if entity not in (*ENTITIES, "txn") or not rest.replace("_", "a").isalnum():
            problems.append(
                document.problem(path, "a feature is named entity.name, such as card.ratio_24h", at_key=True)
            )
            continue
        if name in {feature.name for feature in features}:
            problems.append(document.problem(path, f"{name} is measured already; choose another name", at_key=True))
            continue
        environment = Environment([*feature_variables(features), *code_variables(file.inputs)])
        expression = _compile(environment, document, path, text, VariableKind.NUMBER, problems)
        if expression is not None:
            expressions.append(expression)
            targets.append(len(features))
        features.append(Feature(name, "as its formula says", f"Computed: {text.strip()}", definition=f"derived|{text}"))
    return Program(expressions, targets)


def _hashes(features: list[Feature]) -> tuple[str, ...]:
    return tuple(
        hashlib.blake2b(f"1|{feature.name}|{feature.definition}".encode(), digest_size=8).hexdigest()
        for feature in features
    )


def compile_features(document: Document, limits: EngineLimits) -> FeatureSet:
    """Compiles features.yaml.

    Args:
        document: The file.
        limits: `lateness_max_s` applies.

    Raises:
        ConfigError: With every problem and its place.
    """
    file = validate(document, FeaturesFile)
    problems = list(_unknown_entities(document, file))
    if problems:
        raise ConfigError(problems)
    lateness_us = limits.lateness_max_s * US_PER_SECOND
    probe = build_plan(file.inputs, {}, lateness_us=lateness_us)
    event_features = list(probe.features)
    problems += _bad_measures(document, file, frozenset(f.name for f in event_features if not f.boolean))
    if problems:
        raise ConfigError(problems)
    velocity = build_plan(file.inputs, file.profiles, lateness_us=lateness_us)
    features = list(velocity.features)
    distinct, requests = relation_requests(file.profiles, column_first=len(features))
    features += distinct
    relations = build_relations([*requests, *linkage_requests(file.linkage)])
    linkage = build_linkage(file.linkage, relations, column_first=len(features))
    features += linkage_features(file.linkage)
    for pair in file.linkage.strong:
        for entity in pair:
            index = ENTITY_INDEX[entity]
            velocity.horizons_us[index] = max(velocity.horizons_us[index], LINK_RETENTION_US + lateness_us)
    conditions = _compile_conditions(document, file, velocity, event_features, problems)
    derived = _compile_derived(document, file, features, problems)
    if problems:
        raise ConfigError(problems)
    assert len({feature.name for feature in features}) == len(features), "feature names are unique"
    assert np.all(velocity.first_seen < len(features))
    return FeatureSet(
        features=tuple(features),
        inputs=file.inputs,
        velocity=velocity,
        relations=relations,
        linkage=linkage,
        conditions=conditions,
        derived=derived,
        hashes=_hashes(features),
    )


__all__ = ["FeatureSet", "FeaturesFile", "Name", "code_variables", "compile_features", "feature_variables"]
