"""The model stage: a bundle bound to the engine's feature matrix.

INVARIANT: built from a `Bundle` that passed every check, and from the names of the matrix: which column feeds which
feature is settled here once. Its scratch memory belongs to one thread.

Called by `engine`.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from riskengine.errors import BundleError, nearest
from riskengine.types import Floats, Valid

from .bundle import Bundle

_TOLD_MAX = 8
"""How many unknown names an error spells out."""


class Model:
    """Scores and explains rows of the engine's matrix.

    Args:
        bundle: From `load_bundle`.
        feature_names: Name of each column of the matrix, C of them.
        definition_hashes: Hash of the definition that each name has now; a feature defined otherwise than at training
            is refused. None: not checked. A name that is absent here is not checked either.

    Raises:
        BundleError: If the model needs a feature that is absent, or is defined otherwise; names the nearest.
    """

    def __init__(
        self, bundle: Bundle, feature_names: Sequence[str], *, definition_hashes: Mapping[str, str] | None = None
    ) -> None:
        self.bundle = bundle
        self.column_count = len(feature_names)
        column_of = {name: column for column, name in enumerate(feature_names)}
        _check_names(bundle, column_of)
        _check_definitions(bundle, definition_hashes or {})
        self.columns = np.array([column_of[name] for name in bundle.feature_names], np.int64)
        """int64[F]: the matrix column of each feature of the model."""

    def score(
        self,
        features: Floats,
        valid: Valid,
        margin: Floats,
        probability: Floats,
    ) -> None:
        """Scores a batch.

        Args:
            features: float64[n, C], C-contiguous.
            valid: uint8[n, C]; 0 is missing.
            margin: float64[n], written: log-odds before calibration, xgboost's float32 bit for bit. Rank by it.
            probability: float64[n], written: calibrated, above 0 and below 1.
        """
        self._check_shapes(features, valid)
        assert margin.shape == probability.shape == (len(features),), "one margin and one probability a row"
        self.bundle.forest.score(features, valid, self.columns, margin)
        self.bundle.calibrator.apply(margin, probability)

    def attribute(
        self,
        features: Floats,
        valid: Valid,
        row: int,
        contributions: Floats,
    ) -> float:
        """Explains one row by the changes along its paths through the trees.

        Args:
            features: As `score`.
            valid: As `score`.
            row: Row to explain, 0 <= row < n.
            contributions: float64[C], written: log-odds by matrix column, 0 where the model asks nothing.

        Returns:
            The bias, log-odds: with the contributions it adds up to the row's margin, up to float32 rounding.
        """
        self._check_shapes(features, valid)
        assert 0 <= row < len(features), "the row is in the batch"
        assert contributions.shape == (self.column_count,), "one contribution a column"
        return self.bundle.forest.attribute(features, valid, self.columns, row, contributions)

    def _check_shapes(self, features: Floats, valid: Valid) -> None:
        # The kernels do not check indices: a matrix of another width would be read out of bounds.
        assert features.shape == (len(features), self.column_count), "the matrix the model was bound to"
        assert valid.shape == features.shape, "a validity for each feature"


def _check_names(bundle: Bundle, column_of: Mapping[str, int]) -> None:
    """Refuses features that the matrix lacks."""
    unknown = [name for name in bundle.feature_names if name not in column_of]
    if not unknown:
        return
    told = []
    for name in unknown[:_TOLD_MAX]:
        hint = nearest(name, column_of).removeprefix("; ")
        told.append(f"{name} ({hint})" if hint else name)
    more = f" and {len(unknown) - _TOLD_MAX} more" if len(unknown) > _TOLD_MAX else ""
    raise BundleError(
        f"model {bundle.name} needs features that features.yaml does not define: {', '.join(told)}{more}; "
        "define them there, or train a model on the features that are defined"
    )


def _check_definitions(bundle: Bundle, definition_hashes: Mapping[str, str]) -> None:
    """Refuses features that mean something else now than they did at training."""
    pairs = zip(bundle.feature_names, bundle.definition_hashes, strict=True)
    changed = [name for name, trained in pairs if definition_hashes.get(name, trained) != trained]
    if changed:
        more = f" and {len(changed) - _TOLD_MAX} more" if len(changed) > _TOLD_MAX else ""
        raise BundleError(
            f"model {bundle.name} was trained on other definitions of {', '.join(changed[:_TOLD_MAX])}{more}; "
            "train it again, or restore the definitions"
        )
