"""Names of branches in arcface_torch's `get_model`, and the files that load by them."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from btnet.backbones.iresnet import IResNet
from btnet.backbones.mobilefacenet import mobilefacenet
from btnet.cli import main
from btnet.data.views import normalise, resize, resize_normalised
from btnet.images.interpolation import INTERPOLATIONS
from btnet.interop.arcface_torch import get_model, with_btnet
from btnet.interop.checkpoints import export_checkpoints
from btnet.interop.network_names import trunk_name
from btnet.method.btnet import BTNet


def noise(count: int = 2, size: int = 112) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize(
    ("trunk", "resolution"),
    [(trunk, 14) for trunk in ("r34", "r50", "r100", "r200", "mbf_large")]
    + [(trunk, resolution) for trunk in ("r18", "mbf") for resolution in (56, 28, 14, 7)],
)
def test_every_trunk_has_its_branches_by_name(trunk: str, resolution: int) -> None:
    with torch.device("meta"):
        expected = get_model(trunk, num_features=64)
        found = get_model(f"btnet_{trunk}_{resolution}", num_features=64)
        shrinking = get_model(f"btnet_{trunk}_{resolution}_from112", num_features=64)
    assert (found.input_size, found.arch) == (resolution, expected.arch)
    assert trunk_name(found) == trunk
    shapes = {key: value.shape for key, value in found.state_dict().items()}
    assert {key: value.shape for key, value in shrinking.state_dict().items()} == shapes


@pytest.mark.parametrize(
    ("suffix", "interpolation"), [("", "bilinear"), ("_area", "area"), ("_bicubic_aa", "bicubic_aa")]
)
def test_a_shrinking_branch_sees_the_view_of_training(suffix: str, interpolation: str) -> None:
    torch.manual_seed(0)
    native = get_model("btnet_mbf_14", num_features=8).eval()
    shrinking = get_model(f"btnet_mbf_14_from112{suffix}", num_features=8).eval()
    shrinking.load_state_dict(native.state_dict(), strict=True)
    images = noise()
    with torch.no_grad():
        expected = native(normalise(resize(images, 14, interpolation)))
        for network in (shrinking, copy.deepcopy(shrinking), nn.DataParallel(shrinking)):
            # as scripts normalise: x / 255, less a half, by a half
            assert torch.equal(network(((images.float() / 255) - 0.5) / 0.5), expected)
        with pytest.raises(ValueError, match=r"takes \[B, 3, 112, 112\] and makes 14 px of it"):
            shrinking(normalise(noise(size=14)))


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize("size", [14, 112, 224])
def test_normalised_images_are_resized_as_images_are(interpolation: str, size: int) -> None:
    images = noise()
    expected = normalise(resize(images, size, interpolation))
    assert torch.equal(resize_normalised(normalise(images), size, interpolation), expected)
    half = resize_normalised(normalise(images, torch.float16), size, interpolation)
    assert half.dtype == torch.float16
    assert torch.equal(half, expected.half())


def test_their_names_stay_theirs() -> None:
    calls: list[tuple[str, dict[str, Any]]] = []

    def theirs(name: str, **kwargs: Any) -> nn.Module:
        calls.append((name, kwargs))
        return nn.Identity()

    both = with_btnet(theirs)
    assert isinstance(both("r50", fp16=True, using_checkpoint=True), nn.Identity)
    assert calls == [("r50", {"fp16": True, "using_checkpoint": True})]
    with torch.device("meta"):
        branch = both("btnet_r50_7", dropout=0.4, fp16=False, num_features=32)
    assert isinstance(branch, IResNet)
    assert (branch.input_size, branch.arch["dropout"], branch.embedding_size) == (7, 0.4, 32)
    assert len(calls) == 1


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("btnet_r50", r"network 'btnet_r50' is unknown; .*btnet_r50_14_from112"),
        ("btnet_r2060_14", "network 'btnet_r2060_14' is unknown"),
        ("btnet_r50_112", "112 px is the trunk; its name is 'r50'"),
        ("btnet_r50_15", "resolution 15 px: this backbone's feature maps"),
        ("btnet_mbf_14_from112_cubic", "interpolation 'cubic' is unknown"),
    ],
)
def test_a_name_that_means_nothing_is_refused(name: str, message: str) -> None:
    with torch.device("meta"), pytest.raises(ValueError, match=message):
        get_model(name)


def test_exported_files_load_by_the_names_that_are_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(0)
    model = BTNet(mobilefacenet(embedding_size=8), (14, 7), interpolation="area").eval()
    model.save(tmp_path / "run")
    arguments = [
        "export-checkpoint",
        str(tmp_path / "run"),
        "--for",
        "arcface_torch",
        "-o",
        str(tmp_path / "out"),
    ]
    assert main(arguments) == 0
    text = capsys.readouterr().out
    megabytes = (tmp_path / "out" / "mbf.pt").stat().st_size / 1e6
    assert f"mbf.pt: {megabytes:.2f} MB, get_model name mbf (takes 112 px)" in text
    assert "get_model name btnet_mbf_14 (takes 14 px) or btnet_mbf_14_from112_area (takes 112 px)" in text
    images = noise()
    for checkpoint in export_checkpoints(BTNet.load(tmp_path / "run"), tmp_path / "out"):
        state = torch.load(checkpoint.path, weights_only=True)
        for name, size in checkpoint.names.items():
            network = get_model(name, num_features=8).eval()
            network.load_state_dict(state, strict=True)
            expected = model.network(checkpoint.resolution)
            with torch.no_grad():
                found = network(normalise(resize(images, size, "area")))
                view = normalise(resize(images, checkpoint.resolution, "area"))
                np.testing.assert_array_equal(found.numpy(), expected(view).numpy())


def test_a_trunk_alone_and_one_without_name_are_exported_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save(mobilefacenet(embedding_size=8, scale=1).state_dict(), tmp_path / "small.pt")
    assert main(["export-checkpoint", str(tmp_path / "small.pt"), "-o", str(tmp_path / "out")]) == 0
    assert "trunk.pt" in (text := capsys.readouterr().out)
    assert "arcface_torch has no name for this architecture" in text
    state = torch.load(tmp_path / "out" / "trunk.pt", weights_only=True)
    assert state.keys() == torch.load(tmp_path / "small.pt", weights_only=True).keys()
    arguments = [
        "export-checkpoint",
        str(tmp_path / "small.pt"),
        "-o",
        str(tmp_path / "out"),
        "--resolutions",
        "14",
    ]
    assert main(arguments) == 2
    assert "resolutions 14: the model has networks for 112 px" in capsys.readouterr().err
