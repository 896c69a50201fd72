import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from btnet import BTNet
from btnet.synthetic.faces import SyntheticFaces
from btnet.training.config_file import load_config
from btnet.training.distributed import Context
from btnet.training.run import train
from btnet.training.setup import build_model
from tiny_keys import NETWORK

ROOT = Path(__file__).parents[2]
SMALL = ["rec=synthetic:8:4", "batch_size=8", "num_epoch=1", "frequent=2", "num_workers=0", "warmup_epoch=0"]


def config(name: str, *overrides: str) -> Any:
    return load_config(ROOT / "configs" / name, [*SMALL, *overrides])


def test_a_branch_is_trained_on_a_trunk_that_stays_as_it_is(tmp_path: Path) -> None:
    trunk = train(config("demo_hr", *NETWORK, f"output={tmp_path / 'hr'}"))
    branch = train(config("demo_btnet_r14", f"output={tmp_path / 'bt'}", f"trunk={trunk}"))
    before = torch.load(trunk / "model.pt", weights_only=True)
    after = torch.load(branch / "model.pt", weights_only=True)
    assert all(torch.equal(before[key], after[key]) for key in before)
    embedding = BTNet.load(branch)(torch.zeros(2, 3, 14, 14))
    assert embedding.shape == (2, 8)
    assert torch.isfinite(embedding).all()


def test_two_processes_train_under_torchrun(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "--standalone"]
    command += [str(ROOT / "train.py"), str(ROOT / "configs" / "demo_hr"), "--set", f"output={tmp_path}"]
    for override in [*SMALL, *NETWORK, "device=cpu"]:
        command += ["--set", override]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "classifier.safetensors").is_file()


def test_a_trunk_goes_on_learning_from_its_frozen_self(tmp_path: Path) -> None:
    start = train(config("demo_hr", *NETWORK, f"output={tmp_path / 'hr'}"))
    weights = ["feature_cosine_weight=2.0", "embedding_cosine_weight=3.0", "multi_resolution=v1"]
    keys = [*weights, f"output={tmp_path / 'taught'}", f"trunk={start}", "lr=0.0", "weight_decay=0.0"]
    folder = train(config("survface_r50_hr", *keys, f"teacher_cache={tmp_path / 'cache'}"))
    log = (folder / "train.log").read_text()
    assert "trunk/feature_cosine" in log
    assert "trunk/embedding_cosine" in log
    before, after = (torch.load(path / "model.pt", weights_only=True) for path in (start, folder))
    assert torch.equal(before["conv1.weight"], after["conv1.weight"])  # a rate of 0: the start is the trunk
    with pytest.raises(ValueError, match=r"only on branches or a trunk that starts from trunk=MODEL\.pt"):
        train(config("demo_hr", *weights, f"output={tmp_path / 'none'}"))


@pytest.mark.parametrize(
    "network", ["iresnet", "mobilefacenet"], ids=["with features.weight fixed", "with all that it has"]
)
def test_a_trunk_that_goes_on_learns_what_a_new_one_learns(network: str, tmp_path: Path) -> None:
    blocks = "{'blocks': [1, 1, 1, 1], " + (
        "'widths': [8, 8, 8, 8]}" if network == "iresnet" else "'scale': 1}"
    )
    keys = ["rec=synthetic:8:8", "device=cpu"]
    new = [*keys, f"network={network}", f"network_args={blocks}", "embedding_size=8"]
    faces, alone = SyntheticFaces(8, 8), Context(0, 1, torch.device("cpu"), torch.float32)
    [first] = build_model(load_config(ROOT / "configs/ms1mv3_r50_hr", new), faces, alone).learners
    torch.save(first.network.state_dict(), tmp_path / "model.pt")
    going_on = load_config(
        ROOT / "configs/ms1mv3_r50_hr", [*keys, f"trunk={tmp_path / 'model.pt'}", "classifier=new"]
    )
    [second] = build_model(going_on, faces, alone).learners
    assert set(second.learnt) == set(first.learnt)
    fixed = {key for key, _ in second.network.named_parameters()} - set(second.learnt)
    assert fixed == ({"features.weight"} if network == "iresnet" else set())
