"""Draws a person under the circumstances of one image: traits and expression in, shapes on a sketch out."""

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from btnet.synthetic.capture import Capture, Expression, develop, draw_capture
from btnet.synthetic.draws import Colour
from btnet.synthetic.hair import draw_hair, groomed
from btnet.synthetic.identity import GlassesTraits, Identity, draw_identity
from btnet.synthetic.shapes import (
    ALONG,
    BULGE,
    CENTRE_X,
    SIDES,
    Points,
    band,
    curve,
    ellipse,
    line,
    mirrored,
    mix,
    tone,
)
from btnet.synthetic.sketch import NEUTRAL_GAIN, Sketch
from btnet.synthetic.skin import draw_skin

_CANVAS_PX = 224


def render_face(seed: int, number: int, shot: int) -> NDArray[np.uint8]:
    """Image `shot` of the person with this number, uint8 RGB [112, 112, 3]."""
    person, skin = _person(seed, number)
    capture = draw_capture(seed, number, shot)
    identity = groomed(person, capture.scene)
    sketch = Sketch()
    _head(sketch, identity, capture)
    _shading(sketch, identity, capture)
    _mouth(sketch, identity, capture.expression)
    _nose(sketch, identity)
    for side in SIDES:
        _eye(sketch, identity, capture.expression, side)
    draw_hair(sketch, identity, capture)
    if identity.glasses and capture.scene.has_glasses:
        _glasses(sketch, identity, identity.glasses)
    backdrop = cv2.resize(capture.scene.backdrop, (_CANVAS_PX, _CANVAS_PX), interpolation=cv2.INTER_CUBIC)
    picture = sketch.draw(np.asarray(backdrop, np.uint8), skin, _landmarks(identity, capture), capture.pose)
    return develop(picture, capture)


@lru_cache(maxsize=512)
def _person(seed: int, number: int) -> tuple[Identity, NDArray[np.uint8]]:
    # Pure, so the cache cannot change a result; 512 skin maps are 25 MB.
    identity = draw_identity(seed, number)
    return identity, draw_skin(identity)


def _landmarks(identity: Identity, capture: Capture) -> Points:
    eyes, mouth = identity.eyes, identity.mouth
    corner = mouth.half_width + 1.5 * capture.expression.smile
    return np.array(
        [
            [CENTRE_X - eyes.spacing, eyes.y],
            [CENTRE_X + eyes.spacing, eyes.y],
            [CENTRE_X, identity.nose.tip_y],
            [CENTRE_X - corner, mouth.y],
            [CENTRE_X + corner, mouth.y],
        ]
    )


def _head(sketch: Sketch, identity: Identity, capture: Capture) -> None:
    head, hair, skin = identity.head, identity.hair, identity.skin.colour
    drop = 2.5 * capture.expression.mouth_open
    if not hair.is_bald and hair.length > 0.2:
        width, end = head.cheek + 2 + hair.volume, 62 + 62 * hair.length
        outline = [(0, -14.0), (width * 0.8, -6), (width, 30), (width + 1, 60), (width * 0.92, end), (0, end)]
        sketch.fill("behind", curve(mirrored(outline), closed=True), tone(hair.colour, 0.7), lift=-16, grip=0)
    neck = np.array([[CENTRE_X - 21, 88], [CENTRE_X + 21, 88], [CENTRE_X + 25, 132], [CENTRE_X - 25, 132]])
    sketch.fill("behind", neck, tone(skin, 0.72), lift=-10, grip=0)
    shoulders = [(0, 118.0), (20, 116), (52, 124), (70, 150), (0, 160)]
    sketch.fill("behind", curve(mirrored(shoulders), closed=True), capture.scene.clothes, lift=-12, grip=0)
    for side in SIDES:
        x = CENTRE_X + side * (head.cheek + head.ear_out * 0.4)
        for size, gain in ((1.0, 0.93), (0.62, 0.74)):
            ear = ellipse(x, head.ear_y, (2.5 + head.ear_out * 0.7) * size, head.ear_size * size)
            sketch.fill("behind", ear, tone(skin, gain), lift=-4, grip=0)
    outline = [
        (0, -8.0),
        (head.temple * 0.74, -1),
        (head.temple, 26),
        (head.cheek, 56),
        ((head.cheek + head.jaw) / 2 + 1, 76),
        (head.jaw, head.jaw_y),
        (head.chin, head.chin_y - 1.5 + drop),
        (0, head.chin_y + drop),
    ]
    sketch.fill("behind", curve(mirrored(outline), closed=True), skin, lift=4, grip=0)


