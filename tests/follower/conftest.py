"""The configurations of the engine's tests, and a follower beside an engine."""

from pathlib import Path

import pytest

from riskengine.engine.configuration import Configuration
from tests.engine.conftest import rules_only, with_model
from tests.follower.beside import Beside

__all__ = ["rules_only", "with_model"]


@pytest.fixture
def beside(tmp_path: Path, rules_only: Configuration) -> Beside:
    """A follower beside an engine, both at the beginning."""
    return Beside(tmp_path / "data", rules_only)
