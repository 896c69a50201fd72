"""Hair and hat of a rendered person: the widest shapes in the picture, and the least to be relied on."""

from dataclasses import replace

import numpy as np

from btnet.synthetic.capture import Capture, Scene
from btnet.synthetic.identity import Identity
from btnet.synthetic.shapes import ALONG, BULGE, CENTRE_X, SIDES, Points, band, curve, line, mirrored, tone
from btnet.synthetic.sketch import Sketch


def groomed(person: Identity, scene: Scene) -> Identity:
    """The person as they look that day: what a hairdresser and a holiday can change."""
    hair = replace(
        person.hair,
        colour=tone(person.hair.colour, scene.hair_gain),
        length=max(0.0, person.hair.length + scene.hair_length),
        volume=max(1.0, person.hair.volume + scene.hair_volume),
        fringe=max(0.0, person.hair.fringe + scene.fringe),
        part=person.hair.part * scene.parting_gain,
    )
    return replace(
        person, hair=hair, skin=replace(person.skin, colour=tone(person.skin.colour, scene.skin_gain))
    )


def draw_hair(sketch: Sketch, identity: Identity, capture: Capture) -> None:
    """Add the hair around the face, and the hat of the day."""
    head, hair, scene = identity.head, identity.hair, capture.scene
    if not hair.is_bald:
        _hair_cap(sketch, identity)
    if scene.hat:
        crown = [
            (0, -30.0),
            (head.cheek, -20),
            (head.cheek + 4, 8),
            (head.cheek + 3, scene.hat_y + 4),
            (0, scene.hat_y - 3),
        ]
        sketch.fill("front", curve(mirrored(crown), closed=True), scene.hat, lift=8, grip=0.3)
        y = scene.hat_y + 4 - 7 * BULGE
        brim = band(CENTRE_X + (head.cheek + 3) * ALONG, y - 7, y)
        sketch.fill("front", brim, tone(scene.hat, 0.72), lift=12, grip=0.3)


def _hair_cap(sketch: Sketch, identity: Identity) -> None:
    head, hair = identity.head, identity.hair
    # Over the top of the skull from the left ear (angle 0) to the right; squarer than an ellipse, so that
    # no skull shows outside of thin hair.
    angle = np.linspace(-0.12, 1.12, 40) * np.pi
    waves = 1 + hair.curl * np.sin(hair.num_curls * angle * 2) / 45
    reach_x, reach_y = max(head.cheek, head.temple + 2) + 0.5 + hair.volume * 0.7, 62 + hair.volume
    cos, sin = (np.sign(value) * np.abs(value) ** 0.75 for value in (np.cos(angle), np.sin(angle)))
    outer = line(CENTRE_X - reach_x * waves * cos, 50 - reach_y * waves * sin)
    hairline = _hairline(identity)
    grip = np.concatenate([np.zeros(len(outer)), np.full(len(hairline), 0.75)])
    sketch.fill("front", np.concatenate([outer, hairline]), hair.colour, lift=4, grip=grip)
    if hair.length > 0.35:
        _locks(sketch, identity)
    parting = CENTRE_X + hair.part * head.temple * 0.6
    for index, share in enumerate((-0.9, -0.6, -0.3, 0.3, 0.6, 0.9)):
        gain = 1 + 0.4 * hair.gloss if index % 2 else 1 - 0.25 * hair.gloss
        x = CENTRE_X + share * reach_x * 0.93
        # Hairline runs from right to left; a strand ends on the hair, not on the forehead.
        tip = (x, float(np.interp(x, hairline[::-1, 0], hairline[::-1, 1])) - 5)
        strand = curve([(parting, -6.0), ((parting + x) / 2 + 4 * share, 0.3 * tip[1] - 3), tip])
        sketch.stroke("front", strand, tone(hair.colour, gain), 0.8 + 0.6 * hair.gloss, lift=7, grip=0.5)


def _hairline(identity: Identity) -> Points:
    """Where hair meets the forehead, from the right ear to the left; combed away from the parting."""
    hair = identity.hair
    temple = identity.head.temple - hair.side
    ear = 56 + 10 * min(hair.length, 0.3)
    controls = [(CENTRE_X + temple + 3, ear)]
    for share in (0.98, 0.85, 0.5, 0.0, -0.5, -0.85, -0.98):
        side_y = ear - 22 * (1 - 0.2 * abs(share))
        rise = (1 - abs(share) ** 3) * (ear - 22 - hair.hairline_y)
        hang = hair.fringe * abs(share - hair.part) / 2 * (abs(share) < 0.95)
        peak = hair.peak * ((share == 0) - 0.35 * (abs(share) == 0.5))
        controls.append((CENTRE_X + share * temple, side_y - rise + hang + peak))
    controls.append((CENTRE_X - temple - 3, ear))
    points = curve(controls)
    points[:, 1] += 0.6 * hair.curl * np.sin(np.arange(len(points)) * 2.1)
    return points


def _locks(sketch: Sketch, identity: Identity) -> None:
    """Long hair that falls in front of the ears."""
    head, hair = identity.head, identity.hair
    end = 62 + 62 * hair.length
    for side in SIDES:
        outer, inner = head.cheek + 2 + hair.volume, head.cheek - 3 - 0.35 * hair.volume
        points = [
            (inner + 1, 34.0),
            (outer, 34.0),
            (outer + 1.5, 66.0),
            (outer - 1, end),
            (inner + 3, end - 3),
            (inner, 66.0),
        ]
        lock = curve([(CENTRE_X + side * x, y) for x, y in points], closed=True)
        sketch.fill("front", lock, tone(hair.colour, 0.92), lift=5, grip=0)
        strand = curve(
            [
                (CENTRE_X + side * (outer - 2.5), 36.0),
                (CENTRE_X + side * (outer - 1.5), 64.0),
                (CENTRE_X + side * (outer - 4), end),
            ]
        )
        sketch.stroke("front", strand, tone(hair.colour, 1 + 0.35 * hair.gloss), 0.9, lift=6, grip=0)
