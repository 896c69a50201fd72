"""What goes beyond the paper, each switch through a whole run: it learns, resumes to the bit, and can be used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from btnet import BTNet
from btnet.cli import main
from btnet.data.bin_sets import write_bin
from btnet.serving.recognizer import Recognizer
from btnet.synthetic.faces import SyntheticFaces
from btnet.training.checkpoint import Checkpoints
from btnet.training.config_file import load_config
from btnet.training.run import train
from tiny_keys import NETWORK, TINY

CONFIGS = Path(__file__).parents[2] / "configs"
SMALL = [*TINY, "device=cpu"]
SWITCHES = [
    "branches=[14, 7]",
    "embedding_cosine_weight=20",
    "embedding_loss_weight=0.5",
    "feature_cosine_weight=5",
    "inner_size=28",
    "size_band=0.5",
    "degradation=0.5",
    "alignment_jitter=0.02",
    "shared_jitter=0.02",
]
WITHOUT_LABELS = [
    "rec=synthetic:1:16",  # one label for all
    "branches=[14, 7]",
    "influence_weight=0",
    "embedding_cosine_weight=20",
    "inner_size=28",
]


@pytest.fixture(scope="module")
def trunk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("switches")
    return train(load_config(CONFIGS / "ms1mv3_r50_hr", [*SMALL, *NETWORK, f"output={folder}"]))


def config(trunk: Path, output: Path, *keys: str, name: str = "ms1mv3_btnet_r14") -> Any:
    return load_config(CONFIGS / name, [*SMALL, f"trunk={trunk}", f"output={output}", *keys])


@pytest.mark.parametrize("switches", [SWITCHES, WITHOUT_LABELS])
def test_a_run_resumes_to_the_bit(switches: list[str], trunk: Path, tmp_path: Path) -> None:
    (tmp_path / "model.pt").write_bytes((trunk / "model.pt").read_bytes())  # no classifier beside it
    trunk = trunk if switches is SWITCHES else tmp_path / "model.pt"
    whole = train(config(trunk, tmp_path / "whole", *switches))
    log = (whole / "train.log").read_text()
    assert f"r14/{'embedding_mse' if switches is SWITCHES else 'embedding_cosine'}" in log
    assert ("r14/influence" in log) == (whole / "classifier.safetensors").exists() == (switches is SWITCHES)
    save = Checkpoints.save

    class StoppedError(Exception):
        pass

    def save_and_stop(self: Checkpoints, step: int) -> None:
        save(self, step)
        raise StoppedError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Checkpoints, "save", save_and_stop)
        with pytest.raises(StoppedError):
            train(config(trunk, tmp_path / "parts", *switches, "save_every=3"))
    with pytest.raises(ValueError, match="resume=True"):
        train(config(trunk, tmp_path / "parts", *switches))
    parts = train(config(trunk, tmp_path / "parts", *switches, "resume=True"))
    one, other, start = BTNet.load(whole), BTNet.load(parts), BTNet.load(whole).trunk.state_dict()
    for r in (14, 7):
        expected, found = one.overlay(r), other.overlay(r)
        assert expected.inner_size == found.inner_size == 28
        assert all(torch.equal(value, found.tensors[key]) for key, value in expected.tensors.items())
    before = torch.load(tmp_path / "model.pt", weights_only=True)
    assert all(torch.equal(before[key], value) for key, value in start.items())


def test_a_branch_for_56_px_is_trained_verified_and_chosen(trunk: Path, tmp_path: Path) -> None:
    folder = train(config(trunk, tmp_path / "r56", name="ms1mv3_btnet_r56"))
    overlay = BTNet.load(folder).overlay(56)
    assert (overlay.tail_from, overlay.dropped_keys[0]) == ("layer2.0", "layer1.0.downsample.0.weight")
    faces = SyntheticFaces(2, 4, seed=1)
    images = np.stack([faces[i % 8][0] for i in range(24)])
    write_bin(tmp_path / "pairs.bin", images, np.arange(12) % 2 == 0)
    result = tmp_path / "result.json"
    assert main(["evaluate", str(folder), "--bin", str(tmp_path / "pairs.bin"), "--pairs", "112-56,56-56",
                 "--output", str(result)]) == 0  # fmt: skip
    assert '"branch r56"' in result.read_text()
    crops = [images[0][:50, :40], images[1][:100, :100]]
    assert [Recognizer.load(folder).resolution_of(*crop.shape[1::-1]) for crop in crops] == [56, 112]
