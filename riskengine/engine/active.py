"""`active.json` in the data directory: the activation that decides now, for a process that is started again.

An engine that fell goes on under what decided before, whatever an editor has saved in the configuration folder meanwhile: a
half-written policy must not turn a crash into an outage, nor into a change of policy. The file is a projection of the
journal's last activation frame. It also tells that there was a journal: without it, a data directory whose journal vanished
would look like a new one.

INVARIANTS: it is written after the activation is durable in the journal, whole or not at all. Called by `recovery`, `loop` and
`cli.activate`.
"""

import json
import logging
from pathlib import Path
from typing import Final

from riskengine.durable import replace_file
from riskengine.engine.activation import MODELS_FOLDER, Activation
from riskengine.engine.configuration import Configuration, configuration_from_content

logger = logging.getLogger(__name__)

ACTIVE_NAME: Final = "active.json"


def keep_active(data_dir: Path, activation: Activation) -> None:
    """Writes an activation that the journal holds, unless the file tells of it already.

    Args:
        data_dir: Of the engine.
        activation: The last one.

    Raises:
        OSError: It cannot be written.
    """
    text = json.dumps(activation.document(), separators=(",", ":")).encode()
    path = data_dir / ACTIVE_NAME
    if not (path.is_file() and path.read_bytes() == text):
        replace_file(path, text)


def read_active(data_dir: Path) -> Activation | None:
    """Returns the activation that decided last, or None where no readable file tells of it."""
    try:
        return Activation.from_document(json.loads((data_dir / ACTIVE_NAME).read_bytes()))
    except (OSError, ValueError, KeyError, TypeError) as error:
        logger.warning("%s tells of no activation (%s)", data_dir / ACTIVE_NAME, error)
        return None


def resumed_configuration(data_dir: Path) -> Configuration | None:
    """Returns what decided last, or None where no readable file tells of it.

    Args:
        data_dir: Of the engine; it holds the models, too.

    Raises:
        BundleError: The model is gone or damaged.
        ConfigError: It was written by a program that knew more than this one.
    """
    activation = read_active(data_dir)
    if activation is None:
        return None
    return configuration_from_content(activation.configuration, models_dir=data_dir / MODELS_FOLDER)
