"""The configuration as one thing: features, policy, reasons, lists, model, limits, base currency.

INVARIANTS: `content` alone (with the model's bundle, which it names by hash) rebuilds the configuration without any key or file
of the user, so the journal holds every configuration that ever decided. Equal contents decide equally. The mistakes of all
files are reported at once; one file hides of another only what cannot be judged without it, such as conditions without features.

Called by `engine.engine`, `engine.recovery`, `lab` and `cli`.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from riskengine.engine.features import FeatureSet, code_variables, compile_features, feature_variables
from riskengine.errors import BundleError, ConfigError, Problem
from riskengine.expr import Environment, Variable
from riskengine.feature import Feature, Words
from riskengine.limits import EngineLimits
from riskengine.model.bundle import Bundle, load_bundle
from riskengine.model.stage import Model
from riskengine.policy.compile import CompiledPolicy, compile_policy, documents_of, find_problems, list_ids
from riskengine.policy.lists import Lists
from riskengine.policy.stage import Policy
from riskengine.yamlfile import Document, load_file

CONTENT_FORMAT: Final = 1
ACTIVE_MODEL_FILE: Final = "active"
"""A file in the folder of models that holds the name of the bundle to serve."""
Tagger = Callable[[str, str], int]


@dataclass(frozen=True, slots=True, eq=False)
class Configuration:
    """What to measure and how to decide.

    Attributes:
        features: What is measured.
        policy: The policy as a stage.
        model: The model bound to the columns, or None.
        model_path: Where its bundle is, or None.
        columns: Name of each column of the features matrix, the decision-time ones included.
        variables: What conditions of the policy may name.
        limits: Bounds that the state depends on.
        base_currency: ISO 4217 code of all base amounts.
        content: Canonical JSON without the revision.
        revision: Ordinal of its activation, 0 before it has one.
    """

    features: FeatureSet
    policy: Policy
    model: Model | None
    model_path: Path | None
    columns: tuple[str, ...]
    variables: tuple[Variable, ...]
    limits: EngineLimits
    base_currency: str
    content: str
    revision: int = 0

    @property
    def lists(self) -> Lists:
        """The lists as a stage."""
        return self.policy.lists

    @property
    def column_count(self) -> int:
        """Columns of the features matrix."""
        return len(self.columns)

    @property
    def probability_column(self) -> int:
        """Column of model.probability."""
        return len(self.features.features)

    @property
    def margin_column(self) -> int:
        """Column of model.margin."""
        return len(self.features.features) + 1

    def with_revision(self, revision: int) -> "Configuration":
        """Returns the same configuration as the activation with this ordinal."""
        return replace(self, revision=revision)

    def names(self) -> dict[str, Any]:
        """Returns what a decision row's bits and indexes mean, as plain JSON for the front."""
        compiled = self.policy.compiled
        bundle = self.model.bundle if self.model else None
        return {
            **compiled.names(),
            "revision": self.revision,
            "policy": f"policies/{compiled.name}",
            "policy_revision": compiled.revision[:12],
            "model": f"models/{bundle.name}" if bundle else "",
            "model_revision": bundle.revision if bundle else "",
            "base_currency": self.base_currency,
            "features": list(self.columns),
            "inputs": {"numbers": list(self.features.inputs.numbers), "labels": list(self.features.inputs.labels)},
        }


_SCORED: Final = Words(
    nulls="missing without an active model, and where the deadline left it no time",
    exactness="exact: a replay gives the same bits",
)
_LISTED: Final = Words(nulls="never missing", exactness="exact")
DECISION_TIME_FEATURES: Final = (
    Feature("model.probability", "probability", "The model's calibrated probability of fraud.", **_SCORED),
    Feature("model.margin", "log-odds", "The model's score before calibration.", **_SCORED),
)


def _columns(features: FeatureSet, lists: tuple[str, ...]) -> list[Feature]:
    listed = [
        Feature(f"list.{name}", "yes or no", f"Whether list {name} names an entity.", True, **_LISTED) for name in lists
    ]
    return [*features.features, *DECISION_TIME_FEATURES, *listed]


def columns_of(configuration: Configuration) -> list[Feature]:
    """Returns what each column of the features matrix means, the decision-time ones included."""
    return _columns(configuration.features, tuple(each.id for each in configuration.policy.compiled.file.lists))


def build_configuration(
    features_document: Document,
    policy_document: Document,
    reasons_document: Document,
    *,
    limits: EngineLimits,
    base_currency: str,
    model_path: Path | None,
    tag: Tagger | None,
    now_us: int | None = None,
) -> Configuration:
    """Compiles the documents and binds the model.

    Args:
        features_document: features.yaml.
        policy_document: policy.yaml.
        reasons_document: reason_codes.yaml.
        limits: Bounds.
        base_currency: ISO 4217 code.
        model_path: Folder of the bundle, or None to decide by rules alone.
        tag: Turns (entity type, identifier) of a list into a tag; None where lists hold tags already.
        now_us: Time of day for warnings about expired list entries.

    Raises:
        ConfigError: With every problem.
        BundleError: The model is damaged or does not fit the features.
    """
    try:
        features = compile_features(features_document, limits)
    except ConfigError as error:
        others = find_problems(policy_document, reasons_document, tag=tag)
        raise ConfigError([*error.problems, *others]) from None
    columns = _columns(features, list_ids(policy_document))
    variables = (*feature_variables(columns), *code_variables(features.inputs))
    names = tuple(feature.name for feature in columns)
    compiled = compile_policy(policy_document, reasons_document, Environment(variables), names, tag=tag, now_us=now_us)
    model = bind_model(load_bundle(model_path), features) if model_path else None
    return Configuration(
        features=features,
        policy=Policy(compiled),
        model=_rebind(model, names),
        model_path=model_path,
        columns=names,
        variables=variables,
        limits=limits,
        base_currency=base_currency,
        content=_content(features_document, compiled, model, limits=limits, base_currency=base_currency),
    )


