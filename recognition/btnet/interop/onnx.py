"""A network as an ONNX file that computes what torch computes, checked before the file appears."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from btnet import __version__
from btnet.backbones.backbone import Backbone
from btnet.backbones.state import fingerprint
from btnet.data.views import normalise, resize_normalised
from btnet.evaluation.cosine import unit_normalise
from btnet.files.atomic import replacing
from btnet.images.interpolation import check_interpolation
from btnet.interop.onnx_convert import INPUT, OUTPUT, PRECISIONS, convert, to_half
from btnet.method.btnet import BTNet
from btnet.optional import extra
from btnet.serving.onnx_session import open_session

with extra("onnx"):
    import onnx
    import onnxruntime

__all__ = [
    "TOLERANCES",
    "Graph",
    "build_graph",
    "check_onnx",
    "export_onnx",
    "largest_difference",
    "save_checked",
]

TOLERANCES: Final = {"fp32": 1e-4, "fp16": 5e-3}
"""Largest differences allowed between the normalised embeddings of onnxruntime and of torch in float32."""
_BATCH_SIZES: Final = (1, 2, 5)


def export_onnx(
    network: Backbone | BTNet,
    path: str | Path,
    *,
    resolution: int | None = None,
    input_size: int | None = None,
    precision: str = "fp32",
    interpolation: str | None = None,
) -> Path:
    """Write one network as ONNX: `data` [N, 3, input_size, input_size] to `embedding` [N, D], N free.

    `data` is RGB in [-1, 1]; embeddings are not normalised; both are float32. insightface's `ArcFaceONNX(path)` takes
    the file as it is. The network is copied, not touched. The file's metadata holds `btnet_version`, `arch`,
    `resolution`, `input_size`, `input_mean`, `input_std`, `precision`, `network_fingerprint` and, where known,
    `interpolation` and `trunk_fingerprint`.

        export_onnx(model, "r14.onnx", resolution=14)                     takes 14 px faces
        export_onnx(model, "r14.onnx", resolution=14, input_size=112)     takes 112 px faces, shrinks them

    Args:
        network: one network, or a BTNet of which one is chosen.
        path: ends in `.onnx`; its folder must exist.
        resolution: of the network, in px; for a BTNet only. Default: `input_size`, else the canonical size.
        input_size: of the faces the file takes, in px. If it is not the network's, faces are resized inside the graph,
            to whole grey levels as everywhere. Default: the network's.
        precision: "fp32", or "fp16" for weights and arithmetic of half the size.
        interpolation: how low-resolution faces are made. Default: the BTNet's, else bilinear.

    Returns:
        The path.

    Raises:
        ValueError: for another suffix, a size without network, an unknown interpolation or precision, or if
            onnxruntime's embeddings are not torch's (see `TOLERANCES`): no file is written.
        FileNotFoundError: if the folder does not exist.
    """
    path = Path(path)
    if path.suffix != ".onnx":
        raise ValueError(f"{path}: name the file *.onnx, insightface takes no other")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path.parent}: no such folder; create it first")
    graph = build_graph(
        network,
        resolution=resolution,
        input_size=input_size,
        precision=precision,
        interpolation=interpolation,
    )
    with replacing(path) as draft:
        save_checked(graph, draft, path)
    return path


class _Exported(nn.Module):
    """What the file computes: a network behind a resizing, if its faces come in another size."""

    def __init__(self, network: Backbone, input_size: int, interpolation: str) -> None:
        super().__init__()
        self.network = network
        self.input_size = input_size
        self.interpolation = interpolation

    def forward(self, data: Tensor) -> Tensor:
        """RGB in [-1, 1], [N, 3, input_size, input_size], to [N, D]."""
        if self.input_size != self.network.input_size:
            data = resize_normalised(data, self.network.input_size, self.interpolation)
        embedding: Tensor = self.network(data)
        return embedding


class Graph(NamedTuple):
    """An ONNX graph in memory, with weights and metadata, and the torch module it was made from."""

    model: onnx.ModelProto
    module: _Exported
    precision: str


def build_graph(
    network: Backbone | BTNet,
    *,
    resolution: int | None = None,
    input_size: int | None = None,
    precision: str = "fp32",
    interpolation: str | None = None,
    fold: bool = True,
) -> Graph:
    """The graph of `export_onnx`, not yet a file and not yet checked; arguments and errors as there.

    With `fold`, BatchNorms are merged into the convolutions before them: see `btnet.interop.onnx_convert.convert`.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision {precision!r}: expected one of {', '.join(PRECISIONS)}")
    resolution = _resolution_of(network, resolution, input_size)
    if interpolation is None and isinstance(network, BTNet):
        interpolation = network.interpolation
    module = _copy(network, resolution, resolution if input_size is None else input_size, interpolation)
    model = convert(module, module.input_size, fold=fold)
    if precision == "fp16":
        model = to_half(model)
    copy = module.network
    metadata = {
        "btnet_version": __version__,
        "arch": json.dumps(copy.arch),
        "resolution": str(copy.input_size),
        "input_size": str(module.input_size),
        "input_mean": "127.5",
        "input_std": "127.5",
        "precision": precision,
        "network_fingerprint": fingerprint(copy.state_dict()),
    }
    if interpolation or module.input_size != copy.input_size:
        metadata["interpolation"] = module.interpolation
    if isinstance(network, BTNet):
        metadata["trunk_fingerprint"] = network.trunk_fingerprint()
    elif copy.input_size == copy.canonical_size:  # a branch alone does not know its trunk
        metadata["trunk_fingerprint"] = metadata["network_fingerprint"]
    onnx.helper.set_model_props(model, metadata)
    return Graph(model, module, precision)


