"""The configurations of the engine's tests."""

from tests.engine.conftest import rules_only, with_model

__all__ = ["rules_only", "with_model"]
