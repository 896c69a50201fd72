"""The teacher cache: equal answers, resumable, and refused where it would lie."""

from __future__ import annotations

import json
import shutil
from collections import namedtuple
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor

from btnet.backbones.iresnet import IResNet
from btnet.data.faces import FaceSet
from btnet.data.views import flip, flip_mask
from btnet.training.config_file import load_config
from btnet.training.distributed import Context
from btnet.training.meters import LossWindow
from btnet.training.run import train
from btnet.training.teacher import Answer, TrunkTeacher
from btnet.training.teacher_cache import CachedTeacher, cached
from btnet.training.teacher_cache_file import BLOCK, CacheFiles

ROOT = Path(__file__).parents[2]
CONTEXT = Context(0, 1, torch.device("cpu"), torch.float32)
COUPLINGS = ("layer2.0", "layer3.0")
IMAGES = BLOCK + 6  # two blocks


class Faces:
    """Small pictures of noise, told apart by their position."""

    def __init__(self, num_images: int = IMAGES) -> None:
        self.num_images = num_images

    def __len__(self) -> int:
        return self.num_images

    def __getitem__(self, index: int) -> tuple[NDArray[np.uint8], int]:
        generator = np.random.default_rng(index)
        return generator.integers(0, 256, (32, 32, 3), dtype=np.uint8), index % 2

    num_classes = 2
    class_names = ("a", "b")
    labels = np.arange(IMAGES) % 2

    def describe(self, index: int) -> str:
        return f"noise {index}"

    def fingerprint(self) -> str:
        return f"noise of {self.num_images}"


def as_set(faces: Faces) -> FaceSet:
    return faces  # type: ignore[return-value]


def trunk(seed: int = 0) -> IResNet:
    torch.manual_seed(seed)
    network = IResNet((1, 1, 1, 1), widths=(4, 4, 6, 8), embedding_size=8, canonical_size=32).eval()
    for parameter in network.parameters():
        if parameter.ndim > 1:
            torch.nn.init.kaiming_normal_(parameter)
    return network.requires_grad_(False)


def teacher(network: IResNet | None = None, **changes: Any) -> TrunkTeacher:
    values: dict[str, Any] = {"couplings": COUPLINGS, "embeds": True, "context": CONTEXT}
    return TrunkTeacher(network or trunk(), **values | changes)


def open_cache(folder: Path, source: TrunkTeacher | None = None, **changes: Any) -> CachedTeacher:
    values: dict[str, Any] = {"trunk_fingerprint": "t", "interpolation": "bilinear", "num_workers": 0}
    faces = changes.pop("faces", Faces())
    return cached(source or teacher(), folder, as_set(faces), **values | changes)


def batch(faces: Faces, keys: list[int]) -> tuple[Tensor, Tensor, Tensor]:
    numbers = torch.tensor(keys)
    mirrored = flip_mask(numbers, seed=1, epoch=2)
    images = torch.stack([torch.from_numpy(faces[key][0]).permute(2, 0, 1) for key in keys])
    return flip(images, mirrored), numbers, mirrored


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_read_answers_are_the_trunks_to_float16(layout: torch.memory_format, tmp_path: Path) -> None:
    network = trunk()
    keys = [5, 69, 0, 64, 33, 12]
    images, numbers, mirrored = batch(Faces(), keys)
    assert 0 < int(mirrored.sum()) < len(keys)
    source = teacher(network, context=replace(CONTEXT, memory_format=layout))
    features, embedding = open_cache(tmp_path / "cache", source)(images, numbers, mirrored)
    expected, expected_embedding = source(images, numbers, mirrored)
    assert embedding is not None
    assert expected_embedding is not None
    for found, true in [(embedding, expected_embedding), *((features[k], expected[k]) for k in COUPLINGS)]:
        assert found.dtype == torch.float16
        torch.testing.assert_close(found.float(), true, rtol=2**-10, atol=1e-4 * float(true.abs().max()))
    for value in features.values():
        assert value.is_contiguous(memory_format=layout)


