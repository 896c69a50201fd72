"""A network as an ONNX file that computes what torch computes, checked before the file appears."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import onnx
import onnxruntime
import torch
from torch import Tensor, nn

from btnet import __version__
from btnet.backbones.backbone import Backbone
from btnet.backbones.state import fingerprint
from btnet.data.views import normalise, resize_normalised
from btnet.files.atomic import replacing
from btnet.images.interpolation import check_interpolation
from btnet.interop.onnx_convert import INPUT, OUTPUT, PRECISIONS, convert, to_half
from btnet.method.btnet import BTNet
from btnet.serving.onnx_session import open_session

__all__ = [
    "TOLERANCES",
    "Exported",
    "Graph",
    "build_graph",
    "check_onnx",
    "check_session",
    "export_onnx",
]

# Of the normalised embeddings of onnxruntime and torch's float32.
TOLERANCES: Final = {"fp32": 1e-4, "fp16": 5e-3}
_BATCH_SIZES = (1, 2, 5)


def export_onnx(
    network: Backbone | BTNet,
    path: str | Path,
    *,
    resolution: int | None = None,
    input_size: int | None = None,
    precision: str = "fp32",
    interpolation: str | None = None,
    metadata: Mapping[str, str] | None = None,
) -> Path:
    """Write one network as ONNX: `data` [N, 3, input_size, input_size] to `embedding` [N, D], N free.

    `data` is RGB in [-1, 1]; embeddings are not normalised; both are float32. insightface's
    `ArcFaceONNX(path)` takes the file as it is. The network given is copied, in eval mode and float32 on the
    CPU; it is not touched.

        export_onnx(model, "r14.onnx", resolution=14)                     takes 14 px faces
        export_onnx(model, "r14.onnx", resolution=14, input_size=112)     takes 112 px faces, shrinks them

    Args:
        network: one network, or a BTNet of which one is chosen.
        path: ends in `.onnx`; its folder must exist.
        resolution: of the network, in px; for a BTNet only. Default: `input_size`, else the canonical size.
        input_size: size in px of the faces the file takes. If it is not the network's, faces are resized
            inside the graph, to whole grey levels as everywhere. Default: the network's.
        precision: "fp32", or "fp16" for weights and arithmetic of half the size. arcface_torch's checker of
            ONNX files takes fp32 only.
        interpolation: how low-resolution faces are made. Default: the BTNet's, else bilinear if it resizes.
        metadata: further entries for the file's metadata, which holds `btnet_version`, `arch`, `resolution`,
            `input_size`, `input_mean`, `input_std`, `precision`, `network_fingerprint` and, where known,
            `interpolation` and `trunk_fingerprint`.

    Returns:
        The path.

    Raises:
        ValueError: for another suffix, a size without network, an unknown interpolation or precision,
            metadata that would hide ours, or if onnxruntime's embeddings are not torch's (see `check_onnx`):
            no file is left.
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
        metadata=metadata,
    )
    with replacing(path) as temporary:
        onnx.save(graph.model, temporary)
        check_session(open_session(temporary), graph, path)
    return path


class Exported(nn.Module):
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
    """An ONNX graph in memory and the torch module it was made from.

    Attributes:
        model: with its weights and metadata.
        module: a copy of the network behind the resizing, in eval mode, float32, on the CPU.
    """

    model: onnx.ModelProto
    module: Exported


