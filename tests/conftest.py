"""What all tests share: markers that set themselves, hypothesis profiles, numba's caches, the shared data.

INVARIANTS: the cache is chosen before anything imports numba. Nothing here imports the engine. Called by pytest.
"""

import os
from datetime import timedelta
from pathlib import Path
from typing import Final

import hypothesis
import pytest
from hypothesis import HealthCheck

ROOT: Final = Path(__file__).resolve().parent.parent

# numba's disk cache does not remember NUMBA_BOUNDSCHECK: a warm one would hand the checked run unchecked code. So each
# way of running has a folder of its own, here and in the Makefile; `riskengine.jit` keeps versions apart below it.
WAY = (
    "interpreted"
    if os.environ.get("NUMBA_DISABLE_JIT")
    else "checked"
    if os.environ.get("NUMBA_BOUNDSCHECK")
    else "jit"
)
os.environ.setdefault("NUMBA_CACHE_DIR", str(ROOT / ".build" / "numba" / WAY))

SLOW_TO_START = [HealthCheck.too_slow, HealthCheck.data_too_large]
hypothesis.settings.register_profile("fast", max_examples=100, deadline=None)
hypothesis.settings.register_profile("ci", max_examples=100, deadline=None, derandomize=True, print_blob=True)
# Kernels as plain Python are some 200 times slower, coverage on top.
hypothesis.settings.register_profile(
    "interpreted", max_examples=15, deadline=None, derandomize=True, suppress_health_check=SLOW_TO_START
)
hypothesis.settings.register_profile(
    "fuzz", max_examples=5000, deadline=timedelta(minutes=1), print_blob=True, suppress_health_check=SLOW_TO_START
)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "fast"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks what can be told from a test itself: kernel, property, shared."""
    for item in items:
        if item.path.name.startswith("test_") and "kernels" in item.path.name:
            item.add_marker(pytest.mark.kernel)
        if getattr(getattr(item, "function", None), "is_hypothesis_test", False):
            item.add_marker(pytest.mark.property)
        if "shared_data" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.shared)


def shared_folder() -> Path | None:
    """Returns the shared folder: RISKENGINE_SHARED, or `shared` beside the repository; None where there is none."""
    named = os.environ.get("RISKENGINE_SHARED")
    folder = Path(named) if named else ROOT.parent / "shared"
    return folder if (folder / "data").is_dir() else None


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real input (`handbook/transactions.parquet`, `aws_samples/`); the test skips where it is absent."""
    folder = shared_folder()
    if folder is None:
        pytest.skip("no shared data: name the folder that holds data/ in RISKENGINE_SHARED, or put it beside this one")
    return folder / "data"


@pytest.fixture(scope="session")
def repository() -> Path:
    """The repository's root."""
    return ROOT
