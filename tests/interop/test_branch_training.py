"""A branch in arcface_torch's loop: its losses, what learns, and the frozen classifier."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss
from torch.nn.parallel import DistributedDataParallel

from btnet.backbones.state import fingerprint
from btnet.backbones.trunk_file import load_trunk
from btnet.data.views import normalise, resize
from btnet.interop.arcface_torch import write_classifier_shards
from btnet.interop.branch_training import BranchTraining
from btnet.loss import save_classifier
from btnet.method.btnet import BTNet
from gloo import run_on_ranks
from role_models import network

EMBEDDING, RESOLUTION = 8, 14


@pytest.fixture(scope="module")
def trunk_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("trunk") / "model.pt"
    torch.save(network().state_dict(), path)
    return path


def noise(count: int = 4) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (count, 3, 112, 112), dtype=torch.uint8, generator=generator)


def test_losses_are_those_of_the_views_and_of_eq_2(trunk_file: Path) -> None:
    branch = BranchTraining(trunk_file, RESOLUTION)
    images = noise()
    model = BTNet(load_trunk(trunk_file), (RESOLUTION,))
    model.train()
    view = normalise(resize(images, RESOLUTION, "bilinear"))
    expected, taps = model.network(RESOLUTION)(view, taps=("layer3.0",))
    teacher = model.trunk.forward_to(normalise(images), "layer3.0")
    embedding = branch(((images.float() / 255) - 0.5) / 0.5)
    torch.testing.assert_close(embedding, expected)
    torch.testing.assert_close(branch.distillation(), 0.5 * mse_loss(taps["layer3.0"], teacher))
    with pytest.raises(RuntimeError, match="no batch in train mode since the last call"):
        branch.distillation()


def test_in_eval_mode_no_teacher_runs_and_nothing_is_kept(trunk_file: Path) -> None:
    branch = BranchTraining(trunk_file.parent, RESOLUTION).eval()
    branch.model.trunk.forward_to = None  # type: ignore[method-assign, assignment]
    assert not branch(normalise(noise())).isnan().any()
    with pytest.raises(ValueError, match=r"expected \[B, 3, 112, 112\], the trunk's size"):
        branch(torch.zeros(2, 3, 56, 56))
    with pytest.raises(RuntimeError, match="no batch in train mode"):
        branch.distillation()


def test_its_state_is_the_whole_network_and_refuses_another_trunk(trunk_file: Path) -> None:
    branch = BranchTraining(trunk_file, RESOLUTION)
    state = {key: value.clone() for key, value in branch.state_dict().items()}
    assert state.keys() == network(RESOLUTION).state_dict().keys()
    assert not branch.model.trunk.training
    state["layer1.0.conv1.weight"] += 1
    branch.load_state_dict(state)
    assert torch.equal(branch.network.get_parameter("layer1.0.conv1.weight"), state["layer1.0.conv1.weight"])
    state["fc.weight"] += 1
    with pytest.raises(ValueError, match=r"fc\.weight is not the trunk's"):
        branch.load_state_dict(state)


def head(num_classes: int, rank: int = 0, world_size: int = 1) -> Any:
    sizes = [num_classes // world_size + (i < num_classes % world_size) for i in range(world_size)]
    return SimpleNamespace(
        rank=rank,
        world_size=world_size,
        class_start=sum(sizes[:rank]),
        num_local=sizes[rank],
        weight=nn.Parameter(torch.zeros(sizes[rank], EMBEDDING)),
    )


def test_the_classifier_of_every_source_lands_on_its_rank_and_is_frozen(
    trunk_file: Path, tmp_path: Path
) -> None:
    branch = BranchTraining(trunk_file, RESOLUTION)
    weight = torch.randn(11, EMBEDDING)
    names = [str(i) for i in range(11)]
    file = tmp_path / "classifier.safetensors"
    trunk = fingerprint(branch.model.trunk.state_dict())
    save_classifier(file, weight, names, trunk_fingerprint=trunk, data_fingerprint="x")
    write_classifier_shards(weight, tmp_path / "shards", world_size=3)
    for source in (file, tmp_path, tmp_path / "shards"):
        parts = [head(11, rank, 2) for rank in range(2)]
        for part in parts:
            branch.freeze_classifier(part, source)
            assert not part.weight.requires_grad
        assert torch.equal(torch.cat([part.weight for part in parts]), weight)
    with pytest.raises(
        ValueError, match=r"11 class centres of 8 values, of which rank 0 of 1 would hold 11, but"
    ):
        branch.freeze_classifier(head(10), file)
    save_classifier(file, weight, names, trunk_fingerprint="another", data_fingerprint="x")
    with pytest.raises(ValueError, match="classifier belongs to trunk another"):
        branch.freeze_classifier(head(11), file)
    with pytest.raises(FileNotFoundError, match=r"none\.safetensors: no such classifier"):
        branch.freeze_classifier(head(11), tmp_path / "none.safetensors")


def on_rank(rank: int, trunk: str) -> dict[str, Tensor]:
    """A step of each of two ranks, as the loop wraps it; BatchNorms by their statistics, so that rows are alone."""
    branch = BranchTraining(trunk, RESOLUTION)
    for module in branch.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()
    wrapped = DistributedDataParallel(branch, broadcast_buffers=False, find_unused_parameters=True)
    wrapped._set_static_graph()  # type: ignore[no-untyped-call]
    for _ in range(2):  # the first step of a static graph takes another path
        wrapped.zero_grad()
        embeddings = wrapped(normalise(noise()).chunk(2)[rank])
        (embeddings.square().mean() + branch.distillation()).backward()
    return {name: p.grad for name, p in branch.network.named_parameters() if p.grad is not None}


def test_two_ranks_have_the_gradient_of_one(trunk_file: Path) -> None:
    branch = BranchTraining(trunk_file, RESOLUTION)
    for module in branch.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()
    (branch(normalise(noise())).square().mean() + branch.distillation()).backward()
    expected = {name: p.grad for name, p in branch.network.named_parameters() if p.grad is not None}
    assert set(expected) == set(branch.model.learnt_parameters(RESOLUTION))
    assert all(p.grad is None for p in branch.model.trunk.parameters())
    for found in run_on_ranks(on_rank, 2, str(trunk_file)):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
