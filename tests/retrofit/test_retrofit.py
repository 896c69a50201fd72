"""`btnet retrofit` from a trunk and faces to a package: rendered faces, a tiny trunk, a few steps."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import btnet.retrofit.judge as judging
import btnet.retrofit.package as package
import btnet.retrofit.recipe as recipe
import btnet.retrofit.retrofit as stages
from btnet.backbones.iresnet import IResNet
from btnet.backbones.trunk_file import load_trunk, write_weights
from btnet.cli import main
from btnet.data.faces import Subset
from btnet.detection import Detections
from btnet.images.codec import encode_jpeg
from btnet.images.resize import resize
from btnet.interop import export_onnx
from btnet.method.btnet import BTNet
from btnet.model_folder.manifest import read_manifest
from btnet.retrofit.faces import open_any_faces
from btnet.retrofit.split import hold_out, similar_groups
from btnet.retrofit.trunk import find_trunk, open_trunk
from btnet.serving.alignment import template
from btnet.serving.embedding import embed_images
from btnet.serving.recognizer import Recognizer
from btnet.synthetic.faces import SyntheticFaces
from btnet.training.checkpoint import Checkpoints

PEOPLE, EACH = 60, 3
Images = NDArray[np.uint8]


@pytest.fixture(scope="module")
def images() -> Images:
    """Photographs of a person are more alike than rendered ones: a random trunk shall see that they are of one."""
    faces = SyntheticFaces(PEOPLE, EACH)
    rendered = np.stack([faces[i][0] for i in range(len(faces))]).astype(np.float32)
    mean = rendered.reshape(PEOPLE, EACH, *rendered.shape[1:]).mean(axis=1).repeat(EACH, axis=0)
    return np.asarray(0.8 * mean + 0.2 * rendered, np.uint8)


@pytest.fixture(scope="module")
def folder(images: Images, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`model.pt`, the same faces with identities and without."""
    folder = tmp_path_factory.mktemp("retrofit")
    write_weights(folder / "model.pt", _trunk_of(images).state_dict())
    for i, image in enumerate(images):
        for path in (folder / "people" / str(i // EACH) / f"{i}.jpg", folder / "faces" / f"{i}.jpg"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encode_jpeg(image))
    return folder


def _trunk_of(images: Images) -> IResNet:
    """A random trunk whose statistics are those of the faces: its embeddings of two people are unlike."""
    torch.manual_seed(0)
    trunk = IResNet((1, 1, 1, 1), widths=(16, 16, 16, 16), canonical_size=112, embedding_size=64)
    norms = [m for m in trunk.modules() if isinstance(m, (torch.nn.BatchNorm1d, torch.nn.BatchNorm2d))]
    for norm in norms:
        norm.momentum = 1.0
    with torch.no_grad():
        trunk.train()(torch.from_numpy(images).permute(0, 3, 1, 2) / 127.5 - 1)
    return trunk.eval()


@pytest.fixture(autouse=True)
def two_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipe, "_FEWEST", 64)
    monkeypatch.setattr(recipe, "_MOST", 64)
    monkeypatch.setattr(recipe, "_PASSES", 1)
    monkeypatch.setattr(recipe, "_WORKERS", {"cpu": 0})
    monkeypatch.setattr(stages, "seconds_per_step", lambda *_: 0.01)
    monkeypatch.setattr(judging, "SIZES", (7, 14, 20, 28))


@pytest.fixture
def light(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without ONNX files, pictures and thresholds, which take seconds."""
    monkeypatch.setattr(package, "find_spec", lambda _: None)
    monkeypatch.setattr(package, "calibrate", lambda *_, **__: _refuse("no time"))


def _refuse(text: str) -> None:
    raise ValueError(text)


def run(folder: Path, faces: str, output: Path, *options: str) -> int:
    return main(
        [
            "retrofit",
            str(folder / "model.pt"),
            str(folder / faces),
            "-o",
            str(output),
            "--device",
            "cpu",
            *options,
        ]
    )


@pytest.mark.parametrize("faces", ["people", "faces"])
def test_a_trunk_and_faces_become_a_package_that_serves(
    faces: str, folder: Path, images: Images, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "cameras"
    assert run(folder, faces, output, "--force", "--faces-licence", "CC0") == 0
    assert [path.name for path in tmp_path.iterdir()] == ["cameras"]
    manifest = read_manifest(output)
    assert manifest["resolutions"] == [28, 14, 7]
    assert manifest["retrofit"]["has_identities"] == (faces == "people")
    assert {"model.pt", "overlay_r7.safetensors", "README.md", "onnx/btnet.json"} <= set(manifest["files"])
    assert "CC0" in (output / "README.md").read_text()
    last = capsys.readouterr().out.splitlines()[-3:]
    assert last[0].startswith("20 px: ")
    assert str(output) in last[1]
    assert last[2].startswith("next: ")
    # The trunk is the same to the bit, and so what it embeds.
    before = load_trunk(folder / "model.pt").state_dict()
    assert all(torch.equal(before[key], value) for key, value in load_trunk(output).state_dict().items())
    crops = [images[0][:13, :13], images[0]]
    np.testing.assert_allclose(
        Recognizer.load(output, backend="onnxruntime").embed(crops),
        Recognizer.load(output).embed(crops),
        atol=1e-3,
    )


@pytest.mark.usefixtures("light")
def test_it_goes_on_where_it_was_killed_and_ends_the_same(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stages, "_SAVE_SECONDS", 0)
    assert run(folder, "faces", tmp_path / "whole", "--force") == 0
    save = Checkpoints.save

    def save_and_stop(self: Checkpoints, step: int) -> None:
        save(self, step)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "save", save_and_stop)
        assert run(folder, "faces", tmp_path / "parts", "--force") == 130
    assert not (tmp_path / "parts").exists()
    assert run(folder, "people", tmp_path / "parts", "--force") == 2  # not the run that was interrupted
    assert run(folder, "faces", tmp_path / "parts", "--force") == 0
    assert "going on after step 1" in (tmp_path / "parts" / "train.log").read_text()
    one, other = (BTNet.load(tmp_path / name).overlay(14).tensors for name in ("whole", "parts"))
    assert all(torch.equal(value, other[key]) for key, value in one.items())


@pytest.mark.usefixtures("light")
def test_a_branch_worse_than_the_trunk_is_not_published_unless_forced(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    judge = judging.judge

    def worse(*args: Any) -> Any:
        judged = judge(*args)
        return judged._replace(branches={28: "better", 14: "worse", 7: "not shown to be better"})

    monkeypatch.setattr(stages, "judge", worse)
    assert run(folder, "people", tmp_path / "out") == 1
    assert "14 px is significantly worse" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert run(folder, "people", tmp_path / "out", "--force") == 0
    assert "7 px not shown to be better" in capsys.readouterr().out
    assert "7 px not shown to be better" in (tmp_path / "out" / "README.md").read_text()


@pytest.mark.usefixtures("light")
def test_an_older_package_is_replaced_only_on_request_and_only_by_a_whole_one(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "out"
    output.mkdir()
    (output / "older").touch()
    assert run(folder, "faces", output, "--force") == 2
    with monkeypatch.context() as patch:
        patch.setattr(stages, "write_package", lambda *_: _refuse("disk full"))
        assert run(folder, "faces", output, "--force", "--overwrite") == 2
    assert (output / "older").exists()
    assert run(folder, "faces", output, "--force", "--overwrite") == 0
    assert not (output / "older").exists()
    assert read_manifest(output)["retrofit"]["faces"] == "faces"


def test_near_duplicates_are_never_on_both_sides(folder: Path, images: Images, tmp_path: Path) -> None:
    shutil.copytree(folder / "faces", tmp_path / "faces")
    for i in range(0, len(images), 2):  # the same photographs, a little brighter
        (tmp_path / "faces" / f"again_{i}.jpg").write_bytes(encode_jpeg(np.minimum(images[i], 250) + 5))
    faces = open_any_faces(str(tmp_path / "faces"), tmp_path / "aligned")
    trunk = load_trunk(folder / "model.pt")
    split = hold_out(faces, trunk, "faces")
    assert len(split.held_out) >= 60
    assert len(split.train) + len(split.held_out) == len(faces)

    def embedded(rows: NDArray[np.int64]) -> NDArray[np.float32]:
        found = embed_images(trunk, np.stack([faces[int(i)][0] for i in rows]), mirror=False)
        return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True), np.float32)

    assert (embedded(split.train) @ embedded(split.held_out).T).max() <= split.threshold
    labels = np.arange(6) % 3
    chain = np.eye(6, 8, dtype=np.float32)
    chain[4] = chain[3]
    assert len(np.unique(similar_groups(chain, 0.9, np.arange(6)))) == 5
    assert similar_groups(chain, 0.9, labels).tolist() == [0, 0, 1, 0, 0, 1]


def test_people_are_held_out_whole_and_folders_that_are_no_people_are_seen(
    folder: Path, tmp_path: Path
) -> None:
    trunk = load_trunk(folder / "model.pt")
    faces = open_any_faces(str(folder / "people"), tmp_path / "aligned")
    split = hold_out(faces, trunk, "people")
    labels = np.asarray(faces.labels)
    assert split.has_identities
    assert not set(labels[split.train]) & set(labels[split.held_out])
    for path in (folder / "faces").iterdir():
        day = tmp_path / "days" / str(int(path.stem) % 7)
        day.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, day)
    by_day = open_any_faces(str(tmp_path / "days"), tmp_path / "aligned")
    assert by_day.num_classes == 7
    assert not hold_out(by_day, trunk, "days").has_identities


def test_the_schedule_keeps_to_the_time_and_uses_all_of_it() -> None:
    plan = recipe.plan(1000, 32, 0.5, 100)
    assert plan.num_faces * plan.num_passes <= 200 * 32
    recipe._MOST, recipe._FEWEST = 140_000, 60_000  # what the fixture sets back
    for seconds in (60, 333, 1000):
        plan = recipe.plan(1000, 32, 0.5, seconds)
        assert 0.8 * seconds < plan.seconds <= seconds
    assert recipe.plan(1_000_000, 128, 0.1, None).num_passes == 2
    with pytest.raises(ValueError, match="more --minutes"):
        recipe.plan(1000, 32, 0.5, 3)


def _one_person(folder: Path, tmp_path: Path) -> str:
    faces = SyntheticFaces(1, 130)
    (tmp_path / "one").mkdir()
    for i in range(len(faces)):
        (tmp_path / "one" / f"{i}.jpg").write_bytes(encode_jpeg(faces[0][0] // 5 * 4 + faces[i][0] // 5))
    return "one"


def _thirty(folder: Path, tmp_path: Path) -> str:
    (tmp_path / "few").mkdir()
    for i in range(30):
        shutil.copy(folder / "faces" / f"{i}.jpg", tmp_path / "few")
    return "few"


def _nothing(folder: Path, tmp_path: Path) -> str:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.txt").write_text("no face")
    return "empty"


@pytest.mark.parametrize(
    ("faces", "told"),
    [
        (_one_person, "one person"),
        (_thirty, "30 faces; at least 120"),
        (_nothing, "no image"),
        (None, "no such file"),
    ],
)
def test_faces_that_will_not_do_get_a_sentence(
    faces: Callable[[Path, Path], str] | None,
    told: str,
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    name = "absent" if faces is None else faces(folder, tmp_path)
    assert (
        main(["retrofit", str(folder / "model.pt"), str(tmp_path / name), "-o", str(tmp_path / "out")]) == 2
    )
    assert told in capsys.readouterr().err
    assert not list(tmp_path.glob("out*"))


def test_what_is_no_trunk_is_named(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"buffalo_x: no such trunk; .*packs in .*: none"):
        find_trunk("buffalo_x")
    with pytest.raises(ValueError, match="expected one trunk in this folder"):
        find_trunk(str(folder / "faces"))
    (tmp_path / "a.pt").write_text("no weights")
    with pytest.raises(ValueError, match=r"a\.pt"):
        open_trunk(find_trunk(str(tmp_path / "a.pt")), np.empty(0, np.uint8))


def test_a_pack_of_insightface_is_a_trunk_by_its_recognition_model(
    folder: Path, images: Images, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    pack = tmp_path / ".insightface" / "models" / "my_pack"
    pack.mkdir(parents=True)
    trunk = load_trunk(folder / "model.pt")
    export_onnx(trunk, pack / "w600k.onnx")
    export_onnx(BTNet(trunk, (28,)), pack / "genderage.onnx", resolution=28)
    found = find_trunk("my_pack")
    assert found.name == "w600k.onnx"
    imported = open_trunk(found, images)
    np.testing.assert_allclose(
        embed_images(imported, images[:4], mirror=False),
        embed_images(trunk, images[:4], mirror=False),
        atol=1e-2,
    )


def test_a_subset_is_told_from_another_and_from_the_whole(folder: Path, tmp_path: Path) -> None:
    faces = open_any_faces(str(folder / "people"), tmp_path / "aligned")
    one, other = Subset(faces, np.array([0, 5])), Subset(faces, np.array([0, 6]))
    assert len({one.fingerprint(), other.fingerprint(), faces.fingerprint()}) == 3
    np.testing.assert_array_equal(one[1][0], faces[5][0])
    assert one.labels.tolist() == [faces[0][1], faces[5][1]]


class _WholeImage:
    """A detector that takes each image for one upright face; of grey ones it finds none."""

    name = "test"

    def detect(self, image: Images) -> Detections:
        found = int(len(np.unique(image)) > 2)
        points = template(min(image.shape[:2])).astype(np.float32)[None]
        return Detections(np.zeros((found, 4), np.float32), points[:found], np.ones(found, np.float32))


def test_photographs_are_aligned_once_and_holiday_pictures_without_faces_refused(
    images: Images, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("btnet.detection.open_detector", lambda _: _WholeImage())
    grey = np.full((90, 120, 3), 99, np.uint8)
    pictures = {"photos/1.jpg": resize(images[0], 160, "bilinear"), "photos/sky.jpg": grey, "sky/1.jpg": grey}
    for name, picture in pictures.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(encode_jpeg(picture))
    faces = open_any_faces(str(tmp_path / "photos"), tmp_path / "aligned")
    assert [faces[i][0].shape for i in range(len(faces))] == [(112, 112, 3)]
    assert "sky.jpg" in (tmp_path / "aligned.left_out.tsv").read_text()
    monkeypatch.setattr("btnet.detection.open_detector", lambda _: pytest.fail("aligned a second time"))
    assert len(open_any_faces(str(tmp_path / "photos"), tmp_path / "aligned")) == 1
    monkeypatch.setattr("btnet.detection.open_detector", lambda _: _WholeImage())
    with pytest.raises(ValueError, match="no face"):
        open_any_faces(str(tmp_path / "sky"), tmp_path / "no_aligned")
