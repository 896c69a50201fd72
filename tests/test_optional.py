"""What works without the extras, what a missing one is answered with, and that importing changes nothing."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from btnet.cli import main
from btnet.optional import EXTRAS, MissingExtraError, extra

ROOT = Path(__file__).parents[1]
BLOCKED = """
import sys
from importlib.machinery import PathFinder
MISSING = {"onnx", "onnx_ir", "onnxscript", "onnxruntime", "insightface", "matplotlib", "s3fs", "gcsfs", "aiohttp"}
class Without:
    def find_spec(self, name, path=None, target=None):
        return None if name.partition(".")[0] in MISSING else PathFinder.find_spec(name, path, target)
sys.meta_path = [Without() if finder is PathFinder else finder for finder in sys.meta_path]
"""
TRAIN_AND_SERVE = """
import numpy as np, btnet
from btnet.cli import main
from btnet.inference import Recognizer
settings = [
    "rec=synthetic:2:2", "batch_size=2", "num_epoch=1", "warmup_epoch=0", "num_workers=0", "device=cpu",
    "network_args={'blocks': [1, 1, 1, 1], 'widths': [16, 16, 16, 16]}", "embedding_size=8",
]
words = [word for text in settings for word in ("--set", text)]
assert main(["train", "configs/demo_hr", *words]) == 0
faces = [np.zeros((size, size, 3), np.uint8) for size in (112, 40)]
assert Recognizer.load("runs/demo_hr").embed(faces).shape == (2, 8)
main(["doctor"])

from btnet.data.shard_faces import _copy
from btnet.optional import MissingExtraError
from btnet.detection.detector import open_detector
open("net.onnx", "wb").close()
for use, what in ((_copy, ("https://example.org/1.tar", None)), (_copy, ("s3://faces/1.tar", None)),
                  (open_detector, ("net.onnx",))):
    try:
        use(*what)
    except MissingExtraError as error:
        print(error)
for command in (
    ["export-onnx", "runs/demo_hr"],
    ["export-insightface", "runs/demo_hr", "-o", "package"],
    ["import-onnx", "net.onnx", "net.pt"],
    ["quantise-onnx", "net.onnx", "net8.onnx"],
    ["embed", "faces", "--model", "runs/demo_hr", "--backend", "onnxruntime", "-o", "faces.npz"],
    ["evaluate", "runs/demo_hr", "--roc", "roc.png"],
):
    assert main(command) == 2, command
"""
COMPARED = """
import importlib, logging, os, pkgutil, sys, warnings
import cv2, matplotlib, numpy, onnx, onnxruntime, onnxscript, onnx_ir, torch, torch.distributed.checkpoint
import scipy.sparse, scipy.special, skimage.transform

def state():
    loggers = {n: (l.level, l.propagate, list(l.handlers)) for n, l in logging.root.manager.loggerDict.items()
               if isinstance(l, logging.Logger) and n.startswith("btnet")}
    return {
        "warnings": list(warnings.filters), "environ": dict(os.environ), "path": list(sys.path),
        "root": (logging.root.level, list(logging.root.handlers)),
        "loggers": {n: s for n, s in loggers.items() if s != (0, True, [])},
        "threads": (torch.get_num_threads(), torch.get_num_interop_threads(), cv2.getNumThreads()),
        "random": torch.get_rng_state().tolist(), "default": torch.get_default_dtype(),
        "excepthook": sys.excepthook, "rc": dict(matplotlib.rcParams), "errors": numpy.geterr(),
    }

before = state()
import btnet
names = [m.name for m in pkgutil.walk_packages(btnet.__path__, "btnet.") if not m.name.endswith("__main__")]
for name in names:
    importlib.import_module(name)
after = state()
for what in before:
    assert before[what] == after[what], (what, before[what], after[what])
print(len(names))
"""


def run(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT / "recognition")}
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def test_training_and_serving_need_no_extra_and_a_missing_one_is_named_where_it_is_used(
    tmp_path: Path,
) -> None:
    done = run(BLOCKED + TRAIN_AND_SERVE, tmp_path)
    said = re.findall(r"\w+ needs (\w+): pip install 'btnet\[(\w+)\]'", done.stdout + done.stderr)
    assert said.count(("aiohttp", "remote")) == said.count(("s3fs", "remote")) == 1
    assert said.count(("onnx", "detect")) == 1
    assert [each for each in said if each[1] == "onnx"]
    assert ("matplotlib", "plots") in said


def test_importing_any_module_changes_no_global_setting(tmp_path: Path) -> None:
    assert int(run(COMPARED, tmp_path).stdout) > 100


def test_a_command_of_the_laboratory_asks_for_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("btnet.cli.find_spec", lambda _: None)
    assert main(["evidence", "--full"]) == 2
    assert "`evidence` needs the laboratory: pip install -e lab" in capsys.readouterr().err


@pytest.mark.parametrize("name", EXTRAS)
def test_a_missing_package_is_answered_with_its_extra(name: str) -> None:
    with (
        pytest.raises(MissingExtraError, match=rf"needs no_such_package: pip install 'btnet\[{name}\]'"),
        extra(name),
    ):
        import no_such_package.inner  # type: ignore[import-not-found]  # noqa: F401


def test_a_package_that_is_there_but_broken_is_not_called_missing() -> None:
    with pytest.raises(ImportError, match=r"libcudart") as caught, extra("onnx"):
        raise ImportError("libcudart.so.12: cannot open shared object file")
    assert not isinstance(caught.value, MissingExtraError)


def test_every_extra_is_one_of_the_distribution_and_all_has_them() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    assert f'all = ["btnet[{",".join(EXTRAS)}]"]' in text
    assert all(re.search(rf"^{name} = \[", text, re.MULTILINE) for name in EXTRAS)
