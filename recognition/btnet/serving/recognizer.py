"""The recogniser: native face crops, or faces in a frame, to embeddings in input order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Self

from btnet.calibration.calibration import Calibration, Verdict, read_calibration
from btnet.evaluation.cosine import unit_rows
from btnet.evaluation.verification import pair_scores
from btnet.serving.alignment import align_face, face_size
from btnet.serving.crops import MIN_SIDE, as_rgb
from btnet.serving.face_images import as_crops
from btnet.serving.face_model import FaceModel
from btnet.serving.fusion import fuse
from btnet.serving.hub import local_folder, push_folder, save_folder
from btnet.serving.loading import load_model
from btnet.serving.optical import OpticalSelector
from btnet.serving.routing import Routing

__all__ = ["Recognizer"]


class Recognizer:
    """Embeds faces of any size, each with the network of its resolution; see `load`.

    A face of up to r px goes to the branch for r px, larger ones to the trunk; all embeddings are of one space. Nothing
    here changes after construction: threads may share it.

    Attributes:
        model: the networks, and what is known of them.
        trunk_fingerprint: says which gallery the embeddings belong to.
        resolutions: sizes in px that faces are brought to, the trunk's first.
        embedding_size: D.
    """

    def __init__(
        self,
        model: FaceModel,
        *,
        indicator: str = "max",
        rule: str = "ceil",
        selector: OpticalSelector | None = None,
        fusion: bool = False,
        batch_size: int = 32,
        mirror: bool = False,
        folder: Path | None = None,
    ) -> None:
        """Wrap the networks of a model.

        Args:
            model: of `load_model`, or `FaceModel.of` networks in memory.
            indicator: "max", "min" or "avg" of a crop's width and height (see `select`).
            rule: "floor", "near" or "ceil": which network a size is taken to (see `select`).
            selector: goes by the detail that a crop holds instead of its size: indicator and rule have no say.
            fusion: average the embeddings of the two nearest networks (`btnet.serving.fusion`): up to twice the time.
            batch_size: faces per forward pass. On a CPU large batches are slower: memory bounds them.
            mirror: add the embedding of the mirror image, as benchmarks do: twice the time.
            folder: of the model, where its calibration lies.

        Raises:
            ValueError: for an unknown name, a batch size below 1, or a model without a trunk.
        """
        if batch_size < 1:
            raise ValueError(f"batch size {batch_size}: expected at least 1")
        if model.canonical_size not in model.networks:
            raise ValueError(
                f"{model.name} takes {model.resolutions[0]} px faces only; a recogniser needs a trunk for all "
                "others: give a folder with trunk and branches, or a trunk"
            )
        self.model = model
        self.trunk_fingerprint = model.trunk_fingerprint
        self.resolutions = model.resolutions
        self.embedding_size = model.embedding_size
        self._routing = Routing(model.resolutions, indicator, rule, selector, fusion)
        self._batch_size, self._mirror = batch_size, mirror
        self._folder = folder

    @classmethod
    def load(
        cls,
        folder: str | Path,
        backend: str = "torch",
        *,
        device: str | None = None,
        indicator: str = "max",
        rule: str = "ceil",
        selector: str | Path | None = None,
        fusion: bool = False,
        batch_size: int = 32,
        mirror: bool = False,
    ) -> Self:
        """Load a model for serving.

        Args:
            folder: what a training run or `btnet retrofit` wrote; a folder of ONNX files; a trunk's .pt file (no
                branches); or `org/name` on the Hugging Face Hub, where no such path is here.
            backend: "torch" or "onnxruntime" (`embed_rX.onnx` of the folder, or of onnx/ in it).
            device: "cpu" or "cuda". Default: cuda where the backend can use one.
            indicator: as in the constructor.
            rule: as in the constructor.
            selector: file of `btnet-lab fit-selector`.
            fusion: as in the constructor.
            batch_size: as in the constructor.
            mirror: as in the constructor.

        Raises:
            FileNotFoundError: if a file is missing.
            ValueError: for a damaged model, files that do not belong together, or an unknown name.
        """
        folder = local_folder(folder)
        return cls(
            load_model(folder, backend, device=device),
            indicator=indicator,
            rule=rule,
            selector=None if selector is None else OpticalSelector.load(selector),
            fusion=fusion,
            batch_size=batch_size,
            mirror=mirror,
            folder=folder,
        )

    @classmethod
    def from_pretrained(cls, name: str | Path, backend: str = "torch", *, device: str | None = None) -> Self:
        """`load`, by the name that users of the Hub know."""
        return cls.load(name, backend, device=device)

    def __repr__(self) -> str:
        """On one line: trunk, sizes, calibration, device."""
        network = self.model.networks[self.model.canonical_size]
        device = next((str(p.device) for p in network.parameters()), "onnxruntime")
        sizes = "/".join(map(str, self.resolutions))
        told = "not calibrated"
        if (stored := self.calibration) is not None and stored.is_calibrated:
            told = (
                f"calibrated at FMR {', '.join(f'{f:g}' for f in sorted({t.fmr for t in stored.thresholds}))}"
            )
        return f"Recognizer({self.model.name}: {type(network).__name__}, {sizes} px, {told}, {device})"

    def save_pretrained(self, folder: str | Path, *, overwrite: bool = False) -> None:
        """Copy the model's folder: every file that its manifest lists, whole or not at all.

        Raises:
            FileExistsError: if `folder` is there and may not be replaced.
            ValueError: if this recogniser was not loaded from a folder.
        """
        save_folder(self._folder, Path(folder), overwrite=overwrite)

    def push_to_hub(self, repo: str, *, private: bool = True) -> str:
        """Upload the same files to `org/name` on the Hugging Face Hub (extra `hub`); returns the commit's address."""
        return push_folder(self._folder, repo, private=private)

    @property
    def serving(self) -> dict[str, Any]:
        """The options that scores depend on."""
        return {**self._routing.options, "mirror": self._mirror}

    @cached_property
    def calibration(self) -> Calibration | None:
        """Thresholds from the model's folder; None where they were not measured. Errors as `read_calibration`."""
        networks = {str(r): self.model.fingerprint(r) for r in self.resolutions}
        return None if self._folder is None else read_calibration(self._folder, networks)

    def compare(self, first: Any, second: Any, *, fmr: float | None = None) -> Verdict:
        """Say whether two faces, each of a kind that `embed` takes, show one person.

        Args:
            first: one face.
            second: the other.
            fmr: false match rate of the threshold; None: 1e-3, or the next larger one that is measurable.

        Raises:
            ValueError: if the model is not calibrated for this recogniser's options or for `fmr`; or as `embed`.
        """
        stored = self.calibration
        if stored is None or stored.serving != self.serving:
            what = (
                "not calibrated"
                if stored is None
                else f"calibrated for {stored.serving}, not for {self.serving}"
            )
            raise ValueError(
                f"{self._folder or 'this model'}: {what}; run `btnet calibrate`, or compare embeddings"
            )
        first, second = as_crops([first, second])
        score = float(pair_scores(self.embed([first]), self.embed([second]))[0])
        one, other = self._routing.sizes([first, second])
        return stored.verdict(score, (one, other), fmr)

    def resolution_of(self, width: int, height: int) -> int:
        """The resolution that a face of this native size in px selects, where its size alone decides."""
        return self._routing.by_size(width, height)

    def choose(self, crops: Sequence[NDArray[np.uint8]]) -> NDArray[np.int64]:
        """The resolution at which each crop is embedded, int64 [N]; with fusion the one that has most say.

        Args:
            crops: uint8 RGB [H, W, 3] of any size.
        """
        return self._routing.choose(crops)

    def embed(
        self,
        faces: Iterable[Any],
        *,
        normalise: bool = False,
        progress: Callable[[int], None] = lambda _: None,
    ) -> NDArray[np.float32]:
        """Embed native faces.

        Args:
            faces: a list of paths of image files, PIL images, arrays uint8 RGB [H, W, 3] (grey and RGBA too, see
                `as_rgb`) and tensors uint8 [3, H, W], of any sizes from 4 px, mixed as they come. A face that is not
                square is stretched (see `fit_crops`).
            normalise: give embeddings unit length.
            progress: called with the number of faces embedded, after each batch (by two networks: twice).

        Returns:
            float32 [N, D] in the order of the faces, as arcface_torch's networks answer unless `normalise`; [0, D] for
            none.

        Raises:
            FileNotFoundError: for a path without a file.
            ValueError: naming the face, for what is not such an image.
        """
        images = as_crops(faces)
        embeddings = self._embed(images, progress)
        return unit_rows(embeddings, "faces") if normalise and len(images) else embeddings

    def _embed(
        self, images: Sequence[NDArray[np.uint8]], progress: Callable[[int], None]
    ) -> NDArray[np.float32]:
        how: Any = {"batch_size": self._batch_size, "mirror": self._mirror, "progress": progress}
        if not self._routing.fusion:
            return self.model.embed(images, self.choose(images), **how)
        weights = self._routing.weights(images)
        answers = {r: np.zeros((len(images), self.embedding_size), np.float32) for r in self.resolutions}
        for column, resolution in enumerate(self.resolutions):
            rows = np.flatnonzero(weights[:, column])
            answers[resolution][rows] = self.model.embed(
                [images[row] for row in rows.tolist()], resolution, **how
            )
        return fuse(answers, weights, self.resolutions)

    def align(
        self, frame: NDArray[np.uint8], landmarks: Sequence[NDArray[Any]] | NDArray[Any]
    ) -> list[NDArray[np.uint8]]:
        """Cut faces out of a frame, each directly at the resolution of its network.

        The resolution follows from the face's own scale (`face_size`, rounded to whole px). A face for the trunk is cut
        as insightface does it, so galleries stay valid. With a selector or fusion the crop has the face's own size.

        Args:
            frame: uint8 [H, W, 3]; the colour order is kept.
            landmarks: [N, 5, 2] as (x, y) in px of the frame: eyes, nose tip, corners of the mouth.

        Returns:
            A square crop uint8 RGB for each face, for `embed`.

        Raises:
            ValueError: naming the face, for landmarks that span none (see `align_face`).
        """
        crops = []
        for index, points in enumerate(landmarks):
            try:
                side = max(round(face_size(points)), 1)
                if self._routing.needs_the_crop:
                    size = min(max(side, MIN_SIDE), self.model.canonical_size)
                else:
                    size = self.resolution_of(side, side)
                is_trunk = size == self.model.canonical_size
                interpolation = "bilinear" if is_trunk else self.model.views
                crops.append(align_face(frame, points, size, interpolation))
            except ValueError as error:
                raise ValueError(f"face {index}: {error}") from error
        return crops

    def embed_faces(
        self, frame: NDArray[np.uint8], landmarks: Sequence[NDArray[Any]] | NDArray[Any]
    ) -> NDArray[np.float32]:
        """Embed the faces of a frame, each read from it at its network's resolution, never up-sampled first.

        Args:
            frame: uint8 RGB [H, W, 3] (or grey, RGBA).
            landmarks: [N, 5, 2] as (x, y) in px of the frame: eyes, nose tip, corners of the mouth.

        Returns:
            float32 [N, D] in the order of the faces, not normalised; [0, D] for none.

        Raises:
            ValueError: as `align`.
        """
        # An r x r crop is taken to r by every indicator and rule.
        return self.embed(self.align(as_rgb(frame, "frame"), landmarks))
