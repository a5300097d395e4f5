"""What the tests of the command line share: a folder made by `init`, a server on it, and a way to run a command.

INVARIANT: commands run in this process, through `main.run`, as the console script calls it; servers are real processes.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from riskengine.cli.main import run
from tests.cli.running import Ran, Run

PEOPLE, DAYS = "500", "28"


@pytest.fixture
def command(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command; returns its exit code and what it said."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("RISKENGINE_DEBUG", raising=False)

    def call(*arguments: str | Path) -> Ran:
        capfd.readouterr()
        code = run([str(argument) for argument in arguments])
        said = capfd.readouterr()
        return Ran(code, said.out, said.err)

    return call


@pytest.fixture(scope="session")
def starter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small starter model; not to be changed."""
    folder = tmp_path_factory.mktemp("cli") / "starter"

    assert run(["init", str(folder), "--people", PEOPLE, "--days", DAYS]) == 0
    return folder


@pytest.fixture
def rules_only(tmp_path: Path) -> Path:
    """A folder without a model, to be changed."""
    from riskengine.cli.init import write_folder

    folder = tmp_path / "rules"
    write_folder(folder)
    return folder


@pytest.fixture(scope="session")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small labelled history."""
    file = tmp_path_factory.mktemp("history") / "history.parquet"

    assert run(["simulate", str(file), "--people", PEOPLE, "--days", DAYS, "--seed", "3"]) == 0
    return file


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """A server on a folder of its own: the folder and the address."""
    from riskengine.cli.demo.prepare import make_folder
    from riskengine.cli.demo.running import running_server

    folder = tmp_path_factory.mktemp("served") / "folder"
    make_folder(folder)  # Port 0: a free one.
    with running_server(folder, on_line=lambda line: None) as address:
        yield folder, address
