"""The cache of compiled kernels: built once, checked at every start, rebuilt when damaged, by one process at a time."""

import fcntl
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from riskengine.engine import warm

# One small module of kernels stands for all: compiling all takes a minute.
SCRIPT = """
import riskengine.engine.warm as warm
warm.kernel_modules = lambda: ["riskengine.engine.recent.kernels"]
compiled = warm.warm(on_wait=lambda: print("waiting", flush=True))
print("compiled" if compiled else "loaded")
"""


def started(cache: Path) -> "subprocess.Popen[str]":
    """Starts a process that warms the kernels."""
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(cache)}
    environment.pop("NUMBA_DISABLE_JIT", None)
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def warmed(cache: Path) -> str:
    """Warms the kernels in a process of its own; returns the last word it said."""
    process = started(cache)
    out, err = process.communicate(timeout=120)

    assert process.returncode == 0, err
    return out.split()[-1]


@pytest.fixture(scope="module")
def warm_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache that is built; tests copy it."""
    folder = tmp_path_factory.mktemp("kernels")

    assert warmed(folder) == "compiled"
    return folder


@pytest.fixture
def cache(warm_cache: Path, tmp_path: Path) -> Path:
    """A copy of a built cache, to be damaged."""
    return Path(shutil.copytree(warm_cache, tmp_path / "cache"))


def halve_files(cache: Path) -> None:
    """Cuts every file of compiled code in half."""
    files = list(cache.rglob("*.nb[ic]"))

    assert files
    for file in files:
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def test_damaged_cache_is_rebuilt(cache: Path) -> None:
    """Goal: a torn file is no crash. Method: halve every file; the next run compiles, the one after loads."""
    intact = warmed(cache)
    halve_files(cache)
    damaged, mended = warmed(cache), warmed(cache)

    assert ["loaded", "compiled", "loaded"] == [intact, damaged, mended]


def test_damage_that_no_list_tells_is_rebuilt_too(cache: Path) -> None:
    """Goal: what another program left half written is no crash. Method: halve every file and delete the list."""
    halve_files(cache)
    next(cache.rglob(warm.LIST_NAME)).unlink()

    assert warmed(cache) == "compiled"


def test_second_process_waits_while_one_compiles(cache: Path) -> None:
    """Goal: never two compilers on one cache. Method: hold the lock, start a process, see it wait, let it go."""
    with next(cache.rglob(warm.LOCK_NAME)).open("rb+") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        process = started(cache)
        assert process.stdout is not None
        said = process.stdout.readline()
        time.sleep(0.3)
        running = process.poll() is None
    out, err = process.communicate(timeout=60)

    assert said == "waiting\n"
    assert running
    assert process.returncode == 0, err
    assert out.split()[-1] == "loaded"
