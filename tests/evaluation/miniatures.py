"""Miniature benchmarks in the layouts of the real ones, of rendered faces."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.io import savemat
from torch import nn

from btnet.backbones.iresnet import IResNet
from btnet.data.bin_sets import write_bin
from btnet.data.pairs import draw_pairs
from btnet.data.record_faces import write_record_faces
from btnet.images.codec import encode_jpeg, encode_png
from btnet.images.resize import resize
from btnet.method.btnet import BTNet
from btnet.synthetic.faces import SyntheticFaces
from btnet.training.config_file import load_config
from btnet.training.run import train

CONFIGS = Path(__file__).parents[2] / "configs"
PEOPLE, SHOTS = 6, 4
FIRST_PERSON = 500
TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)


def trained_models(folder: Path) -> dict[str, Path]:
    """phi_hr of 32 px, phi_mm of 8 px, and phi_hr with a branch of 8 px, trained for seconds on other people."""
    arch = {"blocks": [1, 1, 1, 1], "widths": [8, 16, 32, 64], "canonical_size": 32}
    network = f"network_args={arch}"
    known, rec = SyntheticFaces(30, 10), folder / "faces.rec"
    folder.mkdir(parents=True, exist_ok=True)
    rendered = [encode_jpeg(known[i][0]) for i in range(len(known))]  # once, not in every epoch
    write_record_faces(rec, known.labels.tolist(), rendered, class_names=known.class_names)
    common = [f"rec={rec}", "batch_size=32", "num_workers=0", "device=cpu"]
    special = {
        "phi_hr": ("demo_hr", ["num_epoch=6", network]),
        "phi_8": ("demo_r14", ["num_epoch=1", network, "input_size=8", "role=phi_8"]),
        "phi_bt": ("demo_btnet_r14", ["num_epoch=1", "branches=[8]", f"trunk={folder / 'phi_hr'}"]),
    }
    return {
        role: train(load_config(CONFIGS / name, [*common, *changes, f"output={folder / role}"]))
        for role, (name, changes) in special.items()
    }


def tiny_model(folder: Path) -> Path:
    """Trunk of 32 px and a branch of 8 px, untrained but with running statistics."""
    torch.manual_seed(0)
    network = IResNet((1, 1, 1, 1), widths=(8, 8, 8, 8), canonical_size=32, embedding_size=8, input_size=32)
    for module in network.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            module.momentum = 1.0
    with torch.no_grad():
        network(torch.randn(64, 3, 32, 32))
    BTNet(network.eval(), (8,)).save(folder, role="phi_bt")
    return folder


def face(person: int, shot: int, size: tuple[int, int] = (112, 112)) -> NDArray[np.uint8]:
    return resize(_rendered(person * SHOTS + shot), size)


@cache
def _rendered(index: int) -> NDArray[np.uint8]:
    return SyntheticFaces(PEOPLE + 4, SHOTS, first_identity=FIRST_PERSON)[index][0]


def write(path: Path, image: NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode_png(image))


def cells(names: list[str]) -> NDArray[np.object_]:
    array = np.empty((len(names), 1), dtype=object)
    array[:, 0] = names
    return array


def native_size(person: int, shot: int) -> tuple[int, int]:
    """Sizes on both sides of the branch's: height, width."""
    return 7 + 3 * shot + person, 6 + 4 * shot


def survface(root: Path) -> Path:
    folder = root / "Face_Identification_Test_Set"
    for kind, shots in (("gallery", (0, 1)), ("mated_probe", (2, 3))):
        names, ids = [], []
        for person in range(PEOPLE):
            for shot in shots:
                names.append(f"{person + 1}_cam1_{shot}.jpg")
                ids.append([person + 1])
                write(folder / kind / names[-1], face(person, shot, native_size(person, shot)))
        savemat(
            folder / f"{kind}_img_ID_pairs.mat", {f"{kind}_set": cells(names), f"{kind}_ids": np.array(ids)}
        )
    for number in range(12):
        person, shot = PEOPLE + number % 4, number % SHOTS
        write(
            folder / "unmated_probe" / f"distractors_{number}.jpg", face(person, shot, native_size(2, shot))
        )
    verification = root / "Face_Verification_Test_Set"
    pairs: dict[str, list[list[str]]] = {"positive": [], "negative": []}
    for number in range(12):
        person = number % PEOPLE
        other = (person + 1) % PEOPLE
        pairs["positive"].append([f"{person}_{number // PEOPLE}.jpg", f"{person}_2.jpg"])
        pairs["negative"].append([f"{person}_{number // PEOPLE}.jpg", f"{other}_2.jpg"])
    for person in range(PEOPLE):
        for shot in range(3):
            write(verification / "verification_images" / f"{person}_{shot}.jpg", face(person, shot, (20, 16)))
    for kind, names_2d in pairs.items():
        savemat(
            verification / f"{kind}_pairs_names.mat",
            {f"{kind}_pairs_names": np.array(names_2d, dtype=object)},
        )
    return root


