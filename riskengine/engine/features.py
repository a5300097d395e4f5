"""features.yaml, compiled: the catalogue of features, the variables of conditions, and the plans of velocity and linkage.

INVARIANTS: the columns of the features matrix are, in order: the event's own features, velocity, distincts, linkage, derived,
then what is known only when the model and the lists have spoken. A problem is reported with the place of the text that has it.
Equal hashes are equal meanings: a definition holds all that its feature's values depend on but the limits of server.yaml, which
bound what fits into memory.

Called by `engine.configuration`, `features list` and tests.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from riskengine.engine.declaration import (
    derived_problem,
    input_problems,
    key_problems,
    linkage_problems,
    part_of,
    profile_problems,
)
from riskengine.enums import (
    Channel,
    EntryMode,
    Initiation,
    IssuerOutcome,
    OutcomeType,
    TransactionType,
    VerificationResult,
)
from riskengine.errors import ConfigError, Problem
from riskengine.expr import Environment, Expression, ExpressionError, Program, Variable, VariableKind
from riskengine.feature import Feature, Words
from riskengine.limits import EngineLimits
from riskengine.linkage.plan import Linkage, LinkagePlan, build_linkage, linkage_features, linkage_requests
from riskengine.model.trees import FEATURES_MAX
from riskengine.tables.keys import KeyPlan, build_keys
from riskengine.tables.layout import KEY_FIELDS_MAX
from riskengine.tables.relations import RelationPlan, build_relations
from riskengine.types import ENTITIES, ENTITY_INDEX, EVENT_WORD, LABEL_COLUMNS, US_PER_SECOND
from riskengine.velocity.distinct import relation_requests
from riskengine.velocity.plan import VelocityPlan, build_plan, event_features, kept_us
from riskengine.velocity.schema import Inputs, Name, Profile
from riskengine.yamlfile import Document, KeyPath, check_parts

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
    keys: Annotated[
        dict[Name, Annotated[list[str], Field(min_length=1, max_length=KEY_FIELDS_MAX)]], Field(max_length=16)
    ] = {}
    """Entity types of your own: the fields of the event that make one, entities and codes."""
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
        keys, velocity, relations, linkage: Plans for the kernels.
        conditions: Program over event features that fills the conditions matrix of the measures.
        derived: Program that fills the derived columns from earlier ones.
        hashes: 16 hex digits for each feature: equal hashes are equal definitions.
    """

    features: tuple[Feature, ...]
    inputs: Inputs
    keys: KeyPlan
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
    document: Document, file: FeaturesFile, event: list[Feature], problems: list[Problem]
) -> dict[str, Expression]:
    """Compiles the measures' conditions, which may use the event alone; returns them by text."""
    environment = Environment([*feature_variables(event), *code_variables(file.inputs)])
    compiled: dict[str, Expression] = {}
    for entity, profile in file.profiles.items():
        for name, measure in profile.measures.items():
            if measure.when is None or measure.when in compiled:
                continue
            path = ("profiles", entity, "measures", name, "when")
            expression = _compile(environment, document, path, measure.when, VariableKind.BOOL, problems)
            if expression is not None:
                compiled[measure.when] = expression
    return compiled


def code_words(inputs: Inputs) -> dict[str, int]:
    """Returns the codes that a key may be made of, with their words of the event."""
    return {variable.name.removeprefix("txn."): variable.column for variable in code_variables(inputs)}


def _compile_derived(
    document: Document, file: FeaturesFile, features: list[Feature], problems: list[Problem]
) -> Program:
    """Compiles the derived features, each of which may use those before it, and appends them to `features`."""
    expressions, targets = [], []
    codes = code_variables(file.inputs)
    for name, text in file.derived.items():
        by_name = {feature.name: feature for feature in features}
        problem = derived_problem(
            document, name, {*by_name, *(variable.name for variable in codes)}, [*ENTITIES, *file.keys]
        )
        if problem is not None:
            problems.append(problem)
            continue
        environment = Environment([*feature_variables(features), *codes])
        expression = _compile(environment, document, ("derived", name), text, VariableKind.NUMBER, problems)
        definition, told = "", Words(nulls="", exactness="")
        if expression is not None:
            expressions.append(expression)
            targets.append(len(features))
            # What it is computed from is a part of its meaning.
            used = [
                f"{other}={by_name[other].definition_hash}" for other in sorted(expression.variables & set(by_name))
            ]
            definition = "|".join(("derived", text, *used))
            told = _derived_words(sorted(expression.variables & set(by_name)))
        features.append(
            Feature(name, "as its formula says", f"Computed: {text.strip()}", definition=definition, **told)
        )
    return Program(expressions, targets)


