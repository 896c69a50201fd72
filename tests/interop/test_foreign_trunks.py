"""Checkpoints of AdaFace, CVLface, TFace, face.evoLVe and whatever wraps them: opened, and the same network."""

from __future__ import annotations

import argparse
import sys
import types
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from btnet import BTNet, load_trunk
from btnet.backbones.backbone import Backbone
from btnet.backbones.unmeasured import check_measured, unmeasured_norms
from btnet.interop.restored_norms import restore_norms
from foreign_networks import AdaFaceIR, ForeignIR, ForeignMobileFaceNet, SqueezeExcite, randomised
from onnx_models import iresnet

State = Mapping[str, Tensor]


def rgb(size: int = 32, count: int = 4, seed: int = 0) -> Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def difference(trunk: Backbone, expected: Tensor) -> float:
    with torch.no_grad():
        found = trunk(rgb(trunk.input_size))
    return float((found - expected).norm() / expected.norm())


def embedding(network: nn.Module, *, bgr: bool = False) -> Tensor:
    with torch.no_grad():
        images = rgb().flip(1) if bgr else rgb()
        found = network(images)
    if isinstance(found, tuple):  # AdaFace: unit vector and norm
        found = found[0] * found[1]
    assert isinstance(found, Tensor)
    return found


def prefixed(state: State, prefix: str) -> dict[str, Tensor]:
    return {prefix + key: value for key, value in state.items()}


def lightning(state: State) -> dict[str, Any]:
    """As PyTorch Lightning saves AdaFace's trainer: its classifier beside it, objects of many classes around it."""
    attributes = types.new_class("AttributeDict", (dict,))
    attributes.__module__ = "pytorch_lightning.utilities.parsing"
    callback = types.new_class("ModelCheckpoint")
    callback.__module__ = "pytorch_lightning.callbacks.model_checkpoint"
    parents = {name: types.ModuleType(name) for kind in (attributes, callback) for name in _parents(kind)}
    for kind in (attributes, callback):
        setattr(parents[kind.__module__], kind.__name__, kind)
    sys.modules.update(parents)
    momentum = torch.zeros(3)
    return {
        "epoch": 25,
        "pytorch-lightning_version": "1.8.6",
        "state_dict": {
            **prefixed(state, "model."),
            "head.kernel": torch.zeros(24, 5),
            "head.t": torch.zeros(1),
        },
        "callbacks": {callback: {"best_model_path": Path("a/b.ckpt"), "best": torch.ones(())}},
        "optimizer_states": [{"state": {0: {"momentum_buffer": momentum}}, "param_groups": [{"lr": 0.1}]}],
        "hyper_parameters": attributes(arch="ir_50", args=argparse.Namespace(m=0.4), out=Path("x")),
    }


def _parents(kind: type) -> list[str]:
    words = kind.__module__.split(".")
    return [".".join(words[: i + 1]) for i in range(len(words))]


@pytest.fixture(autouse=True)
def _lightning_is_not_installed() -> Any:
    yield
    for name in [name for name in sys.modules if name.startswith("pytorch_lightning")]:
        del sys.modules[name]


def save_lightning(state: State, path: Path) -> None:
    torch.save(lightning(state), path)
    for name in [name for name in sys.modules if name.startswith("pytorch_lightning")]:
        del sys.modules[name]


def test_an_adaface_checkpoint_of_lightning_is_its_network_for_rgb(tmp_path: Path) -> None:
    network = randomised(AdaFaceIR())
    save_lightning(network.state_dict(), tmp_path / "adaface.ckpt")
    trunk = load_trunk(tmp_path / "adaface.ckpt")
    assert trunk.arch["blocks"] == (2, 1, 3, 1)
    assert trunk.arch["widths"] == (8, 12, 16, 20)
    assert difference(trunk, embedding(network, bgr=True)) < 1e-5
    assert difference(trunk, embedding(network)) > 0.01  # the colours matter to this network
    assert trunk.origin == {"repository": "AdaFace", "file": "adaface.ckpt", "colour_order": "BGR"}


@pytest.mark.parametrize("colour_order", ["BGR", "RGB"])
def test_a_bare_state_dict_of_adaface_or_tface_asks_for_its_colour_order(
    colour_order: str, tmp_path: Path
) -> None:
    network = randomised(ForeignIR())
    torch.save(network.state_dict(), tmp_path / "model.pt")
    with pytest.raises(ValueError, match=r"AdaFace or TFace.*: BGR for AdaFace, RGB for TFace"):
        load_trunk(tmp_path / "model.pt")
    trunk = load_trunk(tmp_path / "model.pt", colour_order=colour_order)
    assert difference(trunk, embedding(network, bgr=colour_order == "BGR")) < 1e-5
    with pytest.raises(ValueError, match="colour order 'rgb': expected RGB or BGR"):
        load_trunk(tmp_path / "model.pt", colour_order="rgb")