def bind_model(bundle: Bundle, features: FeatureSet) -> Model:
    """Binds a bundle to features by name and definition.

    Raises:
        BundleError: A feature is absent, or defined otherwise than at training.
    """
    return Model(bundle, features.names, definition_hashes=dict(zip(features.names, features.hashes, strict=True)))


def _rebind(model: Model | None, names: tuple[str, ...]) -> Model | None:
    """Binds a checked model to all columns, of which those of `FeatureSet` come first."""
    return Model(model.bundle, names) if model else None


def _content(
    features_document: Document,
    compiled: CompiledPolicy,
    model: Model | None,
    *,
    limits: EngineLimits,
    base_currency: str,
) -> str:
    bundle = model.bundle if model else None
    content = {
        "format": CONTENT_FORMAT,
        "base_currency": base_currency,
        "limits": asdict(limits),
        "model": {"name": bundle.name, "revision": bundle.revision} if bundle else None,
        "features": features_document.data,
        "policy": compiled.content.decode(),
    }
    return json.dumps(content, separators=(",", ":"), allow_nan=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Replacement:
    """What decides instead of a part of a configuration, measured on the very same features.

    Attributes:
        policy: policy.yaml, or None to keep the policy.
        reasons: reason_codes.yaml, or None to keep the reasons.
        model_path: Folder of a bundle, or None to keep the model.
        tag: Turns identifiers of the policy's lists into tags; None where its lists hold tags only.
    """

    policy: Document | None = None
    reasons: Document | None = None
    model_path: Path | None = None
    tag: Tagger | None = None


def configuration_from_content(content: str, *, models_dir: Path, instead: Replacement | None = None) -> Configuration:
    """Rebuilds a configuration that was journaled.

    Args:
        content: From `Configuration.content`.
        models_dir: The engine's own folder of bundles, by revision.
        instead: Parts to take from elsewhere; features, limits and base currency are always those that were journaled.

    Raises:
        ConfigError: It is of another format, refers to what this program does not know, or the other policy or its reasons
            have mistakes or name what these features do not measure.
        BundleError: The model's bundle is gone or damaged, or the other one does not fit the features.
    """
    instead = instead or Replacement()
    data = json.loads(content)
    if data["format"] != CONTENT_FORMAT:
        message = f"format {data['format']}, this program reads format {CONTENT_FORMAT}; use the one that wrote it"
        raise ConfigError([Problem("activation", 0, 0, message)])
    policy_document, reasons_document = documents_of(data["policy"].encode())
    model_path = instead.model_path or (models_dir / data["model"]["revision"] if data["model"] else None)
    if instead.model_path is None and model_path is not None and not model_path.is_dir():
        raise BundleError(f"model {data['model']['name']} is missing; restore {model_path} from a copy")
    return build_configuration(
        Document("features.yaml", data["features"]),
        instead.policy or policy_document,
        instead.reasons or reasons_document,
        limits=EngineLimits(**data["limits"]),
        base_currency=data["base_currency"],
        model_path=model_path,
        tag=instead.tag,
    )


def active_model(model_dir: Path) -> Path | None:
    """Returns the folder of the bundle that `active` names, or None where there is none.

    Raises:
        BundleError: It names one that is not there.
    """
    pointer = model_dir / ACTIVE_MODEL_FILE
    if not pointer.is_file():
        return None
    name = pointer.read_text(encoding="ascii").strip()
    path = model_dir / name
    if not name or "/" in name or not path.is_dir():
        raise BundleError(
            f"{pointer} names a model that is not in {model_dir}; write the name of one that is, or delete it"
        )
    return path


def load_configuration(
    config_dir: Path,
    *,
    limits: EngineLimits,
    base_currency: str,
    model_dir: Path,
    tag: Tagger | None,
    now_us: int | None = None,
) -> Configuration:
    """Loads the analysts' folder.

    Args:
        config_dir: Holds features.yaml, policy.yaml and reason_codes.yaml.
        limits: From server.yaml.
        base_currency: From server.yaml.
        model_dir: Folder of bundles, with `active`.
        tag: Turns identifiers of lists into tags.
        now_us: Time of day for warnings about expired entries.

    Raises:
        ConfigError: With every problem of every file.
        BundleError: The active model is damaged or does not fit.
    """
    documents: dict[str, Document] = {}
    problems: list[Problem] = []
    for name in ("features.yaml", "policy.yaml", "reason_codes.yaml"):
        try:
            documents[name] = load_file(config_dir / name)
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(problems + _problems_of_the_rest(documents, limits, tag))
    return build_configuration(
        *documents.values(),
        limits=limits,
        base_currency=base_currency,
        model_path=active_model(model_dir),
        tag=tag,
        now_us=now_us,
    )


def _problems_of_the_rest(documents: dict[str, Document], limits: EngineLimits, tag: Tagger | None) -> list[Problem]:
    """Returns what is wrong with the files that can be read, beside one that cannot."""
    problems = find_problems(documents.get("policy.yaml"), documents.get("reason_codes.yaml"), tag=tag)
    if "features.yaml" in documents:
        try:
            compile_features(documents["features.yaml"], limits)
        except ConfigError as error:
            problems += error.problems
    return problems
