"""The model: bundles of gradient-boosted trees, scored by a kernel of our own, calibrated, explained by path.

INVARIANTS: xgboost is never loaded here; whatever is scored passed its checksums, its structure check and its golden
set.

Called by `engine` (load, score, attribute) and `lab` (write).
"""

from .bundle import Bundle, load_bundle, write_bundle
from .calibration import Calibrator, fit_calibrator
from .forest import Forest, narrow
from .stage import Model

__all__ = ["Bundle", "Calibrator", "Forest", "Model", "fit_calibrator", "load_bundle", "narrow", "write_bundle"]
