"""Bundles: what was written is what is served; whatever else lies there is refused, with a reason."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from riskengine.errors import BundleError
from riskengine.model import Calibrator, load_bundle, write_bundle
from riskengine.model.bundle import CONTENT, MANIFEST
from tests.model import builders
from tests.model.conftest import NAMES, train

FILES = (MANIFEST, *CONTENT)


def test_a_bundle_reads_back_as_written(good_bundle: Path) -> None:
    """Goal: names, hashes, time and report survive; the revision stands for the bytes."""
    bundle = load_bundle(good_bundle)

    assert (bundle.name, bundle.created_time) == ("good", "2023-11-14T22:13:20Z")
    assert bundle.feature_names == NAMES
    assert bundle.definition_hashes == tuple(f"hash-{name}" for name in NAMES)
    assert (bundle.report, bundle.forest.tree_count) == ({"note": "made up"}, 6)
    assert (len(bundle.revision), bundle.revision) == (12, load_bundle(good_bundle).revision)


def test_serving_never_loads_xgboost(good_bundle: Path) -> None:
    """Goal: the library that crashes on damaged files is not in the serving process. Method: a process of its own."""
    script = "import sys, riskengine.model as m; m.load_bundle(sys.argv[1]); sys.exit('xgboost' in sys.modules)"

    result = subprocess.run([sys.executable, "-c", script, good_bundle], capture_output=True, check=False)

    assert (0, b"") == (result.returncode, result.stderr)


@given(file=st.sampled_from(FILES), place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_flipped_bit_in_any_file_is_refused(
    good_bundle: Path, tmp_path_factory: pytest.TempPathFactory, file: str, place: float, bit: int
) -> None:
    """Goal: no damage gets through. Method: one bit of one file, anywhere."""
    directory = tmp_path_factory.mktemp("flip") / "good"
    shutil.copytree(good_bundle, directory)
    raw = bytearray((directory / file).read_bytes())
    raw[int(place * len(raw))] ^= 1 << bit
    (directory / file).write_bytes(raw)

    with pytest.raises(BundleError, match=r"model bundle good: .*copy the bundle again"):
        load_bundle(directory)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"good"', b'"food"'),
        (b'"2023-', b'"2033-'),
        (b'"format_version": 1', b'"format_version": 01'),
        (b'"format_version": 1', b'"format_version":  1'),
        (b"}\n", b"}"),
        (b'"xgboost_version": "3.', b'"xgboost_version": "4.'),
    ],
)
def test_the_manifest_cannot_be_edited(good_bundle: Path, tmp_path: Path, old: bytes, new: bytes) -> None:
    """Goal: nothing in the one file without a hash elsewhere can change. Method: values, then mere white space."""
    shutil.copytree(good_bundle, tmp_path / "edited")
    manifest = tmp_path / "edited" / MANIFEST
    assert old in manifest.read_bytes()
    manifest.write_bytes(manifest.read_bytes().replace(old, new))

    with pytest.raises(BundleError, match=f"{MANIFEST}: (its own checksum does not match|not valid JSON)"):
        load_bundle(tmp_path / "edited")


def trees_of(document: dict[str, Any]) -> list[dict[str, Any]]:
    trees: list[dict[str, Any]] = document["learner"]["gradient_booster"]["model"]["trees"]
    return trees


def set_node(key: str, node: int, value: object) -> Callable[[dict[str, Any]], None]:
    return lambda document: trees_of(document)[1][key].__setitem__(node, value)


def set_parameter(key: str, value: object) -> Callable[[dict[str, Any]], None]:
    return lambda document: document["learner"]["learner_model_param"].__setitem__(key, value)


def chain(document: dict[str, Any]) -> None:
    nodes = range(19)  # every second node is a leaf: depth 9
    trees_of(document)[0].update(
        left_children=[node + 1 if node % 2 == 0 and node < 18 else -1 for node in nodes],
        right_children=[node + 2 if node % 2 == 0 and node < 18 else -1 for node in nodes],
        split_indices=[0] * 19,
        default_left=[0] * 19,
        split_type=[0] * 19,
        split_conditions=[0.0] * 19,
        sum_hessian=[1.0] * 19,
    )


def leaf(document: dict[str, Any]) -> int:
    index: int = trees_of(document)[1]["left_children"].index(-1)
    return index


def leaf_value(value: float) -> Callable[[dict[str, Any]], None]:
    return lambda document: set_node("split_conditions", leaf(document), value)(document)


HOSTILE: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "child out of range": (set_node("left_children", 0, 99999), "tree 1: left child of node 0 is out of range"),
    "negative child": (set_node("right_children", 0, -2), "tree 1: right child of node 0 is out of range"),
    "cycle": (set_node("left_children", 1, 0), r"tree 1: node 0 is reached twice \(a cycle"),
    "self": (set_node("left_children", 0, 0), "tree 1: node 0 is reached twice"),
    "shared child": (set_node("left_children", 0, 2), "tree 1: node 2 is reached twice"),
    "half leaf": (set_node("left_children", 0, -1), "tree 1: node 0 has one child only"),
    "too deep": (chain, "tree 0 is deeper than 8; train with depth=8"),
    "feature out of range": (set_node("split_indices", 0, 9999), "tree 1: feature of node 0 is out of range"),
    "one feature too far": (set_node("split_indices", 0, 5), "tree 1: feature of node 0 is out of range"),
    "threshold NaN": (set_node("split_conditions", 0, float("nan")), "not valid JSON"),
    "threshold beyond float32": (set_node("split_conditions", 0, 1e39), "split_conditions of node 0 is not finite"),
    "threshold huge integer": (set_node("split_conditions", 0, 10**400), "beyond float32"),
    "threshold text": (set_node("split_conditions", 0, "0.5"), "not a number"),
    "leaf infinite": (leaf_value(float("inf")), "not valid JSON"),
    "leaves that overflow": (leaf_value(1e38), "leaf values add up to"),
    "leaf changed": (leaf_value(0.123), "golden.json: .* rows score otherwise than in xgboost"),
    "cover negative": (set_node("sum_hessian", 0, -1.0), "sum_hessian of node 0 is out of range"),
    "default neither": (set_node("default_left", 0, 2), "default_left of node 0 is out of range"),
    "boolean index": (set_node("left_children", 0, True), "not a 32-bit integer"),
    "float index": (set_node("left_children", 0, 1.0), "not a 32-bit integer"),
    "huge index": (set_node("left_children", 0, 2**70), "not a 32-bit integer"),
    "categorical": (set_node("split_type", 0, 1), "categorical split"),
    "short list": (lambda d: trees_of(d)[1]["default_left"].pop(), r"default_left has \d+ entries for \d+ nodes"),
    "no list": (lambda d: trees_of(d)[1].pop("sum_hessian"), "'sum_hessian' is missing or not a list"),
    "tree no object": (lambda d: cast("list[Any]", trees_of(d)).__setitem__(1, 7), "'left_children' is missing"),
    "empty tree": (lambda d: trees_of(d)[1].update(left_children=[]), "0 nodes"),
    "vector leaves": (lambda d: trees_of(d)[1]["tree_param"].update(size_leaf_vector="2"), "size_leaf_vector is not"),
    "no trees": (lambda d: trees_of(d).clear(), "0 trees, but 1 to 2000"),
    "too many trees": (lambda d: trees_of(d).extend(trees_of(d)[:1] * 1995), "2001 trees, but 1 to 2000"),
    "another class": (
        lambda d: d["learner"]["gradient_booster"]["model"].update(tree_info=[0, 1, 0, 0, 0, 0]),
        "tree_info",
    ),
    "base_score text": (set_parameter("base_score", "[x]"), "base_score is not one number"),
    "base_score two": (set_parameter("base_score", "[5E-1,5E-1]"), "base_score is not one number"),
    "base_score above one": (set_parameter("base_score", "[1.5E0]"), "base_score is not a probability"),
    "base_score NaN": (set_parameter("base_score", "[nan]"), "base_score is not a probability"),
    "base_score moved": (set_parameter("base_score", "[9.99E-1]"), "base_margin does not follow from"),
    "feature count": (set_parameter("num_feature", "6"), "num_feature is not '5'"),
    "classes": (set_parameter("num_class", "3"), "num_class is not '0'"),
    "objective": (lambda d: d["learner"]["objective"].update(name="reg:squarederror"), "name is not 'binary:logistic'"),
    "dart": (lambda d: d["learner"]["gradient_booster"].update(name="dart"), "name is not 'gbtree'"),
    "names": (lambda d: d["learner"]["feature_names"].reverse(), "not those of features.json"),
    "no learner": (lambda d: d.pop("learner"), "'learner' is missing"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_model_with_right_hashes_is_refused(good_bundle: Path, tmp_path: Path, case: str) -> None:
    """Goal: nothing is believed for its hash. Method: one mistake at a time, the manifest sealed over it."""
    change, message = HOSTILE[case]
    contents = builders.read_bundle(good_bundle)
    document = json.loads(contents["model.json"])
    change(document)

    with pytest.raises(BundleError, match=message):
        load_bundle(builders.seal(tmp_path / "forged", {**contents, "model.json": builders.as_json(document)}))


OTHER_FILES: list[tuple[str, bytes, str]] = [
    ("model.json", b"", "model.json: not valid JSON"),
    ("model.json", b"\x80\x04\x95pickle", "never .ubj or pickle"),
    ("model.json", b"[" * 200_000, "not valid JSON"),
    ("model.json", b'{"learner": {}, "learner": {}}', "not valid JSON"),
    ("model.json", b"[]", "'learner' is missing"),
    ("features.json", b'{"features": []}', "features.json: features is not a list of 1 to 4096"),
    ("features.json", b'{"features": [{"name": "a"}]}', "feature 0 needs a name"),
    ("features.json", b'{"features": [1]}', "not a JSON object"),
    ("features.json", b'{"features": [' + b'{"name":"a","definition_hash":"b"},' * 4 + b"0]}", "not a JSON object"),
    ("features.json", b'{"features": [%s]}' % b",".join([b'{"name":"a","definition_hash":"b"}'] * 5), "named twice"),
    ("golden.json", b"{}", "not rows of hex floats"),
    ("golden.json", b'{"base_margin":"0x0p+0","features":[],"margins":[]}', "its rows do not have 5 features"),
    ("golden.json", b'{"base_margin":"0x1p+99999","features":[],"margins":[]}', "not rows of hex floats"),
    ("golden.json", b'{"base_margin":"0x0p+0","features":[[null]],"margins":[]}', "its rows do not have 5 features"),
    (
        "golden.json",
        b'{"base_margin":"0x0p+0","features":[[null,null,null,null,null]],"margins":["0x0p+0"]}',
        "1 rows, but 64 to 4096",
    ),
    ("report.json", b"7", "report.json: not a JSON object"),
    ("calibrator.json", b"{}", "calibrator.json: not a calibrator"),
]


@pytest.mark.parametrize(("file", "raw", "message"), OTHER_FILES)
def test_other_hostile_files_are_refused(
    good_bundle: Path, tmp_path: Path, file: str, raw: bytes, message: str
) -> None:
    """Goal: as above, for every file. Method: one file replaced, the manifest sealed over it."""
    contents = builders.read_bundle(good_bundle)

    with pytest.raises(BundleError, match=message):
        load_bundle(builders.seal(tmp_path / "forged", {**contents, file: raw}))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format_version": 2}, "not riskengine.model version 1"),
        ({"format": "other"}, "not riskengine.model version 1"),
        ({"name": "../up"}, "name is not 1 to 63"),
        ({"name": 7}, "name is not a text"),
        ({"extra": 1}, "its own checksum does not match"),
        ({"files": {}}, "calibrator.json does not match its SHA-256"),
        ({"files": 3}, "not a JSON object"),
    ],
)
def test_a_hostile_manifest_is_refused(good_bundle: Path, tmp_path: Path, change: dict[str, Any], message: str) -> None:
    """Goal: the manifest is checked like the rest. Method: one field at a time."""
    with pytest.raises(BundleError, match=message):
        load_bundle(builders.seal(tmp_path / "forged", builders.read_bundle(good_bundle), **change))


@given(seed=st.integers(0, 2**32 - 1), count=st.integers(1, 4))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_garbled_model_never_raises_anything_else(
    good_bundle: Path, tmp_path_factory: pytest.TempPathFactory, seed: int, count: int
) -> None:
    """Goal: the checker has no hole. Method: random bytes replaced, hashes right; it loads or says BundleError."""
    rng = np.random.default_rng(seed)
    contents = builders.read_bundle(good_bundle)
    raw = bytearray(contents["model.json"])
    for place in rng.integers(len(raw), size=count):
        raw[place] = rng.choice(bytearray(b'0123456789-.eE,"[]{} nul\x00\xff'))

    with suppress(BundleError):
        load_bundle(builders.seal(tmp_path_factory.mktemp("g") / "g", {**contents, "model.json": bytes(raw)}))


def link(path: Path) -> None:
    path.rename(path.with_suffix(".real"))
    path.symlink_to(path.with_suffix(".real"))


def fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def grow(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(64 * 2**20 + 1)


@pytest.mark.parametrize("file", ["model.json", MANIFEST])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (Path.unlink, "is missing"),
        (link, "is a link or cannot be opened"),
        (fifo, "is not a regular file"),
        (directory, "is not a regular file"),
        (grow, "is larger than 64 MiB"),
        (lambda path: path.chmod(0o666), "may be written by anybody"),
    ],
)
def test_a_file_that_is_no_plain_file_is_refused(
    good_bundle: Path, tmp_path: Path, file: str, change: Callable[[Path], None], message: str
) -> None:
    """Goal: nothing but a plain file of sane size is read, and nothing blocks. Method: each kind in turn."""
    shutil.copytree(good_bundle, tmp_path / "odd")
    change(tmp_path / "odd" / file)

    with pytest.raises(BundleError, match=f"{file} {message}"):
        load_bundle(tmp_path / "odd")


def test_a_path_that_is_no_directory_is_refused(good_bundle: Path, tmp_path: Path) -> None:
    """Goal: a clear word for a wrong path. Method: nothing there, a file, a link to a good bundle."""
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to(good_bundle)

    for name, message in (("none", "no such directory"), ("file", "not a directory"), ("link", "not a link")):
        with pytest.raises(BundleError, match=message):
            load_bundle(tmp_path / name)


def write(path: Path, **changes: Any) -> str:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(100, 2)).astype(np.float32)
    booster = train(features, features[:, 0] > 0.5, max_depth=2)
    arguments: dict[str, Any] = {
        "name": "small",
        "created_time_us": 0,
        "model_json": bytes(booster.save_raw("json")),
        "calibrator": Calibrator(np.zeros(1), np.zeros(1), 1.0, 1.0),
        "feature_names": ("a", "b"),
        "definition_hashes": ("1", "2"),
        "report": {},
        "golden_features": features,
        "golden_margins": booster.inplace_predict(features, predict_type="margin"),
        "xgboost_version": "3.2.0",
    }
    return write_bundle(path, **{**arguments, **changes})


def test_the_same_model_has_the_same_revision_anywhere(tmp_path: Path) -> None:
    """Goal: the revision stands for content alone. Method: written twice, then with another name."""
    first = write(tmp_path / "one")

    assert first == write(tmp_path / "deep" / "two") == load_bundle(tmp_path / "one").revision
    assert first != write(tmp_path / "three", name="other")


def test_a_model_that_scores_otherwise_is_not_published(tmp_path: Path) -> None:
    """Goal: the golden set guards the writer, too. Method: one expected margin off by one bit."""
    write(tmp_path / "good")
    golden = json.loads((tmp_path / "good" / "golden.json").read_bytes())
    margins = np.array([float.fromhex(text) for text in golden["margins"]], np.float32)
    margins[7] = np.nextafter(margins[7], np.float32(9))

    with pytest.raises(BundleError, match="1 of 100 rows score otherwise"):
        write(tmp_path / "bad", golden_margins=margins)

    assert ["good"] == [path.name for path in tmp_path.iterdir()]


def test_a_taken_name_is_kept_unless_replacing_is_asked(tmp_path: Path) -> None:
    """Goal: no bundle is lost by accident, and no half of one remains. Method: write over one, then replace it."""
    first = write(tmp_path / "model")
    with pytest.raises(BundleError, match="exists; choose another name"):
        write(tmp_path / "model", name="second")
    assert first == load_bundle(tmp_path / "model").revision

    second = write(tmp_path / "model", name="second", replace=True)

    assert (second, ["model"]) == (load_bundle(tmp_path / "model").revision, [path.name for path in tmp_path.iterdir()])
