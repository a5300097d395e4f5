"""The engine over a real directory: idempotency, restarts, replay."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from riskengine.engine.configuration import Configuration
from riskengine.engine.engine import Engine
from riskengine.enums import DecisionFlag, Kind, ReplyStatus, Verdict
from riskengine.errors import StartRefused
from riskengine.journal.reader import Commits, JournalReader, verify
from riskengine.lab.replay import replay
from riskengine.types import DECISION_WORD, words
from tests.engine.conftest import LIMITS
from tests.strategies import stream_of

SEGMENT_BYTES = 1 << 20


def requests(count: int, seed: int) -> np.ndarray:
    """Returns a stream with a request of its own for each event."""
    events = stream_of(count, seed, entity_count=40)
    events["request_check"] = events["request_key"] * np.uint64(3)
    events["payload_hash"] = 7
    return events


def open_engine(folder: Path, configuration: Configuration) -> Engine:
    """Opens an engine with small bounds."""
    return Engine.open(folder, configuration, limits=LIMITS, segment_bytes=SEGMENT_BYTES)


def commit_all(engine: Engine, events: np.ndarray, *, batch: int) -> np.ndarray:
    """Commits in batches and returns all decisions."""
    parts = [engine.commit(events[first : first + batch])[1] for first in range(0, len(events), batch)]
    return np.concatenate(parts)


def test_same_events_in_other_batches_get_the_same_decisions(tmp_path: Path, with_model: Configuration) -> None:
    """Batches of 1 and of 64 give equal decisions, bit for bit, and equal states."""
    one, other = open_engine(tmp_path / "one", with_model), open_engine(tmp_path / "other", with_model)

    first = commit_all(one, requests(400, seed=1), batch=1)
    second = commit_all(other, requests(400, seed=1), batch=64)

    assert words(first).tolist() == words(second).tolist()
    assert one.state.digest() == other.state.digest()
    assert {Verdict.APPROVE, Verdict.REVIEW} <= set(first["verdict"].tolist()), "the stream decides nothing"
    one.close()
    other.close()


def test_small_segments_take_smaller_groups(tmp_path: Path, rules_only: Configuration) -> None:
    """What an engine offers to take always fits into a segment, and more of it into the next."""
    engine = Engine.open(tmp_path, rules_only, limits=LIMITS, segment_bytes=128 << 10)
    events = requests(3 * engine.rows_max, seed=9)

    assert 1 <= engine.rows_max < LIMITS.batch_rows_max
    assert len(events) == len(commit_all(engine, events, batch=engine.rows_max))
    engine.close()


def test_restart_changes_no_later_bit(tmp_path: Path, with_model: Configuration) -> None:
    """An engine that was stopped and opened again answers as one that never stopped."""
    events = requests(600, seed=2)
    steady = open_engine(tmp_path / "steady", with_model)
    expected = commit_all(steady, events.copy(), batch=50)
    restarted = []
    for first in range(0, 600, 200):
        engine = open_engine(tmp_path / "restarted", with_model)
        restarted.append(commit_all(engine, events[first : first + 200].copy(), batch=50))
        digest = engine.state.digest()
        engine.close()

    assert words(expected).tolist() == words(np.concatenate(restarted)).tolist()
    assert steady.state.digest() == digest
    steady.close()


def test_request_is_decided_once(tmp_path: Path, rules_only: Configuration) -> None:
    """The same request gets its decision again, in the same batch, later, and after a restart; another payload is told."""
    events = requests(10, seed=3)
    engine = open_engine(tmp_path, rules_only)
    doubled = np.concatenate([events, events[:3]])
    statuses, decisions = engine.commit(doubled)
    engine.close()
    engine = open_engine(tmp_path, rules_only)
    other = events.copy()
    other["payload_hash"] = 8

    again_statuses, again = engine.commit(events.copy())
    reused_statuses, _ = engine.commit(other)

    assert [ReplyStatus.DECIDED] * 10 + [ReplyStatus.REPEATED] * 3 == statuses.tolist()
    assert words(decisions[:3]).tolist() == words(decisions[10:]).tolist()
    assert {int(ReplyStatus.REPEATED)} == set(again_statuses.tolist())
    assert words(decisions[:10]).tolist() == words(again).tolist()
    assert {int(ReplyStatus.REUSED)} == set(reused_statuses.tolist())
    assert engine.sequence == 10
    engine.close()


def test_recent_decision_is_found_by_request(tmp_path: Path, rules_only: Configuration) -> None:
    """GetDecision's lookup finds scored requests only."""
    events = requests(4, seed=4)
    events["kind"][3] = Kind.RECORD
    engine = open_engine(tmp_path, rules_only)
    _, decisions = engine.commit(events)
    keys = np.stack([events["request_key"], events["request_check"]], axis=1)
    unknown = np.array([[999, 1]], np.uint64)

    statuses, found = engine.get_decisions(np.concatenate([keys, unknown]))

    assert [ReplyStatus.REPEATED] * 3 + [ReplyStatus.NOT_FOUND] * 2 == statuses.tolist()
    assert words(decisions[:3]).tolist() == words(found[:3]).tolist()
    engine.close()


