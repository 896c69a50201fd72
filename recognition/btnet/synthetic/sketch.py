"""A sketch of a head in space: shapes in template coordinates, projected by a pose, drawn in order.

Shapes are collected first and projected together: one matrix product per image instead of one per shape.
"""

from typing import Final, Literal, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from btnet.synthetic.capture import SIZE_PX, Pose
from btnet.synthetic.draws import Colour
from btnet.synthetic.shapes import CENTRE_X, Points

Layer = Literal["behind", "shade", "front"]
"""Behind: up to the bare face. Shade: gains for soft light on it. Front: hard features on top."""

NEUTRAL_GAIN: Final = 128.0
"""Grey level of the shade layer that leaves a colour as it is."""

_CANVAS_SCALE = 2
_FIXED_POINT_BITS = 4
# Centre of rotation, and the ellipsoid that carries the features; px of the template.
_PIVOT = np.array([CENTRE_X, 64.0, -14.0])
_RADII = (50.0, 74.0)
_DEPTH = 36.0
_ARCFACE_TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)


class _Shape(NamedTuple):
    layer: Layer
    stop: int
    colour: Colour
    thickness: int  # of a stroke in canvas px; 0 fills


class Sketch:
    """Shapes of one head, in the order they cover each other."""

    def __init__(self) -> None:
        """Start empty."""
        self._points: list[Points] = []
        self._lifts: list[float] = []
        self._grips: list[float | Points] = []
        self._shapes: list[_Shape] = []
        self._num_points = 0

    def fill(
        self, layer: Layer, points: Points, colour: Colour, *, lift: float = 0.0, grip: float | Points = 1.0
    ) -> None:
        """Add a filled polygon.

        Args:
            layer: which layer it belongs to.
            points: template coordinates, [N, 2].
            colour: RGB; on the shade layer a gain per channel times `NEUTRAL_GAIN`.
            lift: towards the camera, in px, from the surface that `grip` chooses.
            grip: 1 lies on the face, 0 in the plane of the head's outline; one number, or one per point.
        """
        self._add(layer, points, colour, 0, lift, grip)

    def stroke(
        self,
        layer: Layer,
        points: Points,
        colour: Colour,
        width_px: float,
        *,
        lift: float = 0.0,
        grip: float | Points = 1.0,
    ) -> None:
        """Add an open line of a width in template px; the rest as for `fill`."""
        scale = 1 if layer == "shade" else _CANVAS_SCALE
        self._add(layer, points, colour, max(1, round(width_px * scale)), lift, grip)

    def _add(
        self, layer: Layer, points: Points, colour: Colour, thickness: int, lift: float, grip: float | Points
    ) -> None:
        self._points.append(points)
        self._lifts.append(lift)
        self._grips.append(grip)
        self._num_points += len(points)
        self._shapes.append(_Shape(layer, self._num_points, colour, thickness))

    def draw(
        self, backdrop: NDArray[np.uint8], skin: NDArray[np.uint8], landmarks: Points, pose: Pose
    ) -> NDArray[np.uint8]:
        """Project and draw everything, aligned as a face detector would have it aligned.

        Args:
            backdrop: what is behind the head, uint8 RGB [224, 224, 3].
            skin: fine detail of the frontal face as gains, uint8 [224, 224]; `NEUTRAL_GAIN` is none.
            landmarks: eyes, nose tip and mouth corners in template coordinates, [5, 2].
            pose: of the head, with the detector's error.

        Returns:
            Evenly lit picture, uint8 RGB [112, 112, 3].
        """
        sizes = [len(points) for points in self._points]
        lifts = np.concatenate([_LANDMARK_LIFTS, np.zeros(4), np.repeat(self._lifts, sizes)])
        flat = project(
            np.concatenate([landmarks, _SKIN_QUAD, *self._points]), lifts, self._all_grips(sizes), pose
        )
        flat = align(flat, flat[:5] + pose.landmark_error)

        canvas = backdrop.copy()
        shade = np.full((SIZE_PX, SIZE_PX, 3), NEUTRAL_GAIN, np.uint8)
        # Pixel centres: (p + 1/2) * scale - 1/2 on the larger canvas.
        on_canvas = _fixed_point(flat[9:] * _CANVAS_SCALE + (_CANVAS_SCALE - 1) / 2)
        self._draw_layer("behind", canvas, on_canvas)
        self._draw_layer("shade", shade, _fixed_point(flat[9:]))
        softened = np.asarray(cv2.GaussianBlur(shade, (0, 0), 2.4), np.uint8)
        shaded = cv2.multiply(canvas, _enlarged(softened), scale=1 / NEUTRAL_GAIN)
        warp = cv2.getPerspectiveTransform(
            (_SKIN_QUAD * _CANVAS_SCALE).astype(np.float32), (flat[5:9] * _CANVAS_SCALE).astype(np.float32)
        )
        fine = cv2.warpPerspective(skin, warp, shaded.shape[1::-1], borderValue=(NEUTRAL_GAIN,))
        textured = cv2.multiply(shaded, cv2.merge([fine, fine, fine]), scale=1 / NEUTRAL_GAIN)
        finished = np.asarray(textured, np.uint8)
        self._draw_layer("front", finished, on_canvas)
        picture = cv2.resize(finished, (SIZE_PX, SIZE_PX), interpolation=cv2.INTER_AREA)
        return np.asarray(picture, np.uint8)

    def _all_grips(self, sizes: list[int]) -> Points:
        common = [grip if isinstance(grip, float | int) else 0.0 for grip in self._grips]
        grips = np.concatenate([np.ones(9), np.repeat(common, sizes)])
        for shape, size, grip in zip(self._shapes, sizes, self._grips, strict=True):
            if isinstance(grip, np.ndarray):
                grips[9 + shape.stop - size : 9 + shape.stop] = grip
        return grips

    def _draw_layer(self, layer: Layer, image: NDArray[np.uint8], points: NDArray[np.int32]) -> None:
        start = 0
        for shape in self._shapes:
            if shape.layer == layer:
                outline = [points[start : shape.stop]]
                if shape.thickness:
                    cv2.polylines(
                        image, outline, False, shape.colour, shape.thickness, cv2.LINE_AA, _FIXED_POINT_BITS
                    )
                else:
                    cv2.fillPoly(image, outline, shape.colour, cv2.LINE_AA, _FIXED_POINT_BITS)
            start = shape.stop


