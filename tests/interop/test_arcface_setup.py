"""`btnet arcface-setup`: what it finds, writes and takes back, whatever the layout of the checkout's code."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.interpolate import interp1d

from btnet.cli import main
from btnet.interop.arcface_edits import Installed
from btnet.interop.arcface_setup import plan, undo, write

NEWEST = Installed(
    numpy_removed=frozenset({"int", "float", "bool"}),
    scheduler_verbose=False,
    repeated_x=False,
    mxnet=False,
    dynamo_export=True,
)
OLD = Installed(
    numpy_removed=frozenset(), scheduler_verbose=True, repeated_x=True, mxnet=True, dynamo_export=False
)

BACKBONES = "def get_model(name, **kwargs):\n    raise ValueError(name)\n"
LOOP = """import torch
from backbones import get_model
from partial_fc_v2 import PartialFC_V2
from utils.utils_config import get_config

def main(args):
    conf = get_config(args.config)
    net = get_model(conf.network).cuda()
    net = torch.nn.parallel.DistributedDataParallel(
        module=net)
    head = PartialFC_V2(None, 1, 1)
    for epoch in range(2):
        for img, labels in loader:
            loss: torch.Tensor = head(net(img), labels)
            loss.backward()
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Callable[..., Path]:
    def make(**files: str) -> Path:
        for name, text in {"backbones/__init__": BACKBONES, "train_v2": LOOP, **files}.items():
            path = tmp_path / f"{name}.py"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(text.encode())
        return tmp_path

    return make


def text_of(folder: Path, name: str) -> str:
    return (folder / f"{name}.py").read_bytes().decode()


SCHEDULER = "class Warmup(_LRScheduler):\n    def __init__(self, opt, verbose=False):\n        {}\n"
LAYOUTS = {
    "np.int, two on a line": "import numpy as np\nx = np.zeros(3).astype(np.int), np.ones(2, np.float)\n",
    "np.int behind letters of two bytes": "import numpy as np\nx = 'äö', np.int(3)  # 均匀\n",
    "another name for numpy": "import numpy as num\nx = num.bool(1)",
    "a comment of its own": "import numpy as np\nx = np.int(1)  # keep\n",
    "carriage returns": "import numpy as np\r\nx = np.int(1)\r\ny = 2\r\n",
    "no newline at the end": "import numpy as np\nx = np.int(1)",
    "inside a call of several lines": "import numpy as np\nx = dict(\n    a=np.int(1),\n    b=2,\n)\n",
    "an if that goes on": "import numpy as np\nif np.int(1):\n    x = 1\nelse:\n    x = 2\n",
    "verbose, one line": SCHEDULER.format("super().__init__(opt, last_epoch=-1, verbose=verbose)"),
    "verbose, a line each": SCHEDULER.format("super().__init__(\n  opt,\n  verbose=verbose,\n  )"),
    "interp1d": "import numpy as np\nf = interpolate.interp1d(\n    [0, 1],\n    [0, 1], kind='slinear')\n",
    "mxnet": "import mxnet as mx\nfrom mxnet import ndarray as nd\nimport mxnet\n",
    "an export": "torch.onnx.export(net,\n    img, output)\n",
}  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_does_not_run_is_replaced_and_comes_back_to_the_byte(
    layout: str, checkout: Callable[..., Path]
) -> None:
    folder = checkout(module=LAYOUTS[layout])
    old = text_of(folder, "module")
    files = {file.name: file for file in plan(folder, NEWEST)}
    assert not files["module.py"].obstacle
    write(files["module.py"])
    new = text_of(folder, "module")
    ast.parse(new)
    assert not [file for file in plan(folder, NEWEST) if file.name == "module.py"], "a second time"
    code = "\n".join(line.partition("# btnet was: ")[0] for line in new.splitlines())
    assert not re.search(r"np\.int\b|np\.float|num\.bool|verbose=verbose|interp1d\(|import mxnet$", code)
    for file in undo(folder):
        write(file)
    assert text_of(folder, "module") == old


def test_with_packages_of_its_time_only_the_hooks_are_set(checkout: Callable[..., Path]) -> None:
    folder = checkout(module="".join(LAYOUTS.values()).replace("\r", ""))
    assert [file.name for file in plan(folder, OLD)] == ["backbones/__init__.py", "train_v2.py"]