def _derived_words(used: list[str]) -> Words:
    """Returns `nulls` and `exactness` of what is computed from other features."""
    return {
        "nulls": "missing where its formula needs a missing value",
        "exactness": f"as exact as {', '.join(used)}" if used else "exact",
    }


def compile_features(document: Document, limits: EngineLimits) -> FeatureSet:
    """Compiles features.yaml.

    Args:
        document: The file.
        limits: `lateness_max_s` applies.

    Raises:
        ConfigError: With every problem and its place. Derived features are looked at when what they can name is known: when
            there is nothing wrong with inputs, profiles and linkage but their conditions. A measure of the wrong form hides
            only itself.
    """
    file, wrong = check_parts(document, FeaturesFile, part_of)
    if file is None:
        raise ConfigError(wrong)
    event = event_features(file.inputs)
    of_inputs = list(input_problems(document, file.inputs))
    problems: list[Problem] = []
    # A key that stands there twice, or that no condition can spell, is no variable; nor is one that was not understood.
    understood = not wrong or file.inputs.model_dump(exclude_unset=True) == document.data.get("inputs", {})
    wrong += of_inputs
    conditions = {} if of_inputs or not understood else _compile_conditions(document, file, event, problems)
    numbers = [feature.name for feature in event if not feature.boolean]
    if not of_inputs and understood:
        wrong += key_problems(document, file.keys, list(code_words(file.inputs)))
    for entity, profile in file.profiles.items():
        wrong += profile_problems(document, entity, profile, numbers, file.keys)
    wrong += linkage_problems(document, file.linkage)
    if wrong:
        raise ConfigError(wrong + problems)
    keys = build_keys(file.keys, code_words(file.inputs))
    features, velocity, relations, linkage = _plans(file, keys, lateness_us=limits.lateness_max_s * US_PER_SECOND)
    count = len(features) + len(file.derived)
    if count > FEATURES_MAX:
        message = f"these are {count} features, at most {FEATURES_MAX} fit; ask for fewer windows"
        raise ConfigError([*problems, document.problem(("profiles",), message, at_key=True)])
    derived = _compile_derived(document, file, features, problems)
    if problems:
        raise ConfigError(problems)
    assert len({feature.name for feature in features}) == len(features), "feature names are unique"
    return FeatureSet(
        features=tuple(features),
        inputs=file.inputs,
        keys=keys,
        velocity=velocity,
        relations=relations,
        linkage=linkage,
        conditions=Program([conditions[text] for text in velocity.conditions], range(len(velocity.conditions))),
        derived=derived,
        hashes=tuple(feature.definition_hash for feature in features),
    )


def _plans(
    file: FeaturesFile, keys: KeyPlan, *, lateness_us: int
) -> tuple[list[Feature], VelocityPlan, RelationPlan, LinkagePlan]:
    """Makes the plans of a declaration without problems, and the catalogue but for what is derived."""
    velocity = build_plan(file.inputs, file.profiles, keys, lateness_us=lateness_us)
    features = list(velocity.features)
    linked = {entity for pair in file.linkage.strong for entity in pair}
    kept = {entity: kept_us(file.profiles.get(entity, Profile())) for entity in linked}
    for entity, us in kept.items():
        velocity.horizons_us[ENTITY_INDEX[entity]] = us + lateness_us
    retention_us = {entity: us + lateness_us for entity, us in kept.items()}
    links = linkage_requests(file.linkage, retention_us=retention_us)
    shared = {(link.owner, link.member): link.entries_max for link in links}
    distinct, requests = relation_requests(
        file.profiles, column_first=len(features), shared=shared, lateness_us=lateness_us
    )
    features += distinct
    relations = build_relations([*requests, *links], keys.types)
    linkage = build_linkage(file.linkage, relations, column_first=len(features))
    features += linkage_features(file.linkage, kept_us=kept)
    return features, velocity, relations, linkage
