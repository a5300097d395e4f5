"""What must hold after every fault, whatever it was. One oracle for all rows of the fault matrix.

    kept        every acknowledged request is in the journal, with the very decision that the caller got
    repeated    every acknowledged request, sent again, gets the same bytes; then every other one is sent until it is
                acknowledged: it may have been in or out
    once        the journal then holds each request of the ledger exactly once and nothing else, without a gap
    steady      an engine that never died, given the same requests in the journal's order, takes the same rows, decides
                the same bits and ends in the same state as a fresh fold of the journal and as the live process
    replayed    `journal replay` finds no difference

INVARIANT: nothing here trusts the part of the server that failed: the rows are packed from the callers' bytes again.
Called by `scenarios` and by tests.
"""

import itertools
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from riskengine.clock import SystemClock
from riskengine.engine.activation import Activation
from riskengine.engine.configuration import Configuration, load_configuration
from riskengine.engine.engine import Engine
from riskengine.enums import ReplyStatus
from riskengine.journal.directory import SPARE_NAME
from riskengine.journal.reader import Activated, Commits, JournalReader
from riskengine.lab.replay import replay
from riskengine.server.vocabulary import Vocabulary
from riskengine.settings import ServerSettings, load_settings
from riskengine.types import DECISION, EVENT, Array, words
from riskengine.v1 import risk_service_pb2 as service
from riskengine.wire.names import message_field
from riskengine.wire.pseudonyms import Pseudonyms, TagKey
from riskengine.wire.reply import outcome_response, record_response
from tests.faults.running import FaultyServer

from .ledger import OUTCOME, RECORD, REQUESTS, SCORE, Entry, Ledger, attempt, attempt_batch

BATCH_ENTRIES = 500
ALONE_ENTRIES = 60
"""Scored requests that are repeated by calls of their own; the others are repeated in batches."""
REPEAT_S = 60.0
TIMEOUT_S = 5.0
DIGEST_S = 10.0


COPIED = {"folded from the journal": ("models", "journal"), "recovered": ("models", "journal", "snapshots")}
"""What a fresh engine gets to see of a data directory, where there is the last of it."""


class Violation(AssertionError):
    """Something that must hold after every fault does not."""


@dataclass(frozen=True, slots=True)
class Journal:
    """All that is journaled.

    Attributes:
        events: EVENT[n].
        decisions: DECISION[n].
        catalog: Names of each revision.
    """

    events: Array
    decisions: Array
    catalog: list[dict[str, Any]]


