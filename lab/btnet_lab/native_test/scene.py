"""A scene around an aligned face, photographed from afar: small when taken, not shrunk afterwards.

Optical and pixel resolution differ: the lens blurs the scene first, the sensor samples it, a detector finds the
landmarks in what is left. That is what surveillance cameras do, and what views shrunk from aligned faces lack.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from btnet.images.codec import decode_image, encode_jpeg
from btnet.serving.alignment import crop_transform
from btnet.synthetic.draws import Draws

FACE_PX: Final = 112
"""Side in px of the aligned face that a scene is built around."""

_SCENE_PX: Final = 2 * FACE_PX
_BORDER_PX: Final = 28  # the face's own surroundings, mirrored, fade into the backdrop over this width

# A blur of this standard deviation, in px of a grid, is what the grid can just carry: scipy's and
# scikit-image's choice before shrinking.
_RESOLVED: Final = 0.5

# What a detector boxes, as an ellipse in px of the 112 px template: cheek to cheek, hairline to chin.
_BOX_RADII: Final = (38.0, 51.0)


@dataclass(frozen=True)
class Conditions:
    """Under which faces are taken; each is drawn evenly between its two ends (sizes and gamma by their logarithm).

    One camera has narrow ranges, the world wide ones.

    Attributes:
        optical_px: how many px of detail the lens leaves of a face's 112.
        oversampling: pixels of the sensor per px of that detail, 1 or more; at most 112 px a face.
        noise: of the sensor, standard deviation in grey levels.
        jpeg_quality: of the whole picture.
        gamma: of the tone curve; above 1 darkens.
        tint: gain of red against blue, to either side of 1.
        roll_deg: in-plane rotation, to either side.
        foreshortening: how much narrower a turned head may look, in [0, 1).
    """

    optical_px: tuple[float, float] = (6.0, 56.0)
    oversampling: tuple[float, float] = (1.0, 4.0)
    noise: tuple[float, float] = (0.0, 6.0)
    jpeg_quality: tuple[float, float] = (40.0, 92.0)
    gamma: tuple[float, float] = (0.8, 1.25)
    tint: tuple[float, float] = (0.95, 1.05)
    roll_deg: float = 20.0
    foreshortening: float = 0.12

    def __post_init__(self) -> None:
        """Refuse impossible ranges."""
        least = {
            "optical_px": 2.0,
            "oversampling": 1.0,
            "noise": 0.0,
            "jpeg_quality": 1.0,
            "gamma": 0.1,
            "tint": 0.1,
        }
        most = {"optical_px": FACE_PX, "jpeg_quality": 100.0}
        for name, lowest in least.items():
            low, high = getattr(self, name)
            if not lowest <= low <= high <= most.get(name, math.inf):
                limit = f" and at most {most[name]:g}" if name in most else ""
                raise ValueError(
                    f"{name} from {low:g} to {high:g}: expected two numbers in order, at least {lowest:g}{limit}"
                )
        if not 0 <= self.foreshortening < 1:
            raise ValueError(f"foreshortening {self.foreshortening:g}: expected a share in [0, 1)")


@dataclass(frozen=True, eq=False)
class Photograph:
    """A picture, and what a detector found in it.

    Attributes:
        frame: uint8 RGB [H, W, 3].
        landmarks: float64 [5, 2] as (x, y) in px of the frame, with a detector's errors.
        box: width and height in px of the detector's box.
        pixel_px: of the sensor that the face's 112 px span.
        optical_px: of detail that the lens left of them; at most `pixel_px`.
    """

    frame: NDArray[np.uint8]
    landmarks: NDArray[np.float64]
    box: tuple[int, int]
    pixel_px: float
    optical_px: float


def photograph(
    face: NDArray[np.uint8], landmarks: NDArray[np.floating], conditions: Conditions, draws: Draws
) -> Photograph:
    """Take a picture of a face from afar.

    The face is turned, narrowed and shifted in a textured scene of twice its size, the whole scene is blurred by
    the lens, shrunk onto the sensor by area (each pixel collects its light), tinted, made noisy and stored as
    JPEG. The optical size o means: lens and pixels together blur as a sensor of o px would, so the lens alone has
    sigma^2 = (1/2)^2 ((112 / o)^2 - (112 / s)^2) in px of the face, s being the pixel size. A detector then errs by
    1.5 % of the face and a quarter of an optical px on each landmark and axis.

    Args:
        face: aligned, uint8 RGB [112, 112, 3].
        landmarks: of aligned faces, [5, 2] as (x, y) in px of the face.
        conditions: to draw from.
        draws: all that is random; equal draws, equal photograph.

    Raises:
        ValueError: for a face of another size, or landmarks as in `btnet.serving.alignment.crop_transform`.
    """
    if face.dtype != np.uint8 or face.shape != (FACE_PX, FACE_PX, 3):
        raise ValueError(
            f"face is {face.dtype} {list(face.shape)}, expected an aligned one, uint8 RGB [{FACE_PX}, {FACE_PX}, 3]"
        )
    crop_transform(landmarks, FACE_PX)  # refuses what are no landmarks of a face
    wished = _log_uniform(draws, conditions.optical_px)
    frame_px = round(
        _SCENE_PX * min(wished * _log_uniform(draws, conditions.oversampling), FACE_PX) / FACE_PX
    )
    shrink = frame_px / _SCENE_PX
    pixel = FACE_PX * shrink
    optical = min(wished, pixel)
    matrix = _pose(conditions, draws)
    scene = _scene(face, matrix, draws)
    sigma = _RESOLVED * math.sqrt((FACE_PX / optical) ** 2 - (FACE_PX / pixel) ** 2)
    if sigma > 0.1:
        blurred = cv2.GaussianBlur(scene, (0, 0), sigma, borderType=cv2.BORDER_REFLECT_101)
        scene = np.asarray(blurred, np.float32)
    taken = cv2.resize(scene, (frame_px, frame_px), interpolation=cv2.INTER_AREA)
    frame = _develop(np.asarray(taken, np.float32), conditions, draws)
    true = (_moved(np.asarray(landmarks, np.float64), matrix) + 0.5) * shrink - 0.5
    spread = math.hypot(0.015 * pixel, 0.25 * pixel / optical)
    found = true + spread * _bell(draws, (5, 2))
    return Photograph(frame, found, _box(matrix, shrink, draws), pixel, optical)


def _log_uniform(draws: Draws, ends: tuple[float, float]) -> float:
    return math.exp(draws.uniform(math.log(ends[0]), math.log(ends[1])))


def _bell(draws: Draws, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Standard deviation 1; the sum of four uniform numbers is close enough to a bell."""
    return np.asarray((draws.generator.random((4, *shape)).sum(axis=0) - 2) * math.sqrt(3))


