"""arcface_torch's own scripts with our networks inside, as a user runs them.

Runs on a stand-in with its interface; with ARCFACE_TORCH=PATH on that checkout (`make test-arcface`).
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from packaging.version import Version
from torch import nn

from btnet.backbones.iresnet import IResNet, iresnet18
from btnet.backbones.state import fingerprint
from btnet.cli import main
from btnet.data import RecordWriter, read_bin, write_bin
from btnet.data.recordio import Header
from btnet.data.views import normalise
from btnet.evaluation.verification import kfold_accuracy
from btnet.images.codec import encode_png
from btnet.interop.arcface_edits import Installed, installed
from btnet.interop.arcface_setup import plan, write
from btnet.interop.arcface_torch import merge_classifier_shards
from btnet.interop.checkpoints import export_checkpoints, import_authors
from btnet.loss import load_classifier, save_classifier
from btnet.method.btnet import BTNet
from btnet.serving.alignment import TEMPLATE
from btnet.serving.embedding import embed_images

HERE = Path(__file__).parent
CHECKOUT = os.environ.get("ARCFACE_TORCH")
HOOKS_ALONE = bool(os.environ.get("ARCFACE_HOOKS_ALONE"))  # tools/arcface_matrix.py
OF_ITS_TIME = Installed(frozenset(), scheduler_verbose=True, repeated_x=True, mxnet=True, dynamo_export=False)
NUM_CLASSES, NUM_IMAGES, WORLD_SIZE = 5, 16, 1 if torch.cuda.is_available() else 2
STEPS_PER_EPOCH = 2


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout's code as `btnet arcface-setup` leaves it; the user's stays as it is."""
    source = Path(CHECKOUT).expanduser() if CHECKOUT else HERE / "arcface_stand_in"
    copy = tmp_path_factory.mktemp("checkout")
    for path in source.rglob("*.py"):
        target = copy / path.relative_to(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    if HOOKS_ALONE:
        for file in plan(copy, OF_ITS_TIME):
            write(file)
    else:
        assert main(["arcface-setup", str(copy)]) == 0
    return copy


def start(checkout: Path, *command: str, **variables: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, HERE / "arcface_runner.py", checkout, *command],
        env=os.environ | variables,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=None if not command else subprocess.STDOUT,
        text=True,
    )


class Scripts:
    """The checkout's scripts, one after the other in one process: it takes seconds to start one."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def __call__(self, script: str, *arguments: str | Path) -> str:
        """What a script prints."""
        to, answers = self._process.stdin, self._process.stdout
        assert to is not None
        assert answers is not None
        to.write(json.dumps([script, *map(str, arguments)]) + "\n")
        to.flush()
        printed, ended_well = json.loads(answers.readline())
        assert ended_well, printed
        return str(printed)


@pytest.fixture(scope="module")
def scripts(checkout: Path) -> Iterator[Scripts]:
    with start(checkout) as process:
        yield Scripts(process)
        assert process.stdin is not None
        process.stdin.close()


def run_loop(checkout: Path, config: str) -> str:
    """What the training loop prints on rank 0."""
    meeting = checkout / "meeting"
    meeting.unlink(missing_ok=True)
    variables = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29513", "MEETING": str(meeting)}
    ranks = [
        start(
            checkout,
            "train_v2.py",
            config,
            RANK=str(rank),
            LOCAL_RANK=str(rank),
            WORLD_SIZE=str(WORLD_SIZE),
            **variables,
        )
        for rank in range(WORLD_SIZE)
    ]
    texts = [rank.communicate(timeout=300)[0] for rank in ranks]
    assert not any(rank.returncode for rank in ranks), texts[0]
    return texts[0]


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
    checkout: Path, scripts: Scripts, model: BTNet, branch_file: Path, tmp_path: Path
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
    scripts("names.py", trunk_file.path, branch_file, tmp_path / "images.pt", tmp_path / "out.pt")
    theirs, ours = torch.load(tmp_path / "out.pt")
    with torch.no_grad():
        torch.testing.assert_close(theirs, model.trunk(images), rtol=1e-4, atol=1e-4)
    expected = embed_images(model.network(14), batch, view_size=14, mirror=False)
    torch.testing.assert_close(ours, torch.from_numpy(expected), rtol=1e-4, atol=1e-4)


PAIRS = [(1, 2, 1), (1, 3, 0), (3, 4, 1), (5, 6, 0), (2, 6, 1)]
FROM_112 = "btnet_r18_14_from112"


@pytest.fixture(scope="module")
def ijbc(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six noise faces as templates of one picture each, in the layout of IJB-C."""
    folder = tmp_path_factory.mktemp("ijbc")
    (folder / "meta").mkdir()
    (folder / "loose_crop").mkdir()
    landmarks = " ".join(f"{value:.4f}" for value in TEMPLATE.ravel())
    names, media = [], []
    for i, image in enumerate(faces(6)):
        cv2.imwrite(str(folder / "loose_crop" / f"{i}.png"), image[..., ::-1])
        names.append(f"{i}.png {landmarks} 1.0\n")
        media.append(f"{i}.png {i + 1} {i + 1}\n")
    (folder / "meta" / "ijbc_name_5pts_score.txt").write_text("".join(names))
    (folder / "meta" / "ijbc_face_tid_mid.txt").write_text("".join(media))
    (folder / "meta" / "ijbc_template_pair_label.txt").write_text(
        "".join(f"{a} {b} {same}\n" for a, b, same in PAIRS)
    )
    return folder


