"""The authors' whole networks become trunk and overlays, and come back to the byte."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from btnet.backbones.iresnet import IResNet
from btnet.cli import main
from btnet.interop.checkpoints import export_authors, import_authors
from btnet.method.btnet import BTNet
from btnet.method.overlay import Overlay

RESOLUTIONS = (56, 28, 14, 7)
State = dict[str, Tensor]


def trunk_state() -> State:
    torch.manual_seed(0)
    return dict(IResNet((2, 2, 2, 2), widths=(4, 8, 12, 16), embedding_size=8).state_dict())


def branch_state(trunk: State, resolution: int) -> State:
    """A network as the authors' code leaves it: all up to the coupling layer and every BatchNorm has moved."""
    torch.manual_seed(resolution)
    stage = {56: 1, 28: 2, 14: 3, 7: 4}[resolution]
    state = {}
    for key, value in trunk.items():
        if key.startswith("layer1.0.downsample"):
            continue
        tail = key.startswith((*(f"layer{i}." for i in range(stage, 5)), "fc"))
        moves = not tail or key.startswith(f"layer{stage}.0.") or "bn" in key or "downsample.1" in key
        moved = value + 1 if value.dtype == torch.int64 else value + 0.1 * torch.rand_like(value)
        state[key] = moved if moves else value.clone()
    return state


def save(folder: Path, states: dict[int, State]) -> dict[int, Path]:
    paths = {}
    for resolution, state in states.items():
        paths[resolution] = folder / f"{resolution}.pt"
        torch.save(state, paths[resolution])
    return paths


def authors_files(folder: Path, *, differ: bool = False) -> dict[int, Path]:
    trunk = trunk_state()
    states = {112: trunk} | {r: branch_state(trunk, r) for r in RESOLUTIONS}
    if differ:
        # one bit of a PReLU, the sign of a zero, and a NaN, behind the coupling layer
        states[14]["layer4.1.prelu.weight"][2] = torch.nextafter(torch.tensor(0.25), torch.tensor(1.0))
        states[14]["fc.bias"] = trunk["fc.bias"].clone()
        trunk["fc.bias"][1], states[14]["fc.bias"][1] = 0.0, -0.0
        states[28]["layer3.1.conv1.weight"][0, 0, 0, 0] = float("nan")
        for r in (56, 28, 7):
            states[r]["fc.bias"] = trunk["fc.bias"].clone()
    return save(folder, states)


def bits(state: State) -> list[tuple[str, torch.dtype, list[int], bytes]]:
    return [(key, v.dtype, list(v.shape), v.contiguous().numpy().tobytes()) for key, v in state.items()]


@pytest.mark.parametrize("differ", [False, True])
def test_authors_files_come_back_to_the_byte_through_our_files(differ: bool, tmp_path: Path) -> None:
    paths = authors_files(tmp_path, differ=differ)
    imported = import_authors(paths[112], {r: paths[r] for r in RESOLUTIONS})
    imported.model.save(tmp_path / "ours")
    again = export_authors(BTNet.load(tmp_path / "ours"), tmp_path / "again")
    assert list(again) == [112, *RESOLUTIONS]
    for resolution, path in again.items():
        assert path == tmp_path / "again" / f"reso{resolution}" / "model.pt"
        found = torch.load(path, weights_only=True)
        assert bits(found) == bits(torch.load(paths[resolution], weights_only=True))


def test_tail_tensors_that_are_not_the_trunks_are_named_and_kept_by_the_branch(tmp_path: Path) -> None:
    paths = authors_files(tmp_path, differ=True)
    imported = import_authors(paths[112], {r: paths[r] for r in (14, 7, 28)})
    assert set(imported.differing[14]) == {"layer4.1.prelu.weight", "fc.bias"}
    assert imported.differing[14]["fc.bias"] == 0.0
    assert 0 < imported.differing[14]["layer4.1.prelu.weight"] < 1e-7
    assert set(imported.differing[28]) == {"layer3.1.conv1.weight"}
    assert imported.differing[7] == {}
    assert imported.untrained == ()
    model = imported.model
    shared = model.network(14).get_parameter("layer4.1.conv1.weight")
    assert shared is model.trunk.get_parameter("layer4.1.conv1.weight")
    kept = model.network(14).get_parameter("layer4.1.prelu.weight")
    assert kept is not model.trunk.get_parameter("layer4.1.prelu.weight")
    assert "layer4.1.prelu.weight" not in model.learnt_parameters(14)
    clean = BTNet(IResNet(**model.trunk.arch), (14,)).overlay(14)
    assert model.overlay(14).num_learnt == clean.num_learnt
    assert (
        model.overlay(14).num_stored == clean.num_stored + 16 + 8
    )  # a PReLU of 16 channels and the embedding's 8 biases