def save_checked(graph: Graph, draft: Path, path: Path) -> None:
    """Write a graph and compare onnxruntime's embeddings with torch's.

    Args:
        graph: what is written.
        draft: the file under its temporary name.
        path: its name to be.

    Raises:
        ValueError: if they differ.
    """
    onnx.save(graph.model, draft)
    difference, tolerance = _difference(open_session(draft), graph.module), TOLERANCES[graph.precision]
    if not difference < tolerance:  # also refuses NaN
        half = (
            " Else export fp32: the network may leave float16's range." if graph.precision == "fp16" else ""
        )
        raise ValueError(
            f"{path}: not written, since onnxruntime and torch differ by {difference:.1e} in the "
            f"normalised embedding, expected less than {tolerance:.0e}; are the weights finite?{half} "
            f"Else try others than onnxruntime {onnxruntime.__version__}, torch {torch.__version__}"
        )


def check_onnx(path: str | Path, network: Backbone | BTNet) -> float:
    """Compare a file with the network it should be, on random images in batches of 1, 2 and 5.

    Args:
        path: a file of `export_onnx`; its resolution and how it resizes are read from it.
        network: one network, or the BTNet it was exported from.

    Returns:
        The largest absolute difference between the L2-normalised embeddings of onnxruntime (CPU) and torch; NaN if
        either is not finite.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if onnxruntime cannot read it, or it takes or gives something else than the network.
    """
    session = open_session(path)
    props = session.get_modelmeta().custom_metadata_map
    [*_, height, width] = session.get_inputs()[0].shape
    if session.get_inputs()[0].name != INPUT or height != width or not isinstance(height, int):
        raise ValueError(f"{path}: takes {session.get_inputs()[0]}, expected square faces of a fixed size")
    resolution = int(props["resolution"]) if "resolution" in props and isinstance(network, BTNet) else None
    resolution = _resolution_of(network, resolution, height)
    module = _copy(network, resolution, height, props.get("interpolation"))
    [*_, size] = session.get_outputs()[0].shape
    if size != module.network.embedding_size:
        raise ValueError(
            f"{path}: gives embeddings of {size} values, the network gives {module.network.embedding_size}; "
            "it was exported from another model"
        )
    return _difference(session, module)


def largest_difference(found: Any, expected: Any) -> float:
    """Largest absolute difference between L2-normalised embeddings [N, D]; NaN if any is not finite."""
    # In float64: an untrained network may give values whose squares overflow float32.
    one, other = (unit_normalise(np.asarray(each, np.float64)) for each in (found, expected))
    return float(np.abs(one - other).max())


def _resolution_of(network: Backbone | BTNet, resolution: int | None, input_size: int | None) -> int:
    if isinstance(network, BTNet):
        sizes = (resolution, input_size, network.trunk.canonical_size)
        return network.network(next(size for size in sizes if size is not None)).input_size
    if resolution not in (None, network.input_size):
        raise ValueError(
            f"resolution {resolution} px: this network is the one for {network.input_size} px faces; give "
            "the BTNet to choose among its networks, or input_size to take other faces"
        )
    return network.input_size


def _copy(
    network: Backbone | BTNet, resolution: int, input_size: int, interpolation: str | None
) -> _Exported:
    """A copy on the CPU, in float32, eval mode and the usual memory layout."""
    check_interpolation(interpolation or "bilinear")
    if input_size < 1:
        raise ValueError(f"input size {input_size} px: expected a positive number")
    if isinstance(network, BTNet):
        copy = network.detached(resolution)
    else:
        copy = network.fresh()
        copy.load_state_dict({k: value.clone() for k, value in network.state_dict().items()}, assign=True)
    copy.to("cpu", torch.float32).requires_grad_(False)
    if copy.inner_size:
        rows = torch.eye(copy.input_size)[None]
        copy.enlarging = torch.nn.functional.interpolate(rows, copy.inner_size, mode="linear")[
            0
        ].T.contiguous()
    for tensor in (*copy.parameters(), *copy.buffers()):
        tensor.data = tensor.data.contiguous()
    return _Exported(copy, input_size, interpolation or "bilinear").eval()


def _difference(session: Any, module: _Exported) -> float:
    generator = torch.Generator().manual_seed(0)
    found, expected = [], []
    for batch_size in _BATCH_SIZES:
        shape = (batch_size, 3, module.input_size, module.input_size)
        data = normalise(torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator))
        with torch.no_grad():
            expected.append(module(data).numpy())
        found.append(session.run([OUTPUT], {INPUT: data.numpy()})[0])
    return largest_difference(np.concatenate(found), np.concatenate(expected))
