"""An InsightFace recognition ONNX as a trunk that branches can train from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from btnet.backbones.backbone import Backbone
from btnet.backbones.saved_networks import COLOUR_ORDERS
from btnet.backbones.trunk_file import backbone_of, first_convolution, flip_colours
from btnet.data.views import normalise
from btnet.files.text import naming
from btnet.interop.conventions import RANGES, Convention, Judged, Labelled, judge, told
from btnet.interop.onnx import largest_difference
from btnet.interop.onnx_graph import OnnxGraph
from btnet.interop.onnx_match import match
from btnet.interop.restored_norms import restore_norms
from btnet.serving.onnx_session import open_session

__all__ = ["ImportedTrunk", "import_onnx"]

# Of the normalised embeddings of file and trunk, on noise; float16 weights are taken as they are.
_TOLERANCES: Final = {"float32": 1e-3, "float16": 2e-2}
_CENTRE: Final = 127.5
_BATCH: Final = 32


@dataclass(frozen=True)
class ImportedTrunk:
    """What `import_onnx` makes of a file.

    Attributes:
        trunk: in eval mode, float32, arcface_torch's keys; takes RGB in [-1, 1], whatever the file takes.
        restored: names of the BatchNorms that were merged away in the file.
        difference: largest difference between the normalised embeddings of file and trunk.
        convention: what the file takes.
        judged: that convention and others on labelled faces; empty without such faces.
        verdict: what these say about it, in a sentence.
    """

    trunk: Backbone
    restored: tuple[str, ...]
    difference: float
    convention: Convention
    judged: tuple[Judged, ...] = ()
    verdict: str = ""


def import_onnx(
    path: str | Path,
    faces: NDArray[np.uint8] | None = None,
    *,
    colour_order: str | None = None,
    input_mean: float | None = None,
    input_std: float | None = None,
    labelled: Labelled | None = None,
) -> ImportedTrunk:
    """Read a recognition ONNX of IResNet or MobileFaceNet kind as a trunk that branches can train from.

    Exporters merge BatchNorms into the convolution or product before them. A branch trains with BatchNorms that
    normalise by the batch, so each merged one is put back: see `btnet.interop.restored_norms`.

    Args:
        path: float32 or float16; BatchNorms merged or not; node names do not matter.
        faces: uint8 RGB [N, S, S, 3] at the trunk's size S, aligned as the model expects; a few hundred. Not
            needed if no BatchNorm is merged.
        colour_order: "RGB" or "BGR", of the file's input. Only files of btnet state it.
        input_mean: the file's input is (grey level - input_mean) / input_std; 127.5 for InsightFace's files. Not
            needed for files of btnet, nor where the file's own nodes subtract the centre.
        input_std: 127.5 for InsightFace's files.
        labelled: faces of known people, on which the stated convention is compared with others.

    Returns:
        The trunk, checked against onnxruntime.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no whole ONNX file or of another kind; if its convention is neither stated nor proven, or
            another tells the labelled people apart significantly better; if faces are needed and there are none, or
            of another size.
    """
    path = Path(path)
    graph = OnnxGraph(path)
    # A damaged graph can fail in as many ways as it is read.
    with naming(path, LookupError, TypeError, AttributeError, ArithmeticError, AssertionError):
        found = match(graph)
        convention, is_proven = _convention(graph, colour_order, input_mean, input_std)
    if found.merged and faces is None:
        raise ValueError(
            f"{path}: {len(found.merged)} BatchNorms are merged into convolutions, and restoring them takes "
            "faces; give a few hundred, aligned as the model expects"
        )
    trunk = backbone_of(found.state, where=str(path))
    with torch.no_grad():
        first_convolution(trunk).mul_(graph.slope * _CENTRE / convention.std)
    if convention.colour_order == "BGR":
        flip_colours(trunk)
    if faces is not None and found.merged:
        restore_norms(trunk, found.merged, faces)
    session = open_session(path, graph.understood())
    difference = _noise_difference(path, session, trunk, convention)
    if not difference < _TOLERANCES[graph.dtype]:
        raise ValueError(
            f"{path}: looks like a {type(trunk).__name__}, but embeds noise otherwise (difference "
            f"{difference:.1e}); its strides, padding or activations are not arcface_torch's"
        )
    trunk.origin = {
        "repository": "an ONNX file",
        "file": path.name,
        "colour_order": convention.colour_order,
        "input": f"(x - {convention.mean:g}) / {convention.std:g}",
    }
    imported = ImportedTrunk(trunk, tuple(found.merged), difference, convention)
    if labelled is None:
        return imported
    ranges = [convention[1:]] if is_proven else dict.fromkeys((convention[1:], *RANGES))
    others = [Convention(order, *each) for order in COLOUR_ORDERS for each in ranges]
    judged = judge(
        lambda x: _embed(path, session, x), labelled, convention, [c for c in others if c != convention]
    )
    return replace(imported, judged=tuple(judged), verdict=told(judged, str(path)))


def _convention(
    graph: OnnxGraph, colour_order: str | None, mean: float | None, std: float | None
) -> tuple[Convention, bool]:
    """What the file takes, and whether its nodes prove the range: stated, proven, or as files of btnet say."""
    if colour_order not in (None, *COLOUR_ORDERS):
        raise ValueError(f"{graph.path}: colour order {colour_order!r}, expected RGB or BGR")
    centred = [(m, s) for m, s in RANGES if abs(graph.zero * s + m - _CENTRE) < 0.1]
    is_proven = bool(centred) and abs(graph.zero) > 1e-6
    if is_proven:
        if (mean, std) not in ((None, None), centred[0]):
            raise ValueError(
                f"{graph.path}: its own nodes centre the input, so it is (x - {centred[0][0]:g}) / {centred[0][1]:g} "
                f"and not (x - {mean}) / {std}; leave mean and std out"
            )
        mean, std = centred[0]
    if "btnet_version" in graph.metadata:
        colour_order = colour_order or "RGB"
        mean = float(graph.metadata["input_mean"]) if mean is None else mean
        std = float(graph.metadata["input_std"]) if std is None else std
    missing = []
    if colour_order is None:
        missing.append("colour_order (`btnet import-onnx --colour-order`): RGB, as InsightFace's, or BGR")
    if mean is None or std is None:
        missing.append(
            "input_mean, input_std (`btnet import-onnx --input-mean --input-std`): 127.5 and 127.5, InsightFace's"
        )
    if missing or colour_order is None or mean is None or std is None:
        raise ValueError(f"{graph.path}: does not say how its images come; state {'; '.join(missing)}")
    if not std > 0 or not abs(graph.zero * std + mean - _CENTRE) < 0.1:
        raise ValueError(
            f"{graph.path}: zero padding stands for grey level {graph.zero * std + mean:.4g}; networks of btnet are "
            f"centred on {_CENTRE}, and another centre cannot be moved into the weights"
        )
    return Convention(colour_order, mean, std), is_proven


def _noise_difference(path: Path, session: Any, trunk: Backbone, convention: Convention) -> float:
    generator = torch.Generator().manual_seed(0)
    size = trunk.input_size
    levels = torch.randint(0, 256, (1, 3, size, size), dtype=torch.uint8, generator=generator)
    found = _embed(path, session, convention.apply(levels))
    with torch.no_grad():
        expected = trunk(normalise(levels)).numpy()
    return largest_difference(found, expected) if found.shape == expected.shape else float("nan")


def _embed(path: Path, session: Any, images: Tensor) -> NDArray[Any]:
    [door] = session.get_inputs()
    dtype = np.float16 if door.type == "tensor(float16)" else np.float32
    batch = door.shape[0] if isinstance(door.shape[0], int) else _BATCH
    try:
        parts = [
            session.run(None, {door.name: x.numpy().astype(dtype)})[0] for x in torch.split(images, batch)
        ]
    except Exception as error:  # onnxruntime's errors have no other base
        raise ValueError(
            f"{path}: does not run on {images.shape[-1]} px faces ({' '.join(str(error).split())[:300]})"
        ) from error
    return np.concatenate(parts)
