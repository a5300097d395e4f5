"""F26: a second server on the data directory, or on the port, of a running one."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.faults.engine import FOLDER_VARIABLE
from tests.faults.ledger import attempt
from tests.faults.running import ENGINE, ROOT, SETTINGS
from tests.faults.scenarios import Site
from tests.server.running import write_config

pytestmark = [pytest.mark.server, pytest.mark.timeout(300)]
REFUSED = 3


def run(*arguments: str, faults_dir: Path) -> tuple[int, dict[str, Any]]:
    """Runs a process that must not start; returns its exit status and its last words."""
    ended = subprocess.run(
        [sys.executable, "-P", "-m", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT), FOLDER_VARIABLE: str(faults_dir)},
        timeout=200,
        check=False,
    )
    return ended.returncode, json.loads(ended.stdout.splitlines()[-1])


def test_f26_second_server_is_refused(site: Site, tmp_path: Path) -> None:
    """Goal: F26. Method: a server on the same directory, one on the same port; the first goes on."""
    server = site.server
    other = write_config(tmp_path / "other", SETTINGS)
    same_directory = run("tests.faults.serve", str(server.config_dir), faults_dir=tmp_path)
    same_port = run("tests.faults.serve", str(other), server.address, faults_dir=tmp_path)
    status = attempt(server.channel, site.ledger, site.traffic.score(), timeout_s=4.0)

    assert (REFUSED,) * 2 == (same_directory[0], same_port[0])
    in_use = f"data directory {server.data_dir} is in use by the engine with process id {server.pid_of(ENGINE)}"
    assert in_use in same_directory[1]["message"]
    assert f"the port of {server.address} is in use by another process" in same_port[1]["message"]
    assert "OK" == status
    site.check()