def ijbc_scores(model: BTNet) -> NDArray[np.float64]:
    embeddings = unit(embed_images(model.network(14), faces(6), view_size=14, mirror=True))
    return np.array([embeddings[a - 1] @ embeddings[b - 1] for a, b, _ in PAIRS])


def test_the_ijbc_script_scores_a_branch_as_we_do(
    scripts: Scripts, model: BTNet, branch_file: Path, ijbc: Path, tmp_path: Path
) -> None:
    options: dict[str, str | Path] = {
        "model-prefix": branch_file,
        "image-path": ijbc,
        "result-dir": tmp_path / "out",
        "batch-size": "4",
        "network": FROM_112,
        "job": "branch",
        "target": "IJBC",
    }
    scripts("eval_ijbc.py", *(f"--{name}={value}" for name, value in options.items()))
    found = np.load(tmp_path / "out" / "branch" / "ijbc.npy")
    # warpAffine by the identity is exact, but its fixed-point coordinates may be off it by a level
    np.testing.assert_allclose(found, ijbc_scores(model), atol=5e-3)


@pytest.fixture(scope="module")
def onnx_folder(scripts: Scripts, branch_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("onnx")
    scripts("torch2onnx.py", branch_file, "--output", folder / "a.onnx", "--network", FROM_112)
    return folder


def check_graph(path: Path, model: BTNet) -> None:
    session = onnxruntime.InferenceSession(str(path))
    for count in (1, 4):
        batch = faces(count)
        images = normalise(torch.from_numpy(batch).permute(0, 3, 1, 2)).numpy()
        [found] = session.run(None, {"data": images})
        expected = embed_images(model.network(14), batch, view_size=14, mirror=False)
        np.testing.assert_allclose(unit(found), unit(expected), atol=1e-4)


def test_the_onnx_script_exports_a_branch_that_takes_112_px(onnx_folder: Path, model: BTNet) -> None:
    assert [path.name for path in onnx_folder.iterdir()] == ["a.onnx"]
    check_graph(onnx_folder / "a.onnx", model)


@pytest.mark.nightly
@pytest.mark.skipif(
    Version(torch.__version__) < Version("2.7"),
    reason="the newer exporter of this torch cannot trace our networks",
)
def test_the_onnx_script_exports_a_branch_with_the_newer_exporter_too(
    checkout: Path, scripts: Scripts, model: BTNet, branch_file: Path, tmp_path: Path
) -> None:
    script = (checkout / "torch2onnx.py").read_text()
    assert "dynamo=False" in script or not installed().dynamo_export
    newer = re.sub(r"(opset_version=\w+)(, dynamo=False)?", r"\1, dynamo=True", script)
    (checkout / "torch2onnx_newer.py").write_text(newer)
    scripts("torch2onnx_newer.py", branch_file, "--output", tmp_path / "a.onnx", "--network", FROM_112)
    check_graph(tmp_path / "a.onnx", model)


def test_the_onnx_ijbc_script_scores_a_branch_as_we_do(
    scripts: Scripts, model: BTNet, onnx_folder: Path, ijbc: Path
) -> None:
    scripts("onnx_ijbc.py", f"--model-root={onnx_folder}", f"--image-path={ijbc}", "--target=IJBC")
    found = np.load(onnx_folder / "IJBC_result" / "IJBC.npy")
    np.testing.assert_allclose(found, ijbc_scores(model), atol=5e-3)


def test_the_onnx_helper_accepts_a_branch(scripts: Scripts, onnx_folder: Path) -> None:
    text = scripts("onnx_helper.py", onnx_folder, "--track=unconstrained")
    # on a busy machine it may find the network slow, which it asks last
    assert re.search(r"err: (None|max time cost exceed)", text), text


def test_the_inference_script_embeds_as_we_do(
    scripts: Scripts, model: BTNet, branch_file: Path, tmp_path: Path
) -> None:
    [face] = faces(1)
    cv2.imwrite(str(tmp_path / "face.png"), face[..., ::-1])
    options = (f"--network={FROM_112}", f"--weight={branch_file}", f"--img={tmp_path / 'face.png'}")
    text = scripts("inference.py", *options)
    found = np.array([[float(number) for number in text[text.index("[[") :].strip().strip("[]").split()]])
    expected = embed_images(model.network(14), face[None], view_size=14, mirror=False)
    np.testing.assert_allclose(unit(found), unit(expected), atol=1e-5)


@pytest.mark.parametrize(("name", "gmacs"), [("r18", 2.61), ("btnet_r18_14_from112", 1.14)])
def test_the_flops_script_counts_our_networks(scripts: Scripts, name: str, gmacs: float) -> None:
    text = scripts("flops.py", name)
    found = re.search(r"^([\d.]+) GFLOPs", text, re.MULTILINE)
    assert found is not None
    assert float(found[1]) == pytest.approx(gmacs, rel=0.02)  # it also counts normalisations


def unit(embeddings: NDArray[Any]) -> NDArray[Any]:
    found: NDArray[Any] = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    return found


@pytest.fixture(scope="module")
def trained(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Output of the loop that was interrupted and resumed; trunk.pt and classifier.safetensors went in."""
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
    with RecordWriter(folder / "train.rec") as records:
        records.write(0, Header(2, np.array([NUM_IMAGES + 1, NUM_IMAGES + 1])), b"")
        for key, image in enumerate(faces(NUM_IMAGES), 1):
            records.write(key, Header(0, key % NUM_CLASSES, key), encode_png(image))
    for epochs in (1, 2):
        (checkout / "configs" / "branch.py").write_text(
            "from easydict import EasyDict\n"
            f"config = EasyDict(network='r18', output={str(folder)!r}, rec={str(folder)!r}, embedding_size=16,\n"
            f"    num_classes={NUM_CLASSES}, num_image={NUM_IMAGES}, num_epoch={epochs}, warmup_epoch=0,\n"
            f"    batch_size={NUM_IMAGES // STEPS_PER_EPOCH // WORLD_SIZE}, lr=0.02, weight_decay=5e-4, fp16=False,\n"
            "    verbose=2, frequent=1, val_targets=['noise'], save_all_states=True, num_workers=0,\n"
            f"    trunk={str(folder / 'trunk.pt')!r}, resolution=14, classifier={str(folder)!r},\n"
            f"    resume={epochs > 1})\n"
        )
        (folder / f"log{epochs}.txt").write_text(run_loop(checkout, "configs/branch.py"))
    return folder


@pytest.mark.nightly
def test_the_loop_trains_the_branch_and_nothing_else(trained: Path) -> None:
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
    assert counts == {key: int(trunk[key]) + 2 * STEPS_PER_EPOCH for key in counts}


@pytest.mark.nightly
def test_the_resumed_loop_goes_on_where_it_was(trained: Path) -> None:
    first, second = ((trained / f"log{epochs}.txt").read_text() for epochs in (1, 2))
    assert re.search(r"\[noise\]\[2\]Accuracy-Flip", first)
    assert re.search(r"\[noise\]\[4\]Accuracy-Flip", second)
    assert "[noise][2]" not in second


@pytest.mark.nightly
def test_the_loop_keeps_the_old_classifier(trained: Path) -> None:
    expected = load_classifier(trained / "classifier.safetensors").weight
    assert torch.equal(merge_classifier_shards(trained, num_classes=NUM_CLASSES), expected)


@pytest.mark.nightly
def test_the_verification_callback_scores_the_branch_as_we_do(trained: Path) -> None:
    found = re.search(r"\[noise\]\[4\]Accuracy-Flip: ([\d.]+)\+-([\d.]+)", (trained / "log2.txt").read_text())
    assert found is not None
    network = import_authors(trained / "trunk.pt", {14: trained / "model.pt"}).model.network(14).eval()
    images, issame = read_bin(trained / "noise.bin")
    embeddings = embed_images(network, np.stack(list(images)), view_size=14, mirror=True)
    expected = kfold_accuracy(embeddings[0::2], embeddings[1::2], np.array(issame))
    np.testing.assert_allclose([float(found[1]), float(found[2])], expected, atol=1e-5)


@pytest.mark.nightly
def test_what_the_loop_wrote_converts_to_a_model_folder(trained: Path, tmp_path: Path) -> None:
    branch = f"14={trained / 'model.pt'}"
    assert (
        main(["convert-authors", str(trained / "trunk.pt"), "--branch", branch, "-o", str(tmp_path / "out")])
        == 0
    )
    model = BTNet.load(tmp_path / "out")
    found = model.full_state_dict(14)
    written = torch.load(trained / "model.pt", weights_only=True)
    assert found.keys() == written.keys()
    assert all(torch.equal(found[key], written[key]) for key in written)


def test_taking_it_back_leaves_the_checkout_as_it_was(checkout: Path) -> None:
    source = Path(CHECKOUT).expanduser() if CHECKOUT else HERE / "arcface_stand_in"
    copy = checkout.with_name(f"{checkout.name}_back")
    shutil.copytree(checkout, copy)
    assert main(["arcface-setup", str(copy), "--undo"]) == 0
    for path in source.rglob("*.py"):
        assert (copy / path.relative_to(source)).read_bytes() == path.read_bytes(), path
