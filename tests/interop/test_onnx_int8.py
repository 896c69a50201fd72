"""int8 files: rounded as the formulas say, close to float32, refused where they cannot be made."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from btnet.interop.onnx import export_onnx
from btnet.interop.onnx_int8 import embed_with_session, quantise_onnx
from btnet.serving.onnx_session import open_session
from onnx_models import iresnet, trained

FACES = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3), dtype=np.uint8)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    trunk = trained(iresnet(), torch.rand(16, 3, 32, 32) * 2 - 1)
    return export_onnx(trunk, tmp_path / "x.onnx")


def test_weights_and_ranges_are_what_the_formulas_of_int8_say(path: Path, tmp_path: Path) -> None:
    target = quantise_onnx(path, tmp_path / "q.onnx", FACES)
    exact = {t.name: onnx.numpy_helper.to_array(t) for t in onnx.load(path).graph.initializer}
    constants = {t.name: onnx.numpy_helper.to_array(t) for t in onnx.load(target).graph.initializer}
    stored = {name: tensor for name, tensor in constants.items() if name.endswith(".weight_quantized")}
    weights = {name.removesuffix("_quantized"): tensor for name, tensor in stored.items()}
    convolutions = [node for node in onnx.load(path).graph.node if node.op_type in ("Conv", "Gemm")]
    assert set(weights) == {node.input[1] for node in convolutions}
    for name, found in weights.items():
        assert found.dtype == np.int8
        scale = constants[f"{name}_scale"].reshape(-1, *[1] * (found.ndim - 1))
        largest = np.abs(exact[name]).reshape(len(found), -1).max(axis=1)
        np.testing.assert_allclose(scale.ravel(), largest / 127, rtol=1e-2)
        assert (np.abs(found * scale - exact[name]) <= 0.51 * scale).all()
    # Grey levels -1 to 1 in 255 steps; every face seen at calibration is inside.
    assert constants["data_scale"] == pytest.approx(2 / 255, rel=1e-6)
    assert constants["data_zero_point"].dtype == np.uint8


def test_int8_embeddings_are_near_and_stored_in_bytes(path: Path, tmp_path: Path) -> None:
    target = quantise_onnx(path, tmp_path / "q.onnx", FACES)
    first, second = (embed_with_session(open_session(p), FACES) for p in (path, target))
    unit = [e / np.linalg.norm(e, axis=1, keepdims=True) for e in (first, second)]
    cosine = (unit[0] * unit[1]).sum(axis=1)
    # Pictures of noise differ little, and the last BatchNorm magnifies what differs to variance 1, rounding
    # included: 0.97 here. What int8 costs on faces is in docs/onnx.md.
    assert 0.95 < cosine.mean() < 0.999999
    props = open_session(target).get_modelmeta().custom_metadata_map
    assert (props["precision"], props["resolution"]) == ("int8", "32")


def test_files_and_faces_that_do_not_fit_are_refused(path: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"takes \[N, 32, 32, 3\]"):
        quantise_onnx(path, tmp_path / "q.onnx", FACES[:, :16])
    half = export_onnx(trained(iresnet(), torch.rand(16, 3, 32, 32)), tmp_path / "h.onnx", precision="fp16")
    with pytest.raises(ValueError, match="weights that are not float32"):
        quantise_onnx(half, tmp_path / "q.onnx", FACES)
    assert not (tmp_path / "q.onnx").exists()