class CountingTeacher:
    """Counts the images that pass through the trunk, and stops after some."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, limit: float = float("inf")) -> None:
        self.images, self.limit = 0, limit
        original = TrunkTeacher.__call__

        def call(this: TrunkTeacher, images: Tensor, keys: Tensor, mirrored: Tensor) -> Answer:
            self.images += len(images)
            if self.images > self.limit:
                raise KeyboardInterrupt
            return original(this, images, keys, mirrored)

        monkeypatch.setattr(TrunkTeacher, "__call__", call)


def test_a_build_that_was_killed_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_cache(tmp_path / "whole")
    with monkeypatch.context() as patch:
        CountingTeacher(patch, limit=1 + 2 * BLOCK)  # one image for the shapes, one block, both views
        with pytest.raises(KeyboardInterrupt):
            open_cache(tmp_path / "parts")
    assert (tmp_path / "parts" / "done.u8").read_bytes() == bytes([1, 0])
    # what a killed process wrote last, and did not come to tell
    with open(tmp_path / "parts" / "layer2.0.f16", "r+b") as file:
        file.seek(-10, 2)
        file.write(b"torn")
    with monkeypatch.context() as patch:
        counter = CountingTeacher(patch)
        open_cache(tmp_path / "parts")
        assert counter.images == 1 + 2 * (IMAGES - BLOCK)
        open_cache(tmp_path / "parts")
        assert counter.images == 2 + 2 * (IMAGES - BLOCK)
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")


def test_what_was_made_of_something_else_is_refused_with_the_reason(tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    open_cache(folder, teacher(couplings=COUPLINGS[:1], embeds=False))
    half = Context(0, 1, torch.device("cpu"), torch.bfloat16)
    cases: list[tuple[str, TrunkTeacher | None, dict[str, Any]]] = [
        ("its trunk fingerprint is t, that of this run u", None, {"trunk_fingerprint": "u"}),
        ("its data fingerprint is noise of 70, .*noise of 71", None, {"faces": Faces(71)}),
        ("its precision is float32, .*bfloat16", teacher(context=half), {}),
        (
            "its layout is channels_last",
            teacher(context=replace(CONTEXT, memory_format=torch.contiguous_format)),
            {},
        ),
        (r"its shapes is .*'layer3.0': None.*, that of this run .*'layer3.0': \(4, 4, 6\)", None, {}),
        ("its shapes is .*'embedding': None", teacher(couplings=COUPLINGS[:1]), {}),
    ]
    for message, source, changes in cases:
        with pytest.raises(ValueError, match=f"stale teacher cache: .*{message}.*remove {folder}"):
            open_cache(folder, source, **changes)


def test_a_cache_with_more_layers_serves_a_run_with_fewer(tmp_path: Path) -> None:
    open_cache(tmp_path / "cache")
    images, keys, mirrored = batch(Faces(), [1, 2])
    few = open_cache(tmp_path / "cache", teacher(couplings=COUPLINGS[1:], embeds=False))
    features, embedding = few(images, keys, mirrored)
    assert (list(features), embedding) == ([COUPLINGS[1]], None)


@pytest.mark.parametrize("factor", [1e6, float("nan")])
def test_a_feature_beyond_float16_is_refused_with_the_image(factor: float, tmp_path: Path) -> None:
    network = trunk()
    with torch.no_grad():
        network.get_parameter("layer3.0.conv2.weight").mul_(factor)
    with pytest.raises(
        ValueError, match=r"noise 0: the trunk's layer3.0 reaches .*65504.*leave teacher_cache empty"
    ):
        open_cache(tmp_path, teacher(network))


def test_a_disk_without_the_room_is_refused_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 10**9, 1000))
    needed = IMAGES * 2 * 2 * (8 * 8 * 4 + 4 * 4 * 6 + 8)
    with pytest.raises(
        OSError, match=rf"no room .* {IMAGES} images: {needed / 1e9:.3g} GB are needed, 1e-06 GB"
    ):
        open_cache(tmp_path)
    assert (tmp_path / "done.u8").read_bytes() == bytes(2)


def test_a_view_that_is_augmented_is_noticed_at_the_first_batch(tmp_path: Path) -> None:
    images, keys, mirrored = batch(Faces(), [1, 2, 3])
    blurred = images.clone()
    blurred[1] = (images[1].float() * 0.7).to(torch.uint8)
    with pytest.raises(
        ValueError, match=r"of noise 2 differs from the trunk's by \d+ %: .*more than the flip"
    ):
        open_cache(tmp_path / "cache")(blurred, keys, mirrored)


def test_damaged_files_are_named(tmp_path: Path) -> None:
    open_cache(tmp_path)
    header = tmp_path / "teacher_cache.json"
    text = header.read_text()
    header.write_text(json.dumps(json.loads(text) | {"version": 9}))
    with pytest.raises(ValueError, match=r"teacher_cache.json: format .* 9\), this version reads"):
        open_cache(tmp_path)
    header.write_text("{}")
    with pytest.raises(ValueError, match="not the header of a teacher cache"):
        open_cache(tmp_path)
    header.write_text(text)
    (tmp_path / "layer2.0.f16").write_bytes(b"short")
    with pytest.raises(ValueError, match=r"layer2.0.f16: expected a file of \d+ bytes"):
        open_cache(tmp_path)
    with pytest.raises(FileNotFoundError, match="all of them see"):
        CacheFiles(tmp_path / "elsewhere", None)  # type: ignore[arg-type]


def test_a_run_with_a_cache_learns_what_one_without_learns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    network = IResNet((1, 1, 1, 1), widths=(8, 8, 8, 8), embedding_size=8)
    torch.save(network.state_dict(), tmp_path / "trunk.pt")
    losses: dict[str, list[dict[str, float]]] = {}
    add = LossWindow.add
    for name, cache in {"plain": "", "building": "cache", "reading": "cache"}.items():
        seen = losses[name] = []

        def record(this: LossWindow, step: int, rate: float, values: Any, seen: Any = seen) -> None:
            seen.append({key: float(value) for key, value in values.items()})
            add(this, step, rate, values)

        monkeypatch.setattr(LossWindow, "add", record)
        overrides = {
            "rec": "synthetic:4:3", "num_epoch": 2, "batch_size": 4, "num_workers": 0, "lr": 0.01, "device": "cpu",
            "trunk": tmp_path / "trunk.pt", "output": tmp_path / name, "embedding_loss_weight": 0.1,
            "teacher_cache": tmp_path / cache if cache else "",
        }  # fmt: skip
        train(load_config(ROOT / "configs" / "retrofit_r14", [f"{k}={v}" for k, v in overrides.items()]))
    assert len(losses["plain"]) == 6
    for step, expected in enumerate(losses["plain"]):
        assert losses["building"][step] == pytest.approx(losses["reading"][step], rel=1e-6)
        assert losses["reading"][step] == pytest.approx(expected, rel=2e-3)
    overlays = [load_file(tmp_path / name / "overlay_r14.safetensors") for name in ("plain", "reading")]
    for key, value in overlays[0].items():
        torch.testing.assert_close(overlays[1][key], value, rtol=2e-3, atol=2e-3)


def test_a_run_without_a_teacher_refuses_a_cache(tmp_path: Path) -> None:
    small = ["rec=synthetic:4:3", "batch_size=4", "num_workers=0", f"output={tmp_path}", "teacher_cache=x"]
    with pytest.raises(ValueError, match="teacher_cache='x' has no effect, as nothing in this run learns"):
        train(load_config(ROOT / "configs" / "demo_hr", small))
