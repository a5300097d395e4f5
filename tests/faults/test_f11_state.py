"""F11 in one process: a batch that the full disk refuses has left no trace in the state."""

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from riskengine.engine.configuration import load_configuration
from riskengine.engine.engine import Engine
from riskengine.enums import ReplyStatus
from riskengine.errors import JournalFull
from riskengine.limits import EngineLimits
from riskengine.types import words
from tests.strategies import stream_of

DEFAULTS = Path(__file__).resolve().parents[2] / "riskengine" / "defaults"
LIMITS = EngineLimits(entities_max=1_000, arena_mib=16, recent_decisions_max=5_000, batch_rows_max=64)
SEGMENT_BYTES = 128 << 10


def open_engine(folder: Path) -> Engine:
    """Opens an engine with the starter rules and short segments."""
    configuration = load_configuration(
        DEFAULTS, limits=LIMITS, base_currency="EUR", model_dir=folder, tag=lambda *_: 1, now_us=0
    )
    return Engine.open(folder, configuration, limits=LIMITS, segment_bytes=SEGMENT_BYTES)


def test_f11_refused_batch_leaves_the_state_untouched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Goal: refused before state moves. Method: no space for a segment; then the same batch beside a steady engine."""
    events = stream_of(2_000, seed=11)
    events["request_check"], events["payload_hash"] = events["request_key"] * np.uint64(3), 7
    batches = [events[first : first + 64] for first in range(0, len(events), 64)]
    full, steady = open_engine(tmp_path / "full"), open_engine(tmp_path / "steady")
    real, refused = os.posix_fallocate, 0

    def no_space(*_: int) -> None:
        raise OSError(errno.ENOSPC, "no space")

    for batch in batches:
        monkeypatch.setattr(os, "posix_fallocate", no_space)
        before = full.state.digest()
        try:
            statuses, decisions = full.commit(batch.copy())
        except JournalFull:
            refused += 1
            assert before == full.state.digest(), "refused, but the state moved"
            monkeypatch.setattr(os, "posix_fallocate", real)
            statuses, decisions = full.commit(batch.copy())
        expected_statuses, expected = steady.commit(batch.copy())

        assert {int(ReplyStatus.DECIDED)} == set(statuses.tolist()) == set(expected_statuses.tolist())
        assert words(expected).tolist() == words(decisions).tolist()
    assert refused >= 2
    assert steady.state.digest() == full.state.digest()
    full.close()
    steady.close()
