"""Fig. 3 and fig. 10: maps against the networks' own outputs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from btnet.data import SyntheticFaces, resize
from btnet.data.views import normalise
from btnet.method.btnet import BTNet
from btnet.serving.face_model import FaceModel
from btnet.serving.loading import load_model
from btnet_lab.analysis import feature_maps, pyramids
from btnet_lab.analysis.cost import trunk_of
from btnet_lab.analysis.maps import correlation, stage_ends, summed
from role_models import RESOLUTION, SIZE, network, save_branch, save_native

FACE = SyntheticFaces(1, 1)[0][0]


def batch(image: np.ndarray) -> torch.Tensor:
    return normalise(torch.from_numpy(image).permute(2, 0, 1)[None])


def test_stage_ends_of_both_architectures() -> None:
    assert stage_ends(trunk_of("r50")) == ["layer1.2", "layer2.3", "layer3.13", "layer4.2"]
    assert stage_ends(trunk_of("mbf")) == ["layers.1", "layers.3.layers.3", "layers.5.layers.5", "conv_sep"]


def test_levels_are_the_trunks_maps_and_the_branchs_and_eq_2_their_distance() -> None:
    model = BTNet(network(), (RESOLUTION,))
    levels = {level.resolution: level for level in pyramids.pyramids(model, FACE)}
    assert list(levels) == [56, 28, 14, 7]
    for r, level in levels.items():
        assert level.view.shape == (r, r, 3)
        assert level.trunk.shape[-1] == r
    level = levels[RESOLUTION]
    with torch.no_grad():
        trunk = model.trunk.forward_to(batch(FACE), "layer3.0")[0]
        branch = model.network(RESOLUTION).forward_to(batch(resize(FACE, RESOLUTION)), "layer3.0")[0]
    np.testing.assert_allclose(level.trunk, trunk.sum(0).numpy(), rtol=1e-4, atol=1e-4)
    assert level.branch is not None
    np.testing.assert_allclose(level.branch, branch.sum(0).numpy(), rtol=1e-4, atol=1e-4)
    assert level.channels == len(trunk)
    assert level.trunk_mean == pytest.approx(float(trunk.mean()), rel=1e-4)
    assert level.branch_mse == pytest.approx(float(((branch - trunk) ** 2).mean()), rel=1e-5)
    expected = np.corrcoef(branch.flatten().numpy(), trunk.flatten().numpy())[0, 1]
    assert level.correlation == pytest.approx(expected, rel=1e-4)
    assert levels[56].branch is None
    (row,) = pyramids.rows([levels[56]])
    assert row["branch_mse"] is row["branch_correlation"] is None
    with pytest.raises(ValueError, match="no pyramid of 112 px"):
        pyramids.pyramids(network(RESOLUTION), FACE)


def test_what_a_model_sees_is_what_it_would_embed() -> None:
    seen = feature_maps.see(FaceModel.of(network(), "phi_hr"), FACE, RESOLUTION)
    assert seen.view.shape == (SIZE, SIZE, 3)
    np.testing.assert_array_equal(seen.view, resize(resize(FACE, RESOLUTION), SIZE))
    assert [stage.image.shape[0] for stage in seen.stages] == [56, 28, 14, 7]
    with torch.no_grad():
        last = network().forward_to(batch(seen.view), "layer4.0")[0]
    np.testing.assert_allclose(seen.stages[-1].image, last.sum(0).numpy(), rtol=1e-4, atol=1e-4)
    assert seen.stages[-1].mean == pytest.approx(float(last.mean()), rel=1e-4)


def test_at_full_resolution_a_model_agrees_with_itself() -> None:
    seen = feature_maps.see(FaceModel.of(network(), "phi_hr"), FACE, SIZE)
    assert [stage.correlation for stage in seen.stages] == pytest.approx([1.0] * 4)


def test_a_branch_keeps_the_size_of_its_input_and_a_model_without_112_has_no_reference(
    tmp_path: Path,
) -> None:
    bt = feature_maps.see(load_model(save_branch(tmp_path / "bt")), FACE, RESOLUTION)
    assert [stage.image.shape[0] for stage in bt.stages] == [14, 14, 14, 7]
    assert bt.network == "branch r14"
    native = feature_maps.see(load_model(save_native(tmp_path / "mm")), FACE, RESOLUTION)
    assert all(stage.correlation is None for stage in native.stages)
    first = next(feature_maps.rows([native]))
    assert (first["model"], first["network"], first["view_px"]) == ("phi_14", "native r14", 14)
    with pytest.raises(ValueError, match="not 28 px"):
        feature_maps.see(load_model(tmp_path / "mm"), FACE, 28)


def test_correlation_compares_at_the_smaller_size_and_has_no_answer_for_other_channels() -> None:
    small = torch.randn(3, 7, 7)
    large = small.repeat_interleave(2, dim=1).repeat_interleave(2, dim=2)
    assert correlation(small, 3 * large + 1) == pytest.approx(1.0)
    assert correlation(small, torch.randn(4, 7, 7)) is None
    assert correlation(small, torch.ones(3, 7, 7)) is None
    np.testing.assert_allclose(summed(small), small.numpy().sum(axis=0), rtol=1e-6)
