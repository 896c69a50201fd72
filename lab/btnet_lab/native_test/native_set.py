"""Verification sets of native faces: photographed from afar, detected, aligned at their own size; kept in one file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from btnet.files.atomic import replacing
from btnet.files.npz import read_npz
from btnet.files.text import naming
from btnet.images.codec import decode_image, encode_png
from btnet.serving.alignment import TEMPLATE, align_face, face_size
from btnet.serving.crops import MIN_SIDE
from btnet.synthetic.draws import Draws
from btnet_lab.native_test.scene import Conditions, photograph

_FORMAT_VERSION = 1
# Name, type and number of dimensions of the arrays in the file.
_ARRAYS: Final = {
    "images": (np.uint8, 1), "ends": (np.int64, 1), "issame": (np.bool_, 1), "boxes": (np.int64, 2),
    "pixel_px": (np.float64, 1), "optical_px": (np.float64, 1), "header": (np.uint8, 1),
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class NativeSet:
    """Pairs of an aligned gallery face and a native probe.

    Attributes:
        gallery: uint8 RGB [P, 112, 112, 3].
        probes: uint8 RGB [s, s, 3] each, aligned, in native size.
        issame: whether a pair shows one person, bool [P].
        boxes: width and height in px of the detector's box around each probe, int64 [P, 2].
        pixel_px: of the sensor that the 112 px of a probe spanned, float64 [P].
        optical_px: of detail that the lens left, float64 [P].
        about: how it was made: seed, conditions, source.
    """

    gallery: NDArray[np.uint8]
    probes: Sequence[NDArray[np.uint8]]
    issame: NDArray[np.bool_]
    boxes: NDArray[np.int64]
    pixel_px: NDArray[np.float64]
    optical_px: NDArray[np.float64]
    about: Mapping[str, Any]

    def __post_init__(self) -> None:
        """Refuse what does not fit together."""
        counts = {
            name: len(getattr(self, name))
            for name in ("gallery", "probes", "issame", "boxes", "pixel_px", "optical_px")
        }
        if len(set(counts.values())) != 1 or not len(self.issame):
            found = ", ".join(f"{count} {name}" for name, count in counts.items())
            raise ValueError(f"native set of {found}: expected one of each per pair, and a pair")

    def digest(self) -> str:
        """Sha256 over pictures, sizes and labels."""
        digest = hashlib.sha256(self.gallery.tobytes())
        for array in (*self.probes, self.issame, self.boxes, self.pixel_px, self.optical_px):
            digest.update(f"{array.shape}".encode())
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()

    def save(self, path: Path) -> None:
        """Write an .npz without pickle, images as PNG; equal sets give equal bytes."""
        if path.suffix != ".npz":
            raise ValueError(f"{path}: name the native set *.npz")
        encoded = [encode_png(image) for image in (*self.gallery, *self.probes)]
        header = {"format_version": _FORMAT_VERSION, "about": dict(self.about)}
        with replacing(path) as temporary, open(temporary, "wb") as file:
            np.savez(
                file,
                images=np.frombuffer(b"".join(encoded), np.uint8),
                ends=np.cumsum([len(each) for each in encoded], dtype=np.int64),
                issame=self.issame,
                boxes=self.boxes,
                pixel_px=self.pixel_px,
                optical_px=self.optical_px,
                header=np.frombuffer(json.dumps(header, sort_keys=True).encode(), np.uint8),
            )

    @classmethod
    def load(cls, path: Path) -> NativeSet:
        """Read a file that `save` wrote.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if it is damaged, of another kind, or of a newer format.
        """
        if not path.is_file():
            raise FileNotFoundError(
                f"{path}: no such native set; make one with `btnet-lab native-test --make`"
            )
        with naming(path, KeyError, TypeError, IndexError, RecursionError):
            arrays = read_npz(path, tuple(_ARRAYS))
            _check_kinds(arrays)
            header = json.loads(arrays["header"].tobytes())
            if header["format_version"] != _FORMAT_VERSION:
                raise ValueError(f"format {header['format_version']}, this version reads {_FORMAT_VERSION}")
            about = dict(header["about"])
            pieces = np.split(arrays["images"], arrays["ends"][:-1])
            if len(pieces) != 2 * len(arrays["issame"]):
                raise ValueError(f"{len(pieces)} images for {len(arrays['issame'])} pairs")
            images = [decode_image(piece, f"image {index}") for index, piece in enumerate(pieces)]
            num_pairs = len(images) // 2
            gallery = np.stack(images[:num_pairs])
            facts = {key: arrays[key] for key in ("issame", "boxes", "pixel_px", "optical_px")}
            return cls(gallery=gallery, probes=images[num_pairs:], about=about, **facts)


def _check_kinds(arrays: Mapping[str, NDArray[Any]]) -> None:
    for name, (dtype, num_dimensions) in _ARRAYS.items():
        found = arrays[name]
        if found.dtype != dtype or found.ndim != num_dimensions:
            raise ValueError(f"{name} is {found.dtype} {list(found.shape)}, no array of a native set")
    if arrays["boxes"].shape[1] != 2:
        raise ValueError(f"boxes of {arrays['boxes'].shape[1]} numbers, expected width and height")


_PURPOSE: Final = 3  # of the draws; the renderer has 1 and 2


class NativeFace(NamedTuple):
    """A small face as a recogniser gets it.

    Attributes:
        crop: aligned by the landmarks that were found, uint8 RGB [s, s, 3].
        box: width and height in px of the detector's box.
        pixel_px: of the sensor that the face's 112 px spanned.
        optical_px: of detail that the lens left of them.
    """

    crop: NDArray[np.uint8]
    box: tuple[int, int]
    pixel_px: float
    optical_px: float


def capture_faces(
    faces: Iterable[NDArray[np.uint8]],
    conditions: Conditions,
    *,
    seed: int,
    progress: Callable[[int], None] = lambda _: None,
) -> list[NativeFace]:
    """Photograph aligned faces; see `btnet_lab.native_test.scene.photograph`.

    A crop's side is the face's size by the landmarks that were found (`face_size`), as in `Recognizer.align`: like
    its box it differs a little from the true one. A face's photograph depends on its number and on no other face.
    """
    captured = []
    for number, face in enumerate(faces):
        taken = photograph(face, TEMPLATE, conditions, Draws(seed, _PURPOSE, number))
        side = max(round(face_size(taken.landmarks)), MIN_SIDE)
        crop = align_face(taken.frame, taken.landmarks, side)
        captured.append(NativeFace(crop, taken.box, taken.pixel_px, taken.optical_px))
        progress(1)
    return captured


def capture_pairs(
    images: NDArray[np.uint8],
    issame: NDArray[np.bool_],
    conditions: Conditions,
    *,
    seed: int,
    source: str = "",
    progress: Callable[[int], None] = lambda _: None,
) -> NativeSet:
    """A native verification set: of each pair the first image stays the gallery, the second is photographed.

    Args:
        images: aligned, uint8 RGB [2 P, 112, 112, 3]; pair i is images 2 i and 2 i + 1, as `read_bin` gives them.
        issame: whether a pair shows one person, [P].
        conditions: of the photographs.
        seed: of everything random.
        source: name of what the images came from, for the record.
        progress: called with the number of faces done.

    Raises:
        ValueError: as `photograph`, or if there are not two images per pair.
    """
    if len(images) != 2 * len(issame):
        raise ValueError(f"{len(images)} images for {len(issame)} pairs: expected two images per pair")
    taken = capture_faces(images[1::2], conditions, seed=seed, progress=progress)
    return NativeSet(
        gallery=images[::2],
        probes=[face.crop for face in taken],
        issame=np.asarray(issame, np.bool_),
        boxes=np.array([face.box for face in taken], np.int64).reshape(-1, 2),
        pixel_px=np.array([face.pixel_px for face in taken]),
        optical_px=np.array([face.optical_px for face in taken]),
        about={"seed": seed, "conditions": asdict(conditions), "source": source},
    )
