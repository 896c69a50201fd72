"""int8 files: smaller, close to float32, refused where they cannot be made; and what the command prints."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from btnet.cli import main
from btnet.data.bin_sets import write_bin
from btnet.interop.onnx import export_onnx, open_session
from btnet.interop.onnx_embedding import embed_with_session
from btnet.interop.quantisation import quantise_onnx
from onnx_models import iresnet, trained

FACES = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3), dtype=np.uint8)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    trunk = trained(iresnet(), torch.rand(16, 3, 32, 32) * 2 - 1)
    return export_onnx(trunk, tmp_path / "x.onnx")


def test_int8_embeddings_are_near_and_stored_in_bytes(path: Path, tmp_path: Path) -> None:
    target = quantise_onnx(path, tmp_path / "q.onnx", FACES)
    first, second = (embed_with_session(open_session(p), FACES, view_size=32) for p in (path, target))
    unit = [e / np.linalg.norm(e, axis=1, keepdims=True) for e in (first, second)]
    cosine = (unit[0] * unit[1]).sum(axis=1)
    assert 0.75 < cosine.mean() < 0.999999  # noise, untrained: a trained trunk on faces is nearer
    props = open_session(target).get_modelmeta().custom_metadata_map
    assert (props["precision"], props["resolution"]) == ("int8", "32")


def test_files_and_faces_that_do_not_fit_are_refused(path: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"takes \[N, 32, 32, 3\]"):
        quantise_onnx(path, tmp_path / "q.onnx", FACES[:, :16])
    half = export_onnx(trained(iresnet(), torch.rand(16, 3, 32, 32)), tmp_path / "h.onnx", precision="fp16")
    with pytest.raises(ValueError, match="weights that are not float32"):
        quantise_onnx(half, tmp_path / "q.onnx", FACES)
    assert not (tmp_path / "q.onnx").exists()


def test_the_command_prints_both_accuracies_and_the_cosine(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_bin(tmp_path / "pairs.bin", FACES, [True, False] * 10)
    argv = ["quantise-onnx", str(path), "--faces", str(tmp_path / "pairs.bin"), "--bin"]
    assert main([*argv, str(tmp_path / "pairs.bin")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines[:2]] == [str(path), str(tmp_path / "x_int8.onnx")]
    assert re.search(r"mean 0\.\d{4}, lowest", lines[2])