class Oracle:
    """Judges one data directory.

    Args:
        config_dir: The folder of server.yaml.
        scratch: A folder for copies.
    """

    def __init__(self, config_dir: Path, scratch: Path) -> None:
        self._config_dir = config_dir
        self._scratch = scratch
        self._settings: ServerSettings = load_settings(config_dir / "server.yaml")
        self._key = TagKey.load(self._settings.tag_key_file)

    def check(self, server: FaultyServer, ledger: Ledger, *, steady: bool = True) -> Journal:
        """Checks a server that serves again and that nobody else calls.

        Args:
            server: Running.
            ledger: Everything that was ever sent to this data directory.
            steady: Whether to compare with an engine that never died; it takes the longest.

        Returns:
            What is journaled.

        Raises:
            Violation: With what does not hold.
        """
        self.check_kept(self.read(), ledger)
        repeat_all(server.channel, ledger)
        journal = self.read()
        self.check_kept(journal, ledger)
        self._check_once(journal, ledger)
        if steady:
            self._check_steady(journal, ledger, self._live_digest(server, ledger))
            found = replay(self._settings.data_dir)
            _require(found.difference_count == 0, f"replay finds {found.difference_count}: {found.first_difference}")
        _require(not ledger.violations, "\n".join(ledger.violations[:5]))
        return journal

    def read(self) -> Journal:
        """Reads the journal, which nobody is writing."""
        events, decisions = [np.empty(0, EVENT)], [np.empty(0, DECISION)]
        catalog: list[dict[str, Any]] = []
        for item in JournalReader(self._settings.data_dir):
            if isinstance(item, Activated):
                catalog.append(Activation.read(item).names)
            else:
                assert isinstance(item, Commits)
                events.append(item.events)
                decisions.append(item.decisions)
        return Journal(np.concatenate(events), np.concatenate(decisions), catalog)

    def check_kept(self, journal: Journal, ledger: Ledger) -> None:
        """Checks that what was acknowledged is journaled with the decision that was told."""
        positions = {key: row for row, key in enumerate(_keys_of(journal.events))}
        vocabulary = self._vocabulary(journal)
        for entry in ledger.snapshot():
            if entry.reply is None:
                continue
            row = positions.get(self._key_of(vocabulary, entry))
            _require(
                row is not None, f"{entry.request_id} was acknowledged in life {entry.acknowledged_in} and is lost"
            )
            raw = journal.decisions[row].tobytes()
            told = (
                message_field(1, vocabulary.replies.decision_bytes(raw))
                if entry.method == SCORE
                else (record_response if entry.method == RECORD else outcome_response)(raw)
            )
            _require(told == entry.reply, f"{entry.request_id} is journaled with another decision than was told")

    def _check_once(self, journal: Journal, ledger: Ledger) -> None:
        """Checks that each request is journaled once, and nothing else is."""
        keys = _keys_of(journal.events)
        vocabulary = self._vocabulary(journal)
        sent = {self._key_of(vocabulary, entry): entry.request_id for entry in ledger.snapshot()}
        _require(len(keys) == len(set(keys)), f"{len(keys) - len(set(keys))} requests are journaled twice")
        _require(set(keys) <= set(sent), "the journal holds requests that nobody sent")
        missing = [sent[key] for key in set(sent) - set(keys)]
        _require(not missing, f"acknowledged to the oracle, but not journaled: {missing[:5]}")
        expected = np.arange(1, len(keys) + 1)
        _require(np.array_equal(expected, journal.events["sequence"]), "the sequences have a gap")
        _require(bool((np.diff(journal.events["received_time_us"]) >= 0).all()), "the received times fall")

    def _check_steady(self, journal: Journal, ledger: Ledger, live_digest: str) -> None:
        """Gives the same requests to an engine that does not die, and compares every bit."""
        vocabulary = self._vocabulary(journal)
        entries = {self._key_of(vocabulary, entry): entry for entry in ledger.snapshot()}
        rows = [
            self._row_of(vocabulary, entries[key], event)
            for key, event in zip(_keys_of(journal.events), journal.events, strict=True)
        ]
        steady = self._open(self._fresh_folder("steady"))
        try:
            size = self._settings.limits.batch_rows_max
            for first in range(0, len(rows), size):
                events = np.frombuffer(b"".join(rows[first : first + size]), EVENT).copy()
                statuses, decisions = steady.commit(events)
                span = slice(first, first + len(events))
                _require(set(statuses.tolist()) == {int(ReplyStatus.DECIDED)}, "a request was taken for a repeated one")
                _compare("event", events, journal.events[span])
                _compare("decision", decisions, journal.decisions[span])
            digests = {"never died": steady.state.digest(), "live": live_digest}
        finally:
            steady.close()
        for name, folders in COPIED.items():
            if not (self._settings.data_dir / folders[-1]).is_dir():
                continue
            folded = self._open(self._copy(folders))
            digests[name] = folded.state.digest()
            folded.close()
        _require(len(set(digests.values())) == 1, f"states differ: {digests}")

    def _live_digest(self, server: FaultyServer, ledger: Ledger) -> str:
        """Asks the engine process for the digest of its state."""
        (server.faults_dir / "digest").unlink(missing_ok=True)
        (server.faults_dir / "digest.wanted").touch()
        entry = next((one for one in ledger.snapshot() if one.method == SCORE), None)
        assert entry is not None, "there was load"
        assert entry.reply is not None, "all was acknowledged"
        name = service.ScoreTransactionResponse.FromString(entry.reply).decision.name
        found = server.client.service.GetDecision(service.GetDecisionRequest(name=name), timeout=TIMEOUT_S)
        _require(found.decision.name == name, "GetDecision finds another decision")
        deadline_s = time.monotonic() + DIGEST_S
        while not (server.faults_dir / "digest").exists():
            assert time.monotonic() < deadline_s, "the engine tells its digest"
            time.sleep(0.01)
        return (server.faults_dir / "digest").read_text().split()[1]

    def _open(self, folder: Path) -> Engine:
        settings = self._settings
        return Engine.open(
            folder,
            self._configuration,
            limits=settings.limits.engine_limits(),
            segment_bytes=settings.journal_segment_mib << 20,
        )

    @cached_property
    def _configuration(self) -> Configuration:
        settings = self._settings
        return load_configuration(
            self._config_dir,
            limits=settings.limits.engine_limits(),
            base_currency=settings.base_currency,
            model_dir=settings.model_dir,
            tag=Pseudonyms(self._key).tag,
            now_us=SystemClock().now_us(),
        )

    def _vocabulary(self, journal: Journal) -> Vocabulary:
        vocabulary = Vocabulary(self._key, self._settings)
        vocabulary.learn(journal.catalog)
        return vocabulary

    def _key_of(self, vocabulary: Vocabulary, entry: Entry) -> tuple[int, int]:
        """Returns what the journal knows an entry by."""
        if entry.key is None:
            (entry.key,) = _keys_of(np.frombuffer(self._row_of(vocabulary, entry), EVENT))
        return entry.key

    def _row_of(self, vocabulary: Vocabulary, entry: Entry, journaled: Any = None) -> bytes:
        """Packs a request as the front did; when it came, and with which stages, only the journal knows."""
        request = REQUESTS[entry.method].FromString(entry.raw)
        received_us = SystemClock().now_us() if journaled is None else int(journaled["received_time_us"])
        if entry.method == SCORE:
            skipped = 0 if journaled is None else int(journaled["skip_stages"])
            return vocabulary.door.score_row(request, received_us, skipped)
        pack = vocabulary.door.outcome_row if entry.method == OUTCOME else vocabulary.door.record_row
        return pack(request, received_us)

    def _copy(self, folders: tuple[str, ...]) -> Path:
        """Copies a part of the data directory, in which nothing moves."""
        copy = self._fresh_folder("copy")
        copy.mkdir(parents=True)
        for folder in folders:
            if (self._settings.data_dir / folder).is_dir():
                shutil.copytree(self._settings.data_dir / folder, copy / folder, ignore=lambda *_: [SPARE_NAME])
        return copy

    def _fresh_folder(self, name: str) -> Path:
        folder = self._scratch / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        return folder