def _gain(red: float, green: float, blue: float) -> Colour:
    return (NEUTRAL_GAIN * red, NEUTRAL_GAIN * green, NEUTRAL_GAIN * blue)


def _shading(sketch: Sketch, identity: Identity, capture: Capture) -> None:
    eyes, nose, mouth, skin, head = identity.eyes, identity.nose, identity.mouth, identity.skin, identity.head
    for side in SIDES:
        x = CENTRE_X + side * eyes.spacing
        hollow = ellipse(CENTRE_X + side * head.jaw * 0.82, 86, 6, 12)
        sketch.fill("shade", hollow, _gain(0.93, 0.9, 0.89))
        cheek = ellipse(x + side * 3, 73, 9, 6.5)
        sketch.fill("shade", cheek, _gain(1.06, 1.04 - 0.13 * skin.blush, 1.04 - 0.13 * skin.blush))
        sketch.fill("shade", ellipse(x, eyes.y - 2, 10.5, 6.5), _gain(0.91, 0.87, 0.86))
        sketch.fill(
            "shade", ellipse(x, eyes.y + 5.5, 6.5, 2.2), _gain(1 - 0.17 * eyes.bag, 1 - 0.2 * eyes.bag, 0.9)
        )
        flank = nose.bridge + 2.2
        shadow = [
            (flank - 1, eyes.y - 3),
            (flank, 60.0),
            (nose.half_width, nose.tip_y),
            (flank - 1, nose.tip_y - 4),
        ]
        points = np.array([(CENTRE_X + side * dx, y) for dx, y in shadow])
        sketch.fill("shade", points, _gain(*([1 - 0.2 * nose.shadow] * 3)), lift=3)
    sketch.fill("shade", ellipse(CENTRE_X, 33, 17, 7), _gain(1.05, 1.05, 1.05))
    bridge = np.array(
        [[CENTRE_X + 0.3 * nose.bump, eyes.y + 3], [CENTRE_X + nose.bump, 62], [CENTRE_X, nose.tip_y - 3]]
    )
    sketch.stroke("shade", bridge, _gain(1.16, 1.15, 1.14), nose.bridge * 0.8, lift=7)
    sketch.fill("shade", ellipse(CENTRE_X, nose.tip_y + 4.5, nose.half_width, 2), _gain(0.8, 0.76, 0.75))
    sketch.fill("shade", ellipse(CENTRE_X, mouth.y + mouth.lower + 4.5, 8, 1.8), _gain(0.86, 0.83, 0.82))
    sketch.fill("shade", ellipse(CENTRE_X, head.chin_y - 6, 6, 3), _gain(1.06, 1.05, 1.05))
    if mouth.stubble:
        grown = 1 - (0.18 + 0.14 * capture.scene.beard_growth) * mouth.stubble
        sketch.fill("shade", _beard_outline(identity, 12), _gain(grown, grown, grown + 0.03))


def _beard_outline(identity: Identity, climb: float) -> Points:
    head, mouth = identity.head, identity.mouth
    outer = [
        (0.0, head.chin_y + 2),
        (head.chin + 1, head.chin_y),
        (head.jaw, head.jaw_y),
        ((head.cheek + head.jaw) / 2, 76.0),
        (head.jaw - 3, 82 - climb * 0.4),
        (mouth.half_width + 4, mouth.y - climb * 0.25),
        (0.0, mouth.y - 3),
    ]
    return curve(mirrored(outer), closed=True)


