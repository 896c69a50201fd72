"""A BN set per camera: against an independent computation, through its file, and refused where it does not belong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from btnet.cli import main
from btnet.images.codec import encode_png
from btnet.inference import Recognizer
from btnet.method.btnet import BTNet
from btnet.serving.camera import LEAST_FACES, CameraSet, adapt_branch, camera_file, measured_statistics
from btnet.serving.crops import fit_crops
from tiny_models import crops_of, tiny_btnet

RESOLUTION = 14


@pytest.fixture
def model() -> BTNet:
    return tiny_btnet(resolutions=(28, RESOLUTION))


def views(count: int, seed: int = 0) -> NDArray[np.uint8]:
    """Faces of a dark camera with a cast."""
    faces = np.random.default_rng(seed).integers(0, 256, (count, RESOLUTION, RESOLUTION, 3))
    return np.asarray(faces * np.array([0.5, 0.3, 0.2]), np.uint8)


def by_torch(network: torch.nn.Module, faces: NDArray[np.uint8]) -> dict[str, Tensor]:
    """What torch itself gathers: one batch in train mode with momentum 1."""
    for module in network.modules():
        if isinstance(module, _BatchNorm):
            module.train()
            module.momentum = 1.0
    with torch.no_grad():
        network(torch.from_numpy(faces).permute(0, 3, 1, 2).float() / 127.5 - 1)
    state = network.state_dict()
    return {key: value for key, value in state.items() if key.endswith(("running_mean", "running_var"))}


def test_statistics_are_those_that_torch_gathers_in_train_mode(model: BTNet) -> None:
    faces = views(40)
    found = measured_statistics(model.detached(RESOLUTION), faces)
    expected = by_torch(model.detached(RESOLUTION), faces)
    assert found.keys() == expected.keys()
    for key, tensor in expected.items():
        torch.testing.assert_close(found[key], tensor, rtol=1e-4, atol=1e-6)


def test_several_batches_give_mean_and_variance_of_all_faces_together(model: BTNet) -> None:
    """Before the first BatchNorm nothing is normalised: there, batches make no difference at all."""
    faces = views(50)
    whole, parts = (
        measured_statistics(model.detached(RESOLUTION), faces, batch_size=size) for size in (50, 17)
    )
    first = next(iter(whole)).rpartition(".")[0]
    for kind in ("running_mean", "running_var"):
        torch.testing.assert_close(whole[f"{first}.{kind}"], parts[f"{first}.{kind}"], rtol=1e-6, atol=1e-7)


def test_measuring_leaves_network_and_model_as_they_were(model: BTNet) -> None:
    network = model.detached(RESOLUTION)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    measured_statistics(network, views(20))
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert not any(module.training for module in network.modules())
    whole = {key: value.clone() for key, value in model.state_dict().items()}
    adapt_branch(model, RESOLUTION, views(20))
    assert all(torch.equal(value, whole[key]) for key, value in model.state_dict().items())


def test_the_prior_weighs_the_branchs_own_statistics(model: BTNet) -> None:
    faces, own = views(30), model.bn_set(RESOLUTION)
    new = adapt_branch(model, RESOLUTION, faces).tensors
    mixed = adapt_branch(model, RESOLUTION, faces, prior=90).tensors
    for key, tensor in mixed.items():
        torch.testing.assert_close(tensor, 0.25 * new[key] + 0.75 * own[key])


def test_a_set_goes_through_its_file_and_changes_one_branch_alone(model: BTNet, tmp_path: Path) -> None:
    camera = adapt_branch(model, RESOLUTION, views(30), prior=2)
    path = tmp_path / "camera.safetensors"
    camera.save(path)
    read = CameraSet.load(path)
    assert (read.resolution, read.num_faces, read.prior) == (RESOLUTION, 30, 2)
    others = {
        key: value.clone()
        for key, value in model.state_dict().items()
        if f"networks.{RESOLUTION}." not in key
    }
    read.apply(model)
    placed = model.bn_set(RESOLUTION)
    assert all(torch.equal(placed[key], tensor) for key, tensor in camera.tensors.items())
    assert all(torch.equal(model.state_dict()[key], value) for key, value in others.items())
    # Only buffers: a fraction of what the branch stores.
    assert all(key.endswith(("running_mean", "running_var")) for key in read.tensors)
    assert camera.num_bytes < model.overlay(RESOLUTION).num_bytes / 2


def test_a_set_of_another_branch_or_a_damaged_one_is_refused(model: BTNet, tmp_path: Path) -> None:
    camera = adapt_branch(model, RESOLUTION, views(20))
    other = tiny_btnet(seed=1, resolutions=(RESOLUTION,))
    with pytest.raises(ValueError, match="measured with branch"):
        camera.apply(other)
    path = tmp_path / "camera.safetensors"
    camera.save(path)
    data = bytearray(path.read_bytes())
    data[-3] ^= 255
    path.write_bytes(bytes(data))
    with pytest.raises(ValueError, match=r"camera\.safetensors: the tensors do not match"):
        CameraSet.load(path)
    with pytest.raises(ValueError, match=f"at least {LEAST_FACES} faces"):
        adapt_branch(model, RESOLUTION, views(LEAST_FACES - 1))
    with pytest.raises(ValueError, match="the trunk must not move"):
        adapt_branch(model, 112, views(20))


def test_the_command_writes_what_the_recogniser_loads(
    model: BTNet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model.save(tmp_path / "run")
    crops = [*crops_of([(12, 13)] * 20), *crops_of([(25, 20)] * 3), *crops_of([(70, 70)] * 2)]
    for index, crop in enumerate(crops):
        path = tmp_path / "faces" / f"group{index % 2}" / f"{index:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_png(crop))
    command = [
        "adapt-camera",
        str(tmp_path / "run"),
        "--faces",
        str(tmp_path / "faces"),
        "-o",
        str(tmp_path / "cam"),
    ]
    assert main([*command, "--device", "cpu"]) == 0
    said = capsys.readouterr()
    assert "28 px: 3 faces, too few" in said.out
    assert "warning: 20 faces for 14 px" in said.err
    written = CameraSet.load(camera_file(tmp_path / "cam", RESOLUTION))
    mine = sorted((p for p in (tmp_path / "faces").rglob("*.png") if int(p.stem) < 20), key=str)
    expected = by_torch(
        model.detached(RESOLUTION), fit_crops([crops[int(path.stem)] for path in mine], RESOLUTION)
    )
    for key, tensor in expected.items():
        torch.testing.assert_close(written.tensors[key], tensor, rtol=1e-4, atol=1e-6)

    plain = Recognizer.load(tmp_path / "run", device="cpu").embed(crops[-5:])
    adapted = Recognizer.load(tmp_path / "run", device="cpu", camera=tmp_path / "cam")
    np.testing.assert_array_equal(adapted.embed(crops[-5:]), plain)  # 28 and 112 px: untouched
    written.apply(model)
    with torch.no_grad():
        view = torch.from_numpy(fit_crops(crops[:1], RESOLUTION)).permute(0, 3, 1, 2).float() / 127.5 - 1
        by_hand = model.network(RESOLUTION)(view).numpy()
    np.testing.assert_allclose(adapted.embed(crops[:1]), by_hand, rtol=1e-4, atol=1e-5)

    assert main([*command, "--device", "cpu", "--resolution", "28"]) == 0
    assert CameraSet.load(camera_file(tmp_path / "cam", 28)).num_faces == 25
    with pytest.raises(FileNotFoundError, match="holds none of camera_r28"):
        Recognizer.load(tmp_path / "run", device="cpu", camera=tmp_path / "faces")


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        (None, "no camera set of format 1"),
        ({"btnet_camera": "[1]"}, "no camera set of format 1"),
        ({"btnet_camera": "[" * 100_000}, "not a whole safetensors file"),
    ],
)
def test_a_file_that_is_no_camera_set_is_refused(
    tmp_path: Path, metadata: dict[str, str] | None, message: str
) -> None:
    path = tmp_path / "camera_r14.safetensors"
    save_file({"x": torch.zeros(1)}, path, metadata)
    with pytest.raises(ValueError, match=f"camera_r14.*{message}"):
        CameraSet.load(path)
