from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from btnet.loss import load_classifier, save_classifier

NAMES = ["anna", "bert", "chloé", "dora", "emil"]
WEIGHT = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "classifier.safetensors"
    save_classifier(path, WEIGHT, NAMES, trunk_fingerprint="aa11", data_fingerprint="bb22")
    return path


def test_what_was_saved_comes_back(path: Path) -> None:
    found = load_classifier(path, expected_trunk="aa11", expected_data="bb22", expected_class_names=NAMES)
    assert torch.equal(found.weight, WEIGHT)
    assert found.class_names == tuple(NAMES)
    assert (found.trunk_fingerprint, found.data_fingerprint) == ("aa11", "bb22")
    assert [p.name for p in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("rows", [(0, 2), (3, 5), (5, 5), (0, 5)])
def test_a_shard_is_read_alone(path: Path, rows: tuple[int, int]) -> None:
    found = load_classifier(path, rows=rows)
    assert torch.equal(found.weight, WEIGHT[rows[0] : rows[1]])
    assert found.class_names == tuple(NAMES)


def test_another_trunk_or_data_set_is_refused(path: Path) -> None:
    with pytest.raises(ValueError, match=r"belongs to trunk aa11, this trunk is cc33; .*rebuild"):
        load_classifier(path, expected_trunk="cc33")
    with pytest.raises(ValueError, match=r"belongs to data set bb22, this data set is cc33"):
        load_classifier(path, expected_data="cc33")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["anna", "ben", *NAMES[1:]], r"5 classes, the data set 6.*label 1: 'bert' here, 'ben' in"),
        (NAMES[:3], r"label 3: 'dora' here, 'nothing' in"),
        ([*NAMES, "zoe"], r"label 5: 'nothing' here, 'zoe' in"),
    ],
)
def test_a_folder_added_or_removed_is_refused_at_the_first_shifted_label(
    path: Path, names: list[str], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        load_classifier(path, expected_class_names=names)


def test_damaged_and_foreign_files_are_refused_with_the_reason(path: Path, tmp_path: Path) -> None:
    truncated = tmp_path / "truncated.safetensors"
    truncated.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(ValueError, match=r"truncated.*damaged"):
        load_classifier(truncated)
    metadata = {
        "format": "btnet-classifier",
        "version": "1",
        "class_names": json.dumps(NAMES),
        "trunk_fingerprint": "",
        "data_fingerprint": "",
    }
    for change, message in [
        ({"format": "pt"}, r"no classifier of btnet.*arcface_torch"),
        ({"version": "2"}, r"version '2', this btnet reads 1"),
        ({"class_names": json.dumps(NAMES[:4])}, r"\[5, 4\] with 4 class names"),
        ({"class_names": "[1"}, r"foreign.*damaged"),
        ({"class_names": "[1, 2, 3, 4, 5]"}, r"no list of strings"),
    ]:
        foreign = tmp_path / "foreign.safetensors"
        save_file({"weight": WEIGHT}, foreign, {**metadata, **change})
        with pytest.raises(ValueError, match=message):
            load_classifier(foreign)
    del metadata["data_fingerprint"]
    save_file({"weight": WEIGHT}, foreign, metadata)
    with pytest.raises(ValueError, match=r"lacks data_fingerprint"):
        load_classifier(foreign)
    with pytest.raises(ValueError, match=r"rows 3 to 6.*classes 0 to 4"):
        load_classifier(path, rows=(3, 6))
    with pytest.raises(FileNotFoundError, match=r"no such classifier.*build_classifier"):
        load_classifier(tmp_path / "absent.safetensors")


def test_names_that_do_not_fit_are_refused_and_leave_the_old_file(path: Path) -> None:
    before = path.read_bytes()
    for names, message in [(NAMES[:4], r"4 class names"), ([*NAMES[:4], "anna"], r"'anna' occurs twice")]:
        with pytest.raises(ValueError, match=message):
            save_classifier(path, WEIGHT, names, trunk_fingerprint="", data_fingerprint="")
    assert path.read_bytes() == before
