"""What the pages take for granted: faces, a pretrained trunk, a demo that was run; all tiny and rendered."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from btnet.backbones.iresnet import IResNet
from btnet.backbones.trunk_file import write_weights
from btnet.data.bin_sets import write_bin
from btnet.data.pairs import draw_pairs
from btnet.data.record_faces import write_record_faces
from btnet.images.codec import encode_jpeg, encode_png
from btnet.images.resize import resize
from btnet.interop.onnx import export_onnx
from btnet.method.btnet import BTNet
from btnet.synthetic.faces import SyntheticFaces
from commands import checkout

PEOPLE, IMAGES = 4, 6


def make_workplace(folder: Path) -> None:
    """Fill a folder with the files that the pages name."""
    checkout(folder)
    known, strangers = SyntheticFaces(PEOPLE, IMAGES), SyntheticFaces(PEOPLE, IMAGES, first_identity=PEOPLE)
    _folder_of(known, folder / "faces")
    _folder_of(strangers, folder / "other_faces")
    (folder / "data").mkdir()
    images = [known[i][0] for i in range(len(known))]
    encoded = [encode_jpeg(image) for image in images]
    for name in ("data/train.rec", "train.rec"):
        write_record_faces(folder / name, known.labels.tolist(), encoded, class_names=known.class_names)
    positions, issame = draw_pairs(strangers.labels, 20)
    shown = [encode_jpeg(strangers[int(i)][0]) for i in positions]
    write_bin(folder / "data" / "val.bin", shown, issame)

    lines = [
        f"{_file_of(strangers, one)} {_file_of(strangers, other)} {int(same)}"
        for one, other, same in zip(positions[::2], positions[1::2], issame, strict=True)
    ]
    (folder / "pairs.txt").write_text("\n".join(lines) + "\n")

    torch.manual_seed(0)
    trunk = IResNet((1, 1, 1, 1), widths=(16, 16, 16, 16), embedding_size=16)
    trunk.train()
    with torch.no_grad():  # statistics of faces, as a trained trunk has them
        for _ in range(20):
            trunk(torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 127.5 - 1)
    trunk.eval()
    write_weights(folder / "model.pt", trunk.state_dict())
    write_weights(folder / "backbone.pth", trunk.state_dict())
    export_onnx(trunk, folder / "recognition.onnx")
    BTNet(trunk, (14,)).save(folder / "runs" / "demo" / "phi_bt")
    (folder / "probe.png").write_bytes(encode_png(resize(images[0], 20)))


def _folder_of(faces: SyntheticFaces, folder: Path) -> None:
    for index in range(len(faces)):
        path = folder / _file_of(faces, index)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_jpeg(faces[index][0]))


def _file_of(faces: SyntheticFaces, index: int) -> str:
    return f"{faces.class_names[index // IMAGES].replace(' ', '_')}/{index % IMAGES}.jpg"
