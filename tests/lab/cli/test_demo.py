from __future__ import annotations

import json
from pathlib import Path

import pytest

from btnet.interop import check_onnx
from btnet.serving.loading import load_model
from btnet_lab.cli import main

ROOT = Path(__file__).parents[3]


def test_the_demo_runs_whole_on_a_few_people(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = ["num_epoch=1", "warmup_epoch=0", "batch_size=16", "num_workers=0", "device=cpu"]
    arguments = ["demo", "--configs", str(ROOT / "configs"), "--output", str(tmp_path)]
    arguments += ["--identities", "12", "--images", "4", "--num-pairs", "20"]
    assert main([*arguments, *(part for text in small for part in ("--set", text))]) == 0
    text = capsys.readouterr().out
    for name in ("phi_hr", "phi_mr", "phi_14", "phi_bt"):
        assert json.loads((tmp_path / name / "btnet.json").read_text())["role"] == name
    assert "112&14" in text
    assert "of 6 probes find their person" in text
    assert (tmp_path / "demo.png").read_bytes().startswith(b"\x89PNG")
    model = load_model(tmp_path / "phi_bt").module
    assert check_onnx(tmp_path / "phi_bt" / "onnx" / "embed_r14.onnx", model) < 1e-4
