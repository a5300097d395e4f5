"""The README's figures: only what a commit answers for, and nothing of the machine that tells where somebody works."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from benchmarks import record
from benchmarks.load import RATIO_BAR, RATIO_BAR_LATER, against_bars
from tools import bench, tables


def line(commit: str | None, **results: float) -> dict[str, Any]:
    """Builds a line as `benchmarks.record` writes it."""
    machine = {"cpu": "A Processor", "cores": 2, "memory_gib": 23.5, "system": "Linux 9.9.9-somebodys-kernel"}
    return {"commit": commit, "machine": machine, "versions": {"python": "3.11.99"}, "results": results}


def write(folder: Path, name: str, *lines: dict[str, Any]) -> None:
    """Writes the results of a benchmark."""
    (folder / f"{name}.jsonl").write_text("".join(f"{json.dumps(each)}\n" for each in lines))


def test_newest_clean_line_is_shown(tmp_path: Path) -> None:
    """Goal: anybody can measure a figure again. Method: clean, clean, dirty, no commit; and a benchmark with dirty ones only."""
    write(
        tmp_path,
        "load",
        line("aaaaaaaaaaaa", ratio=0.1),
        line("bbbbbbbbbbbb", ratio=0.25),
        line("cccccccccccc-dirty", ratio=0.9),
        line(None, ratio=0.95),
    )
    write(tmp_path, "forest", line("dddddddddddd-dirty", kernel_one_row_us=1.0))
    shown = tables.render(tmp_path)

    assert "0.25 of it" in shown
    assert "Commits: bbbbbbbbbbbb." in shown
    assert "dirty" not in shown
    assert "forest" not in shown


def test_machine_is_told_without_its_kernel(tmp_path: Path) -> None:
    """Goal: family, processor, cores and memory, no more. Method: a line with a kernel of a telling name."""
    write(tmp_path, "load", line("aaaaaaaaaaaa", ratio=0.1))

    assert "Machine: Linux, 2 cores of A Processor, 24 GiB. " in tables.render(tmp_path)


def test_gap_to_the_bar_stands_beside_the_figure(tmp_path: Path) -> None:
    """Goal: nobody takes a figure below its bar for a success. Method: below both, between them, above."""
    write(tmp_path, "load", line("aaaaaaaaaaaa", ratio=0.43))

    assert "0.43 of it; 0.55 asked for now (0.12 short), 0.70 asked for later (0.27 short)" in tables.render(tmp_path)
    assert "now (reached)" in against_bars(RATIO_BAR)
    assert "short" not in against_bars(RATIO_BAR_LATER)


def test_figures_of_the_run_before_make_no_commit_dirty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Goal: one `make bench` fills the whole table. Method: a repository; a new result, then a change of the code."""

    def git(*arguments: str) -> None:
        identity = ("-c", "user.name=Somebody", "-c", "user.email=somebody@mail.example")
        subprocess.run(["git", *identity, *arguments], cwd=tmp_path, check=True, capture_output=True)

    (tmp_path / "benchmarks" / "results").mkdir(parents=True)
    (tmp_path / "code.py").touch()
    git("init")
    git("add", ".")
    git("commit", "-m", "All")
    monkeypatch.setattr(record, "ROOT", tmp_path)
    told = [record.commit()]
    (tmp_path / "benchmarks" / "results" / "load.jsonl").write_text("{}\n")
    told.append(record.commit())
    (tmp_path / "code.py").write_text("x = 1\n")
    told.append(record.commit())

    assert told[0] == told[1]
    assert f"{told[0]}{tables.DIRTY}" == told[2]


def test_rows_name_benchmarks_that_exist() -> None:
    """Goal: the command beside a figure runs. Method: the names of the table against those of `make bench`."""
    assert {name for name, *_ in tables.ROWS} <= set(bench.benchmarks())
    assert not [name for name in bench.benchmarks() if name.startswith("bench")]
