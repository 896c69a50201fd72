"""Networks as ONNX: equal to torch for every batch size, read by insightface, refused when they differ."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
import torch
from torch import nn

import btnet.interop.onnx as subject
from btnet import BTNet, __version__
from btnet.backbones.backbone import Backbone
from btnet.backbones.iresnet import IResNet
from btnet.backbones.mobilefacenet import MobileFaceNet
from btnet.backbones.state import fingerprint
from btnet.data.views import normalise, resize
from btnet.interop import check_onnx, export_onnx
from btnet.serving.onnx_session import open_session


def iresnet(canonical_size: int = 32) -> IResNet:
    return IResNet(
        (1, 1, 1, 1),
        widths=(8, 8, 8, 8),
        input_size=canonical_size,
        canonical_size=canonical_size,
        embedding_size=8,
        dropout=0.4,
    )


def mobilefacenet(canonical_size: int = 32) -> MobileFaceNet:
    return MobileFaceNet(
        blocks=(1, 1, 1, 1),
        scale=1,
        input_size=canonical_size,
        canonical_size=canonical_size,
        embedding_size=8,
    )


def with_statistics(make: Callable[[int], Backbone], canonical_size: int, *resolutions: int) -> BTNet:
    """A model whose BatchNorms are not the identity, with a BN set of its own for each resolution."""
    torch.manual_seed(0)
    trunk = make(canonical_size)
    for module in trunk.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            module.momentum = 1.0
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)
    with torch.no_grad():
        trunk.train()(torch.rand(16, 3, canonical_size, canonical_size) * 2 - 1)
        model = BTNet(trunk, resolutions, interpolation="area")
        for network in (model.train().network(r) for r in resolutions):
            network(torch.rand(16, 3, network.input_size, network.input_size) * 2 - 1)
    return model.eval()


def embed(path: Path, images: torch.Tensor) -> np.ndarray:
    [embeddings] = open_session(path).run(None, {"data": images.numpy()})
    return np.asarray(embeddings)


@pytest.mark.parametrize(
    ("make", "canonical_size", "resolution"),
    [
        (iresnet, 32, 32),
        (iresnet, 112, 14),
        (mobilefacenet, 112, 112),
        (mobilefacenet, 32, 2),
    ],
)
def test_onnxruntime_gives_what_torch_gives_for_every_batch_size(
    make: Callable[[int], Backbone], canonical_size: int, resolution: int, tmp_path: Path
) -> None:
    branches = [resolution] if resolution < canonical_size else []
    model = with_statistics(make, canonical_size, *branches)
    path = export_onnx(model, tmp_path / "x.onnx", resolution=resolution)
    assert list(tmp_path.iterdir()) == [path]
    assert check_onnx(path, model) == check_onnx(path, model.network(resolution)) < 1e-5
    for batch_size in (1, 3, 7):
        images = torch.rand(batch_size, 3, resolution, resolution) * 2 - 1
        with torch.no_grad():
            expected = model(images).numpy()
        np.testing.assert_allclose(embed(path, images), expected, rtol=1e-3, atol=1e-4)


def test_the_network_given_keeps_its_bytes_mode_layout_and_dtype(tmp_path: Path) -> None:
    model = with_statistics(iresnet, 32, 8).double().train()
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    before = {key: value.clone() for key, value in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    graded = [parameter.requires_grad for parameter in model.parameters()]
    path = export_onnx(model, tmp_path / "x.onnx", resolution=8)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert [module.training for module in model.modules()] == modes
    assert [parameter.requires_grad for parameter in model.parameters()] == graded
    conv = model.network(8).get_parameter("layer2.0.conv1.weight")
    assert conv.dtype == torch.float64
    assert conv.is_contiguous(memory_format=torch.channels_last)
    # shared with the trunk as before
    assert model.network(8).get_parameter("fc.weight") is model.trunk.get_parameter("fc.weight")
    assert onnx.load(path).graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    assert check_onnx(path, model) < 1e-5


def test_the_file_says_what_it_is_and_nothing_of_the_machine(tmp_path: Path) -> None:
    model = with_statistics(iresnet, 32, 8)
    path = export_onnx(model, tmp_path / "x.onnx", resolution=8)
    props = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
    assert props.pop("arch").startswith('{"blocks": [1, 1, 1, 1]')
    assert props == {
        "btnet_version": __version__,
        "resolution": "8",
        "input_size": "8",
        "input_mean": "127.5",
        "input_std": "127.5",
        "precision": "fp32",
        "interpolation": "area",
        "network_fingerprint": fingerprint(model.full_state_dict(8)),
        "trunk_fingerprint": model.trunk_fingerprint(),
    }
    content = path.read_bytes()
    assert b".py" not in content
    assert b"stack_trace" not in content

    # A branch alone does not know its trunk, and neither how its faces were made.
    export_onnx(model.network(8), path)
    props = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
    assert "trunk_fingerprint" not in props
    assert "interpolation" not in props


def test_insightface_reads_a_14_px_network_and_embeds_a_face_as_torch_does(tmp_path: Path) -> None:
    arcface_onnx = pytest.importorskip("insightface.model_zoo.arcface_onnx")
    model = with_statistics(iresnet, 112, 14)
    recogniser = arcface_onnx.ArcFaceONNX(str(export_onnx(model, tmp_path / "r14.onnx", input_size=14)))
    assert (recogniser.input_mean, recogniser.input_std) == (127.5, 127.5)
    assert recogniser.input_size == (14, 14)
    faces = np.random.default_rng(0).integers(0, 256, (3, 14, 14, 3), dtype=np.uint8)
    with torch.no_grad():
        expected = model(normalise(torch.from_numpy(faces).permute(0, 3, 1, 2))).numpy()
    found = recogniser.get_feat([cv2.cvtColor(face, cv2.COLOR_RGB2BGR) for face in faces])
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(
        recogniser.get_feat(faces[0][..., ::-1].copy()), expected[:1], rtol=1e-3, atol=1e-4
    )


def test_a_branch_that_takes_canonical_faces_shrinks_them_as_our_own_views(tmp_path: Path) -> None:
    arcface_onnx = pytest.importorskip("insightface.model_zoo.arcface_onnx")
    model = with_statistics(mobilefacenet, 112, 14)
    path = export_onnx(model, tmp_path / "r14.onnx", resolution=14, input_size=112)
    assert check_onnx(path, model) < 1e-5
    faces = torch.randint(0, 256, (2, 3, 112, 112), dtype=torch.uint8)
    with torch.no_grad():
        expected = model(normalise(resize(faces, 14, "area"))).numpy()
    np.testing.assert_allclose(embed(path, normalise(faces)), expected, rtol=1e-3, atol=1e-4)
    # insightface's own normalisation is not ours to the last bit: grey levels are found again all the same
    bgr = list(faces.flip(1).permute(0, 2, 3, 1).contiguous().numpy())
    recogniser = arcface_onnx.ArcFaceONNX(str(path))
    assert (recogniser.input_mean, recogniser.input_std) == (127.5, 127.5)
    np.testing.assert_allclose(recogniser.get_feat(bgr), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("damage", [float("nan"), 1e-2])
def test_an_export_that_differs_is_refused_and_leaves_what_was_there(
    damage: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = with_statistics(iresnet, 32)
    convert: Callable[..., onnx.ModelProto] = vars(subject)[
        "convert"
    ]  # not onnx_convert's: this one traces once

    def damaged(module: nn.Module, input_size: int, *, fold: bool) -> onnx.ModelProto:
        converted = convert(module, input_size, fold=fold)
        for tensor in converted.graph.initializer:
            if tensor.data_type == onnx.TensorProto.FLOAT:
                values = onnx.numpy_helper.to_array(tensor)
                noise = np.random.default_rng(0).standard_normal(values.shape)
                tensor.CopyFrom(
                    onnx.numpy_helper.from_array((values + damage * noise).astype(np.float32), tensor.name)
                )
        return converted

    monkeypatch.setattr(subject, "convert", damaged)
    with pytest.raises(ValueError, match=r"x\.onnx: not written, since onnxruntime .* differ by"):
        export_onnx(model, tmp_path / "x.onnx")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "x.onnx").write_bytes(b"an older export")
    with pytest.raises(ValueError, match="not written"):
        export_onnx(model, tmp_path / "x.onnx")
    assert (tmp_path / "x.onnx").read_bytes() == b"an older export"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_file_of_another_model_is_told_from_ours(tmp_path: Path) -> None:
    model = with_statistics(iresnet, 32, 8)
    path = export_onnx(model, tmp_path / "x.onnx", resolution=8)
    torch.nn.init.normal_(model.network(8).get_parameter("conv1.weight"))
    assert check_onnx(path, model) > 1e-2
    other = IResNet((1, 1, 1, 1), widths=(8, 8, 8, 8), input_size=32, canonical_size=32, embedding_size=4)
    with pytest.raises(ValueError, match="gives embeddings of 8 values, the network gives 4"):
        check_onnx(path, other)
    (tmp_path / "y.onnx").write_bytes(b"no model")
    with pytest.raises(ValueError, match=r"y\.onnx: onnxruntime cannot read it"):
        check_onnx(tmp_path / "y.onnx", model)
    with pytest.raises(FileNotFoundError, match="no such ONNX file"):
        check_onnx(tmp_path / "z.onnx", model)


def test_mistakes_are_refused_before_anything_is_exported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = BTNet(iresnet(), (8,))
    monkeypatch.setattr(subject, "convert", lambda *_, **__: pytest.fail("exported"))
    path = tmp_path / "x.onnx"
    with pytest.raises(ValueError, match=r"x\.pt: name the file \*\.onnx"):
        export_onnx(model, tmp_path / "x.pt")
    with pytest.raises(FileNotFoundError, match="no such folder"):
        export_onnx(model, tmp_path / "nowhere" / "x.onnx")
    with pytest.raises(ValueError, match="no branch for 9 px"):
        export_onnx(model, path, resolution=9)
    with pytest.raises(ValueError, match="no branch for 0 px"):
        export_onnx(model, path, input_size=0)
    with pytest.raises(ValueError, match="input size 0 px"):
        export_onnx(model, path, resolution=8, input_size=0)
    with pytest.raises(ValueError, match="resolution 32 px: this network is the one for 8 px"):
        export_onnx(model.network(8), path, resolution=32)
    with pytest.raises(ValueError, match="nearest"):
        export_onnx(model, path, interpolation="nearest")
    assert list(tmp_path.iterdir()) == []


def test_the_export_is_silent(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    export_onnx(iresnet(), tmp_path / "x.onnx")
    assert capfd.readouterr() == ("", "")


def test_btnet_and_its_interop_package_import_no_onnx() -> None:
    code = (
        "import sys, btnet, btnet.interop, btnet.interop.arcface_torch;"
        "assert not {'onnx', 'onnxruntime'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_torch_that_is_too_old_for_the_export_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(torch, "__version__", "2.5.1")
    with pytest.raises(ValueError, match=r"torch 2\.5\.1: ONNX export needs torch 2\.7 or newer"):
        export_onnx(MobileFaceNet(embedding_size=8, scale=1).eval(), tmp_path / "x.onnx")
    assert not list(tmp_path.iterdir())
