"""Packages and drop-in files, read by the real insightface."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
import torch

from btnet import BTNet
from btnet.backbones.trunk_file import backbone_of
from btnet.data.views import normalise
from btnet.images.resize import resize
from btnet.interop.insightface import export_package
from btnet.interop.onnx import export_onnx
from btnet.serving.alignment import TEMPLATE, align_face
from onnx_models import iresnet, trained, with_branches

model_zoo = pytest.importorskip("insightface.model_zoo")
insightface_common = pytest.importorskip("insightface.app.common")
face_align = pytest.importorskip("insightface.utils.face_align")
FACES = np.random.default_rng(0).integers(0, 256, (4, 112, 112, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def model() -> BTNet:
    """An arcface_torch state dict with branches."""
    trunk = trained(iresnet(112), normalise(torch.from_numpy(FACES).permute(0, 3, 1, 2)))
    return with_branches(backbone_of(trunk.state_dict()), 28, 14, 7)


def cosine_difference(found: np.ndarray, expected: torch.Tensor) -> float:
    cosine = torch.nn.functional.cosine_similarity(torch.from_numpy(found).double(), expected.double())
    return float((1 - cosine).max())


@pytest.mark.parametrize(
    "resolution", [112, *(pytest.param(r, marks=pytest.mark.nightly) for r in (28, 14)), 7]
)
def test_a_package_of_any_resolution_embeds_faces_of_a_picture_as_torch_does(
    model: BTNet, resolution: int, tmp_path: Path
) -> None:
    folder = export_package(model, tmp_path / f"r{resolution}", resolution=resolution)
    recogniser = model_zoo.get_model(str(folder), model_task="recognition")
    assert type(recogniser).__name__ == "ArcFaceONNX"
    picture = np.random.default_rng(1).integers(0, 256, (300, 240, 3), dtype=np.uint8)
    landmarks = (TEMPLATE * 1.5 + 20).astype(np.float32)
    face = insightface_common.Face(kps=landmarks)
    found = recogniser.get(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), face)
    crop = align_face(picture, landmarks, 112, "bilinear")  # insightface's `norm_crop`, bit by bit
    views = np.stack([resize(each, resolution, "area") for each in (crop, *FACES)])
    with torch.no_grad():
        expected = model(normalise(torch.from_numpy(views).permute(0, 3, 1, 2)))
    assert cosine_difference(found[None], expected[:1]) < 1e-4
    crops = recogniser.get_feat([cv2.cvtColor(each, cv2.COLOR_RGB2BGR) for each in FACES])
    assert cosine_difference(crops, expected[1:]) < 1e-4


@pytest.mark.parametrize("size", [14, 28, 7, 56, 111, 160, 0])
def test_a_package_that_insightface_could_not_align_faces_for_is_refused(
    model: BTNet, size: int, tmp_path: Path
) -> None:
    with pytest.raises(
        ValueError, match=rf"input size {size} px: .* multiples of 112 or 128 px only; take 112"
    ):
        export_package(model, tmp_path / "p", resolution=14, input_size=size)
    assert not list(tmp_path.rglob("*.onnx"))
    picture, face = (
        np.zeros((300, 240, 3), np.uint8),
        insightface_common.Face(kps=TEMPLATE.astype(np.float32)),
    )
    with pytest.raises((AssertionError, ZeroDivisionError, ValueError)):  # the reason is still there
        face_align.norm_crop(picture, face.kps, image_size=size or 1)


def test_the_package_is_checked_by_its_digest(model: BTNet, tmp_path: Path) -> None:
    folder = export_package(model, tmp_path / "p", resolution=14)
    assert sorted(p.name for p in folder.iterdir()) == ["manifest.json", "recognition"]
    task = json.loads((folder / "manifest.json").read_text())["tasks"]["recognition"]
    assert (task["input_size"], task["embedding_dimension"]) == ([112, 112], 24)
    with open(folder / task["file"], "ab") as file:
        file.write(b"x")
    with pytest.raises(RuntimeError, match="SHA-256 mismatch"):
        model_zoo.get_model(str(folder), model_task="recognition")
    with pytest.raises(ValueError, match="model id 'a b'"):
        export_package(model, tmp_path / "a b", resolution=14)


@pytest.mark.parametrize("resolution", [28, 14, 7])
def test_a_file_that_takes_112_px_drops_in_by_path_alone(
    model: BTNet, resolution: int, tmp_path: Path
) -> None:
    path = export_onnx(model, tmp_path / "x.onnx", resolution=resolution, input_size=112)
    recogniser = model_zoo.get_model(str(path))
    assert (recogniser.input_size, recogniser.input_mean, recogniser.input_std) == ((112, 112), 127.5, 127.5)
    small = np.stack([resize(face, resolution, "area") for face in FACES])
    with torch.no_grad():
        expected = model(normalise(torch.from_numpy(small).permute(0, 3, 1, 2)))
    found = recogniser.get_feat([cv2.cvtColor(face, cv2.COLOR_RGB2BGR) for face in FACES])
    assert cosine_difference(found, expected) < 1e-4


def test_drop_in_files_pass_the_checks_of_arcface_torch(model: BTNet, tmp_path: Path) -> None:
    path = export_onnx(model, tmp_path / "r14.onnx", resolution=14, input_size=112)
    # what arcface_torch's checker of ONNX files asks for
    written = onnx.load(path)
    assert len(written.graph.input) == len(written.graph.output) == 1
    batch, *rest = written.graph.input[0].type.tensor_type.shape.dim
    assert batch.dim_param == written.graph.output[0].type.tensor_type.shape.dim[0].dim_param != ""
    assert [dim.dim_value for dim in rest] == [3, 112, 112]
    assert all(onnx.numpy_helper.to_array(t).dtype.itemsize >= 4 for t in written.graph.initializer)
    assert not any(node.name.startswith(("Sub", "Mul", "_minus", "_mul")) for node in written.graph.node[:8])
    # without the package insightface has no answer for smaller faces
    assert model_zoo.get_model(str(export_onnx(model, tmp_path / "n.onnx", resolution=14))) is None
