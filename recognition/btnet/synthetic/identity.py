"""Who a rendered person is: traits drawn from (seed, number of the person), and nothing else.

Traits live at every spatial frequency, because the experiments this data serves ask what a face of 7, 14 or
28 px still tells: coarse (head, hair, skin tone), middle (brows, eyes, nose, mouth, ears, glasses, beard) and
fine (moles, freckles, wrinkles, skin texture: `SkinTraits`). Hair and skin come from few clusters, and light
and camera blur them further, so no colour names a person.

Lengths are px of the 112 px template, measured on a frontal face; x to the right, y down.
"""

from dataclasses import dataclass

from btnet.synthetic.draws import Colour, Draws
from btnet.synthetic.shapes import mix, tone

_SKIN_TONES = ((250, 222, 200), (240, 201, 168), (219, 172, 134), (178, 127, 90), (131, 87, 60), (92, 61, 46))
_HAIR_COLOURS = (
    (28, 24, 25),
    (52, 37, 30),
    (88, 58, 38),
    (134, 94, 58),
    (202, 163, 100),
    (146, 72, 38),
    (140, 138, 136),
    (212, 208, 202),
)
_HAIR_WEIGHTS = (0.24, 0.24, 0.16, 0.11, 0.1, 0.05, 0.06, 0.04)
_IRIS_COLOURS = ((58, 36, 24), (98, 64, 36), (122, 104, 56), (84, 118, 82), (84, 122, 160), (122, 134, 146))
_RIM_COLOURS = ((24, 22, 24), (92, 52, 28), (150, 130, 84), (130, 134, 142), (128, 32, 40), (36, 56, 104))


@dataclass(frozen=True)
class HeadTraits:
    """Half widths of the head from top to chin, and where the chin ends."""

    temple: float
    cheek: float
    jaw: float
    chin: float
    chin_y: float
    jaw_y: float
    ear_size: float
    ear_out: float
    ear_y: float


@dataclass(frozen=True)
class HairTraits:
    """Style, colour and hairline."""

    colour: Colour
    is_bald: bool
    length: float  # 0 cropped at the ears .. 1 below the chin
    volume: float
    hairline_y: float
    side: float  # how far hair comes in over the temples
    part: float  # -1 .. 1, where the parting is
    fringe: float  # how far the fringe hangs at the side the hair is combed to
    peak: float
    curl: float
    num_curls: int
    gloss: float


@dataclass(frozen=True)
class EyeTraits:
    """Eyes and brows."""

    spacing: float  # half the distance between the eyes
    y: float
    half_width: float
    upper: float
    lower: float
    slant: float
    iris: Colour
    iris_radius: float
    crease: float
    lash: float
    bag: float
    brow_y: float
    brow_width: float
    brow_thickness: float
    brow_arch: float
    brow_slant: float
    brow_gap: float
    brow_shade: float


@dataclass(frozen=True)
class NoseTraits:
    """Nose."""

    tip_y: float
    half_width: float
    bridge: float
    nostril: float
    bump: float
    tip_radius: float
    shadow: float


@dataclass(frozen=True)
class MouthTraits:
    """Mouth, beard and moustache."""

    y: float
    half_width: float
    upper: float
    lower: float
    bow: float
    curve: float
    red: float
    beard: float  # 0 none, else how high it climbs the cheeks
    goatee: bool
    moustache: float
    stubble: float


@dataclass(frozen=True)
class GlassesTraits:
    """Glasses, worn in most images of a person who has them."""

    colour: Colour
    half_width: float
    half_height: float
    squareness: float
    rim: float
    drop: float


@dataclass(frozen=True)
class SkinTraits:
    """Tone and everything fine; `key` seeds the texture field and the marks."""

    colour: Colour
    blush: float
    texture: float
    num_freckles: int
    num_moles: int
    age: float
    key: int


@dataclass(frozen=True)
class Identity:
    """All traits of one person."""

    head: HeadTraits
    hair: HairTraits
    eyes: EyeTraits
    nose: NoseTraits
    mouth: MouthTraits
    glasses: GlassesTraits | None
    skin: SkinTraits


def draw_identity(seed: int, number: int) -> Identity:
    """The person with this number: the same for ever, whatever else is drawn."""
    draws = Draws(seed, 1, number)
    skin = _draw_skin(draws)
    head = HeadTraits(
        temple=draws.uniform(32, 39),
        cheek=draws.uniform(34, 42),
        jaw=draws.uniform(24, 36),
        chin=draws.uniform(9, 19),
        chin_y=draws.uniform(104.5, 114),
        jaw_y=draws.uniform(88, 97),
        ear_size=draws.uniform(7.5, 12),
        ear_out=draws.uniform(2, 7),
        ear_y=draws.uniform(57, 65),
    )
    return Identity(
        head=head,
        hair=_draw_hair(draws, skin.age),
        eyes=_draw_eyes(draws),
        nose=NoseTraits(
            tip_y=draws.uniform(67.5, 76),
            half_width=draws.uniform(6, 11.5),
            bridge=draws.uniform(2, 4.8),
            nostril=draws.uniform(1.2, 2.6),
            bump=draws.uniform(-1.5, 1.5),
            tip_radius=draws.uniform(2.5, 5),
            shadow=draws.uniform(0.3, 1),
        ),
        mouth=_draw_mouth(draws),
        glasses=_draw_glasses(draws),
        skin=skin,
    )