def test_interpolation_is_scipys_and_defined_where_x_repeats(checkout: Callable[..., Path]) -> None:
    folder = checkout(
        module="import numpy as np\nfrom scipy import interpolate\n"
        "def f(x, y, at):\n    return interpolate.interp1d(x, y, kind='slinear')(at)\n"
    )
    for file in plan(folder, NEWEST):
        write(file)
    names: dict[str, Any] = {}
    exec(text_of(folder, "module"), names)
    generator = np.random.default_rng(0)
    x, y = np.sort(generator.random(20)), generator.random(20)
    at = np.linspace(x[0], x[-1], 50)
    np.testing.assert_allclose(names["f"](x, y, at), interp1d(x, y, kind="slinear")(at), rtol=1e-12)
    # from the last of the lower values to the first of the higher ones
    assert names["f"]([0, 0, 1, 1], [0, 1, 2, 3], 0.5) == 1.5
    assert names["f"]([0, 0, 1, 1], [0, 1, 2, 3], 0.0) == 1


def test_the_hooks_use_the_checkouts_own_names(checkout: Callable[..., Path]) -> None:
    folder = checkout()
    for file in plan(folder, OLD):
        write(file)
    added = [line for line in text_of(folder, "train_v2").splitlines() if line.endswith("# btnet")]
    assert added == [
        "from btnet.interop import branch_training  # btnet",
        "    net = branch_training.branch_or(net, conf)  # btnet",
        "    branch_training.freeze_classifier(net, head, conf)  # btnet",
        "            loss = loss + branch_training.distillation(net)  # btnet",
    ]
    names: dict[str, Any] = {}
    exec(text_of(folder, "backbones/__init__"), names)
    assert names["get_model"]("btnet_mbf_14", num_features=8).input_size == 14
    with pytest.raises(ValueError, match="r18"):
        names["get_model"]("r18")


@pytest.mark.parametrize(
    ("name", "text", "obstacle"),
    [
        ("backbones/__init__", "from .factory import get_model\n", "no function get_model"),
        ("train_v2", LOOP.replace("DistributedDataParallel", "Wrapped"), "from DistributedDataParallel"),
        ("train_v2", LOOP.replace("head(net(img), labels)", "step(img, labels)"), "the head's loss"),
        ("train_v2", "def broken(:\n", "no Python"),
        ("module", "import numpy as np\nx = 1 + \\\n  np.int(1) + \\\n  1\n", "longer text or statement"),
        ("module", "from scipy.interpolate import interp1d\nf = interp1d(x, y, kind='cubic')\n", "interp1d"),
        ("module", "import mxnet as mx, os\n", "something else"),
        ("module", "from mxnet import symbol\n", "mxnet.symbol"),
    ],
)
def test_what_upstream_has_changed_is_named_and_left_whole(
    name: str, text: str, obstacle: str, checkout: Callable[..., Path]
) -> None:
    folder = checkout(**{name: text})
    [file] = [file for file in plan(folder, NEWEST) if file.obstacle]
    assert (file.name, file.new) == (f"{name}.py", file.old)
    assert obstacle in file.obstacle


def test_undoing_leaves_the_users_own_edits(
    checkout: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = checkout(module="import numpy as np\nx = np.int(1)\n")
    assert main(["arcface-setup", str(folder)]) == 0
    shown = capsys.readouterr().out
    assert "+@with_btnet  # btnet" in shown
    path = folder / "train_v2.py"
    path.write_text(path.read_text().replace("range(2)", "range(3)"))
    assert main(["arcface-setup", str(folder), "--undo"]) == 0
    assert text_of(folder, "train_v2") == LOOP.replace("range(2)", "range(3)")
    assert text_of(folder, "backbones/__init__") == BACKBONES


def test_a_check_changes_nothing_and_its_status_tells(
    checkout: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = checkout()
    assert main(["arcface-setup", str(folder), "--check"]) == 1
    shown = capsys.readouterr().out
    assert "train_v2.py, line 9: trains a branch" in shown
    assert text_of(folder, "train_v2") == LOOP
    assert main(["arcface-setup", str(folder)]) == 0
    assert main(["arcface-setup", str(folder), "--check"]) == 0


def test_permissions_stay(checkout: Callable[..., Path]) -> None:
    folder = checkout()
    (folder / "train_v2.py").chmod(0o754)
    assert main(["arcface-setup", str(folder)]) == 0
    assert (folder / "train_v2.py").stat().st_mode & 0o777 == 0o754


def test_the_checkout_of_insightface_itself_will_do_and_another_folder_will_not(
    checkout: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = checkout()
    inside = folder / "clone" / "recognition" / "arcface_torch"
    inside.parent.mkdir(parents=True)
    (inside / "backbones").mkdir(parents=True)
    for name in ("backbones/__init__.py", "train_v2.py"):
        (inside / name).write_bytes((folder / name).read_bytes())
    assert main(["arcface-setup", str(folder / "clone")]) == 0
    assert "# btnet" in (inside / "train_v2.py").read_text()
    assert main(["arcface-setup", str(inside / "backbones")]) == 2
    assert "give the folder recognition/arcface_torch" in capsys.readouterr().err
