"""A network as an ONNX file that computes what torch computes, checked before the file appears."""

from __future__ import annotations

import contextlib
import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from torch import Tensor, nn

from btnet import __version__
from btnet.data.atomic import replacing
from btnet.data.interpolation import check_interpolation
from btnet.data.resize import resize_float
from btnet.data.views import normalise
from btnet.model.backbone import Backbone
from btnet.model.btnet import BTNet
from btnet.model.overlay import fingerprint

__all__ = ["TOLERANCE", "check_onnx", "export_onnx", "open_session"]

TOLERANCE = 1e-4
_BATCH_SIZES = (1, 2, 5)
_INPUT, _OUTPUT = "data", "embedding"
# The dynamo exporter's own: any other is reached by conversion. Read by onnxruntime 1.14 and later.
_OPSET = 18
# ArcFaceONNX looks at this many nodes; names like these would make it feed grey levels, unscaled.
_NUM_NODES_SEEN = 8
_NAMES_OF_A_SCALING_GRAPH = ("Sub", "_minus", "Mul", "_mul")


def export_onnx(
    network: Backbone | BTNet,
    path: str | Path,
    *,
    resolution: int | None = None,
    input_size: int | None = None,
    interpolation: str | None = None,
    metadata: Mapping[str, str] | None = None,
) -> Path:
    """Write one network as ONNX: `data` [N, 3, input_size, input_size] to `embedding` [N, D], N free.

    `data` is RGB in [-1, 1], float32; embeddings are not normalised. insightface's `ArcFaceONNX(path)` takes
    the file as it is. The network given is copied, in eval mode and float32 on the CPU; it is not touched.

        export_onnx(model, "r14.onnx", resolution=14)                     takes 14 px faces
        export_onnx(model, "r14.onnx", resolution=14, input_size=112)     takes 112 px faces, shrinks them

    Args:
        network: one network, or a BTNet of which one is chosen.
        path: ends in `.onnx`; its folder must exist.
        resolution: of the network, in px; for a BTNet only. Default: `input_size`, else the canonical size.
        input_size: size in px of the faces the file takes. If it is not the network's, faces are resized
            inside the graph, to whole grey levels as everywhere. Default: the network's.
        interpolation: how low-resolution faces are made. Default: the BTNet's, else bilinear if it resizes.
        metadata: further entries for the file's metadata, which holds `btnet_version`, `arch`, `resolution`,
            `input_size`, `network_fingerprint` and, where known, `interpolation` and `trunk_fingerprint`.

    Returns:
        The path.

    Raises:
        ValueError: for another suffix, a size without network, an unknown interpolation, metadata that would
            hide ours, or if onnxruntime's embeddings are not torch's (see `check_onnx`): no file is left.
        FileNotFoundError: if the folder does not exist.
    """
    path = Path(path)
    if path.suffix != ".onnx":
        raise ValueError(f"{path}: name the file *.onnx, insightface takes no other")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path.parent}: no such folder; create it first")
    resolution = _resolution_of(network, resolution, input_size)
    if interpolation is None and isinstance(network, BTNet):
        interpolation = network.interpolation
    module = _copy(network, resolution, resolution if input_size is None else input_size, interpolation)
    described = _describe(network, module) | ({"interpolation": interpolation} if interpolation else {})
    hidden = sorted(set(described) & set(metadata or {}))
    if hidden:
        raise ValueError(f"metadata {', '.join(hidden)}: written by the export itself; use another name")

    model = _convert(module)
    onnx.helper.set_model_props(model, described | dict(metadata or {}))
    with replacing(path) as temporary:
        onnx.save(model, temporary)
        difference = _difference(open_session(temporary), module)
        if not difference < TOLERANCE:  # also refuses NaN
            raise ValueError(
                f"{path}: not written, since onnxruntime and torch differ by {difference:.1e} in the "
                f"normalised embedding, expected less than {TOLERANCE:.0e}; are the weights finite? "
                f"Else try others than onnxruntime {onnxruntime.__version__}, torch {torch.__version__}"
            )
    return path


