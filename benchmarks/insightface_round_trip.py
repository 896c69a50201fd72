"""An arcface_torch state dict through BTNet, ONNX and onnxruntime to insightface's own `ArcFaceONNX.get_feat`.

    python benchmarks/insightface_round_trip.py [model.pt] [--network r50] [--faces data/val.bin]

For each resolution both ways in: a file that takes r x r faces, and a package that takes 112 px and shrinks
inside. Torch sees the same r x r pixels. Without a file the weights are random, BatchNorm statistics too.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import nn

from btnet import BTNet, load_trunk
from btnet.backbones.backbone import Backbone
from btnet.backbones.registry import create
from btnet.data.pairs import sample_faces
from btnet.data.views import normalise
from btnet.images.resize import resize
from btnet.interop.insightface import export_package
from btnet.interop.onnx import export_onnx


def main() -> None:
    """Export, embed on both sides, print the largest cosine difference."""
    from insightface.model_zoo import get_model
    from insightface.model_zoo.arcface_onnx import ArcFaceONNX

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("trunk", nargs="?", type=Path, help="arcface_torch state dict (default: random)")
    parser.add_argument("--network", default="r50", help="if random (default: %(default)s)")
    parser.add_argument("--faces", default="synthetic:16:2", help="(default: %(default)s)")
    parser.add_argument("--num-faces", type=int, default=16, help="(default: %(default)s)")
    parser.add_argument("--resolutions", type=int, nargs="+", default=[28, 14, 7])
    args = parser.parse_args()
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        if args.trunk is None:
            torch.save(_unlike_the_identity(create(args.network)).state_dict(), folder / "model.pt")
        trunk = load_trunk(args.trunk or folder / "model.pt")
        model = BTNet(trunk, args.resolutions)
        for r in args.resolutions:
            _unlike_the_identity(model.network(r), spread=0.1)
        model.eval()
        faces = sample_faces(args.faces, args.num_faces, size=trunk.canonical_size)
        print(f"{args.trunk or args.network}, {len(faces)} faces of {args.faces}: largest 1 - cosine")
        for r in (trunk.canonical_size, *args.resolutions):
            views = np.stack([resize(face, r, model.interpolation) for face in faces])
            with torch.no_grad():
                expected = model(normalise(torch.from_numpy(views).permute(0, 3, 1, 2))).double()
            path = export_onnx(model, folder / f"r{r}.onnx", resolution=r)
            native = ArcFaceONNX(str(path)).get_feat(_bgr(views))
            package = export_package(model, folder / f"r{r}", resolution=r, input_size=trunk.canonical_size)
            shrunk = get_model(str(package), model_task="recognition").get_feat(_bgr(faces))
            print(
                f"{r:4} px: file {_difference(native, expected):.1e}, package that takes {trunk.canonical_size} px "
                f"{_difference(shrunk, expected):.1e}",
                flush=True,
            )


def _unlike_the_identity(network: Backbone, spread: float = 0.3) -> Backbone:
    for module in network.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            assert module.running_mean is not None
            assert module.running_var is not None
            nn.init.uniform_(module.running_mean, -spread, spread)
            nn.init.uniform_(module.running_var, 1 - spread, 1 + spread)
    return network


def _bgr(images: np.ndarray) -> list[np.ndarray]:
    return [cv2.cvtColor(image, cv2.COLOR_RGB2BGR) for image in images]


def _difference(found: np.ndarray, expected: torch.Tensor) -> float:
    cosine = torch.nn.functional.cosine_similarity(torch.from_numpy(found).double(), expected)
    return float((1 - cosine).max())


if __name__ == "__main__":
    main()