# Nose tip stands out; the four points between carry the skin map.
_LANDMARK_LIFTS = np.array([0.0, 0.0, 9.0, 0.0, 0.0])
_SKIN_QUAD = np.array([[32.0, 34.0], [80.0, 34.0], [76.0, 94.0], [36.0, 94.0]])


def project(points: Points, lifts: Points, grips: Points, pose: Pose) -> Points:
    """Template coordinates [N, 2], put on the head, turned, seen from a finite distance: [N, 2]."""
    x, y = points[:, 0] - _PIVOT[0], points[:, 1] - _PIVOT[1]
    surface = _DEPTH * np.sqrt(np.clip(1 - (x / _RADII[0]) ** 2 - (y / _RADII[1]) ** 2, 0, None))
    # A turned head keeps its width, because another part of the skull becomes its outline: what lies in the
    # plane of the outline gets the depth that makes up for the foreshortening.
    outline = 0.45 * x * np.sin(pose.yaw)
    z = lifts + grips * surface + (1 - grips) * outline - _PIVOT[2]
    turned = np.stack([x, y, z], axis=1) @ _rotation(pose).T
    seen: Points = turned[:, :2] * (pose.distance / (pose.distance - turned[:, 2:]))
    return seen


def align(points: Points, landmarks: Points) -> Points:
    """Move `points` by the similarity that brings five landmarks nearest to ArcFace's template."""
    # As complex numbers a similarity is a * z + b, and least squares has a closed form.
    z, goal = landmarks @ _TO_COMPLEX, _ARCFACE_TEMPLATE @ _TO_COMPLEX
    centred = z - z.mean()
    a = np.vdot(centred, goal - goal.mean()) / np.vdot(centred, centred).real
    moved = a * (points @ _TO_COMPLEX - z.mean()) + goal.mean()
    return np.stack([moved.real, moved.imag], axis=1)


_TO_COMPLEX = np.array([1, 1j])


def _rotation(pose: Pose) -> Points:
    (sy, sp, sr) = np.sin([pose.yaw, pose.pitch, pose.roll])
    (cy, cp, cr) = np.cos([pose.yaw, pose.pitch, pose.roll])
    yaw = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    pitch = np.array([[1, 0, 0], [0, cp, sp], [0, -sp, cp]])
    roll = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    matrix: Points = roll @ pitch @ yaw
    return matrix


def _fixed_point(points: Points) -> NDArray[np.int32]:
    return np.rint(points * (1 << _FIXED_POINT_BITS)).astype(np.int32)


def _enlarged(shade: NDArray[np.uint8]) -> NDArray[np.uint8]:
    size = SIZE_PX * _CANVAS_SCALE
    return np.asarray(cv2.resize(shade, (size, size), interpolation=cv2.INTER_LINEAR), np.uint8)
