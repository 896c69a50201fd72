"""arcface_torch's own scripts with our networks inside, as a user runs them.

Runs on a stand-in with its interface; with ARCFACE_TORCH=PATH on that checkout (`make test-arcface`).
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from btnet.data import write_bin
from btnet.data.views import normalise
from btnet.inference.alignment import TEMPLATE
from btnet.inference.embedding import embed_images
from btnet.interop.arcface_torch import merge_classifier_shards
from btnet.interop.authors import import_authors
from btnet.interop.checkpoints import export_checkpoints
from btnet.loss import load_classifier, save_classifier
from btnet.model.btnet import BTNet
from btnet.model.iresnet import IResNet, iresnet18
from btnet.model.overlay import fingerprint

HERE = Path(__file__).parent
CHECKOUT = os.environ.get("ARCFACE_TORCH")
NUM_CLASSES, NUM_STEPS, WORLD_SIZE = 5, 2, 1 if torch.cuda.is_available() else 2


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout's code with the two lines of docs/insightface.md; the user's stays as it is."""
    source = Path(CHECKOUT).expanduser() if CHECKOUT else HERE / "arcface_stand_in"
    assert (source / "backbones" / "__init__.py").is_file(), (
        f"ARCFACE_TORCH={source}: no backbones/__init__.py"
    )
    copy = tmp_path_factory.mktemp("checkout")
    for path in source.rglob("*.py"):
        target = copy / path.relative_to(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    with (copy / "backbones" / "__init__.py").open("a") as file:
        file.write("\n" + documented("get_model"))
    return copy


def documented(name: str) -> str:
    """The code block of docs/insightface.md behind the comment `<!-- name -->`."""
    text = (HERE.parents[1] / "docs" / "insightface.md").read_text()
    match = re.search(rf"<!-- {name} -->\n+```python\n(.*?)```", text, re.DOTALL)
    assert match is not None
    return match[1]


def run(checkout: Path, *arguments: str | Path, world_size: int = 1) -> list[str]:
    """What a script of the checkout prints, one text per rank."""
    meeting = checkout / f"meeting_{arguments[0]}"
    meeting.unlink(missing_ok=True)
    ranks = [
        subprocess.Popen(
            [sys.executable, HERE / "arcface_runner.py", checkout, *arguments],
            env=os.environ
            | {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(world_size)}
            | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29513", "MEETING": str(meeting)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(world_size)
    ]
    texts = [rank.communicate(timeout=300)[0] for rank in ranks]
    missing = re.search(r"No module named '(\w+)'", texts[0])
    if CHECKOUT and missing and missing[1] != "btnet":
        pytest.skip(f"{arguments[0]} of the checkout needs {missing[1]}, which is not installed")
    assert not any(rank.returncode for rank in ranks), texts[0]
    return texts


def with_statistics(network: nn.Module) -> None:
    """Statistics of noise, as a trained network has them of faces: signals pass through."""
    assert isinstance(network, IResNet)
    norms = [m for m in network.modules() if isinstance(m, (nn.BatchNorm1d, nn.BatchNorm2d))]
    for norm in norms:
        norm.momentum = 1.0
    with torch.no_grad():
        network.train()(torch.randn(4, 3, network.input_size, network.input_size))
    for norm in norms:
        norm.momentum = 0.1
    network.eval()


@pytest.fixture(scope="module")
def model() -> BTNet:
    torch.manual_seed(0)
    trunk = iresnet18()
    with_statistics(trunk)
    made = BTNet(trunk, (14,))
    with_statistics(made.network(14))
    return made.eval()


@pytest.fixture(scope="module")
def branch_file(model: BTNet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    [checkpoint] = export_checkpoints(model, tmp_path_factory.mktemp("files"), resolutions=[14])
    assert checkpoint.path.name == "btnet_r18_14.pt"
    return checkpoint.path


def faces(count: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (count, 112, 112, 3), dtype=np.uint8)


def test_get_model_loads_a_branch_by_name_and_still_knows_its_own_names(
    checkout: Path, model: BTNet, branch_file: Path, tmp_path: Path
) -> None:
    (checkout / "names.py").write_text(
        "import sys, torch\n"
        "from backbones import get_model\n"
        "theirs = get_model('r18', dropout=0.0, fp16=False, num_features=512)\n"
        "theirs.load_state_dict(torch.load(sys.argv[1]), strict=True)\n"
        "ours = get_model('btnet_r18_14_from112', dropout=0.0, fp16=True, num_features=512)\n"
        "ours.load_state_dict(torch.load(sys.argv[2]), strict=True)\n"
        "images = torch.load(sys.argv[3])\n"
        "with torch.no_grad():\n"
        "    torch.save([theirs.eval()(images), ours.eval()(images)], sys.argv[4])\n"
    )
    [trunk_file] = export_checkpoints(model.trunk, tmp_path)
    batch = faces(2)
    images = normalise(torch.from_numpy(batch).permute(0, 3, 1, 2))
    torch.save(images, tmp_path / "images.pt")
    run(checkout, "names.py", trunk_file.path, branch_file, tmp_path / "images.pt", tmp_path / "out.pt")
    theirs, ours = torch.load(tmp_path / "out.pt")
    with torch.no_grad():
        torch.testing.assert_close(theirs, model.trunk(images), rtol=1e-4, atol=1e-4)
    expected = embed_images(model.network(14), batch, view_size=14, mirror=False)
    torch.testing.assert_close(ours, torch.from_numpy(expected), rtol=1e-4, atol=1e-4)


def test_the_ijbc_script_scores_a_branch_as_we_do(
    checkout: Path, model: BTNet, branch_file: Path, tmp_path: Path
) -> None:
    images = faces(6)
    (tmp_path / "meta").mkdir()
    (tmp_path / "loose_crop").mkdir()
    landmarks = " ".join(f"{value:.4f}" for value in TEMPLATE.ravel())
    names, media = [], []
    for i, image in enumerate(images):
        cv2.imwrite(str(tmp_path / "loose_crop" / f"{i}.png"), image[..., ::-1])
        names.append(f"{i}.png {landmarks} 1.0\n")
        media.append(f"{i}.png {i + 1} {i + 1}\n")
    pairs = [(1, 2, 1), (1, 3, 0), (3, 4, 1), (5, 6, 0), (2, 6, 1)]
    (tmp_path / "meta" / "ijbc_name_5pts_score.txt").write_text("".join(names))
    (tmp_path / "meta" / "ijbc_face_tid_mid.txt").write_text("".join(media))
    (tmp_path / "meta" / "ijbc_template_pair_label.txt").write_text(
        "".join(f"{a} {b} {same}\n" for a, b, same in pairs)
    )
    options: dict[str, str | Path] = {
        "model-prefix": branch_file,
        "image-path": tmp_path,
        "result-dir": tmp_path / "out",
        "batch-size": "4",
        "network": "btnet_r18_14_from112",
        "job": "branch",
        "target": "IJBC",
    }
    run(checkout, "eval_ijbc.py", *(f"--{name}={value}" for name, value in options.items()))
    found = np.load(tmp_path / "out" / "branch" / "ijbc.npy")
    embeddings = embed_images(model.network(14), images, view_size=14)
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    expected = [embeddings[a - 1] @ embeddings[b - 1] for a, b, _ in pairs]
    # warpAffine by the identity is exact, but its fixed-point coordinates may be off it by a level
    np.testing.assert_allclose(found, expected, atol=5e-3)


def test_the_onnx_script_exports_a_branch_that_takes_112_px(
    checkout: Path, model: BTNet, branch_file: Path, tmp_path: Path
) -> None:
    file = tmp_path / "branch.onnx"
    run(checkout, "torch2onnx.py", branch_file, "--output", file, "--network", "btnet_r18_14_from112")
    session = onnxruntime.InferenceSession(str(file))
    batch = faces(1)
    [found] = session.run(None, {"data": normalise(torch.from_numpy(batch).permute(0, 3, 1, 2)).numpy()})
    expected = embed_images(model.network(14), batch, view_size=14, mirror=False)
    np.testing.assert_allclose(found / np.linalg.norm(found), expected / np.linalg.norm(expected), atol=1e-4)


@pytest.fixture(scope="module")
def trained(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Output of the patched loop, and trunk.pt and classifier.safetensors that went in."""
    folder = tmp_path_factory.mktemp("run")
    torch.manual_seed(0)
    trunk = IResNet((1, 1, 1, 1), widths=(8, 8, 16, 16), embedding_size=16)
    with_statistics(trunk)
    torch.save(trunk.state_dict(), folder / "trunk.pt")
    save_classifier(
        folder / "classifier.safetensors",
        torch.randn(NUM_CLASSES, 16),
        [f"p{i}" for i in range(NUM_CLASSES)],
        trunk_fingerprint=fingerprint(trunk.state_dict()),
        data_fingerprint="noise",
    )
    write_bin(folder / "noise.bin", faces(40), [i % 2 == 0 for i in range(20)])
    patch(checkout / "train_v2.py")
    (checkout / "configs" / "branch.py").write_text(
        "from easydict import EasyDict\n"
        f"config = EasyDict(network='r18', output={str(folder)!r}, rec={str(folder)!r}, embedding_size=16,\n"
        f"    num_classes={NUM_CLASSES}, num_image=16, batch_size={8 // WORLD_SIZE}, num_epoch=1, warmup_epoch=0,\n"
        "    lr=0.02, weight_decay=5e-4, verbose=2, frequent=1, val_targets=['noise'], dali_aug=False,\n"
        "    fp16=False, save_all_states=True, optimizer='sgd', momentum=0.9,\n"
        f"    trunk={str(folder / 'trunk.pt')!r}, resolution=14, classifier={str(folder)!r})\n"
    )
    texts = run(checkout, "train_v2.py", "configs/branch.py", world_size=WORLD_SIZE)
    (folder / "log.txt").write_text(texts[0])
    return folder


def patch(path: Path) -> None:
    """Add the documented lines to the loop where the document says."""
    lines = [line for line in documented("train_v2").splitlines() if line.strip()]
    anchors = (
        r"^import torch$",
        r"^ +backbone = torch\.nn\.parallel\.DistributedDataParallel\(",
        r"^ +cfg\.total_batch_size =",
        r"^ +loss(: torch\.Tensor)? = module_partial_fc\(local_embeddings, local_labels\)$",
    )
    text = path.read_text()
    for number, (line, anchor) in enumerate(zip(lines, anchors, strict=True)):
        match = re.search(anchor, text, re.MULTILINE)
        assert match is not None, f"{path.name} has no line like {anchor}"
        at = match.start() if number in (1, 2) else match.end() + 1
        text = f"{text[:at]}{line}\n{text[at:]}"
    path.write_text(text)


def test_the_patched_loop_trains_the_branch_and_nothing_else(trained: Path) -> None:
    imported = import_authors(trained / "trunk.pt", {14: trained / "model.pt"})
    assert imported.differing == {14: {}}
    trunk = torch.load(trained / "trunk.pt", weights_only=True)
    overlay = imported.model.overlay(14)
    assert overlay.trunk_fingerprint == fingerprint(trunk)
    learnt = [key for key in imported.model.learnt_parameters(14) if key != "features.weight"]
    assert learnt
    for key in learnt:
        assert not torch.equal(overlay.tensors[key], trunk[key]), key
    counts = {
        key: int(value) for key, value in overlay.tensors.items() if key.endswith("num_batches_tracked")
    }
    assert counts == {key: int(trunk[key]) + NUM_STEPS for key in counts}


def test_the_patched_loop_keeps_the_old_classifier(trained: Path) -> None:
    expected = load_classifier(trained / "classifier.safetensors").weight
    assert torch.equal(merge_classifier_shards(trained, num_classes=NUM_CLASSES), expected)


def test_the_verification_callback_scores_the_branch_in_training(trained: Path) -> None:
    assert re.search(r"\[noise\]\[2\]Accuracy-Flip: [01]\.\d+", (trained / "log.txt").read_text())
