"""The worked examples of CONTRIBUTING.md, run as they stand there: nothing of the package is edited."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch

from btnet import BTNet, load_trunk, register_backbone
from btnet.backbones import registry as names
from btnet.backbones.registry import create
from btnet.cli import main
from btnet.images.codec import encode_png
from btnet.images.resize import resize
from btnet.loss import MARGINS
from btnet.synthetic.faces import SyntheticFaces
from btnet.training.config_file import load_config
from btnet.training.run import train

ROOT = Path(__file__).parents[1]
FILES = dict(
    re.findall(r'^```\w+ title="([^"]+)"\n(.*?)^```$', (ROOT / "CONTRIBUTING.md").read_text(), re.M | re.S)
)
TINY: dict[str, Any] = {"blocks": (1, 2, 1), "width": 16, "embedding_size": 8}
RUN = ["rec=synthetic:4:4", "batch_size=8", "num_epoch=1", "warmup_epoch=0", "num_workers=0", "device=cpu"]


@pytest.fixture(autouse=True)
def examples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The examples' files, importable, and what they register gone again."""
    folder = tmp_path / "examples"
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setattr(names, "_registered", {})
    margins = dict(MARGINS)
    yield folder
    MARGINS.clear()
    MARGINS.update(margins)
    for name in ("my_net", "my_margin", "my_benchmark"):
        sys.modules.pop(name, None)


@pytest.fixture
def installed(examples: Path) -> Path:
    """As pip leaves a package that states the entry point."""
    info = examples / "my_net-1.0.dist-info"
    info.mkdir()
    info.joinpath("METADATA").write_text("Metadata-Version: 2.1\nName: my_net\nVersion: 1.0\n")
    table = FILES["pyproject.toml"].replace('[project.entry-points."btnet.backbones"]', "[btnet.backbones]")
    info.joinpath("entry_points.txt").write_text(table.replace('"', ""))
    return examples


def test_examples_have_fewer_than_60_lines() -> None:
    assert {name: len(text.splitlines()) for name, text in FILES.items() if text.count("\n") > 60} == {}


def test_the_backbone_gets_branches_overlays_and_onnx_by_being_registered(tmp_path: Path) -> None:
    register_backbone("my_net", importlib.import_module("my_net").MyNet)
    torch.manual_seed(0)
    model = BTNet(create("my_net", **TINY), (56, 28, 14, 7)).eval()
    assert [model.trunk.coupling_layer(r) for r in (56, 28, 14, 7)] == [
        "stem", "stage0.0", "stage1.0", "stage2.0"
    ]  # fmt: skip
    assert "stage0.0.downsample.0.weight" in model.overlay(28).dropped_keys
    own = set(model.learnt_parameters(14))
    assert "stage1.0.conv1.weight" in own
    assert "stage2.0.conv1.weight" not in own
    assert "stage2.0.bn1.weight" in own
    with torch.no_grad():  # a branch that is not its trunk
        for parameter in model.learnt_parameters(14).values():
            parameter.add_(0.01)
    model.save(tmp_path / "model")
    loaded = BTNet.load(tmp_path / "model")
    assert type(loaded.trunk) is type(model.trunk)
    assert loaded.trunk.arch == model.trunk.arch
    for size in (112, 56, 28, 14, 7):
        faces = torch.rand(2, 3, size, size) * 2 - 1
        with torch.inference_mode():
            assert torch.equal(loaded(faces), model(faces))
    assert main(["export-onnx", str(tmp_path / "model"), "--resolutions", "112", "14"]) == 0
    faces = torch.rand(3, 3, 14, 14) * 2 - 1
    session = onnxruntime.InferenceSession(tmp_path / "model/onnx/embed_r14.onnx")
    [found] = session.run(None, {"data": faces.numpy()})
    with torch.inference_mode():
        np.testing.assert_allclose(found, model(faces).numpy(), atol=1e-4)


