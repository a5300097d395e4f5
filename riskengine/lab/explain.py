"""A decision explained: the state just before it made again, the command applied alone, and the answer taken apart.

INVARIANTS: nothing is written. It is the serving code that decides, on a state made from the journal; whether it came out bit for
bit as journaled is part of the explanation. Another policy or model is asked on the very same features.

Called by `cli`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from riskengine.engine.activation import MODELS_FOLDER, SEMANTICS
from riskengine.engine.configuration import Replacement, configuration_from_content
from riskengine.engine.pipeline import Pipeline
from riskengine.engine.rebuild import Rebuilt, state_before
from riskengine.lab.answer import Answer, answer_of
from riskengine.lab.event_words import event_words
from riskengine.lab.find import Found
from riskengine.types import DECISION_COLUMNS, Array, words
from riskengine.wire.reply import ReplyBuilder, decision_name

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, eq=False)
class Explanation:
    """Why a decision was what it was.

    Attributes:
        name: Of the decision.
        sequence: Of the event.
        earlier: Sequences of older decisions of the same name.
        revision: Ordinal of the activation that decided.
        base_currency: Of its amounts, ISO 4217.
        event: What the event held, in clear words.
        given: riskengine.v1.Decision, as the caller was told at the time.
        answer: As it comes out now.
        different: Columns of the decision that came out otherwise; empty: bit for bit the same.
        native: Whether the same program on the same kind of CPU decided then, so that the same bits are promised.
        instead: What the other policy or model would have said, or None.
    """

    name: str
    sequence: int
    earlier: tuple[int, ...]
    revision: int
    base_currency: str
    event: dict[str, str | int | float]
    given: Any
    answer: Answer
    different: tuple[str, ...]
    native: bool
    instead: Answer | None = None


def explain(
    data_dir: Path, found: Found, *, instead: Replacement | None = None, on_progress: Progress | None = None
) -> Explanation:
    """Explains a decision.

    Args:
        data_dir: The data directory; it may be in use.
        found: From `lab.find`.
        instead: Another policy or model to ask as well.
        on_progress: Called with (bytes read, bytes in all) while the state is made.

    Raises:
        JournalCorrupt: The journal is damaged.
        BundleError: The model that decided is gone, or the other one does not fit the features of that time.
        ConfigError: The other policy has mistakes, or names what was not measured at that time.
    """
    rebuilt = state_before(data_dir, found.sequence, on_progress=on_progress)
    events = words(found.event.copy())
    features, valid, flags = rebuilt.pipeline.fold(events)
    # The other side first: it takes a copy of what was measured, and leaves the pipeline's own columns alone.
    other = None
    if instead is not None:
        other = _ask(rebuilt, instead, data_dir / MODELS_FOLDER, found.event, features, valid, flags)
    decisions = rebuilt.pipeline.decide(events, features, valid, flags)
    unequal = decisions[0] != words(found.decision)[0]
    revision = rebuilt.activation.revision
    return Explanation(
        name=_name(found.decision),
        sequence=found.sequence,
        earlier=found.earlier,
        revision=revision,
        base_currency=rebuilt.configuration.base_currency,
        event=event_words(found.event, rebuilt.configuration.features.inputs),
        given=ReplyBuilder({revision: rebuilt.activation.names}).decision(found.decision.tobytes()),
        answer=answer_of(rebuilt.configuration, event=found.event, features=features, valid=valid, decisions=decisions),
        different=tuple(DECISION_COLUMNS[column] for column in np.flatnonzero(unequal)),
        native=rebuilt.activation.semantics == SEMANTICS,
        instead=other,
    )


def _ask(
    rebuilt: Rebuilt,
    instead: Replacement,
    models_dir: Path,
    event: Array,
    features: npt.NDArray[np.float64],
    valid: npt.NDArray[np.uint8],
    flags: npt.NDArray[np.int64],
) -> Answer:
    """Decides the event by another configuration on the same features."""
    other = configuration_from_content(
        rebuilt.activation.configuration, models_dir=models_dir, instead=instead
    ).with_revision(rebuilt.activation.revision)
    measured = len(other.features.features)
    assert other.features.names == rebuilt.configuration.features.names, "the same features are measured"
    own_features = np.zeros((1, other.column_count))
    own_valid = np.zeros((1, other.column_count), np.uint8)
    own_features[:, :measured], own_valid[:, :measured] = features[:, :measured], valid[:, :measured]
    pipeline = Pipeline(other, rebuilt.state, other.limits)
    decisions = pipeline.decide(words(event), own_features, own_valid, flags)
    return answer_of(other, event=event, features=own_features, valid=own_valid, decisions=decisions)


def _name(decision: Array) -> str:
    return decision_name(request_key=int(decision["request_key"][0]), request_check=int(decision["request_check"][0]))