def tinyface(root: Path) -> Path:
    folder = root / "Testing_Set"
    for part, kind, shots in (("Gallery_Match", "gallery", (0, 1)), ("Probe", "probe", (2, 3))):
        names, ids = [], []
        for person in range(PEOPLE):
            for shot in shots:
                names.append(f"{person + 1}_{shot}.jpg")
                ids.append([person + 1])
                write(folder / part / names[-1], face(person, shot, native_size(person, shot)))
        listed = "gallery_match" if kind == "gallery" else "probe"
        savemat(
            folder / f"{listed}_img_ID_pairs.mat", {f"{kind}_set": cells(names), f"{kind}_ids": np.array(ids)}
        )
    for number in range(8):
        image = face(PEOPLE + number % 4, number % SHOTS, (14, 12))
        write(folder / "Gallery_Distractor" / f"{number}.jpg", image)
    return root


def scface(root: Path) -> Path:
    for part, shot, size in (
        ("gallery", 0, 48),
        ("probe_d1", 1, 8),
        ("probe_d2", 2, 14),
        ("probe_d3", 3, 28),
    ):
        for person in range(PEOPLE):
            write(root / part / f"{person:03d}" / "face.jpg", face(person, shot, (size, size)))
    return root


def bin_sets(folder: Path, names: Sequence[str] = ("lfw", "cfp_fp", "agedb_30"), num_pairs: int = 60) -> Path:
    """Sets of the field's names in InsightFace's format: more people than elsewhere, for folds of both kinds."""
    folder.mkdir(parents=True)
    faces = SyntheticFaces(12, 8, first_identity=FIRST_PERSON)
    images = [faces[i][0] for i in range(len(faces))]
    for seed, name in enumerate(names):
        positions, issame = draw_pairs(faces.labels, num_pairs, seed=seed)
        write_bin(folder / f"{name}.bin", [images[i] for i in positions], issame)
    return folder


def lfw(root: Path, num_folds: int = 10) -> tuple[Path, Path]:
    lines = [f"{num_folds}\t1"]
    for fold in range(num_folds):
        person = fold % PEOPLE
        lines += [f"P{person}\t1\t{2 + fold // PEOPLE}", f"P{person}\t1\tP{(person + 1) % PEOPLE}\t2"]
    for person in range(PEOPLE):
        for shot in range(SHOTS):
            write(root / "faces" / f"P{person}" / f"P{person}_{shot + 1:04d}.jpg", face(person, shot))
    (root / "pairs.txt").write_text("\n".join(lines) + "\n")
    return root / "pairs.txt", root / "faces"


def ijb(root: Path) -> Path:
    """Crops larger than the face: template 10 p + s of person p; the last shots make one medium."""
    meta, points, groups = root / "meta", [], []
    meta.mkdir(parents=True)
    for person in range(PEOPLE):
        for shot in range(SHOTS):
            name = f"{person * SHOTS + shot + 1}.jpg"
            crop = cv2.copyMakeBorder(face(person, shot), 10, 10, 10, 10, cv2.BORDER_REPLICATE)
            write(root / "loose_crop" / name, crop.astype(np.uint8))
            landmarks = " ".join(f"{value:.4f}" for value in (TEMPLATE + 10).ravel())
            points.append(f"{name} {landmarks} {0.9 + 0.01 * shot:.3f}")
            groups.append(f"{name} {10 * person + shot // 2} {shot}")
    (meta / "ijbc_name_5pts_score.txt").write_text("\n".join(points) + "\n")
    (meta / "ijbc_face_tid_mid.txt").write_text("\n".join(groups) + "\n")
    pairs = [f"{10 * a} {10 * b + 1} {int(a == b)}" for a in range(PEOPLE) for b in range(PEOPLE)]
    (meta / "ijbc_template_pair_label.txt").write_text("\n".join(pairs) + "\n")
    half = PEOPLE // 2
    for kind, people, part in (
        ("gallery_G1", range(half), 0),
        ("gallery_G2", range(half, PEOPLE), 0),
        ("probe_mixed", range(PEOPLE), 1),
    ):
        rows = ["TEMPLATE_ID,SUBJECT_ID,FILENAME"]
        rows += [f"{10 * p + part},{100 + p},img/{p}.jpg" for p in people for _ in range(2)]
        (meta / f"ijbc_1N_{kind}.csv").write_text("\n".join(rows) + "\n")
    return root
