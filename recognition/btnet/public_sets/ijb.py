"""IJB-B and IJB-C in insightface's folder layout: crops, landmarks, templates, pairs, 1:N galleries."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import DTypeLike, NDArray

from btnet.files.text import Line, encoding_of, is_whole, read_lines
from btnet.public_sets.image_sets import ImageFiles, need_folder

__all__ = [
    "IJB",
    "TemplateList",
    "TemplatePairs",
    "read_galleries_and_probes",
    "read_ijb",
    "read_template_pairs",
]

_LAYOUT: Final = "ROOT/{loose_crop, meta}, as insightface distributes IJB-B and IJB-C"
_GALLERIES: Final = {"ijbc": ("G1", "G2"), "ijbb": ("S1", "S2")}


@dataclass(frozen=True, eq=False)
class IJB:
    """Images and how they make templates.

    Attributes:
        name: "IJB-C" or "IJB-B".
        images: loose crops.
        landmarks: eyes, nose tip, corners of the mouth as (x, y), float32 [N, 5, 2].
        detector_scores: of each face, float32 [N].
        templates: id of each image's template, int64 [N].
        media: id of each image's medium, int64 [N].
        prefix: of the files in meta: "ijbc" or "ijbb".
        meta: their folder.
        checksum: of landmarks and templates, and the names and sizes of the images.
    """

    name: str
    images: ImageFiles
    landmarks: NDArray[np.float32]
    detector_scores: NDArray[np.float32]
    templates: NDArray[np.int64]
    media: NDArray[np.int64]
    prefix: str
    meta: Path
    checksum: str


@dataclass(frozen=True, eq=False)
class TemplatePairs:
    """Pairs of template ids, int32 [P] each, and whether they show one person, bool [P]."""

    first: NDArray[np.int32]
    second: NDArray[np.int32]
    issame: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class TemplateList:
    """Templates and their subjects, int64 [T] each, every template once, ids rising."""

    templates: NDArray[np.int64]
    subjects: NDArray[np.int64]


def read_ijb(root: Path) -> IJB:
    """Read the list of images in ROOT/loose_crop and ROOT/meta; the names of the files in meta tell which set it is.

    Raises:
        NotADirectoryError, FileNotFoundError: if a folder, list or image is missing.
        ValueError: if a list is damaged, or the two do not name the same images.
    """
    crops, meta = need_folder(root / "loose_crop", _LAYOUT), need_folder(root / "meta", _LAYOUT)
    found = [prefix for prefix in _GALLERIES if (meta / f"{prefix}_face_tid_mid.txt").is_file()]
    if len(found) != 1:
        raise FileNotFoundError(
            f"{meta}: {len(found)} of ijbc_face_tid_mid.txt and ijbb_face_tid_mid.txt, expected one; {_LAYOUT}"
        )
    prefix = found[0]
    lists = [meta / f"{prefix}_name_5pts_score.txt", meta / f"{prefix}_face_tid_mid.txt"]
    names, numbers, _ = _named_numbers(lists[0], 11, np.float32)
    others, ids, lines = _named_numbers(lists[1], 2, np.int64)
    for name, other, line in zip(names, others, lines, strict=False):
        if name != other:
            raise line.error(f"{name!r} as {lists[0].name} has there; both list the same images in one order")
    if len(names) != len(others):
        raise ValueError(
            f"{lists[1]}: {len(others)} lines, {lists[0].name} has {len(names)}; both list the same images in one order"
        )
    images = ImageFiles(crops, names)
    return IJB(
        name="IJB-C" if prefix == "ijbc" else "IJB-B",
        images=images,
        landmarks=numbers[:, :10].reshape(-1, 5, 2),
        detector_scores=numbers[:, 10],
        templates=ids[:, 0],
        media=ids[:, 1],
        prefix=prefix,
        meta=meta,
        checksum=images.checksum(lists),
    )


def read_template_pairs(ijb: IJB) -> TemplatePairs:
    """Read the 1:1 protocol: `template template same` lines, 15.7 million for IJB-C.

    Raises:
        FileNotFoundError: if the list is missing.
        ValueError: if it is damaged, or names a template without image.
    """
    path = _there(ijb.meta / f"{ijb.prefix}_template_pair_label.txt")
    table = _load(path, dtype=np.int32)
    if table.shape[1] != 3 or not np.isin(table[:, 2], (0, 1)).all():
        raise ValueError(f"{path}: expected `template template same` with same 1 or 0 in every line")
    _check_known(path, table[:, :2], ijb)
    return TemplatePairs(table[:, 0], table[:, 1], table[:, 2] == 1)


def read_galleries_and_probes(ijb: IJB) -> tuple[list[TemplateList], TemplateList]:
    """Read the 1:N protocol: two galleries, and the mixed probes.

    Raises:
        FileNotFoundError: if a list is missing.
        ValueError: if one is damaged, names a template without image, or a probe's subject is in no gallery.
    """
    galleries = [_template_list(ijb, f"gallery_{name}") for name in _GALLERIES[ijb.prefix]]
    probes = _template_list(ijb, "probe_mixed")
    enrolled = np.concatenate([gallery.subjects for gallery in galleries])
    lost = probes.templates[~np.isin(probes.subjects, enrolled)]
    if len(lost):
        raise ValueError(
            f"{ijb.meta}: {len(lost)} of {len(probes.templates)} probe templates show a subject of no gallery, the "
            f"first is template {lost[0]}; the three csv files belong together"
        )
    return galleries, probes


def _template_list(ijb: IJB, kind: str) -> TemplateList:
    path = _there(ijb.meta / f"{ijb.prefix}_1N_{kind}.csv")
    # A line for every image; other columns, which may hold commas, follow.
    table = _load(path, dtype=np.int64, delimiter=",", skiprows=1, usecols=(0, 1))
    templates, first, inverse = np.unique(table[:, 0], return_index=True, return_inverse=True)
    subjects = table[first, 1]
    if not np.array_equal(subjects[inverse.reshape(-1)], table[:, 1]):
        raise ValueError(f"{path}: a template has two subjects; the file is damaged")
    _check_known(path, templates, ijb)
    return TemplateList(templates, subjects)


def _check_known(path: Path, ids: NDArray[Any], ijb: IJB) -> None:
    named = np.unique(ids)
    lost = named[~np.isin(named, ijb.templates)]
    if len(lost):
        raise ValueError(
            f"{path}: {len(lost)} templates have no image in the list of images, the first is template {lost[0]}; "
            "the files of meta belong together"
        )


def _there(path: Path) -> Path:
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: no such file; {_LAYOUT}. `btnet ijbc --tasks` leaves out what it is needed for"
        )
    return path


def _load(path: Path, dtype: DTypeLike, **options: Any) -> NDArray[Any]:
    try:
        encoding = encoding_of(path)
        if encoding == "utf-8":
            encoding = "latin-1"  # numbers are the same, and other columns have no say
        table = np.loadtxt(path, dtype=dtype, ndmin=2, encoding=encoding, **options)
    except (ValueError, IndexError, OverflowError) as error:
        _find_fault(path, **options)
        raise ValueError(f"{path}: damaged ({str(error)[:200]})") from error
    if not table.size:
        raise ValueError(f"{path}: holds no line")
    return np.asarray(table)


def _find_fault(
    path: Path, *, delimiter: str | None = None, skiprows: int = 0, usecols: tuple[int, ...] = (0, 1, 2)
) -> None:
    """Name the first line at fault: numpy does not count the lines as an editor does."""
    for line in islice(read_lines(path), skiprows, None):
        fields = [field.strip() for field in line.text.split(delimiter)]
        if len(fields) <= max(usecols) or not all(is_whole(fields[column]) for column in usecols):
            raise line.error(f"whole numbers in {len(usecols)} columns")


def _named_numbers(path: Path, count: int, dtype: DTypeLike) -> tuple[list[str], NDArray[Any], list[Line]]:
    """Lines of a name and `count` finite numbers: names, numbers [N, count], and the lines for errors."""
    lines = list(read_lines(_there(path)))
    if not lines:
        raise ValueError(f"{path}: holds no line")
    names: list[str] = []
    numbers = np.empty((len(lines), count), dtype)
    for row, line in zip(numbers, lines, strict=True):
        name, *fields = line.text.split()
        if len(fields) != count:
            raise line.error(f"{count + 1} fields")
        try:
            row[:] = fields
        except (ValueError, OverflowError) as error:
            raise line.error(f"numbers ({numbers.dtype}) behind the name") from error
        names.append(name)
    strange = np.flatnonzero(~np.isfinite(numbers).all(axis=1))
    if len(strange):
        raise lines[strange[0]].error("finite numbers behind the name")
    return names, numbers, lines