def test_kept_tensors_survive_state_dict_and_a_change_of_precision(tmp_path: Path) -> None:
    paths = authors_files(tmp_path, differ=True)
    model = import_authors(paths[112], {14: paths[14]}).model
    expected = bits(model.full_state_dict(14))
    assert "networks.14.layer4.1.prelu.weight" in model.state_dict()
    assert "networks.14.layer4.1.conv1.weight" not in model.state_dict()
    model.double().float()
    assert bits(model.full_state_dict(14)) == expected
    other = BTNet(IResNet(**model.trunk.arch), (14,), own=model.own)
    other.load_state_dict(model.state_dict())
    assert bits(other.full_state_dict(14)) == expected
    with pytest.raises(ValueError, match=r"unexpected layer4\.1\.prelu\.weight"):
        BTNet(model.trunk, (14,)).load_overlay(model.overlay(14))
    with pytest.raises(ValueError, match=r"layer1\.0\.bn1\.weight is no parameter that the branch for 14 px"):
        BTNet(model.trunk, (14,), own={14: ["layer1.0.bn1.weight"]})


def test_the_command_converts_in_both_directions_and_reports(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = authors_files(tmp_path, differ=True)
    branches = [f"--branch={r}={paths[r]}" for r in (14, 7)]
    assert main(["convert-authors", str(paths[112]), *branches, "-o", str(tmp_path / "run")]) == 0
    text = capsys.readouterr().out
    assert "2 tensors behind layer3.0 are not the trunk's" in text
    assert "  kept layer4.1.prelu.weight: differs by up to 3.0e-08" in text
    overlay = Overlay.load(tmp_path / "run" / "overlay_r14.safetensors")
    assert f"overlay of {overlay.num_bytes / 1e6:.2f} MB" in text
    assert main(["convert-authors", str(tmp_path / "run"), "-o", str(tmp_path / "out")]) == 0
    for r in (112, 14, 7):
        found = torch.load(tmp_path / "out" / f"reso{r}" / "model.pt", weights_only=True)
        assert bits(found) == bits(torch.load(paths[r], weights_only=True))


def test_an_untrained_coupling_layer_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = authors_files(tmp_path)
    # the file for 28 px, taken for that of 7 px
    assert (
        main(["convert-authors", str(paths[112]), f"--branch=7={paths[28]}", "-o", str(tmp_path / "x")]) == 0
    )
    assert "the file of a larger resolution?" in capsys.readouterr().out


def test_what_is_no_network_of_the_trunk_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = authors_files(tmp_path)
    other = {key: value + 1 for key, value in branch_state(trunk_state(), 14).items()}
    half = {k: v.half() if v.is_floating_point() else v for k, v in branch_state(trunk_state(), 14).items()}
    save(tmp_path, {1: other, 2: half})
    (tmp_path / "3.pt").write_bytes(b"no weights")

    def message(*arguments: str | Path) -> str:
        assert main(["convert-authors", *map(str, arguments), "-o", str(tmp_path / "run")]) == 2
        assert not (tmp_path / "run").exists()
        return capsys.readouterr().err

    trunk = paths[112]
    assert "shares no parameter behind layer3.0 with the trunk" in message(
        trunk, f"--branch=14={tmp_path / '1.pt'}"
    )
    assert "is torch.float16, expected torch.float32" in message(trunk, f"--branch=14={tmp_path / '2.pt'}")
    assert "3.pt: torch cannot read this" in message(trunk, f"--branch=14={tmp_path / '3.pt'}")
    assert "4.pt: no such" in message(trunk, f"--branch=14={tmp_path / '4.pt'}")
    assert "unexpected layer1.0.downsample.0.weight" in message(trunk, f"--branch=14={trunk}")
    assert "resolution 15 px: this backbone's feature maps" in message(trunk, f"--branch=15={paths[14]}")
    assert "the network of a branch" in message(paths[14], f"--branch=7={paths[7]}")
    assert "give the networks to convert as --branch" in message(trunk)
    assert "expected PX=FILE" in message(trunk, "--branch=14")
    assert "a second file for 14 px" in message(trunk, *[f"--branch=14={paths[14]}"] * 2)
