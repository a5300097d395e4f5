"""The README's pictures: drawn from results that a commit answers for, the same bytes each time."""

import json
import sys
from pathlib import Path

import pytest

from tools import plots


def write(folder: Path, commit: str) -> None:
    """Writes results with a short series of each plot."""
    series = {
        name: [{first: 10.0**power, "events_per_s": 5e5 / power, "bytes_per_entity": 300.0 * power} for power in (1, 3)]
        for _, name, first, _ in plots.PLOTS
    }
    (folder / "memory.jsonl").write_text(json.dumps({"commit": commit, "results": series}) + "\n")


def test_pictures_are_the_same_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Goal: a picture changes with its figures only. Method: drawn twice, compared; axes have their units."""
    pytest.importorskip("matplotlib")
    write(tmp_path, "aaaaaaaaaaaa")
    drawn = []
    for name in ("one", "two"):
        monkeypatch.setattr(sys, "argv", ["plots", "--results", str(tmp_path), "--out", str(tmp_path / name)])
        assert plots.main() == 0
        drawn.append([(tmp_path / name / file).read_text() for file, *_ in plots.PLOTS])

    assert drawn[0] == drawn[1]
    assert all("events/s on one core" in picture and "bytes a card" in picture for picture in drawn[0])


def test_results_of_a_changed_tree_are_not_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Goal: anybody can measure a picture again. Method: results of a tree that differed from its commit, and nothing else."""
    write(tmp_path, "aaaaaaaaaaaa-dirty")
    monkeypatch.setattr(sys, "argv", ["plots", "--results", str(tmp_path), "--out", str(tmp_path / "img")])

    assert plots.main() == 1
    assert "run the benchmark" in capsys.readouterr().err
    assert not (tmp_path / "img").exists()