def check_onnx(path: str | Path, network: Backbone | BTNet, *, resolution: int | None = None) -> float:
    """Compare a file with the network it should be, on random images in batches of 1, 2 and 5.

    Args:
        path: a file of `export_onnx`; how it resizes is read from it.
        network: one network, or the BTNet it was exported from.
        resolution: of the network, in px; for a BTNet only. Default: the file's.

    Returns:
        The largest absolute difference of the L2-normalised embeddings of onnxruntime (CPU) and torch; NaN
        if either is not finite. `export_onnx` refuses `TOLERANCE` or more.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if onnxruntime cannot read it, or it takes or gives something else than the network.
    """
    session = open_session(path)
    props = session.get_modelmeta().custom_metadata_map
    [*_, height, width] = session.get_inputs()[0].shape
    if session.get_inputs()[0].name != _INPUT or height != width or not isinstance(height, int):
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


def open_session(path: str | Path) -> Any:
    """Load a file into onnxruntime, on the CPU, without its chatter.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if onnxruntime cannot read it.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: no such ONNX file; write one with `btnet export-onnx`")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors have no other base
        reason = str(error).splitlines()[0]
        raise ValueError(f"{path}: onnxruntime cannot read it ({reason}); export it again") from error


class _Exported(nn.Module):
    """What the file computes: a network behind a resizing, if its faces come in another size."""

    def __init__(self, network: Backbone, input_size: int, interpolation: str) -> None:
        super().__init__()
        self.network = network
        self.input_size = input_size
        self.interpolation = interpolation

    def forward(self, data: Tensor) -> Tensor:
        if self.input_size != self.network.input_size:
            # back to the grey levels `data` was made of, exactly: floats are within 1e-5 of them
            levels = ((data + 1.0) * 127.5 + 0.5).floor().clamp(0, 255)
            data = resize_float(levels, self.network.input_size, self.interpolation) / 127.5 - 1.0
        embedding: Tensor = self.network(data)
        return embedding


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
        copy = network.rebuild(network.input_size)
        copy.load_state_dict({key: value.clone() for key, value in network.state_dict().items()}, assign=True)
    copy.to("cpu", torch.float32).requires_grad_(False)
    for tensor in (*copy.parameters(), *copy.buffers()):
        tensor.data = tensor.data.contiguous()
    return _Exported(copy, input_size, interpolation or "bilinear").eval()


def _describe(network: Backbone | BTNet, module: _Exported) -> dict[str, str]:
    copy = module.network
    described = {
        "btnet_version": __version__,
        "arch": json.dumps(copy.arch),
        "resolution": str(copy.input_size),
        "input_size": str(module.input_size),
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


def _convert(module: _Exported) -> onnx.ModelProto:
    sizes = (2, 3, module.input_size, module.input_size)  # a batch of 1 would be taken for a constant
    with _quiet(), torch.no_grad():
        program = torch.onnx.export(
            module,
            (torch.zeros(sizes),),
            input_names=[_INPUT],
            output_names=[_OUTPUT],
            dynamo=True,
            external_data=False,
            opset_version=_OPSET,
            dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=4096)},),
            verbose=False,
        )
    assert program is not None
    model: onnx.ModelProto = program.model_proto
    graph = model.graph
    # The exporter notes for each node which line of which file of this machine it came from.
    for part in (graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        part.ClearField("metadata_props")
    for node in graph.node[:_NUM_NODES_SEEN]:
        if node.name.startswith(_NAMES_OF_A_SCALING_GRAPH):
            node.name = f"node_{node.name}"
    return model


def _difference(session: Any, module: _Exported) -> float:
    generator = torch.Generator().manual_seed(0)
    largest = 0.0
    for batch_size in _BATCH_SIZES:
        shape = (batch_size, 3, module.input_size, module.input_size)
        data = normalise(torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator))
        with torch.no_grad():
            expected = module(data).numpy()
        [found] = session.run([_OUTPUT], {_INPUT: data.numpy()})
        # np.maximum keeps a NaN, max() may lose it
        largest = float(np.maximum(largest, np.abs(_unit(found) - _unit(expected)).max()))
    return largest


def _unit(embeddings: Any) -> Any:
    # in float64: a network fresh from its initialisation gives values whose squares overflow nothing there
    embeddings = embeddings.astype(np.float64)
    return embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's notes on what it may not need (torchvision) and on torch's own code."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
