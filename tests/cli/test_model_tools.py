from __future__ import annotations

from pathlib import Path

import pytest
import torch

from btnet.backbones.iresnet import IResNet
from btnet.backbones.state import fingerprint
from btnet.cli import main
from btnet.loss import load_classifier
from btnet.training.config_file import load_config
from btnet.training.run import train

ROOT = Path(__file__).parents[2]


@pytest.fixture
def trunk(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    network = IResNet((1, 1, 1, 1), widths=(8, 8, 8, 8), embedding_size=8)
    torch.save(network.state_dict(), tmp_path / "trunk.pt")
    return tmp_path / "trunk.pt"


def test_model_cost_prints_a_row_per_resolution(trunk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["model-cost", "mbf", str(trunk), "--resolutions", "28", "14"]) == 0
    text = capsys.readouterr().out
    assert text.count("│  28 │") == text.count("│  14 │") == 2
    assert "1.1 %" in text
    assert main(["model-cost", "r51"]) == 2
    assert "did you mean r50" in capsys.readouterr().err


def test_a_classifier_that_was_built_is_the_one_a_run_builds(tmp_path: Path, trunk: Path) -> None:
    path = tmp_path / "classifier.safetensors"
    data = "synthetic:4:3"
    assert main(["build-classifier", str(trunk), data, "-o", str(path), "--workers", "0"]) == 0
    built = load_classifier(path)
    state = torch.load(trunk, weights_only=True)
    assert built.trunk_fingerprint == fingerprint(state)
    assert built.weight.shape == (4, 8)
    torch.testing.assert_close(built.weight.norm(dim=1), torch.ones(4))

    small = [f"rec={data}", "num_epoch=1", "batch_size=4", "num_workers=0", f"trunk={trunk}", "device=cpu"]
    published = []
    for classifier in (str(path), "prototype"):
        folder = tmp_path / Path(classifier).stem
        config = load_config(
            ROOT / "configs" / "retrofit_r14", [*small, f"output={folder}", f"classifier={classifier}"]
        )
        published.append(load_classifier(train(config) / "classifier.safetensors").weight)
    torch.testing.assert_close(published[0], published[1])
    torch.testing.assert_close(published[0], built.weight)
