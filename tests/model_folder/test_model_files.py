"""What the manifest lists is the model; everything else in its folder is refused, or left out with a warning."""

from __future__ import annotations

import json
import os
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from btnet import BTNet, load_trunk
from btnet.backbones.iresnet import IResNet
from btnet.backbones.state import fingerprint
from btnet.backbones.trunk_file import write_weights
from btnet.files.digest import sha256
from btnet.inference import Recognizer
from btnet.loss.classifier_file import load_classifier, save_classifier
from btnet.method.overlay import Overlay
from btnet.model_folder.manifest import write_manifest
from btnet.model_folder.model_files import is_listed, model_draft, overlay_file, record_files
from btnet.serving.loading import load_model


def model(seed: int = 0, resolutions: tuple[int, ...] = (8, 4), training: int = 0) -> BTNet:
    torch.manual_seed(seed)
    trunk = IResNet((1, 1, 1, 1), widths=(8, 8, 8, 8), input_size=32, canonical_size=32, embedding_size=8)
    made = BTNet(trunk, resolutions)
    with torch.no_grad():
        for r in resolutions:
            for value in made.learnt_parameters(r).values():
                value.mul_(1 + 0.1 * training)
    return made.eval()


def as_written_before(folder: Path) -> None:
    """A folder of the versions that listed no files."""
    path = folder / "btnet.json"
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps({key: value for key, value in manifest.items() if key != "files"}))


def test_the_manifest_lists_every_file_with_size_and_digest(tmp_path: Path) -> None:
    model().save(tmp_path)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["btnet.json", "model.pt", "overlay_r4.safetensors", "overlay_r8.safetensors"]
    listed = json.loads((tmp_path / "btnet.json").read_text())["files"]
    assert listed == {
        name: {"bytes": (tmp_path / name).stat().st_size, "sha256": sha256(tmp_path / name)}
        for name in names[1:]
    }


LOADERS: list[Callable[[Path], object]] = [
    BTNet.load,
    load_model,
    lambda folder: Recognizer.load(folder, device="cpu"),
]


@pytest.mark.parametrize("load", LOADERS)
@pytest.mark.parametrize("size", [8, 4])
def test_a_branch_of_another_training_on_the_same_trunk_is_refused(
    load: Callable[[Path], object], size: int, tmp_path: Path
) -> None:
    model().save(tmp_path)
    load(tmp_path)
    model(training=1).overlay(size).save(tmp_path / overlay_file(size))
    with pytest.raises(
        ValueError, match=rf"overlay_r{size}\.safetensors: not the file that btnet\.json lists"
    ):
        load(tmp_path)


@pytest.mark.parametrize("load", LOADERS)
def test_a_branch_that_the_model_does_not_have_is_left_out_with_a_warning(
    load: Callable[[Path], object], tmp_path: Path
) -> None:
    model(resolutions=(8,)).save(tmp_path)
    model().overlay(4).save(tmp_path / overlay_file(4))
    with pytest.warns(UserWarning, match=r"overlay_r4\.safetensors: no branch of the model"):
        loaded = load(tmp_path)
    sizes = (
        loaded.resolutions if isinstance(loaded, (BTNet, Recognizer)) else load_model(tmp_path).resolutions
    )
    assert set(sizes) <= {32, 8}


def test_a_trunk_that_was_replaced_is_refused_wherever_a_folder_is_given(tmp_path: Path) -> None:
    model().save(tmp_path)
    state = dict(model().trunk.state_dict())
    counts = next(key for key in state if key.endswith("num_batches_tracked"))
    state[counts] = state[counts] + 1  # the fingerprint does not see it, the digest does
    write_weights(tmp_path / "model.pt", state)
    for load in (*LOADERS, load_trunk):
        with pytest.raises(ValueError, match=r"model\.pt: not the file that btnet\.json lists"):
            load(tmp_path)
    (tmp_path / "model.pt").unlink()
    with pytest.raises(FileNotFoundError, match=r"model\.pt"):
        load_trunk(tmp_path)


def test_a_trunk_of_an_early_version_is_known_by_its_fingerprint(tmp_path: Path) -> None:
    trunk, other = model().trunk, model(seed=1).trunk
    write_weights(tmp_path / "model.pt", trunk.state_dict())
    write_manifest(
        tmp_path,
        arch=trunk.arch,
        trunk_fingerprint=fingerprint(trunk.state_dict()),
        resolutions=[],
        interpolation="area",
    )
    assert load_model(tmp_path).fingerprint(32) == fingerprint(trunk.state_dict())
    write_weights(tmp_path / "model.pt", other.state_dict())
    with pytest.raises(ValueError, match=r"model\.pt is not the network that the manifest names"):
        load_model(tmp_path)


