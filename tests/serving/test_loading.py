"""Which network embeds which resolution, from every kind of folder and file a model may come in."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from btnet.backbones.backbone import Backbone
from btnet.backbones.iresnet import IResNet
from btnet.backbones.mobilefacenet import MobileFaceNet
from btnet.backbones.state import fingerprint
from btnet.method.btnet import BTNet
from btnet.model_folder.manifest import write_manifest
from btnet.serving.face_model import FaceModel
from btnet.serving.loading import load_model


def iresnet(input_size: int = 32) -> IResNet:
    return IResNet(
        (1, 1, 1, 1), widths=(8, 8, 8, 8), canonical_size=32, embedding_size=8, input_size=input_size
    )


def mobilefacenet(input_size: int = 32) -> MobileFaceNet:
    return MobileFaceNet(
        blocks=(1, 1, 1, 1), scale=1, canonical_size=32, embedding_size=8, input_size=input_size
    )


def save_native(network: Backbone, folder: Path, **sections: object) -> Path:
    folder.mkdir()
    torch.save(network.state_dict(), folder / "model.pt")
    write_manifest(
        folder,
        arch=network.arch,
        trunk_fingerprint=fingerprint(network.state_dict()),
        resolutions=[],
        interpolation="bilinear",
        input_size=network.input_size,
        **sections,
    )
    return folder


def names(model: FaceModel, *sizes: int) -> list[str | None]:
    return [None if model.choose(size) is None else model.network_name(size) for size in sizes]


def test_trunk_and_branches_take_a_branch_where_there_is_one(tmp_path: Path) -> None:
    saved = BTNet(iresnet(), (8,), interpolation="area")
    saved.save(tmp_path / "run", role="phi_bt")
    model = load_model(tmp_path / "run")
    assert model.name == "phi_bt"
    assert model.interpolation == "area"
    assert names(model, 32, 8, 4) == ["trunk", "branch r8", "branch r8, faces resized to 8 px"]
    assert model.fingerprint(32) == model.trunk_fingerprint == saved.trunk_fingerprint()
    assert model.fingerprint(8) == fingerprint(saved.full_state_dict(8))
    assert isinstance(model.module, BTNet)
    assert not any(module.training for module in model.module.modules())


def test_a_plain_trunk_file_takes_every_size_and_is_named_by_file_or_folder(tmp_path: Path) -> None:
    (tmp_path / "my_run").mkdir()
    for path, name in ((tmp_path / "phi_hr.pt", "phi_hr"), (tmp_path / "my_run" / "model.pt", "my_run")):
        torch.save(iresnet().state_dict(), path)
        model = load_model(path)
        assert (model.name, model.interpolation) == (name, None)
        assert names(model, 32, 8) == ["trunk", "trunk, faces resized to 32 px"]


def test_a_run_that_trained_a_trunk_alone_is_a_trunk(tmp_path: Path) -> None:
    model = load_model(save_native(iresnet(), tmp_path / "phi_mr"))
    assert model.name == "phi_mr"
    assert names(model, 32, 8) == ["trunk", "trunk, faces resized to 32 px"]


@pytest.mark.parametrize("network", [iresnet(8), mobilefacenet(8)], ids=["iresnet", "mobilefacenet"])
def test_a_network_of_one_native_size_takes_that_size_only(network: Backbone, tmp_path: Path) -> None:
    folder = save_native(network, tmp_path / "phi_8", role="phi_mm")
    alone = load_model(folder)
    assert alone.name == "phi_mm"
    assert names(alone, 8, 32, 4) == ["native r8", None, None]
    loaded = alone.networks[8]
    assert loaded.input_size == 8
    x = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(loaded(x), network.eval()(x))

    trunk = network.rebuild(32)
    torch.save(trunk.state_dict(), tmp_path / "phi_hr.pt")
    both = load_model(folder, high_resolution=tmp_path / "phi_hr.pt")
    assert names(both, 8, 32, 4) == ["native r8", "high-resolution model", None]
    assert both.fingerprint(32) == fingerprint(trunk.state_dict())
    with pytest.raises(ValueError, match="phi_mm takes 32, 8 px faces only, not 4 px"):
        both.network_for(4)


def test_a_high_resolution_model_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    folder = save_native(iresnet(8), tmp_path / "phi_8")
    other = IResNet((1, 1, 1, 1), widths=(8, 8, 8, 8), input_size=32, canonical_size=32, embedding_size=4)
    torch.save(other.state_dict(), tmp_path / "phi_hr.pt")
    with pytest.raises(ValueError, match="gives 4 values, expected 32 px and 8 values"):
        load_model(folder, high_resolution=tmp_path / "phi_hr.pt")


def test_missing_and_damaged_models_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such model; give the output folder"):
        load_model(tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="no manifest"):
        load_model(tmp_path / "empty")

    folder = save_native(iresnet(8), tmp_path / "phi_8")
    torch.save(iresnet().state_dict(), folder / "model.pt")
    with pytest.raises(ValueError, match=r"model\.pt.*unexpected layer1\.0\.downsample"):
        load_model(folder)
    manifest = json.loads((folder / "btnet.json").read_text())
    for input_size in (5, "8", [8]):
        manifest["input_size"] = input_size
        (folder / "btnet.json").write_text(json.dumps(manifest))
        with pytest.raises(ValueError, match=r"model\.pt"):
            load_model(folder)