def _draw_skin(draws: Draws) -> SkinTraits:
    place = draws.uniform(0, len(_SKIN_TONES) - 1.001)
    lighter, darker = _SKIN_TONES[int(place)], _SKIN_TONES[int(place) + 1]
    warmth = draws.uniform(-8, 8)
    red, green, blue = mix(lighter, darker, place % 1)
    return SkinTraits(
        colour=(red + 0.3 * warmth, green, blue - warmth),
        blush=draws.uniform(0, 1),
        texture=draws.uniform(0.4, 1),
        num_freckles=int(draws.uniform(10, 60)) if draws.chance(0.3) else 0,
        num_moles=int(draws.uniform(0, 6)),
        age=draws.uniform(0, 1),
        key=int(draws.uniform(0, 2**31)),
    )


def _draw_hair(draws: Draws, age: float) -> HairTraits:
    base = _HAIR_COLOURS[draws.pick(_HAIR_WEIGHTS)]
    return HairTraits(
        colour=tone(base, draws.uniform(0.85, 1.15)),
        is_bald=draws.chance(0.05 + 0.08 * age),
        length=draws.uniform(0, 1) if draws.chance(0.6) else draws.uniform(0, 0.2),
        volume=draws.uniform(1.5, 9),
        hairline_y=draws.uniform(13, 27),
        side=draws.uniform(0, 6),
        part=draws.uniform(-1, 1),
        fringe=draws.uniform(2, 13) if draws.chance(0.5) else draws.uniform(-2, 3),
        peak=draws.uniform(-3, 4),
        curl=draws.uniform(0.8, 2.2) if draws.chance(0.35) else 0.0,
        num_curls=int(draws.uniform(9, 22)),
        gloss=draws.uniform(0.2, 1),
    )


def _draw_eyes(draws: Draws) -> EyeTraits:
    return EyeTraits(
        spacing=draws.uniform(15.6, 19.8),
        y=draws.uniform(50, 54),
        half_width=draws.uniform(5.6, 8.6),
        upper=draws.uniform(2.4, 4.8),
        lower=draws.uniform(1.4, 3.2),
        slant=draws.uniform(-1.8, 1.2),
        iris=_IRIS_COLOURS[draws.pick((0.3, 0.26, 0.12, 0.1, 0.14, 0.08))],
        iris_radius=draws.uniform(2.7, 3.6),
        crease=draws.uniform(0, 1),
        lash=draws.uniform(0.3, 1),
        bag=draws.uniform(0, 1),
        brow_y=draws.uniform(-12.5, -7.5),
        brow_width=draws.uniform(7.5, 12),
        brow_thickness=draws.uniform(0.9, 3.1),
        brow_arch=draws.uniform(-0.3, 3.8),
        brow_slant=draws.uniform(-1.6, 2.2),
        brow_gap=draws.uniform(-2.5, 2),
        brow_shade=draws.uniform(0.6, 1.05),
    )


def _draw_mouth(draws: Draws) -> MouthTraits:
    facial_hair = draws.pick((0.66, 0.1, 0.08, 0.08, 0.08))
    return MouthTraits(
        y=draws.uniform(88.5, 95),
        half_width=draws.uniform(11, 17.5),
        upper=draws.uniform(1.2, 4.2),
        lower=draws.uniform(1.8, 5.4),
        bow=draws.uniform(0, 1.6),
        curve=draws.uniform(-1.2, 1.8),
        red=draws.uniform(0.1, 1),
        beard=draws.uniform(3, 18) if facial_hair == 1 else 0.0,
        goatee=facial_hair == 2,
        moustache=draws.uniform(1.8, 4) if facial_hair in (1, 2, 3) else 0.0,
        stubble=draws.uniform(0.3, 1) if facial_hair == 4 else 0.0,
    )


def _draw_glasses(draws: Draws) -> GlassesTraits | None:
    glasses = GlassesTraits(
        colour=_RIM_COLOURS[draws.pick((0.4, 0.15, 0.12, 0.15, 0.09, 0.09))],
        half_width=draws.uniform(11, 14),
        half_height=draws.uniform(7, 11.5),
        squareness=draws.uniform(2, 6),
        rim=draws.uniform(0.5, 1.6),
        drop=draws.uniform(0, 3),
    )
    return glasses if draws.chance(0.2) else None