def test_the_backbone_of_an_installed_package_is_known_to_the_commands(
    installed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network = "network_args={'blocks': [1, 1, 1], 'width': 16}"
    keys = ["network=my_net", network, "embedding_size=8", "lr=0.01", *RUN]
    trunk = train(load_config("configs/demo_hr", [*keys, f"output={tmp_path / 'trunk'}"]))
    assert type(load_trunk(trunk / "model.pt")).__name__ == "MyNet"
    keys = [*RUN, f"trunk={trunk}", f"output={tmp_path / 'branch'}"]
    branch = train(load_config("configs/demo_btnet_r14", keys))
    before, after = (torch.load(folder / "model.pt", weights_only=True) for folder in (trunk, branch))
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert BTNet.load(branch).resolutions == (14,)
    capsys.readouterr()
    assert main(["model-cost", "my_net", "--resolutions", "14"]) == 0
    # Multiply-adds of the 14 px network by hand, in units of 2 FLOPs: a stem of 32 channels, two blocks of 32, one of
    # 64 with its shortcut at 14 px, one of 64, then one striding and one of 128 at 7 px, and 512 values.
    at_14 = 14 * 14 * (3 * 32 * 9 + 4 * 32 * 32 * 9 + 32 * 64 * 9 + 3 * 64 * 64 * 9 + 32 * 64)
    at_7 = 7 * 7 * (64 * 128 * 9 + 3 * 128 * 128 * 9 + 64 * 128)
    assert f"{2 * (at_14 + at_7 + 128 * 512) / 1e9:.2f}" in capsys.readouterr().out


def test_what_is_no_backbone_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"'my_net'.*not a class that derives from"):
        register_backbone("my_net", int)  # type: ignore[arg-type]


def test_the_margin_has_the_gradient_of_its_formula_and_trains_from_a_config(
    examples: Path, tmp_path: Path
) -> None:
    margin = importlib.import_module("my_margin").LinearAngle(scale=2.0, margin=0.3)
    theta = torch.tensor([[0.5, 1.0, 2.0]], dtype=torch.float64)
    cosine = theta.cos().requires_grad_()
    label = torch.tensor([1])
    expected = 2 * (1 - 2 * (theta + torch.tensor([0.0, 0.3, 0.0])) / torch.pi)
    torch.testing.assert_close(margin(cosine, label), expected)
    assert torch.autograd.gradcheck(lambda c: margin(c, label), cosine)
    assert main(["configs", str(examples / "configs")]) == 0
    network = "network_args={'blocks': [1, 1, 1, 1], 'widths': [16, 16, 16, 16]}"
    folder = train(load_config(examples / "configs/my_config", [*RUN, network, f"output={tmp_path / 'run'}"]))
    assert json.loads((folder / "btnet.json").read_text())["config"]["loss"] == "LinearAngle"


def test_the_benchmark_writes_a_result(examples: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    BTNet(create("iresnet", blocks=[1] * 4, widths=[16] * 4, embedding_size=8), (14,)).save(
        tmp_path / "model"
    )
    root, faces = tmp_path / "set", SyntheticFaces(3, 2)
    root.mkdir()
    for part, shot in (("gallery", 0), ("probe", 1)):
        for person in range(3):
            face = faces[2 * person + shot][0]
            (root / f"{part}{person}.png").write_bytes(encode_png(resize(face, 14) if shot else face))
        (root / f"{part}.txt").write_text("".join(f"{part}{person}.png {person}\n" for person in range(3)))
    command = [
        sys.executable,
        str(examples / "my_benchmark.py"),
        str(tmp_path / "model"),
        "--root",
        str(root),
    ]
    command += ["--output", str(tmp_path / "my_set.json"), "--device", "cpu", "--workers", "1"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "my_set.json").read_text())
    assert result["task"] == "my_set"
    [found] = result["sets"][0]["results"]
    assert (found["num_probes"], found["num_gallery"]) == (3, 3)
    assert found["faces_by_resolution"] == {"14": 3, "112": 3}
