"""QMUL-SurvFace as it is distributed: 1:N identification and 1:1 verification, faces of native size."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from btnet.data.image_files import list_images, need_folder
from btnet.public_sets.identification_set import NOBODY, IdentificationSet, make_set
from btnet.public_sets.mat_lists import read_names, read_names_and_ids
from btnet.public_sets.pair_set import PairSet, make_pair_set

__all__ = ["read_survface_identification", "read_survface_verification"]

_IDENTIFICATION, _VERIFICATION = "Face_Identification_Test_Set", "Face_Verification_Test_Set"


def read_survface_identification(root: Path) -> IdentificationSet:
    """Read the 1:N test set: groups "gallery", "mated" and "unmated".

    Args:
        root: the data set's folder, with Face_Identification_Test_Set/{gallery, mated_probe, unmated_probe}
            and the two `.mat` lists beside them (or in Face_Identification_Evaluation). Every image in
            unmated_probe is an unmated probe.

    Raises:
        NotADirectoryError, FileNotFoundError: if part of it is missing.
        ValueError: if a list is damaged, or a mated probe has no gallery image.
    """
    layout = f"ROOT/{_IDENTIFICATION}/{{gallery, mated_probe, unmated_probe}}"
    folder = need_folder(root / _IDENTIFICATION, layout)
    parts = {}
    lists = [_mat_list(root, kind) for kind in ("gallery", "mated_probe")]
    for path, kind, name in zip(lists, ("gallery", "mated_probe"), ("gallery", "mated"), strict=True):
        need_folder(folder / kind, layout)
        names, ids = read_names_and_ids(path, f"{kind}_set", f"{kind}_ids")
        parts[name] = ([f"{kind}/{image}" for image in names], ids)
    unmated = list_images(need_folder(folder / "unmated_probe", layout))
    parts["unmated"] = (
        [f"unmated_probe/{image}" for image in unmated],
        np.full(len(unmated), NOBODY, dtype=np.int64),
    )
    return make_set("QMUL-SurvFace 1:N", folder, parts, lists)


def read_survface_verification(root: Path) -> PairSet:
    """Read the 1:1 test set.

    Args:
        root: the data set's folder, with Face_Verification_Test_Set/verification_images and beside it
            positive_pairs_names.mat and negative_pairs_names.mat, [P, 2] names each.

    Returns:
        Positive and negative pairs in turns, so that each fold of consecutive pairs has both.

    Raises:
        NotADirectoryError, FileNotFoundError: if part of it is missing.
        ValueError: if a list is damaged, or the lists differ in length.
    """
    folder = need_folder(root / _VERIFICATION, f"ROOT/{_VERIFICATION}/verification_images")
    lists = [folder / f"{kind}_pairs_names.mat" for kind in ("positive", "negative")]
    positive, negative = (read_names(path, path.stem) for path in lists)
    for path, names in zip(lists, (positive, negative), strict=True):
        if names.ndim != 2 or names.shape[1] != 2 or names.shape != positive.shape:
            raise ValueError(
                f"{path}: names have shape {list(names.shape)}, expected [P, 2], as many positive as "
                "negative pairs"
            )
    pairs = [(str(a), str(b)) for both in zip(positive, negative, strict=True) for a, b in both]
    images = need_folder(folder / "verification_images", "the images of the pairs")
    return make_pair_set("QMUL-SurvFace 1:1", images, pairs, np.arange(len(pairs)) % 2 == 0, lists)


def _mat_list(root: Path, kind: str) -> Path:
    name = f"{kind}_img_ID_pairs.mat"
    evaluation = root / "Face_Identification_Evaluation" / name
    return evaluation if evaluation.is_file() else root / _IDENTIFICATION / name
