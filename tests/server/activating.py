"""What the tests of `features activate` share: a changed folder, the command as a process, callers all the while."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc

from riskengine.engine.candidate import Candidate, hold_candidate, keep_candidate
from riskengine.engine.configuration import Configuration, load_configuration
from riskengine.server.client import reason_of
from riskengine.server.control import Line
from riskengine.settings import load_settings
from riskengine.wire.pseudonyms import Pseudonyms, TagKey
from tests.server.running import SETTINGS, Server, score_request

ROOT = Path(__file__).resolve().parents[2]
QUICK = SETTINGS + "snapshots: {every_events: 100}\n"
WAIT_S = 90.0
COUNT = "count: [1m, 10m, 1h, 24h, 7d, 30d]"
NEW_WINDOW = (COUNT, "count: [1m, 2m, 10m, 1h, 24h, 7d, 30d]")
NEW_MEASURE = (
    "  card:\n    first_seen: true\n    measures:\n",
    "  card:\n    first_seen: true\n    measures:\n      dear:\n        when: txn.amount > 5000\n        count: [10m, 24h]\n",
)
NEW_RULE = (
    "\nrules:\n",
    "\nrules:\n  - id: many_dear\n    description: Many dear payments of a card.\n"
    "    when: txn.amount > 6000 && card.dear_count_24h > 10\n    then: {verdict: review}\n    reason: CARD_TESTING\n",
)
NEW_INPUT = ("numbers: [basket_items, stored_balance]", "numbers: [basket_items, stored_balance, parcel_weight]")


def change(config_dir: Path, *changes: tuple[str, str], file: str = "features.yaml") -> None:
    """Edits a file of a folder."""
    path = config_dir / file
    text = path.read_text()
    for before, after in changes:
        assert before in text, "the file is as it was when this test was written"
        text = text.replace(before, after, 1)
    path.write_text(text)


def start_activate(config_dir: Path, *options: str) -> "subprocess.Popen[str]":
    """Starts the command."""
    return subprocess.Popen(
        [sys.executable, "-m", "riskengine", "features", "activate", str(config_dir), *options],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def activate(config_dir: Path, *options: str) -> tuple[int, str, str]:
    """Runs the command; returns its exit status and what it said on stdout and stderr."""
    process = start_activate(config_dir, *options)
    out, err = process.communicate(timeout=WAIT_S)
    return process.returncode, out, err


def until(holds: Callable[[], object], what: str) -> None:
    """Waits until something holds."""
    deadline_s = time.monotonic() + WAIT_S
    while not holds():
        assert time.monotonic() < deadline_s, f"{what} did not come"
        time.sleep(0.005)


class Callers:
    """One caller after the other, until told to stop: each retries its request until it is decided. Use as a context manager.

    Attributes:
        decisions: Of each request, in order.
        reasons: Of the attempts that failed.
        gap_s: The longest time from one decision to the next, seconds.
    """

    def __init__(self, server: Server, *, pause_s: float = 0.002) -> None:
        self.decisions: list[Any] = []
        self.reasons: list[str] = []
        self.gap_s = 0.0
        self._server = server
        self._pause_s = pause_s
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Callers":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join(WAIT_S)

    def _run(self) -> None:
        last_s = time.monotonic()
        while not self._done.wait(self._pause_s):
            number = len(self.decisions)
            request = score_request(card_id=f"card-{number % 7}", amount_minor=4_000 + number * 37 % 3_000)
            while True:
                try:
                    self.decisions.append(self._server.calls.ScoreTransaction(request, timeout=5).decision)
                    break
                except grpc.RpcError as error:
                    self.reasons.append(reason_of(error))
                    time.sleep(0.005)
            now_s = time.monotonic()
            self.gap_s, last_s = max(self.gap_s, now_s - last_s), now_s


def revisions(decisions: list[Any]) -> list[str]:
    """Returns the policy revisions that decided, each once, in the order of their first decisions."""
    return list(dict.fromkeys(decision.policy_revision for decision in decisions))


def load(config_dir: Path) -> Configuration:
    """Returns what the files of a folder say."""
    settings = load_settings(config_dir / "server.yaml")
    return load_configuration(
        config_dir,
        limits=settings.limits.engine_limits(),
        base_currency=settings.base_currency,
        model_dir=settings.model_dir,
        tag=Pseudonyms(TagKey.load(settings.tag_key_file)).tag,
    )


def ask(server: Server) -> dict[str, Any]:
    """Asks for a change of engines as the command does, without a back-fill; returns the last that the supervisor says."""
    data_dir = server.config_dir / "data"
    lock = hold_candidate(data_dir)
    try:
        with Line(data_dir) as line:
            keep_candidate(data_dir, Candidate(load(server.config_dir), 1))
            line.ask("activate")
            ends = ("activated", "aborted", "unknown")
            return next(stage for stage in line.stages(timeout_s=WAIT_S) if stage["stage"] in ends)
    finally:
        os.close(lock)
