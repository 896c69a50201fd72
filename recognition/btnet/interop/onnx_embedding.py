"""From face images to embeddings through an ONNX file, with the views and protocol of `embed_images`."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from btnet.data.views import normalise
from btnet.images.resize import resize

__all__ = ["embed_with_session", "onnx_input_size"]

_BATCH = 32


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
    session: Any,
    images: NDArray[np.uint8],
    *,
    view_size: int,
    interpolation: str = "bilinear",
) -> NDArray[np.float32]:
    """Embed faces and their mirror images seen at `view_size` px; the session's own size may be another.

    Args:
        session: onnxruntime's, of a recognition file that takes RGB in [-1, 1].
        images: uint8 RGB [N, H, W, 3], N at least 1.
        view_size: in px.
        interpolation: one of `btnet.data.INTERPOLATIONS`.

    Returns:
        float32 [N, D], not normalised.
    """
    size = onnx_input_size(session, "session")
    name = session.get_inputs()[0].name
    embeddings = []
    for start in range(0, len(images), _BATCH):
        batch = torch.from_numpy(np.require(images[start : start + _BATCH], requirements=["C", "W"]))
        views = resize(resize(batch.permute(0, 3, 1, 2), view_size, interpolation), size, interpolation)
        x = normalise(views)
        seen, mirrored = (session.run(None, {name: view.numpy()})[0] for view in (x, x.flip(-1)))
        embeddings.append(seen + mirrored)
    return np.concatenate(embeddings)