def repeat_all(channel: Any, ledger: Ledger) -> None:
    """Sends every request again until it is acknowledged; the ledger notes replies that differ.

    Raises:
        Violation: One is not acknowledged in time.
    """
    entries = ledger.snapshot()
    scored = [entry for entry in entries if entry.method == SCORE]
    step = max(1, len(scored) // ALONE_ENTRIES)
    alone = [*scored[::step], *(entry for entry in entries if entry.method != SCORE)]
    deadline_s = time.monotonic() + REPEAT_S
    for batch in _slices(scored, BATCH_ENTRIES):
        _until_ok(lambda batch=batch: attempt_batch(channel, ledger, batch, timeout_s=TIMEOUT_S), deadline_s)
    for entry in alone:
        _until_ok(lambda entry=entry: attempt(channel, ledger, entry, timeout_s=TIMEOUT_S), deadline_s)
    left = [entry.request_id for entry in entries if entry.reply is None]
    _require(not left, f"not acknowledged when asked again: {left[:5]}")


def _until_ok(call: Any, deadline_s: float) -> None:
    while (status := call()) != "OK":
        _require(time.monotonic() < deadline_s, f"repeated calls end as {status}")
        time.sleep(0.05)


def _slices(entries: list[Entry], size: int) -> Iterator[list[Entry]]:
    iterator = iter(entries)
    while part := list(itertools.islice(iterator, size)):
        yield part


def _keys_of(events: Array) -> list[tuple[int, int]]:
    return list(zip(events["request_key"].tolist(), events["request_check"].tolist(), strict=True))


def _compare(what: str, mine: Array, journaled: Array) -> None:
    """Compares rows bit for bit."""
    unequal = words(mine) != words(np.ascontiguousarray(journaled))
    if unequal.any():
        row = int(np.flatnonzero(unequal.any(axis=1))[0])
        names = mine.dtype.names or ()
        columns = [name for name, differs in zip(names, unequal[row], strict=True) if differs]
        raise Violation(f"the {what} of sequence {journaled['sequence'][row]} differs in {columns}")


def _require(holds: bool, what: str) -> None:
    if not holds:
        raise Violation(what)
