"""What decides from a place of the journal on.

Called by `engine.rebuild` and `lab`.
"""

from riskengine.engine.recovery import MODELS_FOLDER, SEMANTICS, Activation

__all__ = ["MODELS_FOLDER", "SEMANTICS", "Activation"]
