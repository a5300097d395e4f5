"""`riskengine features activate`: a changed folder decides in a running server, and nobody loses a call."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from riskengine.engine.activation import state_key_of
from riskengine.engine.candidate import candidate_folder
from riskengine.engine.origin import activations_from, sound_headers
from riskengine.engine.pipeline import Pipeline
from riskengine.engine.rebuild import state_before
from riskengine.engine.snapshot import snapshot_paths
from riskengine.engine.state import State
from riskengine.journal.reader import Commits, JournalReader
from riskengine.lab.find import decision_keys, find_by_keys
from riskengine.lab.replay import replay
from riskengine.types import NUMBER_COLUMNS, Array, WordMatrix, words
from tests.engine.journals import bits
from tests.server.activating import (
    NEW_INPUT,
    NEW_MEASURE,
    NEW_RULE,
    NEW_WINDOW,
    QUICK,
    Callers,
    activate,
    change,
    revisions,
    until,
)
from tests.server.running import Server, score_request, serving, write_config

pytestmark = [pytest.mark.server, pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose files each test leaves as what decides."""
    with serving(write_config(tmp_path_factory.mktemp("shared") / "config", QUICK)) as running:
        yield running


@pytest.fixture
def followed(tmp_path: Path) -> Iterator[Server]:
    """A server of this test alone, with a follower that takes a snapshot every hundred events."""
    with serving(write_config(tmp_path / "config", QUICK), follower=True) as running:
        yield running


def recorded(data_dir: Path) -> list[Commits]:
    """Returns all that the journal holds."""
    return [item for item in JournalReader(data_dir, live=True) if isinstance(item, Commits)]


def batches(events: Array) -> list[WordMatrix]:
    """Cuts events into what a pipeline takes."""
    return [words(events[first : first + 64]) for first in range(0, len(events), 64)]


def weights(data_dir: Path) -> list[float]:
    """Returns what the journal holds in the place of parcel_weight."""
    return [float(value) for item in recorded(data_dir) for value in item.events[NUMBER_COLUMNS[2]].tolist()]


def test_new_measure_is_as_if_it_had_been_there_all_along(followed: Server) -> None:
    """Goal: a back-fill is exact, and no call is lost, counted twice or decided by a mix.

    Method: calls all the while; the state that the next event meets, and every decision, against a fold from the beginning.
    """
    data_dir = followed.config_dir / "data"
    with Callers(followed) as callers:
        until(lambda: len(callers.decisions) > 150, "traffic")
        change(followed.config_dir, NEW_MEASURE, NEW_INPUT)
        change(followed.config_dir, NEW_RULE, file="policy.yaml")
        code, out, err = activate(followed.config_dir)
        count = len(callers.decisions)
        until(lambda: len(callers.decisions) > count + 150, "traffic")
    _, second = activations_from(data_dir, None)
    events = np.concatenate([item.events for item in recorded(data_dir)])
    served = np.concatenate([item.decisions for item in recorded(data_dir)])

    assert 0 == code, err
    assert "3 new features: numbers.parcel_weight, card.dear_count_10m, card.dear_count_24h" in err
    assert "from the beginning, a snapshot of" in err
    assert "Revision 2 decides" in out
    assert len(callers.decisions) == len(events) == len(np.unique(events["request_key"]))
    assert [1] * (second.sequence - 1) + [2] * (len(events) - second.sequence + 1) == served["revision"].tolist()
    assert 2 == len(revisions(callers.decisions))
    assert set(callers.reasons) <= {"ENGINE_AWAY", "WARMING"}
    assert callers.gap_s < 5  # 0.15 s on a quiet machine.
    assert 0 == replay(data_dir).difference_count
    configuration = second.rebuild(data_dir)
    fresh = Pipeline(configuration, State(configuration.features, configuration.limits), configuration.limits)
    again = np.concatenate([fresh.apply(rows) for item in recorded(data_dir) for rows in batches(item.events)])
    assert bits(served[second.sequence - 1 :]) == again[second.sequence - 1 :].tobytes()
    assert {1, 2} == {decision.verdict for decision in callers.decisions[second.sequence :]}
    until(lambda: sound_headers(data_dir)[0].activation.revision == 2, "a snapshot of the new state")
    assert state_key_of(configuration) == sound_headers(data_dir)[0].key
    request = score_request()
    request.transaction.numbers["parcel_weight"] = 2.5
    followed.calls.ScoreTransaction(request, timeout=5)
    assert 2.5 in weights(data_dir)


def test_new_window_needs_no_fold_and_knows_the_past(shared: Server) -> None:
    """Goal: it is complete at once. Method: three payments of a card, a new window, a fourth; its feature is 4."""
    for _ in range(3):
        shared.calls.ScoreTransaction(score_request(card_id="card-of-four"), timeout=5)
    change(shared.config_dir, NEW_WINDOW)
    code, out, err = activate(shared.config_dir)
    name = shared.calls.ScoreTransaction(score_request(card_id="card-of-four"), timeout=5).decision.name
    found = find_by_keys(shared.config_dir / "data", decision_keys(name))
    rebuilt = state_before(shared.config_dir / "data", found.sequence)
    features, _, _ = rebuilt.pipeline.fold(words(found.event.copy()))

    assert 0 == code, err
    assert "No back-fill is needed" in err
    assert "Revision 2 decides" in out
    assert 4.0 == features[0, rebuilt.configuration.columns.index("card.payment_count_2m")]


def test_mistakes_of_all_files_are_told_and_touch_nothing(shared: Server) -> None:
    """Goal: a bad configuration never goes live. Method: a mistake in each of two files."""
    data_dir = shared.config_dir / "data"
    before = {name: (shared.config_dir / name).read_text() for name in ("features.yaml", "policy.yaml")}
    activations = len(list(activations_from(data_dir, None)))
    change(shared.config_dir, (NEW_MEASURE[0], NEW_MEASURE[1].replace("txn.amount", "txn.amuont")))
    change(shared.config_dir, ("reason: CARD_TESTING", "reason: CARD_TSETING"), file="policy.yaml")
    code, out, err = activate(shared.config_dir)
    for name, text in before.items():
        (shared.config_dir / name).write_text(text)

    assert (2, "") == (code, out)
    assert "features.yaml:" in err
    assert "txn.amount" in err
    assert "CARD_TSETING" in err
    assert [] == snapshot_paths(candidate_folder(data_dir))
    assert shared.calls.ScoreTransaction(score_request(), timeout=5).decision.recorded
    assert activations == len(list(activations_from(data_dir, None)))


def test_what_decides_already_is_left_alone(shared: Server) -> None:
    """Goal: running it twice does no harm. Method: the files as they are."""
    pid = shared.supervisor.pid_of("engine")
    code, out, _ = activate(shared.config_dir)

    assert 0 == code
    assert "Nothing to do: the files say what decides already" in out
    assert pid == shared.supervisor.pid_of("engine")
