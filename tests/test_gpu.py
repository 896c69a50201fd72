"""What a GPU makes of a run: views equal to the bit, losses within rounding. Skipped where there is none."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from btnet import BTNet
from btnet.data.alignment_jitter import AlignmentJitter
from btnet.data.degradation import Degradation
from btnet.data.views import INTERPOLATIONS, BranchView, MultiResolution
from btnet.images.resize import resize
from btnet.serving.alignment import template
from btnet.synthetic.faces import SyntheticFaces
from btnet.training.config_file import load_config
from btnet.training.run import train
from tiny_keys import NETWORK, TINY

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")

CONFIGS = Path(__file__).parents[1] / "configs"
FACES = SyntheticFaces(4, 3)
IMAGES = torch.from_numpy(np.stack([FACES[i][0] for i in range(12)])).permute(0, 3, 1, 2)
KEYS = torch.arange(12) * 5


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize("size", [7, 14, 28, 56, (13, 61), 160])
def test_resized_faces_are_equal_to_the_bit(interpolation: str, size: Any) -> None:
    expected = resize(IMAGES, size, interpolation)
    assert torch.equal(resize(IMAGES.cuda(), size, interpolation).cpu(), expected)


@pytest.mark.parametrize(
    "view",
    [
        BranchView(14, size_band=0.7, seed=3),
        BranchView(7, seed=3, changes=[AlignmentJitter(0.03, template, seed=3)]),
        BranchView(14, seed=3, changes=[Degradation(1.0, resolution=14, seed=3)]),
        *(MultiResolution(version, seed=3) for version in ("v1", "v2", "v3")),
    ],
    ids=["band", "jitter", "degradation", "v1", "v2", "v3"],
)
def test_views_are_equal_to_the_bit(view: Any) -> None:
    for epoch in range(3):
        assert torch.equal(view(IMAGES.cuda(), KEYS, epoch).cpu(), view(IMAGES, KEYS, epoch))


@pytest.fixture(scope="module")
def trunk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gpu")
    return train(load_config(CONFIGS / "ms1mv3_r50_hr", [*TINY, *NETWORK, "device=cpu", f"output={folder}"]))


def branch(trunk: Path, output: Path, *keys: str) -> Path:
    settings = [
        *TINY,
        f"trunk={trunk}",
        f"output={output}",
        "embedding_cosine_weight=1",
        "inner_size=28",
        *keys,
    ]
    return train(load_config(CONFIGS / "ms1mv3_btnet_r14", settings))


def losses(run: Path) -> list[float]:
    return [float(found) for found in re.findall(r"r14/total ([\d.]+)", (run / "train.log").read_text())]


def test_a_branch_learns_as_on_the_cpu(trunk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    expected = losses(branch(trunk, tmp_path / "cpu", "device=cpu", "precision=fp32"))
    found = losses(branch(trunk, tmp_path / "gpu", "device=cuda", "precision=fp32"))
    assert len(expected) == 4
    assert found == pytest.approx(expected, rel=0.01)
    assert found[0] == pytest.approx(expected[0], rel=1e-4)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_leaves_the_trunk_and_a_branch_that_loads(
    trunk: Path, tmp_path: Path, precision: str
) -> None:
    run = branch(
        trunk, tmp_path, "device=cuda", f"precision={precision}", f"teacher_cache={tmp_path / 'cache'}"
    )
    assert np.isfinite(losses(run)).all()
    before, after = BTNet.load(run).trunk.state_dict(), torch.load(trunk / "model.pt", weights_only=True)
    assert all(torch.equal(before[key], after[key]) for key in after)
