from __future__ import annotations

from pathlib import Path

import pytest
import torch

from btnet.backbones.iresnet import IResNet
from btnet.backbones.state import fingerprint
from btnet.cli import main
from btnet.data.faces import open_faces
from btnet.interop.arcface_torch import merge_classifier_shards
from btnet.loss import load_classifier

DATA = "synthetic:10:1"


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    """What a run of arcface_torch on 3 ranks leaves behind."""
    torch.manual_seed(0)
    network = IResNet((1, 1, 1, 1), widths=(8, 8, 8, 8), embedding_size=8)
    folder = tmp_path / "run"
    folder.mkdir()
    torch.save(network.state_dict(), folder / "model.pt")
    for rank, shard in enumerate(torch.split(torch.randn(10, 8), [4, 3, 3])):
        torch.save({"state_dict_softmax_fc": {"weight": shard.clone()}}, folder / f"checkpoint_gpu_{rank}.pt")
    return folder


def convert(*arguments: str | Path) -> int:
    return main(["convert-classifier", *map(str, arguments)])


def test_shards_become_a_classifier_and_shards_of_another_number_of_ranks(
    run_folder: Path, tmp_path: Path
) -> None:
    centres = merge_classifier_shards(run_folder)
    file = tmp_path / "out" / "classifier.safetensors"
    assert convert(run_folder, "--faces", DATA, "-o", file) == 0
    faces = open_faces(DATA)
    state = torch.load(run_folder / "model.pt", weights_only=True)
    found = load_classifier(
        file,
        expected_trunk=fingerprint(state),
        expected_data=faces.fingerprint(),
        expected_class_names=faces.class_names,
    )
    assert torch.equal(found.weight, centres)
    for source, ranks in ((file, 4), (tmp_path / "out", 1), (run_folder, 7)):
        assert convert(source, "--ranks", str(ranks), "-o", tmp_path / f"{ranks}") == 0
        assert len(list((tmp_path / f"{ranks}").iterdir())) == ranks
        assert torch.equal(merge_classifier_shards(tmp_path / f"{ranks}", num_classes=10), centres)


@pytest.mark.parametrize("rank", [0, 1, 2])
def test_an_incomplete_set_is_refused_by_the_name_of_the_missing_shard(
    rank: int, run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (run_folder / f"checkpoint_gpu_{rank}.pt").unlink()
    assert convert(run_folder, "--faces", DATA, "-o", tmp_path / "x.safetensors") == 2
    text = capsys.readouterr().err
    assert f"checkpoint_gpu_{rank}.pt" in text
    assert "missing" in text
    assert not (tmp_path / "x.safetensors").exists()


def test_what_does_not_belong_together_is_refused(
    run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output: list[str | Path] = ["-o", tmp_path / "x.safetensors"]
    assert convert(run_folder, *output) == 2
    assert "with --faces" in capsys.readouterr().err
    assert convert(run_folder, "--faces", "synthetic:9:1", *output) == 2
    assert "hold 10 classes, expected 9; the run had another training set" in capsys.readouterr().err
    network = IResNet((1, 1, 1, 1), widths=(8, 8, 8, 8), embedding_size=16)
    torch.save(network.state_dict(), tmp_path / "other.pt")
    assert convert(run_folder, "--faces", DATA, "--trunk", tmp_path / "other.pt", *output) == 2
    assert "centres of 8 values, and the trunk's embeddings have 16" in capsys.readouterr().err
    assert convert(tmp_path / "x.safetensors", "--faces", DATA, *output) == 2
    assert "give --ranks N" in capsys.readouterr().err