def test_a_folder_of_an_early_version_loads_and_its_branches_are_known_by_the_trunk(tmp_path: Path) -> None:
    saved = model()
    saved.save(tmp_path)
    as_written_before(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loaded = BTNet.load(tmp_path)
    assert fingerprint(loaded.full_state_dict(8)) == fingerprint(saved.full_state_dict(8))
    model(seed=1).overlay(8).save(tmp_path / overlay_file(8))
    with pytest.raises(ValueError, match="trained on trunk"):
        BTNet.load(tmp_path)


def test_a_listed_classifier_is_known_by_its_digest(tmp_path: Path) -> None:
    model().save(tmp_path)
    path = tmp_path / "classifier.safetensors"
    for centres in (torch.ones(2, 8), torch.zeros(2, 8)):
        save_classifier(path, centres, ["a", "b"], trunk_fingerprint="t", data_fingerprint="d")
        if centres.any():
            record_files(tmp_path, [path])
            assert load_classifier(tmp_path).weight.equal(centres)
    with pytest.raises(ValueError, match=r"classifier\.safetensors: not the file that btnet\.json lists"):
        load_classifier(tmp_path)
    assert load_classifier(path).weight.equal(torch.zeros(2, 8))  # named itself, it is what was asked for


def test_a_model_saved_over_another_leaves_nothing_of_it_that_is_taken_for_its_own(tmp_path: Path) -> None:
    model().save(tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    model(seed=1, resolutions=(8,)).save(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "btnet.json",
        "model.pt",
        "notes.txt",
        "overlay_r8.safetensors",
    ]
    assert BTNet.load(tmp_path).trunk_fingerprint() == model(seed=1).trunk_fingerprint()
    assert not is_listed(tmp_path, tmp_path / "notes.txt")


def test_a_model_is_not_saved_over_an_onnx_bundle(tmp_path: Path) -> None:
    write_manifest(
        tmp_path, arch={}, trunk_fingerprint="", resolutions=[], interpolation="area", onnx={"files": {}}
    )
    with pytest.raises(ValueError, match="holds an ONNX bundle"):
        model().save(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["btnet.json"]


class _KilledError(BaseException):
    pass


@pytest.mark.parametrize("calls", range(12))
def test_a_save_that_is_killed_leaves_the_old_model_the_new_one_or_none(
    calls: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed before the n-th renaming; what a process that is gone does not do any more, is not done here either."""
    old, new, left = model(), model(seed=1, resolutions=(8,)), [calls]
    old.save(tmp_path)
    replace = os.replace

    def killed(*args: Path) -> None:
        if not left[0]:
            raise _KilledError
        left[0] -= 1
        replace(*args)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", killed)
        patch.setattr(shutil, "rmtree", lambda *_, **__: None)
        finished = False
        try:
            new.save(tmp_path)
            finished = True
        except _KilledError:
            pass
    if not (tmp_path / "btnet.json").exists():
        assert not finished
        with pytest.raises(FileNotFoundError, match="no manifest"):
            BTNet.load(tmp_path)
    else:
        found = BTNet.load(tmp_path)
        expected = new if finished else old
        assert found.resolutions == expected.resolutions
        for size in (32, *found.resolutions):
            assert fingerprint(found.full_state_dict(size)) == fingerprint(expected.full_state_dict(size))
    new.save(tmp_path)
    assert BTNet.load(tmp_path).resolutions == (8,)


def test_a_draft_that_fails_leaves_the_folder_as_it_was(tmp_path: Path) -> None:
    model().save(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def write() -> None:
        with model_draft(tmp_path) as draft:
            model(seed=1).save(draft)
            raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        write()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("files", [[], "x", {"model.pt": "digest"}, {"model.pt": {"bytes": 3}}, 1.5])
def test_a_list_of_another_kind_is_named(files: object, tmp_path: Path) -> None:
    model().save(tmp_path)
    manifest = json.loads((tmp_path / "btnet.json").read_text())
    (tmp_path / "btnet.json").write_text(json.dumps({**manifest, "files": files}))
    with pytest.raises(ValueError, match=r"btnet\.json: files are not listed with bytes and sha256"):
        BTNet.load(tmp_path)


def test_an_overlay_file_alone_is_still_read(tmp_path: Path) -> None:
    model().overlay(8).save(tmp_path / overlay_file(8))
    assert Overlay.load(tmp_path / overlay_file(8)).resolution == 8
