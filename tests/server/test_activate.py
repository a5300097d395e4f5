"""`riskengine features activate`: a changed folder decides in a running server, and nobody loses a call."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from riskengine.engine.activation import state_key_of
from riskengine.engine.active import read_active
from riskengine.engine.candidate import candidate_folder
from riskengine.engine.origin import activations_from, sound_headers
from riskengine.engine.pipeline import Pipeline
from riskengine.engine.rebuild import state_before
from riskengine.engine.recovery import fold_commits
from riskengine.engine.snapshot import snapshot_paths
from riskengine.engine.state import State
from riskengine.journal.reader import Commits, JournalReader
from riskengine.lab.replay import replay
from tests.server.activating import NEW_INPUT, NEW_MEASURE, NEW_WINDOW, QUICK, Callers, activate, change, until
from tests.server.running import Server, score_request, serving, write_config

pytestmark = [pytest.mark.server, pytest.mark.timeout(400)]


@pytest.fixture
def followed(tmp_path: Path) -> Iterator[Server]:
    """A server of this test alone, with a follower that takes a snapshot every hundred events."""
    with serving(write_config(tmp_path / "config", QUICK), follower=True) as running:
        yield running


def recorded(data_dir: Path) -> list[Commits]:
    """Returns all that the journal holds."""
    return [item for item in JournalReader(data_dir, live=True) if isinstance(item, Commits)]


def test_new_measure_is_as_if_it_had_been_there_all_along(followed: Server) -> None:
    """Goal: a back-fill is exact, and no call is lost, counted twice or decided by a mix.

    Method: calls all the while; the state that the next event meets, and every decision, against a fold from the beginning.
    """
    data_dir = followed.config_dir / "data"
    with Callers(followed) as callers:
        until(lambda: len(callers.decisions) > 150, "traffic")
        change(followed.config_dir, NEW_MEASURE)
        change(followed.config_dir, ("version: 1\n", "version: 1\n\n"), file="policy.yaml")
        code, out, err = activate(followed.config_dir)
        count = len(callers.decisions)
        until(lambda: len(callers.decisions) > count + 150, "traffic")
    print(out, err, callers.gap_s, callers.reasons[:3], len(callers.reasons))
    (first, second) = activations_from(data_dir, None)
    events = np.concatenate([item.events for item in recorded(data_dir)])
    served = np.concatenate([item.decisions for item in recorded(data_dir)])

    assert 0 == code, err
    assert "2 new features: card.dear_count_10m, card.dear_count_24h" in err
    assert "from the beginning, a snapshot of" in err
    assert "Revision 2 decides" in out
    assert len(callers.decisions) == len(events) == len(np.unique(events["request_key"]))
    assert [1] * (second.sequence - 1) + [2] * (len(events) - second.sequence + 1) == served["revision"].tolist()
    assert set(callers.reasons) <= {"ENGINE_AWAY", "WARMING"}
    assert callers.gap_s < 5
    assert 0 == replay(data_dir).difference_count
    configuration = second.rebuild(data_dir)
    fresh = Pipeline(configuration, State(configuration.features, configuration.limits), configuration.limits)
    for commits in recorded(data_dir):
        fold_commits(fresh, commits)
    assert fresh.state.digest() == state_before(data_dir, len(events) + 1).state.digest()
