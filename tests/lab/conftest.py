"""The configurations of the engine's tests, for what explains and replays decisions."""

from tests.engine.conftest import rules_only, with_model

__all__ = ["rules_only", "with_model"]
