"""Statistics of a camera: against an independent computation, and in the model that the command writes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from btnet.cli import main as btnet_main
from btnet.images.codec import encode_png
from btnet.inference import Recognizer
from btnet.method.btnet import BTNet
from btnet.serving.crops import fit_crops
from btnet_lab.cli import main
from btnet_lab.native_test.camera import LEAST_FACES, adapted_statistics, measured_statistics
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
    adapted_statistics(model, RESOLUTION, views(20))
    assert all(torch.equal(value, whole[key]) for key, value in model.state_dict().items())


def test_the_prior_weighs_the_branchs_own_statistics(model: BTNet) -> None:
    faces, own = views(30), model.bn_set(RESOLUTION)
    new = adapted_statistics(model, RESOLUTION, faces)
    mixed = adapted_statistics(model, RESOLUTION, faces, prior=90)
    for key, tensor in mixed.items():
        torch.testing.assert_close(tensor, 0.25 * new[key] + 0.75 * own[key])


def test_too_few_faces_and_the_trunk_are_refused(model: BTNet) -> None:
    with pytest.raises(ValueError, match=f"at least {LEAST_FACES} faces"):
        adapted_statistics(model, RESOLUTION, views(LEAST_FACES - 1))
    with pytest.raises(ValueError, match="no branch for 112 px"):
        adapted_statistics(model, 112, views(20))


def test_the_command_writes_a_model_whose_one_branch_has_the_cameras_statistics(
    model: BTNet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, camera, faces = (tmp_path / name for name in ("run", "camera", "faces"))
    model.save(run, role="phi_bt")
    crops = [*crops_of([(12, 13)] * 20), *crops_of([(25, 20)] * 3), *crops_of([(70, 70)] * 2)]
    for index, crop in enumerate(crops):
        path = faces / f"group{index % 2}" / f"{index:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_png(crop))
    command = ["adapt-camera", str(run), str(faces), "-o", str(camera)]
    assert main(command) == 0
    said = capsys.readouterr()
    assert "28 px: 3 faces, too few" in said.out
    assert "warning: 20 faces for 14 px" in said.err
    adapted = BTNet.load(camera)
    expected = by_torch(model.detached(RESOLUTION), fit_crops(crops[:20], RESOLUTION))
    found = adapted.bn_set(RESOLUTION)
    for key, tensor in expected.items():
        torch.testing.assert_close(found[key], tensor, rtol=1e-4, atol=1e-5)
    for key, tensor in model.full_state_dict(RESOLUTION).items():
        assert key in expected or torch.equal(adapted.full_state_dict(RESOLUTION)[key], tensor)

    plain, of_camera = (Recognizer.load(folder, device="cpu") for folder in (run, camera))
    assert of_camera.model.name == "phi_bt"
    assert of_camera.trunk_fingerprint == plain.trunk_fingerprint
    np.testing.assert_array_equal(of_camera.embed(crops[-5:]), plain.embed(crops[-5:]))  # 28 and 112 px
    assert np.abs(of_camera.embed(crops[:1]) - plain.embed(crops[:1])).max() > 1e-3

    assert main(command) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert main([*command, "--overwrite", "--resolution", "28"]) == 0
    assert "28 px: statistics of 25 faces" in capsys.readouterr().out


def test_the_old_command_names_the_new_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert btnet_main(["adapt-camera", "run", "--faces", "faces", "-o", "camera"]) == 2
    assert "btnet-lab adapt-camera RUN FACES -o MODEL" in capsys.readouterr().err
