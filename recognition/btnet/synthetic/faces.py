"""The embedded data: rendered identities, so that all can be tried, tested and shown without a download.

Not a substitute for photographs: numbers measured on it compare methods with each other, not with the paper.
"""

import hashlib
import json

import numpy as np
from numpy.typing import NDArray

from btnet.synthetic.render import render_face

RENDERER_VERSION = 1
"""Raise whenever the same parameters give other images."""


class SyntheticFaces:
    """A labelled set of rendered faces, random access, made when asked for (about 2 ms each).

    Image i shows identity i // images_per_identity. A person is determined by the seed and an absolute
    number, so sets of the same seed share nobody when their ranges of numbers do not overlap:

        train = SyntheticFaces(300, 20, seed=0)
        held_out = SyntheticFaces(100, 8, seed=0, first_identity=300)
    """

    def __init__(
        self, num_identities: int, images_per_identity: int, seed: int = 0, *, first_identity: int = 0
    ) -> None:
        """Describe the set, which renders nothing yet; ValueError if a number is too small.

        `seed` is that of everything drawn, `first_identity` the absolute number of the first person.
        """
        for name, value, least in (
            ("num_identities", num_identities, 1),
            ("images_per_identity", images_per_identity, 1),
            ("seed", seed, 0),
            ("first_identity", first_identity, 0),
        ):
            if value < least:
                raise ValueError(f"{name} is {value}, expected at least {least}")
        self._num_identities = int(num_identities)
        self._images_per_identity = int(images_per_identity)
        self._seed = int(seed)
        self._first_identity = int(first_identity)

    def __len__(self) -> int:
        return self._num_identities * self._images_per_identity

    def __getitem__(self, index: int) -> tuple[NDArray[np.uint8], int]:
        """Render an image, uint8 RGB [112, 112, 3], and give its label; the same in every process.

        Another OpenCV rounds and compresses a little differently: mean difference about 0.1 grey levels.
        """
        label, shot = self._place(index)
        return render_face(self._seed, self._first_identity + label, shot), label

    @property
    def num_classes(self) -> int:
        """Number of identities."""
        return self._num_identities

    @property
    def class_names(self) -> list[str]:
        """Names by absolute number, in the order of the labels."""
        return [self._name(label) for label in range(self._num_identities)]

    @property
    def labels(self) -> NDArray[np.int64]:
        """Label of every image, int64 [N]; renders nothing."""
        return np.repeat(np.arange(self._num_identities, dtype=np.int64), self._images_per_identity)

    def describe(self, index: int) -> str:
        """Which person and which image of them, for error texts."""
        label, shot = self._place(index)
        return f"synthetic faces of seed {self._seed}, {self._name(label)}, image {shot}"

    def fingerprint(self) -> str:
        """Sha256 of the parameters and of the renderer's version."""
        parameters = {
            "renderer": RENDERER_VERSION,
            "num_identities": self._num_identities,
            "images_per_identity": self._images_per_identity,
            "seed": self._seed,
            "first_identity": self._first_identity,
        }
        return hashlib.sha256(json.dumps(parameters, sort_keys=True).encode()).hexdigest()

    def _name(self, label: int) -> str:
        return f"person {self._first_identity + label:05d}"

    def _place(self, index: int) -> tuple[int, int]:
        if not -len(self) <= index < len(self):
            raise IndexError(f"image {index} of a set of {len(self)} synthetic faces; they count from 0")
        return divmod(int(index) % len(self), self._images_per_identity)
