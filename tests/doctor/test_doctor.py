from __future__ import annotations

import numpy as np
import pytest
import torch

from btnet.cli import main
from btnet.doctor import selftest
from btnet.doctor.checks import installed_packages


def test_a_sound_installation_passes_and_each_line_says_what_follows(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("btnet.doctor.checks.metadata.requires", lambda _: ["torch>=2.6", "numpy>=1.23.5"])
    assert main(["doctor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "nothing wrong"
    found = {line[7:27].strip(): line for line in lines[1:-1]}
    device = "cuda" if torch.cuda.is_available() else "cpu"
    assert device in found["device"]
    assert f"{torch.get_num_threads()} of " in found["threads"]
    assert "differs" in found["embeddings on cpu"]
    assert "differs" in found["embedding by ONNX"]


@pytest.mark.parametrize("change", [1.002, float("nan")])
def test_an_embedding_that_is_not_the_stored_one_is_wrong(
    change: float, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    right = selftest.embed
    monkeypatch.setattr(selftest, "embed", lambda *args: right(*args) * np.float64(change))
    assert main(["doctor"]) == 1
    assert "WRONG  embeddings on cpu" in capsys.readouterr().out


def test_packages_that_are_absent_or_out_of_range_are_named_with_what_to_install() -> None:
    findings = list(
        installed_packages(
            ["numpy>=99", "no-such-package>=1", 'no-other>=1; extra == "dev"', "torch>=2.6", "what is this"]
        )
    )
    assert [f.is_wrong for f in findings] == [False, True, True, False, True]
    assert "pip install 'numpy>=99'" in str(findings[1])
    assert "not installed: pip install 'no-such-package>=1'" in str(findings[2])


def test_what_stops_one_part_does_not_hide_the_others(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> None:
        raise ImportError("libcudart.so.12:\n cannot open shared object file")

    monkeypatch.setattr("btnet.cli.doctor.machine", broken)
    assert main(["doctor", "--no-self-test"]) == 1
    out = capsys.readouterr().out
    assert "WRONG  machine" in out
    assert "libcudart.so.12: cannot open" in out
    assert "ok     torch" in out
