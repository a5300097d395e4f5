"""Writes the golden journal of today's program, which all later ones have to read: ``python -m tools.golden v2``.

Done when `journal.format.FORMAT_VERSION` or `types.LAYOUT_VERSION` was raised; the folder is then committed and never
changed. Where a change of how events are folded changes the state on purpose, ``--restate`` writes the new digest of the
state beside each journal, and nothing else; review reads the difference.

Called by hand; `tests/journal/test_golden.py` reads what it wrote.
"""

import argparse
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from riskengine.engine.configuration import Configuration, load_configuration
from riskengine.engine.engine import Engine
from riskengine.enums import Kind, OutcomeType, Verdict
from riskengine.limits import EngineLimits
from riskengine.types import pack_code
from tests.journal.goldens import CONFIGURATION, EXPECTED, GOLDEN, contents, goldens, state
from tests.strategies import stream_of

EVENTS = 48
SEGMENT_BYTES = 8192
LIMITS = EngineLimits(entities_max=64, arena_mib=1, recent_decisions_max=64, batch_rows_max=4, lateness_max_s=3600)


def main() -> int:
    """Runs one command; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.golden", description=__doc__)
    parser.add_argument("name", nargs="?", help="folder to write, e.g. v2")
    parser.add_argument("--restate", action="store_true", help="only write the digests of the state anew")
    options = parser.parse_args()
    if options.restate:
        for folder in goldens():
            expected = json.loads((folder / EXPECTED).read_text())
            _write(folder, {**expected, "state": _state(folder)})
        return 0
    if not options.name:
        parser.error("name the folder to write, e.g. v2")
    folder = GOLDEN / options.name
    folder.mkdir()
    write_journal(folder)
    _write(folder, {**contents(folder), "state": _state(folder)})
    print(f"{folder}: commit it, and never change it")
    return 0


def write_journal(folder: Path) -> None:
    """Runs an engine over a short story: every kind of command, two configurations, several segments."""
    events = stream_of(EVENTS, seed=1, entity_count=6)
    events["request_check"] = events["request_key"] * np.uint64(3)
    events["payload_hash"] = events["request_key"] * np.uint64(5)
    events["number_0"][::3] = np.arange(len(events[::3])) / 4
    events["label_0"][::4] = pack_code("gold")
    events["kind"][5::9] = Kind.RECORD
    events["recorded_verdict"][5::9] = Verdict.APPROVE
    events["kind"][7::11] = Kind.OUTCOME
    events["outcome_type"][7::11] = OutcomeType.FRAUD
    first = 0
    for threshold in ("0.5", "0.4"):
        engine = Engine.open(
            folder,
            _configuration(threshold),
            limits=LIMITS,
            segment_bytes=SEGMENT_BYTES,
            new_journal_id=b"riskengine:golden"[:16],
        )
        last = first + EVENTS // 2
        while first < last:
            count = 1 + first % 4
            engine.commit(events[first : min(first + count, last)])
            first += count
        first = last
        engine.close()
    (folder / "engine.lock").unlink()
    (folder / "journal" / "spare.tmp").unlink(missing_ok=True)


def _configuration(threshold: str) -> Configuration:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "configuration"
        shutil.copytree(CONFIGURATION, folder)
        policy = folder / "policy.yaml"
        policy.write_text(policy.read_text().replace("review: 0.5", f"review: {threshold}"))
        return load_configuration(folder, limits=LIMITS, base_currency="EUR", model_dir=Path(scratch), tag=None)


def _state(folder: Path) -> str:
    with tempfile.TemporaryDirectory() as scratch:
        return state(folder, Path(scratch) / "copy")


def _write(folder: Path, expected: dict[str, Any]) -> None:
    (folder / EXPECTED).write_text(json.dumps(expected, indent=1) + "\n")


if __name__ == "__main__":
    raise SystemExit(main())
