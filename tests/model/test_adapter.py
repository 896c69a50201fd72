"""Adapters change a branch's tail, start as nothing, leave the trunk alone, and are plain convolutions outside."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch.nn import functional

from btnet.interop.authors import export_authors, import_authors
from btnet.interop.checkpoints import export_checkpoints
from btnet.model.adapter import AdaptedConvolution
from btnet.model.backbone import Backbone
from btnet.model.btnet import BTNet
from btnet.model.cost import model_costs
from btnet.model.iresnet import IResNet
from btnet.model.overlay import Overlay
from tiny_trunks import faces, iresnet, mobilefacenet

RANK = 2


def trained(trunk: Backbone, *resolutions: int) -> BTNet:
    model = BTNet(trunk, resolutions, adapter_rank=RANK)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for r in resolutions:
            for parameter in model.learnt_parameters(r).values():
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return model.eval()


@pytest.mark.parametrize("make", [iresnet, mobilefacenet])
def test_a_fresh_branch_with_adapters_is_the_plain_branch_to_the_bit_and_learns_in_its_adapters(
    make: object,
) -> None:
    trunk: Backbone = make()  # type: ignore[operator]
    plain, adapted = BTNet(trunk, [8, 4]).eval(), BTNet(trunk, [8, 4], adapter_rank=RANK).eval()
    for size in (32, 8, 4):
        assert torch.equal(plain(faces(size)), adapted(faces(size)))
    added = set(adapted.learnt_parameters(8)) - set(plain.learnt_parameters(8))
    convolutions = [
        key
        for key in plain.network(8).shared_parameters(plain.tail_from[8])
        if trunk.get_parameter(key).ndim == 4 and trunk.get_parameter(key).shape[1] > 1
    ]
    paths = [key.removesuffix(".weight") for key in convolutions]
    assert convolutions
    assert added == {f"{path}.adapter_{part}" for path in paths for part in ("up", "down")}

    before = {key: value.clone() for key, value in trunk.state_dict().items()}
    optimizer = torch.optim.SGD(adapted.learnt_parameters(8).values(), lr=0.1)
    adapted.train()
    for _ in range(2):  # the first step moves the zeros only, which the others' gradients are times
        optimizer.zero_grad()
        torch.autograd.backward(functional.normalize(adapted(faces(8))).square().flatten()[::3].sum())
        optimizer.step()
    for path in paths:
        grad = adapted.learnt_parameters(8)[f"{path}.adapter_down"].grad
        assert grad is not None
        assert grad.abs().max() > 0
    assert all(torch.equal(value, before[key]) for key, value in trunk.state_dict().items())
    assert adapted.network(8).get_parameter(convolutions[0]) is trunk.get_parameter(convolutions[0])


def test_an_adapted_convolution_is_the_frozen_one_and_a_narrow_one_in_a_row() -> None:
    model = trained(iresnet(), 8)
    module = model.network(8).get_submodule("layer4.0.conv2")
    assert isinstance(module, AdaptedConvolution)
    x = torch.randn(2, 24, 4, 4)
    narrow = functional.conv2d(x, module.adapter_down.view(RANK, 24, 3, 3), stride=2, padding=1)
    expected = functional.conv2d(x, module.weight, stride=2, padding=1) + functional.conv2d(
        narrow, module.adapter_up[:, :, None, None]
    )
    torch.testing.assert_close(module(x), expected)


@pytest.mark.parametrize("make", [iresnet, mobilefacenet])
def test_adapters_are_saved_with_the_overlay_and_come_back(make: object, tmp_path: Path) -> None:
    model = trained(make(), 8, 4)  # type: ignore[operator]
    model.save(tmp_path)
    with safe_open(str(tmp_path / "overlay_r8.safetensors"), framework="pt") as file:
        stored = set(file.keys())
    assert {key for key in model.owned(8) if ".adapter_" in key} <= stored
    loaded = BTNet.load(tmp_path)
    assert loaded.adapter_rank == {8: RANK, 4: RANK}
    for size in (32, 8, 4):
        assert torch.equal(loaded(faces(size)), model(faces(size)))
    assert all(not parameter.requires_grad for parameter in loaded.trunk.parameters())
    assert loaded.bn_set(8).keys() == BTNet(loaded.trunk, [8]).bn_set(8).keys()


def test_overlays_with_and_without_adapters_do_not_fit_each_other_and_unknown_kinds_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = trained(iresnet(), 8)
    overlay = model.overlay(8)
    plain = BTNet(model.trunk, [8])
    with pytest.raises(ValueError, match=r"adapters have rank 2, this model's 0"):
        plain.load_overlay(overlay)
    with pytest.raises(ValueError, match=r"adapters have rank 0, this model's 2"):
        model.load_overlay(plain.overlay(8))
    monkeypatch.setattr("btnet.model.overlay._LOW_RANK", "other")
    overlay.save(tmp_path / "o.safetensors")
    monkeypatch.undo()
    with pytest.raises(ValueError, match=r"adapters \[\{'kind': 'other'.*update btnet"):
        Overlay.load(tmp_path / "o.safetensors")


@pytest.mark.parametrize("make", [iresnet, mobilefacenet])
def test_outside_the_adapters_are_merged_into_plain_convolutions(make: object, tmp_path: Path) -> None:
    model = trained(make(), 8)  # type: ignore[operator]
    expected = model(faces(8))
    plain = model.trunk.rebuild(8).eval()
    for state in (
        model.full_state_dict(8),
        model.overlay(8).merge(model.trunk.state_dict()),
        torch.load(export_checkpoints(model, tmp_path, resolutions=[8])[0].path, weights_only=True),
        torch.load(export_authors(model, tmp_path)[8], weights_only=True),
    ):
        plain.load_state_dict(state)
        torch.testing.assert_close(plain(faces(8)), expected)
    assert not any(isinstance(m, AdaptedConvolution) for m in model.detached(8).modules())
    torch.testing.assert_close(model.detached(8)(faces(8)), expected)
    assert torch.equal(model.detached(8, merge=False)(faces(8)), expected)


def test_the_authors_files_come_back_with_the_changed_convolutions_whole(tmp_path: Path) -> None:
    torch.manual_seed(0)
    trunk = IResNet([1, 1, 1, 1], widths=[16, 16, 16, 24], embedding_size=8)
    model = trained(trunk, 14)
    paths = export_authors(model, tmp_path)
    imported = import_authors(paths[112], {14: paths[14]}).model
    torch.testing.assert_close(imported(faces(14)), model(faces(14)))
    assert imported.overlay(14).num_bytes > model.overlay(14).num_bytes


def test_adapters_count_as_learnt_and_as_stored() -> None:
    plain, adapted = (model_costs(iresnet(), [4], adapter_rank=rank)[1] for rank in (0, RANK))
    # layer4.0: two 3 x 3 convolutions of 24 channels, from 16 and from 24, and the shortcut's
    added = RANK * ((24 + 9 * 16) + (24 + 9 * 24) + (24 + 16))
    assert adapted.learnt - plain.learnt == adapted.learnt_authors - plain.learnt_authors == added
    assert adapted.stored_bytes - plain.stored_bytes == 4 * added
    assert adapted.flops == plain.flops
    overlay = trained(iresnet(), 4).overlay(4)
    assert (overlay.num_learnt, overlay.num_bytes) == (adapted.learnt, adapted.stored_bytes)


def test_sharing_and_adapters_survive_a_change_of_precision_and_the_state_dict() -> None:
    model = trained(iresnet(), 8)
    expected = model(faces(8))
    other = BTNet(iresnet(), [8], adapter_rank=RANK)
    other.load_state_dict(model.state_dict())
    model.double().float()
    for each in (model, other.eval()):
        assert torch.equal(each(faces(8)), expected)
        shared = each.network(8).get_parameter("layer4.0.conv1.weight")
        assert shared is each.trunk.get_parameter("layer4.0.conv1.weight")


def test_a_rank_without_a_place_is_refused() -> None:
    with pytest.raises(ValueError, match=r"rank 25: .* 24 x 144; take 1 to 24"):
        BTNet(iresnet(), [4], adapter_rank=25)
    with pytest.raises(ValueError, match="rank -1"):
        BTNet(iresnet(), [8], adapter_rank=-1)
    with pytest.raises(ValueError, match="shares no convolution"):
        BTNet(iresnet(), [8], tail_from="none", adapter_rank=1)


def test_one_bn_set_in_the_tail_is_shared_where_tails_overlap_and_stored_in_each_overlay(
    tmp_path: Path,
) -> None:
    apart, shared = BTNet(iresnet(), [8, 4, 2]), BTNet(iresnet(), [8, 4, 2], shared_norms=True)

    def same(model: BTNet, one: int, other: int) -> set[str]:
        others = {value.data_ptr() for value in model.owned(other).values() if value.numel()}
        return {key for key, value in model.owned(one).items() if value.data_ptr() in others}

    assert (
        same(apart, 8, 4)
        == same(shared, 4, 2) - set(shared.network(2).tail_keys(shared.tail_from[2]))
        == set()
    )
    tail = set(shared.network(4).tail_keys(shared.tail_from[4]))
    assert same(shared, 8, 4) == {key for key in shared.network(4).norm_keys() if key in tail}
    assert len(same(shared, 8, 4)) > len(same(shared, 8, 2)) == len(same(shared, 4, 2)) > 0

    shared.train()
    shared(faces(4))  # statistics of one are statistics of the other
    assert torch.equal(shared.bn_set(4)["features.running_mean"], shared.bn_set(8)["features.running_mean"])
    shared.double().float().eval().save(tmp_path)
    loaded = BTNet.load(tmp_path)
    for size in (8, 4, 2):
        assert torch.equal(loaded(faces(size)), shared(faces(size)))
