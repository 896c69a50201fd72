"""`btnet calibrate` and what it is for: `compare`, from faces to a verdict."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from btnet.calibration.calibration import NAME, Calibration
from btnet.cli import main
from btnet.data.faces import open_faces
from btnet.evaluation.cosine import unit_normalise
from btnet.images.resize import resize
from btnet.inference import Recognizer
from btnet.model_folder.manifest import put_manifest, read_manifest
from btnet.model_folder.model_files import is_listed
from btnet.serving.calibrating import calibrate
from btnet.serving.face_model import FaceModel
from btnet.serving.served import served_curve
from tiny_models import tiny_btnet

FACES = "synthetic:30:2"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("calibrated") / "run"
    tiny_btnet(resolutions=(14,)).save(path)
    assert main(["calibrate", str(path), FACES, "--device", "cpu"]) == 0
    return path


def test_thresholds_lie_in_the_model_folder_and_are_kept_on_the_faces_they_were_measured_on(
    folder: Path,
) -> None:
    assert is_listed(folder, folder / NAME)
    recognizer = Recognizer.load(folder, device="cpu")
    found = recognizer.calibration
    assert found is not None
    assert found.faces == {
        "name": FACES,
        "fingerprint": open_faces(FACES).fingerprint(),
        "num_faces": 60,
        "num_people": 30,
        "small": "shrunk",
    }
    large = [open_faces(FACES)[i][0] for i in range(60)]
    small = [resize(image, 14) for image in large]
    scores = unit_normalise(recognizer.embed(small)) @ unit_normalise(recognizer.embed(large)).T
    strangers = scores[open_faces(FACES).labels[:, None] != open_faces(FACES).labels]
    threshold = found.threshold((14, 112), 1e-2)
    assert threshold is not None
    assert threshold.num_impostor_pairs == len(strangers) == 60 * 58
    assert np.count_nonzero(strangers > threshold.threshold) == int(1e-2 * len(strangers))
    assert found.threshold((14, 112), 1e-3) is None
    assert recognizer.compare(small[0], large[0]).fmr == 1e-2


def test_compare_prints_the_verdict_or_says_what_is_missing(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = open_faces(FACES)[0][0]
    for name, size in (("door.png", 18), ("passport.png", 112)):
        Image.fromarray(resize(image, size)).save(tmp_path / name)
    pair = [str(tmp_path / "door.png"), str(tmp_path / "passport.png"), "--device", "cpu"]
    assert main(["compare", *pair, "--model", str(folder), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["verdict"]
    assert told["sizes"] == [18, 112]
    assert (told["fmr"], told["calibrated"]) == (1e-2, True)
    assert main(["compare", *pair, "--model", str(folder / "model.pt")]) == 0
    assert "btnet calibrate" in capsys.readouterr().out
    with pytest.raises(ValueError, match=r"calibrated for .*'mirror': False.* not for .*'mirror': True"):
        Recognizer.load(folder, mirror=True).compare(image, image)


def test_the_faces_a_model_was_trained_on_and_too_few_people_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny_btnet(resolutions=(14,)).save(tmp_path)
    assert main(["calibrate", str(tmp_path), "synthetic:3:2"]) == 2
    assert "6 faces of 3 people make at most 24 pairs of different people" in capsys.readouterr().err
    assert main(["calibrate", str(tmp_path), "synthetic:1:4"]) == 2
    assert "4 faces of 1 people make at most 0 pairs" in capsys.readouterr().err
    trained_on = {"data_fingerprint": open_faces(FACES).fingerprint()}
    put_manifest(tmp_path, {**read_manifest(tmp_path), **trained_on})
    assert main(["calibrate", str(tmp_path), FACES]) == 2
    assert "was trained on these faces" in capsys.readouterr().err
    assert not (tmp_path / NAME).exists()


def test_faces_photographed_small_are_not_shrunk_and_nameless_ones_give_provisional_thresholds() -> None:
    recognizer = Recognizer(FaceModel.of(tiny_btnet(resolutions=(14,))))

    class Photographed:
        labels = np.arange(80) // 2

        def __len__(self) -> int:
            return 80

        def __getitem__(self, i: int) -> tuple[np.ndarray, int]:
            return resize(open_faces("synthetic:40:2")[i][0], (112, 13)[i % 2]), i // 2

        def fingerprint(self) -> str:
            return ""

    found = calibrate(recognizer, Photographed(), "two cameras")  # type: ignore[arg-type]
    assert {each.sizes for each in found.thresholds} == {(14, 14), (14, 112), (112, 112)}
    assert found.faces["small"] == "photographed small"
    provisional: Calibration = calibrate(
        recognizer, open_faces("synthetic:60:1"), "nameless", identities=False
    )
    verdict = provisional.verdict(1.0, (14, 112))
    assert (verdict.same, verdict.fmr, verdict.calibrated) == (True, None, False)


def test_evaluate_draws_the_served_curve(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ["-o", str(tmp_path / "x.json"), "--curve", str(tmp_path / "x.png"), "--device", "cpu"]
    assert main(["evaluate", str(folder), "--served", "10-30:10", "--faces", FACES, *out]) == 0
    told = json.loads((tmp_path / "x.json").read_text())
    assert told["protocol"] == "10-fold accuracy"
    assert [point["size"] for point in told["sets"][0]["results"]] == [10, 20, 30]
    assert {point["verdict"] for point in told["sets"][0]["results"][1:]} == {"not shown to be better"}
    assert "branch r14, faces resized to 14 px" in " ".join(capsys.readouterr().out.split())
    assert (tmp_path / "x.png").stat().st_size > 10_000
    assert main(["evaluate", str(folder), "--served", "6-40"]) == 2
    assert "--faces" in capsys.readouterr().err


def test_the_served_curve_embeds_what_serving_would() -> None:
    model = FaceModel.of(tiny_btnet(resolutions=(14,)))
    faces = np.stack([open_faces(FACES)[i][0] for i in range(60)])
    points = served_curve(model, faces, open_faces(FACES).labels, (10, 20))
    assert [(point.size, point.network) for point in points] == [
        (10, "branch r14, faces resized to 14 px"),
        (20, "trunk, faces resized to 112 px"),
    ]
    assert points[1].difference.mean == 0.0
    assert len(served_curve(model, faces, None, (10,))) == 1