def _mouth(sketch: Sketch, identity: Identity, expression: Expression) -> None:
    mouth, skin, hair = identity.mouth, identity.skin, identity.hair
    beard_colour = mix(tone(hair.colour, 0.9), skin.colour, 0.16)
    width = mouth.half_width + 2.2 * expression.smile
    gap = 6.5 * expression.mouth_open
    x = CENTRE_X + width * ALONG
    middle = mouth.y + (mouth.curve + 3.2 * expression.smile) * (0.5 - ALONG**2)
    if mouth.beard:
        sketch.fill("front", _beard_outline(identity, mouth.beard), beard_colour, lift=5, grip=0.25)
    if mouth.goatee:
        chin_y = identity.head.chin_y
        sketch.fill("front", ellipse(CENTRE_X, chin_y - 5, 10, 8.5, squareness=2.6), beard_colour)
    if mouth.moustache:
        reach = width + 2
        peak = mouth.y - mouth.upper - 1.2 - mouth.moustache
        lip = [
            (0.0, peak),
            (reach * 0.6, peak + 1),
            (reach, mouth.y + 1.5),
            (reach * 0.5, mouth.y - 1),
            (0.0, mouth.y - 1),
        ]
        sketch.fill("front", curve(mirrored(lip), closed=True), beard_colour, lift=2)
    lip_colour = mix(tone(skin.colour, 0.82), (176, 62, 70), 0.25 + 0.45 * mouth.red)
    cupid = mouth.bow * np.exp(-((ALONG / 0.16) ** 2))
    upper = middle - gap * 0.3 * BULGE - (mouth.upper * BULGE - cupid)
    lower = middle + gap * 0.7 * BULGE + mouth.lower * BULGE
    top, bottom = middle - gap * 0.3 * BULGE, middle + gap * 0.7 * BULGE
    sketch.fill("front", band(x, upper, top + 0.3), tone(lip_colour, 0.88), lift=2)
    sketch.fill("front", band(x, bottom - 0.3, lower), lip_colour, lift=2)
    if gap > 1.2:
        sketch.fill("front", band(x, top, bottom), (66, 26, 28), lift=1)
        teeth = np.minimum(top + min(0.45 * gap, 2.6), bottom)
        sketch.fill("front", band(x[2:-2], top[2:-2], teeth[2:-2]), (228, 222, 210), lift=1)
    else:
        sketch.stroke("front", line(x, middle), tone(lip_colour, 0.5), 0.6, lift=2)
    shine = line(x[4:9], (bottom + 0.55 * (lower - bottom))[4:9])
    sketch.stroke("front", shine, mix(lip_colour, (255, 235, 230), 0.3), 0.5 + 0.12 * mouth.lower, lift=2)


def _nose(sketch: Sketch, identity: Identity) -> None:
    nose, skin = identity.nose, identity.skin.colour
    contour = tone(skin, 0.66)
    for side in SIDES:
        nostril = ellipse(
            CENTRE_X + side * nose.half_width * 0.5, nose.tip_y + 2.6, nose.nostril, nose.nostril * 0.55
        )
        sketch.fill("front", nostril, tone(skin, 0.36), lift=4)
        edge = CENTRE_X + side * nose.half_width
        wing = [
            (edge - side * 1.2, nose.tip_y - 3.4),
            (edge, nose.tip_y),
            (edge - side * 2.2, nose.tip_y + 3),
        ]
        sketch.stroke("front", curve(wing), contour, 0.7, lift=2)
    base = [(-nose.tip_radius, 2.0), (0.0, 3.6 + 0.3 * nose.bump), (nose.tip_radius, 2.0)]
    sketch.stroke(
        "front", curve([(CENTRE_X + x, nose.tip_y + y) for x, y in base]), tone(skin, 0.74), 0.6, lift=7
    )
    tip = ellipse(
        CENTRE_X + 0.6 * nose.bump, nose.tip_y - 1.6, nose.tip_radius * 0.36, nose.tip_radius * 0.28
    )
    sketch.fill("front", tip, mix(skin, (255, 255, 255), 0.3), lift=9)


