"""A small rendered face through a small network, compared with embeddings stored in the package.

The face is stored too: with other versions of NumPy and OpenCV the renderer gives another one.
"""

from __future__ import annotations

import base64
import json
import math
import zlib
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from btnet.backbones.iresnet import IResNet
from btnet.data.views import normalise
from btnet.doctor.checks import Finding
from btnet.images.codec import decode_image
from btnet.images.resize import resize
from btnet.method.btnet import BTNet
from btnet.optional import MissingExtraError

GOLDEN = "golden.json"
RESOLUTION = 14
TOLERANCES = {"cpu": 1e-3, "cuda": 1e-2}  # of the embedding's largest value; a GPU may compute in TF32


def selftest() -> Iterator[Finding]:
    """Embed at 112 and 14 px on each device there is, and once more by onnxruntime."""
    golden = {int(size): np.array(values) for size, values in _golden()["embeddings"].items()}
    model = network()
    for device in ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",):
        differences = [_difference(embed(model, size, device), golden[size]) for size in golden]
        worst = float(np.max(differences))  # Python's max would lose a NaN
        yield _verdict(f"embeddings on {device}", worst, TOLERANCES[device], "install torch and numpy again")
    model.cpu()
    try:
        worst = _difference(_by_onnx(model), golden[RESOLUTION])
    except MissingExtraError as error:
        yield Finding("embedding by ONNX", f"not tried: {error}")
        return
    yield _verdict("embedding by ONNX", worst, TOLERANCES["cpu"], "install onnx and onnxruntime again")


def network() -> BTNet:
    """A trunk with a 14 px branch whose weights are seeded by their names."""
    trunk = IResNet((1, 1, 1, 1), widths=(16, 16, 16, 16), embedding_size=8)
    state = trunk.state_dict()
    for name, tensor in state.items():
        if tensor.is_floating_point():
            # NumPy's legacy generator: its stream is fixed for all versions, torch's is not.
            drawn = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(tensor.numel())
            spread = 0.1 if tensor.ndim == 1 else math.sqrt(2 / math.prod(tensor.shape[1:]))
            centre = 1.0 if tensor.ndim == 1 and name.endswith(("weight", "running_var")) else 0.0
            tensor.copy_(torch.from_numpy(centre + spread * drawn).reshape(tensor.shape))
    return BTNet(trunk, (RESOLUTION,)).eval()


def embed(model: BTNet, size: int, device: str = "cpu") -> NDArray[np.float64]:
    """Embedding of the stored face, brought to `size` px, [8]."""
    with torch.inference_mode():
        embedding = model.to(device)(_input(size).to(device))[0]
    return np.asarray(embedding.double().cpu())


def _by_onnx(model: BTNet) -> NDArray[np.float64]:
    from btnet.interop.onnx import export_onnx
    from btnet.serving.onnx_session import open_session

    with TemporaryDirectory() as folder:
        path = export_onnx(model, Path(folder, "r14.onnx"), resolution=RESOLUTION)
        [embedding] = open_session(path).run(None, {"data": _input(RESOLUTION).numpy()})
    return np.asarray(embedding[0], np.float64)


def _input(size: int) -> torch.Tensor:
    face = decode_image(base64.b64decode(_golden()["face_png"]), GOLDEN)
    return normalise(torch.from_numpy(resize(face, size)).permute(2, 0, 1)[None])


def _golden() -> dict[str, Any]:
    return dict(json.loads(files("btnet.doctor").joinpath(GOLDEN).read_text()))


def _difference(found: NDArray[np.float64], golden: NDArray[np.float64]) -> float:
    return float(np.abs(found - golden).max() / np.abs(golden).max())


def _verdict(what: str, difference: float, tolerance: float, remedy: str) -> Finding:
    # Written so that NaN is wrong too.
    is_right = difference <= tolerance
    found = f"differs from the stored one by {difference:.1e} of its largest value"
    return Finding(what, found, "" if is_right else f"more than {tolerance:g}; {remedy}")
