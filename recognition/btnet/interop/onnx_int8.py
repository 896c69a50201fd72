"""int8: an exported file quantised with calibration faces, and what both files make of faces."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from btnet.data.views import normalise
from btnet.files.atomic import replacing
from btnet.images.resize import resize
from btnet.interop.onnx_convert import quiet
from btnet.optional import extra
from btnet.serving.onnx_session import open_session

with extra("onnx"):
    import onnx

__all__ = ["embed_with_session", "onnx_input_size", "quantise_onnx"]

_BATCH = 16


def quantise_onnx(source: str | Path, target: str | Path, faces: NDArray[np.uint8]) -> Path:
    """Quantise convolutions and the product to int8, by onnxruntime's static quantisation.

    Weights are int8 per channel, activations uint8 with the range they have on `faces`, in QDQ form. The
    resizing inside a file that takes larger faces, BatchNorms and sums stay float32.

    Args:
        source: float32 file of `export_onnx`.
        target: ends in `.onnx`; replaced if it exists.
        faces: uint8 RGB [N, S, S, 3] at the file's input size; a few hundred, of the resolution the file will meet.
            Whole batches of 16 are used.

    Returns:
        `target`.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no recognition model in float32, or the faces have another size.
    """
    # Only here: the quantiser takes a second to import.
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    source, target = Path(source), Path(target)
    session = open_session(source)
    size = onnx_input_size(session, str(source))
    if len(faces) == 0 or faces.shape[1:] != (size, size, 3):
        raise ValueError(
            f"faces of shape {list(faces.shape)}: {source} takes [N, {size}, {size}, 3], N at least 1"
        )
    model = onnx.load(source)
    types = {tensor.data_type for tensor in model.graph.initializer}
    if not types <= {onnx.TensorProto.FLOAT, onnx.TensorProto.INT64}:
        raise ValueError(f"{source}: holds weights that are not float32; quantise the fp32 export")
    name = session.get_inputs()[0].name

    class Faces(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._batches = _batches(faces)

        def get_next(self) -> dict[str, Any] | None:
            batch = next(self._batches, None)
            return None if batch is None else {name: batch}

    with replacing(target) as temporary, quiet(""):
        quantize_static(
            str(source),
            str(temporary),
            Faces(),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            op_types_to_quantize=["Conv", "Gemm"],
        )
        quantised = onnx.load(temporary)
        props = {entry.key: entry.value for entry in quantised.metadata_props}
        onnx.helper.set_model_props(quantised, props | {"precision": "int8"})
        onnx.save(quantised, temporary)
        open_session(temporary)
    return target


def _batches(faces: NDArray[np.uint8]) -> Iterator[Any]:
    for start in range(0, len(faces) - len(faces) % _BATCH or len(faces), _BATCH):
        batch = torch.from_numpy(faces[start : start + _BATCH]).permute(0, 3, 1, 2)
        yield normalise(batch).numpy()


def onnx_input_size(session: Any, where: str) -> int:
    """Size in px of the square faces a session takes.

    Raises:
        ValueError: if it does not take [N, 3, S, S] and give one output.
    """
    shape = session.get_inputs()[0].shape
    if len(shape) != 4 or shape[1] != 3 or shape[2] != shape[3] or not isinstance(shape[2], int):
        raise ValueError(f"{where}: takes {shape}, expected faces [N, 3, S, S]; it is no recognition model")
    if len(session.get_inputs()) != 1 or len(session.get_outputs()) != 1:
        raise ValueError(f"{where}: a recognition model has one input and one output; is it a detector?")
    return int(shape[2])


def embed_with_session(
    session: Any, images: NDArray[np.uint8], interpolation: str = "bilinear"
) -> NDArray[np.float32]:
    """Embed faces and their mirror images, resized to the session's size.

    Args:
        session: onnxruntime's, of a recognition file that takes RGB in [-1, 1].
        images: uint8 RGB [N, H, W, 3], N at least 1.
        interpolation: one of `btnet.data.INTERPOLATIONS`.

    Returns:
        float32 [N, D], the sum of both, not normalised.
    """
    size = onnx_input_size(session, "session")
    [door] = session.get_inputs()
    embeddings = []
    for batch in torch.split(torch.from_numpy(np.ascontiguousarray(images)), _BATCH):
        x = normalise(resize(batch.permute(0, 3, 1, 2), size, interpolation))
        seen, mirrored = (session.run(None, {door.name: view.numpy()})[0] for view in (x, x.flip(-1)))
        embeddings.append(seen + mirrored)
    return np.concatenate(embeddings)
