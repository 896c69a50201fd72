"""`btnet export-insightface`: the package that is printed is the package insightface loads."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from btnet import BTNet
from btnet.cli import main
from btnet.data.views import normalise
from btnet.images.resize import resize
from tiny_models import tiny_btnet

FACES = np.random.default_rng(0).integers(0, 256, (2, 112, 112, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    tiny_btnet(interpolation="area").save(folder)
    return folder


@pytest.mark.parametrize(
    "options",
    [
        [],
        pytest.param(["--resolution", "14"], marks=pytest.mark.nightly),
        ["--resolution", "14", "--input-size", "112"],
    ],
)
def test_insightface_loads_the_folder_by_the_printed_call(
    run: Path, options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model_zoo = pytest.importorskip("insightface.model_zoo")
    folder = tmp_path / "package"
    assert main(["export-insightface", str(run), *options, "-o", str(folder)]) == 0
    call = re.search(r'get_model\("(.+)", model_task="recognition"\)', capsys.readouterr().out)
    assert call is not None
    recogniser = model_zoo.get_model(call.group(1), model_task="recognition")
    resolution = 14 if options else 112
    views = np.stack([resize(face, resolution, "area") for face in FACES])
    fed = FACES if recogniser.input_size == (112, 112) else views
    with torch.no_grad():
        expected = BTNet.load(run)(normalise(torch.from_numpy(views).permute(0, 3, 1, 2))).numpy()
    found = recogniser.get_feat([face[:, :, ::-1].copy() for face in fed])
    cosine = (found * expected).sum(axis=1) / np.linalg.norm(found, axis=1) / np.linalg.norm(expected, axis=1)
    assert (1 - cosine < 1e-4).all()


def test_bad_input_is_answered_in_a_line(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ["-o", str(tmp_path / "p")]
    assert main(["export-insightface", str(run), "--resolution", "9", *out]) == 2
    assert main(["export-insightface", str(tmp_path / "nothing"), *out]) == 2
    assert main(["export-insightface", str(run), "-o", str(tmp_path / "a b")]) == 2
    err = capsys.readouterr().err.splitlines()
    assert len(err) == 3
    assert "no branch for 9 px" in err[0]
    assert "nothing" in err[1]
    assert "model id 'a b'" in err[2]
    assert not list(tmp_path.rglob("*.onnx"))
    assert not list(tmp_path.rglob("manifest.json"))
