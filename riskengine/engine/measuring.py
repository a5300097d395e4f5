"""What each event of a batch is by itself: its own features, and what it adds to each measure.

INVARIANT: a pure function of the rows, whatever was folded before; so it may run ahead of the fold, in another thread, with
work space of its own. Called by `engine.pipeline` and `engine.recovery`.
"""

import numpy as np
import numpy.typing as npt

from riskengine.engine.features import FeatureSet
from riskengine.types import WordMatrix
from riskengine.velocity.inputs import kernels as inputs

Features = npt.NDArray[np.float64]
Valid = npt.NDArray[np.uint8]
Increments = npt.NDArray[np.int64]


class Measuring:
    """Work space for batches. Not to be shared by threads.

    Args:
        features: What is measured.
        rows_max: Rows of the largest batch.
        column_count: Columns of the features matrix, at least those of `features`.
    """

    def __init__(self, features: FeatureSet, *, rows_max: int, column_count: int) -> None:
        self._plan = features
        condition_count = max(1, len(features.velocity.conditions))
        self._features = np.zeros((rows_max, column_count))
        self._valid = np.zeros((rows_max, column_count), np.uint8)
        self._conditions = np.zeros((rows_max, condition_count))
        self._conditions_valid = np.zeros((rows_max, condition_count), np.uint8)
        self._increments = np.zeros((rows_max, max(1, len(features.velocity.measures))), np.int64)

    def space(self, count: int) -> tuple[Features, Valid]:
        """Returns the features matrix and its validity for a batch of `count` rows, as the last batch left them."""
        return self._features[:count], self._valid[:count]

    def run(self, events: WordMatrix) -> Increments:
        """Fills the columns of event features, and measures.

        Args:
            events: int64[n, EVENT_WORDS], C-contiguous, at most `rows_max` rows.

        Returns:
            int64[n, M], what each event adds to each measure: a view that the next batch overwrites.
        """
        count = len(events)
        plan, (features, valid) = self._plan, self.space(count)
        conditions, conditions_valid = self._conditions[:count], self._conditions_valid[:count]
        increments = self._increments[:count]
        inputs.event_features(events, plan.velocity.numbers, features, valid)
        plan.conditions.run(events, features, valid, conditions, conditions_valid)
        inputs.increments(plan.velocity.measures, features, valid, conditions, conditions_valid, increments)
        return increments
