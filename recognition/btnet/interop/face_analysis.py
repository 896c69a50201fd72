"""The recogniser as recognition model inside `insightface.app.FaceAnalysis`; detection stays insightface's.

app = FaceAnalysis(allowed_modules=["detection"])
app.models["recognition"] = RecognitionModel(Recognizer.load("runs/demo/phi_bt"))
app.prepare(ctx_id=0)
faces = app.get(bgr_frame)          # each with .embedding, .normed_embedding, .embedding_norm
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from btnet.serving.recognizer import Recognizer

__all__ = ["RecognitionModel"]


class RecognitionModel:
    """What `FaceAnalysis` asks of a recognition model, with the methods of insightface's `ArcFaceONNX`.

    Frames and crops are BGR here, as everywhere in insightface. Embeddings of faces that go to the trunk are
    those of insightface's own alignment; smaller faces are cut from the frame at their branch's size.

    Attributes:
        recognizer: does the work.
        taskname, input_size, input_shape, input_mean, input_std, output_shape: as `ArcFaceONNX` has them, of the
            trunk. Crops of any other size are taken too.
    """

    taskname = "recognition"
    input_mean = 127.5
    input_std = 127.5

    def __init__(self, recognizer: Recognizer) -> None:
        """Wrap a recogniser."""
        size = recognizer.model.canonical_size
        self.recognizer = recognizer
        self.input_size = (size, size)
        self.input_shape: list[Any] = [None, 3, size, size]
        self.output_shape: list[Any] = [None, recognizer.embedding_size]

    def prepare(self, ctx_id: int, **kwargs: Any) -> None:
        """Nothing to do: the device was chosen by `Recognizer.load`."""

    def get(self, img: NDArray[np.uint8], face: Any) -> NDArray[np.float32]:
        """Embed one detected face, and set `face.embedding`.

        Args:
            img: the frame, uint8 BGR [H, W, 3].
            face: insightface's; its `kps` [5, 2] are read.

        Returns:
            float32 [D], not normalised.

        Raises:
            ValueError: if the detector gave no landmarks, or as `Recognizer.embed_faces`.
        """
        if face.kps is None:
            raise ValueError(
                "the face has no landmarks (kps); take a detector that gives five of them, as SCRFD"
            )
        [crop] = self.recognizer.align(img, [face.kps])
        face.embedding = self.get_feat(crop)[0]
        embedding: NDArray[np.float32] = face.embedding
        return embedding

    def get_feat(self, imgs: NDArray[np.uint8] | Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Embed face crops, uint8 BGR [H, W, 3], one or a list, of any sizes >= 4 px: float32 [N, D]."""
        crops = [imgs] if isinstance(imgs, np.ndarray) and imgs.ndim == 3 else imgs
        return self.recognizer.embed([crop[:, :, ::-1] for crop in crops])

    def compute_sim(self, feat1: NDArray[np.float32], feat2: NDArray[np.float32]) -> float:
        """Cosine of two embeddings."""
        first, second = feat1.ravel(), feat2.ravel()
        return float(first @ second / (np.linalg.norm(first) * np.linalg.norm(second)))
