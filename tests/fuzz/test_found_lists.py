"""Lists, documents and bundles that once gave Python's own words, another folder's file or no number."""

from __future__ import annotations

import json
import os
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from btnet.data.class_names import class_names_path, read_class_names
from btnet.data.face_list import read_face_list
from btnet.data.pair_list import read_pairs_of_list
from btnet.public_sets.ijb import read_ijb, read_template_pairs
from btnet.public_sets.image_sets import ImageFiles, read_lfw_pairs
from btnet.serving.onnx_folder import bundle_networks
from btnet.serving.optical import NUM_FEATURES, OpticalSelector
from btnet_lab.native_test.native_set import NativeSet
from btnet_lab.report.results import read_results
from fuzzing import arrays, checkpoints, documents, graphs, lists


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("lfw.txt", lambda path: read_lfw_pairs(path, path.parent / "people")),
        ("pairs.txt", read_pairs_of_list),
        ("faces.txt", lambda path: read_face_list(path, path.parent)),
    ],
)
@pytest.mark.parametrize("content", [b"\xff 1 1\n", b"a " + b"9" * 6000 + b"\n", b"a \xd9\xa3 \xd9\xa3\n"])
def test_a_list_of_another_encoding_or_of_endless_numbers_is_named(
    name: str, read: Callable[[Path], Any], content: bytes, tmp_path: Path
) -> None:
    seed = _seed(lists._make_pairs, tmp_path)
    (seed / name).write_bytes((seed / name).read_bytes() + content)
    with pytest.raises(ValueError, match=re.escape(str(seed / name))):
        read(seed / name)


@pytest.mark.parametrize("field", ["99999999999999999999", "nan", "x" * 900])
def test_a_number_of_ijb_beyond_64_bits_is_named(field: str, tmp_path: Path) -> None:
    seed = _seed(lists._make_ijb, tmp_path)
    path = seed / "ijbc_template_pair_label.txt"
    path.write_text(f"1 {field} 0\n")
    with pytest.raises(ValueError, match=re.escape(str(seed))) as found:
        read_template_pairs(read_ijb(seed))
    assert len(str(found.value)) < 800


@pytest.mark.parametrize("name", ["a" * 5000 + ".jpg", "a\0.jpg"])
def test_what_is_no_name_of_a_file_is_missing(name: str, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="1 of 1 images are not there") as found:
        ImageFiles(tmp_path, [name])
    assert len(str(found.value)) < 500


def test_names_of_classes_in_another_encoding_are_named(tmp_path: Path) -> None:
    class_names_path(tmp_path / "x.rec").write_bytes(b"\xff\n")
    with pytest.raises(ValueError, match=r"x\.classes\.txt:1: .*utf-8"):
        read_class_names(tmp_path / "x.rec", 1)


def test_a_bundle_takes_no_file_of_another_folder(tmp_path: Path) -> None:
    seed = _seed(graphs._make_bundle, tmp_path)
    manifest = json.loads((seed / "btnet.json").read_text())
    (tmp_path / "elsewhere").write_bytes(b"")
    changes: list[dict[str, Any]] = [
        {"files": {**manifest["onnx"]["files"], "../elsewhere": {"bytes": 0, "sha256": "0"}}},
        {"networks": {"16": {"file": "../elsewhere"}}},
        {"networks": {"16": "x"}},
        {"networks": {"16_": {}}},
        {"networks": {}},
        {"files": 1.5},
    ]
    for change in changes:
        (seed / "btnet.json").write_text(json.dumps({**manifest, "onnx": {**manifest["onnx"], **change}}))
        with pytest.raises(ValueError, match=r"btnet\.json: leads no ONNX bundle"):
            bundle_networks(seed)


@pytest.mark.parametrize(
    "change", [{"weights": [1e300] * NUM_FEATURES}, {"cuts": {"7": float("nan")}}, {"weights": 0}]
)
def test_a_selector_with_numbers_beyond_use_is_refused(change: dict[str, Any], tmp_path: Path) -> None:
    path = _seed(documents._make_selector, tmp_path) / "selector.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(ValueError, match=r"selector\.json: not an optical selector"):
        OpticalSelector.load(path)


@pytest.mark.parametrize(
    "change",
    [
        {"versions": 3},
        {"models": [{"name": "one", "networks": 3}]},
        {"sets": [{"results": [{"tar_at_far": 1}]}]},
        {"sets": [{"results": [{"tar_at_far": {"x": 1}}]}]},
        {"task": "\ud800"},
    ],
)
def test_a_result_file_of_other_types_is_named(change: dict[str, Any], tmp_path: Path) -> None:
    path = _seed(documents._make_results, tmp_path) / "result.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(ValueError, match=r"result\.json"):
        read_results(path)


def test_a_native_set_of_other_kinds_is_named(tmp_path: Path) -> None:
    path = _seed(arrays._make_native, tmp_path) / "native.npz"
    with np.load(path) as file:
        content = dict(file)
    np.savez(path, **{**content, "issame": np.array([1.0, 2.0])})
    with pytest.raises(ValueError, match=r"native\.npz: issame is float64"):
        NativeSet.load(path)


def test_a_checkpoint_whose_places_lie_outside_its_files_is_refused(tmp_path: Path) -> None:
    checkpoints._make(tmp_path)
    plan = tmp_path / checkpoints._STEP / ".metadata"
    metadata = pickle.loads(plan.read_bytes())
    for place in metadata.storage_data.values():
        place.length = 1 << 40
    plan.write_bytes(pickle.dumps(metadata))
    with pytest.raises(ValueError, match=r"step_000000003: damaged checkpoint .*1099511627776 bytes at"):
        checkpoints._read(tmp_path / checkpoints._STEP)


@pytest.mark.parametrize("asked_for", [bytes, os.system])
def test_a_checkpoints_plan_can_make_nothing_but_itself(
    tmp_path: Path, asked_for: Callable[..., Any]
) -> None:
    checkpoints._make(tmp_path)

    class Hostile:
        def __reduce__(self) -> tuple[Any, ...]:
            return asked_for, ("touch here",) if asked_for is os.system else (1 << 40,)

    (tmp_path / checkpoints._STEP / ".metadata").write_bytes(pickle.dumps(Hostile()))
    with pytest.raises(ValueError, match=r"damaged checkpoint .*which no such file needs"):
        checkpoints._read(tmp_path / checkpoints._STEP)


def test_a_checkpoints_flipped_bit_is_told(tmp_path: Path) -> None:
    checkpoints._make(tmp_path)
    [path] = (tmp_path / checkpoints._STEP).glob("*.distcp")
    content = bytearray(path.read_bytes())
    place = content.index(np.ones(2, np.float32).tobytes())  # weights of a BatchNorm
    content[place + 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"damaged checkpoint .*does not match its checksum"):
        checkpoints._read(tmp_path / checkpoints._STEP)


def _seed(make: Callable[[Path], None], folder: Path) -> Path:
    make(folder)
    [seed] = [path for path in folder.iterdir() if path.is_dir()]
    return seed