def _pose(conditions: Conditions, draws: Draws) -> NDArray[np.float64]:
    """From px of the face to px of the scene, [2, 3]: about the middle, shifted by up to a tenth of the face."""
    angle = math.radians(draws.bell(0, conditions.roll_deg))
    narrow = 1 - draws.uniform(0, conditions.foreshortening)
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    linear = turn @ np.diag([narrow, 1.0])
    middle = (FACE_PX - 1) / 2
    shift = [(_SCENE_PX - 1) / 2 + draws.bell(0, 0.1 * FACE_PX) for _ in range(2)]
    return np.column_stack([linear, shift - linear @ [middle, middle]])


def _moved(points: NDArray[np.float64], matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(points @ matrix[:, :2].T + matrix[:, 2])


def _scene(face: NDArray[np.uint8], matrix: NDArray[np.float64], draws: Draws) -> NDArray[np.float32]:
    """The face in its surroundings, float32 [224, 224, 3]."""
    border = _BORDER_PX
    padded = cv2.copyMakeBorder(face, border, border, border, border, cv2.BORDER_REFLECT_101)
    ramp = np.clip((np.arange(len(padded)) + 0.5) / _BORDER_PX, 0, 1)
    ramp = np.minimum(ramp, ramp[::-1])
    weight = np.minimum.outer(ramp, ramp).astype(np.float32)
    moved = matrix.copy()
    moved[:, 2] -= moved[:, :2] @ [_BORDER_PX, _BORDER_PX]
    size = (_SCENE_PX, _SCENE_PX)
    front = cv2.warpAffine(padded, moved, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    share = cv2.warpAffine(weight, moved, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)[
        ..., None
    ]
    return np.asarray(share * front + (1 - share) * _backdrop(draws), np.float32)


def _backdrop(draws: Draws) -> NDArray[np.float32]:
    """Clutter of two colours in patches of all sizes, float32 [224, 224, 3]."""
    colours = np.array([draws.colour(20, 235), draws.colour(20, 235)], np.float32)
    colours = 0.3 * colours + 0.7 * colours.mean(axis=1, keepdims=True)
    clutter, total = np.zeros((_SCENE_PX, _SCENE_PX), np.float32), 0.0
    for cells in (4, 8, 16, 32, 64):
        strength = cells**-0.5
        grid = draws.generator.random((cells, cells)).astype(np.float32)
        clutter += strength * cv2.resize(grid, (_SCENE_PX, _SCENE_PX), interpolation=cv2.INTER_CUBIC)
        total += strength
    share = np.clip(2 * clutter / total - 0.5, 0, 1)[..., None]
    return np.asarray(share * colours[0] + (1 - share) * colours[1], np.float32)


def _develop(light: NDArray[np.float32], conditions: Conditions, draws: Draws) -> NDArray[np.uint8]:
    """Tone, colour, noise and JPEG: what the camera stores."""
    gamma, tint = _log_uniform(draws, conditions.gamma), _log_uniform(draws, conditions.tint)
    gains = np.array([tint, 1.0, 1 / tint])
    toned = 255 * np.clip(light / 255 * gains, 0, 1) ** gamma
    noisy = toned + draws.uniform(*conditions.noise) * _bell(draws, light.shape)
    stored = np.clip(noisy + 0.5, 0, 255).astype(np.uint8)
    return decode_image(encode_jpeg(stored, round(draws.uniform(*conditions.jpeg_quality))), "photograph")


def _box(matrix: NDArray[np.float64], shrink: float, draws: Draws) -> tuple[int, int]:
    """Sides of the upright box around the face's ellipse, each with an error of 4 %."""
    sides = 2 * shrink * np.hypot(*(matrix[:, :2] * _BOX_RADII).T)
    width, height = sides * (1 + 0.04 * _bell(draws, (2,)))
    return max(round(float(width)), 1), max(round(float(height)), 1)
