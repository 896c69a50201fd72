"""Photographs and loose crops of a folder -> aligned faces, and a list of what was left out and why."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from btnet.console import tracked
from btnet.data.found_images import walk_images
from btnet.detection.detections import Detections, Detector
from btnet.files.atomic import put_in_place, refuse_existing, replacing, temporary_name
from btnet.images.codec import decode_image, encode_jpeg, encode_png
from btnet.serving.alignment import align_face, face_size, residual

__all__ = ["AlignedFolder", "align_folder", "beside", "find_faces"]

_BORDER: Final = (
    0.2  # of the longer side, for a face that fills its image; detectors want to see what is around it
)
_GLANCE: Final = 1280  # px, longer side of an image in which only large faces are looked for
_SHEET: Final = 10  # faces in a row, and rows


@dataclass
class AlignedFolder:
    """What came of a folder.

    Attributes:
        faces: names of the aligned images, below the output folder.
        sizes: how many px of its photograph each face spans (`face_size`).
        residuals: how far each face's landmarks stay from the template, px of 112.
        left_out: images without an aligned face, by name, and why.
    """

    faces: list[str] = field(default_factory=list)
    sizes: list[float] = field(default_factory=list)
    residuals: list[float] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)


def find_faces(detector: Detector, image: NDArray[np.uint8], *, every_face: bool = True) -> Detections:
    """The faces of an image; where there seem to be none, those with a black border around it.

    Args:
        detector: finds them.
        image: uint8 RGB [H, W, 3].
        every_face: look for small ones too; otherwise a large image is shrunk first, which is many times faster, and
            looked at as it is only where no face was found.
    """
    factor = np.float32(1 if every_face else min(1, _GLANCE / max(image.shape)))
    small = (
        image
        if factor == 1
        else cv2.resize(image, None, fx=float(factor), fy=float(factor), interpolation=cv2.INTER_AREA)
    )
    found = detector.detect(np.asarray(small, np.uint8))
    if len(found.scores):
        return Detections(
            (found.boxes + 0.5) / factor - 0.5, (found.points + 0.5) / factor - 0.5, found.scores
        )
    if factor < 1:
        return find_faces(detector, image)
    border = round(_BORDER * max(image.shape))
    boxes, points, scores = detector.detect(np.pad(image, [(border, border), (border, border), (0, 0)]))
    return Detections(boxes - border, points - border, scores)


def align_folder(
    folder: Path,
    output: Path,
    detector: Detector,
    *,
    size: int = 112,
    min_size: float = 40,
    max_residual: float = 8,
    every_face: bool = False,
    png: bool = False,
    overwrite: bool = False,
    quiet: bool = False,
) -> AlignedFolder:
    """Align the largest face of each image below a folder; folders keep their names.

    Beside the output come `OUTPUT.contact_sheet.jpg` (up to 100 of the faces) and `OUTPUT.left_out.tsv` (path,
    reason); not inside, where they would be taken for faces. The output appears when all is done, or not at all.

    Args:
        folder: photographs and crops of any size.
        output: folder to write.
        detector: finds the faces.
        size: side of the aligned images in px.
        min_size: leave out faces that span fewer px of their image (`face_size`).
        max_residual: leave out faces whose landmarks stay further from the template, in px of 112.
        every_face: all faces of an image, not the largest alone.
        png: write PNG instead of JPEG of quality 95.
        overwrite: replace an output of this function.
        quiet: no progress bar.

    Raises:
        ValueError: if there is no image or no face, or the folders lie in each other.
        FileExistsError: if the output is there, and may not be replaced.
        NotADirectoryError: if `folder` is none.
    """
    table = beside(output, "left_out.tsv")
    refuse_existing(
        output,
        overwrite=overwrite and table.is_file(),
        option="`btnet align --overwrite` (its own output alone)",
    )
    inner, outer = output.resolve(), folder.resolve()
    if inner.is_relative_to(outer) or outer.is_relative_to(inner):
        raise ValueError(f"{output}: lies in {folder}, or the other way round; choose another output")
    found = walk_images(folder).need_some()
    done = AlignedFolder(
        left_out={name: reason for reason, names in found.left_out.items() for name in names}
    )
    taken: set[str] = set()
    ending = ".png" if png else ".jpg"
    with _whole_folder(output) as draft:
        for name in tracked(found.names, "aligning", len(found.names), quiet=quiet):
            try:
                image = decode_image((folder / name).read_bytes(), name)
                points = _chosen(
                    find_faces(detector, image, every_face=every_face), min_size, max_residual, every_face
                )
                crops = [align_face(image, face, size) for face in points]
            except (ValueError, OSError) as error:
                done.left_out[name] = str(error)
                continue
            for number, (face, crop) in enumerate(zip(points, crops, strict=True)):
                target = _free_name(name, f"_{number}" if every_face else "", ending, taken)
                (draft / target).parent.mkdir(parents=True, exist_ok=True)
                (draft / target).write_bytes(encode_png(crop) if png else encode_jpeg(crop))
                done.faces.append(target)
                done.sizes.append(face_size(face))
                done.residuals.append(residual(face))
        if not done.faces:
            name, reason = next(iter(done.left_out.items()))
            raise ValueError(f"{folder}: no face to align in {len(found.names)} images ({name}: {reason})")
        rows = [f"{name}\t{' '.join(reason.split())}\n" for name, reason in sorted(done.left_out.items())]
        with replacing(table) as path:
            path.write_bytes("".join(["path\treason\n", *rows]).encode("utf-8", "surrogateescape"))
        with replacing(beside(output, "contact_sheet.jpg")) as path:
            path.write_bytes(encode_jpeg(_contact_sheet(draft, done.faces)))
    return done


def beside(output: Path, name: str) -> Path:
    """Where a file of that name lies beside an output folder."""
    return output.with_name(f"{output.name}.{name}")


def _chosen(
    found: Detections, min_size: float, max_residual: float, every_face: bool
) -> list[NDArray[np.float32]]:
    """Landmarks of the faces to align, the largest first; a ValueError says why there is none."""
    good, reasons = list[NDArray[np.float32]](), ["no face found"]
    sized = []
    for points in found.points:
        try:
            sized.append((face_size(points), points))
        except ValueError as error:
            reasons.append(str(error))
    for size, points in sorted(sized, key=lambda pair: -pair[0]):
        if size < min_size:
            reasons.append(f"the face spans {size:.0f} px, expected {min_size:g} at least")
        elif (missed := residual(points)) > max_residual:
            reasons.append(
                f"the landmarks miss the template by {missed:.1f} px, expected {max_residual:g} at most"
            )
        else:
            good.append(points)
    if not good:
        raise ValueError(reasons[min(1, len(reasons) - 1)])
    return good if every_face else good[:1]


def _free_name(name: str, number: str, ending: str, taken: set[str]) -> str:
    """Name of an aligned image; those of a.jpg and a.png in one folder differ."""
    stem = f"{PurePosixPath(name).with_suffix('')}{number}"
    while f"{stem}{ending}".lower() in taken:
        stem += "_"
    taken.add(f"{stem}{ending}".lower())
    return f"{stem}{ending}"


@contextmanager
def _whole_folder(output: Path) -> Iterator[Path]:
    """A draft beside `output` that takes its place at the end, or goes if the block raises."""
    draft = temporary_name(output)
    try:
        draft.mkdir()
    except OSError as error:
        error.filename = str(output)
        raise
    try:
        yield draft
        put_in_place(draft, output)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _contact_sheet(folder: Path, names: list[str]) -> NDArray[np.uint8]:
    """Up to 100 of the faces, evenly spread, 112 px each."""
    shown = [names[i] for i in np.unique(np.linspace(0, len(names) - 1, _SHEET**2).astype(int))]
    sheet = np.full((-(-len(shown) // _SHEET) * 112, _SHEET * 112, 3), 255, np.uint8)
    for number, name in enumerate(shown):
        row, column = divmod(number, _SHEET)
        face = decode_image((folder / name).read_bytes(), name)
        place = sheet[row * 112 : row * 112 + 112, column * 112 : column * 112 + 112]
        place[...] = cv2.resize(face, (112, 112), interpolation=cv2.INTER_AREA)
    return sheet