@pytest.mark.parametrize("prefix", ["net.", "model.net.", "module.net."])
@pytest.mark.parametrize("of_insightface", [False, True])
def test_both_iresnets_of_cvlface_are_read_from_safetensors(
    prefix: str, of_insightface: bool, tmp_path: Path
) -> None:
    network = randomised(iresnet() if of_insightface else ForeignIR())
    save_file(prefixed(network.state_dict(), prefix), tmp_path / "model.safetensors")
    for path in (tmp_path, tmp_path / "model.safetensors"):
        assert difference(load_trunk(path), embedding(network)) < 1e-5


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("model.yaml", "name: 'ir101'\ncolor_space: 'BGR'\n"),
        ("config.json", '{"conf": {"color_space": "BGR"}}'),
    ],
)
@pytest.mark.parametrize("of_insightface", [False, True])
def test_what_lies_beside_a_cvlface_network_states_its_colours_and_licence(
    of_insightface: bool, name: str, text: str, tmp_path: Path
) -> None:
    network = randomised(iresnet() if of_insightface else ForeignIR())
    torch.save(prefixed(network.state_dict(), "net."), tmp_path / "model.pt")
    (tmp_path / name).write_text(text)
    (tmp_path / "README.md").write_text("---\nlanguage: en\nlicense: mit\n---\n# A model, license: none\n")
    trunk = load_trunk(tmp_path / "model.pt")
    assert difference(trunk, embedding(network, bgr=True)) < 1e-5
    assert trunk.origin["colour_order"] == "BGR"
    assert trunk.origin["licence"] == "mit"


def evolve() -> nn.Module:
    return randomised(ForeignIR(norm_between=False, affine=True))


@pytest.mark.parametrize(
    ("make", "repository"),
    [
        (evolve, "face.evoLVe"),
        (lambda: randomised(ForeignMobileFaceNet(tface=False)), "face.evoLVe"),
        (lambda: randomised(ForeignMobileFaceNet(tface=True)), "TFace"),
    ],
)
def test_networks_of_face_evolve_and_the_mobilefacenet_of_tface_are_read(
    make: Callable[[], nn.Module], repository: str, tmp_path: Path
) -> None:
    network = make()
    torch.save(network.state_dict(), tmp_path / "Backbone_Epoch_1_checkpoint.pth")
    trunk = load_trunk(tmp_path / "Backbone_Epoch_1_checkpoint.pth")
    assert difference(trunk, embedding(network)) < 1e-5
    assert trunk.origin["repository"] == repository


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {"state_dict": state, "epoch": 1},
        lambda state: {"state_dict_backbone": state, "state_dict_softmax_fc": {"weight": torch.zeros(5, 24)}},
        lambda state: {"model": prefixed(state, "module."), "args": argparse.Namespace(lr=0.1)},
        lambda state: {"backbone": state, "optimizer": {"state": {0: {"m": torch.zeros(2)}}}},
        lambda state: {"checkpoint": {"net": prefixed(state, "student.encoder.")}},
        lambda state: prefixed(state, "_orig_mod.module."),
        lambda state: prefixed(state, "backbone."),
        lambda state: {**prefixed(state, "backbone."), "head.weight": torch.zeros(5, 24)},
    ],
)
def test_a_network_of_arcface_torch_is_found_behind_any_wrapper_and_prefix(
    wrap: Callable[[State], Any], tmp_path: Path
) -> None:
    network = randomised(iresnet())
    torch.save(wrap(network.state_dict()), tmp_path / "x.pt")
    trunk = load_trunk(tmp_path / "x.pt")
    assert all(torch.equal(value, network.state_dict()[key]) for key, value in trunk.state_dict().items())
    assert not trunk.origin


def test_a_file_with_two_networks_is_refused_and_both_are_named(tmp_path: Path) -> None:
    state = iresnet().state_dict()
    torch.save({"model": state, "ema": prefixed(state, "module.")}, tmp_path / "x.pt")
    with pytest.raises(ValueError, match=r"x\.pt: holds 2 networks \(model/, ema/module\.\)"):
        load_trunk(tmp_path / "x.pt")


def with_squeeze_and_excitation(name: str) -> State:
    network = ForeignIR()
    for unit in network.body:
        path = unit.get_submodule("res_layer")
        path.add_module(name, SqueezeExcite(path.get_submodule("5").num_features))  # type: ignore[arg-type]
    return network.state_dict()


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (with_squeeze_and_excitation("se_block"), "IR-SE network"),
        (with_squeeze_and_excitation("6"), "IR-SE network"),
        (ForeignIR(bottleneck=True).state_dict(), "bottleneck units"),
        (ForeignIR(widths=(8, 8, 16, 20)).state_dict(), "3 stages by its shortcut layers"),
        (
            {"net.patch_embed.proj.weight": torch.ones(3), "net.blocks.0.attn.qkv.weight": torch.ones(3)},
            "a ViT",
        ),
        (
            {"patch_embed.proj.weight": torch.ones(3), "layers.0.blocks.0.attn.qkv.weight": torch.ones(3)},
            "a Swin",
        ),
        ({"bn_o1.weight": torch.ones(3), "layer1.0.conv1.weight": torch.ones(3)}, "a ResNet with ReLU"),
        (
            {k: v for k, v in ForeignMobileFaceNet().state_dict().items() if "linear" not in k},
            "a MobileFaceNet with GNAP",
        ),
        (
            {**prefixed(ForeignIR().state_dict(), "net."), "net.extra.weight": torch.ones(3)},
            "unexpected extra.weight",
        ),
    ],
)
def test_networks_that_are_none_of_ours_are_named_and_refused(
    state: State, message: str, tmp_path: Path
) -> None:
    torch.save({"state_dict": dict(state)}, tmp_path / "x.pt")
    with pytest.raises(ValueError, match=rf"x\.pt.*{message}"):
        load_trunk(tmp_path / "x.pt")


