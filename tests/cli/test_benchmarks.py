"""The benchmark commands, end to end on miniatures, against the same path written out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import miniatures
from btnet.cli import main
from btnet.evaluation.identification import open_set
from btnet.evaluation.rates import tar_at_fars, tar_at_nearest_fars
from btnet.evaluation.templates import TemplateOptions, identity_means
from btnet.public_sets.native_sets import read_survface_identification
from btnet.serving.alignment import align_face
from btnet.serving.embedding import embed_images
from btnet.serving.feature_file import FeatureFile
from btnet.serving.loading import load_model
from btnet.serving.selection import STRATEGIES, selected_sizes

LANDMARKS = (miniatures.TEMPLATE + 10).astype(np.float32)


def loose_crops() -> list[Any]:
    """The images of the miniature IJB-C, in its order."""
    faces = [miniatures.face(p, s) for p in range(miniatures.PEOPLE) for s in range(miniatures.SHOTS)]
    return [np.pad(face, ((10, 10), (10, 10), (0, 0)), mode="edge") for face in faces]


@pytest.fixture(scope="module")
def ijbc(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return miniatures.ijb(tmp_path_factory.mktemp("ijbc") / "IJBC")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return miniatures.tiny_model(tmp_path_factory.mktemp("model") / "phi_bt")


def evaluate(command: str, model: Path, tmp_path: Path, *options: object) -> dict[str, Any]:
    output = tmp_path / "out.json"
    argv = [command, model, *options, "--device", "cpu", "--output", output]
    if command != "evaluate":
        argv += ["--features", tmp_path / "features"]
    assert main([str(word) for word in argv]) == 0
    content: dict[str, Any] = json.loads(output.read_text())
    return content


def test_survface_scores_all_nine_strategies_as_serving_embeds_each(model: Path, tmp_path: Path) -> None:
    root = miniatures.survface(tmp_path / "data")
    content = evaluate("survface", model, tmp_path, "--root", root)
    [found] = content["sets"]
    by_key = {(r["strategy"], r["scorer"]): r for r in found["results"]}
    assert len(by_key) == 18
    faces = read_survface_identification(root)
    crops = [faces.images[i] for i in range(len(faces.images))]
    groups = faces.groups
    loaded = load_model(model)
    for strategy in STRATEGIES:
        embeddings = loaded.embed(crops, selected_sizes(loaded, crops, strategy))
        prototypes, people = identity_means(embeddings[groups["gallery"].rows], groups["gallery"].ids)
        expected = open_set(
            prototypes,
            people,
            embeddings[groups["mated"].rows],
            groups["mated"].ids,
            embeddings[groups["unmated"].rows],
        )
        entry = by_key[strategy.label, "exact"]
        # Twelve strangers carry no FPIR of 0.01.
        assert entry["tpir20"] == {
            f"{f:g}": None if f == 0.01 else value for f, value in expected.tpir.items()
        }
        assert entry["auc"] == pytest.approx(expected.auc)
        assert sum(entry["faces_by_resolution"].values()) == len(crops)
    assert {"task", "protocol", "interpolation", "models", "versions"} <= set(content)
    assert set(content["models"][0]["networks"]) == {"32", "8"}
    assert found["sha256"] == faces.checksum


def test_survface_verification_and_the_closed_sets_end_to_end(
    model: Path, tmp_path: Path, capsys: Any
) -> None:
    root = miniatures.survface(tmp_path / "survface")
    content = evaluate("survface", model, tmp_path, "--root", root, "--task", "verification")
    assert content["sets"][0]["num_pairs"] == 24
    assert all(0 <= r["auc"] <= 1 for r in content["sets"][0]["results"])
    content = evaluate("tinyface", model, tmp_path, "--root", miniatures.tinyface(tmp_path / "tinyface"))
    [entry] = content["sets"][0]["results"]
    assert (entry["num_probes"], entry["num_gallery"]) == (12, 20)
    content = evaluate("scface", model, tmp_path, "--root", miniatures.scface(tmp_path / "scface"))
    assert [r["probes"] for r in content["sets"][0]["results"]] == ["probe_d1", "probe_d2", "probe_d3"]
    assert "rank-20" in capsys.readouterr().out


def test_ijbc_adds_the_mirror_seen_at_the_second_resolution(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = miniatures.ijb(tmp_path / "IJBC")
    pairs = "32-32,32-8,8-8"
    content = evaluate(
        "ijbc", model, tmp_path, "--root", root, "--pairs", pairs, "--roc", tmp_path / "roc.png"
    )
    by_pair = {tuple(r["pair"]): r for r in content["sets"][0]["results"]}
    assert set(by_pair) == {(32, 32), (32, 8), (8, 8)}
    assert (tmp_path / "roc_32-8.png").is_file()
    for entry in by_pair.values():
        assert set(entry) >= {"tar_at_far", "ijb_1n", "ijb_1n_standard"}
    key_of = {
        (v["views"]["resolution"], v["views"]["mirrored"]): path.parent
        for path in (tmp_path / "features").glob("*/key.json")
        for v in [json.loads(path.read_text())]
    }
    assert len(key_of) == 4
    images = [miniatures.face(0, shot) for shot in range(4)]
    padded = [np.pad(image, ((10, 10), (10, 10), (0, 0)), mode="edge") for image in images]
    crops = np.stack([align_face(each, (miniatures.TEMPLATE + 10).astype(np.float32), 32) for each in padded])
    network = load_model(model).networks[8]
    mirrored = embed_images(network, crops[:, :, ::-1].copy(), view_size=8, mirror=False)
    np.testing.assert_allclose(FeatureFile(key_of[8, True]).features[:4], mirrored, atol=1e-3)

    # Once more: nothing is embedded, all is the same.
    monkeypatch.setattr("btnet.serving.feature_pass.embed_images", None)
    assert evaluate("ijbc", model, tmp_path, "--root", root, "--pairs", pairs) == content


def test_a_stopped_run_resumes_behind_the_last_block(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = miniatures.tinyface(tmp_path / "data")
    monkeypatch.setattr("btnet.serving.feature_pass._BLOCK", 8)
    embedded: list[int] = []

    def stop_late(*args: Any, **options: Any) -> Any:
        if sum(embedded) > 6:
            raise KeyboardInterrupt
        embedded.append(len(args[1]))
        return embed_images(*args, **options)

    argv = ["tinyface", model, "--root", root, "--features", tmp_path / "features", "--device", "cpu"]
    monkeypatch.setattr("btnet.serving.feature_pass.embed_images", stop_late)
    assert main([str(word) for word in argv]) == 130
    before = sum(embedded)
    embedded.clear()

    def count(*args: Any, **options: Any) -> Any:
        embedded.append(len(args[1]))
        return embed_images(*args, **options)

    monkeypatch.setattr("btnet.serving.feature_pass.embed_images", count)
    resumed = evaluate("tinyface", model, tmp_path, "--root", root)
    assert before + sum(embedded) == 32
    (tmp_path / "fresh").mkdir()
    assert evaluate("tinyface", model, tmp_path / "fresh", "--root", root) == resumed


def test_lfw_pairs_are_verified_in_the_folds_of_the_file_and_natively(model: Path, tmp_path: Path) -> None:
    pairs, root = miniatures.lfw(tmp_path)
    options = ("--pairs-file", pairs, "--root", root, "--pairs")
    content = evaluate("evaluate", model, tmp_path, *options, "32-32,32-8,native-native")
    [found] = content["sets"]
    assert (found["num_pairs"], found["num_folds"]) == (20, 10)
    by_pair = {tuple(r["pair"]): r for r in found["results"]}
    # 112 px wide: selection by pixel count takes them all for large faces.
    assert by_pair[None, None]["accuracy"] == by_pair[32, 32]["accuracy"]
    whole = evaluate("evaluate", model, tmp_path, *options, "all")
    assert len(whole["sets"][0]["results"]) == 4


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], TemplateOptions(norm_score=False, detector_score=True, flip=True)),
        (["--preset", "insightface"], TemplateOptions(norm_score=True, detector_score=True, flip=True)),
        (
            ["--norm-score", "--no-detector-score", "--no-flip"],
            TemplateOptions(norm_score=True, detector_score=False, flip=False),
        ),
        (
            ["--preset", "insightface", "--no-norm-score", "--no-flip"],
            TemplateOptions(norm_score=False, detector_score=True, flip=False),
        ),
    ],
)
def test_ijbc_pools_images_as_its_options_say(
    options: list[str], expected: TemplateOptions, model: Path, tmp_path: Path, ijbc: Path, capsys: Any
) -> None:
    content = evaluate("ijbc", model, tmp_path, "--root", ijbc, "--pairs", "32-32", *options)
    [found] = content["sets"][0]["results"]
    assert content["protocol"]["label"] == expected.label
    out = capsys.readouterr().out
    assert f"{expected.label}; aligned at 112 px" in out
    assert (
        "-: 30 impostors cannot measure FAR 1e-06, 1e-05, 0.0001, 0.001, 0.01; that takes 1 / FAR of them."
        in out
    )
    assert "-: 6 impostors cannot measure FPIR 0.01, 0.1; that takes 1 / FPIR of them." in out

    # The protocol written out, from crops that the template's five points cut.
    network = load_model(model).networks[32]
    crops = np.stack([align_face(image, LANDMARKS, 32) for image in loose_crops()])
    face, mirror = (embed_images(network, views, mirror=False) for views in (crops, crops[:, :, ::-1].copy()))
    features = face + mirror if expected.flip else face
    if not expected.norm_score:
        features = features / np.linalg.norm(features, axis=1, keepdims=True)
    if expected.detector_score:
        features = features * np.tile([0.9, 0.91, 0.92, 0.93], miniatures.PEOPLE)[:, None]
    # Two images a template, each of a medium of its own.
    templates = features.reshape(miniatures.PEOPLE, 2, 2, -1).sum(axis=2)
    templates /= np.linalg.norm(templates, axis=2, keepdims=True)
    scores = templates[:, 0] @ templates[:, 1].T
    same = np.eye(miniatures.PEOPLE, dtype=bool)
    nearest = "insightface" in options
    read = tar_at_nearest_fars if nearest else tar_at_fars
    assert found["tar_at_far"]["0.1"] == pytest.approx(read(scores.ravel(), same.ravel(), (0.1,))[0.1])
    assert content["protocol"]["far"] == ("nearest" if nearest else "not above the target")
    # Thirty pairs of different people carry no FAR below 1/30, six probes no FPIR below 1/6.
    assert [found["tar_at_far"][far] for far in ("0.0001", "0.01")] == [None, None]
    assert found["ijb_1n"]["tpir"] == found["ijb_1n_standard"]["tpir"] == {"0.01": None, "0.1": None}
    rank_1 = np.mean(scores.argmax(axis=0) == np.arange(miniatures.PEOPLE))
    assert found["ijb_1n"]["rank"]["1"] == pytest.approx(rank_1)


def test_a_frame_that_cannot_be_read_counts_as_if_it_had_never_been_there(
    model: Path, tmp_path: Path, capsys: Any
) -> None:
    roots = [miniatures.ijb(tmp_path / name) for name in ("broken", "without")]
    for root in roots:
        # Of each person's second template the first image is a picture, the others are frames of one video.
        path = root / "meta" / "ijbc_face_tid_mid.txt"
        names = [line.split()[0] for line in path.read_text().splitlines()]
        path.write_text(
            "".join(f"{n} {i // 4 * 10 + (i % 4 > 0)} {int(i % 4 > 1)}\n" for i, n in enumerate(names))
        )
    (roots[0] / "loose_crop" / "3.jpg").write_bytes(b"no picture")
    (roots[1] / "loose_crop" / "3.jpg").unlink()
    for path in (roots[1] / "meta").glob("*.txt"):
        kept = [line for line in path.read_text().splitlines() if not line.startswith("3.jpg ")]
        path.write_text("\n".join(kept) + "\n")
    options = ("--pairs", "32-32", "--norm-score", "--skip-unreadable", "--root")
    found = [evaluate("ijbc", model, tmp_path, *options, root)["sets"][0] for root in roots]
    assert [len(each["unreadable"]) for each in found] == [1, 0]
    tar = [each["results"][0]["roc"]["tar"] for each in found]
    np.testing.assert_allclose(*tar)
    assert "unreadable: 3.jpg" in capsys.readouterr().err


def test_ijbc_aligned_directly_is_cut_at_the_resolution_itself(
    model: Path, tmp_path: Path, ijbc: Path
) -> None:
    options = (
        "--root",
        ijbc,
        "--pairs",
        "8-8",
        "--no-flip",
        "--tasks",
        "verification",
        "--alignment",
        "direct",
    )
    content = evaluate("ijbc", model, tmp_path, *options)
    assert content["protocol"]["alignment"] == "direct"
    assert "ijb_1n" not in content["sets"][0]["results"][0]
    network = load_model(model).networks[8]
    crops = np.stack([align_face(image, LANDMARKS, 8) for image in loose_crops()])
    [key] = (tmp_path / "features").glob("*/key.json")
    expected = embed_images(network, crops, mirror=False)
    np.testing.assert_allclose(FeatureFile(key.parent).features, expected, atol=1e-3)


def test_ijbc_without_mirror_has_one_resolution(model: Path, tmp_path: Path, ijbc: Path, capsys: Any) -> None:
    argv = ["ijbc", str(model), "--root", str(ijbc), "--pairs", "32-8", "--no-flip"]
    assert main([*argv, "--features", str(tmp_path)]) == 2
    assert "without the mirror image (F0) there is one resolution only" in capsys.readouterr().err


def test_a_branch_that_no_face_selects_is_named(model: Path, tmp_path: Path, capsys: Any) -> None:
    root = miniatures.scface(tmp_path / "data")
    content = evaluate("scface", model, tmp_path, "--root", root, "--strategy", "max+ceil,max+near")
    assert "No face was seen by" not in capsys.readouterr().out
    for path in (root / "probe_d1").glob("*/*.jpg"):
        miniatures.write(path, miniatures.face(0, 1, (40, 40)))
    for path in (root / "probe_d2").glob("*/*.jpg"):
        miniatures.write(path, miniatures.face(0, 1, (40, 40)))
    content = evaluate("scface", model, tmp_path, "--root", root, "--strategy", "max+ceil")
    assert "No face was seen by phi_bt at 8 px: no size selects it." in capsys.readouterr().out
    assert set(content["models"][0]["networks"]) == {"32"}
    people = miniatures.PEOPLE
    assert content["sets"][0]["results"][0]["faces_by_resolution"] == {"32": 4 * people}


def test_unreadable_images_of_pairs_are_all_listed(model: Path, tmp_path: Path, capsys: Any) -> None:
    pairs, root = miniatures.lfw(tmp_path)
    broken = ["P0/P0_0001.jpg", "P3/P3_0002.jpg"]
    for name in broken:
        (root / name).write_bytes(b"not an image")
    options = ("--pairs-file", pairs, "--root", root, "--pairs", "32-32")
    assert main(["evaluate", str(model), *map(str, options), "--device", "cpu"]) == 2
    err = capsys.readouterr().err
    assert all(f"unreadable: {name}: " in err for name in broken)
    assert "2 of 16 images cannot be read" in err
    content = evaluate("evaluate", model, tmp_path, *options, "--skip-unreadable")
    [found] = content["sets"]
    assert [entry["image"] for entry in found["unreadable"]] == broken
    lines = [line.split() for line in pairs.read_text().splitlines()[1:]]
    sides = [({(f[0], f[1]), (f[0], f[2])} if len(f) == 3 else {(f[0], f[1]), (f[2], f[3])}) for f in lines]
    kept = [not side & {("P0", "1"), ("P3", "2")} for side in sides]
    assert found["num_pairs"] == sum(kept) < len(lines)


def damaged(kind: str, root: Path) -> list[object]:
    if kind == "no folder":
        return ["survface", "--root", root / "nowhere"]
    if kind in ("lists", "mate", "missing", "unreadable"):
        miniatures.survface(root)
        folder = root / "Face_Identification_Test_Set"
        if kind == "lists":
            (folder / "gallery_img_ID_pairs.mat").write_bytes(b"nothing")
        elif kind == "mate":
            from scipy.io import savemat

            names = [f"{1 + p}_cam1_{s}.jpg" for p in range(6) for s in (2, 3)]
            ids = np.full((12, 1), 99)
            savemat(
                folder / "mated_probe_img_ID_pairs.mat",
                {"mated_probe_set": miniatures.cells(names), "mated_probe_ids": ids},
            )
        elif kind == "missing":
            (folder / "gallery" / "1_cam1_0.jpg").unlink()
        else:
            (folder / "gallery" / "1_cam1_0.jpg").write_bytes(b"not an image")
        return ["survface", "--root", root]
    if kind == "few pairs":
        pairs, images = miniatures.lfw(root, num_folds=1)
        return ["evaluate", "--pairs-file", pairs, "--root", images, "--pairs", "32-32"]
    if kind == "cut pairs":
        pairs, images = miniatures.lfw(root)
        pairs.write_text(pairs.read_text().rstrip().rsplit("\n", 1)[0])
        return ["evaluate", "--pairs-file", pairs, "--root", images, "--pairs", "32-32"]
    if kind == "tinyface":
        miniatures.tinyface(root)
        (root / "Testing_Set" / "Probe").rename(root / "Testing_Set" / "Probes")
        return ["tinyface", "--root", root]
    if kind in ("scface", "stranger"):
        miniatures.scface(root)
        if kind == "scface":
            (root / "probe_d2").rename(root / "probe_2")
        else:
            (root / "probe_d2" / "000").rename(root / "probe_d2" / "stranger")
        return ["scface", "--root", root]
    if kind == "no distractor":
        miniatures.survface(root)
        for path in (root / "Face_Identification_Test_Set" / "unmated_probe").iterdir():
            path.unlink()
        return ["survface", "--root", root]
    miniatures.ijb(root)
    if kind == "crops":
        (root / "loose_crop").rename(root / "crops")
    elif kind == "csv":
        (root / "meta" / "ijbc_1N_probe_mixed.csv").unlink()
    elif kind == "template":
        (root / "meta" / "ijbc_template_pair_label.txt").write_text("0 777 1\n0 1 0\n")
    else:
        path = root / "meta" / "ijbc_face_tid_mid.txt"
        path.write_text("\n".join(path.read_text().splitlines()[1:]) + "\n")
    return ["ijbc", "--root", root, "--pairs", "32-32"]


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("no folder", "no such folder; expected ROOT/Face_Identification_Test_Set"),
        ("lists", "not a MATLAB file"),
        ("mate", "12 of 12 images of mated show a person without a gallery image"),
        ("missing", "1 of 36 images are not there, gallery/1_cam1_0.jpg"),
        ("unreadable", "1 of 36 images cannot be read"),
        ("few pairs", "folds"),
        ("cut pairs", "announces 10 folds"),
        ("tinyface", "no such folder; expected ROOT/Testing_Set/{Gallery_Match, Probe, Gallery_Distractor}"),
        ("scface", "no such folder; expected ROOT/{gallery, probe_d1, probe_d2, probe_d3}/IDENTITY"),
        ("stranger", "1 of 6 images of probe_d2 show a person without a gallery image"),
        ("no distractor", "no image (.jpg"),
        ("crops", "loose_crop: no such folder; expected ROOT/{loose_crop, meta}"),
        ("csv", "ijbc_1N_probe_mixed.csv: no such file"),
        ("template", "1 templates have no image in the list of images, the first is template 777"),
        ("lines", "ijbc_face_tid_mid.txt:1: "),
    ],
)
def test_what_is_wrong_with_a_data_set_is_said(
    kind: str, message: str, model: Path, tmp_path: Path, capsys: Any
) -> None:
    argv = [*damaged(kind, tmp_path / "data"), str(model), "--device", "cpu"]
    # Before the options that take several values.
    argv = [argv[0], str(model), *argv[1:-3], "--device", "cpu"]
    if argv[0] != "evaluate":
        argv += ["--features", tmp_path / "features"]
    assert main([str(word) for word in argv]) == 2
    assert message in capsys.readouterr().err


def test_unreadable_images_are_listed_and_left_out_only_when_asked(
    model: Path, tmp_path: Path, capsys: Any
) -> None:
    damaged("unreadable", tmp_path / "data")
    content = evaluate("survface", model, tmp_path, "--root", tmp_path / "data", "--skip-unreadable")
    [listed] = content["sets"][0]["unreadable"]
    assert listed["image"] == "gallery/1_cam1_0.jpg"
    assert "not a readable image" in listed["reason"]
    assert "1 unreadable images left out" in capsys.readouterr().out