def test_outcome_is_journaled_with_the_entities_it_was_matched_to(tmp_path: Path, rules_only: Configuration) -> None:
    """A fraud report that names only the transaction counts against its device, and the journal holds the tags."""
    events = requests(3, seed=5)
    outcome = events[:1].copy()
    outcome["kind"], outcome["outcome_type"] = Kind.OUTCOME, 1
    outcome["request_key"] += np.uint64(1000)
    outcome["event_time_us"] = events["event_time_us"].max()
    device = int(outcome["device_tag"][0])
    for name in outcome.dtype.names or ():
        if name.endswith("_tag") and name != "transaction_tag":
            outcome[name] = 0
    engine = open_engine(tmp_path, rules_only)
    engine.commit(events)

    _, decisions = engine.commit(outcome)

    journaled = [item for item in JournalReader(tmp_path) if isinstance(item, Commits)]
    assert decisions["flags"][0] & DecisionFlag.MATCHED
    assert device == int(journaled[-1].events["device_tag"][-1])
    engine.close()


def test_second_engine_on_one_directory_is_refused(tmp_path: Path, rules_only: Configuration) -> None:
    """The message names the directory and the process that has it."""
    engine = open_engine(tmp_path, rules_only)

    with pytest.raises(StartRefused, match=f"{tmp_path}.*{os.getpid()}"):
        open_engine(tmp_path, rules_only)

    engine.close()
    open_engine(tmp_path, rules_only).close()


def test_replay_takes_every_decision_again_to_the_bit(
    tmp_path: Path, rules_only: Configuration, with_model: Configuration
) -> None:
    """A journal of two configurations, restarts, records and late events replays without a difference."""
    events = requests(900, seed=6)
    events["kind"][::7] = Kind.RECORD
    events["received_time_us"][5] = 0
    engine = open_engine(tmp_path, rules_only)
    commit_all(engine, events[:400], batch=33)
    engine.close()
    engine = open_engine(tmp_path, with_model)
    commit_all(engine, events[400:], batch=17)
    engine.close()

    report = replay(tmp_path)

    assert [1, 2] == report.revisions
    assert (900, 0, 0) == (report.event_count, report.difference_count, report.foreign_count)
    assert report.decision_count == int((events["kind"] == Kind.SCORE).sum())
    assert verify(tmp_path).event_count == 900


def test_replay_notices_a_decision_that_is_not_the_engines(tmp_path: Path, with_model: Configuration) -> None:
    """A journal written by an engine whose thresholds were tampered with differs, and the first place is named."""
    engine = open_engine(tmp_path, with_model)
    honest = engine.pipeline.apply

    def lenient(events: np.ndarray) -> np.ndarray:
        decisions = honest(events)
        decisions[decisions[:, DECISION_WORD["sequence"]] == 42, DECISION_WORD["verdict"]] = Verdict.DECLINE
        return decisions

    engine.pipeline.apply = lenient  # type: ignore[method-assign]
    commit_all(engine, requests(100, seed=7), batch=10)
    engine.close()

    report = replay(tmp_path)

    assert report.difference_count == 1
    assert report.first_difference is not None
    assert (42, ("verdict",)) == (report.first_difference.sequence, report.first_difference.columns)


def test_configuration_is_journaled_once(tmp_path: Path, rules_only: Configuration, with_model: Configuration) -> None:
    """Opening with the same configuration adds no activation; another one does, and its model is kept in the directory."""
    for configuration in (rules_only, rules_only, with_model, with_model):
        open_engine(tmp_path, configuration).close()

    engine = open_engine(tmp_path, with_model)
    catalog = engine.catalog()
    engine.close()

    assert verify(tmp_path).activation_count == 2
    assert [1, 2] == [names["revision"] for names in catalog]
    assert with_model.model is not None
    assert (tmp_path / "models" / with_model.model.bundle.revision / "model.json").is_file()
    assert json.dumps(catalog), "names are plain JSON for the fronts"
