"""Journals of every version stay readable (F28): committed ones are read, verified, folded; unknown ones are refused."""

import json
import shutil
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest

from riskengine.errors import StartRefused
from riskengine.journal.format import FORMAT_VERSION, SegmentHeader
from riskengine.journal.reader import JournalReader, segments, verify
from riskengine.lab.replay import replay
from riskengine.types import LAYOUT_VERSION
from tests.journal.goldens import EXPECTED, contents, goldens, state

pytestmark = pytest.mark.golden
FOLDERS = {folder.name: folder for folder in goldens()}


@pytest.fixture(params=FOLDERS)
def golden(request: pytest.FixtureRequest) -> Path:
    """A golden journal, not to be changed."""
    return FOLDERS[request.param]


def expected(folder: Path) -> dict[str, Any]:
    told: dict[str, Any] = json.loads((folder / EXPECTED).read_text())
    return told


def test_f28_golden_journal_holds_what_it_held(golden: Path) -> None:
    """Goal: F28. Method: summary and digests of all rows, by the columns of its time, as on the day it was written."""
    told = expected(golden)
    found = contents(golden, event_columns=told["event_columns"], decision_columns=told["decision_columns"])

    assert {**found, "state": told["state"]} == told


def test_f28_golden_journal_is_folded_to_the_state_it_was_folded_to(golden: Path, tmp_path: Path) -> None:
    """Goal: F28. Method: open an engine on a copy. If the state changed on purpose: python -m tools.golden --restate."""
    assert expected(golden)["state"] == state(golden, tmp_path / "copy")


def test_f28_golden_journal_is_replayed(golden: Path) -> None:
    """Goal: every decision comes out the same, where the program and the CPU are those that took it. Method: replay."""
    found = replay(golden)

    assert expected(golden)["summary"]["event_count"] == found.event_count
    assert 0 == found.difference_count


def test_f28_there_is_a_golden_journal_of_this_version() -> None:
    """Goal: a new version is not forgotten. Method: one of them has today's format and layout: python -m tools.golden."""
    versions = set()
    for folder in FOLDERS.values():
        header = SegmentHeader.unpack(segments(folder)[-1].path.read_bytes()[:72])
        assert header is not None
        versions.add((header.format_version, header.layout_version))

    assert (FORMAT_VERSION, LAYOUT_VERSION) in versions


@pytest.mark.parametrize(
    ("position", "version", "name"), [(8, FORMAT_VERSION + 1, "format"), (12, LAYOUT_VERSION + 1, "layout")]
)
def test_f28_unknown_version_is_refused_in_words(
    golden: Path, tmp_path: Path, position: int, version: int, name: str
) -> None:
    """Goal: F28, the reverse. Method: the last segment says a later version; nothing of it is taken for damage."""
    shutil.copytree(golden, tmp_path / "copy")
    path = segments(tmp_path / "copy")[-1].path
    content = bytearray(path.read_bytes())
    content[position] = version
    content[68:72] = crc32(content[:68]).to_bytes(4, "little")
    path.write_bytes(content)

    with pytest.raises(StartRefused, match=f"newer version of the engine .*{name} {version}.*start that version"):
        verify(tmp_path / "copy")
    assert len(list(JournalReader(golden))) > 0
