"""How one image of a person was taken: pose, expression, light and camera, all of it nuisance."""

from dataclasses import dataclass
from functools import cache
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from btnet.images.codec import decode_image, encode_jpeg
from btnet.synthetic.draws import Colour, Draws

SIZE_PX: Final = 112


@dataclass(frozen=True)
class Pose:
    """Head pose in radians, distance of the camera, and error of the five detected landmarks in px."""

    yaw: float
    pitch: float
    roll: float
    distance: float
    landmark_error: NDArray[np.float64]  # [5, 2]


@dataclass(frozen=True)
class Expression:
    """What the face does: 0 is at rest."""

    smile: float
    mouth_open: float
    brow_raise: float
    blink: float
    gaze: tuple[float, float]


@dataclass(frozen=True)
class Scene:
    """What is around the face, and worn for the day."""

    backdrop: NDArray[np.uint8]  # [5, 5, 3], enlarged to fill the picture
    clothes: Colour
    hat: Colour | None
    hat_y: float
    has_glasses: bool
    beard_growth: float
    hair_length: float  # these add to the person's own ...
    hair_volume: float
    fringe: float
    hair_gain: float  # ... and these multiply
    skin_gain: float
    parting_gain: float


@dataclass(frozen=True)
class Camera:
    """Light, colour, sharpness, noise and compression."""

    direction: tuple[float, float]  # of the light, along the normal's x and y
    intensity: float
    cast: Colour  # gain of each channel
    gamma: float
    haze: float
    is_grey: bool
    blur_px: float
    noise: float
    jpeg_quality: int


@dataclass(frozen=True)
class Capture:
    """All that differs between two images of a person; `draws` goes on to the camera's noise."""

    pose: Pose
    expression: Expression
    scene: Scene
    camera: Camera
    draws: Draws


def draw_capture(seed: int, number: int, shot: int) -> Capture:
    """The circumstances of image `shot` of the person with this number."""
    draws = Draws(seed, 2, number, shot)
    error = draws.generator.random((5, 2)) + draws.generator.random((5, 2)) - 1
    return Capture(
        pose=Pose(
            yaw=draws.bell(0, 0.52),
            pitch=draws.bell(0, 0.34),
            roll=draws.bell(0, 0.3),
            distance=draws.uniform(190, 420),
            landmark_error=1.8 * error,
        ),
        expression=Expression(
            smile=draws.bell(0.3, 0.8),
            mouth_open=max(0.0, draws.uniform(-0.8, 1)),
            brow_raise=draws.bell(0, 1),
            blink=max(0.0, draws.uniform(-1.6, 0.75)),
            gaze=(draws.bell(0, 2), draws.bell(0, 0.8)),
        ),
        scene=_draw_scene(draws),
        camera=_draw_camera(draws),
        draws=draws,
    )


def _draw_scene(draws: Draws) -> Scene:
    colours = np.array([draws.colour(15, 240), draws.colour(15, 240), draws.colour(15, 240)])
    colours = 0.45 * colours + 0.55 * colours.mean(axis=1, keepdims=True)
    weights = draws.generator.random((5, 5, 3)) ** 3
    backdrop = (weights @ colours) / weights.sum(axis=2, keepdims=True)
    return Scene(
        backdrop=backdrop.astype(np.uint8),
        clothes=draws.colour(15, 230),
        hat=draws.colour(15, 220) if draws.chance(0.1) else None,
        hat_y=draws.uniform(14, 26),
        has_glasses=draws.chance(0.88),
        beard_growth=draws.uniform(0, 1),
        hair_length=draws.bell(0, 0.3),
        hair_volume=draws.bell(0, 3),
        fringe=draws.bell(0, 4),
        hair_gain=float(np.exp(draws.bell(0, 0.4))),
        skin_gain=float(np.exp(draws.bell(0, 0.2))),
        parting_gain=-1.0 if draws.chance(0.25) else 1.0,
    )


def _draw_camera(draws: Draws) -> Camera:
    warmth, tint = draws.bell(0, 0.28), draws.bell(0, 0.1)
    return Camera(
        direction=(draws.bell(0, 0.75), draws.bell(-0.12, 0.45)),
        intensity=draws.uniform(0.68, 1.08),
        cast=(1 + warmth, 1 + tint, 1 - warmth),
        gamma=float(np.exp(draws.bell(0, 0.4))),
        haze=max(0.0, draws.uniform(-0.25, 0.2)),
        is_grey=draws.chance(0.12),
        blur_px=max(0.0, draws.uniform(-0.7, 0.85)),
        noise=draws.uniform(0, 7),
        jpeg_quality=int(draws.uniform(50, 96)),
    )


def develop(image: NDArray[np.uint8], capture: Capture) -> NDArray[np.uint8]:
    """What the camera makes of the drawn scene: light, tone curve, blur, noise, JPEG.

    Args:
        image: evenly lit, uint8 RGB [112, 112, 3].
        capture: of this image.

    Returns:
        uint8 RGB [112, 112, 3].
    """
    camera = capture.camera
    normal_x, normal_y, normal_z = _normals()
    light = normal_z + np.float32(camera.direction[0]) * normal_x + np.float32(camera.direction[1]) * normal_y
    lit = cv2.multiply(image, cv2.merge([np.clip(light, 0.12, 1.7)] * 3), dtype=cv2.CV_8U)
    levels = np.arange(256)[:, None] / 255 * (camera.intensity * np.array(camera.cast))
    levels = camera.haze + (1 - camera.haze) * np.clip(levels, 0, None) ** camera.gamma
    # One look-up does intensity, colour cast, tone curve and haze.
    curve = np.clip(levels * 255 + 0.5, 0, 255).astype(np.uint8)[None]
    lit = cv2.LUT(lit, curve)
    if camera.is_grey:
        lit = cv2.cvtColor(cv2.cvtColor(lit, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    if camera.blur_px > 0.25:
        lit = cv2.GaussianBlur(lit, (0, 0), camera.blur_px)
    # The sum of two uniform bytes is close enough to a bell, and ten times cheaper than one.
    grain = capture.draws.generator.integers(0, 256, (2, SIZE_PX, SIZE_PX, 3), np.uint8)
    noise = (grain[0].astype(np.float32) + grain[1] - 255) * np.float32(camera.noise / 104)
    noisy = np.clip(lit + noise + np.float32(0.5), 0, 255).astype(np.uint8)
    return decode_image(encode_jpeg(noisy, camera.jpeg_quality), "rendered face")


@cache
def _normals() -> tuple[NDArray[np.float32], ...]:
    """Surface normals of a head that fills the picture, bent outwards up to its rim and flat beyond."""
    y, x = np.mgrid[:SIZE_PX, :SIZE_PX].astype(np.float32)
    x, y = (x - 55.5) / 52, (y - 60) / 66
    radius = np.sqrt(x * x + y * y)
    bent = np.minimum(1, 0.9 / np.maximum(radius, 1e-6))
    x, y = x * bent, y * bent
    z = np.sqrt(1 - x * x - y * y)
    # A wide lamp: even at the rim the camera sees more than half of the light.
    return x, y, np.asarray(0.55 + 0.45 * z, np.float32)
