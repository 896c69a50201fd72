"""Lists of public benchmarks, as other systems save them, damaged, or with landmarks in another order."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.io import savemat

from btnet.public_sets.ijb import IJB, read_galleries_and_probes, read_ijb, read_template_pairs
from btnet.public_sets.mat_lists import read_names_and_ids
from btnet.serving.alignment import TEMPLATE
from btnet.serving.ijb import embed_ijb

NUM_IMAGES = 6
LISTS = {
    "ijbc_face_tid_mid.txt": [f"{i}.jpg {i // 2} {i}" for i in range(NUM_IMAGES)],
    "ijbc_template_pair_label.txt": ["0 1 0", "0 2 1"],
    "ijbc_1N_gallery_G1.csv": ["TEMPLATE_ID,SUBJECT_ID,NAME", "0,7,'Zoë, A.'"],
    "ijbc_1N_gallery_G2.csv": ["TEMPLATE_ID,SUBJECT_ID", "1,8"],
    "ijbc_1N_probe_mixed.csv": ["TEMPLATE_ID,SUBJECT_ID", "2,7"],
}


def make_ijb(root: Path, points: NDArray[np.float32] = TEMPLATE) -> Path:
    (root / "loose_crop").mkdir(parents=True)
    (root / "meta").mkdir()
    for i in range(NUM_IMAGES):
        (root / "loose_crop" / f"{i}.jpg").touch()
    numbers = " ".join(f"{value:.2f}" for value in points.ravel())
    write(root, "ijbc_name_5pts_score.txt", [f"{i}.jpg {numbers} 0.9" for i in range(NUM_IMAGES)])
    for name, lines in LISTS.items():
        write(root, name, lines)
    return root


def write(
    root: Path, name: str, lines: list[str], *, encoding: str = "utf-8", line_break: str = "\n"
) -> None:
    (root / "meta" / name).write_bytes(line_break.join([*lines, ""]).encode(encoding))


def everything(root: Path) -> list[NDArray[Any]]:
    ijb = read_ijb(root)
    pairs = read_template_pairs(ijb)
    galleries, probes = read_galleries_and_probes(ijb)
    arrays: list[Any] = [ijb.landmarks, ijb.templates, ijb.media, pairs.first, pairs.second, pairs.issame]
    return [*arrays, *(part for each in (*galleries, probes) for part in (each.templates, each.subjects))]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le"])
@pytest.mark.parametrize("line_break", ["\r\n", "\r", "\n\n"])
def test_ijbs_lists_are_the_same_in_any_encoding(encoding: str, line_break: str, tmp_path: Path) -> None:
    expected = everything(make_ijb(tmp_path))
    for path in (tmp_path / "meta").iterdir():
        lines = path.read_text(encoding="utf-8").splitlines()
        write(tmp_path, path.name, lines, encoding=encoding, line_break=line_break)
    for found, known in zip(everything(tmp_path), expected, strict=True):
        np.testing.assert_array_equal(found, known)


@pytest.mark.parametrize(
    ("name", "row", "line", "message"),
    [
        ("ijbc_face_tid_mid.txt", 2, "2.jpg 1", ":4: '2.jpg 1', expected 3 fields"),
        ("ijbc_face_tid_mid.txt", 2, "2.jpg 1 1.5", ":4: .*expected numbers"),
        (
            "ijbc_face_tid_mid.txt",
            2,
            "9.jpg 1 2",
            ":4: .*expected '2.jpg' as ijbc_name_5pts_score.txt has there",
        ),
        ("ijbc_name_5pts_score.txt", 1, "1.jpg 1 2 3 4 5 6 7 8 9 x .9", ":3: .*expected numbers"),
        ("ijbc_name_5pts_score.txt", 1, "1.jpg 1 2 3 4 5 6 7 8 9 nan .9", ":3: .*expected finite numbers"),
        ("ijbc_template_pair_label.txt", 1, "0 2", ":3: '0 2', expected whole numbers in 3 columns"),
        ("ijbc_template_pair_label.txt", 1, "0 two 1", ":3: "),
        ("ijbc_1N_gallery_G1.csv", 1, "0,x,y", ":3: '0,x,y', expected whole numbers in 2 columns"),
    ],
)
def test_a_damaged_line_of_ijb_is_named_as_an_editor_counts(
    name: str, row: int, line: str, message: str, tmp_path: Path
) -> None:
    root = make_ijb(tmp_path)
    lines = (root / "meta" / name).read_text(encoding="utf-8").splitlines()
    lines[row] = line
    write(root, name, [lines[0], "", *lines[1:]])
    with pytest.raises(ValueError, match=f"{name}{message}"):
        everything(root)


@pytest.mark.parametrize(
    ("mistake", "name"),
    [
        (lambda points: points[:, ::-1], r"\(y, x\)"),
        (lambda points: points[[1, 0, 2, 3, 4]], "eyes exchanged"),
        (lambda points: points.T.reshape(5, 2), r"x1 \.\. x5, y1 \.\. y5"),
    ],
)
def test_a_list_whose_landmarks_are_in_another_order_is_named(
    mistake: Callable[[NDArray[np.float32]], NDArray[np.float32]], name: str, tmp_path: Path
) -> None:
    ijb = read_ijb(make_ijb(tmp_path, mistake(TEMPLATE)))
    with pytest.raises(ValueError, match=rf"ijbc_name_5pts_score\.txt: landmarks look like {name} \(6 of 6"):
        embed(ijb, tmp_path)


def test_single_faces_that_a_detector_mixed_up_do_not_make_a_list_wrong(tmp_path: Path) -> None:
    ijb = read_ijb(make_ijb(tmp_path))
    ijb.landmarks[::2] = ijb.landmarks[::2, ::-1]
    with pytest.raises(AttributeError, match="canonical_size"):  # it goes on to the model, which is none
        embed(ijb, tmp_path)


def embed(ijb: IJB, folder: Path) -> None:
    embed_ijb(None, ijb, [], folder, alignment="direct", interpolation="bilinear")  # type: ignore[arg-type]


@pytest.mark.parametrize("number", [-1, 0.5, 2.0**53, np.nan])
def test_an_identity_of_a_mat_list_is_a_whole_number_from_0_on(number: float, tmp_path: Path) -> None:
    names = np.array([["a.jpg"], ["b.jpg"]], dtype=object)
    savemat(tmp_path / "list.mat", {"names": names, "ids": np.array([[1.0], [number]])})
    with pytest.raises(ValueError, match=r"list\.mat: ids is float64, expected whole numbers from 0 on"):
        read_names_and_ids(tmp_path / "list.mat", "names", "ids")
