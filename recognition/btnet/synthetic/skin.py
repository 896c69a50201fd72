"""The fine part of a rendered person: skin texture, freckles, moles and wrinkles, as a map of gains."""

import cv2
import numpy as np
from numpy.typing import NDArray

from btnet.synthetic.draws import Draws
from btnet.synthetic.identity import Identity
from btnet.synthetic.shapes import CENTRE_X, Points, curve
from btnet.synthetic.sketch import NEUTRAL_GAIN

_SCALE = 2
_SIZE_PX = 224
_FIXED_POINT_BITS = 4


def draw_skin(identity: Identity) -> NDArray[np.uint8]:
    """Gains of the frontal face at twice the template's size, uint8 [224, 224]; read-only.

    Drawn once per person: marks stay where they are whatever the pose, light or expression.
    """
    traits = identity.skin
    draws = Draws(traits.key, 3)
    gains = np.full((_SIZE_PX, _SIZE_PX), NEUTRAL_GAIN, np.uint8)
    _wrinkles(gains, identity, draws)
    cheeks_y = (identity.eyes.y + identity.nose.tip_y) / 2 + 3
    for _ in range(traits.num_freckles):
        _mark(gains, (draws.bell(CENTRE_X, 27), draws.bell(cheeks_y, 13)), draws.uniform(0.4, 0.8), 0.8)
    for _ in range(traits.num_moles):
        centre = (draws.uniform(27, 85), draws.uniform(28, 104))
        _mark(gains, centre, draws.uniform(0.6, 1.5), draws.uniform(0.3, 0.55))
    field = np.array(NEUTRAL_GAIN, np.float32) + _texture(draws) * np.float32(traits.texture)
    skin = cv2.multiply(gains, np.clip(field, 0, 255), scale=1 / NEUTRAL_GAIN, dtype=cv2.CV_8U)
    result = np.asarray(skin, np.uint8)
    result.setflags(write=False)
    return result


def _texture(draws: Draws) -> NDArray[np.float32]:
    """Zero-mean field of pores and blotches, fading out towards the edge of the face."""
    half = _SIZE_PX // _SCALE
    noise = draws.generator.random((half, half), np.float32) - np.float32(0.5)
    blurred = [cv2.GaussianBlur(noise, (0, 0), sigma) for sigma in (0.8, 2.0, 4.5)]
    # Differences of blurs are bands: about 3-5 px and 8-12 px of the template.
    field = 52 * (blurred[0] - blurred[1]) + 110 * (blurred[1] - blurred[2])
    y, x = np.mgrid[:half, :half].astype(np.float32)
    radius = ((x - CENTRE_X) / 42) ** 2 + ((y - 66) / 50) ** 2
    window = np.clip(np.float32(3) * (1 - radius), 0, 1)
    return np.asarray(cv2.resize(field * window, (_SIZE_PX, _SIZE_PX)), np.float32)


def _wrinkles(gains: NDArray[np.uint8], identity: Identity, draws: Draws) -> None:
    age, eyes, mouth, nose = identity.skin.age, identity.eyes, identity.mouth, identity.nose
    if age < 0.4:
        return
    depth = 1 - 0.22 * age
    forehead = max(identity.hair.hairline_y + 5, 24)
    for line in range(int(draws.uniform(0, 4.5) * age)):
        y, bend, width = forehead + 4.5 * line, draws.uniform(-2, 2), draws.uniform(13, 22)
        _line(
            gains, curve([(CENTRE_X - width, y + bend), (CENTRE_X, y), (CENTRE_X + width, y + bend)]), depth
        )
    for side in (-1, 1):
        start = (CENTRE_X + side * (nose.half_width + 2.5), nose.tip_y - 1)
        end = (CENTRE_X + side * (mouth.half_width + 3), mouth.y - 1 + draws.uniform(-2, 4))
        middle = (CENTRE_X + side * (mouth.half_width + 1), (start[1] + end[1]) / 2 - 2)
        _line(gains, curve([start, middle, end]), depth)
        corner = CENTRE_X + side * (eyes.spacing + eyes.half_width + 1.5)
        for foot in range(int(draws.uniform(0, 4) * age)):
            y = eyes.y - 2 + 2.4 * foot
            _line(gains, curve([(corner, y), (corner + side * 5, y + 1.4 * (foot - 1))]), depth + 0.06)


def _line(gains: NDArray[np.uint8], points: Points, gain: float) -> None:
    outline = np.rint(points * (_SCALE << _FIXED_POINT_BITS)).astype(np.int32)
    cv2.polylines(gains, [outline], False, (NEUTRAL_GAIN * gain,), 2, cv2.LINE_AA, _FIXED_POINT_BITS)


def _mark(gains: NDArray[np.uint8], centre: tuple[float, float], radius: float, gain: float) -> None:
    x, y, size = (round(value * (_SCALE << _FIXED_POINT_BITS)) for value in (*centre, radius))
    cv2.circle(gains, (x, y), size, (NEUTRAL_GAIN * gain,), -1, cv2.LINE_AA, _FIXED_POINT_BITS)
