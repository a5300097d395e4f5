"""Golden journals: committed journals of every version, and what was in them when they were written.

INVARIANT: what `contents` says of a journal depends on its bytes alone, by the names of the columns of its time, so a
column that is added later changes nothing. What `state` says depends on how today's program folds.

Called by `test_golden` and tools/golden.py.
"""

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from riskengine.engine.configuration import configuration_from_content
from riskengine.engine.engine import Engine
from riskengine.journal.reader import Activated, JournalReader, verify
from riskengine.types import DECISION_COLUMNS, EVENT_COLUMNS, Array

GOLDEN: Final = Path(__file__).resolve().parent / "golden"
EXPECTED: Final = "expected.json"
CONFIGURATION: Final = GOLDEN / "configuration"


def goldens() -> list[Path]:
    """Returns the folders of all golden journals."""
    return sorted(path.parent for path in GOLDEN.glob(f"*/{EXPECTED}"))


def contents(
    data_dir: Path, *, event_columns: Sequence[str] = EVENT_COLUMNS, decision_columns: Sequence[str] = DECISION_COLUMNS
) -> dict[str, Any]:
    """Returns what is in a journal: its summary, and digests of events, decisions and activations.

    Args:
        data_dir: The data directory.
        event_columns: Those to digest.
        decision_columns: Likewise.
    """
    events, decisions, activations = (hashlib.blake2b(digest_size=16) for _ in range(3))
    for item in JournalReader(data_dir):
        if isinstance(item, Activated):
            activations.update(b"%d %d " % (item.sequence, item.revision) + item.content)
            continue
        _digest_rows(events, item.events, event_columns)
        _digest_rows(decisions, item.decisions, decision_columns)
    return {
        "summary": asdict(verify(data_dir)),
        "event_columns": list(event_columns),
        "decision_columns": list(decision_columns),
        "events": events.hexdigest(),
        "decisions": decisions.hexdigest(),
        "activations": activations.hexdigest(),
    }


def _digest_rows(digest: "hashlib.blake2b", rows: Array, columns: Sequence[str]) -> None:
    """Takes in rows one by one, so that chunks do not matter."""
    for row in rows:
        for column in columns:
            digest.update(row[column].tobytes())


def state(data_dir: Path, scratch: Path) -> str:
    """Returns the digest of the state that an engine has after opening a copy of a journal.

    Args:
        data_dir: The data directory; it is not changed.
        scratch: A folder that is not there yet.
    """
    shutil.copytree(data_dir, scratch)
    last = [json.loads(item.content) for item in JournalReader(data_dir) if isinstance(item, Activated)][-1]
    configuration = configuration_from_content(last["configuration"], models_dir=scratch / "models")
    engine = Engine.open(scratch, configuration, limits=configuration.limits, segment_bytes=1 << 16)
    try:
        return engine.state.digest()
    finally:
        engine.close()