def _eye(sketch: Sketch, identity: Identity, expression: Expression, side: int) -> None:
    eyes, skin = identity.eyes, identity.skin.colour
    centre = CENTRE_X + side * eyes.spacing
    # From the inner corner (-1) to the outer (1), on either side.
    x = centre + side * eyes.half_width * ALONG
    tilt = eyes.y + eyes.slant * ALONG
    open_share = 1 - expression.blink
    upper = tilt - eyes.upper * open_share * BULGE + 0.6 * eyes.lower * expression.blink * BULGE
    lower = tilt + eyes.lower * BULGE
    sketch.fill("front", band(x, upper, lower), (234, 229, 224))
    gaze_x, gaze_y = centre + expression.gaze[0], eyes.y - 0.4 + expression.gaze[1]
    order = slice(None, None, side)  # np.interp wants rising x
    for radius, colour in ((eyes.iris_radius, eyes.iris), (eyes.iris_radius * 0.45, (18.0, 14.0, 14.0))):
        disc = ellipse(gaze_x, gaze_y, radius, radius)
        top, bottom = (np.interp(disc[:, 0], x[order], lid[order]) for lid in (upper, lower))
        disc[:, 1] = np.clip(disc[:, 1], top, np.maximum(top, bottom))
        sketch.fill("front", disc, colour)
    if expression.blink < 0.4:
        glint = ellipse(gaze_x - 1, gaze_y - 1.1, 0.7, 0.7)
        sketch.fill("front", glint, (250, 250, 250))
    lid_line = line(x, upper)
    sketch.stroke("front", lid_line, mix((26, 18, 18), skin, 0.3 - 0.3 * eyes.lash), 0.6 + 0.9 * eyes.lash)
    sketch.stroke("front", line(x, lower)[3:], tone(skin, 0.62), 0.5)
    if eyes.crease > 0.25:
        fold = line(x, upper - (1.2 + 1.2 * eyes.crease) * (0.35 + BULGE))
        sketch.stroke("front", fold[1:], tone(skin, 0.9 - 0.3 * eyes.crease), 0.6)
    _brow(sketch, identity, expression, side)


def _brow(sketch: Sketch, identity: Identity, expression: Expression, side: int) -> None:
    eyes = identity.eyes
    x = CENTRE_X + side * (eyes.spacing + eyes.brow_gap + 1 + eyes.brow_width * ALONG)
    height = eyes.y + eyes.brow_y - 1.8 * expression.brow_raise
    y = height + eyes.brow_slant * ALONG - eyes.brow_arch * np.exp(-(((ALONG - 0.25) / 0.6) ** 2))
    thickness = eyes.brow_thickness * (1 - 0.75 * np.clip(ALONG, -0.2, 1)) * np.clip(4 * (ALONG + 1.12), 0, 1)
    colour = mix(tone(identity.hair.colour, eyes.brow_shade), identity.skin.colour, 0.15)
    sketch.fill("front", band(x, y - thickness / 2, y + thickness / 2), colour, lift=2)


def _glasses(sketch: Sketch, identity: Identity, glasses: GlassesTraits) -> None:
    eyes = identity.eyes
    y = eyes.y + glasses.drop
    width = min(glasses.half_width, eyes.spacing - 1.8)
    for side in SIDES:
        x = CENTRE_X + side * eyes.spacing
        rim = ellipse(x, y, width, glasses.half_height, squareness=glasses.squareness)
        sketch.stroke("front", np.concatenate([rim, rim[:1]]), glasses.colour, glasses.rim, lift=6)
        temple = np.array([[x + side * width, y - 2], [CENTRE_X + side * (identity.head.cheek + 1), y - 3]])
        sketch.stroke("front", temple, glasses.colour, glasses.rim, lift=6, grip=np.array([1.0, 0.0]))
        glint = np.array([[x - 4, y - glasses.half_height * 0.2], [x - 1, y - glasses.half_height * 0.6]])
        sketch.stroke("front", glint, (245, 248, 250), 0.6, lift=6)
    inner = eyes.spacing - width
    bridge = curve([(CENTRE_X - inner, y - 1), (CENTRE_X, y - 2.6), (CENTRE_X + inner, y - 1)])
    sketch.stroke("front", bridge, glasses.colour, glasses.rim, lift=9)
