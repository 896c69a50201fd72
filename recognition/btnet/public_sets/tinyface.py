"""TinyFace as it is distributed: gallery, probes and distractors of native size."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from btnet.data.image_files import list_images, need_folder
from btnet.public_sets.identification_set import NOBODY, IdentificationSet, make_set
from btnet.public_sets.mat_lists import read_names_and_ids

__all__ = ["read_tinyface"]

_LAYOUT = "ROOT/Testing_Set/{Gallery_Match, Probe, Gallery_Distractor}"


def read_tinyface(root: Path, *, images_root: Path | None = None) -> IdentificationSet:
    """Read the test set: groups "gallery" (matches, then distractors) and "probe".

    Args:
        root: the data set's folder, with Testing_Set/{Gallery_Match, Probe, Gallery_Distractor} and the two
            `.mat` lists beside them. Every image in Gallery_Distractor is a distractor.
        images_root: where the three folders of images are instead, for an aligned copy.

    Raises:
        NotADirectoryError, FileNotFoundError: if part of it is missing.
        ValueError: if a list is damaged, or a probe has no gallery image.
    """
    folder = need_folder(root / "Testing_Set", _LAYOUT)
    images = folder if images_root is None else images_root
    for part in ("Gallery_Match", "Probe", "Gallery_Distractor"):
        need_folder(images / part, _LAYOUT)
    lists = [folder / "gallery_match_img_ID_pairs.mat", folder / "probe_img_ID_pairs.mat"]
    gallery, gallery_ids = read_names_and_ids(lists[0], "gallery_set", "gallery_ids")
    probes, probe_ids = read_names_and_ids(lists[1], "probe_set", "probe_ids")
    distractors = list_images(images / "Gallery_Distractor")
    groups = {
        "gallery": (
            [f"Gallery_Match/{name}" for name in gallery]
            + [f"Gallery_Distractor/{name}" for name in distractors],
            np.concatenate([gallery_ids, np.full(len(distractors), NOBODY, dtype=np.int64)]),
        ),
        "probe": ([f"Probe/{name}" for name in probes], probe_ids),
    }
    return make_set("TinyFace", images, groups, lists)