def build_graph(
    network: Backbone | BTNet,
    *,
    resolution: int | None = None,
    input_size: int | None = None,
    precision: str = "fp32",
    interpolation: str | None = None,
    metadata: Mapping[str, str] | None = None,
    fold: bool = True,
) -> Graph:
    """The graph of `export_onnx`, not yet a file and not yet checked.

    Args:
        network: as `export_onnx`, and likewise
        resolution: of the network,
        input_size: of the faces,
        precision: of the weights,
        interpolation: of the resizing,
        metadata: of the file.
        fold: merge BatchNorms into the convolutions before them, see `btnet.interop.onnx_convert.convert`.

    Raises:
        ValueError: as `export_onnx`.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision {precision!r}: expected one of {', '.join(PRECISIONS)}")
    resolution = _resolution_of(network, resolution, input_size)
    if interpolation is None and isinstance(network, BTNet):
        interpolation = network.interpolation
    size = resolution if input_size is None else input_size
    module = _copy(network, resolution, size, interpolation)
    described = _describe(network, module) | {"precision": precision}
    if interpolation:
        described["interpolation"] = interpolation
    hidden = sorted(set(described) & set(metadata or {}))
    if hidden:
        raise ValueError(f"metadata {', '.join(hidden)}: written by the export itself; use another name")
    model = convert(module, module.input_size, fold=fold, prefix="network.")
    if precision == "fp16":
        model = to_half(model)
    onnx.helper.set_model_props(model, described | dict(metadata or {}))
    return Graph(model, module)


def check_session(session: Any, graph: Graph, path: Path) -> None:
    """Refuse a file whose embeddings are not those of the module it was made from.

    Args:
        session: onnxruntime's, of the file under its temporary name.
        graph: what was written.
        path: of the file to be.

    Raises:
        ValueError: naming the difference.
    """
    [precision] = [p.value for p in graph.model.metadata_props if p.key == "precision"]
    difference, tolerance = _difference(session, graph.module), TOLERANCES[precision]
    if not difference < tolerance:  # also refuses NaN
        remedy = " Else export fp32: the network may leave float16's range." if precision == "fp16" else ""
        raise ValueError(
            f"{path}: not written, since onnxruntime and torch differ by {difference:.1e} in the "
            f"normalised embedding, expected less than {tolerance:.0e}; are the weights finite?{remedy} "
            f"Else try others than onnxruntime {onnxruntime.__version__}, torch {torch.__version__}"
        )


def check_onnx(path: str | Path, network: Backbone | BTNet, *, resolution: int | None = None) -> float:
    """Compare a file with the network it should be, on random images in batches of 1, 2 and 5.

    Args:
        path: a file of `export_onnx`; how it resizes is read from it.
        network: one network, or the BTNet it was exported from.
        resolution: of the network, in px; for a BTNet only. Default: the file's.

    Returns:
        The largest absolute difference of the L2-normalised embeddings of onnxruntime (CPU) and torch; NaN
        if either is not finite. `export_onnx` refuses more than
        `TOLERANCES` allow.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if onnxruntime cannot read it, or it takes or gives something else than the network.
    """
    session = open_session(path)
    props = session.get_modelmeta().custom_metadata_map
    [*_, height, width] = session.get_inputs()[0].shape
    if session.get_inputs()[0].name != INPUT or height != width or not isinstance(height, int):
        raise ValueError(f"{path}: takes {session.get_inputs()[0]}, expected square faces of a fixed size")
    if resolution is None and isinstance(network, BTNet) and "resolution" in props:
        resolution = int(props["resolution"])
    resolution = _resolution_of(network, resolution, height)
    module = _copy(network, resolution, height, props.get("interpolation"))
    [*_, size] = session.get_outputs()[0].shape
    if size != module.network.embedding_size:
        raise ValueError(
            f"{path}: gives embeddings of {size} values, the network gives {module.network.embedding_size}; "
            "it was exported from another model"
        )
    return _difference(session, module)


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
    network: Backbone | BTNet,
    resolution: int,
    input_size: int,
    interpolation: str | None,
) -> Exported:
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
    for tensor in (*copy.parameters(), *copy.buffers()):
        tensor.data = tensor.data.contiguous()
    return Exported(copy, input_size, interpolation or "bilinear").eval()


def _describe(network: Backbone | BTNet, module: Exported) -> dict[str, str]:
    copy = module.network
    described = {
        "btnet_version": __version__,
        "arch": json.dumps(copy.arch),
        "resolution": str(copy.input_size),
        "input_size": str(module.input_size),
        "input_mean": "127.5",
        "input_std": "127.5",
        "network_fingerprint": fingerprint(copy.state_dict()),
    }
    if module.input_size != copy.input_size:
        described["interpolation"] = module.interpolation
    # a branch alone does not know its trunk
    if isinstance(network, BTNet):
        described["trunk_fingerprint"] = network.trunk_fingerprint()
    elif copy.input_size == copy.canonical_size:
        described["trunk_fingerprint"] = described["network_fingerprint"]
    return described


def _difference(session: Any, module: Exported) -> float:
    generator = torch.Generator().manual_seed(0)
    largest = 0.0
    for batch_size in _BATCH_SIZES:
        shape = (batch_size, 3, module.input_size, module.input_size)
        data = normalise(torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator))
        with torch.no_grad():
            expected = module(data).numpy()
        [found] = session.run([OUTPUT], {INPUT: data.numpy()})
        # np.maximum keeps a NaN, max() may lose it
        largest = float(np.maximum(largest, np.abs(_unit(found) - _unit(expected)).max()))
    return largest


def _unit(embeddings: Any) -> Any:
    # in float64: a network fresh from its initialisation gives values whose squares overflow nothing there
    embeddings = embeddings.astype(np.float64)
    return embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
