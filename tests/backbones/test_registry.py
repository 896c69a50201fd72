"""The registry: a backbone that joined by the documented path is found in files as ours are, whatever its keys are."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from typing_extensions import Self

from btnet import BTNet, load_trunk, register_backbone
from btnet.backbones import registry as names
from btnet.backbones.backbone import Backbone
from btnet.backbones.iresnet import IResNet
from btnet.backbones.mobilefacenet import MobileFaceNet
from btnet.backbones.trunk_file import backbone_of, write_weights
from btnet.method.coupling import Unit, strides_at
from btnet.method.saved_model import write_model
from btnet.serving.loading import load_model
from btnet.serving.recognizer import Recognizer


class Block(nn.Module):
    def __init__(self, inputs: int, channels: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, channels, 3, stride, 1, bias=False)
        wanted = stride > 1 or inputs != channels
        self.downsample = nn.Conv2d(inputs, channels, 1, stride, bias=False) if wanted else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.downsample(x) + self.conv1(self.bn1(x))
        return out


class LookAlike(Backbone):
    """Has the keys by which an IResNet is told, `layer1.0.bn1.weight` and `fc.weight`, and is none."""

    def __init__(self, *, width: int = 4, input_size: int | None = None, canonical_size: int = 32) -> None:
        super().__init__()
        self.arch = {"width": width, "canonical_size": canonical_size}
        self.canonical_size, self.input_size = canonical_size, input_size or canonical_size
        self.embedding_size = 8
        layers = [f"layer{stage}.0" for stage in (1, 2)]
        self._units = [Unit("stem", 1, ("conv1",)), *(Unit(name, 2, (name,)) for name in layers)]
        self._units.append(Unit("head", 1, ("pool", "fc")))
        strides = strides_at([u.stride for u in self._units], canonical_size, self.input_size)
        self.conv1 = nn.Conv2d(3, width, 3, 1, 1, bias=False)
        self.layer1 = nn.Sequential(Block(width, width, strides[1]))
        self.layer2 = nn.Sequential(Block(width, width, strides[2]))
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.fc = nn.Linear(width, 8)

    def units(self) -> list[Unit]:
        return self._units

    @classmethod
    def of_state(cls, state: Mapping[str, Tensor]) -> Self | None:
        if "layer3.0.bn1.weight" in state or "conv1.weight" not in state:
            return None
        return cls(width=len(state["conv1.weight"]))


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names, "_registered", {})
    register_backbone("look_alike", LookAlike)


def iresnet() -> Backbone:
    return IResNet((1, 2, 1, 1), widths=(8, 8, 8, 8), canonical_size=32, embedding_size=8)


def mobilefacenet() -> Backbone:
    return MobileFaceNet(blocks=(1, 1, 1, 1), scale=1, canonical_size=32, embedding_size=8)


@pytest.mark.parametrize("make", [iresnet, mobilefacenet, LookAlike])
def test_a_trunk_a_phi_mm_and_a_branch_load_from_their_files(make: type[Backbone], tmp_path: Path) -> None:
    trunk = make().eval()
    write_weights(tmp_path / "trunk.pt", trunk.state_dict())
    loaded = load_trunk(tmp_path / "trunk.pt")
    assert (type(loaded), loaded.arch) == (type(trunk), trunk.arch)
    assert type(BTNet(loaded, (16,)).network(16)) is type(trunk)

    native = trunk.rebuild(16).eval()
    folder = tmp_path / "phi_mm"
    write_model(folder, native, (), "bilinear", input_size=16)
    network = load_model(folder, high_resolution=tmp_path / "trunk.pt").networks[16]
    faces = torch.rand(2, 3, 16, 16) * 2 - 1
    with torch.inference_mode():
        assert torch.equal(network(faces), native(faces))


def test_the_recogniser_serves_branches_of_an_added_backbone(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = BTNet(LookAlike(), (16, 8)).eval()
    model.save(tmp_path)
    faces = torch.randint(0, 256, (2, 16, 16, 3), dtype=torch.uint8)
    found = Recognizer.load(tmp_path).embed(list(faces.numpy()))
    with torch.inference_mode():
        expected = model(faces.permute(0, 3, 1, 2) / 127.5 - 1)
    torch.testing.assert_close(torch.from_numpy(found), expected)


def test_the_network_of_a_branch_is_no_trunk_of_any_kind() -> None:
    for trunk in (iresnet(), LookAlike()):
        with pytest.raises(ValueError, match=r"network of a branch \(layer1\.0\.downsample\S* is missing\)"):
            backbone_of(trunk.rebuild(16).state_dict())


def test_a_damaged_file_of_ours_is_told_by_our_keys_though_others_are_registered() -> None:
    state = dict(iresnet().state_dict())
    del state["layer2.1.conv1.weight"]
    with pytest.raises(ValueError, match=r"missing layer2\.1\.conv1\.weight"):
        backbone_of(state)


def test_a_name_of_ours_cannot_be_taken() -> None:
    with pytest.raises(ValueError, match=r"'r50'.*one of btnet's"):
        register_backbone("r50", LookAlike)
