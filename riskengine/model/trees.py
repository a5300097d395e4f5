"""Checks xgboost's JSON and turns it into arrays.

xgboost itself crashes on a damaged model (a child out of range or a cycle is a SIGSEGV), so nothing of a model file is
believed: every index, number and shape is checked here, in code that cannot run out of an array.

INVARIANTS: of a `Tree`, node 0 is the root, children lie in range, every node is reached at most once from the root,
the depth is at most `DEPTH_MAX`, every number is a finite float32, every feature exists. Anything else is a
`BundleError`.

Called by `bundle`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from riskengine.errors import BundleError
from riskengine.types import Flags, Floats, Ints

TREES_MAX: Final = 2_000
DEPTH_MAX: Final = 8
"""The forest is laid out as complete heaps: one more level doubles its memory. Deeper trees need another layout."""
NODES_MAX: Final = 2_047
"""Nodes stored for one tree; 511 can be reached at depth 8, xgboost keeps pruned ones in the file."""
FEATURES_MAX: Final = 4_096
LEAF_SUM_MAX: Final = 1e6
"""Bound on the sum of the largest leaf values, log-odds: no sum of leaves overflows a float32."""


@dataclass(frozen=True, slots=True)
class Tree:
    """One tree by node.

    Attributes:
        left: int64[N], child asked when the feature is below the value; -1 at a leaf.
        right: int64[N], the other child; -1 at a leaf.
        feature: int64[N].
        value: float32[N], threshold of an inner node, log-odds of a leaf.
        default_left: bool[N], where missing goes.
        cover: float64[N], sum of the training rows' hessians, >= 0.
        depth: Levels below the root, 0 to DEPTH_MAX.
    """

    left: Ints
    right: Ints
    feature: Ints
    value: npt.NDArray[np.float32]
    default_left: Flags
    cover: Floats
    depth: int


@dataclass(frozen=True, slots=True)
class Trees:
    """A checked model.

    Attributes:
        trees: In xgboost's order, at least one.
        base_score: float32 probability from 0 to 1, before the first tree.
        feature_count: Features the trees may ask.
        depth: Of the deepest tree.
    """

    trees: tuple[Tree, ...]
    base_score: np.float32
    feature_count: int
    depth: int


def read_trees(document: Any, *, feature_names: tuple[str, ...]) -> Trees:
    """Checks a parsed model file.

    Args:
        document: What ``json.loads`` made of the file.
        feature_names: The bundle's features, in order.

    Raises:
        BundleError: With the first thing found wrong, naming tree and node.
    """
    learner = _child(document, "learner", dict)
    _check_names(learner, feature_names)
    _expect(_child(learner, "objective", dict), "name", "binary:logistic")
    parameters = _child(learner, "learner_model_param", dict)
    for key, wanted in (("num_feature", str(len(feature_names))), ("num_class", "0"), ("num_target", "1")):
        _expect(parameters, key, wanted)
    booster = _child(learner, "gradient_booster", dict)
    _expect(booster, "name", "gbtree")
    model = _child(booster, "model", dict)
    items = _child(model, "trees", list)
    if not 1 <= len(items) <= TREES_MAX:
        raise BundleError(f"{len(items)} trees, but 1 to {TREES_MAX} are served")
    if _child(model, "tree_info", list) != [0] * len(items):
        raise BundleError("tree_info does not say that every tree belongs to the one output")
    trees = tuple(_read_tree(item, f"tree {index}", len(feature_names)) for index, item in enumerate(items))
    leaf_sum = sum(float(np.abs(tree.value[tree.left == -1]).max()) for tree in trees)
    if leaf_sum > LEAF_SUM_MAX:
        raise BundleError(f"leaf values add up to {leaf_sum:.3g}, more than {LEAF_SUM_MAX:.0e}")
    base_score = _base_score(_child(parameters, "base_score", str))
    return Trees(trees, base_score, len(feature_names), max(tree.depth for tree in trees))


def _check_names(learner: Mapping[str, Any], feature_names: tuple[str, ...]) -> None:
    """Checks the file's own feature names, where it has any, against the bundle's."""
    if not 1 <= len(feature_names) <= FEATURES_MAX:
        raise BundleError(f"{len(feature_names)} features, but 1 to {FEATURES_MAX} are served")
    names = learner.get("feature_names", [])
    if names not in ([], list(feature_names)):
        raise BundleError("the features named inside are not those of features.json in the same order")


def _base_score(text: str) -> np.float32:
    """Reads ``"5E-1"`` or, as xgboost 3 writes it, ``"[5E-1]"``."""
    try:
        score = float(text.removeprefix("[").removesuffix("]"))
    except ValueError:
        raise BundleError("base_score is not one number") from None
    if not 0.0 <= score <= 1.0:
        raise BundleError("base_score is not a probability")
    return np.float32(score)


def _read_tree(item: Any, where: str, feature_count: int) -> Tree:
    """Checks one tree."""
    left = _integers(item, "left_children", where)
    count = len(left)
    if not 1 <= count <= NODES_MAX:
        raise BundleError(f"{where} has {count} nodes, but 1 to {NODES_MAX} are served")
    right = _integers(item, "right_children", where, count)
    feature = _integers(item, "split_indices", where, count)
    default_left = _integers(item, "default_left", where, count)
    value = _floats(item, "split_conditions", where, count)
    cover = _floats(item, "sum_hessian", where, count)
    if np.any(_integers(item, "split_type", where, count)) or item.get("categories"):
        raise BundleError(f"{where} has a categorical split; only numeric ones are served")
    _expect(_child(item, "tree_param", dict), "size_leaf_vector", "1")
    _check_nodes(where, "feature", feature, low=0, high=feature_count - 1)
    _check_nodes(where, "default_left", default_left, low=0, high=1)
    _check_nodes(where, "left child", left, low=-1, high=count - 1)
    _check_nodes(where, "right child", right, low=-1, high=count - 1)
    _check_nodes(where, "sum_hessian", cover, low=0, high=np.inf)
    depth = _check_shape(left, right, where)
    return Tree(left, right, feature, value, default_left.astype(np.bool_), cover.astype(np.float64), depth)


def _check_shape(left: Ints, right: Ints, where: str) -> int:
    """Walks a tree from its root; returns its depth, refuses cycles, shared children and half leaves."""
    reached = np.zeros(len(left), np.bool_)
    level, depth = [0], -1
    while level:  # every node enters at most once, so at most NODES_MAX steps in all
        depth += 1
        if depth > DEPTH_MAX:
            raise BundleError(f"{where} is deeper than {DEPTH_MAX}; train with depth={DEPTH_MAX} or less")
        below: list[int] = []
        for node in level:
            if reached[node]:
                raise BundleError(f"{where}: node {node} is reached twice (a cycle or a shared child)")
            reached[node] = True
            children = (int(left[node]), int(right[node]))
            if (children[0] == -1) != (children[1] == -1):
                raise BundleError(f"{where}: node {node} has one child only")
            below += [child for child in children if child != -1]
        level = below
    return depth


def _check_nodes(where: str, what: str, values: npt.NDArray[Any], *, low: float, high: float) -> None:
    """Refuses a value outside [low, high], naming the first such node."""
    wrong = np.flatnonzero((values < low) | (values > high))
    if len(wrong):
        raise BundleError(f"{where}: {what} of node {wrong[0]} is out of range")


def _child(item: Any, key: str, kind: type) -> Any:
    """Returns `item[key]` if `item` is a mapping and the value of the given kind."""
    if not isinstance(item, dict) or not isinstance(item.get(key), kind):
        raise BundleError(f"{key!r} is missing or not a {kind.__name__}: not xgboost's JSON")
    return item[key]


def _expect(item: Mapping[str, Any], key: str, wanted: str) -> None:
    """Refuses any other value of a text field."""
    if item.get(key) != wanted:
        raise BundleError(f"{key} is not {wanted!r}, the only one served")


def _integers(item: Any, key: str, where: str, count: int | None = None) -> Ints:
    """Reads a list of integers, of the given length."""
    values = _child(item, key, list)
    if count is not None and len(values) != count:
        raise BundleError(f"{where}: {key} has {len(values)} entries for {count} nodes")
    if any(type(value) is not int or not -(2**31) <= value < 2**31 for value in values):
        raise BundleError(f"{where}: {key} has an entry that is not a 32-bit integer")
    return np.array(values, np.int64)


def _floats(item: Any, key: str, where: str, count: int) -> npt.NDArray[np.float32]:
    """Reads a list of finite float32 numbers of the given length."""
    values = _child(item, key, list)
    if len(values) != count:
        raise BundleError(f"{where}: {key} has {len(values)} entries for {count} nodes")
    if any(type(value) is not float and type(value) is not int for value in values):
        raise BundleError(f"{where}: {key} has an entry that is not a number")
    try:
        with np.errstate(over="ignore"):
            singles = np.array(values, np.float64).astype(np.float32)
    except OverflowError:
        raise BundleError(f"{where}: {key} has an entry beyond float32") from None
    wrong = np.flatnonzero(~np.isfinite(singles))
    if len(wrong):
        raise BundleError(f"{where}: {key} of node {wrong[0]} is not finite")
    return singles