def test_other_files_are_named_as_what_they_are(tmp_path: Path) -> None:
    trunk = iresnet()
    BTNet(trunk, (8,)).overlay(8).save(tmp_path / "overlay.safetensors")
    torch.save(trunk, tmp_path / "whole.pt")
    with zipfile.ZipFile(tmp_path / "script.pt", "w") as archive:  # as TorchScript lays its archives out
        archive.writestr("script/code/__torch__.py", "")
    (tmp_path / "x.onnx").write_bytes(b"")
    save_file({"weight": torch.zeros(5, 24)}, tmp_path / "classifier.safetensors")
    for name, message in {
        "overlay.safetensors": "a branch's overlay",
        "whole.pt": r"a pickled btnet\.backbones\.iresnet\.IResNet, not weights; save its state_dict",
        "script.pt": "a TorchScript module",
        "x.onnx": "btnet import-onnx",
        "classifier.safetensors": "of no backbone that is known",
    }.items():
        with pytest.raises(ValueError, match=rf"{name}.*{message}"):
            load_trunk(tmp_path / name)


class Command:
    """What a hostile pickle calls."""

    def __reduce__(self) -> tuple[Any, ...]:
        return exec, ("open('owned', 'w')",)


def test_a_checkpoint_that_calls_a_function_is_refused_and_runs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": dict(iresnet().state_dict()), "hyper_parameters": Command()}, "x.ckpt")
    with pytest.raises(ValueError, match=r"x\.ckpt: .*calls __builtin__\.exec; do not trust"):
        load_trunk("x.ckpt")
    assert not Path("owned").exists()


def test_norms_put_into_face_evolve_units_are_measured_before_a_branch_trains(tmp_path: Path) -> None:
    network = evolve()
    torch.save(network.state_dict(), tmp_path / "x.pth")
    trunk = load_trunk(tmp_path / "x.pth")
    expected = embedding(network)
    names = unmeasured_norms(trunk)
    assert len(names) == 7 + 1  # one a unit, and the first shortcut's
    with pytest.raises(ValueError, match=r"8 BatchNorms without .*btnet convert-trunk .*x\.pth --faces"):
        check_measured(trunk, tmp_path / "x.pth")
    levels = ((rgb().permute(0, 2, 3, 1) + 1) * 127.5).round().to(torch.uint8).numpy()
    restore_norms(trunk, names, levels)
    assert difference(trunk, expected) < 1e-5
    assert unmeasured_norms(trunk) == []
    check_measured(trunk, "x.pth")

    # In train mode the measured norm passes on what it passed on in eval mode; an unmeasured one loses the scale.
    untouched = load_trunk(tmp_path / "x.pth")
    for network, limit in ((trunk, (0, 0.02)), (untouched, (0.2, 10))):
        norm, inputs = network.get_submodule("layer3.1.bn2"), list[Tensor]()
        norm.register_forward_pre_hook(lambda _, args, kept=inputs: kept.append(args[0]))
        with torch.no_grad():
            network(rgb())
            [x] = inputs
            lost = float((norm.train()(x) - x).norm() / x.norm())
        assert limit[0] <= lost < limit[1]


def test_a_14_px_branch_trains_on_an_adaface_trunk(tmp_path: Path) -> None:
    network = randomised(AdaFaceIR(112, blocks=(1, 1, 1, 1)))
    save_lightning(network.state_dict(), tmp_path / "adaface.ckpt")
    trunk = load_trunk(tmp_path / "adaface.ckpt")
    model = BTNet(trunk, (14,)).train()
    with torch.no_grad():
        faces = rgb(112, count=8)
        target = trunk(faces)
    branch = model.network(14)
    views = nn.functional.interpolate(faces, (14, 14), mode="bilinear")
    optimizer = torch.optim.SGD(model.learnt_parameters(14).values(), 1.0, momentum=0.9)
    losses = []
    for _ in range(6):
        loss = (branch(views) - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.9 * losses[0]
    # The trunk stays AdaFace's, and its folder says so.
    model.save(tmp_path / "model")
    again = BTNet.load(tmp_path / "model")
    with torch.no_grad():
        unit, norm = network(faces.flip(1))
        assert float((again.trunk(faces) - unit * norm).norm() / norm.norm()) < 1e-5
    assert again.trunk.origin["repository"] == "AdaFace"
