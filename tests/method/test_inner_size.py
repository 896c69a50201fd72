"""A branch that enlarges its faces inside: it starts as the trunk on enlarged faces and takes small ones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch.nn.functional import interpolate

from btnet.backbones.backbone import Backbone
from btnet.backbones.weights_file import read_tensors
from btnet.data.views import resize_normalised
from btnet.interop.checkpoints import export_authors, export_checkpoints
from btnet.interop.onnx import export_onnx
from btnet.interop.onnx_bundle import export_bundle
from btnet.method.btnet import BTNet
from btnet.method.overlay import Overlay
from btnet.serving.onnx_session import open_session
from btnet_lab.analysis.cost import model_costs
from tiny_trunks import faces, iresnet, mobilefacenet


@pytest.mark.parametrize("make", [iresnet, mobilefacenet])
def test_at_canonical_inner_size_a_fresh_branch_is_the_trunk_on_enlarged_faces(make: object) -> None:
    trunk: Backbone = make()  # type: ignore[operator]
    model = BTNet(trunk, [8, 4], inner_size=32).eval()
    for r in (8, 4):
        enlarged = interpolate(faces(r), (32, 32), mode="bilinear")
        assert torch.equal(model(faces(r)), model(enlarged))
        assert not torch.equal(model(faces(r)), BTNet(trunk, [r]).eval()(faces(r)))


@pytest.mark.parametrize("make", [iresnet, mobilefacenet])
def test_maps_at_the_coupling_layer_and_what_is_stored_are_the_native_branch_s(make: object) -> None:
    trunk: Backbone = make()  # type: ignore[operator]
    native, larger = BTNet(trunk, [4]), BTNet(trunk, [4], inner_size=16)
    layer = trunk.coupling_layer(4)
    maps = [model.network(4).feature_maps(faces(4), [layer])[layer] for model in (native, larger)]
    assert maps[0].shape == maps[1].shape
    assert native.tail_from == larger.tail_from
    assert native.owned(4).keys() <= larger.owned(4).keys()
    one, other = (model_costs(trunk, [4], inner_size=size)[1] for size in (0, 16))
    assert other.flops > one.flops
    assert larger.overlay(4).num_bytes == other.stored_bytes


@pytest.mark.parametrize("make", [iresnet, mobilefacenet])
def test_the_overlay_says_it_and_comes_back(make: object, tmp_path: Path) -> None:
    model = BTNet(make(), [8, 4], inner_size={4: 16}).eval()  # type: ignore[operator]
    model.save(tmp_path)
    written = [read_tensors(tmp_path / f"overlay_r{r}.safetensors", "btnet")[0] for r in (8, 4)]
    assert [metadata["format_version"] for metadata in written] == [
        1,
        2,
    ]  # a reader that does not know of it refuses the second, and not the first
    loaded = BTNet.load(tmp_path)
    assert loaded.inner_size == {8: 0, 4: 16}
    for r in (32, 8, 4):
        assert torch.equal(loaded(faces(r)), model(faces(r)))
    torch.testing.assert_close(loaded.detached(4)(faces(4)), model(faces(4)))
    with pytest.raises(ValueError, match="inner_size=16, this model has 0"):
        BTNet(model.trunk, [4]).load_overlay(model.overlay(4))


@pytest.mark.parametrize("size", [-1, 1.5, "8", True])
def test_an_overlay_whose_inner_size_is_no_size_is_refused(size: object, tmp_path: Path) -> None:
    overlay = replace(BTNet(iresnet(), [4], inner_size=16).overlay(4), inner_size=size)  # type: ignore[arg-type]
    overlay.save(tmp_path / "o.safetensors")
    with pytest.raises(ValueError, match=r"o\.safetensors: inner_size"):
        Overlay.load(tmp_path / "o.safetensors")


def test_a_size_at_which_no_map_is_is_refused_and_one_not_above_the_face_s_is_none() -> None:
    with pytest.raises(ValueError, match="inner size 12 px: this backbone computes at 32, 16, 8, 4, 2 px"):
        BTNet(iresnet(), [4], inner_size=12)
    with pytest.raises(
        ValueError, match="resolution 6 px"
    ):  # whatever it would be enlarged to, and wherever its tail is
        BTNet(iresnet(), [6], inner_size=16, tail_from="layer4.0")
    assert BTNet(iresnet(), [16, 8, 4], inner_size=8).inner_size == {16: 0, 8: 0, 4: 8}


@pytest.mark.parametrize("input_size", [None, 32])
def test_the_onnx_file_takes_small_faces_too(input_size: int | None, tmp_path: Path) -> None:
    model = BTNet(mobilefacenet(), [8], inner_size=16).eval()
    export_onnx(model, tmp_path / "r8.onnx", resolution=8, input_size=input_size)
    session = onnxruntime.InferenceSession(str(tmp_path / "r8.onnx"), providers=["CPUExecutionProvider"])
    given = faces(input_size or 8)
    [found] = session.run(None, {session.get_inputs()[0].name: given.numpy()})
    expected = model(resize_normalised(given, 8) if input_size else given)
    np.testing.assert_allclose(found, expected.detach().numpy(), atol=1e-5)


def test_so_does_a_bundle(tmp_path: Path) -> None:
    model = BTNet(mobilefacenet(), [8], inner_size=16).eval()
    bundle = export_bundle(model, tmp_path)
    [found] = open_session(bundle[8]).run(None, {"data": faces(8).numpy()})
    np.testing.assert_allclose(found, model(faces(8)).detach().numpy(), atol=1e-5)


def test_code_that_would_not_enlarge_gets_no_file(tmp_path: Path) -> None:
    model = BTNet(iresnet(), [8, 4], inner_size={4: 16})
    for export in (export_checkpoints, export_authors):
        with pytest.raises(ValueError, match="network for 4 px enlarges its faces to 16 px inside"):
            export(model, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert [file.resolution for file in export_checkpoints(model, tmp_path, resolutions=[32, 8])] == [32, 8]
