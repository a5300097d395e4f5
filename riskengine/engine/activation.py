"""What decides from a place of the journal on: its content, the models it needs, and what a state made under it is worth.

INVARIANTS: two configurations with equal state keys, folded by this program from the same sequence on, make equal states;
whatever a byte of the state depends on is in the key, and what only reads it is not: another window of a measure that is
kept, or a derived feature, leaves every snapshot usable. A model is in the data directory before the activation that
needs it.

Called by `engine.recovery`, `engine.rebuild`, `engine.snapshot`, the follower and `lab`.
"""

import json
import shutil
from dataclasses import asdict, dataclass, fields
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

import numpy as np

from riskengine.durable import make_folder, sync_path
from riskengine.engine.configuration import Configuration, configuration_from_content
from riskengine.engine.features import FeatureSet
from riskengine.jit import semantics_id, sources_digest
from riskengine.journal.reader import Activated
from riskengine.limits import EngineLimits
from riskengine.linkage import layout as linkage_layout
from riskengine.tables import layout as tables_layout
from riskengine.types import LAYOUT_VERSION
from riskengine.velocity import layout as velocity_layout

MODELS_FOLDER: Final = "models"
SEMANTICS: Final = semantics_id()
"""Of this program: the same decisions, bit for bit, are promised within one."""
SOURCES: Final = sources_digest()
"""Of the kernels of this program: the same states, bit for bit, are promised within one."""
KEY_BYTES: Final = 16
_STATELESS_LIMITS: Final = frozenset({"batch_rows_max"})
"""Limits that change no byte of the state: it does not depend on the borders of batches."""
_READS: Final = frozenset({"windows", "reads", "first_seen"})
"""Parts of the plans that only say which answers go to which column; like these words of rows of the others."""
_READ_WORDS: Final = {
    "profiles": [
        velocity_layout.PROFILE_WINDOW,
        velocity_layout.PROFILE_WINDOWS,
        velocity_layout.PROFILE_FEATURE,
        velocity_layout.PROFILE_FEATURES,
    ],
    "relations": [
        tables_layout.RELATION_NEW_COLUMN,
        tables_layout.RELATION_READ,
        tables_layout.RELATION_READS,
        tables_layout.RELATION_KNOWN_US,
    ],
    "rates": [velocity_layout.RATE_COLUMN, velocity_layout.RATE_SCALE, velocity_layout.RATE_OWN],
    "places": [
        velocity_layout.PLACE_COLUMN_CHANGED,
        velocity_layout.PLACE_COLUMN_SPEED,
        velocity_layout.PLACE_COLUMN_HOME,
    ],
    "columns": [linkage_layout.COLUMN_COMPONENT_SIZE, linkage_layout.COLUMN_OVER_CAP],
}


@dataclass(frozen=True, slots=True)
class Activation:
    """What an activation frame holds, and where it stands.

    Attributes:
        sequence: Of the first event that it decides.
        revision: Its ordinal, 1, 2, 3 ...
        configuration: Content that rebuilds the configuration.
        names: What the decisions under it refer to.
        semantics: Of the program that decided, see `jit.semantics_id`.
        since: Where the history begins that the state was folded from: 1 unless the operator accepted a shorter one.
    """

    sequence: int
    revision: int
    configuration: str
    names: dict[str, Any]
    semantics: str
    since: int = 1

    @classmethod
    def read(cls, activated: Activated) -> "Activation":
        """Reads an activation frame."""
        return cls.from_document({"sequence": activated.sequence, "revision": activated.revision, **_loaded(activated)})

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> "Activation":
        """Reads what `document` returned."""
        return cls(
            sequence=int(document["sequence"]),
            revision=int(document["revision"]),
            configuration=str(document["configuration"]),
            names=dict(document["names"]),
            semantics=str(document["semantics"]),
            since=int(document.get("since", 1)),
        )

    def document(self) -> dict[str, Any]:
        """Returns all of it as plain JSON."""
        return asdict(self)

    def content(self) -> bytes:
        """Returns the bytes of the frame."""
        told: dict[str, Any] = {
            "configuration": self.configuration,
            "names": self.names,
            "semantics": self.semantics,
        }
        if self.since != 1:
            told["since"] = self.since
        return json.dumps(told, separators=(",", ":")).encode()

    def rebuild(self, data_dir: Path, *, with_model: bool = True) -> Configuration:
        """Returns the configuration.

        Args:
            data_dir: Holds the models.
            with_model: False where nothing is decided: the model is then neither needed nor loaded.

        Raises:
            BundleError: The model is gone or damaged.
        """
        content = self.configuration
        if not with_model:
            content = json.dumps(json.loads(content) | {"model": None})
        return configuration_from_content(content, models_dir=data_dir / MODELS_FOLDER).with_revision(self.revision)


def _loaded(activated: Activated) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(activated.content)
    return loaded


def state_key(features: FeatureSet, limits: EngineLimits, *, since: int = 1) -> bytes:
    """Names the states that this program makes of a journal.

    Args:
        features: What is measured.
        limits: Bounds.
        since: Sequence at which the history begins.

    Returns:
        16 bytes over layout, kernels, the plans and conditions that the fold runs by, the limits that it depends on, and
        `since`.
    """
    digest = blake2b(digest_size=KEY_BYTES)
    kept_limits = {name: value for name, value in asdict(limits).items() if name not in _STATELESS_LIMITS}
    head = {"layout": LAYOUT_VERSION, "sources": SOURCES, "since": since, "limits": kept_limits}
    digest.update(json.dumps(head, sort_keys=True).encode())
    for plan in (features.keys, features.velocity, features.relations, features.linkage):
        for field in fields(plan):
            if field.name not in _READS:
                _add(digest, field.name, getattr(plan, field.name))
    _add(digest, "conditions", features.conditions.code)
    return digest.digest()


def _add(digest: blake2b, name: str, value: object) -> None:
    """Adds an array or a list of plain values; what else a plan has is words for people, or says the same."""
    if isinstance(value, np.ndarray):
        if name in _READ_WORDS:
            value = value.copy()
            value[:, _READ_WORDS[name]] = 0
        digest.update(json.dumps([name, value.dtype.str, value.shape]).encode())
        digest.update(np.ascontiguousarray(value).data)
    elif isinstance(value, int) or (isinstance(value, list) and all(isinstance(each, int | str) for each in value)):
        digest.update(json.dumps([name, value]).encode())


def state_key_of(configuration: Configuration, *, since: int = 1) -> bytes:
    """Returns the key of the states that a configuration makes; see `state_key`."""
    return state_key(configuration.features, configuration.limits, since=since)


def keep_model(data_dir: Path, configuration: Configuration) -> None:
    """Copies the bundle into the data directory by its revision, so that a replay finds it."""
    if configuration.model is None or configuration.model_path is None:
        return
    folder = data_dir / MODELS_FOLDER
    target = folder / configuration.model.bundle.revision
    if target.is_dir():
        return
    make_folder(folder)
    partial = folder / f".{target.name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(configuration.model_path, partial)
    for file in (*partial.iterdir(), partial):
        sync_path(file)
    partial.rename(target)
    sync_path(folder)
