"""Benchmarks of native low-resolution faces as they are distributed: QMUL-SurvFace, TinyFace, SCFace.

Every reader raises NotADirectoryError or FileNotFoundError where a part is missing, and ValueError for a damaged list,
an image that cannot be taken, or a probe whose person is not in the gallery.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from btnet.data.folder_faces import FolderFaces
from btnet.public_sets.image_sets import (
    NOBODY,
    IdentificationSet,
    PairSet,
    list_images,
    make_pair_set,
    make_set,
    need_folder,
)
from btnet.public_sets.mat_lists import read_names, read_names_and_ids

__all__ = [
    "DISTANCES",
    "read_scface",
    "read_survface_identification",
    "read_survface_verification",
    "read_tinyface",
]

DISTANCES = ("probe_d1", "probe_d2", "probe_d3")
"""SCFace's probes, at 4.20 m, 2.60 m and 1.00 m from the cameras."""

_SURVFACE_1N, _SURVFACE_11 = "Face_Identification_Test_Set", "Face_Verification_Test_Set"
_TINYFACE = "ROOT/Testing_Set/{Gallery_Match, Probe, Gallery_Distractor}"


def read_survface_identification(root: Path) -> IdentificationSet:
    """Read QMUL-SurvFace's 1:N test set: groups "gallery", "mated" and "unmated".

    Args:
        root: the data set's folder, with Face_Identification_Test_Set/{gallery, mated_probe, unmated_probe}
            and the two `.mat` lists beside them (or in Face_Identification_Evaluation). Every image in
            unmated_probe is an unmated probe.
    """
    layout = f"ROOT/{_SURVFACE_1N}/{{gallery, mated_probe, unmated_probe}}"
    folder = need_folder(root / _SURVFACE_1N, layout)
    groups, lists = {}, []
    for name, kind in (("gallery", "gallery"), ("mated", "mated_probe")):
        evaluation = root / "Face_Identification_Evaluation" / f"{kind}_img_ID_pairs.mat"
        lists.append(evaluation if evaluation.is_file() else folder / evaluation.name)
        need_folder(folder / kind, layout)
        names, ids = read_names_and_ids(lists[-1], f"{kind}_set", f"{kind}_ids")
        groups[name] = (_below(kind, names), ids)
    unmated = list_images(need_folder(folder / "unmated_probe", layout))
    groups["unmated"] = (_below("unmated_probe", unmated), _nobody(unmated))
    return make_set("QMUL-SurvFace 1:N", folder, groups, lists)


def read_survface_verification(root: Path) -> PairSet:
    """Read QMUL-SurvFace's 1:1 test set, positive and negative pairs in turns, so that each fold has both.

    Args:
        root: the data set's folder, with Face_Verification_Test_Set/verification_images and beside it
            positive_pairs_names.mat and negative_pairs_names.mat, [P, 2] names each.
    """
    folder = need_folder(root / _SURVFACE_11, f"ROOT/{_SURVFACE_11}/verification_images")
    lists = [folder / f"{kind}_pairs_names.mat" for kind in ("positive", "negative")]
    positive, negative = (read_names(path, path.stem) for path in lists)
    for path, names in zip(lists, (positive, negative), strict=True):
        if names.ndim != 2 or names.shape[1] != 2 or names.shape != positive.shape:
            raise ValueError(
                f"{path}: names have shape {list(names.shape)}, expected [P, 2], as many positive as "
                "negative pairs"
            )
    names = np.stack([positive, negative], axis=1).reshape(-1).tolist()
    images = need_folder(folder / "verification_images", "the images of the pairs")
    return make_pair_set("QMUL-SurvFace 1:1", images, names, np.arange(len(names) // 2) % 2 == 0, lists)


def read_tinyface(root: Path, *, images_root: Path | None = None) -> IdentificationSet:
    """Read TinyFace's test set: groups "gallery" (matches, then distractors) and "probe".

    Args:
        root: the data set's folder, with Testing_Set/{Gallery_Match, Probe, Gallery_Distractor} and the two
            `.mat` lists beside them. Every image in Gallery_Distractor is a distractor.
        images_root: where the three folders of images are instead, for an aligned copy.
    """
    folder = need_folder(root / "Testing_Set", _TINYFACE)
    images = folder if images_root is None else images_root
    for part in ("Gallery_Match", "Probe", "Gallery_Distractor"):
        need_folder(images / part, _TINYFACE)
    lists = [folder / "gallery_match_img_ID_pairs.mat", folder / "probe_img_ID_pairs.mat"]
    gallery, gallery_ids = read_names_and_ids(lists[0], "gallery_set", "gallery_ids")
    probes, probe_ids = read_names_and_ids(lists[1], "probe_set", "probe_ids")
    distractors = list_images(images / "Gallery_Distractor")
    groups = {
        "gallery": (
            _below("Gallery_Match", gallery) + _below("Gallery_Distractor", distractors),
            np.concatenate([gallery_ids, _nobody(distractors)]),
        ),
        "probe": (_below("Probe", probes), probe_ids),
    }
    return make_set("TinyFace", images, groups, lists)


def read_scface(root: Path) -> IdentificationSet:
    """Read SCFace cut to faces: mug shots as group "gallery", surveillance images as the groups of `DISTANCES`.

    The data set comes as whole camera frames; this is the layout of its cut faces.

    Args:
        root: folder with gallery/IDENTITY/*.jpg and probe_d1, probe_d2, probe_d3 likewise.
    """
    faces = {}
    for part in ("gallery", *DISTANCES):
        folder = need_folder(root / part, "ROOT/{gallery, probe_d1, probe_d2, probe_d3}/IDENTITY/*.jpg")
        faces[part] = FolderFaces(folder)
        faces[part].found.need_all()
    people = sorted({name for each in faces.values() for name in each.class_names})
    groups = {}
    for part, each in faces.items():
        ids = np.array([people.index(name) for name in each.class_names], dtype=np.int64)
        groups[part] = (_below(part, each.found.names), ids[each.labels])
    return make_set("SCFace", root, groups, [])


def _below(folder: str, names: list[str]) -> list[str]:
    return [f"{folder}/{name}" for name in names]


def _nobody(names: list[str]) -> NDArray[np.int64]:
    return np.full(len(names), NOBODY, dtype=np.int64)
